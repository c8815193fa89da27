//! Lines against a journal that was made up.

use std::sync::Arc;

use twzrd_domain::record::{Entry, Passed, Record, Seal, Tally};
use twzrd_simulator::log::Source;

use super::*;

const HOUR: u64 = 1_760_000_400;

fn rules() -> Rules {
    Rules {
        length: EpochLength::HOUR,
        keep_text: false,
        bots: HashSet::from([Login::parse("nightbot").unwrap()]),
    }
}

/// A message by somebody, so many seconds into the hour; without an id where that is empty.
fn text(id: &str, login: &str, second: u64) -> String {
    let sent = (HOUR + second) * 1000;
    let id = match id {
        "" => String::new(),
        id => format!("id={id};"),
    };
    format!("@{id}room-id=1;tmi-sent-ts={sent} :{login}!{login}@t PRIVMSG #tea :hi")
}

fn line(sequence: u64, fate: Fate, text: &str) -> Line {
    Line {
        sequence,
        bytes: Arc::from(text.as_bytes()),
        source: Source::Said,
        room: None,
        fate,
    }
}

fn truth(certain: &[&str], possible: &[(Fate, &str)]) -> Truth {
    let sure = |(n, text): (usize, &&str)| line(n as u64 * 10, Fate::Acknowledged, text);
    let doubt = |(n, (fate, text)): (usize, &(Fate, &str))| line(n as u64 * 10 + 5, *fate, text);
    Truth {
        certain: certain.iter().enumerate().map(sure).collect(),
        possible: possible.iter().enumerate().map(doubt).collect(),
        absent: Vec::new(),
    }
}

/// The events of these lines, in a journal; an empty one seals the hour.
fn journal(lines: &[&str]) -> Accepted {
    let mut accepted = Accepted::default();
    for (seq, text) in (1..).zip(lines) {
        let record = match line::read(text.as_bytes(), Arrival::Recorded, false) {
            line::Line::Candidate(Candidate::Event(event)) => Record::Event(event),
            line::Line::Candidate(Candidate::Passed(Passed { id, .. })) => Record::Tally(Tally {
                seen: id.into_iter().collect(),
                ..Tally::default()
            }),
            _ => Record::Seal(Seal { epoch: Epoch(HOUR) }),
        };
        accepted.push(Entry { seq, at: 1, record }, EpochLength::HOUR);
    }
    accepted
}

fn account(truth: &Truth, accepted: &Accepted) -> (Account, Vec<u64>) {
    let said = said(truth, &rules());
    let lines = undisturbed(&said, accepted, &rules());
    let lines = lines.into_iter().map(|line| line.sequence).collect();
    (Account::of(&said, accepted, &rules()), lines)
}

fn found(account: &Account) -> Vec<&str> {
    let place = (Epoch(HOUR), Channel::parse("tea").unwrap());
    let differences = account.differences.iter();
    differences
        .map(|one| {
            assert_eq!((one.epoch, one.channel.clone()), place);
            one.found.as_str()
        })
        .collect()
}

#[test]
fn a_line_that_was_read_must_be_in_the_journal_once() {
    let (a, b, c) = (text("a", "x", 1), text("b", "y", 2), text("c", "z", 3));
    let all = [a.as_str(), &b, &c];
    let (good, lines) = account(&truth(&all, &[]), &journal(&all));
    assert_eq!((good.lost, good.doubled, good.unsaid), (0, 0, 0));
    assert_eq!((found(&good), lines), (Vec::<&str>::new(), vec![0, 10, 20]));
    let (bad, lines) = account(&truth(&all, &[]), &journal(&[&a, &c, &a]));
    assert_eq!((bad.lost, bad.doubled, bad.unsaid), (1, 1, 0));
    let expected = [
        "line a is in the journal more than once",
        "line b was read, and is not in the journal",
    ];
    assert_eq!(found(&bad), expected);
    assert_eq!(lines, [0, 10, 20], "what is lost shows in the roots too");
}

#[test]
fn what_nobody_said_is_told_also_where_only_its_content_is_another() {
    let (said, other) = (text("a", "x", 1), text("a", "y", 1));
    let stranger = text("", "y", 9);
    let (bad, _) = account(&truth(&[&said], &[]), &journal(&[&other, &stranger]));
    assert_eq!((bad.lost, bad.unsaid), (0, 2));
    let expected = [
        "a line without an id is in the journal, and nobody said it",
        "line a is in the journal, and nobody said it",
    ];
    assert_eq!(found(&bad), expected);
}

#[test]
fn a_line_on_its_way_is_replayed_where_it_arrived_and_no_torn_one_ever_arrives() {
    let (a, b, c) = (text("a", "x", 1), text("b", "y", 2), text("c", "z", 3));
    let possible = [
        (Fate::Doubtful, a.as_str()),
        (Fate::Doubtful, &b),
        (Fate::Torn, &c),
    ];
    let (good, lines) = account(&truth(&[], &possible), &journal(&[&b]));
    assert_eq!((good.on_the_way, good.arrived, good.lost), (2, 1, 0));
    assert_eq!((found(&good).len(), lines), (0, vec![15]));
    let (bad, _) = account(&truth(&[], &possible), &journal(&[&b, &c]));
    assert_eq!(bad.unsaid, 1);
}

#[test]
fn of_lines_without_an_id_it_is_told_how_many_there_are() {
    let same = text("", "x", 1);
    let truth = truth(&[&same, &same], &[(Fate::Doubtful, &same)]);
    for (times, lost, doubled, arrived, replayed) in [
        (1, 1, 0, 0, 2),
        (2, 0, 0, 0, 2),
        (3, 0, 0, 1, 3),
        (4, 0, 1, 1, 3),
    ] {
        let (account, lines) = account(&truth, &journal(&vec![same.as_str(); times]));
        assert_eq!((account.lost, account.doubled), (lost, doubled), "{times}");
        assert_eq!(
            (
                account.on_the_way_without_id,
                account.alike,
                account.arrived
            ),
            (1, 1, arrived)
        );
        assert_eq!(account.differences.is_empty(), lost + doubled == 0);
        assert_eq!(lines.len(), replayed, "{times}");
    }
}

#[test]
fn what_stands_behind_the_seal_of_its_epoch_is_not_replayed() {
    let (a, b, c) = (text("a", "x", 1), text("b", "y", 2), text("", "z", 3));
    let truth = truth(&[&a, &b, &c, &c], &[]);
    let accepted = journal(&[&a, &c, "", &b, &c]);
    assert_eq!((accepted.events, accepted.late), (4, 2));
    let (good, lines) = account(&truth, &accepted);
    assert_eq!((found(&good).len(), lines), (0, vec![0, 20]));
}

#[test]
fn a_bot_and_whoever_is_not_named_leave_an_id_and_no_event() {
    let bot = text("a", "nightbot", 1);
    let gift = text("b", "ananonymousgifter", 2);
    let truth = truth(&[&bot, &gift], &[]);
    let mut accepted = journal(&[&gift]);
    let (bad, lines) = account(&truth, &accepted);
    assert_eq!(
        (bad.lost, lines),
        (1, vec![0, 10]),
        "nothing is left of the bot's line"
    );
    let id = MessageId::parse("a").unwrap();
    accepted.seen.insert(id.digest());
    let (good, lines) = account(&truth, &accepted);
    assert_eq!((found(&good).len(), lines), (0, vec![0, 10]));
}
