//! The journal in memory keeps the promises of its port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use compact_str::CompactString;
use twzrd_domain::batch::Position;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::{Action, Event, MessageId};
use twzrd_domain::identity::Name;
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_domain::record::{Accepted, Append, Candidate, Intake, Progress, Record, Seal};
use twzrd_testkit::fake::{Fault, MemoryJournal};

fn intake(upto: u64, ids: &[&str]) -> Append {
    let event = |id: &&str| {
        Candidate::Event(Event {
            id: MessageId::parse(id),
            channel: Name::parse("channel_0001").unwrap(),
            ts: 3_600_000,
            login: Name::parse("user_000001").unwrap(),
            user_id: None,
            action: Action::Notice,
            text: None,
        })
    };
    Append::Intake(Intake {
        progress: Some(Progress {
            source: CompactString::from("feed"),
            upto,
            digest: CompactString::default(),
        }),
        at: 3_600_000,
        lines: ids.len() as u64,
        candidates: ids.iter().map(event).collect(),
        tally: Vec::new(),
    })
}

fn kinds(journal: &MemoryJournal) -> Vec<(u64, &'static str)> {
    let entries = journal.entries();
    entries.iter().map(|e| (e.seq, e.record.kind())).collect()
}

fn at(seq: u64) -> Position {
    Position {
        seq,
        ..Position::default()
    }
}

#[tokio::test]
async fn a_writer_that_is_opened_later_goes_on_where_the_last_one_stopped() {
    let journal = MemoryJournal::new("j");
    assert_eq!((journal.id(), journal.durable()), (None, 0));
    let writer = journal.open().await.unwrap();
    assert_eq!(journal.id().as_deref(), Some("j"));
    let first = writer.append(intake(1, &["a", "a"])).await.unwrap();
    assert_eq!(first, Accepted::Written(2));
    drop(writer);

    let writer = journal.open().await.unwrap();
    let again = writer.append(intake(1, &["a", "b"])).await.unwrap();
    assert_eq!(again, Accepted::Known, "the source was read that far");
    let second = writer.append(intake(2, &["a", "b"])).await.unwrap();
    assert_eq!(second, Accepted::Written(4));
    let expected = [(1, "event"), (2, "tally"), (3, "event"), (4, "tally")];
    assert_eq!(kinds(&journal), expected);
    assert_eq!(writer.memory().await.unwrap().sources[0].upto, 2);
}

#[tokio::test]
async fn there_is_one_writer_at_a_time() {
    let journal = MemoryJournal::new("j");
    let writer = journal.open().await.unwrap();
    let second = journal.open().await.err().unwrap();
    assert!(matches!(second, JournalError::Locked { .. }), "{second}");

    journal.kill_writer();
    let heir = journal.open().await.unwrap();
    let dead = writer.append(intake(1, &["a"])).await.unwrap_err();
    assert!(matches!(dead, JournalError::Closed), "{dead}");
    drop(writer);
    assert!(
        journal.is_open(),
        "the dead writer must not unlock the heir's journal"
    );
    heir.append(intake(1, &["a"])).await.unwrap();
    drop(heir);
    assert!(!journal.is_open());
}

#[tokio::test]
async fn waiting_ends_with_a_record_behind_the_given_one() {
    let journal = MemoryJournal::new("j");
    let writer = journal.open().await.unwrap();
    journal.wait_durable(0).await_pending().await;
    let seal = || Append::Records {
        progress: None,
        records: vec![(7, Record::Seal(Seal { epoch: Epoch(3600) }))],
    };
    let (accepted, ()) = tokio::join!(writer.append(seal()), journal.wait_durable(0));
    assert_eq!(accepted.unwrap(), Accepted::Written(1));
    journal.wait_durable(1).await_pending().await;
    assert_eq!(journal.durable(), 1);
}

/// Checks that a future is not ready yet.
trait AwaitPending: Future {
    async fn await_pending(self);
}

impl<F: Future> AwaitPending for F {
    async fn await_pending(self) {
        tokio::select! {
            biased;
            _ = self => panic!("expected to wait"),
            () = std::future::ready(()) => {}
        }
    }
}

#[tokio::test]
async fn reading_gives_what_stands_behind_a_position() {
    let journal = MemoryJournal::new("j");
    let writer = journal.open().await.unwrap();
    writer.append(intake(1, &["a", "b", "c"])).await.unwrap();
    let chunk = journal.read(at(1), 2).await.unwrap();
    let seqs: Vec<_> = chunk.entries.iter().map(|e| e.seq).collect();
    assert_eq!(seqs, [2, 3]);
    assert_eq!(chunk.positions, [at(2), at(3)]);
    assert!(journal.read(at(4), 9).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_lost_answer_leaves_records_and_a_failure_leaves_none() {
    let journal = MemoryJournal::new("j");
    let writer = journal.open().await.unwrap();
    journal.fail_next(1, Fault::Transient);
    let error = writer.append(intake(1, &["a"])).await.unwrap_err();
    assert!(error.is_transient() && journal.entries().is_empty());
    journal.fail_next(1, Fault::AnswerLost);
    let error = writer.append(intake(1, &["a"])).await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(journal.durable(), 2);
    assert_eq!(
        writer.append(intake(1, &["a"])).await.unwrap(),
        Accepted::Known
    );
    journal.fail_next(1, Fault::Permanent);
    let error = writer.append(intake(2, &["b"])).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
}

#[tokio::test]
async fn an_append_that_is_too_large_is_refused_whole() {
    let journal = MemoryJournal::with_append_limit("j", 2);
    let writer = journal.open().await.unwrap();
    let error = writer
        .append(intake(1, &["a", "b", "c"]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "an append of 3 records; expected at most 2"
    );
    assert!(journal.entries().is_empty());
    let fits = writer.append(intake(1, &["a", "b"])).await.unwrap();
    assert_eq!(fits, Accepted::Written(3));
}
