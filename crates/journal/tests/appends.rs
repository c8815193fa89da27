//! What an append is answered, and when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    AT, batch, closed, config, event, faulty, folder, ids, message_ids, progress, read_all,
    scratch, settled, single,
};
use futures::future::join_all;
use twzrd_domain::batch::Position;
use twzrd_domain::event::{IdDigest, Outcome};
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_domain::record::{Accepted, Append, Record, Seal, Tally};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::{Config, Folder, MAX_APPEND_RECORDS};

#[tokio::test]
async fn many_appends_share_a_sync_and_each_is_answered_with_its_number() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    disk.hold_syncs();
    let mut first = Box::pin(writer.append(single(0)));
    assert!(futures::poll!(&mut first).is_pending());
    let held = disk.clone();
    assert!(
        tokio::task::spawn_blocking(move || held.wait_for_held_sync())
            .await
            .unwrap()
    );
    // All of them get into the queue before the sync is let go.
    let appends = tokio::task::unconstrained(join_all((1..=500).map(|n| writer.append(single(n)))));
    let release = async { disk.release_syncs() };
    let (answers, ()) = tokio::join!(biased; appends, release);
    assert_eq!(first.await.unwrap(), Accepted::Written(1));
    let entries = read_all(&journal, 64).await;
    for (n, answer) in (1..).zip(answers) {
        let Accepted::Written(seq) = answer.unwrap() else {
            panic!("it was new")
        };
        let entry = entries.iter().find(|entry| entry.seq == seq).unwrap();
        assert_eq!(entry.record, Record::Event(event(n)));
    }
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    let counters = journal.health().counters;
    assert_eq!((counters.appends, counters.records), (501, 501));
    assert_eq!(
        counters.syncs, 2,
        "one for the first, and one for all that waited meanwhile"
    );
}

#[tokio::test]
async fn a_group_is_bounded_by_count_and_by_bytes() {
    for (group_appends, group_bytes) in [(10, usize::MAX), (usize::MAX, 2000)] {
        let dir = scratch();
        let config = Config {
            group_appends,
            group_bytes,
            ..config(dir.path())
        };
        let journal = Folder::new(config);
        let writer = journal.open().await.unwrap();
        for answer in join_all((0..100).map(|n| writer.append(single(n)))).await {
            answer.unwrap();
        }
        let counters = journal.health().counters;
        // A line has about 190 bytes, so that eleven fill a group of 2,000.
        assert!(counters.syncs >= 9, "{} syncs", counters.syncs);
        assert_eq!(counters.appends, 100);
    }
}

#[tokio::test]
async fn nothing_is_read_or_announced_before_it_is_synced() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(single(1)).await.unwrap();
    let before = journal.read(Position::default(), 10).await.unwrap();
    disk.hold_syncs();
    let (appended, watched) = (writer.append(single(2)), journal.wait_durable(1));
    let look = async {
        let held = disk.clone();
        assert!(
            tokio::task::spawn_blocking(move || held.wait_for_held_sync())
                .await
                .unwrap()
        );
        let file = std::fs::read_to_string(common::segment(dir.path(), 1)).unwrap();
        assert_eq!(file.lines().count(), 2, "it is written");
        assert_eq!(journal.durable(), 1);
        for from in [Position::default(), before.positions[0]] {
            let chunk = journal.read(from, 10).await.unwrap();
            assert_eq!(ids(&chunk.entries), message_ids((from.seq + 1)..=1));
        }
        disk.release_syncs();
    };
    let (answer, (), ()) = tokio::join!(appended, watched, look);
    assert_eq!(answer.unwrap(), Accepted::Written(2));
    assert_eq!(journal.durable(), 2);
    let chunk = journal.read(before.positions[0], 10).await.unwrap();
    assert_eq!(ids(&chunk.entries), message_ids([2]));
}

#[tokio::test]
async fn a_source_that_was_read_that_far_is_known_once_that_is_synced() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    disk.hold_syncs();
    // One group: the second refers to the first, of which the sync is held.
    let both = join_all([
        writer.append(batch("a", 0, 5)),
        writer.append(batch("a", 0, 5)),
    ]);
    let release = async {
        let held = disk.clone();
        assert!(
            tokio::task::spawn_blocking(move || held.wait_for_held_sync())
                .await
                .unwrap()
        );
        assert_eq!(journal.health().counters.known, 0);
        disk.release_syncs();
    };
    let (answers, ()) = tokio::join!(both, release);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [Accepted::Written(6), Accepted::Known]);
    assert_eq!(
        writer.append(batch("a", 2, 4)).await.unwrap(),
        Accepted::Known
    );
    assert_eq!(
        writer.append(batch("b", 0, 5)).await.unwrap(),
        Accepted::Written(7)
    );
    assert_eq!(journal.health().counters.known, 2);
    assert_eq!(
        writer.memory().await.unwrap().sources,
        [progress("a", 5), progress("b", 5)]
    );
}

