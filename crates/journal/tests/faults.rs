//! Full disks and read-only folders are states: nothing acknowledged is lost, nothing refused stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{
    batch, closed, config, faulty, folder, ids, message_ids, progress, read_all, scratch, segment,
    settled, single,
};
use twzrd_domain::batch::Position;
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_domain::record::Accepted;
use twzrd_journal::testing::{EIO, ENOSPC, EROFS, Fault, FaultyStorage, Op};
use twzrd_journal::{Config, Folder, State};

fn failed(journal: &Folder) -> (String, u64) {
    match journal.health().state {
        State::Failed { reason, attempts } => (reason, attempts),
        State::Ok => panic!("expected a failure"),
    }
}

/// Breaks the disk by these faults after two appends, tries three more, heals it and tries again.
async fn survives(faults: &[Fault], expected: &str) {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(batch("a", 0, 2)).await.unwrap();
    writer.append(single(5)).await.unwrap();
    let durable = journal.durable();
    for fault in faults {
        disk.inject(fault.clone());
    }
    for attempt in 1..=3 {
        let error = writer.append(batch("a", 2, 9)).await.unwrap_err();
        assert!(matches!(error, JournalError::Unavailable { .. }), "{error}");
        assert!(error.is_transient());
        let (reason, attempts) = failed(&journal);
        assert_eq!((reason, attempts), (error.to_string(), attempt));
        if attempt == 1 {
            let file = segment(dir.path(), 1).display().to_string();
            assert_eq!(error.to_string(), expected.replace("FILE", &file));
        }
        assert_eq!(journal.durable(), durable);
        assert_eq!(ids(&read_all(&journal, 2).await), message_ids([0, 1, 5]));
    }
    assert_eq!(journal.health().counters.refused, 3);
    disk.heal();
    // Ids 0 and 5 are duplicates; 2 to 8 are not, though the memory had seen them.
    assert_eq!(
        writer.append(single(0)).await.unwrap(),
        Accepted::Written(durable + 1)
    );
    assert_eq!(journal.health().state, State::Ok);
    assert!(matches!(
        writer.append(batch("a", 2, 9)).await.unwrap(),
        Accepted::Written(_)
    ));
    let all = message_ids([0, 1, 5, 2, 3, 4, 6, 7, 8]);
    assert_eq!(ids(&read_all(&journal, 2).await), all);
    assert_eq!(writer.memory().await.unwrap().sources, [progress("a", 9)]);
    drop(writer);
    closed(dir.path()).await;
    let again = folder(dir.path());
    let _writer = again.open().await.unwrap();
    assert_eq!(again.opened().unwrap().cut, None);
    assert_eq!(ids(&read_all(&again, 100).await), all);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_over_when_there_is_room() {
    let reason = "the journal cannot write: FILE: No space left on device (os error 28)";
    let full = Fault::on(Op::Write, ".ndjson", ENOSPC);
    survives(std::slice::from_ref(&full), reason).await;
    // Some bytes still fitted: within a line, and whole lines of the append.
    survives(&[full.clone().keeping(100)], reason).await;
    survives(&[full.keeping(400)], reason).await;
}

#[tokio::test]
async fn a_sync_that_fails_loses_nothing_and_its_file_is_not_written_again() {
    let reason = "the journal cannot sync: FILE: Input/output error (os error 5)";
    survives(&[Fault::on(Op::Sync, ".ndjson", EIO)], reason).await;
    // What was written cannot even be taken back at once.
    survives(
        &[
            Fault::on(Op::Sync, ".ndjson", EIO),
            Fault::on(Op::SetLen, ".ndjson", EIO),
        ],
        reason,
    )
    .await;
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(single(1)).await.unwrap();
    disk.inject(Fault::on(Op::Sync, ".ndjson", EIO).times(1));
    writer.append(single(2)).await.unwrap_err();
    assert_eq!(
        writer.append(single(3)).await.unwrap(),
        Accepted::Written(2)
    );
    assert_eq!(
        journal.segments(),
        [1, 2],
        "a new file behind the one whose sync failed"
    );
    assert_eq!(ids(&read_all(&journal, 1).await), message_ids([1, 3]));
}

#[tokio::test]
async fn a_folder_that_turns_read_only_loses_nothing() {
    let read_only = |op| Fault::on(op, "", EROFS);
    let reason = "the journal cannot write: FILE: Read-only file system (os error 30)";
    let ops = [
        Op::Write,
        Op::SetLen,
        Op::Sync,
        Op::Create,
        Op::Open,
        Op::Remove,
        Op::SyncFolder,
    ];
    survives(&ops.map(read_only), reason).await;
}

#[tokio::test]
async fn the_first_segment_is_begun_anew_where_its_first_sync_failed() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    disk.inject(Fault::on(Op::Sync, ".ndjson", EIO).times(1));
    disk.inject(Fault::on(Op::Create, ".ndjson", ENOSPC).times(1));
    for refused in [single(1), single(2)] {
        writer.append(refused).await.unwrap_err();
    }
    assert_eq!(
        writer.append(single(3)).await.unwrap(),
        Accepted::Written(1)
    );
    assert_eq!(journal.segments(), [1]);
    assert_eq!(ids(&read_all(&journal, 1).await), message_ids([3]));
}

