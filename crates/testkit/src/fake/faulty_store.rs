//! A real store that fails as a test says.

use async_trait::async_trait;
use twzrd_domain::batch::Batch;
use twzrd_domain::chain::{
    ActivityStore, Change, Followed, InFlight, Known, Order, Recorded, SettlementRow,
    SettlementStore, SignedTransaction, Tally,
};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::{Channel, UserHash};
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{
    Balance, BatchStore, BuiltTrees, Committed, IngestStore, LastGap, Projection, Quarantined,
    ReportStore, SealStore, SealedEpoch, StoreError, SuppressedPerson, SuppressionStore, TreeStore,
    Unbuilt,
};
use twzrd_domain::proof::ProofMaterial;
use twzrd_domain::record::Seq;
use twzrd_domain::seal::{FrozenChannel, Participant, SealedLeaves};
use twzrd_domain::settlement::{Candidate, RootId, RootToPublish, Target};
use twzrd_domain::weight::Arithmetic;

use super::faults::{Faults, store_error};

/// Any store, with [`Faults`] in front of it. It has the ports that the store has.
///
/// So a database without a socket meets what a network does to others: it is away, it does not
/// answer ([`Faults::hold`]), or it has done what was asked and the answer is lost.
#[derive(Clone)]
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
}

impl<S> FaultyStore<S> {
    /// Puts faults in front of a store; none strikes until a test says so.
    #[must_use]
    pub fn new(store: S) -> Self {
        let faults = Faults::default();
        Self { store, faults }
    }

    /// What goes wrong.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The store behind the faults.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.store
    }

    async fn run<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.faults.run(operation, work, store_error).await
    }
}

#[async_trait]
impl<S: BatchStore> BatchStore for FaultyStore<S> {
    async fn projection(&self) -> Result<Projection, StoreError> {
        self.run("projection", self.store.projection()).await
    }

    async fn offset(&self) -> Result<Seq, StoreError> {
        self.run("offset", self.store.offset()).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.run("commit", self.store.commit(batch)).await
    }

    async fn is_freeze_pending(&self) -> Result<bool, StoreError> {
        self.run("is_freeze_pending", self.store.is_freeze_pending())
            .await
    }
}

#[async_trait]
impl<S: SealStore> SealStore for FaultyStore<S> {
    async fn offset(&self) -> Result<Seq, StoreError> {
        self.run("offset", self.store.offset()).await
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        self.run("open_epochs", self.store.open_epochs()).await
    }

    async fn unfrozen(&self) -> Result<Vec<(Epoch, UnixMs)>, StoreError> {
        self.run("unfrozen", self.store.unfrozen()).await
    }

    async fn arithmetic(&self) -> Result<Option<Arithmetic>, StoreError> {
        self.run("arithmetic", self.store.arithmetic()).await
    }

    async fn channels_to_freeze(&self, epoch: Epoch) -> Result<Vec<(Channel, u64)>, StoreError> {
        let work = self.store.channels_to_freeze(epoch);
        self.run("channels_to_freeze", work).await
    }

    async fn participants(
        &self,
        epoch: Epoch,
        channels: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError> {
        let work = self.store.participants(epoch, channels);
        self.run("participants", work).await
    }

    async fn freeze(&self, channels: &[FrozenChannel]) -> Result<(), StoreError> {
        self.run("freeze", self.store.freeze(channels)).await
    }

    async fn finish_freeze(&self, epoch: Epoch, at: UnixMs) -> Result<(), StoreError> {
        let work = self.store.finish_freeze(epoch, at);
        self.run("finish_freeze", work).await
    }
}

#[async_trait]
impl<S: TreeStore> TreeStore for FaultyStore<S> {
    async fn unbuilt(&self, limit: u64) -> Result<Vec<Unbuilt>, StoreError> {
        self.run("unbuilt", self.store.unbuilt(limit)).await
    }

    async fn sealed_leaves(&self, wanted: &[Unbuilt]) -> Result<Vec<SealedLeaves>, StoreError> {
        self.run("sealed_leaves", self.store.sealed_leaves(wanted))
            .await
    }

    async fn write_trees(&self, trees: &[BuiltTrees]) -> Result<(), StoreError> {
        self.run("write_trees", self.store.write_trees(trees)).await
    }
}

#[async_trait]
impl<S: SuppressionStore> SuppressionStore for FaultyStore<S> {
    async fn suppressed(&self) -> Result<Vec<SuppressedPerson>, StoreError> {
        self.run("suppressed", self.store.suppressed()).await
    }

    async fn aliases(&self, user: UserHash) -> Result<Vec<UserHash>, StoreError> {
        self.run("aliases", self.store.aliases(user)).await
    }
}

#[async_trait]
impl<S: IngestStore> IngestStore for FaultyStore<S> {
    async fn offset(&self) -> Result<Seq, StoreError> {
        self.run("offset", self.store.offset()).await
    }

