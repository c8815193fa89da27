//! Bytes as lines of chat: each is judged the same every time and within its bounds, none gets
//! lost on the way from a socket to the journal, and what is journaled is read back as it was.

use std::sync::Arc;

use twzrd_domain::chat::{ChatReader, Chunk, LineJudge};
use twzrd_domain::epoch::{EpochLength, UnixMs};
use twzrd_domain::event::{ANONYMOUS_GIFTER, Action, Event, Outcome};
use twzrd_domain::identity::{Channel, MAX_NAME_BYTES};
use twzrd_domain::memory::Memory;
use twzrd_domain::ports::Clock;
use twzrd_domain::record::{Append, Candidate, Intake, Record};
use twzrd_twitch::intake::IntakeBuilder;
use twzrd_twitch::judge::TwitchJudge;
use twzrd_twitch::line::{Arrival, Line, MAX_LINE_BYTES, MAX_SKEW_MS, MAX_TIME, read};
use twzrd_twitch::net::halves;

/// When live lines are received: within the skew of some recorded lines, and far from the others.
pub(crate) const RECEIVED: UnixMs = 1_594_571_566_000;

const LENGTHS: [u32; 2] = [3600, 20];

pub(crate) fn check(data: &[u8]) {
    judged(data);
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    lines.iter().for_each(|line| judged(line));
    for length in LENGTHS {
        let length = EpochLength::new(length).expect("a length in bounds");
        for arrival in [Arrival::Recorded, Arrival::Live(RECEIVED)] {
            conserved(&lines, arrival, length);
        }
        draft_is_builder(&lines, length);
    }
    from_a_socket(data);
}

fn judged(line: &[u8]) {
    for arrival in [Arrival::Recorded, Arrival::Live(RECEIVED)] {
        let found = read(line, arrival, true);
        assert_eq!(found, read(line, arrival, true), "judged otherwise again");
        assert_eq!(without_text(found.clone()), read(line, arrival, false));
        if line.last() != Some(&b'\r') {
            assert_eq!(read(&[line, b"\r"].concat(), arrival, true), found);
        }
        in_bounds(line, arrival, &found);
    }
}

fn without_text(mut line: Line) -> Line {
    if let Line::Candidate(Candidate::Event(event)) = &mut line {
        event.text = None;
    }
    line
}

fn in_bounds(line: &[u8], arrival: Arrival, found: &Line) {
    let timely = |at: UnixMs| match arrival {
        Arrival::Recorded => (1..=MAX_TIME).contains(&at),
        Arrival::Live(received) => at.abs_diff(received) <= MAX_SKEW_MS,
    };
    match found {
        Line::Empty => assert!(line.is_empty() || line == b"\r"),
        Line::Uncounted {
            outcome,
            channel,
            at,
        } => {
            let is_mirrored = *outcome == Outcome::Mirrored;
            assert!(is_mirrored || matches!(outcome, Outcome::Invalid | Outcome::Other));
            assert!(*channel == Channel::none() || is_name(channel));
            assert!(!is_mirrored || (is_name(channel) && at.is_some()));
            assert!(at.map_or(arrival == Arrival::Recorded, timely), "{at:?}");
        }
        Line::Candidate(Candidate::Passed(passed)) => {
            let outcome = passed.outcome;
            assert!(matches!(outcome, Outcome::Invalid | Outcome::Anonymous));
            assert!(is_name(&passed.channel) && timely(passed.ts));
            assert!(holds(line, b"PRIVMSG") || holds(line, b"USERNOTICE"));
        }
        Line::Candidate(Candidate::Event(event)) => {
            assert!(line.len() <= MAX_LINE_BYTES + 1);
            assert!(is_name(&event.channel) && is_name(&event.login) && timely(event.ts));
            assert_ne!(event.login.as_str(), ANONYMOUS_GIFTER);
            event_is_of_line(line, event);
            journaled(event);
        }
    }
}

