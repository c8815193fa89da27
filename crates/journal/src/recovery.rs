//! Opens what is in a folder: cuts a torn tail, refuses damage, and remembers.

use std::io::ErrorKind;
use std::path::Path;

use compact_str::CompactString;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::memory::Memory;
use twzrd_domain::ports::JournalError;
use twzrd_domain::record::Seq;

use crate::files::{
    Inventory, compressed_name, damaged, memory_name, plain_name, read_or_make_id, unavailable,
};
use crate::health::held;
use crate::segment::{SegmentReader, Torn, buffered, decompressed};
use crate::shared::{Doubt, Shared};
use crate::snapshot;
use crate::storage::SegmentFile;

/// What was cut from the end of the active segment when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where the tail began; the file ends here now.
    pub byte: u64,
    /// How many bytes it had.
    pub bytes: u64,
    /// How many whole records of an unfinished append were among it.
    pub records: u64,
    /// What was wrong.
    pub reason: String,
}

/// What opening came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The journal's id.
    pub id: CompactString,
    /// Its last record.
    pub durable: Seq,
    /// How many segments it has.
    pub segments: usize,
    /// How many records were read to know what was remembered.
    pub read: u64,
    /// The snapshot from which it was known, by its segment; none where all segments were read.
    pub snapshot: Option<Seq>,
    /// What was cut.
    pub cut: Option<Cut>,
}

/// The segment that grows.
pub(crate) struct Active {
    pub(crate) file: Box<dyn SegmentFile>,
    pub(crate) first: Seq,
    /// How many bytes of it are synced.
    pub(crate) bytes: u64,
    /// The earliest and latest time of its records; none where it has none.
    pub(crate) times: Option<(UnixMs, UnixMs)>,
}

impl Active {
    pub(crate) fn extend_times(&mut self, at: UnixMs) {
        let (from, until) = self.times.unwrap_or((at, at));
        self.times = Some((from.min(at), until.max(at)));
    }
}

pub(crate) struct Recovered {
    pub(crate) memory: Memory,
    pub(crate) active: Active,
    pub(crate) last: Seq,
    pub(crate) firsts: Vec<Seq>,
    pub(crate) plain: Vec<Seq>,
    pub(crate) opened: Opened,
}

/// Brings the folder into order and tells what is in it. Needs the lock, and no upkeep beside it.
pub(crate) fn recover(shared: &Shared, doubt: Option<Doubt>) -> Result<Recovered, JournalError> {
    let folder = &shared.config.folder;
    let storage = &*shared.storage;
    let mut inventory = Inventory::of(storage, folder)?;
    clear_away(shared, &inventory)?;
    let id = read_or_make_id(storage, folder, &inventory, shared.config.new_id)?;
    shared.know_id(&id)?;
    if let Some(doubt) = doubt {
        cut_doubt(shared, doubt)?;
    }
    clear_away_empty(shared, &mut inventory)?;
    let firsts = inventory.segments();
    let mut scan = Scan::begin(shared, &inventory, &id, &firsts)?;
    let from = firsts.partition_point(|&first| first < scan.next);
    for (index, &first) in firsts.iter().enumerate().skip(from) {
        let is_plain = inventory.plain.binary_search(&first).is_ok();
        let is_active = is_plain && index + 1 == firsts.len();
        scan.segment(shared, first, is_plain, is_active)?;
    }
    let plain_closed = |first: &Seq| inventory.plain.binary_search(first).is_ok();
    let closed: Vec<Seq> = firsts.iter().copied().filter(plain_closed).collect();
    finish(shared, scan, id, firsts, closed, doubt)
}

/// Goes on where the last writer of this process finished; none where it left nothing, or where the
/// folder is not as it left it. Needs the lock, and no upkeep beside it.
pub(crate) fn take_up(shared: &Shared) -> Result<Option<Recovered>, JournalError> {
    let Some(rest) = held(&shared.rest).take() else {
        return Ok(None);
    };
    let folder = &shared.config.folder;
    let storage = &*shared.storage;
    let inventory = Inventory::of(storage, folder)?;
    let id = read_or_make_id(storage, folder, &inventory, shared.config.new_id)?;
    shared.know_id(&id)?;
    let firsts = inventory.segments();
    let path = shared.plain_path(rest.active.first);
    // Another process may have had the lock in between: whatever it did shows in these.
    let size = storage.open(&path).and_then(|file| file.size());
    let is_as_left = firsts == *shared.table().firsts && size.ok() == Some(rest.active.bytes);
    if !is_as_left {
        return Ok(None);
    }
    clear_away(shared, &inventory)?;
    let is_closed = |first: &Seq| *first != rest.active.first;
    let plain = inventory.plain.iter().copied().filter(is_closed);
    let opened = Opened {
        id,
        durable: rest.last,
        segments: firsts.len(),
        read: 0,
        snapshot: None,
        cut: None,
    };
    Ok(Some(Recovered {
        plain: plain.collect(),
        memory: rest.memory,
        active: rest.active,
        last: rest.last,
        firsts,
        opened,
    }))
}