/// Appends to a small journal, opens it again after `spoil` has been at it, and has the new writer
/// decide on ids, sources and settings.
async fn decides_the_same(spoil: impl Fn(&std::path::Path), expected_snapshot: Option<u64>) {
    let dir = scratch();
    let config = Config {
        segment_bytes: 1000,
        ..config(dir.path())
    };
    let journal = Folder::new(config.clone());
    let writer = journal.open().await.unwrap();
    let settings = Arithmetic {
        reward_per_weight: 7,
        ..Arithmetic::default()
    };
    let records = vec![(AT, Record::Settings(settings.clone()))];
    writer
        .append(Append::Records {
            progress: None,
            records,
        })
        .await
        .unwrap();
    writer.append(batch("a", 0, 10)).await.unwrap();
    writer.append(batch("b", 10, 13)).await.unwrap();
    settled(&journal, &*writer).await;
    let before = writer.memory().await.unwrap();
    drop(writer);
    closed(dir.path()).await;
    spoil(dir.path());
    let again = Folder::new(config);
    let writer = again.open().await.unwrap();
    assert_eq!(again.opened().unwrap().snapshot, expected_snapshot);
    assert_eq!(again.id(), journal.id());
    assert_eq!(writer.memory().await.unwrap(), before);
    assert_eq!(before.settings, Some(settings));
    assert_eq!(
        writer.append(batch("a", 0, 10)).await.unwrap(),
        Accepted::Known
    );
    let last = again.durable();
    assert_eq!(
        writer.append(batch("c", 5, 14)).await.unwrap(),
        Accepted::Written(last + 2)
    );
    let entries = read_all(&again, 3).await;
    assert_eq!(ids(&entries), message_ids(0..=13));
    let Record::Tally(Tally { counts, .. }) = &entries.last().unwrap().record else {
        panic!()
    };
    let counts: Vec<_> = counts
        .iter()
        .map(|count| (count.outcome, count.lines))
        .collect();
    assert_eq!(counts, [(Outcome::Duplicate, 8)]);
}

fn change_memory(path: &std::path::Path, change: impl Fn(&std::path::Path)) {
    let names = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let memories: Vec<_> = names
        .filter(|path| path.extension().is_some_and(|it| it == "memory"))
        .collect();
    assert_eq!(memories.len(), 1, "the older ones are removed");
    change(&memories[0]);
}

#[tokio::test]
async fn a_memory_decides_the_same_after_it_is_opened_again() {
    decides_the_same(|_| (), Some(13)).await;
}

#[tokio::test]
async fn the_next_writer_of_a_process_goes_on_without_reading_anything_back() {
    let dir = scratch();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(batch("feed", 1, 5)).await.unwrap();
    drop(writer);
    closed(dir.path()).await;
    let writer = journal.open().await.unwrap();
    assert_eq!(journal.opened().unwrap().read, 0);
    let again = writer.append(batch("feed", 1, 5)).await.unwrap();
    assert_eq!(again, Accepted::Known);
    writer.append(batch("feed", 5, 9)).await.unwrap();
    let seen: Vec<_> = ids(&read_all(&folder(dir.path()), 100).await);
    assert!(
        seen.is_empty(),
        "another folder that is not open shows nothing"
    );
    assert_eq!(ids(&read_all(&journal, 3).await), message_ids(1..9));
}

#[tokio::test]
async fn a_writer_reads_back_what_another_process_wrote_in_between() {
    let dir = scratch();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(batch("feed", 1, 5)).await.unwrap();
    drop(writer);
    closed(dir.path()).await;
    // What another process knows of the folder is another value of this type.
    let other = folder(dir.path());
    let writer = other.open().await.unwrap();
    writer.append(batch("feed", 5, 9)).await.unwrap();
    drop(writer);
    closed(dir.path()).await;
    let writer = journal.open().await.unwrap();
    assert!(journal.opened().unwrap().read > 0);
    let again = writer.append(batch("feed", 5, 9)).await.unwrap();
    assert_eq!(again, Accepted::Known);
    assert_eq!(ids(&read_all(&journal, 3).await), message_ids(1..9));
}

