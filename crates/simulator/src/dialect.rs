//! Twitch's dialect of IRC: what clients say, and how the server answers.

use crate::traffic::pen::Pen;
use crate::traffic::people;

/// The capabilities that there are.
const CAPABILITIES: [(&str, Caps); 3] = [
    ("twitch.tv/tags", Caps(1)),
    ("twitch.tv/commands", Caps(2)),
    ("twitch.tv/membership", Caps(4)),
];

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps(u8);

impl Caps {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const TAGS: Self = CAPABILITIES[0].1;
    pub(crate) const COMMANDS: Self = CAPABILITIES[1].1;
    pub(crate) const MEMBERSHIP: Self = CAPABILITIES[2].1;

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set that a request names; none where it names something else.
    fn requested(names: &str) -> Option<Self> {
        names
            .split_ascii_whitespace()
            .try_fold(Self::NONE, |caps, name| {
                let known = CAPABILITIES.iter().find(|(known, _)| *known == name)?;
                Some(caps.with(known.1))
            })
    }
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    CapList,
    /// The names as they were requested, and the set where all are known.
    CapRequest(&'a str, Option<Caps>),
    Pass(&'a str),
    Nick(&'a str),
    /// A list, with commas.
    Join(&'a str),
    /// A list, with commas.
    Part(&'a str),
    Ping(Option<&'a str>),
    Pong,
    Quit,
    /// What Twitch takes without a word.
    Silent,
    Unknown(&'a str),
}

impl<'a> Command<'a> {
    /// Reads a line without its line end; none where it holds no command.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let mut rest = line.trim_start_matches(' ');
        for mark in ['@', ':'] {
            if rest.starts_with(mark) {
                rest = rest.split_once(' ')?.1.trim_start_matches(' ');
            }
        }
        let (command, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return None;
        }
        let (first, second) = parameters(rest);
        Some(match command.to_ascii_uppercase().as_str() {
            "CAP" => match (first.unwrap_or(""), second) {
                ("LS", _) => Self::CapList,
                ("REQ", Some(names)) => Self::CapRequest(names, Caps::requested(names)),
                _ => Self::Silent,
            },
            "PASS" => Self::Pass(first.unwrap_or("")),
            "NICK" => Self::Nick(first.unwrap_or("")),
            "JOIN" => Self::Join(first.unwrap_or("")),
            "PART" => Self::Part(first.unwrap_or("")),
            "PING" => Self::Ping(first),
            "PONG" => Self::Pong,
            "QUIT" => Self::Quit,
            "USER" | "PRIVMSG" | "NOTICE" | "MODE" => Self::Silent,
            _ => Self::Unknown(command),
        })
    }
}

/// The first two parameters. One that begins with a colon takes the rest of the line.
fn parameters(rest: &str) -> (Option<&str>, Option<&str>) {
    let next = |rest: &str| -> (usize, usize, usize) {
        let from = rest.len() - rest.trim_start_matches(' ').len();
        if rest[from..].starts_with(':') {
            return (from + 1, rest.len(), rest.len());
        }
        let to = rest[from..].find(' ').map_or(rest.len(), |at| from + at);
        (from, to, to)
    };
    let (from, to, behind) = next(rest);
    let first = &rest[from..to];
    let is_trailing = from > 0 && rest.as_bytes()[from - 1] == b':';
    let first = (!first.is_empty() || is_trailing).then_some(first);
    let rest = &rest[behind..];
    let (from, to, _) = next(rest);
    let second = &rest[from..to];
    (first, (!second.is_empty()).then_some(second))
}

/// What a socket must have asked for, or a line is not sent to it.
pub(crate) fn needs(line: &[u8]) -> Caps {
    let mut rest = line;
    for mark in [b'@', b':'] {
        if rest.first() == Some(&mark) {
            let space = memchr::memchr(b' ', rest).unwrap_or(rest.len() - 1);
            rest = &rest[space + 1..];
        }
    }
    let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    match &rest[..end] {
        b"JOIN" | b"PART" => Caps::MEMBERSHIP,
        b"CLEARCHAT" | b"CLEARMSG" | b"GLOBALUSERSTATE" | b"HOSTTARGET" | b"NOTICE"
        | b"RECONNECT" | b"ROOMSTATE" | b"USERNOTICE" | b"USERSTATE" => Caps::COMMANDS,
        _ => Caps::NONE,
    }
}

/// A line without its tags.
pub(crate) fn without_tags(line: &[u8]) -> &[u8] {
    match (line.first(), memchr::memchr(b' ', line)) {
        (Some(b'@'), Some(space)) => &line[space + 1..],
        _ => line,
    }
}

pub(crate) const PING: &[u8] = b"PING :tmi.twitch.tv";
pub(crate) const RECONNECT: &[u8] = b":tmi.twitch.tv RECONNECT";
pub(crate) const LOGIN_FAILED: &[u8] = b":tmi.twitch.tv NOTICE * :Login authentication failed";
pub(crate) const MALFORMED_LOGIN: &[u8] = b":tmi.twitch.tv NOTICE * :Improperly formatted auth";

pub(crate) fn cap_list() -> String {
    let names = CAPABILITIES.map(|(name, _)| name);
    format!(":tmi.twitch.tv CAP * LS :{}", names.join(" "))
}

pub(crate) fn cap_answer(names: &str, is_known: bool) -> String {
    let answer = if is_known { "ACK" } else { "NAK" };
    format!(":tmi.twitch.tv CAP * {answer} :{names}")
}

pub(crate) fn welcome(nick: &str) -> [String; 7] {
    [
        format!(":tmi.twitch.tv 001 {nick} :Welcome, GLHF!"),
        format!(":tmi.twitch.tv 002 {nick} :Your host is tmi.twitch.tv"),
        format!(":tmi.twitch.tv 003 {nick} :This server is rather new"),
        format!(":tmi.twitch.tv 004 {nick} :-"),
        format!(":tmi.twitch.tv 375 {nick} :-"),
        format!(":tmi.twitch.tv 372 {nick} :You are in a maze of twisty passages, all alike."),
        format!(":tmi.twitch.tv 376 {nick} :>"),
    ]
}

pub(crate) fn global_user_state(nick: &str) -> String {
    let tags = format!(
        "@badge-info=;badges=;color=;display-name={nick};emote-sets=0;user-id=1;user-type="
    );
    format!("{tags} :tmi.twitch.tv GLOBALUSERSTATE")
}

pub(crate) fn user_state(nick: &str, room: &str) -> String {
    let tags = format!(
        "@badge-info=;badges=;color=;display-name={nick};emote-sets=0;mod=0;subscriber=0;user-type="
    );
    format!("{tags} :tmi.twitch.tv USERSTATE #{room}")
}

/// The echo of a JOIN, and the list of names, which holds whoever asks.
pub(crate) fn joined(nick: &str, room: &str) -> [String; 3] {
    [
        format!(":{nick}!{nick}@{nick}.tmi.twitch.tv JOIN #{room}"),
        format!(":{nick}.tmi.twitch.tv 353 {nick} = #{room} :{nick}"),
        format!(":{nick}.tmi.twitch.tv 366 {nick} #{room} :End of /NAMES list"),
    ]
}

pub(crate) fn room_state(number: u32, room: &str) -> String {
    let id = people::room_id(number);
    let tags = format!("@emote-only=0;followers-only=-1;r9k=0;room-id={id};slow=0;subs-only=0");
    format!("{tags} :tmi.twitch.tv ROOMSTATE #{room}")
}

pub(crate) fn parted(nick: &str, room: &str) -> String {
    format!(":{nick}!{nick}@{nick}.tmi.twitch.tv PART #{room}")
}

pub(crate) fn suspended(room: &str) -> String {
    let text = "This channel does not exist or has been suspended.";
    format!("@msg-id=msg_channel_suspended :tmi.twitch.tv NOTICE #{room} :{text}")
}

pub(crate) fn banned(room: &str) -> String {
    let text = format!("You are permanently banned from talking in {room}.");
    format!("@msg-id=msg_banned :tmi.twitch.tv NOTICE #{room} :{text}")
}

pub(crate) fn pong(token: Option<&str>) -> String {
    match token {
        Some(token) => format!(":tmi.twitch.tv PONG tmi.twitch.tv :{token}"),
        None => ":tmi.twitch.tv PONG tmi.twitch.tv".to_owned(),
    }
}

pub(crate) fn unknown_command(nick: &str, command: &str) -> String {
    format!(":tmi.twitch.tv 421 {nick} {command} :Unknown command")
}

/// Something that somebody says in a room.
pub(crate) struct Said<'a> {
    pub(crate) room: (u32, &'a str),
    pub(crate) login: &'a str,
    pub(crate) user_id: u64,
    pub(crate) id: u128,
    pub(crate) sent: u64,
    /// More tags, in order, each with its value and a semicolon.
    pub(crate) tags: &'a str,
}

impl Said<'_> {
    /// The line, up to and with the colon before its text.
    pub(crate) fn line(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(320 + self.tags.len() + text.len());
        out.text("@badge-info=;badges=;color=;display-name=")
            .text(self.login);
        out.text(";emotes=;first-msg=0;flags=;id=").uuid(self.id);
        out.text(";mod=0;returning-chatter=0;room-id=")
            .number(people::room_id(self.room.0));
        out.text(";")
            .text(self.tags)
            .text("subscriber=0;tmi-sent-ts=");
        out.number(self.sent).text(";turbo=0;user-id=");
        out.number(self.user_id).text(";user-type= :");
        out.text(self.login).text("!").text(self.login);
        out.text("@")
            .text(self.login)
            .text(".tmi.twitch.tv PRIVMSG #");
        out.text(self.room.1).text(" :");
        out.extend_from_slice(text);
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_twitch_reads_them() {
        let all = Caps::TAGS.with(Caps::COMMANDS).with(Caps::MEMBERSHIP);
        let names = "twitch.tv/tags twitch.tv/commands twitch.tv/membership";
        let request = format!("CAP REQ :{names}");
        let cases = [
            ("CAP LS 302", Some(Command::CapList)),
            (&request, Some(Command::CapRequest(names, Some(all)))),
            (
                "CAP REQ twitch.tv/tags",
                Some(Command::CapRequest("twitch.tv/tags", Some(Caps::TAGS))),
            ),
            (
                "CAP REQ :twitch.tv/tags sasl",
                Some(Command::CapRequest("twitch.tv/tags sasl", None)),
            ),
            ("CAP END", Some(Command::Silent)),
            ("PASS oauth:x", Some(Command::Pass("oauth:x"))),
            ("nick justinfan1", Some(Command::Nick("justinfan1"))),
            ("JOIN #a,#b", Some(Command::Join("#a,#b"))),
            ("@t=1 :me PART  #a", Some(Command::Part("#a"))),
            ("PING", Some(Command::Ping(None))),
            ("PING :", Some(Command::Ping(Some("")))),
            ("PING :a b", Some(Command::Ping(Some("a b")))),
            ("PONG :tmi.twitch.tv", Some(Command::Pong)),
            ("PRIVMSG #a :hi", Some(Command::Silent)),
            ("WHO #a", Some(Command::Unknown("WHO"))),
            ("", None),
            ("@tags-and-nothing", None),
            (":prefix ", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Command::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_needs_the_capability_of_its_command() {
        let cases = [
            ("@a=b :x!x@x PRIVMSG #a :JOIN #b", Caps::NONE),
            (":x!x@x JOIN #a", Caps::MEMBERSHIP),
            ("@a=b :tmi.twitch.tv USERNOTICE #a", Caps::COMMANDS),
            (":tmi.twitch.tv RECONNECT", Caps::COMMANDS),
            ("PING :tmi.twitch.tv", Caps::NONE),
            ("", Caps::NONE),
            ("@", Caps::NONE),
            ("@a", Caps::NONE),
            (":", Caps::NONE),
        ];
        for (line, expected) in cases {
            assert_eq!(needs(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn tags_are_taken_off_a_line_that_has_some() {
        assert_eq!(without_tags(b"@a=b :x PRIVMSG"), b":x PRIVMSG");
        assert_eq!(without_tags(b":x PRIVMSG"), b":x PRIVMSG");
        assert_eq!(without_tags(b"@half"), b"@half");
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_a_client_says_is_too_strange(
            line in "[@: ]{0,3}(CAP|JOIN|PING|PASS|x)?[ :@#,a\u{e9}]{0,12}",
            bytes: Vec<u8>,
        ) {
            // Whatever it is, it is read or not, and is no reason to fail.
            if let Some(Command::Join(list) | Command::Pass(list)) = Command::parse(&line) {
                assert!(line.contains(list));
            }
            let needed = needs(&bytes);
            assert!(needed == Caps::NONE || bytes.len() >= 4);
            assert!(bytes.ends_with(without_tags(&bytes)));
        }
    }
}
