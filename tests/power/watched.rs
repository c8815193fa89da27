//! A store in front of which is noted when each write began and ended, and how far the journal was.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use twzrd_domain::batch::Batch;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{
    BatchStore, BuiltTrees, Committed, Projection, SealStore, StoreError, TreeStore, Unbuilt,
};
use twzrd_domain::record::Seq;
use twzrd_domain::seal::{FrozenChannel, Participant, SealedLeaves};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::testing::RecordingStorage;
use twzrd_store::Store;

/// A write to the database: how long its log was, and how many operations the journal had done,
/// before and after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) what: &'static str,
    pub(crate) log: (usize, usize),
    pub(crate) journal: (usize, usize),
}

/// The store. One write is done after the other.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) store: Store,
    pub(crate) journal: RecordingStorage,
    pub(crate) log: PathBuf,
    pub(crate) windows: Arc<Mutex<Vec<Window>>>,
}

impl Watched {
    fn now(&self) -> (usize, usize) {
        let log = std::fs::metadata(&self.log).unwrap().len();
        (usize::try_from(log).unwrap(), self.journal.done())
    }

    async fn write<T>(&self, what: &'static str, write: impl Future<Output = T>) -> T {
        let mut windows = self.windows.lock().await;
        let before = self.now();
        let written = write.await;
        let after = self.now();
        windows.push(Window {
            what,
            log: (before.0, after.0),
            journal: (before.1, after.1),
        });
        written
    }
}

#[async_trait]
impl BatchStore for Watched {
    async fn projection(&self) -> Result<Projection, StoreError> {
        self.store.projection().await
    }

    async fn offset(&self) -> Result<Seq, StoreError> {
        BatchStore::offset(&self.store).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.write("commit", self.store.commit(batch)).await
    }

    async fn is_freeze_pending(&self) -> Result<bool, StoreError> {
        self.store.is_freeze_pending().await
    }
}

#[async_trait]
impl SealStore for Watched {
    async fn offset(&self) -> Result<Seq, StoreError> {
        SealStore::offset(&self.store).await
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        self.store.open_epochs().await
    }

    async fn unfrozen(&self) -> Result<Vec<(Epoch, UnixMs)>, StoreError> {
        self.store.unfrozen().await
    }

    async fn arithmetic(&self) -> Result<Option<Arithmetic>, StoreError> {
        self.store.arithmetic().await
    }

    async fn channels_to_freeze(&self, epoch: Epoch) -> Result<Vec<(Channel, u64)>, StoreError> {
        self.store.channels_to_freeze(epoch).await
    }

    async fn participants(
        &self,
        epoch: Epoch,
        channels: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError> {
        self.store.participants(epoch, channels).await
    }

    async fn freeze(&self, channels: &[FrozenChannel]) -> Result<(), StoreError> {
        self.write("freeze", self.store.freeze(channels)).await
    }

    async fn finish_freeze(&self, epoch: Epoch, at: UnixMs) -> Result<(), StoreError> {
        let write = self.store.finish_freeze(epoch, at);
        self.write("finish_freeze", write).await
    }
}

#[async_trait]
impl TreeStore for Watched {
    async fn unbuilt(&self, limit: u64) -> Result<Vec<Unbuilt>, StoreError> {
        self.store.unbuilt(limit).await
    }

    async fn sealed_leaves(&self, wanted: &[Unbuilt]) -> Result<Vec<SealedLeaves>, StoreError> {
        self.store.sealed_leaves(wanted).await
    }

    async fn write_trees(&self, trees: &[BuiltTrees]) -> Result<(), StoreError> {
        self.write("write_trees", self.store.write_trees(trees))
            .await
    }
}
