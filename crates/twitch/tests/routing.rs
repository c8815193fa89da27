//! The reader finds for each line the channel under which the judge books it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use proptest::prelude::*;
use tmi::IrcMessageRef;
use twzrd_domain::identity::Channel;
use twzrd_domain::record::Candidate;
use twzrd_simulator::traffic::{Profile, Traffic};
use twzrd_twitch::line::{Arrival, Line, read};

use support::{NOW, Segments, hear_out, reader};

const RECORDED: &[u8] = include_bytes!("data/real.irc");

/// The channel that the reader finds for each of these lines.
fn found(lines: &[Vec<u8>]) -> Vec<String> {
    let stream = lines
        .iter()
        .flat_map(|line| [line.as_slice(), b"\r\n"].concat());
    let source = Segments::new([stream.collect()]);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let (heard, _) = runtime.block_on(hear_out(&mut reader(source)));
    assert_eq!(heard.lines.len(), lines.len());
    heard.channels
}

/// The channel that the full parser finds, as it stands there.
fn parsed(line: &[u8]) -> Option<String> {
    let message = IrcMessageRef::parse(std::str::from_utf8(line).ok()?)?;
    Some(message.channel()?.strip_prefix('#')?.to_owned())
}

/// The channel under which the judge books a line.
fn booked(line: &[u8]) -> Channel {
    match read(line, Arrival::Live(NOW), false) {
        Line::Empty => panic!("an empty line"),
        Line::Candidate(Candidate::Event(event)) => event.channel,
        Line::Candidate(Candidate::Passed(passed)) => passed.channel,
        Line::Uncounted { channel, .. } => channel,
    }
}

fn agree(lines: &[Vec<u8>]) -> usize {
    let mut with_channel = 0;
    for (line, found) in lines.iter().zip(found(lines)) {
        let shown = String::from_utf8_lossy(line);
        if let Some(parsed) = parsed(line) {
            assert_eq!(found, parsed, "{shown}");
        }
        let booked = booked(line);
        if booked != Channel::none() {
            assert_eq!(Channel::parse(&found).unwrap(), booked, "{shown}");
            with_channel += 1;
        }
    }
    with_channel
}

fn recorded() -> Vec<Vec<u8>> {
    let lines = RECORDED.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn recorded_lines_go_where_the_full_parser_says() {
    let lines = recorded();
    assert_eq!(lines.len(), 216);
    let expected: Vec<String> = lines
        .iter()
        .map(|l| parsed(l).unwrap_or_default())
        .collect();
    assert_eq!(found(&lines), expected);
    assert!(agree(&lines) > 200);
}

#[test]
fn generated_lines_of_every_kind_go_where_they_are_booked() {
    let mut lines: Vec<Vec<u8>> = Traffic::new(Profile::small(11)).collect();
    // Of a line that ends in a carriage return, that is no part.
    lines.iter_mut().for_each(|line| {
        while line.last() == Some(&b'\r') {
            line.pop();
        }
    });
    lines.retain(|line| !line.is_empty() && line.len() <= 65_536);
    assert!(agree(&lines) > 4_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn lines_of_any_words_go_where_they_are_booked(
        tags in proptest::option::of("[a-z-]{1,8}=[^ \\r\\n]{0,8}(;[a-z-]{1,8}=[^; \\r\\n]{0,8}){0,5}"),
        prefix in proptest::option::of("[^ \\r\\n]{0,12}"),
        command in "(PRIVMSG|USERNOTICE|ROOMSTATE|CLEARCHAT|NOTICE|JOIN|353|366|001|[A-Z]{1,6})",
        params in "( [^ \\r\\n]{0,6}| #[^ \\r\\n]{0,8}| :[^\\r\\n]{0,12}){0,4}",
    ) {
        let tags = tags.map(|tags| format!("@{tags} ")).unwrap_or_default();
        let prefix = prefix.map(|prefix| format!(":{prefix} ")).unwrap_or_default();
        // Names lists are read by white space of any kind and number, and not by one space.
        let is_list = command.starts_with('3');
        let params = if is_list { params.replace(|c: char| c.is_whitespace(), " ") } else { params };
        prop_assume!(!is_list || !params.contains("  ") && !params.starts_with(" #"));
        let line = format!("{tags}{prefix}{command}{params}").into_bytes();
        agree(&[line]);
    }
}
