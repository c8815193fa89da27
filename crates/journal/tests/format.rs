//! The bytes of the format, for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{every_kind, folder, segment};
use twzrd_domain::ports::JournalFolder;
use twzrd_domain::record::Append;
use twzrd_journal::{decode, encode, is_segment};

const GOLDEN: &str = include_str!("golden.ndjson");

fn encoded() -> String {
    let records = every_kind();
    let mut out = Vec::new();
    for (n, (at, record)) in records.iter().enumerate() {
        let left = u32::try_from(records.len() - 1 - n).unwrap();
        encode(&mut out, n as u64 + 1, left, *at, record).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn every_kind_is_written_as_it_always_was() {
    for (found, expected) in encoded().lines().zip(GOLDEN.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(encoded(), GOLDEN);
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    let expected = every_kind();
    assert_eq!(GOLDEN.lines().count(), expected.len());
    for (n, (line, (at, record))) in GOLDEN.lines().zip(expected).enumerate() {
        assert!(is_segment(line.as_bytes()));
        let found = decode(&mut line.as_bytes().to_vec()).unwrap();
        assert_eq!(found.entry.seq, n as u64 + 1);
        assert_eq!(found.left as usize, 9 - n);
        assert_eq!((found.entry.at, found.entry.record), (at, record));
    }
}

#[test]
fn the_checksum_is_that_of_zip_over_all_before_it() {
    // Computed by hand from the table-free definition, so that no library vouches for itself.
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                if crc & 1 == 1 {
                    (crc >> 1) ^ 0xedb8_8320
                } else {
                    crc >> 1
                }
            })
        })
    };
    for line in GOLDEN.lines() {
        let (body, trailer) = line.rsplit_once(",\"crc\":").unwrap();
        assert_eq!(trailer, format!("\"{:08x}\"}}", crc(body.as_bytes())));
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object.is_object(), "a line is JSON also as a whole");
    }
}

fn sealed(body: &str) -> Vec<u8> {
    format!(
        "{body},\"crc\":\"{:08x}\"}}",
        crc32fast::hash(body.as_bytes())
    )
    .into_bytes()
}

#[test]
fn fields_of_later_versions_are_skipped_and_kinds_of_later_versions_are_refused() {
    let head = r#"{"seq":1,"left":0,"at":5"#;
    let line = format!(r#"{head},"kind":"seal","epoch":3600,"by":{{"name":"x"}}"#);
    assert_eq!(decode(&mut sealed(&line)).unwrap().entry.seq, 1);
    let refused = |body: String| decode(&mut sealed(&body)).unwrap_err().to_string();
    assert_eq!(
        refused(format!(r#"{head},"kind":"unseal","epoch":3600"#)),
        "kind is \"unseal\"; expected event, tally, seal, suppress, unsuppress, bind, settings or gap"
    );
    assert_eq!(
        refused(format!(r#"{head},"kind":"seal""#)),
        "expected the line to begin with seq, left, at and kind; a field behind kind is missing \
         or out of place"
    );
    assert_eq!(
        refused(format!(r#"{head},"kind":"seal","epoch":"x""#)),
        "the fields of the record: invalid type: string \"x\", expected u64 at line 1 column 12"
    );
    assert_eq!(
        refused(r#"{"seq":99999999999999999999,"left":0"#.to_owned()),
        "expected the line to begin with seq, left, at and kind; seq is missing or out of place"
    );
}

#[tokio::test]
async fn what_is_appended_stands_in_the_file_as_it_is_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let writer = folder(dir.path()).open().await.unwrap();
    let append = Append::Records {
        progress: None,
        records: every_kind(),
    };
    writer.append(append).await.unwrap();
    let found = std::fs::read_to_string(segment(dir.path(), 1)).unwrap();
    assert_eq!(found, GOLDEN);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("ID")).unwrap(),
        "ab".repeat(16) + "\n"
    );
}
