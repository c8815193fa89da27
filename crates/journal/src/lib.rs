//! The append-only journal: the one input of everything after it, and the audit trail.
//!
//! [`Folder`] stands behind the ports `JournalFolder` and `JournalWriter`. An append is atomic,
//! and it is answered after the sync that covers it; one sync covers all appends that waited for
//! it. Whatever was answered is there after `kill -9` and after a loss of power, provided that the
//! disk keeps what it has synced.
//!
//! # The folder
//! | file | what it is |
//! |---|---|
//! | `00000000000000000001.ndjson` | a segment, named after its first sequence number, 20 digits |
//! | `00000000000000000001.ndjson.zst` | a closed segment, compressed with zstd, with checksum |
//! | `00000000000000054321.memory` | what was remembered where that segment begins ([`snapshot`]) |
//! | `ID` | the journal's own name: 32 hexadecimal digits and a line feed |
//! | `LOCK` | locked by the process that writes; says which |
//! | any of these and `.tmp` | work that was not finished; removed when the folder is opened |
//!
//! The segment with the highest number is the active one, and the only one that grows. Sequence
//! numbers begin at 1 and have no hole: a segment ends where the next one begins. Where a segment
//! is there both plain and compressed, the plain one counts.
//!
//! # A line
//! One record a line, UTF-8, ended by one line feed, no white space between tokens:
//!
//! ```text
//! {"seq":7,"left":0,"at":1700000000123,"kind":"seal","epoch":1699999200,"crc":"e9d99e9b"}
//! ```
//!
//! | key, in this order | meaning |
//! |---|---|
//! | `seq` | the number of the record, one more than that of the line before |
//! | `left` | how many records of the same append follow; 0 in its last. An append lies within one segment |
//! | `at` | when it was accepted, in milliseconds since the Unix epoch |
//! | `kind` | `event`, `tally`, `seal`, `suppress`, `unsuppress`, `bind`, `settings` or `gap` |
//! | … | the fields of that kind, as the types of `twzrd_domain::record` name them |
//! | `crc` | CRC-32 (that of zip and Ethernet), 8 lower-case digits, over all bytes of the line before `,"crc"` |
//!
//! A reader skips fields that it does not know, and refuses kinds that it does not know: a record
//! that it left out would change every root after it.
//!
//! # What is cut and what is refused
//! A crash can leave the last appends of the active segment half written. Opening cuts it back to
//! the end of its last complete append, and says so ([`Cut`]). A line is part of such a tail only
//! where no intact line with a higher number follows it. Any other line that is not what it should
//! be is damage, in the active segment and in closed ones, and is refused with file and byte:
//! nothing is repaired silently. One sync may cover several pages of a file, and a file system that
//! persists these out of order (none does after a mere crash of the process) can leave an intact
//! line behind a lost one that was never acknowledged; that is refused too, since it cannot be told
//! from damage.

mod backwards;
mod config;
mod cursor;
mod files;
mod folder;
mod format;
mod handle;
mod health;
mod lock;
mod recovery;
mod retention;
mod segment;
mod shared;
pub mod snapshot;
pub mod storage;
pub mod testing;
mod upkeep;
mod writer;

pub use config::{Config, MAX_APPEND_RECORDS};
pub use files::is_plain_name;
pub use folder::Folder;
pub use format::{LineFault, MAX_LINE_BYTES, Numbered, decode, encode, is_segment};
pub use health::{Counters, Health, State};
pub use recovery::{Cut, Opened};
pub use retention::Removed;
pub use segment::{SegmentLine, SegmentReader, Torn, open_segment};