/// Removes what was not finished, and compressed copies whose plain segment is still there: that
/// one is the original.
fn clear_away(shared: &Shared, inventory: &Inventory) -> Result<(), JournalError> {
    let copies = inventory
        .compressed
        .iter()
        .filter(|first| inventory.plain.binary_search(first).is_ok())
        .map(|&first| compressed_name(first));
    for name in inventory.unfinished.iter().cloned().chain(copies) {
        let path = shared.config.folder.join(name);
        shared
            .storage
            .remove(&path)
            .map_err(|error| unavailable("remove", &path, &error))?;
        tracing::info!(file = %path.display(), "removed what was not finished");
    }
    Ok(())
}

/// Removes segments without a record. A segment that could not be begun, after which the one before
/// it grew on, looks like that. One that was begun has a snapshot, or will be begun again.
fn clear_away_empty(shared: &Shared, inventory: &mut Inventory) -> Result<(), JournalError> {
    let segments = inventory.segments();
    for first in std::mem::take(&mut inventory.plain) {
        let path = shared.plain_path(first);
        let size = shared.storage.open(&path).and_then(|file| file.size());
        let size = size.map_err(|error| unavailable("measure", &path, &error))?;
        let is_begun = inventory.memories.binary_search(&first).is_ok() || segments.len() == 1;
        if size > 0 || (is_begun && segments.last() == Some(&first)) {
            inventory.plain.push(first);
            continue;
        }
        shared
            .storage
            .remove(&path)
            .map_err(|error| unavailable("remove", &path, &error))?;
        tracing::info!(file = %path.display(), "removed a segment without a record");
    }
    Ok(())
}

/// Cuts the active segment back to what was synced before a write failed.
fn cut_doubt(shared: &Shared, doubt: Doubt) -> Result<(), JournalError> {
    let path = shared.plain_path(doubt.first);
    let mut file = match shared.storage.open(&path) {
        Ok(file) => file,
        // An earlier attempt to begin the segment anew came no further than to remove it.
        Err(error) if error.kind() == ErrorKind::NotFound && doubt.bytes == 0 => return Ok(()),
        Err(error) => return Err(unavailable("open", &path, &error)),
    };
    let size = file
        .size()
        .map_err(|error| unavailable("measure", &path, &error))?;
    if size < doubt.bytes {
        let reason = format!(
            "the file ends here; {} bytes of it were synced",
            doubt.bytes
        );
        return Err(damaged(&path, size, reason));
    }
    file.set_len(doubt.bytes)
        .and_then(|()| file.sync())
        .map_err(|error| unavailable("cut", &path, &error))
}

/// What is known after reading up to some record.
struct Scan {
    memory: Memory,
    snapshot: Option<Seq>,
    /// The number of the next record.
    next: Seq,
    read: u64,
    active: Option<Tail>,
}

/// The active segment as it was found.
struct Tail {
    first: Seq,
    bytes: u64,
    times: Option<(UnixMs, UnixMs)>,
    cut: Option<Cut>,
}

impl Scan {
    /// Begins at the newest snapshot that can be used, or else at the first record.
    fn begin(
        shared: &Shared,
        inventory: &Inventory,
        id: &str,
        firsts: &[Seq],
    ) -> Result<Self, JournalError> {
        let folder = &shared.config.folder;
        let mut refused = None;
        for &first in inventory.memories.iter().rev() {
            if firsts.binary_search(&first).is_err() {
                continue;
            }
            match snapshot::read(&*shared.storage, folder, id, first) {
                Ok(memory) => {
                    let snapshot = Some(first);
                    return Ok(Self {
                        memory,
                        snapshot,
                        next: first,
                        read: 0,
                        active: None,
                    });
                }
                Err(error) => {
                    let file = folder.join(memory_name(first));
                    tracing::warn!(file = %file.display(), %error, "the snapshot cannot be used");
                    refused.get_or_insert((file, error.to_string()));
                }
            }
        }
        let first = firsts.first().copied().unwrap_or(1);
        if first > 1 {
            // What the removed segments said of sources and settings is in no other place.
            let (file, reason) =
                refused.unwrap_or_else(|| (folder.join(memory_name(first)), "missing".to_owned()));
            let reason = format!("{reason}; it is needed, as records before {first} were removed");
            return Err(damaged(&file, 0, reason));
        }
        Ok(Self {
            memory: Memory::default(),
            snapshot: None,
            next: 1,
            read: 0,
            active: None,
        })
    }

