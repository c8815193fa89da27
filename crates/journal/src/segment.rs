//! Reads one segment from its begin to its end, and tells a torn tail from damage.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use twzrd_domain::ports::JournalError;
use twzrd_domain::record::{Entry, Seq};

use crate::files::{first_of, unavailable};
use crate::format::{LineFault, MAX_LINE_BYTES, decode, numbers_within};

/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// The first four bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A record of a segment, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    /// The record.
    pub entry: Entry,
    /// How many records of the same append follow.
    pub left: u32,
    /// Where its line begins, in bytes before compression.
    pub begins: u64,
    /// Where the next line begins.
    pub ends: u64,
}

impl SegmentLine {
    /// True where it is the last record of its append.
    #[must_use]
    pub const fn closes_append(&self) -> bool {
        self.left == 0
    }
}

/// The tail of a segment that a write left unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it begins.
    pub byte: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong with its first line.
    pub reason: String,
}

/// Reads the records of a segment in order. It takes no lock, and knows of no other file.
///
/// It ends at the end of the input or at a torn tail, which [`Self::torn`] tells. What to make of
/// a torn tail is the caller's business: it is expected in the last segment of a journal, and
/// damage in any other. So it is with an append of which the last records are missing: see
/// [`Self::is_between_appends`].
#[derive(Debug)]
pub struct SegmentReader<R> {
    input: R,
    file: String,
    line: Vec<u8>,
    byte: u64,
    expected: Option<Seq>,
    left: Option<u32>,
    torn: Option<Torn>,
    failed: bool,
}

impl<R: BufRead> SegmentReader<R> {
    /// Reads plain lines. `file` is what errors name; `first` is the number that the first record
    /// must have, where it is known.
    pub fn new(input: R, file: impl Into<String>, first: Option<Seq>) -> Self {
        Self::resume(input, file, first, 0)
    }

    /// As [`Self::new`], from the byte on at which a line begins.
    pub fn resume(input: R, file: impl Into<String>, expected: Option<Seq>, byte: u64) -> Self {
        let (file, line) = (file.into(), Vec::new());
        Self {
            input,
            file,
            line,
            byte,
            expected,
            left: None,
            torn: None,
            failed: false,
        }
    }

    /// The next record; none at the end and at a torn tail. After none, it may be asked again: the
    /// input may have grown.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] with file and byte where a line is not what it should be and no
    /// unfinished write can explain it, or where a compressed input is damaged;
    /// [`JournalError::Unavailable`] where the input cannot be read. After an error there is none.
    pub fn next_line(&mut self) -> Result<Option<SegmentLine>, JournalError> {
        if self.torn.is_some() || self.failed {
            return Ok(None);
        }
        let next = self.read_next();
        self.failed = next.is_err();
        next
    }

    /// The tail that is not finished, where the reader came to one.
    pub const fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// True where the last record that was read was the last of its append.
    pub fn is_between_appends(&self) -> bool {
        self.left.is_none_or(|left| left == 0)
    }

    /// Where the next line begins, in bytes before compression.
    pub const fn byte(&self) -> u64 {
        self.byte
    }

    fn read_next(&mut self) -> Result<Option<SegmentLine>, JournalError> {
        let bytes = self.read_line()?;
        if bytes == 0 {
            return Ok(None);
        }
        let fault = if self.line.pop_if(|last| *last == b'\n').is_none() {
            self.line.clear();
            if bytes > MAX_LINE_BYTES {
                LineFault::TooLong
            } else {
                LineFault::NoChecksum
            }
        } else {
            match decode(&mut self.line) {
                Ok(line) => return self.accept(line.entry, line.left, bytes).map(Some),
                Err(fault) => fault,
            }
        };
        if fault.may_be_torn() {
            self.look_behind(bytes, &fault)?;
            return Ok(None);
        }
        Err(self.damaged(fault.to_string()))
    }

    /// Takes an intact line where its number and its place in its append are the next ones.
    fn accept(
        &mut self,
        entry: Entry,
        left: u32,
        bytes: usize,
    ) -> Result<SegmentLine, JournalError> {
        if let Some(expected) = self.expected.filter(|&expected| expected != entry.seq) {
            return Err(self.damaged(format!("seq is {}; expected {expected}", entry.seq)));
        }
        if let Some(expected) = self.left.and_then(|before| before.checked_sub(1))
            && expected != left
        {
            return Err(self.damaged(format!("left is {left}; expected {expected}")));
        }
        let Some(next) = entry.seq.checked_add(1) else {
            return Err(self.damaged(format!("seq is {}; expected less", entry.seq)));
        };
        let begins = self.byte;
        self.byte += bytes as u64;
        self.expected = Some(next);
        self.left = Some(left);
        Ok(SegmentLine {
            entry,
            left,
            begins,
            ends: self.byte,
        })
    }

