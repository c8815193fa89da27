//! Bytes as the segments of a journal: it is opened up to its last whole append, or refused with
//! file and byte; it never holds a record that was not written; and whatever it holds is there
//! again, with what is appended, when it is opened again.
//!
//! What is expected is worked out by [`model`], line by line, from the format alone.

use std::sync::Arc;

use tokio::runtime::Runtime;
use twzrd_domain::batch::Position;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::event::{Action, Event, MessageId};
use twzrd_domain::identity::Name;
use twzrd_domain::memory::{Memory, MemoryParts};
use twzrd_domain::ports::{Clock, JournalError, JournalFolder, JournalWriter};
use twzrd_domain::record::{Accepted, Append, Entry, Record, Seal};
use twzrd_journal::{Config, Folder, SegmentReader, snapshot};

use super::disk::Disk;
use model::{Expected, ID, Part, Reading, path_of, resealed};

pub(crate) mod model;

const AT: UnixMs = 1_700_000_000_123;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixMs {
        AT
    }
}

thread_local! {
    /// The lock of a journal lies in the file system, whatever the rest lies in.
    static PLACE: (tempfile::TempDir, Runtime) = {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        (folder, runtime.expect("a runtime"))
    };
}

/// As they are, and with every checksum set right: no mutation would find one.
pub(crate) fn check(data: &[u8]) {
    examine(data);
    let sound = resealed(data);
    if sound != data {
        examine(&sound);
    }
}

fn examine(data: &[u8]) {
    as_a_snapshot(data);
    as_one_segment(data);
    let Some(parts) = Part::all(data) else {
        return;
    };
    PLACE.with(|(folder, runtime)| {
        let disk = Disk::default();
        disk.put(folder.path().join("ID"), ID.as_bytes());
        for part in &parts {
            disk.put(path_of(folder.path(), part), part.bytes);
        }
        let place = Place {
            config: Config {
                segment_bytes: 600,
                ..Config::new(folder.path(), Arc::new(Stopped))
            },
            disk,
        };
        if let Some(expected) = Expected::of(folder.path(), &parts) {
            runtime.block_on(place.is_as_expected(expected));
        }
    });
}

struct Place {
    config: Config,
    disk: Disk,
}

impl Place {
    fn folder(&self) -> Folder {
        Folder::with_storage(self.config.clone(), Arc::new(self.disk.clone()))
    }

    async fn is_as_expected(&self, expected: Expected) {
        let planted = self.disk.files();
        let folder = self.folder();
        let writer = match (folder.open().await, expected.refused) {
            (Ok(writer), None) => writer,
            (Err(JournalError::Damaged { file, byte, reason }), Some((path, at))) => {
                assert_eq!(file, path.display().to_string(), "{reason}");
                assert!(
                    at.is_none_or(|at| at == byte),
                    "{byte}, not {at:?}: {reason}"
                );
                assert!(!reason.is_empty());
                self.wait_closed().await;
                let left = self.disk.files();
                for (path, bytes) in planted.iter().filter(|(_, bytes)| !bytes.is_empty()) {
                    assert_eq!(
                        left.get(path),
                        Some(bytes),
                        "what is damaged stays as it is"
                    );
                }
                return;
            }
            (found, expected) => panic!("{:?}, not {expected:?}", found.map(|_| ()).err()),
        };
        let opened = folder.opened().expect("it was opened");
        assert_eq!(opened.durable, expected.entries.len() as u64);
        let cut = opened.cut.map(|cut| (cut.file.into(), cut.byte, cut.bytes));
        assert_eq!(cut, expected.cut);

        let mut entries = expected.entries;
        holds(&folder, &entries).await;
        append(&*writer, &mut entries).await;
        holds(&folder, &entries).await;
        let memory = remembered(&entries);
        assert_eq!(writer.memory().await.expect("it works"), memory);
        folder.wait_kept().await;
        holds(&folder, &entries).await;
        drop(writer);
        self.wait_closed().await;

        let again = self.folder();
        let writer = again.open().await.expect("what was whole is whole");
        let opened = again.opened().expect("it was opened");
        assert_eq!((opened.durable, opened.cut), (entries.len() as u64, None));
        holds(&again, &entries).await;
        assert_eq!(writer.memory().await.expect("it works"), memory);
        drop(writer);
        self.wait_closed().await;
    }