    fn segment(
        &mut self,
        shared: &Shared,
        first: Seq,
        is_plain: bool,
        is_active: bool,
    ) -> Result<(), JournalError> {
        let name = if is_plain {
            plain_name(first)
        } else {
            compressed_name(first)
        };
        let path = shared.config.folder.join(name);
        if first != self.next {
            let reason = format!("it begins with record {first}; expected {}", self.next);
            return Err(damaged(&path, 0, reason));
        }
        let file = shared
            .storage
            .read(&path)
            .map_err(|error| unavailable("open", &path, &error))?;
        let input = if is_plain {
            buffered(file)
        } else {
            decompressed(file).map_err(|error| unavailable("open", &path, &error))?
        };
        let mut reader = SegmentReader::new(input, path.display().to_string(), Some(first));
        let mut tail = Tail {
            first,
            bytes: 0,
            times: None,
            cut: None,
        };
        let mut pending = Vec::new();
        while let Some(line) = reader.next_line()? {
            let (closes, ends) = (line.closes_append(), line.ends);
            pending.push(line.entry);
            if closes {
                for entry in pending.drain(..) {
                    let (from, until) = tail.times.unwrap_or((entry.at, entry.at));
                    tail.times = Some((from.min(entry.at), until.max(entry.at)));
                    self.memory.observe(&entry);
                    self.next = entry.seq + 1;
                    self.read += 1;
                }
                tail.bytes = ends;
            }
        }
        let torn = reader.torn().cloned();
        tail.cut = cut_of(&path, tail.bytes, reader.byte(), pending.len() as u64, torn);
        if !is_active && let Some(cut) = tail.cut {
            return Err(damaged(&path, cut.byte, cut.reason));
        }
        self.active = is_active.then_some(tail);
        Ok(())
    }
}

fn cut_of(path: &Path, end: u64, read: u64, records: u64, torn: Option<Torn>) -> Option<Cut> {
    let (bytes, reason) = match torn {
        Some(torn) => (torn.byte + torn.bytes - end, torn.reason),
        None if records == 0 => return None,
        None => (
            read - end,
            "the last records of the append are missing".to_owned(),
        ),
    };
    Some(Cut {
        file: path.display().to_string(),
        byte: end,
        bytes,
        records,
        reason,
    })
}

/// Cuts the tail, begins a segment where one is needed, and has it all on the disk.
fn finish(
    shared: &Shared,
    scan: Scan,
    id: CompactString,
    mut firsts: Vec<Seq>,
    mut closed: Vec<Seq>,
    doubt: Option<Doubt>,
) -> Result<Recovered, JournalError> {
    let last = scan.next - 1;
    let cut = scan.active.as_ref().and_then(|tail| tail.cut.clone());
    let is_in_doubt = doubt.is_some_and(|doubt| doubt.sync_failed);
    let active = match scan.active {
        Some(tail) if !is_in_doubt => keep_tail(shared, &tail)?,
        // No page of the file whose sync failed is written again.
        tail => {
            if tail.is_some_and(|tail| tail.bytes == 0) {
                let path = shared.plain_path(scan.next);
                shared
                    .storage
                    .remove(&path)
                    .map_err(|error| unavailable("remove", &path, &error))?;
                firsts.pop();
            }
            firsts.push(scan.next);
            Active {
                file: begin_file(shared, scan.next)?,
                first: scan.next,
                bytes: 0,
                times: None,
            }
        }
    };
    closed.retain(|&first| first != active.first);
    let folder = &shared.config.folder;
    shared
        .storage
        .sync_folder(folder)
        .map_err(|error| unavailable("sync the folder", folder, &error))?;
    if let Some(cut) = &cut {
        tracing::warn!(
            file = cut.file,
            byte = cut.byte,
            bytes = cut.bytes,
            records = cut.records,
            reason = cut.reason,
            "cut a torn tail"
        );
    }
    let (segments, snapshot, read) = (firsts.len(), scan.snapshot, scan.read);
    let opened = Opened {
        id,
        durable: last,
        segments,
        read,
        snapshot,
        cut,
    };
    Ok(Recovered {
        memory: scan.memory,
        active,
        last,
        firsts,
        plain: closed,
        opened,
    })
}

fn keep_tail(shared: &Shared, tail: &Tail) -> Result<Active, JournalError> {
    let path = shared.plain_path(tail.first);
    let mut file = shared
        .storage
        .open(&path)
        .map_err(|error| unavailable("open", &path, &error))?;
    if tail.cut.is_some() {
        file.set_len(tail.bytes)
            .map_err(|error| unavailable("cut", &path, &error))?;
    }
    // A process that was killed may have written what it had not synced.
    file.sync()
        .map_err(|error| unavailable("sync", &path, &error))?;
    Ok(Active {
        file,
        first: tail.first,
        bytes: tail.bytes,
        times: tail.times,
    })
}

/// Begins a segment: an empty file whose name is on the disk.
pub(crate) fn begin_file(
    shared: &Shared,
    first: Seq,
) -> Result<Box<dyn SegmentFile>, JournalError> {
    let path = shared.plain_path(first);
    let folder = &shared.config.folder;
    let file = shared
        .storage
        .create(&path)
        .map_err(|error| unavailable("begin a segment", &path, &error))?;
    shared
        .storage
        .sync_folder(folder)
        .map_err(|error| unavailable("begin a segment", &path, &error))?;
    Ok(file)
}
