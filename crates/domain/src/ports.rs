//! The traits behind which the world lies. Actors name these, never what implements them.

use async_trait::async_trait;
use compact_str::CompactString;

use crate::batch::{Batch, Position};
use crate::epoch::{Epoch, UnixMs};
use crate::identity::{Channel, UserHash};
use crate::invariant;
use crate::ledger::Counts;
use crate::memory::MemoryParts;
use crate::proof::ProofMaterial;
use crate::record::{Accepted, Append, Entry, Seq};
use crate::seal::{FrozenChannel, Participant, SealedLeaves};
use crate::weight::Arithmetic;

/// The one source of time.
pub trait Clock: Send + Sync {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> UnixMs;
}

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may work later: connection loss, lock timeout, serialization failure.
    #[error("the store is away while {doing}: {source}")]
    Transient {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It will not work later either: a constraint, a missing table, a bug.
    #[error("the store refused while {doing}: {source}")]
    Permanent {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store belongs to another journal than the one that was given.
    #[error(
        "the store follows journal {found}, not {expected}: data folder and database do not belong together"
    )]
    OtherJournal {
        /// The journal that the caller reads.
        expected: CompactString,
        /// The journal that the store follows.
        found: CompactString,
    },
    /// A batch does not begin where the store stands.
    #[error("the store stands behind record {stands}, but the batch begins behind record {begins}")]
    OutOfStep {
        /// The store's offset.
        stands: Seq,
        /// Where the batch begins.
        begins: Seq,
    },
    /// A stored value cannot be what was written.
    #[error("the store holds {found} in {place}; expected {expected}")]
    Corrupt {
        /// Table and column.
        place: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
}

impl StoreError {
    /// True where trying again later may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}

/// What the fold of records needs to go on from the store's offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Where the store stands.
    pub position: Position,
    /// The journal that it follows; none before the first batch.
    pub journal: Option<CompactString>,
    /// The arithmetic in force; none before the first settings record.
    pub arithmetic: Option<Arithmetic>,
    /// The epochs whose seal is committed, ascending.
    pub sealed: Vec<Epoch>,
    /// The people on the list, by every hash that is known, ascending.
    pub suppressed: Vec<UserHash>,
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The batch was written.
    Written,
    /// The store stood behind it already; nothing was written.
    Known,
}

/// The store as the participation batcher sees it.
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// What is needed to go on.
    async fn projection(&self) -> Result<Projection, StoreError>;

    /// Where the store stands.
    async fn offset(&self) -> Result<Seq, StoreError>;

    /// Writes a batch in one transaction. A batch that ends at or before the store's offset
    /// changes nothing.
    async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError>;

    /// True where an epoch's seal is committed and the epoch is not frozen yet.
    async fn is_freeze_pending(&self) -> Result<bool, StoreError>;
}

/// The store as the epoch sealer sees it.
#[async_trait]
pub trait SealStore: Send + Sync {
    /// Where the store stands.
    async fn offset(&self) -> Result<Seq, StoreError>;

    /// Epochs in which something counted and whose seal is not committed, ascending.
    async fn open_epochs(&self) -> Result<Vec<Epoch>, StoreError>;

    /// Epochs whose seal is committed and that are not frozen, ascending, with the time of the
    /// seal record.
    async fn unfrozen(&self) -> Result<Vec<(Epoch, UnixMs)>, StoreError>;

    /// The arithmetic in force; none before the first settings record.
    async fn arithmetic(&self) -> Result<Option<Arithmetic>, StoreError>;

    /// The channels of an epoch that have participants and are not frozen, by name, each with the
    /// number of its participants.
    async fn channels_to_freeze(&self, epoch: Epoch) -> Result<Vec<(Channel, u64)>, StoreError>;

    /// The participants of these channels in an epoch, in the order of the channels given; within
    /// a channel in sealed order: by first_seen, then by hash.
    async fn participants(
        &self,
        epoch: Epoch,
        channels: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError>;

    /// Writes frozen channels in one transaction. A channel that is frozen already stays as it is.
    async fn freeze(&self, channels: &[FrozenChannel]) -> Result<(), StoreError>;

    /// Notes that every channel of an epoch is frozen. `at` is the time of the seal record.
    async fn finish_freeze(&self, epoch: Epoch, at: UnixMs) -> Result<(), StoreError>;
}

/// A frozen channel of which the trees are not built yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// How many participants were frozen.
    pub participants: u64,
}

