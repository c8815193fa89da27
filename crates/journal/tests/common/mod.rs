//! Small journals, and what to append to them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use twzrd_domain::batch::Position;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::event::{Action, Event, IdDigest, MessageId, Outcome};
use twzrd_domain::identity::{Name, UserHash, Wallet};
use twzrd_domain::ports::{Clock, JournalFolder, JournalWriter};
use twzrd_domain::record::{
    Append, Bind, Candidate, Entry, Gap, Intake, Progress, Record, Seal, Suppress, Tally,
    TallyCount,
};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::testing::FaultyStorage;
use twzrd_journal::{Config, Folder};

pub(crate) const AT: UnixMs = 1_700_000_000_123;

pub(crate) struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixMs {
        AT
    }
}

pub(crate) fn config(folder: &Path) -> Config {
    Config {
        new_id: Some([0xab; 16]),
        ..Config::new(folder, Arc::new(Stopped))
    }
}

pub(crate) fn folder(path: &Path) -> Folder {
    Folder::new(config(path))
}

pub(crate) fn faulty(path: &Path) -> (Folder, FaultyStorage) {
    let storage = FaultyStorage::default();
    (
        Folder::with_storage(config(path), Arc::new(storage.clone())),
        storage,
    )
}

pub(crate) fn event(n: u64) -> Event {
    Event {
        id: MessageId::parse(&format!("message-{n}")),
        channel: Name::parse("forsen").unwrap(),
        ts: AT + n,
        login: Name::parse(&format!("viewer{n}")).unwrap(),
        user_id: Some(n),
        action: Action::Message { bits: 0 },
        text: None,
    }
}

/// One event, appended as it stands.
pub(crate) fn single(n: u64) -> Append {
    Append::Records {
        progress: None,
        records: vec![(AT + n, Record::Event(event(n)))],
    }
}

/// Events `from..until` of one source, read up to `until`.
pub(crate) fn batch(source: &str, from: u64, until: u64) -> Append {
    Append::Intake(Intake {
        progress: Some(progress(source, until)),
        at: AT + from,
        lines: until - from,
        candidates: (from..until).map(|n| Candidate::Event(event(n))).collect(),
        tally: Vec::new(),
    })
}

pub(crate) fn progress(source: &str, upto: u64) -> Progress {
    Progress {
        source: source.into(),
        upto,
        digest: "".into(),
    }
}

/// One record of each kind, with all fields that can be left out present once.
pub(crate) fn every_kind() -> Vec<(UnixMs, Record)> {
    let hash = UserHash([0x11; 32]);
    let tally = Tally {
        lines: 4,
        progress: Some(Progress {
            source: "chat.txt".into(),
            upto: 512,
            digest: "beef".into(),
        }),
        seen: vec![IdDigest(7)],
        counts: vec![TallyCount {
            epoch: Epoch(1_699_999_200),
            channel: Name::none(),
            outcome: Outcome::Other,
            lines: 2,
        }],
    };
    let gap = Gap {
        channel: Name::parse("xqc").unwrap(),
        from: AT,
        until: AT + 500,
        reason: "disconnected".to_owned(),
    };
    let bind = Bind {
        user: hash,
        wallet: Wallet([0x22; 32]),
        verified: true,
        source: "operator".to_owned(),
    };
    let said = Event {
        text: Some("a \"quoted\" line\nand ünï".into()),
        action: Action::Message { bits: 100 },
        ..event(2)
    };
    let bare = Event {
        id: None,
        user_id: None,
        action: Action::Gift { count: 5 },
        ..event(3)
    };
    let person = Suppress {
        hashes: vec![hash],
        reason: "asked".to_owned(),
    };
    let again = Suppress {
        hashes: vec![hash],
        reason: String::new(),
    };
    let settings = Arithmetic {
        bots: vec![Name::parse("nightbot").unwrap()],
        ..Arithmetic::default()
    };
    vec![
        (AT, Record::Settings(settings)),
        (AT + 1, Record::Event(event(1))),
        (AT + 2, Record::Event(said)),
        (AT + 3, Record::Event(bare)),
        (AT + 4, Record::Tally(tally)),
        (AT + 5, Record::Gap(gap)),
        (AT + 6, Record::Bind(bind)),
        (AT + 7, Record::Suppress(person)),
        (AT + 8, Record::Unsuppress(again)),
        (
            AT + 9,
            Record::Seal(Seal {
                epoch: Epoch(1_699_999_200),
            }),
        ),
    ]
}

/// All synced records, read in steps of `step`.
pub(crate) async fn read_all(folder: &Folder, step: usize) -> Vec<Entry> {
    let mut from = Position::default();
    let mut all = Vec::new();
    loop {
        let chunk = folder.read(from, step).await.unwrap();
        assert_eq!(chunk.entries.len(), chunk.positions.len());
        let Some(&last) = chunk.positions.last() else {
            return all;
        };
        from = last;
        all.extend(chunk.entries);
    }
}

/// The message ids of events, in order.
pub(crate) fn ids(entries: &[Entry]) -> Vec<String> {
    let id = |entry: &Entry| match &entry.record {
        Record::Event(event) => event.id.as_ref().map(|id| id.as_str().to_owned()),
        _ => None,
    };
    entries.iter().filter_map(id).collect()
}

pub(crate) fn message_ids(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|n| format!("message-{n}"))
        .collect()
}

pub(crate) fn segment(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.ndjson"))
}

/// Waits until everything is done that the appends before gave rise to: a segment is closed after the
/// answer, and the writer tells of its memory when it is done with all that was before.
pub(crate) async fn settled(folder: &Folder, writer: &dyn JournalWriter) {
    writer.memory().await.unwrap();
    folder.wait_kept().await;
}

/// Waits for the writer of this process to let go of the folder, by taking the lock itself.
pub(crate) async fn closed(path: &Path) {
    let lock = std::fs::File::open(path.join("LOCK")).unwrap();
    tokio::task::spawn_blocking(move || lock.lock().unwrap())
        .await
        .unwrap();
}

/// A folder that is gone after the test; in memory where that is possible, since syncs are not
/// what most tests are about.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A folder with one segment of these bytes.
pub(crate) fn planted(bytes: &[u8]) -> tempfile::TempDir {
    let dir = scratch();
    std::fs::write(dir.path().join("ID"), "ab".repeat(16) + "\n").unwrap();
    std::fs::write(segment(dir.path(), 1), bytes).unwrap();
    dir
}

/// The bytes of a segment that holds these appends, and where each append ends.
pub(crate) fn written(sizes: &[u64]) -> (Vec<u8>, Vec<(u64, usize)>) {
    let (mut bytes, mut ends, mut seq) = (Vec::new(), vec![(0, 0)], 0);
    for &size in sizes {
        for left in (0..size).rev() {
            seq += 1;
            let left = u32::try_from(left).unwrap();
            twzrd_journal::encode(&mut bytes, seq, left, AT + seq, &Record::Event(event(seq)))
                .unwrap();
        }
        ends.push((seq, bytes.len()));
    }
    (bytes, ends)
}
