//! What the journal remembers, kept beside the segment at whose begin it was remembered.
//!
//! So opening reads the newest snapshot and the records since, not all that ever was. The file
//! `<first>.memory` says what is remembered of all records before `first`:
//!
//! | bytes | meaning |
//! |---|---|
//! | 8 | `TWZRDMEM` |
//! | 4 | version, 1 |
//! | 32 | the journal's id, hexadecimal |
//! | 8 | `first` |
//! | 8, then 8 each | how many message ids are remembered; their digests, oldest first |
//! | 8, then as many | the length of the rest; the progress of sources and the settings, as JSON |
//! | 4 | CRC-32 over all bytes before it |
//!
//! Numbers are little-endian. A snapshot is only ever a shortcut: where it is missing or damaged,
//! the memory is rebuilt from the segments.

use std::path::Path;

use twzrd_domain::event::IdDigest;
use twzrd_domain::memory::{Memory, MemoryParts, REMEMBERED_IDS};
use twzrd_domain::record::Seq;

use crate::files::{memory_name, read_whole};
use crate::storage::Storage;

const MAGIC: &[u8; 8] = b"TWZRDMEM";
const VERSION: u32 = 1;
const CRC_BYTES: usize = 4;

/// The largest snapshot that is read, in bytes: all ids, and 200,000 sources with room to spare.
const MAX_BYTES: u64 = 256 << 20;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It ends too early.
    #[error("it ends within {0}")]
    Short(&'static str),
    /// The checksum does not fit.
    #[error("its checksum is {computed:08x}, but it says {written:08x}")]
    Checksum {
        /// That of the bytes that are there.
        computed: u32,
        /// That which the file carries.
        written: u32,
    },
    /// It is something else.
    #[error("{what} is {found:?}; expected {expected:?}")]
    Other {
        /// Which part of it.
        what: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The parts are not what they should be.
    #[error("the sources and settings: {0}")]
    Parts(#[from] serde_json::Error),
}

/// Writes down what is remembered where the segment `first` of the journal `id` begins.
///
/// # Errors
/// Where a part cannot be written as JSON.
pub fn encode(memory: &Memory, id: &str, first: Seq) -> Result<Vec<u8>, serde_json::Error> {
    let parts = serde_json::to_vec(&memory.parts())?;
    let ids = memory.seen().iter();
    let mut out = Vec::with_capacity(72 + 8 * ids.len() + parts.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    for IdDigest(digest) in ids {
        out.extend_from_slice(&digest.to_le_bytes());
    }
    out.extend_from_slice(&(parts.len() as u64).to_le_bytes());
    out.extend_from_slice(&parts);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(out)
}

/// Reads what [`encode`] wrote for the same journal and segment.
///
/// # Errors
/// Says why it cannot be used.
pub fn decode(bytes: &[u8], id: &str, first: Seq) -> Result<Memory, SnapshotError> {
    let body = bytes
        .len()
        .checked_sub(CRC_BYTES)
        .ok_or(SnapshotError::Short("the checksum"))?;
    let (body, mut checksum) = bytes.split_at(body);
    let written = u32::from_le_bytes(take(&mut checksum, "the checksum")?);
    let computed = crc32fast::hash(body);
    if computed != written {
        return Err(SnapshotError::Checksum { computed, written });
    }
    let mut rest = body;
    expect("its begin", &take(&mut rest, "its begin")?, MAGIC)?;
    expect(
        "its version",
        &u32::from_le_bytes(take(&mut rest, "its version")?),
        &VERSION,
    )?;
    let found = take::<32>(&mut rest, "the id")?;
    expect("the journal", &*String::from_utf8_lossy(&found), id)?;
    expect(
        "its segment",
        &u64::from_le_bytes(take(&mut rest, "its segment")?),
        &first,
    )?;
    let count = u64::from_le_bytes(take(&mut rest, "the number of ids")?);
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(REMEMBERED_IDS);
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(IdDigest(u64::from_le_bytes(take(&mut rest, "the ids")?)));
    }
    let length = u64::from_le_bytes(take(&mut rest, "the length of the parts")?);
    expect("the length of the parts", &(rest.len() as u64), &length)?;
    let parts: MemoryParts = serde_json::from_slice(rest)?;
    Ok(Memory::from_parts(parts, ids))
}

/// Reads the snapshot of a segment from its file.
pub(crate) fn read(
    storage: &dyn Storage,
    folder: &Path,
    id: &str,
    first: Seq,
) -> Result<Memory, SnapshotError> {
    let bytes = read_whole(storage, &folder.join(memory_name(first)), MAX_BYTES)?;
    decode(&bytes, id, first)
}

fn take<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], SnapshotError> {
    let (taken, left) = rest
        .split_first_chunk::<N>()
        .ok_or(SnapshotError::Short(what))?;
    *rest = left;
    Ok(*taken)
}

fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &'static str,
    found: &T,
    expected: &T,
) -> Result<(), SnapshotError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    Err(SnapshotError::Other {
        what,
        found,
        expected,
    })
}
