//! One record as one line, and back.

use serde_json::{from_slice, to_writer};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::record::{Entry, Record, Seq};

use crate::backwards::begins_of;

/// The longest line, in bytes. The longest that the bounds of an append give rise to is half of it.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// `,"crc":"` and eight digits and `"}`.
const TRAILER_BYTES: usize = 18;
const TRAILER_BEGIN: &[u8] = b",\"crc\":\"";
const LINE_BEGIN: &[u8] = b"{\"seq\":";
const LEFT: &[u8] = b",\"left\":";
const AT: &[u8] = b",\"at\":";
const KIND: &[u8] = b",\"kind\":\"";

/// A record in its place within its append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The record with its number and time.
    pub entry: Entry,
    /// How many records of the same append follow.
    pub left: u32,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// The line does not end as every line does.
    #[error("the line does not end with \"crc\" and a line feed")]
    NoChecksum,
    /// The line is longer than [`MAX_LINE_BYTES`].
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The checksum does not fit.
    #[error("the checksum of the line is {computed:08x}, but it says {written}")]
    Checksum {
        /// That of the bytes that are there.
        computed: u32,
        /// That which the line carries.
        written: String,
    },
    /// The line is intact, but does not begin as every line does.
    #[error(
        "expected the line to begin with seq, left, at and kind; {0} is missing or out of place"
    )]
    Header(&'static str),
    /// The line is intact, but its kind is not one that is known.
    #[error(
        "kind is {0:?}; expected event, tally, seal, suppress, unsuppress, bind, settings or gap"
    )]
    Kind(String),
    /// The line is intact, but the fields of its kind are not.
    #[error("the fields of the record: {0}")]
    Fields(serde_json::Error),
}

impl LineFault {
    /// True where a write that was not finished can look like this; then the checksum is not right.
    #[must_use]
    pub const fn may_be_torn(&self) -> bool {
        matches!(
            self,
            Self::NoChecksum | Self::TooLong | Self::Checksum { .. }
        )
    }
}

/// True where a file that begins with these bytes is a plain segment. Seven bytes tell.
#[must_use]
pub fn is_segment(begin: &[u8]) -> bool {
    begin.starts_with(LINE_BEGIN)
}

/// Writes a record behind what stands in `out`, with its line feed.
///
/// # Errors
/// Where a field cannot be written as JSON; then `out` is as it was.
pub fn encode(
    out: &mut Vec<u8>,
    seq: Seq,
    left: u32,
    at: UnixMs,
    record: &Record,
) -> Result<(), serde_json::Error> {
    let begin = out.len();
    let written = write_body(out, seq, left, at, record);
    if written.is_err() {
        out.truncate(begin);
        return written;
    }
    let checksum = crc32fast::hash(&out[begin..]);
    out.extend_from_slice(TRAILER_BEGIN);
    out.extend_from_slice(&hex_digits(checksum));
    out.extend_from_slice(b"\"}\n");
    Ok(())
}

fn write_body(
    out: &mut Vec<u8>,
    seq: Seq,
    left: u32,
    at: UnixMs,
    record: &Record,
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(LINE_BEGIN);
    to_writer(&mut *out, &seq)?;
    out.extend_from_slice(LEFT);
    to_writer(&mut *out, &left)?;
    out.extend_from_slice(AT);
    to_writer(&mut *out, &at)?;
    out.extend_from_slice(KIND);
    out.extend_from_slice(record.kind().as_bytes());
    out.push(b'"');
    // Every kind is an object with at least one field. Its brace becomes the comma that joins it to
    // what stands before it, and its last brace gives way to the checksum.
    let fields = out.len();
    match record {
        Record::Event(event) => to_writer(&mut *out, event)?,
        Record::Tally(tally) => to_writer(&mut *out, tally)?,
        Record::Seal(seal) => to_writer(&mut *out, seal)?,
        Record::Suppress(person) | Record::Unsuppress(person) => to_writer(&mut *out, person)?,
        Record::Bind(bind) => to_writer(&mut *out, bind)?,
        Record::Settings(settings) => to_writer(&mut *out, settings)?,
        Record::Gap(gap) => to_writer(&mut *out, gap)?,
    }
    out[fields] = b',';
    out.pop();
    Ok(())
}

/// Reads a line, given without its line feed. The bytes are changed where the line is intact.
///
/// # Errors
/// Says what is wrong with the line.
pub fn decode(line: &mut [u8]) -> Result<Numbered, LineFault> {
    let body = intact(line)?;
    let header = Header::read(&line[..body])?;
    line[header.fields] = b'{';
    line[body] = b'}';
    let record = (header.parse)(&line[header.fields..=body]).map_err(LineFault::Fields)?;
    Ok(Numbered {
        entry: Entry {
            seq: header.seq,
            at: header.at,
            record,
        },
        left: header.left,
    })
}

