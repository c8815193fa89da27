//! Carries the journal into the store: reads on from the store's offset, folds records into a
//! batch, and commits rows, ledger and offset in one transaction.
//!
//! Tells the sealer when a batch is committed. A crash loses at most the work of one batch: the
//! next start asks the store where it stands. A batch whose controls change what freezing reads
//! waits until every sealed epoch is frozen. Restart: permanent.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tracing::debug;
use twzrd_domain::batch::{Batch, Position};
use twzrd_domain::fold::{Fold, OutOfSequence, Pushed};
use twzrd_domain::ports::{BatchStore, Chunk, JournalError, JournalFolder, StoreError};
use twzrd_supervision::{ChildRef, waiting_for};

use crate::epoch_sealer::EpochSealerMsg;
use crate::offload::offload;
use crate::step::{Probe, Step};
use crate::weather::Weather;

/// How many records the first batch after a start takes in at most.
const FIRST_BATCH_RECORDS: usize = 2_000;
/// The wait before it is looked again whether the sealed epochs are frozen.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What the participation batcher is told.
pub enum ParticipationBatcherMsg {
    /// There may be more to carry. May come late or twice.
    LookDue,
}

/// What a start of the batcher needs.
#[derive(Clone)]
pub struct ParticipationBatcherArgs {
    /// Where records come from.
    pub folder: Arc<dyn JournalFolder>,
    /// Where batches go.
    pub store: Arc<dyn BatchStore>,
    /// Is told of committed batches.
    pub sealer: ChildRef<EpochSealerMsg>,
    /// How many records a batch takes in at most.
    pub batch_records: usize,
    /// How long records are gathered once the store holds all of them.
    pub linger: Duration,
    /// Whether a stop waits until the store holds what the journal holds.
    pub catch_up_on_stop: bool,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct ParticipationBatcher;

/// Where the batcher stands. All of it can be asked of the store again.
pub struct State {
    args: ParticipationBatcherArgs,
    /// How many records the next batch takes in at most: few at first, then twice as many each
    /// time. A batch that is too much for a batcher that dies often is not tried again as it was.
    batch_records: usize,
    fold: Option<Box<Fold>>,
    /// Records that were read and do not belong to the batch before them.
    rest: Chunk,
    /// A batch that is folded and not committed.
    ready: Option<Batch>,
    wake: JoinSet<()>,
    weather: Weather,
}

/// Why the batcher cannot go on for now, or at all.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Sequence(#[from] OutOfSequence),
    #[error("the thread that folds records died: {0}")]
    Thread(#[from] tokio::task::JoinError),
    #[error("the journal has no id, though it holds records")]
    NoJournal,
}

/// What one look came to.
enum Looked {
    /// A batch was committed; there may be more.
    Committed,
    /// All that is synced is in the store.
    AtEnd,
    /// A sealed epoch must be frozen first.
    FreezePending,
}

impl Actor for ParticipationBatcher {
    type Msg = ParticipationBatcherMsg;
    type State = State;
    type Arguments = ParticipationBatcherArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ParticipationBatcherMsg>,
        args: ParticipationBatcherArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(ParticipationBatcherMsg::LookDue)?;
        Ok(State {
            batch_records: args.batch_records.min(FIRST_BATCH_RECORDS),
            args,
            fold: None,
            rest: Chunk::default(),
            ready: None,
            wake: JoinSet::new(),
            weather: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ParticipationBatcherMsg>,
        message: ParticipationBatcherMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ParticipationBatcherMsg::LookDue => state.look_due(&myself).await,
        }
    }

    /// What the journal holds by now goes into the store, as far as the store takes it at once.
    async fn post_stop(
        &self,
        _: ActorRef<ParticipationBatcherMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while state.args.catch_up_on_stop && matches!(state.look().await, Ok(Looked::Committed)) {}
        Ok(())
    }
}

impl State {
    async fn look_due(
        &mut self,
        myself: &ActorRef<ParticipationBatcherMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let wait = match self.look().await {
            Ok(Looked::Committed) => {
                self.weather.works("store");
                // The sealer also looks by itself; the hint makes it look sooner.
                let _ = self.args.sealer.cast(EpochSealerMsg::BatchCommitted);
                myself.cast(ParticipationBatcherMsg::LookDue)?;
                return Ok(());
            }
            Ok(Looked::AtEnd) => {
                self.weather.works("store");
                self.wake_on_more(myself);
                return Ok(());
            }
            Ok(Looked::FreezePending) => LOOK_AGAIN_AFTER,
            Err(Trouble::Store(error)) if error.is_transient() => {
                self.weather.failed("store", &error)
            }
            Err(Trouble::Journal(error)) if error.is_transient() => {
                self.weather.failed("journal", &error)
            }
            Err(trouble) => return Err(trouble.into()),
        };
        let _later = myself.send_after(wait, || ParticipationBatcherMsg::LookDue);
        Ok(())
    }