#[tokio::test]
async fn what_was_refused_is_not_there_for_the_next_writer_of_the_process() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(single(1)).await.unwrap();
    disk.inject(Fault::on(Op::Sync, ".ndjson", EIO));
    disk.inject(Fault::on(Op::SetLen, ".ndjson", EIO));
    writer.append(single(2)).await.unwrap_err();
    drop(writer);
    closed(dir.path()).await;
    let whole = std::fs::read_to_string(segment(dir.path(), 1)).unwrap();
    assert_eq!(whole.lines().count(), 2, "both stand in the file, whole");
    disk.heal();
    let writer = journal.open().await.unwrap();
    assert_eq!(ids(&read_all(&journal, 10).await), message_ids([1]));
    assert_eq!(
        writer.append(single(2)).await.unwrap(),
        Accepted::Written(2)
    );
}

#[tokio::test]
async fn a_disk_that_is_broken_from_the_start_is_a_state_too() {
    let dir = scratch();
    let path = dir.path().join("journal");
    for op in [
        Op::CreateFolder,
        Op::Names,
        Op::Create,
        Op::Rename,
        Op::SyncFolder,
    ] {
        let storage = FaultyStorage::default();
        let journal = Folder::with_storage(config(&path), std::sync::Arc::new(storage.clone()));
        storage.inject(Fault::on(op, "", ENOSPC).times(1));
        let error = journal.open().await.err().unwrap();
        assert!(error.is_transient(), "{op:?}: {error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{op:?}: {error}"
        );
        assert_eq!(failed(&journal), (error.to_string(), 1));
        let writer = journal.open().await.unwrap();
        writer.append(single(1)).await.unwrap();
        assert_eq!(journal.health().state, State::Ok);
        drop(writer);
        closed(&path).await;
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[tokio::test]
async fn a_real_folder_that_cannot_be_written_is_named() {
    let journal = folder(Path::new("/sys/twzrd-journal"));
    let error = journal.open().await.err().unwrap();
    let JournalError::Unavailable { doing, reason } = &error else {
        panic!("{error}")
    };
    assert_eq!(*doing, "make the folder");
    assert!(reason.starts_with("/sys/twzrd-journal: "), "{reason}");
    assert_eq!(failed(&journal), (error.to_string(), 1));
}

#[tokio::test]
async fn upkeep_that_fails_stops_no_append() {
    let dir = scratch();
    let storage = FaultyStorage::default();
    let config = Config {
        segment_bytes: 100,
        ..config(dir.path())
    };
    let journal = Folder::with_storage(config, std::sync::Arc::new(storage.clone()));
    let writer = journal.open().await.unwrap();
    storage.inject(Fault::on(Op::Write, ".memory.tmp", ENOSPC));
    storage.inject(Fault::on(Op::Write, ".zst.tmp", ENOSPC));
    storage.inject(Fault::on(Op::Create, "3.ndjson", ENOSPC).times(1));
    for n in 1..=4 {
        assert_eq!(
            writer.append(single(n)).await.unwrap(),
            Accepted::Written(n)
        );
    }
    // The third could not be begun, so that the second holds two. The writer tells of its memory
    // when it is done with all that was before.
    writer.memory().await.unwrap();
    assert_eq!(journal.segments(), [1, 2, 4, 5]);
    assert!(journal.health().counters.upkeep_failures >= 1);
    storage.heal();
    writer.append(single(5)).await.unwrap();
    settled(&journal, &*writer).await;
    assert!(dir.path().join("00000000000000000002.ndjson.zst").exists());
    assert!(dir.path().join("00000000000000000006.memory").exists());
    assert_eq!(ids(&read_all(&journal, 1).await), message_ids(1..=5));
}

#[tokio::test]
async fn a_segment_that_could_not_be_begun_is_no_hole_for_the_next_process() {
    for torn in [false, true] {
        let dir = scratch();
        let storage = FaultyStorage::default();
        let config = Config {
            segment_bytes: 100,
            ..config(dir.path())
        };
        let journal = Folder::with_storage(config.clone(), std::sync::Arc::new(storage.clone()));
        let writer = journal.open().await.unwrap();
        // The file is made, but it is not certain that its name is on the disk.
        storage.inject(Fault::on(Op::SyncFolder, "", EIO));
        for n in 1..=3 {
            writer.append(single(n)).await.unwrap();
        }
        drop(writer);
        closed(dir.path()).await;
        assert!(segment(dir.path(), 2).exists() && segment(dir.path(), 4).exists());
        if torn {
            let mut whole = std::fs::read(segment(dir.path(), 1)).unwrap();
            whole.extend_from_slice(b"{\"seq\":4,");
            std::fs::write(segment(dir.path(), 1), whole).unwrap();
        }
        let again = Folder::new(config);
        let writer = again.open().await.unwrap();
        assert_eq!(again.segments(), [1]);
        assert_eq!(again.opened().unwrap().cut.is_some(), torn);
        assert_eq!(
            writer.append(single(4)).await.unwrap(),
            Accepted::Written(4)
        );
        assert_eq!(ids(&read_all(&again, 2).await), message_ids(1..=4));
    }
}

#[tokio::test]
async fn what_was_refused_is_not_read_though_a_reader_had_it_in_its_buffer() {
    let dir = scratch();
    let (journal, disk) = faulty(dir.path());
    let writer = journal.open().await.unwrap();
    writer.append(single(1)).await.unwrap();
    writer.append(single(2)).await.unwrap();
    disk.inject(Fault::on(Op::Sync, ".ndjson", EIO));
    disk.inject(Fault::on(Op::SetLen, ".ndjson", EIO));
    writer.append(single(3)).await.unwrap_err();
    let before = journal.read(Position::default(), 2).await.unwrap();
    assert_eq!(ids(&before.entries), message_ids([1, 2]));
    disk.heal();
    writer.append(single(4)).await.unwrap();
    let after = journal.read(before.positions[1], 2).await.unwrap();
    assert_eq!(ids(&after.entries), message_ids([4]));
}
