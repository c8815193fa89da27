//! Follows what the program does on chain: claims, publications, and all else that it is told.
//!
//! What is finalized is read behind the last recorded transaction, in order, so that there is no
//! gap and no duplicate; a subscription only makes it look sooner. Each batch goes to the activity
//! log first, which knows what it holds, and then to the store together with the mark. A crash
//! loses nothing. Restart: permanent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};
use twzrd_domain::chain::{
    Activity, ActivityLog, ActivityStore, ChainActivity, ChainError, Deed, Followed, Known,
    LogError, Mark, Recorded,
};
use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::ports::{Clock, StoreError};
use twzrd_domain::settlement::EpochMode;

use crate::later::Later;
use crate::step::{Probe, Step};
use crate::weather::{Waiting, Weather};

/// How many transactions are recorded at once.
const BATCH: usize = 200;
/// A batch ends where the lines of its transactions are longer than this: strangers choose how long
/// they are.
const BATCH_BYTES: usize = 16 << 20;
/// How many of them are read at a time.
const READS: usize = 8;
/// A subscription works once it told something, or has lasted so long: a server may take it and
/// end it at once.
const LASTING: Duration = Duration::from_secs(5);
/// A history that begins in a later slot than this lacks something.
const FIRST_SLOTS: u64 = 1000;

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
    seen: Mutex<Seen>,
}

/// What the last look came to.
#[derive(Clone, Debug, Default)]
struct Seen {
    waits_for: Option<Waiting>,
    looked: Option<UnixMs>,
    known_from: Option<u64>,
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
    /// When it looked last and all was well; none before the first time.
    pub looked: Option<UnixMs>,
    /// The slot from which on everything is recorded: that of the first block that the nodes still
    /// had when the program was followed first. None before that.
    pub known_from: Option<u64>,
}

impl ListenerCounters {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> ListenerCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seen = self.seen().clone();
        ListenerCounts {
            transactions: of(&self.transactions),
            claims: of(&self.claims),
            publications: of(&self.publications),
            slot: of(&self.slot),
            hints: of(&self.hints),
            subscriptions_lost: of(&self.subscriptions_lost),
            waits_for: seen.waits_for,
            looked: seen.looked,
            known_from: seen.known_from,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn works(&self, now: UnixMs) {
        let mut seen = self.seen();
        seen.waits_for = None;
        seen.looked = Some(now);
    }

    fn waits(&self, reason: String, now: UnixMs) {
        let mut seen = self.seen();
        let since = seen.waits_for.as_ref().map_or(now, |waiting| waiting.since);
        seen.waits_for = Some(Waiting { since, reason });
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
                let asked = Instant::now();
                let told = subscription.next().await;
                if told.is_ok() || asked.elapsed() >= LASTING {
                    weather.works("subscription");
                }
                match told {
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
        let looked = self.look().await;
        let now = self.args.clock.now();
        match looked {
            Ok(true) => {
                self.works(now);
                self.hint(myself)
            }
            Ok(false) => {
                self.works(now);
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
                self.args.counters.waits(trouble.to_string(), now);
                self.later.send(myself, wait, || ChainListenerMsg::LookDue);
                Ok(())
            }
        }
    }

    fn works(&mut self, now: UnixMs) {
        self.weather.works("chain");
        self.args.counters.works(now);
    }

    /// Records some transactions; false where there was none.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let Some(chain) = self.args.chain.clone() else {
            return Ok(false);
        };
        let followed = self.args.store.followed().await?;
        let found = chain.after(&followed, BATCH).await?;
        if found.marks.is_empty() {
            if found.known.is_some() {
                self.record(&[], found.known).await?;
            }
            self.show_known(&followed, found.known);
            return Ok(false);
        }
        let (all, rest) = read(&chain, found.marks).await;
        if let Some(last) = all.last() {
            let known = match &rest {
                Rest::None => found.known,
                // There may be more in the slot of the last.
                _ => found.known.map(|known| known.before(last.mark.slot)),
            };
            self.keep(all, known).await?;
            self.show_known(&followed, known);
        }
        match rest {
            Rest::Trouble(error) => Err(error.into()),
            Rest::None | Rest::Left => Ok(true),
        }
    }

    /// Logs and records what was read.
    async fn keep(&mut self, all: Vec<Activity>, known: Option<Known>) -> Result<(), Trouble> {
        self.args.probe.reached(Step::LISTENER_READ);
        self.args.log.append(&all, self.args.clock.now()).await?;
        self.args.probe.reached(Step::LISTENER_LOGGED);
        let recorded: Vec<_> = all.into_iter().map(|it| self.with_epochs(it)).collect();
        self.record(&recorded, known).await?;
        self.args.probe.reached(Step::LISTENER_RECORDED);
        self.count(&recorded);
        if recorded.len() >= READS {
            // It gets on: what comes next is waited for anew.
            self.works(self.args.clock.now());
        }
        Ok(())
    }

    async fn record(&self, all: &[Recorded], known: Option<Known>) -> Result<(), StoreError> {
        let now = self.args.clock.now();
        self.args.store.record(all, known, now).await
    }

    /// Shows from where on everything is known, and warns where that is news and not the beginning.
    fn show_known(&self, followed: &Followed, known: Option<Known>) {
        let before = followed.known.map(|known| known.from);
        let now = known.map(|known| known.from).or(before);
        self.args.counters.seen().known_from = now;
        if let Some(slot) = now.filter(|now| before != Some(*now) && *now > FIRST_SLOTS) {
            warn!(
                slot,
                "the nodes keep no older history: what the program did before this slot is not recorded"
            );
        }
    }

    fn with_epochs(&self, activity: Activity) -> Recorded {
        let now = self.args.clock.now() / 1000;
        let epoch = |deed: &Deed| -> Option<Epoch> {
            match deed {
                Deed::Claim { number, .. } | Deed::Publish { number, .. } => {
                    // A number of the other mode comes to a time that is far away.
                    let epoch = self.args.mode.epoch(*number, self.args.length);
                    epoch.filter(|epoch| epoch.0 <= now)
                }
                Deed::Other => None,
            }
        };
        let epochs = activity.actions.iter().map(|it| epoch(&it.deed)).collect();
        Recorded { activity, epochs }
    }

    fn count(&self, recorded: &[Recorded]) {
        let slot = recorded.last().map_or(0, |last| last.activity.mark.slot);
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

/// What of a batch was not read.
enum Rest {
    /// Nothing.
    None,
    /// The rest: the batch is long enough.
    Left,
    /// The rest, for this reason.
    Trouble(ChainError),
}

/// Reads transactions in their order, as far as that goes: what was read stays, so that a node that
/// fails now and then lets the listener get on.
async fn read(chain: &Arc<dyn ChainActivity>, marks: Vec<Mark>) -> (Vec<Activity>, Rest) {
    let one = |mark: Mark| {
        let chain = Arc::clone(chain);
        async move { chain.read(&mark).await }
    };
    let mut reads = stream::iter(marks).map(one).buffered(READS);
    let (mut all, mut bytes) = (Vec::new(), 0);
    while let Some(read) = reads.next().await {
        if bytes > BATCH_BYTES {
            return (all, Rest::Left);
        }
        match read {
            Ok(activity) => {
                bytes += activity
                    .actions
                    .iter()
                    .map(|it| it.json.len())
                    .sum::<usize>();
                all.push(activity);
            }
            Err(error) => return (all, Rest::Trouble(error)),
        }
    }
    (all, Rest::None)
}
