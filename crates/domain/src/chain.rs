//! The traits behind which the chain lies, and what the store keeps of it.
//!
//! The publisher sees [`RootChain`] and [`SettlementStore`], the chain listener [`ChainActivity`],
//! [`ActivityStore`] and [`ActivityLog`]. Nothing here knows a byte of Solana: transactions are
//! bytes with a signature, a slot is a number.

use async_trait::async_trait;
use compact_str::CompactString;

use crate::epoch::{Epoch, UnixMs};
use crate::identity::Channel;
use crate::ports::StoreError;
use crate::publication::{Publication, Step};
use crate::settlement::{Candidate, Reason, RootId, RootToPublish, Target};

/// The chain could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It may work later: no node answers, all are behind, one answers nonsense.
    #[error("the chain is away while {doing}: {reason}")]
    Transient {
        /// What was being done.
        doing: &'static str,
        /// Why it failed. Names the node without its credentials.
        reason: String,
    },
    /// It will not work later either.
    #[error("the chain refused while {doing}: {reason}")]
    Permanent {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        reason: String,
    },
}

impl ChainError {
    /// True where trying again later may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}

/// Where a root stands, by an account that was read at a finalized slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing stands in its way.
    Free,
    /// It is there.
    Published,
    /// A newer epoch, of this number on chain, is in its slot.
    Newer(u64),
    /// It cannot be published now.
    Blocked(Reason),
}

/// A transaction as it was signed. The same bytes are sent until it lands or expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// Its signature, in base58.
    pub signature: CompactString,
    /// Its bytes, as they go over the wire.
    pub bytes: Vec<u8>,
    /// The last block height at which it can land.
    pub last_valid_block_height: u64,
    /// The slot of the node's state when it gave the blockhash: no earlier block can hold the
    /// transaction, so only a node whose history begins at or before it can say that it never
    /// landed. None where it is not known.
    pub signed_in_slot: Option<u64>,
    /// What it costs, in lamports: signature and priority fee, without rent.
    pub fee_lamports: u64,
    /// The roots in it, in the order of their instructions.
    pub roots: Vec<RootId>,
}

/// What a root would do and cost, by a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The root.
    pub root: RootId,
    /// Compute units.
    pub units: u64,
    /// Its part of the transaction's fee, in lamports.
    pub fee_lamports: u64,
    /// The rent of an account that it makes, in lamports.
    pub rent_lamports: u64,
}

/// A transaction that was built and simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// It, signed and not sent; none where nothing is left of what was asked.
    pub signed: Option<SignedTransaction>,
    /// What each root in it would do and cost, in its order.
    pub estimates: Vec<Estimate>,
    /// Roots that the program would refuse. What is neither here nor in the transaction did not
    /// fit, and comes with the next.
    pub refused: Vec<(RootId, Reason)>,
}

/// What became of a transaction. All of it from one node that is not behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Not seen, or not finalized: it can still land, and may be sent again.
    Pending,
    /// It is finalized, and did what it should.
    Finalized {
        /// In which slot.
        slot: u64,
    },
    /// It is finalized, and failed as a whole.
    Rejected {
        /// In which slot.
        slot: u64,
        /// The root whose instruction failed; none where another failed.
        root: Option<RootId>,
        /// Why.
        reason: Reason,
    },
    /// The finalized block height has passed its last valid one, and it is in no finalized block.
    Expired {
        /// That height.
        block_height: u64,
    },
}

/// The chain as the publisher sees it.
#[async_trait]
pub trait RootChain: Send + Sync {
    /// Where it publishes.
    fn target(&self) -> Target;

    /// True where publishing one replaces the other, so that the later waits for the end of the
    /// earlier.
    fn replaces(&self, one: &RootToPublish, other: &RootToPublish) -> bool {
        one.channel == other.channel
    }

    /// Where each of these stands, in their order. Reads accounts at a finalized slot; signs and
    /// sends nothing.
    async fn look(&self, roots: &[RootToPublish]) -> Result<Vec<Standing>, ChainError>;

    /// Builds, simulates and signs one transaction with the first of these that fit. Sends nothing.
    async fn draft(&self, roots: &[RootToPublish]) -> Result<Draft, ChainError>;

    /// Sends the bytes. That it answers well does not say that the transaction lands, and an
    /// error does not say that it does not.
    async fn send(&self, transaction: &SignedTransaction) -> Result<(), ChainError>;

    /// What became of a transaction.
    async fn landing(&self, transaction: &SignedTransaction) -> Result<Landing, ChainError>;

    /// Whether these are on chain, in their order, read at a slot that is finalized and not
    /// before `slot`, in which their transaction landed.
    async fn read_back(
        &self,
        transaction: &SignedTransaction,
        slot: u64,
        roots: &[RootToPublish],
    ) -> Result<Vec<Standing>, ChainError>;
}

