//! `twzrd check`

use std::fmt::Write;

use super::print;
use crate::cli::Check;
use crate::exit::{Code, Failure};
use crate::settings::Line;
use crate::settings::layers::{Faults, Flags, Layers};

/// Checks the settings; prints faults, or what holds.
pub(super) fn run(args: &Check, flags: &Flags) -> Result<Code, Failure> {
    let read = Layers::read(flags).and_then(|layers| Ok((layers.settings()?, layers)));
    match read {
        Err(Faults(faults)) => {
            let lines: String = faults.iter().fold(String::new(), |mut text, fault| {
                let _ = writeln!(text, "{fault}");
                text
            });
            print(&lines)?;
            Ok(Code::Config)
        }
        Ok((_, layers)) if args.print => {
            let lines = layers.lines();
            let width = |of: fn(&Line) -> usize| lines.iter().map(of).max().unwrap_or(0).min(48);
            let (key, value) = (width(|line| line.key.len()), width(|line| line.value.len()));
            let text = lines.iter().fold(String::new(), |mut text, line| {
                let _ = writeln!(
                    text,
                    "{:<key$} = {:<value$}  # {}",
                    line.key, line.value, line.source
                );
                text
            });
            print(&text)?;
            Ok(Code::Ok)
        }
        Ok(_) => {
            print("the settings are good\n")?;
            Ok(Code::Ok)
        }
    }
}
