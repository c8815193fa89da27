//! What the publisher and the settlement commands ask of the store.
//!
//! A root changes its state in one place each: [`signed`] keeps a transaction, [`advance`] takes
//! every other step. Both lock the roots, look where they stand, and write in one transaction.

mod advance;
mod candidates;
mod given;
mod report;
mod signed;
mod state;

use async_trait::async_trait;
use twzrd_domain::chain::{
    Change, InFlight, Order, SettlementRow, SettlementStore, SignedTransaction, Tally,
};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::{Candidate, RootId, RootToPublish, Target};

use crate::connect::Store;

pub(crate) use given::{Kind, selected};

/// A row of `settlement_log` whose transaction may still land.
pub(crate) const PENDING: &str = "pending_confirmation";
/// A row of `settlement_log` whose root stands on chain.
pub(crate) const CONFIRMED: &str = "confirmed";
/// A row of `settlement_log` whose transaction came to nothing.
pub(crate) const FAILED: &str = "failed";

#[async_trait]
impl SettlementStore for Store {
    async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        self.read_in_flight().await
    }

    async fn due(&self, now: UnixMs, limit: u64) -> Result<Vec<Candidate>, StoreError> {
        self.read_due(now, limit).await
    }

    async fn candidate(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<Candidate>, StoreError> {
        self.read_candidate(epoch, channel).await
    }

    async fn keep_signed(
        &self,
        transaction: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.write_signed(transaction, target, roots, now).await
    }

    async fn advance(&self, changes: &[Change], now: UnixMs) -> Result<u64, StoreError> {
        self.take_steps(changes, now).await
    }

    async fn tallies(&self) -> Result<Vec<Tally>, StoreError> {
        self.read_tallies().await
    }

    async fn rows(
        &self,
        state: Option<&str>,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SettlementRow>, StoreError> {
        self.read_rows(state, after, limit).await
    }

    async fn row(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<SettlementRow>, StoreError> {
        self.read_row(epoch, channel).await
    }

    async fn order(&self, root: RootId, order: Order, now: UnixMs) -> Result<bool, StoreError> {
        self.take_order(root, order, now).await
    }
}
