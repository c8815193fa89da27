//! Judges one line of chat: the checks that need nothing but the line.
//!
//! The line is split by `tmi`, which borrows and uses vector instructions (2.3 million lines a
//! second a core with a few tags read; `twitch-irc`'s owning parser manages 0.29 million). It
//! takes any first word for a command, so what an IRC command is is checked here. A differential
//! test holds it to `twitch-irc`'s parser over recorded, generated and damaged lines.

use std::borrow::Cow;

use tmi::{Command, IrcMessageRef};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::event::{ANONYMOUS_GIFTER, Action, Event, MessageId, Outcome};
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::record::{Candidate, Passed};

/// The longest line that is looked at, in bytes. Twitch's own limit is 8,191 for the tags and 512
/// for the rest.
pub const MAX_LINE_BYTES: usize = 65_536;

/// The most tags that a line may have. Twitch sends about thirty.
pub const MAX_TAGS: usize = 128;

/// The latest time that is taken for one: the end of the year 9999.
pub const MAX_TIME: UnixMs = 253_402_300_799_999;

/// How far a live line's own time may lie from the time of its receipt, in milliseconds.
pub const MAX_SKEW_MS: u64 = 600_000;

/// Where a line comes from, which decides what stands in for a time that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// From a socket, at this time. It stands in where the line has no time, or one that is more
    /// than [`MAX_SKEW_MS`] away.
    Live(UnixMs),
    /// From a recording. Nothing stands in.
    Recorded,
}

/// What a line comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An empty line is no line.
    Empty,
    /// It got as far as the check of ids.
    Candidate(Candidate),
    /// It did not.
    Uncounted {
        /// Why.
        outcome: Outcome,
        /// Its channel, or the empty name.
        channel: Channel,
        /// Its time, where it has one.
        at: Option<UnixMs>,
    },
}

/// Judges a line, without its line feed. A carriage return at its end is dropped.
///
/// `keep_text` keeps what was written with the event.
#[must_use]
pub fn read(line: &[u8], arrival: Arrival, keep_text: bool) -> Line {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Line::Empty;
    }
    let message = (line.len() <= MAX_LINE_BYTES && !has_too_many_tags(line))
        .then(|| std::str::from_utf8(line).ok())
        .flatten()
        .and_then(IrcMessageRef::parse)
        .filter(|message| is_command(message.command().as_str()));
    match message {
        Some(message) => judge(&message, arrival, keep_text),
        None => uncounted(Outcome::Invalid, Channel::none(), arrival.received()),
    }
}

impl Arrival {
    /// When it was received; none for a recording.
    pub(crate) const fn received(self) -> Option<UnixMs> {
        match self {
            Self::Live(at) => Some(at),
            Self::Recorded => None,
        }
    }

    /// The time of a line, from its `tmi-sent-ts`.
    fn time(self, sent: Option<&str>) -> Option<UnixMs> {
        let sent = sent
            .and_then(decimal)
            .filter(|&at| at > 0 && at <= MAX_TIME);
        match self {
            Self::Recorded => sent,
            Self::Live(received) => Some(
                sent.filter(|at| at.abs_diff(received) <= MAX_SKEW_MS)
                    .unwrap_or(received),
            ),
        }
    }
}

fn judge(message: &IrcMessageRef<'_>, arrival: Arrival, keep_text: bool) -> Line {
    let tags = Tags::of(message);
    let channel = message
        .channel()
        .and_then(|name| Channel::parse_irc_channel(name).ok());
    let at = arrival.time(tags.sent);
    let command = message.command();
    if !matches!(command, Command::Privmsg | Command::UserNotice) {
        return uncounted(Outcome::Other, channel.unwrap_or_else(Channel::none), at);
    }
    let (Some(ts), Some(channel)) = (at, channel.clone()) else {
        return uncounted(Outcome::Invalid, channel.unwrap_or_else(Channel::none), at);
    };
    if tags
        .source_room
        .is_some_and(|source| Some(source) != tags.room)
    {
        return uncounted(Outcome::Mirrored, channel, at);
    }
    let id = tags.id.and_then(MessageId::parse);
    let login = match command {
        Command::Privmsg => message
            .prefix()
            .and_then(|prefix| prefix.nick)
            .map(Cow::Borrowed),
        _ => tags.login.map(unescape),
    };
    let passed = |outcome| {
        let id = id.as_ref().map(MessageId::digest);
        Line::Candidate(Candidate::Passed(Passed {
            id,
            channel: channel.clone(),
            ts,
            outcome,
        }))
    };
    let Some(login) = login.and_then(|login| Login::parse(&login).ok()) else {
        return passed(Outcome::Invalid);
    };
    if login.as_str() == ANONYMOUS_GIFTER {
        return passed(Outcome::Anonymous);
    }
    let text = if keep_text {
        message.text().map(Box::from)
    } else {
        None
    };
    Line::Candidate(Candidate::Event(Event {
        id,
        channel,
        ts,
        login,
        user_id: tags.user_id.and_then(canonical_decimal),
        action: action(&command, &tags),
        text,
    }))
}

