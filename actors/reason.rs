//! Why a channel is not heard: the words of gap records, and of the states that are shown.

use compact_str::{CompactString, format_compact};

/// The longest reason that is kept, in bytes.
const MAX_REASON_BYTES: usize = 200;

/// Why a channel was not heard: no process ran.
pub const PROCESS_DOWN: &str = "process_down";
/// Why a channel was not heard: it was not listed.
pub const NOT_LISTED: &str = "not_listed";
/// Why a channel is not heard: it was taken off the list.
pub const REMOVED: &str = "removed";
/// Why a channel is not heard: the process has just begun to want it.
pub const CONNECTING: &str = "connecting";
/// Why a channel is not heard: its JOIN waits for the join budget.
pub const RATE_LIMITED: &str = "rate_limited";
/// Why a channel is not heard: its socket was lost. What follows says how.
pub const DISCONNECTED: &str = "disconnected";

/// A reason without control characters, cut to a bound.
pub(crate) fn bounded(reason: &str) -> CompactString {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text = CompactString::default();
    for c in reason.chars().map(clean) {
        if text.len() + c.len_utf8() > MAX_REASON_BYTES {
            return format_compact!("{text}…");
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_and_holds_no_control_character() {
        assert_eq!(bounded("a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert!(bounded(&"ä".repeat(500)).len() <= MAX_REASON_BYTES + 3);
    }
}
