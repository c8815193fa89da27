//! Follows what the program does on chain: claims, publications, and all else that it is told.
//!
//! What is finalized is read behind the last recorded transaction, in order, so that there is no
//! gap and no duplicate; a subscription only makes it look sooner. Each batch goes to the activity
//! log first, which knows what it holds, and then to the store together with the mark. A crash
//! loses nothing. Restart: permanent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tracing::info;
use twzrd_domain::chain::{
    Activity, ActivityLog, ActivityStore, ChainActivity, ChainError, Deed, LogError, Recorded,
};
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::ports::{Clock, StoreError};
use twzrd_domain::settlement::EpochMode;

use crate::later::Later;
use crate::step::{Probe, Step};
use crate::weather::{Waiting, Weather};

/// How many transactions are recorded at once.
const BATCH: usize = 200;
/// How many of them are read at a time.
const READS: usize = 8;

/// What the chain listener is told and asked.
pub enum ChainListenerMsg {
    /// There may be something new. May come late or twice.
    LookDue,
    /// Must be answered once all that was finalized when this came is recorded. May come twice.
    CatchUp(RpcReplyPort<()>),
}

/// What a start of the chain listener needs.
#[derive(Clone)]
pub struct ChainListenerArgs {
    /// The chain; none where nothing is followed.
    pub chain: Option<Arc<dyn ChainActivity>>,
    /// Where all of it is recorded.
    pub store: Arc<dyn ActivityStore>,
    /// The activity log.
    pub log: Arc<dyn ActivityLog>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Which number stands for an epoch on chain.
    pub mode: EpochMode,
    /// The epoch length in force.
    pub length: EpochLength,
    /// How often it looks without being told.
    pub poll: Duration,
    /// What is counted.
    pub counters: Arc<ListenerCounters>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// What the chain listener counts, shared by it and whoever shows it. It outlives a restart.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    transactions: AtomicU64,
    claims: AtomicU64,
    publications: AtomicU64,
    slot: AtomicU64,
    hints: AtomicU64,
    subscriptions_lost: AtomicU64,
}

/// The counts at a moment, since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Transactions that were recorded.
    pub transactions: u64,
    /// Claims among them.
    pub claims: u64,
    /// Publications among them.
    pub publications: u64,
    /// The slot of the last one.
    pub slot: u64,
    /// Hints of the subscription.
    pub hints: u64,
    /// How often the subscription ended or was given up on.
    pub subscriptions_lost: u64,
    /// Why nothing is recorded now, where that is so.
    pub waits_for: Option<Waiting>,
}

impl ListenerCounters {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> ListenerCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ListenerCounts {
            transactions: of(&self.transactions),
            claims: of(&self.claims),
            publications: of(&self.publications),
            slot: of(&self.slot),
            hints: of(&self.hints),
            subscriptions_lost: of(&self.subscriptions_lost),
            waits_for: None,
        }
    }
}

/// The actor. See the module.
pub struct ChainListener;

/// Who waits. All else is asked of the store.
pub struct State {
    args: ChainListenerArgs,
    asked: Vec<RpcReplyPort<()>>,
    look_is_due: Arc<AtomicBool>,
    later: Later<ChainListenerMsg>,
    weather: Weather,
    // Dropped with the state, and then it ends.
    _subscription: JoinSet<()>,
}

/// Why the listener cannot go on for now, or at all.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Actor for ChainListener {
    type Msg = ChainListenerMsg;
    type State = State;
    type Arguments = ChainListenerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ChainListenerMsg>,
        args: ChainListenerArgs,
    ) -> Result<State, ActorProcessingErr> {
        let hints = Hints {
            listener: myself,
            look_is_due: Arc::default(),
        };
        hints.hint()?;
        let look_is_due = Arc::clone(&hints.look_is_due);
        let mut subscription = JoinSet::new();
        if let Some(chain) = args.chain.clone() {
            let counters = Arc::clone(&args.counters);
            subscription.spawn(listen(chain, hints, counters, args.poll));
        }
        Ok(State {
            args,
            asked: Vec::new(),
            look_is_due,
            later: Later::new(),
            weather: Weather::default(),
            _subscription: subscription,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ChainListenerMsg>,
        message: ChainListenerMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ChainListenerMsg::LookDue => state.look_due(&myself).await,
            ChainListenerMsg::CatchUp(reply) => {
                state.asked.push(reply);
                state.hint(&myself)
            }
        }
    }
}

/// Tells the listener to look. Many hints come to one look, so that they do not pile up.
struct Hints {
    listener: ActorRef<ChainListenerMsg>,
    look_is_due: Arc<AtomicBool>,
}

