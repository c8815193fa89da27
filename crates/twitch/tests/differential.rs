//! The reader judges every line as a slow judge does that stands on another parser: recorded
//! lines, generated lines, and damaged lines but for those on which the parsers disagree by design.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod judge;

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::Channel;
use twzrd_domain::record::Candidate;
use twzrd_simulator::traffic::{BOUNDARY, Kind, Profile, Traffic};
use twzrd_twitch::line::{Arrival, Line, read};

use judge::judge;

const RECORDED: &[u8] = include_bytes!("data/real.irc");

/// A time of receipt near the generated lines, and far from the recorded ones.
const NOW: UnixMs = BOUNDARY + 30_000;

/// The most tags that the reader takes. Twitch sends about thirty.
const MAX_TAGS: usize = 128;

/// Lines to be damaged: the recorded ones and some of each generated kind.
static LINES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let recorded = RECORDED.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
    let mut lines: Vec<_> = recorded.filter(|line| !line.is_empty()).collect();
    lines.extend(Traffic::new(Profile::small(7)).filter(|line| line.len() < 4096));
    lines
});

fn show(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(2000)]).into_owned()
}

fn agrees(line: &[u8]) -> Result<(), TestCaseError> {
    agrees_on(line, Arrival::Recorded, true)?;
    agrees_on(line, Arrival::Live(NOW), true)
}

fn agrees_on(line: &[u8], arrival: Arrival, text: bool) -> Result<(), TestCaseError> {
    let (found, expected) = (read(line, arrival, text), judge(line, arrival, text));
    prop_assert_eq!(found, expected, "{:?} {}", arrival, show(line));
    Ok(())
}

/// Compares as much as the two parsers agree on by design; false where that is nothing.
fn agrees_by_design(line: &[u8]) -> Result<bool, TestCaseError> {
    match disagreement(line) {
        None => agrees(line).map(|()| true),
        Some(Disagreement::Text) => agrees_on(line, Arrival::Recorded, false).map(|()| true),
        Some(_) => {
            let _ = read(line, Arrival::Recorded, true);
            let _ = read(line, Arrival::Live(NOW), true);
            Ok(false)
        }
    }
}

/// On what the two parsers disagree by design. A line that shows one of these is not compared;
/// whatever it comes to, it must not stop the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disagreement {
    /// Tags of which one has no `=`. The reader takes it for the beginning of the next key.
    TagWithoutValue,
    /// More than [`MAX_TAGS`] tags. The reader takes that for no message.
    ManyTags,
    /// `@ ` or `: `. The reader takes them for no tags and no prefix, the judge for no message.
    Nothing,
    /// A prefix that is neither `nick!user@host` nor without both signs.
    Prefix,
    /// A backslash in a tag other than the login. The reader compares and keeps what stands there,
    /// the judge what it stands for. Twitch escapes only spaces, semicolons, backslashes and line
    /// ends, and none of these stands in an id, a number or a kind.
    Escape,
    /// PRIVMSG or USERNOTICE in lower case. The reader takes it for another command.
    LowerCase,
    /// A command of digits, but not of three. The reader takes it for no command.
    Digits,
    /// A channel behind a colon. The reader takes it for text.
    TrailingChannel,
    /// More than one space between parameters, or a space at the end. The judge takes it for no
    /// message.
    Spaces,
    /// Text without its colon, or with more than the channel before it. The reader takes what
    /// stands behind the first colon, or all; the judge one word. All but the text is compared.
    Text,
    /// A carriage return or line feed inside. The judge takes it for no message.
    LineEnd,
}

/// Splits off the first word, by a single space.
fn word(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ')
}

