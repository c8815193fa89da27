//! The reader of lines beside the slow judge on another parser, over the lines that are regular:
//! on all others the parsers may disagree by design (see `crates/twitch/tests/differential.rs`).

#[path = "../../crates/twitch/tests/judge/mod.rs"]
mod judge;

use twzrd_twitch::line::{Arrival, MAX_TAGS, read};

use crate::targets::line::RECEIVED;

pub(crate) fn check(data: &[u8]) {
    for line in data.split(|&byte| byte == b'\n') {
        if !is_regular(line) {
            continue;
        }
        for arrival in [Arrival::Recorded, Arrival::Live(RECEIVED)] {
            let found = read(line, arrival, true);
            assert_eq!(found, judge::judge(line, arrival, true), "{arrival:?}");
        }
    }
}

/// Tags that all have a value and no escape, a prefix of one of both forms, a command, a channel
/// and a text behind its colon; each where it should be, by one space.
fn is_regular(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else {
        return false;
    };
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    if rest.contains('\r') {
        return false;
    }
    if let Some(tagged) = rest.strip_prefix('@') {
        let Some((tags, behind)) = tagged.split_once(' ') else {
            return false;
        };
        let count = tags.split(';').count();
        let is_tag = |tag: &str| tag.contains('=') && !tag.contains('\\');
        if count > MAX_TAGS || !tags.split(';').all(is_tag) {
            return false;
        }
        rest = behind;
    }
    if let Some(prefixed) = rest.strip_prefix(':') {
        let Some((prefix, behind)) = prefixed.split_once(' ') else {
            return false;
        };
        if !is_prefix(prefix) {
            return false;
        }
        rest = behind;
    }
    let (command, params) = rest.split_once(' ').unwrap_or((rest, ""));
    let letters = !command.is_empty() && command.bytes().all(|b| b.is_ascii_uppercase());
    letters && (params.is_empty() && rest == command || is_params(params))
}

/// `name`, or `nick!user@host`.
fn is_prefix(prefix: &str) -> bool {
    let signs = prefix.bytes().filter(|b| matches!(b, b'!' | b'@'));
    match signs.collect::<Vec<_>>().as_slice() {
        [] => !prefix.is_empty(),
        [b'!', b'@'] => true,
        _ => false,
    }
}

/// `#channel`, or `#channel :text`.
fn is_params(params: &str) -> bool {
    let (channel, text) = params.split_once(' ').unwrap_or((params, ":"));
    channel.starts_with('#') && text.starts_with(':')
}
