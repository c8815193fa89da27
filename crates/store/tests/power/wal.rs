//! What a loss of power may leave of a SQLite database in WAL mode with `synchronous=FULL`.
//!
//! Three pages of sqlite.org say what is synced when: "Write-Ahead Logging" (wal.html, "Performance
//! Considerations"), "PRAGMA synchronous" (pragma.html#pragma_synchronous), and "Atomic Commit In
//! SQLite" (atomiccommit.html, on what is assumed of a disk); which frames count, "Database File
//! Format" (fileformat2.html#walformat).
//!
//! - A commit appends frames to the log, and under FULL writers sync the log at every commit
//!   (wal.html, pragma.html). The database itself is not touched. So what was committed before is
//!   there, and of the frames of the commit in flight any part.
//! - A frame counts where its salts are those of the header and its checksum, which runs over all
//!   frames before it, fits; and only up to the last frame that commits (fileformat2.html). So a
//!   torn frame takes all behind it along.
//! - The log is synced before a checkpoint writes to the database, and the database before the log
//!   may be written over (wal.html, pragma.html under NORMAL). So while it runs each page that it
//!   writes may be old, new, or torn, and all of them are in the log. A sector is written whole or not
//!   at all, and nothing beside it changes (atomiccommit.html, psow.html).
//! - Behind a checkpoint that came to the end of the log, the next writer begins at its start again,
//!   with other salts (fileformat2.html); it syncs the header before the frames that follow
//!   (`walFrames` in the source, and ticket ff5be73dee, which is why). The frames of before, which
//!   may still stand behind those that are written, do not fit the salts.
//! - The file `-shm` is never synced, and whoever comes first makes it anew (wal.html).
#![allow(dead_code, reason = "each test uses its part")]

/// The header of the log, in bytes.
pub(crate) const HEADER: usize = 32;
/// The header of a frame.
pub(crate) const FRAME_HEADER: usize = 24;
/// A page of a database that was made with the usual settings.
pub(crate) const PAGE: usize = 4096;

/// The salts of a log, and the end of its last commit; none where it holds nothing.
pub(crate) fn committed(log: &[u8]) -> Option<([u8; 8], usize)> {
    let salts: [u8; 8] = log.get(16..24)?.try_into().unwrap();
    let frames = log[HEADER..].chunks_exact(FRAME_HEADER + PAGE);
    let (mut at, mut end) = (HEADER, HEADER);
    for frame in frames.take_while(|frame| frame[8..16] == salts) {
        at += frame.len();
        if frame[4..8] != [0; 4] {
            end = at;
        }
    }
    Some((salts, end))
}

/// The pages that the log holds, numbered from 1.
pub(crate) fn pages(log: &[u8]) -> Vec<usize> {
    let Some((_, end)) = committed(log) else {
        return Vec::new();
    };
    let frames = log[HEADER..end].chunks_exact(FRAME_HEADER + PAGE);
    let number = |frame: &[u8]| u32::from_be_bytes(frame[..4].try_into().unwrap());
    frames.map(|frame| number(frame) as usize).collect()
}

/// Where the commit in flight begins and ends in the log, as it is after it.
pub(crate) fn in_flight(before: &[u8], after: &[u8]) -> (usize, usize) {
    let (salts, end) = committed(after).unwrap();
    let begin = match committed(before) {
        Some((old, begin)) if old == salts => begin,
        _ => 0,
    };
    assert_eq!(before.get(..begin), Some(&after[..begin]));
    (begin, end)
}

/// What stands behind the bytes that a loss of power has kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behind {
    /// What stood there before.
    Before,
    /// Zeros, up to where the write ends.
    Zeros,
    /// Bytes that repeat, up to where the write ends.
    Garbage(u8),
}

/// The log after a loss of power that kept it up to a byte, and whether it holds the commit.
pub(crate) fn cut(before: &[u8], after: &[u8], at: usize, behind: Behind) -> (Vec<u8>, bool) {
    let (begin, end) = in_flight(before, after);
    assert!((begin..=end).contains(&at));
    let mut left = after[..at].to_vec();
    // The header is on the disk before a frame is written.
    let written = if at < HEADER { HEADER } else { end };
    match behind {
        Behind::Before => {}
        Behind::Zeros => left.resize(written, 0),
        Behind::Garbage(byte) => left.resize(written, byte),
    }
    left.extend(before.get(left.len()..).unwrap_or(&[]));
    let is_whole = left.get(..end) == Some(&after[..end]);
    (left, is_whole)
}
