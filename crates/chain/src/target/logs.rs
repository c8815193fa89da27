//! What the log of a simulation tells of each instruction.

use crate::rpc::plain;

/// The compute units of each outermost call of a program, in order, as far as the log tells.
///
/// A log may be cut, and a built-in program may not say what it used: an instruction that is not
/// told of is none.
pub(super) fn units(logs: &[String], program: &str) -> Vec<Option<u64>> {
    let mut calls: Vec<Option<u64>> = Vec::new();
    let mut depth = 0_usize;
    let mut is_ours = false;
    for line in logs {
        let Some((id, what)) = line
            .strip_prefix("Program ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        if what.starts_with("invoke [") {
            depth += 1;
            if depth == 1 {
                is_ours = id == program;
                if is_ours {
                    calls.push(None);
                }
            }
        } else if what == "success" || what.starts_with("failed: ") {
            depth = depth.saturating_sub(1);
        } else if let Some(used) = what.strip_prefix("consumed ")
            && depth == 1
            && is_ours
            && id == program
            && let Some(call) = calls.last_mut()
        {
            *call = used.split(' ').next().and_then(|used| used.parse().ok());
        }
    }
    calls
}

/// The last lines of a log, for an error that people read: without what a terminal obeys.
pub(crate) fn tail(logs: &[String]) -> String {
    const LINES: usize = 3;
    const LINE: usize = 160;
    let from = logs.len().saturating_sub(LINES);
    let lines = logs[from..]
        .iter()
        .map(|line| plain(&line.chars().take(LINE).collect::<String>()));
    lines.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outermost_call_has_its_own_units() {
        let logs = [
            "Program ComputeBudget111111111111111111111111111111 invoke [1]",
            "Program ComputeBudget111111111111111111111111111111 success",
            "Program P invoke [1]",
            "Program log: Program P consumed 1 of 2 compute units",
            "Program 11111111111111111111111111111111 invoke [2]",
            "Program 11111111111111111111111111111111 success",
            "Program P consumed 31000 of 1399700 compute units",
            "Program P success",
            "Program P invoke [1]",
            "Program P invoke [2]",
            "Program P consumed 5 of 10 compute units",
            "Program P success",
            "Program P success",
        ]
        .map(str::to_owned);
        assert_eq!(units(&logs, "P"), [Some(31_000), None]);
        assert_eq!(units(&[], "P"), []);
        assert!(tail(&logs).ends_with("Program P success | Program P success"));
        assert_eq!(tail(&["a\u{1b}[2Jb\n".to_owned()]), "a [2Jb ");
    }
}
