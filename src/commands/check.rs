//! `twzrd check`

use std::fmt::Write;
use std::time::Duration;

use twzrd_chain::rpc::chain_error;
use twzrd_domain::settlement::Target;

use super::print;
use crate::cli::Check;
use crate::exit::{Code, Failure, OrFail};
use crate::settings::layers::{Faults, Flags, Layers};
use crate::settings::{Line, Settings};
use crate::settle::{NETWORK_WITHIN, Settling};

/// How long the nodes may take to tell a balance.
const BALANCE_WITHIN: Duration = Duration::from_secs(5);

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
        Ok((settings, _)) => match settlement(&settings) {
            Ok(told) => {
                print(&format!("the settings are good\n{told}"))?;
                Ok(Code::Ok)
            }
            Err(failure) => {
                print(&format!("{failure}\n"))?;
                Ok(failure.code)
            }
        },
    }
}

/// Which key would sign, and what its account holds; empty where nothing is published.
fn settlement(settings: &Settings) -> Result<String, Failure> {
    let chain = &settings.chain;
    let settling = Settling::open(settings)?;
    if chain.target == Target::None && settling.signer.is_none() {
        return Ok(String::new());
    }
    let mut text = format!("settlement: target {}", chain.target);
    if chain.target == Target::Program {
        let _ = write!(text, " {}, mint {}", chain.program, chain.mint);
    }
    let Some(signer) = &settling.signer else {
        text.push_str("; no key: nothing can be signed\n");
        return Ok(text);
    };
    let _ = write!(text, "; signed by {}", signer.pubkey());
    let Some(pool) = &settling.pool else {
        text.push_str(", whose balance no node is named for\n");
        return Ok(text);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Code::Software)?;
    if let Some(roots) = &settling.roots {
        // What `run` refuses is no good setting.
        runtime.block_on(roots.refuse_unacknowledged(NETWORK_WITHIN))?;
    }
    let client = pool.client();
    let asked = runtime.block_on(async {
        tokio::time::timeout(BALANCE_WITHIN, client.get_balance(&signer.pubkey())).await
    });
    let _ = match asked {
        Ok(Ok(lamports)) => writeln!(text, ", which has {lamports} lamports"),
        Ok(Err(error)) => writeln!(
            text,
            ", whose balance cannot be read: {}",
            chain_error("reading a balance", &error)
        ),
        Err(_) => writeln!(
            text,
            ", whose balance no node told within {} s",
            BALANCE_WITHIN.as_secs()
        ),
    };
    Ok(text)
}
