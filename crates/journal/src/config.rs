//! The bounds of a journal.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use twzrd_domain::ports::Clock;

/// The most records that one append may hold, and the most rows that one of its lists may.
pub const MAX_APPEND_RECORDS: usize = 200_000;

/// Where a journal lies, and its bounds.
#[derive(Clone)]
pub struct Config {
    /// The folder. It is made where it is not there.
    pub folder: PathBuf,
    /// Tells since when the lock is held. Nothing else here depends on the time.
    pub clock: Arc<dyn Clock>,
    /// The name that is given to a new journal; a random one where there is none.
    pub new_id: Option<[u8; 16]>,
    /// A segment is closed once it has so many bytes; it exceeds them by one append at most.
    pub segment_bytes: u64,
    /// A segment is closed once the times of its records span so many milliseconds.
    pub segment_age_ms: u64,
    /// One sync covers at most so many bytes, and one append more.
    pub group_bytes: usize,
    /// One sync covers at most so many appends.
    pub group_appends: usize,
    /// So many appends may wait in the queue; whoever brings another one waits in front of it.
    pub queued_appends: usize,
    /// The appends in the queue may hold so many records together. A larger one goes alone.
    pub queued_records: u32,
}

impl Config {
    /// The usual bounds: segments of 64 MiB or one hour, groups of 8 MiB or 4,096 appends, a queue
    /// of 1,024 appends or 400,000 records.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            folder: folder.into(),
            clock,
            new_id: None,
            segment_bytes: 64 << 20,
            segment_age_ms: 3_600_000,
            group_bytes: 8 << 20,
            group_appends: 4096,
            queued_appends: 1024,
            queued_records: 400_000,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("folder", &self.folder)
            .field("segment_bytes", &self.segment_bytes)
            .field("segment_age_ms", &self.segment_age_ms)
            .field("group_bytes", &self.group_bytes)
            .field("group_appends", &self.group_appends)
            .field("queued_appends", &self.queued_appends)
            .field("queued_records", &self.queued_records)
            .finish_non_exhaustive()
    }
}
