//! What a journal's files come to, by the words of the format.

use std::io::Read;
use std::path::{Path, PathBuf};

use twzrd_domain::record::{Entry, Seq};
use twzrd_journal::{LineFault, decode, encode};

/// The file `ID`.
pub(crate) const ID: &str = "abababababababababababababababab\n";

/// What stands between two segments of an input.
pub(crate) const BETWEEN: &[u8] = b"====\n";

const MOST_PARTS: usize = 3;

/// A compressed segment that holds more is left out.
const MOST_BYTES: u64 = 1 << 20;

const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BEGIN: &[u8] = b"{\"seq\":";
const TRAILER: &[u8] = b",\"crc\":\"";

/// A segment of an input.
pub(crate) struct Part<'a> {
    pub(crate) first: Seq,
    pub(crate) bytes: &'a [u8],
    is_compressed: bool,
}

impl<'a> Part<'a> {
    /// The segments, each named after its first record where it tells; none where these are no
    /// files of one folder.
    pub(crate) fn all(data: &'a [u8]) -> Option<Vec<Self>> {
        let mut next = 1;
        let mut parts: Vec<Self> = Vec::new();
        for bytes in split(data) {
            let is_compressed = bytes.starts_with(ZSTD);
            let first = first_of(bytes).unwrap_or(next);
            if parts.last().is_some_and(|before| before.first >= first) || first == 0 {
                return None;
            }
            let plain = if is_compressed {
                Reading::of(&decompressed(bytes)?.0, Some(first))
            } else {
                Reading::of(bytes, Some(first))
            };
            next = first.checked_add(plain.whole.len() as u64)?;
            parts.push(Self {
                first,
                bytes,
                is_compressed,
            });
        }
        Some(parts)
    }
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while parts.len() + 1 < MOST_PARTS
        && let Some(at) = rest.windows(BETWEEN.len()).position(|it| it == BETWEEN)
    {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// The plain bytes, as far as there are any, and whether that is all; none where it is too much.
fn decompressed(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut plain = Vec::new();
    let decoder = zstd::Decoder::with_buffer(bytes).ok()?;
    let read = decoder.take(MOST_BYTES + 1).read_to_end(&mut plain);
    (plain.len() as u64 <= MOST_BYTES).then_some((plain, read.is_ok()))
}

/// The number with which a segment begins.
pub(crate) fn first_of(bytes: &[u8]) -> Option<Seq> {
    let digits = bytes.strip_prefix(BEGIN)?;
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

pub(crate) fn path_of(folder: &Path, part: &Part<'_>) -> PathBuf {
    let ending = if part.is_compressed { ".zst" } else { "" };
    folder.join(format!("{:020}.ndjson{ending}", part.first))
}

/// What opening comes to.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) entries: Vec<Entry>,
    /// File, byte and length of the tail that is cut.
    pub(crate) cut: Option<(PathBuf, u64, u64)>,
    /// File, and byte where that is known, of what is refused.
    pub(crate) refused: Option<(PathBuf, Option<u64>)>,
}

impl Expected {
    /// None where that is not worth while to know.
    pub(crate) fn of(folder: &Path, parts: &[Part<'_>]) -> Option<Self> {
        // A segment without a record was not begun, where it is not the only one.
        let is_begun = |part: &&Part<'_>| !part.bytes.is_empty() || parts.len() == 1;
        let parts: Vec<_> = parts.iter().filter(is_begun).collect();
        let mut all = Self::default();
        if let Some(part) = parts.first().filter(|part| part.first > 1) {
            let missing = folder.join(format!("{:020}.memory", part.first));
            return Some(all.refuse(missing, Some(0)));
        }
        for (place, part) in parts.iter().enumerate() {
            let path = path_of(folder, part);
            if part.first != all.entries.len() as u64 + 1 {
                return Some(all.refuse(path, Some(0)));
            }
            let (plain, is_whole) = if part.is_compressed {
                decompressed(part.bytes)?
            } else {
                (part.bytes.to_vec(), true)
            };
            if !is_whole {
                return Some(all.refuse(path, None));
            }
            let reading = Reading::of(&plain, Some(part.first));
            if let Some(byte) = reading.damaged {
                return Some(all.refuse(path, Some(byte)));
            }
            let end = reading.end;
            all.entries.extend(reading.whole);
            if end == plain.len() as u64 {
                continue;
            }
            if part.is_compressed || place + 1 < parts.len() {
                return Some(all.refuse(path, Some(end)));
            }
            all.cut = Some((path, end, plain.len() as u64 - end));
        }
        Some(all)
    }

    fn refuse(mut self, path: PathBuf, byte: Option<u64>) -> Self {
        self.refused = Some((path, byte));
        self
    }
}

/// What one segment comes to.
#[derive(Default)]
pub(crate) struct Reading {
    /// The records of whole appends.
    pub(crate) whole: Vec<Entry>,
    /// Where the last whole append ends.
    pub(crate) end: u64,
    /// The records of an append that is not finished.
    pub(crate) begun: Vec<Entry>,
    /// Begin and length of what a write left unfinished.
    pub(crate) torn: Option<(u64, u64)>,
    /// Where it is damaged.
    pub(crate) damaged: Option<u64>,
}

impl Reading {
    /// Where no first number is given, the first record may have any.
    pub(crate) fn of(bytes: &[u8], first: Option<Seq>) -> Self {
        let mut all = Self::default();
        let (mut at, mut next, mut left) = (0, first, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let line = rest.split_inclusive(|&b| b == b'\n').next().unwrap_or(rest);
            let decoded = match line.strip_suffix(b"\n") {
                Some(line) => decode(&mut line.to_vec()),
                None => Err(LineFault::NoChecksum),
            };
            match decoded {
                // Behind the highest number there is no next one.
                Ok(found)
                    if next.is_none_or(|next| next == found.entry.seq)
                        && found.entry.seq < Seq::MAX
                        && (left == 0 || found.left == left - 1) =>
                {
                    at += line.len();
                    next = Some(found.entry.seq + 1);
                    left = found.left;
                    all.begun.push(found.entry);
                    if left == 0 {
                        all.whole.append(&mut all.begun);
                        all.end = at as u64;
                    }
                }
                Err(fault) if fault.may_be_torn() && !goes_on(rest, next) => {
                    all.torn = Some((at as u64, rest.len() as u64));
                    return all;
                }
                _ => {
                    all.damaged = Some(at as u64);
                    return all;
                }
            }
        }
        all
    }
}

/// True where an intact line with that number or a higher one ends in these bytes.
fn goes_on(bytes: &[u8], next: Option<Seq>) -> bool {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let mut whole = lines.filter_map(|line| line.strip_suffix(b"\n"));
    whole.any(|line| {
        let begins = (0..line.len()).filter(|&begin| line[begin..].starts_with(BEGIN));
        let mut numbers = begins.filter_map(|begin| match decode(&mut line[begin..].to_vec()) {
            Ok(_) | Err(LineFault::Fields(_)) => first_of(&line[begin..]),
            Err(_) => None,
        });
        numbers.any(|number| number >= next.unwrap_or(0))
    })
}

/// A record is what stands in its line, by a checksum that was computed here, and it is read as it
/// is written.
pub(crate) fn verifies(line: &[u8], entry: &Entry, left: u32) {
    let body = &line[..line.len() - 19];
    let trailer = format!(",\"crc\":\"{:08x}\"}}\n", crc(body));
    assert_eq!(&line[body.len()..], trailer.as_bytes());
    assert_eq!(first_of(line), Some(entry.seq));
    let mut written = Vec::new();
    encode(&mut written, entry.seq, left, entry.at, &entry.record).expect("it can be written");
    assert_eq!(written.pop(), Some(b'\n'));
    let again = decode(&mut written).expect("it can be read");
    assert_eq!((&again.entry, again.left), (entry, left));
}

/// The bytes with the checksum of every line that has a place for one set right.
pub(crate) fn resealed(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let each = lines.map(|line| {
        let at = line.len().saturating_sub(19);
        let (body, trailer) = line.split_at(at);
        if trailer.starts_with(TRAILER) {
            let sound = format!(",\"crc\":\"{:08x}\"}}\n", crc(body));
            [body, sound.as_bytes()].concat()
        } else {
            line.to_vec()
        }
    });
    each.collect::<Vec<_>>().concat()
}

/// CRC-32 from its definition, so that no library vouches for itself.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}