    /// The threads of a writer end behind its drop.
    async fn wait_closed(&self) {
        let path = self.config.folder.join("LOCK");
        let waited = tokio::task::spawn_blocking(move || std::fs::File::open(path)?.lock());
        waited.await.expect("no panic").expect("a lock");
    }
}

/// It gives just these records, in large steps and in small ones.
async fn holds(folder: &Folder, expected: &[Entry]) {
    for step in [usize::MAX, 3] {
        let (mut from, mut found) = (Position::default(), Vec::new());
        loop {
            let chunk = folder.read(from, step).await.expect("it can be read");
            assert_eq!(chunk.entries.len(), chunk.positions.len());
            let Some(&last) = chunk.positions.last() else {
                break;
            };
            found.extend(chunk.entries);
            assert_eq!(last.seq, found.len() as u64);
            from = last;
        }
        assert_eq!(found, expected);
    }
}

fn remembered(entries: &[Entry]) -> MemoryParts {
    let mut memory = Memory::default();
    entries.iter().for_each(|entry| memory.observe(entry));
    memory.parts()
}

/// Appends a seal and an event that nobody has sent before.
async fn append(writer: &dyn JournalWriter, entries: &mut Vec<Entry>) {
    let last = entries.len() as u64;
    let name = Name::parse("somebody").expect("a name");
    let event = Event {
        id: MessageId::parse(&format!("\u{1}fresh-{last}")),
        channel: name.clone(),
        ts: AT,
        login: name,
        user_id: None,
        action: Action::Notice,
        text: None,
    };
    let seal = Seal { epoch: Epoch(3600) };
    let records = vec![(AT, Record::Seal(seal)), (AT, Record::Event(event))];
    let known = |entry: &Entry| matches!((&entry.record, &records[1].1), (Record::Event(a), Record::Event(b)) if a.id == b.id);
    if entries.iter().any(known) {
        return;
    }
    let behind = (last + 1..).zip(&records);
    entries.extend(behind.map(|(seq, (at, record))| Entry {
        seq,
        at: *at,
        record: record.clone(),
    }));
    let append = Append::Records {
        progress: None,
        records,
    };
    let accepted = writer.append(append).await.expect("it works");
    assert_eq!(accepted, Accepted::Written(last + 2));
}

/// The reader of single segments, which knows neither folder nor first number.
fn as_one_segment(data: &[u8]) {
    let mut reader = SegmentReader::new(data, "a segment", None);
    let mut found = Vec::new();
    let error = loop {
        match reader.next_line() {
            Ok(Some(line)) => {
                let begin = usize::try_from(line.begins).expect("it is in memory");
                let end = usize::try_from(line.ends).expect("it is in memory");
                model::verifies(&data[begin..end], &line.entry, line.left);
                found.push(line.entry);
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    // Whoever stops stays stopped.
    assert!(matches!(reader.next_line(), Ok(None)));
    let expected = Reading::of(data, None);
    assert_eq!(
        found,
        [expected.whole.clone(), expected.begun.clone()].concat()
    );
    match error {
        None => assert_eq!(expected.damaged, None),
        Some(JournalError::Damaged { byte, .. }) => assert_eq!(expected.damaged, Some(byte)),
        Some(other) => panic!("{other}"),
    }
    let torn = reader.torn().map(|torn| (torn.byte, torn.bytes));
    assert_eq!(torn, expected.torn);
    assert_eq!(reader.is_between_appends(), expected.begun.is_empty());
}

/// A snapshot is used or not; it is never something else.
fn as_a_snapshot(data: &[u8]) {
    if !data.starts_with(b"TWZRDMEM") {
        return;
    }
    let id = ID.trim_end();
    let body = &data[..data.len().saturating_sub(4)];
    let sound = [body, &model::crc(body).to_le_bytes()].concat();
    for bytes in [data, &sound] {
        let Ok(memory) = snapshot::decode(bytes, id, 1) else {
            continue;
        };
        let written = snapshot::encode(&memory, id, 1).expect("it can be written");
        let again = snapshot::decode(&written, id, 1).expect("it can be read");
        assert_eq!(again.parts(), memory.parts());
        assert!(again.seen().iter().eq(memory.seen().iter()));
    }
}