impl Hints {
    fn hint(&self) -> Result<(), ActorProcessingErr> {
        if !self.look_is_due.swap(true, Ordering::AcqRel) {
            self.listener.cast(ChainListenerMsg::LookDue)?;
        }
        Ok(())
    }
}

/// Passes the subscription's hints on, and subscribes anew whenever it is lost. Ends with the
/// listener.
async fn listen(
    chain: Arc<dyn ChainActivity>,
    hints: Hints,
    counters: Arc<ListenerCounters>,
    pause: Duration,
) {
    let mut weather = Weather::default();
    loop {
        let error = match chain.subscribe().await {
            Ok(mut subscription) => loop {
                weather.works("subscription");
                match subscription.next().await {
                    Ok(()) => {
                        counters.hints.fetch_add(1, Ordering::Relaxed);
                        if hints.hint().is_err() {
                            return;
                        }
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        counters.subscriptions_lost.fetch_add(1, Ordering::Relaxed);
        let wait = weather.failed("subscription", &error).min(pause);
        tokio::time::sleep(wait).await;
        // What it would have told in between is found by looking.
        if hints.hint().is_err() {
            return;
        }
    }
}

impl State {
    fn hint(&self, myself: &ActorRef<ChainListenerMsg>) -> Result<(), ActorProcessingErr> {
        let hints = Hints {
            listener: myself.clone(),
            look_is_due: Arc::clone(&self.look_is_due),
        };
        hints.hint()
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<ChainListenerMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due.store(false, Ordering::Release);
        match self.look().await {
            Ok(true) => {
                self.weather.works("chain");
                self.hint(myself)
            }
            Ok(false) => {
                self.weather.works("chain");
                for reply in self.asked.drain(..) {
                    // Whoever no longer waits for the answer will ask again.
                    let _ = reply.send(());
                }
                let poll = self.args.poll;
                self.later.send(myself, poll, || ChainListenerMsg::LookDue);
                Ok(())
            }
            Err(Trouble::Store(error)) if !error.is_transient() => Err(error.into()),
            Err(trouble) => {
                let wait = self.weather.failed("chain", &trouble);
                self.later.send(myself, wait, || ChainListenerMsg::LookDue);
                Ok(())
            }
        }
    }

    /// Records some transactions; false where there was none.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let Some(chain) = self.args.chain.clone() else {
            return Ok(false);
        };
        let mark = self.args.store.last_mark().await?;
        let marks = chain.after(mark.as_ref(), BATCH).await?;
        let read = |mark| {
            let chain = Arc::clone(&chain);
            async move { chain.read(&mark).await }
        };
        let all: Vec<Activity> = stream::iter(marks)
            .map(read)
            .buffered(READS)
            .try_collect()
            .await?;
        let Some(last) = all.last() else {
            return Ok(false);
        };
        self.args.probe.reached(Step::LISTENER_READ);
        let (slot, now) = (last.mark.slot, self.args.clock.now());
        self.args.log.append(&all, now).await?;
        self.args.probe.reached(Step::LISTENER_LOGGED);
        let recorded: Vec<_> = all.into_iter().map(|it| self.with_epochs(it)).collect();
        self.args.store.record(&recorded, now).await?;
        self.args.probe.reached(Step::LISTENER_RECORDED);
        self.count(&recorded, slot);
        Ok(true)
    }

    fn with_epochs(&self, activity: Activity) -> Recorded {
        let epoch = |deed: &Deed| -> Option<Epoch> {
            match deed {
                Deed::Claim { number, .. } | Deed::Publish { number, .. } => {
                    self.args.mode.epoch(*number, self.args.length)
                }
                Deed::Other => None,
            }
        };
        let epochs = activity.actions.iter().map(|it| epoch(&it.deed)).collect();
        Recorded { activity, epochs }
    }

    fn count(&self, recorded: &[Recorded], slot: u64) {
        let deeds = || recorded.iter().flat_map(|it| &it.activity.actions);
        let is_claim = |deed: &Deed| matches!(deed, Deed::Claim { .. });
        let is_publication = |deed: &Deed| matches!(deed, Deed::Publish { .. });
        let claims = deeds().filter(|it| is_claim(&it.deed)).count() as u64;
        let publications = deeds().filter(|it| is_publication(&it.deed)).count() as u64;
        let (counters, transactions) = (&self.args.counters, recorded.len() as u64);
        counters
            .transactions
            .fetch_add(transactions, Ordering::Relaxed);
        counters.claims.fetch_add(claims, Ordering::Relaxed);
        counters
            .publications
            .fetch_add(publications, Ordering::Relaxed);
        counters.slot.store(slot, Ordering::Relaxed);
        info!(
            transactions,
            claims, publications, slot, "chain activity recorded"
        );
    }
}