fn action(command: &Command<'_>, tags: &Tags<'_>) -> Action {
    let count = |text: Option<&str>| {
        text.and_then(decimal)
            .map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX))
    };
    if *command == Command::Privmsg {
        return Action::Message {
            bits: count(tags.bits),
        };
    }
    match tags.notice {
        Some("sub") => Action::Sub,
        Some("resub") => Action::Resub,
        Some("submysterygift") => Action::Gift {
            count: count(tags.mass_gift_count),
        },
        // The mystery gift has counted the single gifts that belong to it.
        Some("subgift") => Action::Gift {
            count: u32::from(tags.community_gift.is_none()),
        },
        Some("raid") => Action::Raid {
            viewers: count(tags.viewers),
        },
        _ => Action::Notice,
    }
}

const fn uncounted(outcome: Outcome, channel: Channel, at: Option<UnixMs>) -> Line {
    Line::Uncounted {
        outcome,
        channel,
        at,
    }
}

/// The tags that matter. An empty value is none; of a tag that stands twice, the last holds.
#[derive(Default)]
struct Tags<'a> {
    id: Option<&'a str>,
    login: Option<&'a str>,
    user_id: Option<&'a str>,
    room: Option<&'a str>,
    source_room: Option<&'a str>,
    sent: Option<&'a str>,
    bits: Option<&'a str>,
    notice: Option<&'a str>,
    mass_gift_count: Option<&'a str>,
    community_gift: Option<&'a str>,
    viewers: Option<&'a str>,
}

impl<'a> Tags<'a> {
    fn of(message: &IrcMessageRef<'a>) -> Self {
        let mut tags = Self::default();
        for (key, value) in message.tags() {
            let place = match key {
                "id" => &mut tags.id,
                "login" => &mut tags.login,
                "user-id" => &mut tags.user_id,
                "room-id" => &mut tags.room,
                "source-room-id" => &mut tags.source_room,
                "tmi-sent-ts" => &mut tags.sent,
                "bits" => &mut tags.bits,
                "msg-id" => &mut tags.notice,
                "msg-param-mass-gift-count" => &mut tags.mass_gift_count,
                "msg-param-community-gift-id" => &mut tags.community_gift,
                "msg-param-viewerCount" => &mut tags.viewers,
                _ => continue,
            };
            *place = Some(value).filter(|value| !value.is_empty());
        }
        tags
    }
}

/// True where a line has more tags than the parser has room for: it panics on them.
fn has_too_many_tags(line: &[u8]) -> bool {
    line.first() == Some(&b'@') && {
        let tags = memchr::memchr(b' ', line).map_or(line, |end| &line[..end]);
        memchr::memchr_iter(b';', tags).count() >= MAX_TAGS
    }
}

/// An IRC command is a word of letters, or three digits (RFC 1459, section 2.3.1).
fn is_command(word: &str) -> bool {
    let bytes = word.as_bytes();
    !bytes.is_empty()
        && (bytes.iter().all(u8::is_ascii_alphabetic)
            || (bytes.len() == 3 && bytes.iter().all(u8::is_ascii_digit)))
}