/// The two trees of a channel in an epoch, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltTrees {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// How many leaves each tree has.
    pub participants: u64,
    /// The root of the participation tree.
    pub participation_root: [u8; 32],
    /// The levels of the claim tree, the leaves first, the root last.
    pub claim_levels: Vec<Vec<[u8; 32]>>,
    /// When it was built, in Unix milliseconds; the time of the seal record.
    pub built_at: UnixMs,
}

/// The store as the tree builder sees it.
#[async_trait]
pub trait TreeStore: Send + Sync {
    /// Frozen channels without trees, by epoch and channel, at most `limit`.
    async fn unbuilt(&self, limit: u64) -> Result<Vec<Unbuilt>, StoreError>;

    /// What was frozen of these channels, in the order given.
    async fn sealed_leaves(&self, wanted: &[Unbuilt]) -> Result<Vec<SealedLeaves>, StoreError>;

    /// Writes trees in one transaction: the participation root, the cached claim tree, and the
    /// root that is ready for settlement. Trees that are there already stay as they are; an epoch
    /// of which every channel has its trees is marked as finalized.
    async fn write_trees(&self, trees: &[BuiltTrees]) -> Result<(), StoreError>;
}

/// A person on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressedPerson {
    /// One of the person's hashes.
    pub user: UserHash,
    /// When they asked, in Unix seconds.
    pub requested_at: u64,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

/// The store as the suppression filter and the command line see it.
#[async_trait]
pub trait SuppressionStore: Send + Sync {
    /// Everybody on the list, by hash.
    async fn suppressed(&self) -> Result<Vec<SuppressedPerson>, StoreError>;

    /// The other hashes under which a person is known: those by id for one by login, and those by
    /// login for one by id.
    async fn aliases(&self, user: UserHash) -> Result<Vec<UserHash>, StoreError>;
}

/// A sealed epoch of a channel, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// How many participants were frozen.
    pub participants: u64,
    /// The root of the participation tree; none before it is built.
    pub participation_root: Option<[u8; 32]>,
    /// The root of the claim tree; none before it is built.
    pub claim_root: Option<[u8; 32]>,
    /// Time in which the channel was not heard, in milliseconds.
    pub gap_ms: u64,
    /// When its root was settled on chain, in Unix milliseconds; none while it is not.
    pub settled_at: Option<UnixMs>,
    /// The transaction that published it; none while there is none.
    pub tx_signature: Option<CompactString>,
}

/// The ledger over all channels and epochs, and where it does not add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// How many lines came to what, over all channels and epochs.
    pub counts: Counts,
    /// By how many lines received and the sum of all outcomes differ, added up over channels and
    /// epochs: two that cancel out in the sum do not here. 0 where nothing disappeared.
    pub drift: u64,
    /// In how many channels and epochs they differ.
    pub drifting: u64,
    /// The first of these, by epoch and channel.
    pub first_drifting: Option<(Epoch, Channel)>,
}

impl Balance {
    /// Adds what is booked of one channel in one epoch.
    pub fn add(&mut self, epoch: Epoch, channel: &Channel, counts: &Counts) {
        self.counts += *counts;
        if invariant::ledger_balances(counts).is_ok() {
            return;
        }
        let by = counts.received.abs_diff(counts.outcomes());
        self.drift = self.drift.saturating_add(by);
        self.drifting += 1;
        let place = (epoch, channel.clone());
        if self.first_drifting.as_ref().is_none_or(|it| place < *it) {
            self.first_drifting = Some(place);
        }
    }
}

/// The store as reports see it. Nothing here writes.
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// Sealed epochs behind a key, by epoch and channel, at most `limit`.
    async fn sealed_after(
        &self,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SealedEpoch>, StoreError>;

    /// The ledger over all channels and epochs.
    async fn ledger(&self) -> Result<Counts, StoreError>;

    /// The same, and where it does not add up, both of one moment.
    async fn balance(&self) -> Result<Balance, StoreError>;

    /// What a proof of a person's presence is made of; none where the channel has no trees in
    /// that epoch.
    async fn proof_material(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<ProofMaterial>, StoreError>;
}

/// A line that crashed its collector again and again, and is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The channel.
    pub channel: Channel,
    /// The line as it came.
    pub line: String,
    /// How the collector ended.
    pub error: String,
    /// How often it did.
    pub crashes: u64,
    /// When, in Unix milliseconds.
    pub at: UnixMs,
}

