//! Reads an input to its end and turns it into appends to the journal. Runs on a thread of its own.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use twzrd_domain::epoch::EpochLength;
use twzrd_domain::record::{Append, Progress, Record, Seq};
use twzrd_journal::SegmentReader;
use twzrd_twitch::intake::IntakeBuilder;
use twzrd_twitch::line::{Arrival, MAX_LINE_BYTES};

use super::input::{Input, Lineage, digest};
use crate::exit::{Code, Failure, fail};

/// How many lines one append takes in.
const LINES_PER_APPEND: u64 = 8192;
/// How many records of another journal one append takes in, before its last whole append.
const RECORDS_PER_APPEND: usize = 8192;

/// How raw lines are read.
#[derive(Clone, Copy)]
pub(super) struct LineRules {
    /// The epoch length in force.
    pub length: EpochLength,
    /// Whether what people wrote is kept.
    pub keep_text: bool,
}

/// What was noticed while an input was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Lines that were read, or records.
    pub lines: u64,
    /// Lines that were longer than a line may be.
    pub oversized: u64,
    /// True where the input ends in the middle of a line.
    pub is_cut: bool,
    /// The number of the last record of a journal segment.
    pub last_seq: Option<Seq>,
}

/// Reads raw lines from where `lineage` stands, and hands on appends until `hand_on` says no.
///
/// # Errors
/// Where the input breaks off. What was handed on stays good.
pub(super) fn read_lines(
    input: &Input,
    mut bytes: Box<dyn BufRead + Send>,
    lineage: Lineage,
    rules: LineRules,
    hand_on: impl FnMut(Append) -> bool,
) -> Result<Notes, Failure> {
    let mut lines = Lines {
        upto: lineage.upto,
        source: lineage.source.unwrap_or_default(),
        hasher: lineage.hasher,
        whole: None,
        rules,
        builder: IntakeBuilder::new(rules.length, rules.keep_text),
        partial: Vec::new(),
        is_oversized: false,
        is_skipping: lineage.mid_line,
        hand_on,
        notes: Notes::default(),
    };
    loop {
        let block = match bytes.fill_buf() {
            Ok(block) => block,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Whole lines that came before the break are good; what there is of the next one
                // is read again with the rest of it.
                lines.go_back_to_whole_lines();
                lines.flush();
                return Err(input.broken(&error, lines.upto));
            }
        };
        if block.is_empty() {
            break;
        }
        let length = block.len();
        if !lines.take(block) {
            return Ok(lines.notes);
        }
        bytes.consume(length);
    }
    lines.end();
    Ok(lines.notes)
}

struct Lines<F> {
    upto: u64,
    source: String,
    hasher: blake3::Hasher,
    /// Where the line begins that goes on in the next block, and the hash up to there.
    whole: Option<(u64, blake3::Hasher)>,
    rules: LineRules,
    builder: IntakeBuilder,
    /// The beginning of a line that goes on in the next block.
    partial: Vec<u8>,
    is_oversized: bool,
    /// True while the rest of a line is skipped of which the beginning was taken for a line.
    is_skipping: bool,
    hand_on: F,
    notes: Notes,
}

impl<F: FnMut(Append) -> bool> Lines<F> {
    /// Takes in a block; false where nobody wants more.
    fn take(&mut self, block: &[u8]) -> bool {
        let (mut begin, mut hashed) = (0, 0);
        for end in memchr::memchr_iter(b'\n', block) {
            self.line(&block[begin..end]);
            self.whole = None;
            begin = end + 1;
            if self.builder.lines() >= LINES_PER_APPEND {
                self.pass(&block[hashed..begin]);
                hashed = begin;
                if !self.flush() {
                    return false;
                }
            }
        }
        self.pass(&block[hashed..begin]);
        if begin < block.len() {
            self.whole
                .get_or_insert_with(|| (self.upto, self.hasher.clone()));
            self.begin_line(&block[begin..]);
            self.pass(&block[begin..]);
        }
        true
    }

