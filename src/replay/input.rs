//! The inputs of a replay: opened, decompressed, recognised, and known by their content.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use twzrd_domain::record::Progress;

use crate::exit::{Code, Failure, fail};

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// How much of an input is looked at to tell what it is.
const LOOK_BYTES: usize = 8192;
/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The first characters of the source of an input in the journal.
pub const SOURCE_PREFIX: &str = "input:";

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Raw IRC lines.
    Lines,
    /// Records of a journal.
    Segment,
}

/// An input, by name.
pub struct Input {
    /// Its name, as it was given.
    pub name: String,
    /// Its size in bytes, before decompression; none where it has no end yet.
    pub size: Option<u64>,
    place: Place,
}

enum Place {
    Path(PathBuf),
    /// Standard input; spooled to a file once it has to be read twice.
    Stdin(Option<File>),
}

/// An input that is being read.
pub struct Reading {
    /// What it holds.
    pub kind: Kind,
    /// True where it has not a single byte.
    pub is_empty: bool,
    /// Its bytes after decompression.
    pub bytes: Box<dyn BufRead + Send>,
    /// How many bytes have been read before decompression.
    pub raw: Arc<AtomicU64>,
}

/// How far an input has been read, by its content.
pub struct Lineage {
    /// The source in the journal; none before the first append.
    pub source: Option<String>,
    /// How far, in bytes after decompression.
    pub upto: u64,
    /// The hash over the content so far.
    pub hasher: blake3::Hasher,
    /// True where it ends in the middle of a line, which has been taken in as it was: the content
    /// was shorter then. What has come to that line since belongs to no line.
    pub mid_line: bool,
}

impl Input {
    /// Looks at what was named on the command line; `-` is standard input.
    ///
    /// # Errors
    /// Where there is no such file, or it is a folder.
    pub fn named(name: &str) -> Result<Self, Failure> {
        if name == "-" {
            return Ok(Self {
                name: "standard input".to_owned(),
                size: None,
                place: Place::Stdin(None),
            });
        }
        let path = PathBuf::from(name);
        let meta = std::fs::metadata(&path).map_err(|error| {
            fail(
                Code::NoInput,
                format_args!("{name} cannot be opened: {error}"),
            )
        })?;
        if meta.is_dir() {
            let message = "is a folder; expected a file of raw IRC lines or a journal segment, plain or zstd, or - for standard input";
            return Err(fail(Code::NoInput, format_args!("{name} {message}")));
        }
        let size = meta.is_file().then_some(meta.len());
        Ok(Self {
            name: name.to_owned(),
            size,
            place: Place::Path(path),
        })
    }

    /// The path, where it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            Place::Stdin(_) => None,
        }
    }

    /// True where it has the name of a plain segment: a stopped journal ends with an empty one where
    /// nothing was accepted after the last seal.
    #[must_use]
    pub fn is_plain_segment(&self) -> bool {
        let name = self.path().and_then(Path::file_name);
        name.and_then(OsStr::to_str)
            .is_some_and(twzrd_journal::is_plain_name)
    }

    /// Makes the input one that can be read twice: standard input is copied to a file in `folder`,
    /// which has no name and goes with the process.
    ///
    /// # Errors
    /// Where the copy cannot be written.
    pub fn make_rereadable(&mut self, folder: &Path) -> Result<(), Failure> {
        if let Place::Stdin(spool @ None) = &mut self.place {
            let copied = tempfile::tempfile_in(folder).and_then(|mut file| {
                io::copy(&mut io::stdin().lock(), &mut file)?;
                file.flush()?;
                Ok(file)
            });
            *spool = Some(copied.map_err(|error| {
                fail(
                    Code::Io,
                    format_args!(
                        "standard input cannot be copied to {}: {error}",
                        folder.display()
                    ),
                )
            })?);
        }
        Ok(())
    }

    /// Opens the input at its beginning.
    ///
    /// # Errors
    /// Where it cannot be opened or read, or is binary.
    pub fn read(&self) -> Result<Reading, Failure> {
        let unreadable = |error: io::Error| {
            fail(
                Code::NoInput,
                format_args!("{} cannot be read: {error}", self.name),
            )
        };
        let file: Box<dyn Read + Send> = match &self.place {
            Place::Path(path) => Box::new(File::open(path).map_err(unreadable)?),
            Place::Stdin(None) => Box::new(io::stdin()),
            Place::Stdin(Some(spool)) => {
                let mut again = spool.try_clone().map_err(unreadable)?;
                again.seek(SeekFrom::Start(0)).map_err(unreadable)?;
                Box::new(again)
            }
        };
        let raw = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: file,
            count: Arc::clone(&raw),
        };
        let mut bytes = BufReader::with_capacity(BUFFER_BYTES, counted);
        let is_zstd = look(&mut bytes, ZSTD_MAGIC.len())
            .map_err(unreadable)?
            .starts_with(&ZSTD_MAGIC);
        let mut bytes: Box<dyn BufRead + Send> = if is_zstd {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(unreadable)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(bytes)
        };
        let begin = look(&mut bytes, LOOK_BYTES).map_err(|error| self.broken(&error, 0))?;
        if let Some(at) = memchr::memchr(0, &begin) {
            let message = format!(
                "{} is binary: byte {at} is zero; expected raw IRC lines or a journal segment, plain or zstd",
                self.name
            );
            return Err(fail(Code::Data, message));
        }
        let kind = if twzrd_journal::is_segment(&begin) {
            Kind::Segment
        } else {
            Kind::Lines
        };
        Ok(Reading {
            kind,
            is_empty: begin.is_empty(),
            bytes,
            raw,
        })
    }

    /// The failure of an input that broke off.
    #[must_use]
    pub fn broken(&self, error: &io::Error, upto: u64) -> Failure {
        let code = if error.raw_os_error().is_some() {
            Code::Io
        } else {
            Code::Data
        };
        fail(
            code,
            format_args!(
                "{} cannot be read past byte {upto} of its content: {error}; what came before is accepted, and is not read again from the same content",
                self.name
            ),
        )
    }
}

