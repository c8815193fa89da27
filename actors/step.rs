//! The named steps of every actor, so that a test can make any of them fail at any step.

use std::fmt;
use std::sync::Arc;

/// A step that an actor reaches. Named `<actor>.<what is about to happen or has happened>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step(&'static str);

impl Step {
    /// The journal takes an append out of its mailbox.
    pub const JOURNAL_BEFORE_APPEND: Self = Self("journal.before_append");
    /// The journal has put an append in line to be written, and not answered it.
    pub const JOURNAL_IN_LINE: Self = Self("journal.in_line");
    /// The suppression filter loads the list.
    pub const FILTER_BEFORE_LOAD: Self = Self("suppression_filter.before_load");
    /// The suppression filter is about to screen an intake.
    pub const FILTER_BEFORE_SCREEN: Self = Self("suppression_filter.before_screen");
    /// The suppression filter has screened an intake, and not answered.
    pub const FILTER_SCREENED: Self = Self("suppression_filter.screened");
    /// The batcher is about to read the journal.
    pub const BATCHER_BEFORE_READ: Self = Self("participation_batcher.before_read");
    /// The batcher has folded records into a batch.
    pub const BATCHER_FOLDED: Self = Self("participation_batcher.folded");
    /// The batcher has committed a batch, and told nobody.
    pub const BATCHER_COMMITTED: Self = Self("participation_batcher.committed");
    /// The sealer is about to append seal records.
    pub const SEALER_BEFORE_SEAL: Self = Self("epoch_sealer.before_seal");
    /// The sealer has appended seal records.
    pub const SEALER_SEALED: Self = Self("epoch_sealer.sealed");
    /// The sealer has read participants and made their leaves.
    pub const SEALER_BEFORE_FREEZE: Self = Self("epoch_sealer.before_freeze");
    /// The sealer has frozen some channels of an epoch.
    pub const SEALER_FROZEN: Self = Self("epoch_sealer.frozen");
    /// The sealer has noted that an epoch is frozen.
    pub const SEALER_FINISHED: Self = Self("epoch_sealer.finished");
    /// The tree builder has read leaves.
    pub const TREES_BEFORE_BUILD: Self = Self("tree_builder.before_build");
    /// The tree builder has built trees.
    pub const TREES_BUILT: Self = Self("tree_builder.built");
    /// The tree builder has written trees, and told nobody.
    pub const TREES_WRITTEN: Self = Self("tree_builder.written");

    /// The publisher is about to build a transaction.
    pub const PUBLISHER_BEFORE_SIGN: Self = Self("publisher.before_sign");
    /// The publisher has signed a transaction, and not stored it.
    pub const PUBLISHER_SIGNED: Self = Self("publisher.signed");
    /// The publisher has stored a signed transaction, and not sent it.
    pub const PUBLISHER_STORED: Self = Self("publisher.stored");
    /// The publisher has sent a transaction.
    pub const PUBLISHER_SENT: Self = Self("publisher.sent");
    /// The publisher has stored that a transaction is finalized.
    pub const PUBLISHER_FINALIZED: Self = Self("publisher.finalized");
    /// The publisher has read roots back, and not stored that.
    pub const PUBLISHER_READ_BACK: Self = Self("publisher.read_back");
    /// The publisher has stored that roots are settled.
    pub const PUBLISHER_SETTLED: Self = Self("publisher.settled");
    /// The chain listener has read transactions.
    pub const LISTENER_READ: Self = Self("chain_listener.read");
    /// The chain listener has written them to its log, and not to the store.
    pub const LISTENER_LOGGED: Self = Self("chain_listener.logged");
    /// The chain listener has written them to the store.
    pub const LISTENER_RECORDED: Self = Self("chain_listener.recorded");

    /// A connection is about to open a socket.
    pub const CONNECTION_BEFORE_CONNECT: Self = Self("connection.before_connect");
    /// A connection has a socket.
    pub const CONNECTION_CONNECTED: Self = Self("connection.connected");
    /// A connection is about to let go of the socket that another has taken over from.
    pub const CONNECTION_HANDING_OVER: Self = Self("connection.handing_over");
    /// A collector has taken lines out of its feed.
    pub const COLLECTOR_TOOK: Self = Self("collector.took");
    /// A collector has judged lines.
    pub const COLLECTOR_JUDGED: Self = Self("collector.judged");
    /// The journal has acknowledged a collector's lines, and they are still in the feed.
    pub const COLLECTOR_ACCEPTED: Self = Self("collector.accepted");
    /// The gap ledger has appended gaps, and they are still in the queue.
    pub const GAPS_APPENDED: Self = Self("gap_ledger.appended");
    /// The roster knows of another list, and has answered nobody.
    pub const ROSTER_WANTED: Self = Self("channel_roster.wanted");
    /// The roster has started and stopped some children, and told no connection.
    pub const ROSTER_WORKED: Self = Self("channel_roster.worked");

    /// The steps of the ingest branch, in the way of an event.
    pub const INGEST: [Self; 9] = [
        Self::ROSTER_WANTED,
        Self::ROSTER_WORKED,
        Self::CONNECTION_BEFORE_CONNECT,
        Self::CONNECTION_CONNECTED,
        Self::CONNECTION_HANDING_OVER,
        Self::COLLECTOR_TOOK,
        Self::COLLECTOR_JUDGED,
        Self::COLLECTOR_ACCEPTED,
        Self::GAPS_APPENDED,
    ];

    /// The steps of the publisher and the chain listener, in the way of a root.
    pub const CHAIN: [Self; 10] = [
        Self::PUBLISHER_BEFORE_SIGN,
        Self::PUBLISHER_SIGNED,
        Self::PUBLISHER_STORED,
        Self::PUBLISHER_SENT,
        Self::PUBLISHER_FINALIZED,
        Self::PUBLISHER_READ_BACK,
        Self::PUBLISHER_SETTLED,
        Self::LISTENER_READ,
        Self::LISTENER_LOGGED,
        Self::LISTENER_RECORDED,
    ];

    /// The steps from the journal to the trees, in the way of an event.
    pub const SETTLEMENT: [Self; 16] = [
        Self::JOURNAL_BEFORE_APPEND,
        Self::JOURNAL_IN_LINE,
        Self::FILTER_BEFORE_LOAD,
        Self::FILTER_BEFORE_SCREEN,
        Self::FILTER_SCREENED,
        Self::BATCHER_BEFORE_READ,
        Self::BATCHER_FOLDED,
        Self::BATCHER_COMMITTED,
        Self::SEALER_BEFORE_SEAL,
        Self::SEALER_SEALED,
        Self::SEALER_BEFORE_FREEZE,
        Self::SEALER_FROZEN,
        Self::SEALER_FINISHED,
        Self::TREES_BEFORE_BUILD,
        Self::TREES_BUILT,
        Self::TREES_WRITTEN,
    ];
}

impl Step {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Is told of every step that an actor reaches. In the running service it does nothing; a test's
/// probe may panic, which is a crash of the actor at that step.
pub trait Probe: Send + Sync {
    /// An actor has reached a step.
    fn reached(&self, step: Step);
}

/// A probe that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn reached(&self, _: Step) {}
}

/// The probe that does nothing, shared.
#[must_use]
pub fn no_probe() -> Arc<dyn Probe> {
    Arc::new(NoProbe)
}