    /// Forgets the line that has begun.
    fn go_back_to_whole_lines(&mut self) {
        if let Some((upto, hasher)) = self.whole.take() {
            (self.upto, self.hasher) = (upto, hasher);
            self.partial.clear();
            self.is_oversized = false;
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.upto += bytes.len() as u64;
    }

    /// Takes in the end of a line.
    fn line(&mut self, rest: &[u8]) {
        if self.is_skipping {
            self.is_skipping = false;
        } else if self.is_oversized {
            self.builder.push_oversized(Arrival::Recorded);
            self.notes.oversized += 1;
        } else if self.partial.is_empty() {
            self.builder.push(rest, Arrival::Recorded);
        } else {
            self.partial.extend_from_slice(rest);
            self.builder.push(&self.partial, Arrival::Recorded);
        }
        self.partial.clear();
        self.is_oversized = false;
    }

    /// Takes in the beginning of a line, or more of it.
    fn begin_line(&mut self, bytes: &[u8]) {
        if self.is_skipping || self.is_oversized {
            return;
        }
        // One byte more than a line may have makes it too long, whatever follows.
        if self.partial.len() + bytes.len() > MAX_LINE_BYTES + 1 {
            self.is_oversized = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.notes.is_cut = !self.partial.is_empty() || self.is_oversized;
        if self.notes.is_cut {
            self.line(&[]);
        }
        self.flush();
    }

    /// Hands on what was gathered, up to the last whole line.
    fn flush(&mut self) -> bool {
        let fresh = IntakeBuilder::new(self.rules.length, self.rules.keep_text);
        let builder = std::mem::replace(&mut self.builder, fresh);
        if builder.lines() == 0 {
            return true;
        }
        self.notes.lines += builder.lines();
        let progress = progress(&self.source, self.upto, &self.hasher);
        (self.hand_on)(Append::Intake(builder.finish(Some(progress))))
    }
}

/// Reads a segment of a journal from where `lineage` stands, and hands on its records.
///
/// Each append of the segment is handed on whole or not at all.
///
/// # Errors
/// Where the segment is damaged, or does not go on behind record `after`.
pub(super) fn read_segment(
    input: &Input,
    bytes: Box<dyn BufRead + Send>,
    lineage: Lineage,
    after: Option<Seq>,
    mut hand_on: impl FnMut(Append) -> bool,
) -> Result<Notes, Failure> {
    let source = lineage.source.unwrap_or_default();
    let hasher = Arc::new(Mutex::new(lineage.hasher));
    let hashed = Hashed {
        inner: bytes,
        hasher: Arc::clone(&hasher),
    };
    let is_begin = lineage.upto == 0;
    let mut reader = SegmentReader::resume(hashed, input.name.clone(), None, lineage.upto);
    let mut notes = Notes::default();
    // Whole appends of the segment, and the one that is being read.
    let (mut whole, mut append) = (Vec::new(), Vec::new());
    let mut last_end = lineage.upto;
    let mut last_hash = hash_of(&hasher);
    while let Some(line) = reader.next_line()? {
        if is_begin && notes.last_seq.is_none() {
            check_order(&input.name, line.entry.seq, after)?;
        }
        notes.last_seq = Some(line.entry.seq);
        append.push((line.entry.at, of_elsewhere(line.entry.record)));
        if line.left > 0 {
            continue;
        }
        whole.append(&mut append);
        (last_end, last_hash) = (line.ends, hash_of(&hasher));
        if whole.len() >= RECORDS_PER_APPEND {
            notes.lines += whole.len() as u64;
            let progress = Some(progress(&source, last_end, &last_hash));
            if !hand_on(Append::Records {
                progress,
                records: std::mem::take(&mut whole),
            }) {
                return Ok(notes);
            }
        }
    }
    notes.is_cut = reader.torn().is_some() || !append.is_empty();
    if !whole.is_empty() {
        notes.lines += whole.len() as u64;
        let progress = Some(progress(&source, last_end, &last_hash));
        hand_on(Append::Records {
            progress,
            records: whole,
        });
    }
    Ok(notes)
}

fn hash_of(hasher: &Mutex<blake3::Hasher>) -> blake3::Hasher {
    hasher
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn check_order(name: &str, found: Seq, after: Option<Seq>) -> Result<(), Failure> {
    match after {
        Some(after) if found != after + 1 => Err(fail(
            Code::Data,
            format_args!(
                "{name} begins with record {found}; expected record {}: a segment is missing, or they are out of order",
                after + 1
            ),
        )),
        None if found != 1 => {
            tracing::warn!(
                input = name,
                first = found,
                "the journal's beginning is missing: opt-outs, settings and open epochs of that time are not known"
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A record of another journal as it is taken over: the progress of that journal's sources says
/// nothing of ours.
fn of_elsewhere(record: Record) -> Record {
    match record {
        Record::Tally(mut tally) => {
            tally.progress = None;
            Record::Tally(tally)
        }
        other => other,
    }
}

fn progress(source: &str, upto: u64, hasher: &blake3::Hasher) -> Progress {
    Progress {
        source: source.into(),
        upto,
        digest: digest(hasher).into(),
    }
}

/// Hashes what is consumed.
struct Hashed {
    inner: Box<dyn BufRead + Send>,
    hasher: Arc<Mutex<blake3::Hasher>>,
}

impl Read for Hashed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hasher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .update(&into[..read]);
        Ok(read)
    }
}

impl BufRead for Hashed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // The bytes are in the buffer: filling it again gives them without reading.
        if let Ok(block) = self.inner.fill_buf() {
            let taken = &block[..count.min(block.len())];
            self.hasher
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .update(taken);
        }
        self.inner.consume(count);
    }
}