/// The latest stretch of time in which a channel was not heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGap {
    /// The channel.
    pub channel: Channel,
    /// From when, in milliseconds since the Unix epoch.
    pub from: UnixMs,
    /// True where its end is not known: it goes on.
    pub is_open: bool,
    /// Why.
    pub reason: String,
}

/// The store as the collectors and the channel roster see it.
#[async_trait]
pub trait IngestStore: Send + Sync {
    /// Where the store stands.
    async fn offset(&self) -> Result<Seq, StoreError>;

    /// The latest gap of each channel that ever had one, by channel.
    async fn last_gaps(&self) -> Result<Vec<LastGap>, StoreError>;

    /// Sets a line aside. May come twice for the same line.
    async fn quarantine(&self, line: &Quarantined) -> Result<(), StoreError>;
}

/// The journal could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// It may work later: a full disk, a read-only folder, an input or output error.
    #[error("the journal cannot {doing}: {reason}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why it failed, with the file named.
        reason: String,
    },
    /// Another process holds the folder.
    #[error(
        "the journal in {folder} is in use by {holder}; stop it first, or give another data folder"
    )]
    Locked {
        /// The folder.
        folder: String,
        /// Who holds the lock.
        holder: String,
    },
    /// A record that was acknowledged is damaged.
    #[error("the journal is damaged: {file}, byte {byte}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it, in bytes before compression.
        byte: u64,
        /// What was found and what was expected.
        reason: String,
    },
    /// An append is larger than the journal takes.
    #[error("an append of {found} records; expected at most {limit}")]
    TooLarge {
        /// How many were given.
        found: usize,
        /// How many are taken.
        limit: usize,
    },
    /// The writer is gone: it was closed, or it died.
    #[error("the journal's writer has stopped")]
    Closed,
}

impl JournalError {
    /// True where trying again later may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Locked { .. } | Self::Closed
        )
    }
}

/// Records that were read, and where the reader stands behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The records, in order.
    pub entries: Vec<Entry>,
    /// Where each record's successor begins; as long as `entries`.
    pub positions: Vec<Position>,
}

/// The folder of the journal.
#[async_trait]
pub trait JournalFolder: Send + Sync {
    /// Takes the lock, recovers, and starts the one writer.
    async fn open(&self) -> Result<Box<dyn JournalWriter>, JournalError>;

    /// The journal's name for itself, made when its folder was; none before the first open.
    fn id(&self) -> Option<CompactString>;

    /// The last record that is synced. 0 before the first open, and where there is none.
    fn durable(&self) -> Seq;

    /// Resolves once a record behind `seq` is synced.
    async fn wait_durable(&self, seq: Seq);

    /// Reads synced records behind a position, at most `limit`; fewer, also none, at the end.
    async fn read(&self, from: Position, limit: usize) -> Result<Chunk, JournalError>;
}

/// The one writer of a journal. Dropping it finishes what was begun, and gives up the lock.
#[async_trait]
pub trait JournalWriter: Send + Sync {
    /// Appends all of it or nothing; answers once it is synced. Many may wait at the same time,
    /// and one sync covers them all.
    async fn append(&self, append: Append) -> Result<Accepted, JournalError>;

    /// The progress of sources, and the settings in force, with all that is acknowledged.
    async fn memory(&self) -> Result<MemoryParts, JournalError>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    #[test]
    fn what_cancels_out_in_the_sum_is_told_by_epoch_and_channel() {
        let name = |text| Channel::parse(text).unwrap();
        let mut even = Counts::default();
        even.book(Outcome::Counted, 10);
        let (mut more, mut less) = (even, even);
        more.received += 3;
        less.received -= 3;
        let mut balance = Balance::default();
        balance.add(Epoch(7200), &name("a"), &less);
        balance.add(Epoch(3600), &name("b"), &even);
        assert_eq!(
            (balance.drift, balance.first_drifting.clone()),
            (3, Some((Epoch(7200), name("a"))))
        );
        balance.add(Epoch(3600), &name("c"), &more);
        assert_eq!(balance.counts.received, balance.counts.outcomes());
        assert_eq!((balance.drift, balance.drifting), (6, 2));
        assert_eq!(balance.first_drifting, Some((Epoch(3600), name("c"))));
    }
}
