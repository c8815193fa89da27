//! The command line of twzrd.

use std::process::ExitCode;

use clap::Parser;
use twzrd::cli::Cli;
use twzrd::exit::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match twzrd::commands::run(cli) {
        Ok(code) => ExitCode::from(code as u8),
        Err(Failure { code, error }) => {
            use std::io::Write;
            // Nothing is left to tell it to where standard error is closed.
            let _ = writeln!(std::io::stderr(), "twzrd: {error}");
            ExitCode::from(code as u8)
        }
    }
}
