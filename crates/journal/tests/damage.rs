//! Damage to what was acknowledged is refused, with file and byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    closed, config, folder, ids, message_ids, planted, read_all, scratch, segment, settled, single,
    written,
};
use twzrd_domain::batch::Position;
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_journal::{Config, Folder};

async fn refusal(journal: &Folder) -> (String, u64, String) {
    match journal.open().await {
        Err(JournalError::Damaged { file, byte, reason }) => (file, byte, reason),
        Err(other) => panic!("expected damage, found {other}"),
        Ok(_) => panic!("expected damage, but it was opened: {:?}", journal.opened()),
    }
}

#[tokio::test]
async fn any_flipped_bit_before_the_last_line_is_refused_with_file_and_byte() {
    let (bytes, ends) = written(&[1, 3, 1]);
    let begin_of_last = ends[2].1;
    for bit in 0..begin_of_last * 8 {
        let mut spoiled = bytes.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        let line = bytes[..bit / 8]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let dir = planted(&spoiled);
        let (file, byte, reason) = refusal(&folder(dir.path())).await;
        assert_eq!(
            file,
            segment(dir.path(), 1).display().to_string(),
            "bit {bit}"
        );
        assert_eq!(byte, line as u64, "bit {bit}: {reason}");
        assert!(reason.ends_with("follows"), "bit {bit}: {reason}");
        assert_eq!(
            std::fs::read(file).unwrap(),
            spoiled,
            "what is damaged stays as it is"
        );
    }
}

/// Lines of whole records, each in the bytes of [`written`].
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').collect()
}

#[tokio::test]
async fn lines_that_are_whole_but_out_of_place_are_refused() {
    let (bytes, _) = written(&[1, 3, 1]);
    let lines = lines(&bytes);
    let length = |count: usize| lines[..count].concat().len() as u64;
    let cases: [(&[usize], u64, &str); 5] = [
        (&[1, 2, 3], 0, "seq is 2; expected 1"),
        (&[0, 1, 3, 4], length(2), "seq is 4; expected 3"),
        (&[0, 1, 1, 2, 3], length(2), "seq is 2; expected 3"),
        (&[0, 1, 2, 3, 4, 4], length(5), "seq is 5; expected 6"),
        (&[0, 0], length(1), "seq is 1; expected 2"),
    ];
    for (order, byte, reason) in cases {
        let dir = planted(&order.iter().map(|&n| lines[n]).collect::<Vec<_>>().concat());
        let (_, found, why) = refusal(&folder(dir.path())).await;
        assert_eq!((found, why.as_str()), (byte, reason), "{order:?}");
    }
}

#[tokio::test]
async fn an_append_whose_records_do_not_count_down_is_refused() {
    let mut bytes = Vec::new();
    for (seq, left) in [(1, 2), (2, 0)] {
        let record = twzrd_domain::record::Record::Event(common::event(seq));
        twzrd_journal::encode(&mut bytes, seq, left, common::AT, &record).unwrap();
    }
    let dir = planted(&bytes);
    let (_, byte, reason) = refusal(&folder(dir.path())).await;
    assert_eq!(byte, lines(&bytes)[0].len() as u64);
    assert_eq!(reason, "left is 0; expected 1");
}

/// A closed, compressed segment of three records, and an active one that begins with the fourth.
async fn two_segments(path: &std::path::Path) -> std::path::PathBuf {
    let journal = Folder::new(Config {
        segment_bytes: 400,
        ..config(path)
    });
    let writer = journal.open().await.unwrap();
    for n in 1..=4 {
        writer.append(single(n)).await.unwrap();
    }
    settled(&journal, &*writer).await;
    assert_eq!(journal.segments(), [1, 4]);
    drop(writer);
    closed(path).await;
    let compressed = path.join("00000000000000000001.ndjson.zst");
    assert!(compressed.exists() && !segment(path, 1).exists());
    compressed
}