/// The first bytes of a reader, which are not taken out of it. Fewer only at its end.
fn look(bytes: &mut impl BufRead, wanted: usize) -> io::Result<Vec<u8>> {
    // One fill gives what one read gave, which is all a pipe may have for now: it suffices to tell
    // what an input is, and waiting for more could wait for ever.
    let begin = bytes.fill_buf()?;
    Ok(begin[..begin.len().min(wanted)].to_vec())
}

/// Finds out how far content has been read before: the longest beginning that the journal knows.
///
/// # Errors
/// Where the input cannot be read.
pub fn find_lineage(input: &Input, known: &[Progress]) -> Result<Lineage, Failure> {
    let hasher = blake3::Hasher::new();
    let mut best = Lineage {
        source: None,
        upto: 0,
        hasher,
        mid_line: false,
    };
    let mut known: Vec<&Progress> = known
        .iter()
        .filter(|progress| progress.source.starts_with(SOURCE_PREFIX))
        .collect();
    if known.is_empty() {
        return Ok(best);
    }
    known.sort_by_key(|progress| progress.upto);
    let mut bytes = input.read()?.bytes;
    let mut hasher = blake3::Hasher::new();
    let (mut at, mut last) = (0, b'\n');
    for progress in known {
        let missing = progress.upto - at;
        let read = feed(&mut bytes, missing, &mut hasher, &mut last)
            .map_err(|error| input.broken(&error, at))?;
        at += read;
        if read < missing {
            break;
        }
        if digest(&hasher) == progress.digest {
            best = Lineage {
                source: Some(progress.source.to_string()),
                upto: at,
                hasher: hasher.clone(),
                mid_line: last != b'\n',
            };
        }
    }
    Ok(best)
}

/// The hash over the content so far, as the journal keeps it.
#[must_use]
pub fn digest(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Skips what has been read before.
///
/// # Errors
/// Where the input cannot be read.
pub fn skip(bytes: &mut impl BufRead, count: u64) -> io::Result<()> {
    io::copy(&mut bytes.take(count), &mut io::sink()).map(|_| ())
}

/// Hashes so many bytes, fewer only at the end, and notes the last of them.
fn feed(
    bytes: &mut impl BufRead,
    count: u64,
    hasher: &mut blake3::Hasher,
    last: &mut u8,
) -> io::Result<u64> {
    let mut left = count;
    while left > 0 {
        let block = bytes.fill_buf()?;
        if block.is_empty() {
            break;
        }
        let taken = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        hasher.update(&block[..taken]);
        *last = block[..taken].last().copied().unwrap_or(*last);
        bytes.consume(taken);
        left -= taken as u64;
    }
    Ok(count - left)
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