/// A name that is folded and checked already stays what it is.
fn is_name(name: &Channel) -> bool {
    let text = name.as_str();
    (1..=MAX_NAME_BYTES).contains(&text.len()) && Channel::parse(text).as_ref() == Ok(name)
}

/// Nothing is in an event that is not in its line.
fn event_is_of_line(line: &[u8], event: &Event) {
    let command: &[u8] = match event.action {
        Action::Message { .. } => b"PRIVMSG",
        _ => b"USERNOTICE",
    };
    assert!(holds(line, command));
    if let Some(id) = &event.id {
        assert!(holds(line, format!("id={}", id.as_str()).as_bytes()));
    }
    if let Some(id) = event.user_id {
        assert!(holds(line, format!("user-id={id}").as_bytes()));
    }
    if let Some(text) = &event.text {
        assert!(holds(line, text.as_bytes()));
    }
    let (key, count) = match event.action {
        Action::Message { bits } => ("bits", bits),
        Action::Gift { count } if count > 1 => ("msg-param-mass-gift-count", count),
        Action::Raid { viewers } => ("msg-param-viewerCount", viewers),
        _ => return,
    };
    assert!(count == 0 || holds(line, format!("{key}=").as_bytes()));
}

fn holds(line: &[u8], part: &[u8]) -> bool {
    part.is_empty() || line.windows(part.len()).any(|window| window == part)
}

fn journaled(event: &Event) {
    let mut bytes = Vec::new();
    let record = Record::Event(event.clone());
    twzrd_journal::encode(&mut bytes, 1, 0, event.ts, &record).expect("an event can be written");
    assert_eq!(bytes.pop(), Some(b'\n'));
    assert!(!bytes.contains(&b'\n'), "a record is one line");
    let found = twzrd_journal::decode(&mut bytes).expect("what was written can be read");
    assert_eq!(found.entry.record, record);
}

/// Every line is a candidate or in the tally, and stays counted on its way into the journal,
/// however the lines are cut into intakes and whoever is suppressed.
fn conserved(lines: &[&[u8]], arrival: Arrival, length: EpochLength) {
    let gathered = |lines: &[&[u8]]| {
        let mut builder = IntakeBuilder::new(length, false);
        lines.iter().for_each(|line| builder.push(line, arrival));
        builder.finish(None)
    };
    let is_line = |line: &&&[u8]| !line.is_empty() && **line != b"\r";
    let received = lines.iter().filter(is_line).count() as u64;
    let whole = gathered(lines);
    assert_eq!(whole.lines, received);
    assert_eq!(booked(&whole), received);
    let (head, tail) = lines.split_at(lines.len() / 2);
    let (head, tail) = (gathered(head), gathered(tail));
    assert_eq!(head.lines + tail.lines, received);
    assert_eq!(head.at.max(tail.at), whole.at);
    let cut = [head.candidates.clone(), tail.candidates.clone()].concat();
    assert_eq!(cut, whole.candidates);

    let mut suppressed = whole.clone();
    let places: Vec<u32> = (0..).step_by(2).take(whole.candidates.len()).collect();
    suppressed.suppress(&places);
    assert_eq!(booked(&suppressed), received);
    let mut memory = Memory::default();
    for (intake, brings_ids_again) in [
        (head, false),
        (tail, false),
        (whole, true),
        (suppressed, true),
    ] {
        let lines = intake.lines;
        let events = accepted(&mut memory, intake, lines);
        assert!(!brings_ids_again || events.iter().all(|event| event.id.is_none()));
    }
}

fn booked(intake: &Intake) -> u64 {
    let key = |at: usize| {
        let count = &intake.tally[at];
        (count.epoch, &count.channel, count.outcome)
    };
    assert!(
        (1..intake.tally.len()).all(|at| key(at - 1) < key(at)),
        "out of order"
    );
    assert!(intake.tally.iter().all(|count| count.lines > 0));
    let tallied: u64 = intake.tally.iter().map(|count| count.lines).sum();
    tallied + intake.candidates.len() as u64
}