    /// One batch: read, fold, commit. Bounded, so that a stop never waits for long.
    async fn look(&mut self) -> Result<Looked, Trouble> {
        if self.ready.is_none() {
            let Some(batch) = self.next_batch().await? else {
                return Ok(Looked::AtEnd);
            };
            self.ready = Some(batch);
        }
        let Some(batch) = &self.ready else {
            return Ok(Looked::AtEnd);
        };
        if batch.needs_frozen() && self.args.store.is_freeze_pending().await? {
            let _ = self.args.sealer.cast(EpochSealerMsg::BatchCommitted);
            return Ok(Looked::FreezePending);
        }
        let _waiting = waiting_for("store");
        let committed = self.args.store.commit(batch).await?;
        debug!(
            from = batch.from,
            to = batch.to.seq,
            rows = batch.rows(),
            ?committed,
            "batch committed"
        );
        self.ready = None;
        self.batch_records = (self.batch_records * 2).min(self.args.batch_records);
        self.args.probe.reached(Step::BATCHER_COMMITTED);
        Ok(Looked::Committed)
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, Trouble> {
        let mut fold = match self.fold.take() {
            Some(fold) => fold,
            None => match self.begin().await? {
                Some(fold) => fold,
                None => return Ok(None),
            },
        };
        self.args.probe.reached(Step::BATCHER_BEFORE_READ);
        let chunk = if self.rest.entries.is_empty() {
            match self
                .args
                .folder
                .read(fold.position(), self.batch_records)
                .await
            {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.fold = Some(fold);
                    return Err(error.into());
                }
            }
        } else {
            std::mem::take(&mut self.rest)
        };
        // Folding is hashing and sorting: it has no place on the threads that answer others.
        let (fold, rest, batch) = offload(move || {
            let rest = fold_chunk(&mut fold, chunk)?;
            let batch = fold.finish();
            Ok::<_, OutOfSequence>((fold, rest, batch))
        })
        .await??;
        self.fold = Some(fold);
        self.rest = rest;
        self.args.probe.reached(Step::BATCHER_FOLDED);
        Ok(batch)
    }

    /// Goes on from where the store stands; none while the journal holds nothing.
    async fn begin(&mut self) -> Result<Option<Box<Fold>>, Trouble> {
        let projection = self.args.store.projection().await?;
        let Some(journal) = self.args.folder.id() else {
            return if self.args.folder.durable() == 0 {
                Ok(None)
            } else {
                Err(Trouble::NoJournal)
            };
        };
        if let Some(found) = projection.journal.clone().filter(|found| *found != journal) {
            return Err(StoreError::OtherJournal {
                expected: journal,
                found,
            }
            .into());
        }
        Ok(Some(Box::new(Fold::new(projection, journal))))
    }

    fn wake_on_more(&mut self, myself: &ActorRef<ParticipationBatcherMsg>) {
        let at: Position = self
            .fold
            .as_ref()
            .map_or_else(Position::default, |fold| fold.position());
        let (folder, myself) = (Arc::clone(&self.args.folder), myself.clone());
        let linger = self.args.linger;
        self.wake.abort_all();
        self.wake.spawn(async move {
            folder.wait_durable(at.seq).await;
            tokio::time::sleep(linger).await;
            // A batcher that is gone has a successor that looks by itself.
            let _ = myself.cast(ParticipationBatcherMsg::LookDue);
        });
        while self.wake.try_join_next().is_some() {}
    }
}

/// Folds what belongs into one batch, and gives back the rest.
fn fold_chunk(fold: &mut Fold, mut chunk: Chunk) -> Result<Chunk, OutOfSequence> {
    let mut taken = 0;
    for (entry, &behind) in chunk.entries.iter().zip(&chunk.positions) {
        if fold.push(entry, behind)? == Pushed::NextBatch {
            break;
        }
        taken += 1;
    }
    Ok(Chunk {
        entries: chunk.entries.split_off(taken),
        positions: chunk.positions.split_off(taken),
    })
}
