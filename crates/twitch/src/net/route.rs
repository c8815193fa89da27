//! Where a line goes: its command and its channel, found without reading the rest.
//!
//! Finds what `tmi` finds, which judges the line later, but in bytes: a line need not be text to
//! have a channel.

use memchr::memchr;

/// The two words of a line that matter on the way. Either may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Route<'a> {
    /// The command, as it came.
    pub(super) command: &'a [u8],
    /// Where in the line the name of the channel stands, without its `#`.
    pub(super) channel: (usize, usize),
}

/// Finds the command and the channel: behind tags and prefix, each ended by one space, the command
/// is one word, and the channel is the next, where that begins with `#`.
pub(super) fn route(line: &[u8]) -> Route<'_> {
    let mut at = 0;
    for sign in [b'@', b':'] {
        if line.get(at) == Some(&sign) {
            match word_end(line, at) {
                end if end < line.len() => at = end + 1,
                _ => return Route::default(),
            }
        }
    }
    let end = word_end(line, at);
    let command = &line[at..end];
    let params = (end + 1).min(line.len());
    let channel = match command {
        // `353 nick = #channel :names` and `366 nick #channel :End of /NAMES list`.
        b"353" => name(line, nth_word(line, params, 2)),
        b"366" => name(line, nth_word(line, params, 1)),
        _ => name(line, (params, word_end(line, params))),
    };
    Route { command, channel }
}

/// Where the word that begins at `from` ends.
fn word_end(line: &[u8], from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    memchr(b' ', rest).map_or(line.len(), |length| from + length)
}

/// The word behind `n` others.
fn nth_word(line: &[u8], mut from: usize, n: usize) -> (usize, usize) {
    for _ in 0..n {
        from = (word_end(line, from) + 1).min(line.len());
    }
    (from, word_end(line, from))
}

/// The name of a channel in a word; empty where the word is none.
fn name(line: &[u8], (from, to): (usize, usize)) -> (usize, usize) {
    match line.get(from) {
        Some(b'#') => (from + 1, to),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> (&str, &str) {
        let Route { command, channel } = route(line.as_bytes());
        let command = std::str::from_utf8(command).unwrap_or("not text");
        (command, &line[channel.0..channel.1])
    }

    #[test]
    fn command_and_channel_are_found_where_they_stand() {
        for (line, command, channel) in [
            ("@a=b;c= :x!x@x PRIVMSG #Chan :#other", "PRIVMSG", "Chan"),
            (":tmi.twitch.tv RECONNECT", "RECONNECT", ""),
            ("PING :tmi.twitch.tv", "PING", ""),
            ("JOIN #a", "JOIN", "a"),
            (":tmi.twitch.tv NOTICE * :#a", "NOTICE", ""),
            (":h 353 nick = #a :b #c", "353", "a"),
            (":h 366 nick #a :End", "366", "a"),
            ("@a=b ROOMSTATE #", "ROOMSTATE", ""),
            ("PRIVMSG  #a", "PRIVMSG", ""),
            ("PRIVMSG :#a", "PRIVMSG", ""),
            ("PRIVMSG ", "PRIVMSG", ""),
            ("353 ", "353", ""),
            ("@a=b", "", ""),
            (":prefix", "", ""),
            ("@a=b :prefix", "", ""),
            ("@a=b ", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(found(line), (command, channel), "{line}");
        }
    }
}
