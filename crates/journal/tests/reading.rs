//! Reading over many segments, while they are closed, compressed and removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{
    AT, batch, closed, config, every_kind, folder, ids, message_ids, planted, read_all, scratch,
    segment, settled, single, written,
};
use twzrd_domain::batch::Position;
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_domain::record::{Accepted, Append, Entry};
use twzrd_journal::testing::{FaultyStorage, Op};
use twzrd_journal::{Config, Folder, SegmentReader, open_segment};

fn small(path: &Path) -> Config {
    Config {
        segment_bytes: 2000,
        ..config(path)
    }
}

#[tokio::test]
async fn a_sequential_read_over_many_segments_equals_what_was_appended() {
    let dir = scratch();
    let storage = FaultyStorage::default();
    let journal = Folder::with_storage(small(dir.path()), Arc::new(storage.clone()));
    let writer = journal.open().await.unwrap();
    let mut expected = Vec::new();
    for _ in 0..40 {
        let records = every_kind();
        let fresh = expected.is_empty();
        writer
            .append(Append::Records {
                progress: None,
                records: records.clone(),
            })
            .await
            .unwrap();
        // The ids are known from the second time on: a tally stands for the events then.
        if fresh {
            expected.extend(records);
        }
    }
    for n in 0..100 {
        writer.append(single(1000 + n)).await.unwrap();
    }
    settled(&journal, &*writer).await;
    let segments = journal.segments();
    assert!(segments.len() > 10, "{segments:?}");
    let compressed = |first: &u64| dir.path().join(format!("{first:020}.ndjson.zst")).exists();
    assert!(segments[..segments.len() - 1].iter().all(compressed));
    let opens = storage.count(Op::Read);
    let entries = read_all(&journal, 7).await;
    let opens = storage.count(Op::Read) - opens;
    // Where a segment is compressed, its plain name is tried first.
    assert!(
        opens <= 2 * segments.len() as u64,
        "{opens} opens for {} segments",
        segments.len()
    );
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    assert_eq!(entries.len() as u64, journal.durable());
    let found: Vec<_> = entries[..10]
        .iter()
        .map(|e| (e.at, e.record.clone()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        ids(&entries),
        message_ids([1, 2].into_iter().chain(1000..1100)),
    );
    drop(writer);
    closed(dir.path()).await;
    let again = folder(dir.path());
    let _writer = again.open().await.unwrap();
    assert_eq!(read_all(&again, 1000).await, entries);
}

#[tokio::test]
async fn any_position_is_read_from_whatever_its_hint_says() {
    let dir = scratch();
    let journal = Folder::new(small(dir.path()));
    let writer = journal.open().await.unwrap();
    for n in 1..=40 {
        writer.append(single(n)).await.unwrap();
    }
    settled(&journal, &*writer).await;
    let all = journal.read(Position::default(), 100).await.unwrap();
    assert_eq!(all.entries.len(), 40);
    for (index, &position) in all.positions.iter().enumerate() {
        let hints = [
            position,
            Position {
                segment: 0,
                byte: 0,
                ..position
            },
            Position {
                byte: position.byte + 1,
                ..position
            },
            Position {
                byte: 0,
                ..position
            },
            Position {
                byte: 1_000_000,
                ..position
            },
            Position {
                segment: 7,
                byte: 3,
                ..position
            },
        ];
        for hint in hints {
            let rest = journal.read(hint, 3).await.unwrap();
            let end = (index + 4).min(40);
            assert_eq!(rest.entries, all.entries[index + 1..end], "{hint:?}");
            assert_eq!(rest.positions, all.positions[index + 1..end], "{hint:?}");
        }
    }
    assert_eq!(
        journal.read(Position::default(), 0).await.unwrap().entries,
        []
    );
}

#[tokio::test]
async fn a_segment_that_is_compressed_or_removed_while_it_is_read_is_read_to_its_end() {
    let dir = scratch();
    let journal = Folder::new(Config {
        segment_bytes: 100_000,
        ..config(dir.path())
    });
    let writer = journal.open().await.unwrap();
    writer.append(batch("a", 0, 500)).await.unwrap();
    let first = journal.read(Position::default(), 10).await.unwrap();
    // Fills the segment, which the reader has open.
    writer.append(batch("a", 500, 600)).await.unwrap();
    writer.append(batch("a", 600, 601)).await.unwrap();
    settled(&journal, &*writer).await;
    assert_eq!(journal.segments().len(), 2);
    assert!(!segment(dir.path(), 1).exists());
    let second = journal.read(first.positions[9], 10).await.unwrap();
    assert_eq!(ids(&second.entries), message_ids(10..20));
    let kept = *journal.segments().last().unwrap();
    assert_eq!(journal.remove_before(kept).await.unwrap().segments, 1);
    let rest = journal.read(second.positions[9], 10_000).await.unwrap();
    assert_eq!(ids(&rest.entries), message_ids(20..601));
}

#[tokio::test]
async fn segments_are_closed_by_the_age_of_their_records() {
    let dir = scratch();
    let journal = Folder::new(Config {
        segment_age_ms: 10,
        ..config(dir.path())
    });
    let writer = journal.open().await.unwrap();
    for n in [0, 5, 9, 10, 11, 20, 21, 40] {
        writer.append(single(n)).await.unwrap();
    }
    writer.memory().await.unwrap();
    // 0 to 10 span ten milliseconds, and so do 11 to 21; 40 stands alone.
    assert_eq!(journal.segments(), [1, 5, 8]);
    drop(writer);
    closed(dir.path()).await;
    let again = Folder::new(Config {
        segment_age_ms: 10,
        ..config(dir.path())
    });
    let writer = again.open().await.unwrap();
    writer.append(single(50)).await.unwrap();
    writer.memory().await.unwrap();
    assert_eq!(
        again.segments(),
        [1, 5, 8, 10],
        "the age is known after it is opened again"
    );
}

#[tokio::test]
async fn only_segments_before_a_record_are_removed_and_only_under_a_snapshot() {
    let dir = scratch();
    let journal = Folder::new(Config {
        segment_bytes: 500,
        ..config(dir.path())
    });
    assert!(matches!(
        journal.remove_before(9).await,
        Err(JournalError::Closed)
    ));
    let writer = journal.open().await.unwrap();
    writer.append(batch("a", 100, 101)).await.unwrap();
    for n in 1..=8 {
        writer.append(single(n)).await.unwrap();
    }
    settled(&journal, &*writer).await;
    assert_eq!(journal.segments(), [1, 5, 8, 11]);
    let snapshot = dir.path().join("00000000000000000011.memory");
    let sound = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, b"short").unwrap();
    let error = journal.remove_before(8).await.unwrap_err().to_string();
    assert!(
        error.contains("expected a sound snapshot of segment 8 or a later one"),
        "{error}"
    );
    std::fs::write(&snapshot, sound).unwrap();
    let removed = journal.remove_before(6).await.unwrap();
    assert_eq!(
        (removed.segments, removed.first),
        (1, 5),
        "record 6 lies in the second"
    );
    let removed = journal.remove_before(u64::MAX).await.unwrap();
    assert_eq!(
        (removed.segments, removed.first),
        (2, 11),
        "the active one stays"
    );
    assert_eq!(journal.segments(), [11]);
    writer.append(single(9)).await.unwrap();
    let error = journal.read(Position::default(), 1).await.unwrap_err();
    let JournalError::Damaged { reason, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(reason, "record 1 was removed; the first that is left is 11");
    let rest = journal
        .read(
            Position {
                seq: 10,
                segment: 0,
                byte: 0,
            },
            5,
        )
        .await
        .unwrap();
    assert_eq!(ids(&rest.entries), message_ids([9]));
    drop(writer);
    closed(dir.path()).await;
    let again = folder(dir.path());
    let writer = again.open().await.unwrap();
    assert_eq!(again.opened().unwrap().snapshot, Some(11));
    assert_eq!(
        writer.append(batch("a", 100, 101)).await.unwrap(),
        Accepted::Known
    );
    drop(writer);
    closed(dir.path()).await;
    std::fs::remove_file(&snapshot).unwrap();
    let error = folder(dir.path()).open().await.err().unwrap();
    let JournalError::Damaged { file, reason, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(file, snapshot.display().to_string());
    assert_eq!(
        reason,
        "missing; it is needed, as records before 11 were removed"
    );
}

#[tokio::test]
async fn a_reader_ahead_of_the_journal_is_told_so() {
    let dir = scratch();
    let journal = folder(dir.path());
    let ahead = Position {
        seq: 5,
        segment: 1,
        byte: 9,
    };
    assert_eq!(
        journal.read(ahead, 5).await.unwrap().entries,
        [],
        "nothing is known yet"
    );
    assert_eq!((journal.durable(), journal.id()), (0, None));
    let writer = journal.open().await.unwrap();
    writer.append(single(1)).await.unwrap();
    let error = journal.read(ahead, 5).await.unwrap_err();
    let JournalError::Damaged { reason, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        reason,
        "a reader stands behind record 5, but the last record is 1"
    );
}

fn lines(path: &Path) -> Vec<(Entry, bool, u64)> {
    open_segment(path)
        .unwrap()
        .map(|line| line.unwrap())
        .map(|line| (line.entry.clone(), line.closes_append(), line.ends))
        .collect()
}

#[test]
fn a_segment_is_read_by_its_path_plain_or_compressed_without_a_lock() {
    let (bytes, ends) = written(&[1, 3, 2]);
    let dir = planted(&bytes);
    let plain = segment(dir.path(), 1);
    let found = lines(&plain);
    assert_eq!(found.len(), 6);
    assert!(
        found
            .iter()
            .zip(1..)
            .all(|((entry, ..), n)| entry.seq == n && entry.at == AT + n)
    );
    let closing: Vec<_> = found
        .iter()
        .filter(|line| line.1)
        .map(|line| usize::try_from(line.2).unwrap())
        .collect();
    assert_eq!(
        closing,
        ends[1..].iter().map(|end| end.1).collect::<Vec<_>>()
    );
    let elsewhere = dir.path().join("copy.bin");
    std::fs::write(&elsewhere, zstd::encode_all(&*bytes, 1).unwrap()).unwrap();
    assert_eq!(lines(&elsewhere), found);
    // Named after another number, it is not what it says.
    std::fs::copy(&plain, segment(dir.path(), 9)).unwrap();
    let error = open_segment(&segment(dir.path(), 9))
        .unwrap()
        .next_line()
        .unwrap_err();
    let JournalError::Damaged { reason, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(reason, "seq is 1; expected 9");
}

#[test]
fn a_segment_reader_tells_a_torn_tail_and_ends_behind_an_error() {
    let (bytes, ends) = written(&[1, 3]);
    let cut = &bytes[..bytes.len() - 5];
    let mut reader = SegmentReader::new(cut, "some", None);
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 3);
    let torn = reader.torn().unwrap();
    assert_eq!(torn.byte + torn.bytes, cut.len() as u64);
    assert!(torn.byte > ends[1].1 as u64);
    assert!(!reader.is_between_appends());
    let mut damaged = bytes.clone();
    damaged[ends[1].1 + 20] ^= 1;
    let found: Vec<_> = SegmentReader::new(&*damaged, "some", None).collect();
    assert_eq!(found.len(), 2);
    let Err(JournalError::Damaged { file, byte, .. }) = &found[1] else {
        panic!("{found:?}")
    };
    assert_eq!((file.as_str(), *byte), ("some", ends[1].1 as u64));
}