#[tokio::test]
async fn a_memory_decides_the_same_without_its_snapshot() {
    let remove = |path: &std::path::Path| std::fs::remove_file(path).unwrap();
    decides_the_same(|path| change_memory(path, remove), None).await;
}

#[tokio::test]
async fn a_memory_decides_the_same_with_a_snapshot_that_is_damaged() {
    let flip = |path: &std::path::Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(path, bytes).unwrap();
    };
    decides_the_same(|path| change_memory(path, flip), None).await;
    let shorten = |path: &std::path::Path| std::fs::write(path, b"TWZ").unwrap();
    decides_the_same(|path| change_memory(path, shorten), None).await;
}

#[tokio::test]
async fn appends_beyond_the_bound_are_refused_and_leave_nothing() {
    let dir = scratch();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    let seal = |n| {
        (
            AT,
            Record::Seal(Seal {
                epoch: twzrd_domain::epoch::Epoch(n),
            }),
        )
    };
    let many = MAX_APPEND_RECORDS as u64 + 1;
    let records: Vec<_> = (0..many).map(seal).collect();
    let seen = (0..many).map(IdDigest).collect();
    let tally = vec![(
        AT,
        Record::Tally(Tally {
            seen,
            ..Tally::default()
        }),
    )];
    for records in [records.clone(), tally] {
        let error = writer
            .append(Append::Records {
                progress: None,
                records,
            })
            .await
            .unwrap_err();
        let JournalError::TooLarge { found, limit } = error else {
            panic!("{error}")
        };
        assert_eq!((found, limit), (200_001, 200_000));
    }
    assert_eq!(journal.durable(), 0);
    assert_eq!(journal.health().counters.refused, 2);
    let most = Append::Records {
        progress: None,
        records: records[1..].to_vec(),
    };
    assert_eq!(
        writer.append(most).await.unwrap(),
        Accepted::Written(200_000)
    );
    assert_eq!(journal.health().counters.syncs, 1);
}

#[tokio::test]
async fn a_full_queue_holds_its_callers_back_and_loses_none() {
    let dir = scratch();
    let config = Config {
        queued_appends: 2,
        queued_records: 3,
        ..config(dir.path())
    };
    let journal = Folder::new(config);
    let writer = journal.open().await.unwrap();
    let appends = (0..50).map(|n| writer.append(batch(&format!("s{n}"), n * 10, n * 10 + 9)));
    for answer in join_all(appends).await {
        assert!(matches!(answer.unwrap(), Accepted::Written(_)));
    }
    assert_eq!(journal.durable(), 500);
}

#[tokio::test]
async fn an_append_without_records_writes_nothing_and_is_answered() {
    let dir = scratch();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(single(1)).await.unwrap();
    let nothing = Append::Records {
        progress: None,
        records: Vec::new(),
    };
    assert_eq!(writer.append(nothing).await.unwrap(), Accepted::Written(1));
    assert_eq!(journal.health().counters.syncs, 1);
}

#[tokio::test]
async fn a_writer_that_is_dropped_finishes_what_was_queued() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    disk.hold_syncs();
    let mut append = Box::pin(writer.append(single(1)));
    assert!(futures::poll!(&mut append).is_pending());
    drop(append);
    drop(writer);
    disk.release_syncs();
    // The next writer of this process waits for the one before.
    let writer = journal.open().await.unwrap();
    assert_eq!(journal.durable(), 1);
    assert_eq!(
        writer.append(single(2)).await.unwrap(),
        Accepted::Written(2)
    );
    assert_eq!(ids(&read_all(&journal, 5).await), message_ids(1..=2));
}

#[tokio::test]
async fn a_message_text_is_kept_as_it_was_given() {
    let dir = scratch();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    let text: Box<str> = "\u{0}\n\r\"\\ {\"seq\":1 \u{1f600}".into();
    let said = twzrd_domain::event::Event {
        text: Some(text),
        ..event(1)
    };
    let records = vec![(AT, Record::Event(said.clone()))];
    writer
        .append(Append::Records {
            progress: None,
            records,
        })
        .await
        .unwrap();
    let entries = read_all(&journal, 1).await;
    assert_eq!(entries[0].record, Record::Event(said));
}