    /// Behind a line that may be torn: an intact line with a higher number proves that it is not.
    fn look_behind(&mut self, bytes: usize, fault: &LineFault) -> Result<(), JournalError> {
        let mut torn = Torn {
            byte: self.byte,
            bytes: bytes as u64,
            reason: fault.to_string(),
        };
        let at_least = self.expected.unwrap_or(0);
        loop {
            if let Some(number) = numbers_within(&self.line).find(|&number| number >= at_least) {
                let reason = format!("{fault}, and record {number} follows");
                return Err(self.damaged(reason));
            }
            let bytes = self.read_line()?;
            if bytes == 0 {
                self.torn = Some(torn);
                return Ok(());
            }
            torn.bytes += bytes as u64;
            if self.line.pop_if(|last| *last == b'\n').is_none() {
                self.line.clear();
            }
        }
    }

    fn read_line(&mut self) -> Result<usize, JournalError> {
        self.line.clear();
        let mut bounded = self.input.by_ref().take(MAX_LINE_BYTES as u64 + 1);
        bounded.read_until(b'\n', &mut self.line).map_err(|error| {
            // An error of the operating system has a number; one of the decoder has none.
            if error.raw_os_error().is_some() {
                unavailable("read", Path::new(&self.file), &error)
            } else {
                self.damaged(format!("it cannot be decompressed from here on: {error}"))
            }
        })
    }

    fn damaged(&self, reason: String) -> JournalError {
        JournalError::Damaged {
            file: self.file.clone(),
            byte: self.byte,
            reason,
        }
    }
}

impl<R: BufRead> Iterator for SegmentReader<R> {
    type Item = Result<SegmentLine, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

/// Opens a segment of any journal by its path, plain or compressed. It is not locked.
///
/// Where the file is named after its first sequence number, its first record must have it.
///
/// # Errors
/// [`JournalError::Unavailable`] where the file cannot be opened.
pub fn open_segment(path: &Path) -> Result<SegmentReader<Box<dyn BufRead + Send>>, JournalError> {
    let not_opened = |error: io::Error| unavailable("open a segment", path, &error);
    let mut file = File::open(path).map_err(not_opened)?;
    let mut magic = [0; 4];
    let found = file.read(&mut magic).map_err(not_opened)?;
    file.rewind().map_err(not_opened)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let first = first_of(&name).map(|(first, _)| first);
    let input = if magic[..found] == ZSTD_MAGIC {
        decompressed(file).map_err(not_opened)?
    } else {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
    };
    Ok(SegmentReader::new(input, path.display().to_string(), first))
}

/// The plain bytes of a file, read in large steps.
pub(crate) fn buffered(file: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
}

/// The plain bytes of a compressed file.
pub(crate) fn decompressed(
    file: impl Read + Send + 'static,
) -> io::Result<Box<dyn BufRead + Send>> {
    Ok(buffered(zstd::Decoder::new(file)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use twzrd_domain::epoch::Epoch;
    use twzrd_domain::record::{Record, Seal};

    use super::*;

    fn line(seq: Seq) -> Vec<u8> {
        let seal = Record::Seal(Seal { epoch: Epoch(3600) });
        let mut line = Vec::new();
        crate::format::encode(&mut line, seq, 0, 5, &seal).unwrap();
        line
    }

    fn refusal(bytes: &[u8]) -> (u64, String) {
        let mut reader = SegmentReader::new(bytes, "a segment", None);
        loop {
            match reader.next_line() {
                Ok(Some(_)) => {}
                Err(JournalError::Damaged { byte, reason, .. }) => return (byte, reason),
                other => panic!("expected damage, found {other:?}"),
            }
        }
    }

    #[test]
    fn a_record_with_the_highest_number_is_refused_since_none_can_follow() {
        let before = line(Seq::MAX - 1);
        let expected = format!("seq is {}; expected less", Seq::MAX);
        let both = [before.clone(), line(Seq::MAX)].concat();
        assert_eq!(refusal(&both), (before.len() as u64, expected));
    }

    /// Trying each begin by itself, this would take hours.
    #[test]
    fn an_intact_line_is_found_behind_any_number_of_begins() {
        let begins = b"{\"seq\":".repeat(500_000);
        let (byte, reason) = refusal(&[begins, line(7)].concat());
        assert_eq!(byte, 0);
        assert!(reason.ends_with(", and record 7 follows"), "{reason}");
    }
}