    async fn last_gaps(&self) -> Result<Vec<LastGap>, StoreError> {
        self.run("last_gaps", self.store.last_gaps()).await
    }

    async fn quarantine(&self, line: &Quarantined) -> Result<(), StoreError> {
        self.run("quarantine", self.store.quarantine(line)).await
    }
}

#[async_trait]
impl<S: ReportStore> ReportStore for FaultyStore<S> {
    async fn sealed_after(
        &self,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SealedEpoch>, StoreError> {
        let work = self.store.sealed_after(after, limit);
        self.run("sealed_after", work).await
    }

    async fn ledger(&self) -> Result<Counts, StoreError> {
        self.run("ledger", self.store.ledger()).await
    }

    async fn balance(&self) -> Result<Balance, StoreError> {
        self.run("balance", self.store.balance()).await
    }

    async fn proof_material(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<ProofMaterial>, StoreError> {
        let work = self.store.proof_material(epoch, channel);
        self.run("proof_material", work).await
    }
}

#[async_trait]
impl<S: SettlementStore> SettlementStore for FaultyStore<S> {
    async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        self.run("in_flight", self.store.in_flight()).await
    }

    async fn due(&self, now: UnixMs, limit: u64) -> Result<Vec<Candidate>, StoreError> {
        self.run("due", self.store.due(now, limit)).await
    }

    async fn candidate(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<Candidate>, StoreError> {
        let work = self.store.candidate(epoch, channel);
        self.run("candidate", work).await
    }

    async fn keep_signed(
        &self,
        transaction: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let work = self.store.keep_signed(transaction, target, roots, now);
        self.run("keep_signed", work).await
    }

    async fn advance(&self, changes: &[Change], now: UnixMs) -> Result<u64, StoreError> {
        self.run("advance", self.store.advance(changes, now)).await
    }

    async fn tallies(&self) -> Result<Vec<Tally>, StoreError> {
        self.run("tallies", self.store.tallies()).await
    }

    async fn rows(
        &self,
        state: Option<&str>,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SettlementRow>, StoreError> {
        self.run("rows", self.store.rows(state, after, limit)).await
    }

    async fn row(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<SettlementRow>, StoreError> {
        self.run("row", self.store.row(epoch, channel)).await
    }

    async fn order(&self, root: RootId, order: Order, now: UnixMs) -> Result<bool, StoreError> {
        self.run("order", self.store.order(root, order, now)).await
    }
}

#[async_trait]
impl<S: ActivityStore> ActivityStore for FaultyStore<S> {
    async fn followed(&self) -> Result<Followed, StoreError> {
        self.run("followed", self.store.followed()).await
    }

    async fn record(
        &self,
        all: &[Recorded],
        known: Option<Known>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        self.run("record", self.store.record(all, known, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fault, MemoryStore};

    fn first() -> Batch {
        let mut batch = Batch {
            journal: "journal".into(),
            ..Batch::default()
        };
        batch.to.seq = 1;
        batch
    }

    #[tokio::test]
    async fn a_lost_answer_is_a_commit_that_is_known_when_it_comes_again() {
        let store = FaultyStore::new(MemoryStore::default());
        store.faults().fail_next_of("commit", 1, Fault::AnswerLost);
        let lost = store.commit(&first()).await;
        assert!(lost.is_err_and(|error| error.is_transient()));
        assert_eq!(store.inner().state().position.seq, 1);
        let again = store.commit(&first()).await;
        assert_eq!(again.ok(), Some(Committed::Known));
    }

    #[tokio::test]
    async fn a_failure_does_nothing_and_says_whether_another_try_may_help() {
        let store = FaultyStore::new(MemoryStore::default());
        store.faults().fail_next(1, Fault::Transient);
        store.faults().fail_next(1, Fault::Permanent);
        let away = store.commit(&first()).await;
        assert!(away.is_err_and(|error| error.is_transient()));
        let refused = store.commit(&first()).await;
        assert!(refused.is_err_and(|error| !error.is_transient()));
        assert_eq!(store.inner().faults().calls("commit"), 0);
        let done = store.commit(&first()).await;
        assert_eq!(done.ok(), Some(Committed::Written));
    }

    #[tokio::test]
    async fn an_error_of_the_store_itself_is_told_as_it_is() {
        let store = FaultyStore::new(MemoryStore::default());
        store.faults().fail_next(1, Fault::AnswerLost);
        store.inner().fail_next(1, Fault::Permanent);
        let refused = store.commit(&first()).await;
        assert!(refused.is_err_and(|error| !error.is_transient()));
    }

    #[tokio::test]
    async fn what_is_held_reaches_the_store_once_it_is_released() {
        let store = FaultyStore::new(MemoryStore::default());
        store.faults().hold();
        let batch = first();
        let commit = store.commit(&batch);
        let release = async {
            assert_eq!(store.inner().faults().calls("commit"), 0);
            store.faults().release();
        };
        let (committed, ()) = tokio::join!(biased; commit, release);
        assert_eq!(committed.ok(), Some(Committed::Written));
    }
}
