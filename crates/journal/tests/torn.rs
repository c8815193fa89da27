//! What a crash leaves at the end of the last segment is cut, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    closed, faulty, folder, ids, message_ids, planted, read_all, scratch, segment, single, written,
};
use proptest::prelude::*;
use twzrd_domain::ports::JournalFolder;
use twzrd_domain::record::Accepted;
use twzrd_journal::testing::{EIO, Fault, Op, Spoil};

/// Opens a folder whose segment was cut after `cut` bytes; checks what is left, that it goes on,
/// and that it is whole when it is opened again.
async fn keeps_what_was_whole(bytes: &[u8], ends: &[(u64, usize)], cut: usize) {
    let dir = planted(&bytes[..cut]);
    let &(last, whole) = ends.iter().rev().find(|(_, end)| *end <= cut).unwrap();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    let opened = journal.opened().unwrap();
    assert_eq!(opened.durable, last, "cut at {cut}");
    let found = opened.cut.map(|cut| (cut.byte, cut.bytes));
    let expected = (whole < cut).then_some((whole as u64, (cut - whole) as u64));
    assert_eq!(found, expected, "cut at {cut}");
    let accepted = writer.append(single(1000)).await.unwrap();
    assert_eq!(accepted, Accepted::Written(last + 1));
    let expected = message_ids((1..=last).chain([1000]));
    assert_eq!(ids(&read_all(&journal, 3).await), expected, "cut at {cut}");
    drop(writer);
    closed(dir.path()).await;
    let again = folder(dir.path());
    let _writer = again.open().await.unwrap();
    assert_eq!(again.opened().unwrap().cut, None);
    assert_eq!(ids(&read_all(&again, 100).await), expected, "cut at {cut}");
}

#[tokio::test]
async fn a_segment_cut_at_any_byte_keeps_every_append_before_the_cut() {
    let (bytes, ends) = written(&[1, 3, 1, 2]);
    for cut in 0..=bytes.len() {
        keeps_what_was_whole(&bytes, &ends, cut).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_appends_cut_anywhere_keep_every_append_before_the_cut(
        sizes in proptest::collection::vec(1u64..20, 1..20),
        part in 0.0f64..=1.0,
    ) {
        let (bytes, ends) = written(&sizes);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let cut = (bytes.len() as f64 * part) as usize;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(keeps_what_was_whole(&bytes, &ends, cut));
    }
}

#[tokio::test]
async fn a_cut_is_reported_with_the_records_of_the_unfinished_append() {
    let (bytes, ends) = written(&[1, 5]);
    let dir = planted(&bytes[..bytes.len() - 1]);
    let journal = folder(dir.path());
    let _writer = journal.open().await.unwrap();
    let cut = journal.opened().unwrap().cut.unwrap();
    assert_eq!(cut.file, segment(dir.path(), 1).display().to_string());
    assert_eq!(cut.byte, ends[1].1 as u64);
    assert_eq!(cut.bytes, (bytes.len() - 1 - ends[1].1) as u64);
    assert_eq!(
        cut.records, 4,
        "four records of the append are whole, the fifth is not"
    );
    assert_eq!(
        cut.reason,
        "the line does not end with \"crc\" and a line feed"
    );
    assert_eq!(
        std::fs::read(segment(dir.path(), 1)).unwrap(),
        bytes[..ends[1].1]
    );
}

#[tokio::test]
async fn a_flipped_bit_in_the_last_line_never_makes_another_record_of_it() {
    let (bytes, ends) = written(&[1, 1, 1]);
    let (last, begin) = ends[2];
    for bit in begin * 8..bytes.len() * 8 {
        let mut spoiled = bytes.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        let dir = planted(&spoiled);
        let journal = folder(dir.path());
        let _writer = journal.open().await.unwrap();
        assert_eq!(journal.durable(), last, "bit {bit}");
        assert_eq!(ids(&read_all(&journal, 10).await), message_ids(1..=last));
    }
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_with_the_power() {
    let spoils = [
        Spoil::Lost,
        Spoil::Zeros,
        Spoil::Garbage(7),
        Spoil::Garbage(11),
        Spoil::Short(1),
        Spoil::Short(100),
    ];
    for spoil in spoils {
        let dir = scratch();
        let (journal, disk) = faulty(dir.path());
        let writer = journal.open().await.unwrap();
        for n in 1..=3 {
            writer.append(single(n)).await.unwrap();
        }
        assert_eq!(disk.unsynced(), []);
        // The sync fails and what was written cannot be taken back: the process dies like that.
        disk.inject(Fault::on(Op::Sync, ".ndjson", EIO));
        disk.inject(Fault::on(Op::SetLen, ".ndjson", EIO));
        writer.append(single(4)).await.unwrap_err();
        drop(writer);
        closed(dir.path()).await;
        assert_eq!(
            disk.unsynced().len(),
            1,
            "the fourth is written and not synced"
        );
        disk.lose_power(spoil).unwrap();
        let after = folder(dir.path());
        let writer = after.open().await.unwrap();
        assert_eq!(after.durable(), 3, "{spoil:?}");
        assert_eq!(
            writer.append(single(5)).await.unwrap(),
            Accepted::Written(4)
        );
        assert_eq!(
            ids(&read_all(&after, 10).await),
            message_ids([1, 2, 3, 5]),
            "{spoil:?}"
        );
    }
}