/// A transaction whose end is not known, with the roots in it that wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// For which target it was signed: only that one can read it back.
    pub target: Target,
    /// The slot in which it was finalized; none before that.
    pub finalized_slot: Option<u64>,
    /// The roots that are signed or finalized, in the order of their instructions, as they were
    /// signed: with the number and the root that went into the transaction.
    pub roots: Vec<(RootToPublish, Publication)>,
}

/// A step of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The root.
    pub root: RootId,
    /// Where it stood when the step was decided. A root that stands elsewhere by now is left
    /// alone.
    pub was: Publication,
    /// The step.
    pub step: Step,
    /// In which slot it was seen; none where no slot is known.
    pub slot: Option<u64>,
    /// Not to be looked at again before then, in Unix milliseconds; 0 for at once.
    pub look_again: UnixMs,
}

/// How many roots stand where, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// The word of the state.
    pub state: String,
    /// The code of the reason; empty where there is none.
    pub why: String,
    /// How many.
    pub roots: u64,
    /// The oldest epoch of them.
    pub oldest: Epoch,
}

/// A root as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementRow {
    /// Its number.
    pub id: RootId,
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The root of the claim tree.
    pub root: [u8; 32],
    /// How many leaves its tree has.
    pub count: u64,
    /// Where it stands.
    pub publication: Publication,
    /// Whether an operator let it pass the policy.
    pub is_released: bool,
    /// When it was settled, in Unix milliseconds.
    pub settled_at: Option<UnixMs>,
    /// What was tried, the oldest first; of many the last [`REPORTED_TRIES`].
    pub log: Vec<SettlementLogRow>,
}

/// One try to settle a root: a row of `settlement_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementLogRow {
    /// The transaction's signature; none where the root was found on chain.
    pub signature: Option<CompactString>,
    /// `pending_confirmation`, `confirmed` or `failed`.
    pub status: String,
    /// Where it was published.
    pub target: String,
    /// When it was signed, in Unix milliseconds.
    pub signed_at: Option<UnixMs>,
    /// The slot in which it was finalized.
    pub slot: Option<u64>,
    /// When it was read back, in Unix milliseconds.
    pub settled_at: Option<UnixMs>,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// What an operator asks of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A held root passes the policy.
    Release,
    /// A failed or held root is tried again at once.
    Retry,
}

/// How many roots of a channel are due at a time, the oldest of them.
pub const DUE_OF_A_CHANNEL: usize = 16;
/// The longest time for which a root is not looked at again, in milliseconds. A time further away
/// was written while the clock was wrong, and holds nothing back.
pub const LOOK_AGAIN_WITHIN_MS: u64 = 2 * 3600 * 1000;
/// How many tries of a root are reported, the last of them.
pub const REPORTED_TRIES: usize = 100;

/// The store as the publisher and the settlement commands see it.
#[async_trait]
pub trait SettlementStore: Send + Sync {
    /// Transactions with roots that are signed or finalized, in the order in which they were
    /// signed.
    async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError>;

    /// Roots that are planned, or held and due to be looked at: of each channel the oldest
    /// [`DUE_OF_A_CHANNEL`], and at most `limit`. Of these each channel's oldest comes first, what
    /// is planned before what is held, and of that what was looked at longest ago, so that
    /// channels in trouble keep nobody else waiting. They are answered by epoch and channel.
    async fn due(&self, now: UnixMs, limit: u64) -> Result<Vec<Candidate>, StoreError>;

