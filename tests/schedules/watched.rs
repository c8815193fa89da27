//! The promises of the publisher that hold at every step, looked at between it and its ports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use solana_sdk::signature::Signature;
use twzrd_chain::target::ProgramTarget;
use twzrd_domain::chain::{
    ChainError, Change, Draft, InFlight, Landing, Order, RootChain, SettlementRow, SettlementStore,
    SignedTransaction, Standing, Tally,
};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::{Candidate, RootId, RootToPublish, Target};
use twzrd_localnet::{Commitment, Node};
use twzrd_testkit::fake::MemoryStore;

/// Sees to it that nothing is signed while an earlier transaction could still land.
pub(crate) struct Watched {
    pub(crate) store: MemoryStore,
    pub(crate) node: Node,
    /// Every transaction that was kept, by root.
    pub(crate) kept: Mutex<HashMap<RootId, Vec<SignedTransaction>>>,
    /// The first promise that was broken. A panic would only restart the publisher.
    pub(crate) broken: Mutex<Option<String>>,
}

impl Watched {
    fn broken(&self, holds: bool, told: impl FnOnce() -> String) {
        if !holds {
            self.broken.lock().unwrap().get_or_insert_with(told);
        }
    }

    fn finalized_height(&self) -> u64 {
        let params = json!([{ "commitment": "finalized" }]);
        let height = self.node.handle("getBlockHeight", &params).unwrap();
        height.as_u64().unwrap()
    }

    /// Whether a transaction can never land: it expired, or it is finalized and failed.
    fn is_over(&self, transaction: &SignedTransaction) -> bool {
        let signature: Signature = transaction.signature.parse().unwrap();
        match self.node.landed(&signature) {
            Some((Commitment::Finalized, landed)) => landed.err.is_some(),
            Some(_) => false,
            None => self.finalized_height() > transaction.last_valid_block_height,
        }
    }
}

#[async_trait]
impl SettlementStore for Watched {
    async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        self.store.in_flight().await
    }
    async fn due(&self, now: UnixMs, limit: u64) -> Result<Vec<Candidate>, StoreError> {
        self.store.due(now, limit).await
    }
    async fn candidate(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<Candidate>, StoreError> {
        self.store.candidate(epoch, channel).await
    }
    async fn keep_signed(
        &self,
        transaction: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let kept = self
            .store
            .keep_signed(transaction, target, roots, now)
            .await?;
        if kept {
            let mut all = self.kept.lock().unwrap();
            for root in &transaction.roots {
                let before = all.entry(*root).or_default();
                for earlier in before.iter() {
                    self.broken(self.is_over(earlier), || {
                        let (later, earlier) = (&transaction.signature, &earlier.signature);
                        format!(
                            "root {root} is signed again as {later}, and {earlier} can still land"
                        )
                    });
                }
                before.push(transaction.clone());
            }
        }
        Ok(kept)
    }
    async fn advance(&self, changes: &[Change], now: UnixMs) -> Result<u64, StoreError> {
        self.store.advance(changes, now).await
    }
    async fn tallies(&self) -> Result<Vec<Tally>, StoreError> {
        self.store.tallies().await
    }
    async fn rows(
        &self,
        state: Option<&str>,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SettlementRow>, StoreError> {
        self.store.rows(state, after, limit).await
    }
    async fn row(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<SettlementRow>, StoreError> {
        self.store.row(epoch, channel).await
    }
    async fn order(&self, root: RootId, order: Order, now: UnixMs) -> Result<bool, StoreError> {
        self.store.order(root, order, now).await
    }
}

/// Sees to it that nothing is sent that is not stored.
pub(crate) struct Sending {
    pub(crate) target: ProgramTarget,
    pub(crate) store: Arc<Watched>,
}

#[async_trait]
impl RootChain for Sending {
    fn target(&self) -> Target {
        self.target.target()
    }
    async fn look(&self, roots: &[RootToPublish]) -> Result<Vec<Standing>, ChainError> {
        self.target.look(roots).await
    }
    async fn draft(&self, roots: &[RootToPublish]) -> Result<Draft, ChainError> {
        self.target.draft(roots).await
    }
    async fn send(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        let is_stored = {
            let kept = self.store.kept.lock().unwrap();
            let mut all = kept.values().flatten();
            all.any(|it| it == transaction)
        };
        self.store.broken(is_stored, || {
            format!("{} is sent and not stored", transaction.signature)
        });
        self.target.send(transaction).await
    }
    async fn landing(&self, transaction: &SignedTransaction) -> Result<Landing, ChainError> {
        self.target.landing(transaction).await
    }
    async fn read_back(
        &self,
        transaction: &SignedTransaction,
        slot: u64,
        roots: &[RootToPublish],
    ) -> Result<Vec<Standing>, ChainError> {
        self.target.read_back(transaction, slot, roots).await
    }
}
