//! Reads synced records across segments, and goes on where the last call stopped.

use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom};

use twzrd_domain::batch::Position;
use twzrd_domain::ports::{Chunk, JournalError};
use twzrd_domain::record::Seq;

use crate::files::{damaged, unavailable};
use crate::health::held;
use crate::segment::{SegmentLine, SegmentReader, buffered, decompressed};
use crate::shared::{Shared, Table};

/// An open segment, read up to some record.
pub(crate) struct Cursor {
    reader: SegmentReader<Box<dyn BufRead + Send>>,
    /// A record that was read to see whether it is the right one.
    ahead: Option<SegmentLine>,
    segment: Seq,
    /// The last record that was read.
    at: Seq,
    /// What lies behind the last synced record may be in a buffer already, and be cut off again.
    /// Whenever that happens the generation of the table changes, and the cursor is given up.
    generation: u64,
}

/// Reads records behind a position, at most `limit`, none that is not synced. Blocks on files.
pub(crate) fn read(shared: &Shared, from: Position, limit: usize) -> Result<Chunk, JournalError> {
    let table = shared.table();
    let is_open = !table.firsts.is_empty();
    if is_open && from.seq > table.durable {
        let reason = format!(
            "a reader stands behind record {}, but the last record is {}",
            from.seq, table.durable
        );
        return Err(damaged(&shared.config.folder, 0, reason));
    }
    if !is_open || from.seq == table.durable || limit == 0 {
        return Ok(Chunk::default());
    }
    let kept = held(&shared.cursor).take();
    let mut cursor = match kept {
        Some(cursor) if cursor.at == from.seq && cursor.generation == table.generation => cursor,
        _ => Cursor::open(shared, &table, from)?,
    };
    let mut chunk = Chunk::default();
    while chunk.entries.len() < limit && cursor.at < table.durable {
        let line = cursor.next(shared, &table)?;
        chunk.positions.push(Position {
            seq: line.entry.seq,
            segment: cursor.segment,
            byte: line.ends,
        });
        chunk.entries.push(line.entry);
    }
    *held(&shared.cursor) = Some(cursor);
    Ok(chunk)
}

impl Cursor {
    /// Opens the segment of the next record, at the place that the position names where that is
    /// right, and at its begin otherwise.
    fn open(shared: &Shared, table: &Table, from: Position) -> Result<Self, JournalError> {
        let wanted = from.seq + 1;
        let Some(segment) = table.segment_of(wanted) else {
            let first = table.firsts.first().copied().unwrap_or(0);
            let reason = format!("record {wanted} was removed; the first that is left is {first}");
            return Err(damaged(&shared.config.folder, 0, reason));
        };
        if from.segment == segment
            && from.byte > 0
            && let Some(cursor) = Self::open_at(shared, table, from)?
        {
            return Ok(cursor);
        }
        let mut cursor = Self::open_segment(shared, table, segment, segment, 0)?;
        while cursor.at < from.seq {
            cursor.next(shared, table)?;
        }
        Ok(cursor)
    }

    /// None where the next record does not begin at that byte. The hint is the caller's, so that
    /// this is no damage.
    fn open_at(
        shared: &Shared,
        table: &Table,
        from: Position,
    ) -> Result<Option<Self>, JournalError> {
        let (segment, wanted) = (from.segment, from.seq + 1);
        let mut probe = Self::open_segment(shared, table, segment, wanted, from.byte)?;
        match probe.reader.next_line() {
            Ok(Some(line)) => Ok(Some(Self {
                ahead: Some(line),
                ..probe
            })),
            Ok(None) | Err(JournalError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_segment(
        shared: &Shared,
        table: &Table,
        segment: Seq,
        expected: Seq,
        byte: u64,
    ) -> Result<Self, JournalError> {
        let (input, file) = open_input(shared, segment, byte)?;
        let reader = SegmentReader::resume(input, file, Some(expected), byte);
        let (at, generation) = (expected - 1, table.generation);
        Ok(Self {
            reader,
            ahead: None,
            segment,
            at,
            generation,
        })
    }

    /// The next record, which is there: it is synced.
    fn next(&mut self, shared: &Shared, table: &Table) -> Result<SegmentLine, JournalError> {
        loop {
            let line = self.ahead.take();
            if let Some(line) = line.map_or_else(|| self.reader.next_line(), |it| Ok(Some(it)))? {
                self.at = line.entry.seq;
                return Ok(line);
            }
            let next = table
                .next_of(self.segment)
                .filter(|&next| next == self.at + 1);
            let is_whole = self.reader.torn().is_none() && self.reader.is_between_appends();
            match next {
                Some(next) if is_whole => {
                    *self = Self::open_segment(shared, table, next, next, 0)?;
                }
                _ => return Err(self.ends_too_early(shared, table)),
            }
        }
    }

    fn ends_too_early(&self, shared: &Shared, table: &Table) -> JournalError {
        let last = table
            .next_of(self.segment)
            .map_or(table.durable, |next| next - 1);
        let reason = match self.reader.torn() {
            Some(torn) => torn.reason.clone(),
            None => format!("it ends behind record {}; expected {last}", self.at),
        };
        damaged(&shared.plain_path(self.segment), self.reader.byte(), reason)
    }
}

/// The bytes of a segment from some byte on, plain or compressed, and the name of the file. The
/// plain file may give way to the compressed one between two looks.
fn open_input(
    shared: &Shared,
    segment: Seq,
    byte: u64,
) -> Result<(Box<dyn BufRead + Send>, String), JournalError> {
    let path = shared.plain_path(segment);
    match shared.storage.read(&path) {
        Ok(mut inner) => {
            inner
                .seek(SeekFrom::Start(byte))
                .map_err(|error| unavailable("read", &path, &error))?;
            return Ok((buffered(inner), path.display().to_string()));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(unavailable("open", &path, &error)),
    }
    let path = shared.compressed_path(segment);
    let no_file = |error: io::Error| unavailable("open", &path, &error);
    let mut input = shared
        .storage
        .read(&path)
        .and_then(decompressed)
        .map_err(no_file)?;
    // What cannot be decompressed on the way is found again, and named, when it is read in order.
    let skipped = io::copy(&mut input.by_ref().take(byte), &mut io::sink());
    if let Some(error) = skipped.err().filter(|error| error.raw_os_error().is_some()) {
        return Err(unavailable("read", &path, &error));
    }
    Ok((input, path.display().to_string()))
}