/// A frame has bits without a meaning, and may ask for a larger window than it needs: flips of these
/// change no byte of what is read.
#[tokio::test]
async fn any_flipped_bit_in_a_compressed_segment_is_refused_or_changes_nothing() {
    let dir = scratch();
    let compressed = two_segments(dir.path()).await;
    let sound = std::fs::read(&compressed).unwrap();
    let mut harmless = 0;
    let name = compressed.display().to_string();
    for bit in 0..sound.len() * 8 {
        let mut spoiled = sound.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&compressed, spoiled).unwrap();
        let journal = folder(dir.path());
        let writer = journal.open().await.unwrap();
        assert_eq!(
            journal.opened().unwrap().snapshot,
            Some(4),
            "it is not read to open"
        );
        match journal.read(Position::default(), 10).await {
            Ok(chunk) => {
                harmless += 1;
                assert_eq!(ids(&chunk.entries), message_ids(1..=4), "bit {bit}");
            }
            Err(JournalError::Damaged { file, reason, .. }) => {
                assert_eq!(file, name, "bit {bit}: {reason}");
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
        drop(writer);
        closed(dir.path()).await;
    }
    assert!(harmless <= 16, "{harmless} bits");
}

#[tokio::test]
async fn a_compressed_segment_that_is_damaged_refuses_a_rebuild_of_the_memory() {
    let dir = scratch();
    let compressed = two_segments(dir.path()).await;
    std::fs::remove_file(dir.path().join("00000000000000000004.memory")).unwrap();
    let mut bytes = std::fs::read(&compressed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&compressed, &bytes).unwrap();
    let (file, _, reason) = refusal(&folder(dir.path())).await;
    assert_eq!(file, compressed.display().to_string());
    assert!(
        reason.starts_with("it cannot be decompressed from here on"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_closed_segment_that_ends_early_is_refused_when_it_is_read() {
    let dir = scratch();
    let compressed = two_segments(dir.path()).await;
    let plain = zstd::decode_all(std::fs::File::open(&compressed).unwrap()).unwrap();
    let two = lines(&plain)[..2].concat();
    for (content, reason) in [
        (
            two.clone(),
            "it ends behind record 2; expected 3".to_owned(),
        ),
        (
            plain[..plain.len() - 9].to_vec(),
            "the line does not end with \"crc\" and a line feed".to_owned(),
        ),
    ] {
        std::fs::write(&compressed, zstd::encode_all(&*content, 3).unwrap()).unwrap();
        let journal = folder(dir.path());
        let writer = journal.open().await.unwrap();
        let first = journal.read(Position::default(), 2).await.unwrap();
        assert_eq!(ids(&first.entries), message_ids(1..=2));
        let error = journal.read(first.positions[1], 2).await.unwrap_err();
        let JournalError::Damaged {
            byte,
            reason: found,
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((byte, found), (two.len() as u64, reason));
        drop(writer);
        closed(dir.path()).await;
    }
}

#[tokio::test]
async fn a_plain_segment_counts_where_both_are_there() {
    let dir = scratch();
    let compressed = two_segments(dir.path()).await;
    let plain = zstd::decode_all(std::fs::File::open(&compressed).unwrap()).unwrap();
    std::fs::write(segment(dir.path(), 1), &plain).unwrap();
    std::fs::write(&compressed, b"half of it").unwrap();
    std::fs::write(
        dir.path().join("00000000000000000001.ndjson.zst.tmp"),
        b"less",
    )
    .unwrap();
    let journal = folder(dir.path());
    let writer = journal.open().await.unwrap();
    settled(&journal, &*writer).await;
    assert_eq!(ids(&read_all(&journal, 2).await), message_ids(1..=4));
    assert!(!segment(dir.path(), 1).exists(), "compressed again");
    assert_eq!(
        zstd::decode_all(std::fs::File::open(&compressed).unwrap()).unwrap(),
        plain
    );
    assert!(
        !dir.path()
            .join("00000000000000000001.ndjson.zst.tmp")
            .exists()
    );
}

#[tokio::test]
async fn an_id_that_is_missing_or_spoiled_is_refused() {
    let (bytes, _) = written(&[1]);
    let dir = planted(&bytes);
    let id = dir.path().join("ID");
    std::fs::write(&id, "abc\n").unwrap();
    let (file, _, reason) = refusal(&folder(dir.path())).await;
    assert_eq!(file, id.display().to_string());
    assert_eq!(
        reason,
        "found \"abc\"; expected 32 hexadecimal digits in lower case"
    );
    std::fs::remove_file(&id).unwrap();
    let (_, _, reason) = refusal(&folder(dir.path())).await;
    assert_eq!(
        reason,
        "missing, though there are segments; expected 32 hexadecimal digits"
    );
}