/// What makes a line incomparable, as far as it is a message at all.
fn disagreement(line: &[u8]) -> Option<Disagreement> {
    let line = std::str::from_utf8(line).ok()?;
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    if rest.contains(['\r', '\n']) {
        return Some(Disagreement::LineEnd);
    }
    if let Some(tagged) = rest.strip_prefix('@') {
        let (tags, behind) = word(tagged)?;
        if tags.is_empty() {
            return Some(Disagreement::Nothing);
        }
        if tags.split(';').count() > MAX_TAGS {
            return Some(Disagreement::ManyTags);
        }
        if tags.split(';').any(|tag| !tag.contains('=')) {
            return Some(Disagreement::TagWithoutValue);
        }
        let as_it_stands = |tag: &str| MATTER[1..].iter().any(|key| tag.starts_with(key));
        if tags
            .split(';')
            .any(|tag| tag.contains('\\') && as_it_stands(tag))
        {
            return Some(Disagreement::Escape);
        }
        rest = behind;
    }
    if let Some(prefixed) = rest.strip_prefix(':') {
        let (prefix, behind) = word(prefixed)?;
        if prefix.is_empty() {
            return Some(Disagreement::Nothing);
        }
        if !is_plain(prefix) {
            return Some(Disagreement::Prefix);
        }
        rest = behind;
    }
    let (command, params) = word(rest).map_or((rest, None), |(c, p)| (c, Some(p)));
    let is_named = |name| command != name && command.eq_ignore_ascii_case(name);
    if is_named("PRIVMSG") || is_named("USERNOTICE") {
        return Some(Disagreement::LowerCase);
    }
    let digits = command.bytes().all(|b| b.is_ascii_digit());
    if digits && !matches!(command.len(), 0 | 3) {
        return Some(Disagreement::Digits);
    }
    params.and_then(disagreement_in_params)
}

/// The tags that are read.
const MATTER: [&str; 11] = [
    "login=",
    "id=",
    "user-id=",
    "room-id=",
    "source-room-id=",
    "tmi-sent-ts=",
    "bits=",
    "msg-id=",
    "msg-param-mass-gift-count=",
    "msg-param-community-gift-id=",
    "msg-param-viewerCount=",
];

fn is_plain(prefix: &str) -> bool {
    match prefix.split_once('@') {
        None => !prefix.contains('!'),
        Some((nick, host)) => {
            let user = nick.split_once('!').map_or("", |(_, user)| user);
            !user.contains('!') && !host.contains(['!', '@'])
        }
    }
}

fn disagreement_in_params(params: &str) -> Option<Disagreement> {
    if params.starts_with(":#") {
        return Some(Disagreement::TrailingChannel);
    }
    let middle = match params.strip_prefix(':') {
        Some(_) => "",
        None => params.split(" :").next().unwrap_or(params),
    };
    if middle.split(' ').any(str::is_empty) && !params.starts_with(':') {
        return Some(Disagreement::Spaces);
    }
    // The text is the second parameter, and it has its colon, or there is none.
    let (_, text) = word(params)?;
    (!text.starts_with(':')).then_some(Disagreement::Text)
}

#[test]
fn recorded_lines_are_judged_alike() {
    let mut lines = 0;
    for line in RECORDED.split(|&byte| byte == b'\n') {
        agrees(line).unwrap();
        lines += u32::from(!line.is_empty());
    }
    assert_eq!(lines, 216);
}

#[test]
fn generated_lines_are_judged_alike_and_as_what_they_are() {
    let mut traffic = Traffic::new(Profile {
        lines: 200_000,
        ..Profile::default()
    });
    let mut line = Vec::new();
    let mut arrivals = [Arrival::Recorded, Arrival::Live(NOW)].into_iter().cycle();
    while let Some(kind) = traffic.next_into(&mut line) {
        match (kind, arrivals.next()) {
            (Kind::Junk, _) => _ = agrees_by_design(&line).unwrap(),
            (_, arrival) => agrees_on(&line, arrival.unwrap(), true).unwrap(),
        }
        let found = outcome(&read(&line, Arrival::Recorded, false));
        let expected = match kind {
            Kind::Junk | Kind::Duplicate => continue,
            Kind::Mirrored => Outcome::Mirrored,
            Kind::WithoutTime => Outcome::Invalid,
            Kind::AnonymousGift => Outcome::Anonymous,
            Kind::ClearChat
            | Kind::ClearMsg
            | Kind::RoomState
            | Kind::Notice
            | Kind::Ping
            | Kind::Join
            | Kind::Part
            | Kind::GlobalUserState => Outcome::Other,
            _ => Outcome::Counted,
        };
        assert_eq!(found, expected, "{kind:?} {}", show(&line));
    }
}