/// The numbers of the intact lines with which these bytes end, given without their line feed. They
/// need not begin where the bytes begin. However many begins there are, the bytes are gone through
/// once.
pub(crate) fn numbers_within(bytes: &[u8]) -> impl Iterator<Item = Seq> + '_ {
    let (body, digits) = trailer(bytes).unwrap_or((0, b""));
    let written = std::str::from_utf8(digits).ok();
    let written = written.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let written = written.filter(|&written| *digits == hex_digits(written));
    let begins = written.map(|written| begins_of(&bytes[..body], written));
    let headers = begins.into_iter().flatten();
    headers.filter_map(move |begin| {
        let header = Header::read(&bytes[begin..body]).ok()?;
        Some(header.seq)
    })
}

/// Checks the end of a line and its checksum; gives the length of what the checksum covers.
fn intact(line: &[u8]) -> Result<usize, LineFault> {
    let (body, digits) = trailer(line).ok_or(LineFault::NoChecksum)?;
    let computed = crc32fast::hash(&line[..body]);
    if digits == hex_digits(computed) {
        return Ok(body);
    }
    Err(LineFault::Checksum {
        computed,
        written: String::from_utf8_lossy(digits).into_owned(),
    })
}

/// The length of what the checksum at the end of a line covers, and its digits.
fn trailer(line: &[u8]) -> Option<(usize, &[u8])> {
    let body = line.len().checked_sub(TRAILER_BYTES)?;
    let digits = line[body..]
        .strip_prefix(TRAILER_BEGIN)?
        .strip_suffix(b"\"}")?;
    Some((body, digits))
}

fn hex_digits(value: u32) -> [u8; 8] {
    let mut digits = [0; 8];
    for (n, byte) in value.to_be_bytes().into_iter().enumerate() {
        digits[2 * n] = b"0123456789abcdef"[usize::from(byte >> 4)];
        digits[2 * n + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

type Parse = fn(&[u8]) -> serde_json::Result<Record>;

/// What every line begins with. The order of its keys is part of the format.
struct Header {
    seq: Seq,
    left: u32,
    at: UnixMs,
    parse: Parse,
    /// Where the comma in front of the fields of the kind stands.
    fields: usize,
}

impl Header {
    fn read(body: &[u8]) -> Result<Self, LineFault> {
        let mut rest = body;
        let seq = number(&mut rest, LINE_BEGIN).ok_or(LineFault::Header("seq"))?;
        let left = number(&mut rest, LEFT)
            .and_then(|left| u32::try_from(left).ok())
            .ok_or(LineFault::Header("left"))?;
        let at = number(&mut rest, AT).ok_or(LineFault::Header("at"))?;
        let rest = rest.strip_prefix(KIND).ok_or(LineFault::Header("kind"))?;
        let end = rest
            .iter()
            .position(|&byte| byte == b'"')
            .ok_or(LineFault::Header("kind"))?;
        let parse = parser_of(&rest[..end])?;
        let fields = body.len() - rest.len() + end + 1;
        if body.get(fields) != Some(&b',') {
            return Err(LineFault::Header("a field behind kind"));
        }
        Ok(Self {
            seq,
            left,
            at,
            parse,
            fields,
        })
    }
}

fn number(rest: &mut &[u8], key: &[u8]) -> Option<u64> {
    let digits = rest.strip_prefix(key)?;
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if count == 0 {
        return None;
    }
    let value = digits[..count].iter().try_fold(0u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    *rest = &digits[count..];
    Some(value)
}

fn parser_of(kind: &[u8]) -> Result<Parse, LineFault> {
    Ok(match kind {
        b"event" => |fields| from_slice(fields).map(Record::Event),
        b"tally" => |fields| from_slice(fields).map(Record::Tally),
        b"seal" => |fields| from_slice(fields).map(Record::Seal),
        b"suppress" => |fields| from_slice(fields).map(Record::Suppress),
        b"unsuppress" => |fields| from_slice(fields).map(Record::Unsuppress),
        b"bind" => |fields| from_slice(fields).map(Record::Bind),
        b"settings" => |fields| from_slice(fields).map(Record::Settings),
        b"gap" => |fields| from_slice(fields).map(Record::Gap),
        unknown => {
            return Err(LineFault::Kind(
                String::from_utf8_lossy(unknown).into_owned(),
            ));
        }
    })
}
