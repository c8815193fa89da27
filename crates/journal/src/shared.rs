//! What the writer, the readers and the upkeep of one folder share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use compact_str::CompactString;
use tokio::sync::watch;
use twzrd_domain::memory::Memory;
use twzrd_domain::ports::JournalError;
use twzrd_domain::record::Seq;

use crate::config::Config;
use crate::cursor::Cursor;
use crate::files::{ID, compressed_name, damaged, plain_name};
use crate::health::{Meter, held};
use crate::lock::Lock;
use crate::recovery::{Active, Opened, Recovered};
use crate::storage::Storage;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) meter: Meter,
    /// The last record that is synced.
    pub(crate) durable: watch::Sender<Seq>,
    /// The segment before which all is compressed and whose snapshot is written.
    pub(crate) kept: watch::Sender<Seq>,
    pub(crate) table: Mutex<Table>,
    /// The reader of the last call, to go on where it stopped.
    pub(crate) cursor: Mutex<Option<Cursor>>,
    pub(crate) opened: Mutex<Option<Opened>>,
    /// What the last writer knew when it finished in good order; none while one works.
    pub(crate) rest: Mutex<Option<Rest>>,
    /// The lock, where a writer holds it.
    pub(crate) lock: Mutex<Weak<Lock>>,
    /// Held while files other than the active segment are written, compressed, removed or taken
    /// stock of, so that none of these meets another.
    pub(crate) upkeep: Mutex<()>,
    id: OnceLock<CompactString>,
}

/// What a writer knew when it finished, for the next one of this process.
pub(crate) struct Rest {
    pub(crate) memory: Memory,
    pub(crate) active: Active,
    /// The last record that is synced.
    pub(crate) last: Seq,
}

/// The segments, as far as they are synced.
#[derive(Clone, Default)]
pub(crate) struct Table {
    /// The first numbers of all segments, ascending. The last is the active one.
    pub(crate) firsts: Arc<[Seq]>,
    /// The last record that is synced.
    pub(crate) durable: Seq,
    /// Changes whenever a file that a reader may have open is no longer what it was.
    pub(crate) generation: u64,
    /// Closed segments that are not compressed yet.
    pub(crate) plain: BTreeSet<Seq>,
    /// Set where a write failed, until what it left is cleared away.
    pub(crate) doubt: Option<Doubt>,
}

/// The active segment after a write that failed: only its first bytes are to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) first: Seq,
    pub(crate) bytes: u64,
    /// True where a sync failed. The system may then hold pages for written that are not, so that
    /// nothing more may be written to this file.
    pub(crate) sync_failed: bool,
}

impl Table {
    pub(crate) fn active(&self) -> Seq {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// The segment in which a record lies; none where it was removed.
    pub(crate) fn segment_of(&self, seq: Seq) -> Option<Seq> {
        let behind = self.firsts.partition_point(|&first| first <= seq);
        behind.checked_sub(1).map(|index| self.firsts[index])
    }

    /// The segment behind a segment.
    pub(crate) fn next_of(&self, first: Seq) -> Option<Seq> {
        let behind = self.firsts.partition_point(|&other| other <= first);
        self.firsts.get(behind).copied()
    }

    /// Begins a new active segment behind the last record.
    pub(crate) fn begin_segment(&mut self, first: Seq) {
        self.plain.extend(self.firsts.last());
        self.firsts = self.firsts.iter().copied().chain([first]).collect();
    }
}

impl Shared {
    pub(crate) fn new(config: Config, storage: Arc<dyn Storage>) -> Self {
        Self {
            config,
            storage,
            meter: Meter::default(),
            durable: watch::Sender::new(0),
            kept: watch::Sender::new(0),
            table: Mutex::default(),
            cursor: Mutex::default(),
            opened: Mutex::default(),
            rest: Mutex::default(),
            lock: Mutex::default(),
            upkeep: Mutex::default(),
            id: OnceLock::new(),
        }
    }

    pub(crate) fn id(&self) -> Option<&CompactString> {
        self.id.get()
    }

    /// Notes the journal's id. It cannot change while the process runs.
    pub(crate) fn know_id(&self, found: &CompactString) -> Result<(), JournalError> {
        let known = self.id.get_or_init(|| found.clone());
        if known == found {
            return Ok(());
        }
        let path = self.config.folder.join(ID);
        Err(damaged(
            &path,
            0,
            format!("found {found}; it was {known} when it was opened before"),
        ))
    }

    pub(crate) fn plain_path(&self, first: Seq) -> PathBuf {
        self.config.folder.join(plain_name(first))
    }

    pub(crate) fn compressed_path(&self, first: Seq) -> PathBuf {
        self.config.folder.join(compressed_name(first))
    }

    pub(crate) fn table(&self) -> Table {
        held(&self.table).clone()
    }

    /// Makes what was recovered known to readers.
    pub(crate) fn install(&self, recovered: &Recovered) {
        let mut table = held(&self.table);
        let generation = table.generation + 1;
        *table = Table {
            firsts: recovered.firsts.as_slice().into(),
            durable: recovered.last,
            generation,
            plain: recovered.plain.iter().copied().collect(),
            doubt: None,
        };
        drop(table);
        *held(&self.opened) = Some(recovered.opened.clone());
        self.durable.send_replace(recovered.last);
    }

    /// Makes a group that is synced known to readers.
    pub(crate) fn publish(&self, durable: Seq) {
        held(&self.table).durable = durable;
        self.durable.send_replace(durable);
    }
}