    /// The root of a channel in an epoch, wherever it stands; none where no tree was built.
    async fn candidate(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<Candidate>, StoreError>;

    /// Keeps a signed transaction, its log rows, and its roots as signed, in one transaction,
    /// before it is sent. Answers false, and writes nothing, where one of the roots is not
    /// planned any more, or another root of its channel is signed or finalized.
    async fn keep_signed(
        &self,
        transaction: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError>;

    /// Takes steps, in order and in one transaction, with all that goes with them: the log rows,
    /// and `published` and `published_at` of `sealed_epochs` for what is settled. Answers how
    /// many were taken; a root that no longer stands where the step was decided is passed over.
    async fn advance(&self, changes: &[Change], now: UnixMs) -> Result<u64, StoreError>;

    /// How many roots stand where, by state and reason.
    async fn tallies(&self) -> Result<Vec<Tally>, StoreError>;

    /// Roots as they are reported, behind a key, by epoch and channel, at most `limit`; of one
    /// state where one is given.
    async fn rows(
        &self,
        state: Option<&str>,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SettlementRow>, StoreError>;

    /// One root as it is reported.
    async fn row(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<SettlementRow>, StoreError>;

    /// What an operator asks of a root. Answers false where it stands where the order means
    /// nothing.
    async fn order(&self, root: RootId, order: Order, now: UnixMs) -> Result<bool, StoreError>;
}

/// A transaction on chain, by which the listener knows how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The slot.
    pub slot: u64,
    /// The signature, in base58.
    pub signature: CompactString,
}

/// What an instruction of the program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A claim that was paid.
    Claim {
        /// The channel; none where the instruction names only its subject.
        channel: Option<Channel>,
        /// The epoch's number on chain.
        number: u64,
        /// The place in the sealed order.
        index: u32,
        /// The amount, in the token's smallest unit.
        amount: u64,
        /// The wallet, in base58.
        claimer: CompactString,
    },
    /// A root that was published.
    Publish {
        /// The channel; none where the instruction names only its subject.
        channel: Option<Channel>,
        /// The epoch's number on chain.
        number: u64,
        /// The root.
        root: [u8; 32],
    },
    /// Something else of the program, or an instruction that is not known.
    Other,
}

/// An instruction of the program in a finalized transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its place in the transaction, inner instructions counted behind their outer one, from 0.
    pub index: u32,
    /// What it did.
    pub deed: Deed,
    /// The line for the activity log: a JSON object without line break, without its time.
    pub json: String,
}

/// A finalized transaction that touched the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Which.
    pub mark: Mark,
    /// The time of its block, in Unix seconds; none where the node does not know it.
    pub block_time: Option<u64>,
    /// The program's instructions in it; none where it failed.
    pub actions: Vec<Action>,
}

/// Slots of which every transaction of the program is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The first of them. Nodes forget: what is before it may never have been seen.
    pub from: u64,
    /// The last of them.
    pub to: u64,
}

impl Known {
    /// As much of it as lies before a slot.
    #[must_use]
    pub const fn before(self, slot: u64) -> Self {
        let last = slot.saturating_sub(1);
        Self {
            from: self.from,
            to: if self.to < last { self.to } else { last },
        }
    }
}

/// How far the program was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The last transaction that was recorded; none before the first.
    pub mark: Option<Mark>,
    /// The slots of which everything is recorded; none where that was never told.
    pub known: Option<Known>,
}

/// What comes behind a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The transactions, the oldest first.
    pub marks: Vec<Mark>,
    /// The slots of which everything is known once these are recorded; none where nothing is to be
    /// added to what was known before.
    pub known: Option<Known>,
}

/// The chain as its listener sees it. All of it is finalized.
#[async_trait]
pub trait ChainActivity: Send + Sync {
    /// The transactions that touched the program behind a mark, the oldest first, at most
    /// `limit`: the oldest of all that there are. Only from a node that knows the mark's slot, and
    /// either the mark itself or everything behind what is known.
    async fn after(&self, followed: &Followed, limit: usize) -> Result<Found, ChainError>;

    /// A transaction, decoded.
    async fn read(&self, mark: &Mark) -> Result<Activity, ChainError>;

    /// A subscription to the program's logs.
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError>;
}

/// A subscription. What it tells is a hint to look sooner; what it does not tell is found anyway.
#[async_trait]
pub trait Subscription: Send {
    /// Waits until there is something new.
    ///
    /// # Errors
    /// Where the subscription ended, or was silent for so long that it must be dead, which takes
    /// at most 30 seconds.
    async fn next(&mut self) -> Result<(), ChainError>;
}

/// The store as the chain listener sees it.
#[async_trait]
pub trait ActivityStore: Send + Sync {
    /// How far the program was followed.
    async fn followed(&self) -> Result<Followed, StoreError>;

    /// Writes transactions in their order, the last of them as the mark, and of which slots
    /// everything is known then, in one transaction: claims, publications, the slots of epochs,
    /// and publications of ours that no log row tells of. What is there already stays as it is.
    async fn record(
        &self,
        all: &[Recorded],
        known: Option<Known>,
        now: UnixMs,
    ) -> Result<(), StoreError>;
}

/// A transaction with the epochs of its actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The transaction.
    pub activity: Activity,
    /// The epoch of each action; none where it has none.
    pub epochs: Vec<Option<Epoch>>,
}

/// A file could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the activity log cannot be written: {0}")]
pub struct LogError(pub String);

/// The activity log: a line for each action, in files that rotate.
#[async_trait]
pub trait ActivityLog: Send + Sync {
    /// Writes and syncs the lines of these transactions, `now` in each. Those that the log holds
    /// already, because a process died before the store had them, are not written again.
    async fn append(&self, all: &[Activity], now: UnixMs) -> Result<(), LogError>;
}