/// A number of decimal digits and nothing else; none where it passes 64 bits.
fn decimal(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A number in its one canonical form, so that hashing it again gives the bytes of the text.
fn canonical_decimal(text: &str) -> Option<u64> {
    decimal(text).filter(|_| text == "0" || !text.starts_with('0'))
}

/// The value of a tag without the escapes of IRCv3.
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('s') => out.push(' '),
            Some(':') => out.push(';'),
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn recorded(line: &str) -> Line {
        read(line.as_bytes(), Arrival::Recorded, false)
    }

    fn event(line: &str) -> Event {
        match recorded(line) {
            Line::Candidate(Candidate::Event(event)) => event,
            other => panic!("expected an event, found {other:?}"),
        }
    }

    fn outcome(line: Line) -> Outcome {
        match line {
            Line::Candidate(Candidate::Passed(passed)) => passed.outcome,
            Line::Uncounted { outcome, .. } => outcome,
            other => panic!("expected an outcome, found {other:?}"),
        }
    }

    const SAID: &str = "id=x;room-id=1;tmi-sent-ts=1594571566672;user-id=36175310 :Tetyys!t@t.tmi.twitch.tv PRIVMSG #Pajlada :hi";

    #[test]
    fn a_message_becomes_an_event() {
        let said = event(&format!("@bits=25;{SAID}\r"));
        assert_eq!(said.login.as_str(), "tetyys");
        assert_eq!(said.channel.as_str(), "pajlada");
        assert_eq!(said.ts, 1_594_571_566_672);
        assert_eq!(said.user_id, Some(36_175_310));
        assert_eq!(said.action, Action::Message { bits: 25 });
        assert_eq!(said.text, None);
    }

    #[test]
    fn text_is_kept_only_where_asked_for() {
        let line = format!("@{SAID}");
        let Line::Candidate(Candidate::Event(kept)) =
            read(line.as_bytes(), Arrival::Recorded, true)
        else {
            panic!("expected an event")
        };
        assert_eq!(kept.text.as_deref(), Some("hi"));
    }

    #[test]
    fn what_is_no_irc_message_is_invalid_and_an_empty_line_is_no_line() {
        for line in ["", "\r"] {
            assert_eq!(recorded(line), Line::Empty);
        }
        for line in ["@a=b", ":host", "{json}", "$%&", "@a=b :x", "12 x"] {
            assert_eq!(outcome(recorded(line)), Outcome::Invalid, "{line}");
        }
        assert_eq!(
            outcome(read(b"PRIVMSG #a :\xff", Arrival::Recorded, false)),
            Outcome::Invalid
        );
        let long = format!("@{SAID}{}", "x".repeat(MAX_LINE_BYTES));
        assert_eq!(outcome(recorded(&long)), Outcome::Invalid);
    }

    #[test]
    fn checks_come_in_order() {
        // Mirrored comes before the login, which comes before anonymous.
        let mirrored = "@source-room-id=2;room-id=1;tmi-sent-ts=5 :tmi.twitch.tv USERNOTICE #a";
        assert_eq!(outcome(recorded(mirrored)), Outcome::Mirrored);
        assert_eq!(
            outcome(recorded(
                "@source-room-id=1;room-id=1;tmi-sent-ts=5 :h USERNOTICE #a"
            )),
            Outcome::Invalid
        );
        assert_eq!(
            outcome(recorded(
                "@login=AnAnonymousGifter;tmi-sent-ts=5 :h USERNOTICE #a"
            )),
            Outcome::Anonymous
        );
        assert_eq!(
            outcome(recorded("@tmi-sent-ts=5 :h CLEARCHAT #a")),
            Outcome::Other
        );
        assert_eq!(
            outcome(recorded("@tmi-sent-ts=x :a!a@a PRIVMSG #a :b")),
            Outcome::Invalid
        );
        assert_eq!(
            outcome(recorded("@tmi-sent-ts=5 :a!a@a PRIVMSG nochannel :b")),
            Outcome::Invalid
        );
    }

    #[test]
    fn live_the_time_of_receipt_stands_in() {
        let at = |line: &str, now| match read(line.as_bytes(), Arrival::Live(now), false) {
            Line::Candidate(Candidate::Event(event)) => event.ts,
            other => panic!("expected an event, found {other:?}"),
        };
        assert_eq!(at(":a!a@a PRIVMSG #a :b", 9_000_000), 9_000_000);
        assert_eq!(
            at("@tmi-sent-ts=8400000 :a!a@a PRIVMSG #a :b", 9_000_000),
            8_400_000
        );
        assert_eq!(
            at("@tmi-sent-ts=8399999 :a!a@a PRIVMSG #a :b", 9_000_000),
            9_000_000
        );
    }

    #[test]
    fn notices_become_what_they_count_for() {
        let notice =
            |tags: &str| event(&format!("@login=a;tmi-sent-ts=5;{tags} :h USERNOTICE #a")).action;
        assert_eq!(notice("msg-id=sub"), Action::Sub);
        assert_eq!(notice("msg-id=resub"), Action::Resub);
        assert_eq!(notice("msg-id=subgift"), Action::Gift { count: 1 });
        assert_eq!(
            notice("msg-id=subgift;msg-param-community-gift-id=7"),
            Action::Gift { count: 0 }
        );
        assert_eq!(
            notice("msg-id=submysterygift;msg-param-mass-gift-count=50"),
            Action::Gift { count: 50 }
        );
        assert_eq!(
            notice("msg-id=raid;msg-param-viewerCount=1337"),
            Action::Raid { viewers: 1337 }
        );
        assert_eq!(
            notice("msg-id=raid;msg-param-viewerCount=-1"),
            Action::Raid { viewers: 0 }
        );
        assert_eq!(notice("msg-id=somethingnew"), Action::Notice);
    }

    #[test]
    fn an_id_that_is_not_canonical_is_no_id() {
        assert_eq!(canonical_decimal("007"), None);
        assert_eq!(canonical_decimal("0"), Some(0));
        assert_eq!(canonical_decimal("18446744073709551616"), None);
    }
}