/// The events that an intake leaves in the journal; all its other lines are in the tally behind
/// them.
fn accepted(memory: &mut Memory, intake: Intake, lines: u64) -> Vec<Event> {
    let records = memory
        .admit(Append::Intake(intake))
        .expect("it has no source");
    let mut events = Vec::new();
    let mut tallies = 0;
    for (_, record) in records {
        match record {
            Record::Event(event) => events.push(event),
            Record::Tally(tally) => {
                tallies += 1;
                let counted: u64 = tally.counts.iter().map(|count| count.lines).sum();
                assert_eq!((tally.lines, counted + events.len() as u64), (lines, lines));
            }
            other => panic!("lines became {other:?}"),
        }
    }
    assert_eq!(tallies, 1);
    events
}

/// The port's draft comes to what the builder comes to.
fn draft_is_builder(lines: &[&[u8]], length: EpochLength) {
    let mut draft = TwitchJudge::default().begin(length);
    let mut builder = IntakeBuilder::new(length, false);
    for line in lines {
        draft.push(line, RECEIVED);
        builder.push(line, Arrival::Live(RECEIVED));
    }
    draft.push_invalid(RECEIVED);
    builder.push_oversized(Arrival::Live(RECEIVED));
    assert_eq!(draft.finish(None), builder.finish(None));
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixMs {
        RECEIVED
    }
}

/// What comes from a socket is handed out line by line, once, under the channel of the judge.
fn from_a_socket(data: &[u8]) {
    let nick = Channel::parse("reader").expect("a name");
    let (mut reader, _) = halves(data, tokio::io::sink(), nick, Arc::new(Stopped));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let mut expected = socket_lines(data).into_iter();
    let mut chunk = Chunk::default();
    while runtime.block_on(reader.read(&mut chunk)).is_ok() {
        assert!(!chunk.is_empty());
        assert_eq!(chunk.iter().count(), chunk.lines.len());
        for ((bytes, channel), line) in chunk.iter().zip(&chunk.lines) {
            let expected = expected.next().expect("a line that was not sent");
            match expected {
                Some(sent) => assert_eq!((bytes, line.is_broken), (sent, false)),
                None => assert!(line.is_broken),
            }
            goes_where_it_is_booked(bytes, channel);
        }
    }
    assert_eq!(expected.next(), None, "a line was not handed out");
}

/// The lines of a socket that ends behind these bytes; none for one that is too long or cut.
fn socket_lines(data: &[u8]) -> Vec<Option<&[u8]>> {
    let bare = |line: &[u8]| {
        line.iter()
            .rposition(|&byte| byte != b'\r')
            .map_or(0, |at| at + 1)
    };
    let mut lines: Vec<_> = data
        .split(|&byte| byte == b'\n')
        .map(|line| &line[..bare(line)])
        .collect();
    let cut = lines.pop().filter(|line| !line.is_empty());
    let whole = lines.into_iter().filter(|line| !line.is_empty());
    let whole = whole.map(|line| Some(line).filter(|line| line.len() <= MAX_LINE_BYTES));
    whole.chain(cut.map(|_| None)).collect()
}

fn goes_where_it_is_booked(line: &[u8], channel: &[u8]) {
    let booked = match read(line, Arrival::Live(RECEIVED), false) {
        Line::Empty => panic!("an empty line is no line"),
        Line::Candidate(Candidate::Event(event)) => event.channel,
        Line::Candidate(Candidate::Passed(passed)) => passed.channel,
        // The lists of names are read by white space of any kind here, and by one space there.
        Line::Uncounted { .. } if holds(line, b"353") || holds(line, b"366") => return,
        Line::Uncounted { channel, .. } => channel,
    };
    if booked != Channel::none() {
        let found = std::str::from_utf8(channel).map(Channel::parse);
        assert_eq!(found, Ok(Ok(booked)));
    }
}
