//! Through what the gateway sees the process.

use std::sync::Arc;

use async_trait::async_trait;
use twzrd_actors::chain_listener::ListenerCounts;
use twzrd_actors::publisher::PublisherCounts;
use twzrd_actors::status::{ChannelStatus, ConnectionStatus, IntakeCounts};
use twzrd_chain::rpc::{NodeStatus, Observed};
use twzrd_domain::chain::SettlementStore;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::ports::{BatchStore, Clock, ReportStore, StoreError};
use twzrd_domain::record::Seq;
use twzrd_domain::settlement::{RootKind, Target};
use twzrd_supervision::TreeSnapshot;

use super::admin::AdminAccess;

/// All that the gateway sees. Everything in it answers at once, but for the store.
#[derive(Clone)]
pub struct View {
    /// The version of the program.
    pub version: &'static str,
    /// How long an epoch is.
    pub epoch_length: EpochLength,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The supervision tree as it is now.
    pub tree: Arc<dyn Fn() -> TreeSnapshot + Send + Sync>,
    /// Paths of supervisors whose children come and go, one for each channel or connection.
    /// There may be 100,000 of them, so they are shown and measured together.
    pub dynamic: Vec<String>,
    /// The state of the journal.
    pub journal: Arc<dyn Fn() -> twzrd_journal::Health + Send + Sync>,
    /// The store, as reports see it.
    pub store: Arc<dyn ReportStore>,
    /// The store, as it is asked whether it is there.
    pub probe: Arc<dyn StoreProbe>,
    /// Channels, connections, and what came in.
    pub ingest: Arc<dyn Ingest>,
    /// What is published and followed on chain.
    pub settlement: SettlementView,
    /// How many records the store may be behind the journal before the process is not ready.
    pub lag_bound: u64,
    /// What changes the channel lists, and the token that it takes; without it there are no admin
    /// routes.
    pub admin: Option<AdminAccess>,
}

/// What is published and followed on chain.
#[derive(Clone)]
pub struct SettlementView {
    /// The store, as it counts roots.
    pub store: Arc<dyn SettlementStore>,
    /// Which of the two roots is published.
    pub root: RootKind,
    /// All else, which answers at once.
    pub facts: Arc<dyn Fn() -> SettlementFacts + Send + Sync>,
}

/// What is known of settlement at a moment.
#[derive(Clone, Debug, Default)]
pub struct SettlementFacts {
    /// Where roots are published.
    pub target: Target,
    /// Whether roots are signed and sent.
    pub auto_publish: bool,
    /// The address whose key signs, in base58.
    pub signer: Option<String>,
    /// Its balance, in lamports, as it was read last.
    pub signer_lamports: Option<u64>,
    /// How long a root stays open to claims, in seconds.
    pub claims_open_seconds: Option<u64>,
    /// What the publisher counted.
    pub publisher: PublisherCounts,
    /// What the chain listener counted.
    pub listener: ListenerCounts,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
    /// Calls to them.
    pub calls: Vec<Observed>,
}

/// A question that a store answers quickly if it is there.
#[async_trait]
pub trait StoreProbe: Send + Sync {
    /// Where the store stands in the journal.
    async fn offset(&self) -> Result<Seq, StoreError>;
}

#[async_trait]
impl<S: BatchStore> StoreProbe for S {
    async fn offset(&self) -> Result<Seq, StoreError> {
        BatchStore::offset(self).await
    }
}

/// What is known of the intake at a moment.
pub trait Ingest: Send + Sync {
    /// Every channel that is wanted.
    fn channels(&self) -> Vec<ChannelStatus>;

    /// Every connection.
    fn connections(&self) -> Vec<ConnectionStatus>;

    /// What was counted.
    fn intake(&self) -> IntakeCounts;
}