/// The outcome of a line that nothing is known of but the line.
fn outcome(line: &Line) -> Outcome {
    match line {
        Line::Empty => panic!("a generated line is not empty"),
        Line::Candidate(Candidate::Event(_)) => Outcome::Counted,
        Line::Candidate(Candidate::Passed(passed)) => passed.outcome,
        Line::Uncounted { outcome, .. } => *outcome,
    }
}

/// One thing that goes wrong with a line.
#[derive(Clone, Debug)]
enum Damage {
    /// It ends early.
    Cut(Index),
    /// It begins late.
    Behead(Index),
    /// A byte is another.
    Flip(Index, u8),
    /// A byte is in the way.
    Insert(Index, u8),
    /// A byte is missing.
    Remove(Index),
    /// A space is doubled.
    Double(Index),
    /// Two words, or two tags, change places.
    Swap(u8, Index, Index),
    /// It goes on with the end of another line.
    Splice(Index, Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    let byte = prop_oneof![
        3 => proptest::sample::select(b" :;=@#!\\\r\0".to_vec()),
        1 => any::<u8>(),
    ]
    .boxed();
    prop_oneof![
        index().prop_map(Damage::Cut),
        index().prop_map(Damage::Behead),
        (index(), byte.clone()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        (index(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        index().prop_map(Damage::Remove),
        index().prop_map(Damage::Double),
        (prop_oneof![Just(b' '), Just(b';')], index(), index())
            .prop_map(|(by, one, two)| Damage::Swap(by, one, two)),
        (index(), index(), index()).prop_map(|(line, at, from)| Damage::Splice(line, at, from)),
    ]
}

impl Damage {
    fn apply(&self, line: &mut Vec<u8>) {
        if line.is_empty() {
            return;
        }
        let len = line.len();
        match self {
            Self::Cut(at) => line.truncate(at.index(len)),
            Self::Behead(at) => _ = line.drain(..at.index(len)),
            Self::Flip(at, byte) => line[at.index(len)] = *byte,
            Self::Insert(at, byte) => line.insert(at.index(len), *byte),
            Self::Remove(at) => _ = line.remove(at.index(len)),
            Self::Double(which) => {
                let spaces: Vec<_> = (0..len).filter(|&at| line[at] == b' ').collect();
                if !spaces.is_empty() {
                    line.insert(*which.get(&spaces), b' ');
                }
            }
            Self::Swap(by, one, two) => {
                let mut parts: Vec<Vec<u8>> = line.split(|b| b == by).map(<[u8]>::to_vec).collect();
                let (one, two) = (one.index(parts.len()), two.index(parts.len()));
                parts.swap(one, two);
                *line = parts.join(by);
            }
            Self::Splice(other, at, from) => {
                let other = other.get(&LINES);
                line.truncate(at.index(len));
                line.extend_from_slice(&other[from.index(other.len())..]);
            }
        }
        line.retain(|&byte| byte != b'\n');
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (any::<Index>(), vec(damage(), 1..4)).prop_map(|(line, damages)| {
        let mut line = line.get(&LINES).clone();
        damages.iter().for_each(|damage| damage.apply(&mut line));
        line
    })
}

/// A well-formed line of which every part is at the edge of what it may be.
fn crafted() -> impl Strategy<Value = String> {
    let long = |len: usize| "x".repeat(len);
    let names = [
        "a",
        "",
        "AnAnonymousGifter",
        "\u{130}stanbul",
        "\u{1}",
        "\u{2003}x",
        "B!",
        "#",
    ];
    let mut names: Vec<_> = names.map(str::to_owned).into();
    names.extend([64, 65].map(long));
    let mut values = names.clone();
    values.extend(
        [
            "a\\:b", "a\\sb", "a\\\\b", "\\n", "a\\", "\\q", "0", "00", "007", "1", "-1", "+1",
        ]
        .map(str::to_owned),
    );
    values.extend(
        [
            "253402300799999",
            "253402300800000",
            "4294967295",
            "4294967296",
        ]
        .map(str::to_owned),
    );
    values.extend(["18446744073709551615", "18446744073709551616", "\u{664}"].map(str::to_owned));
    values.extend([0, 1, 600_000, 600_001].map(|ago| (NOW - ago).to_string()));
    values.extend([NOW + 600_000, NOW + 600_001].map(|at| at.to_string()));
    values.extend([128, 129].map(long));
    values.extend(["sub", "subgift", "raid", "submysterygift", "resub"].map(str::to_owned));
    let keys = proptest::sample::select(MATTER.to_vec());
    let tag =
        (keys, proptest::sample::select(values)).prop_map(|(key, value)| key.to_owned() + &value);
    let commands = [
        "PRIVMSG",
        "USERNOTICE",
        "CLEARCHAT",
        "353 me =",
        "366 me",
        "353",
        "001",
    ];
    let parts = (
        vec(tag, 1..9),
        proptest::sample::select(names.clone()),
        any::<bool>(),
    );
    let rest = (
        proptest::sample::select(commands.to_vec()),
        proptest::sample::select(names),
    );
    (parts, rest).prop_map(|((tags, nick, is_full), (command, channel))| {
        let tags = tags.join(";");
        let prefix = if is_full {
            format!("{nick}!{nick}@host")
        } else {
            nick
        };
        format!("@{tags};k=v :{prefix} {command} #{channel} :hi :there")
    })
}

const CASES: u32 = 20_000;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn damaged_lines_are_judged_alike_unless_the_parsers_disagree_by_design() {
    let compared = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let result = runner.run(&damaged(), |line| {
        let compares = agrees_by_design(&line)?;
        compared.set(compared.get() + u32::from(compares));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let share = compared.get() * 100 / CASES;
    assert!(
        share >= 50,
        "only {share} % of the damaged lines were compared"
    );
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bytes_stop_the_reader(line in vec(any::<u8>(), 0..300)) {
        agrees_by_design(&line)?;
    }

    #[test]
    fn values_at_the_edge_are_judged_alike(line in crafted()) {
        agrees_by_design(line.as_bytes())?;
    }

    #[test]
    fn no_text_made_of_signs_stops_the_reader(line in "[@:;=#!\\\\ a\u{e9}\r0]{0,200}") {
        agrees_by_design(line.as_bytes())?;
    }
}

/// A line of so many tags, the last of which is its time.
fn tagged(tags: usize) -> String {
    let others = "k=v;".repeat(tags - 1);
    format!("@{others}tmi-sent-ts=5 :a!a@a.tmi.twitch.tv PRIVMSG #a :hi")
}

#[test]
fn a_line_of_as_many_tags_as_are_taken_is_judged_alike() {
    for tags in [1, 31, 32, 33, 127, MAX_TAGS] {
        agrees(tagged(tags).as_bytes()).unwrap();
    }
}

#[test]
fn a_line_of_more_tags_is_invalid() {
    for tags in [MAX_TAGS + 1, 1_000, 16_000] {
        let found = read(tagged(tags).as_bytes(), Arrival::Recorded, true);
        let invalid = Line::Uncounted {
            outcome: Outcome::Invalid,
            channel: Channel::none(),
            at: None,
        };
        assert_eq!(found, invalid, "{tags} tags");
    }
}

#[test]
fn lines_around_the_longest_are_judged_alike() {
    for len in [65_535, 65_536, 65_537] {
        let head = "@tmi-sent-ts=5;k=";
        let tail = " :a!a@a.tmi.twitch.tv PRIVMSG #a :hi";
        let value = "x".repeat(len - head.len() - tail.len());
        agrees(format!("{head}{value}{tail}").as_bytes()).unwrap();
        let key = format!("@{value}xxx=;tmi-sent-ts=5{tail}");
        agrees(&key.as_bytes()[..key.len() - 4]).unwrap();
    }
}
