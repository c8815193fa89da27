//! Puts the begins and ends of gaps into the journal: when a channel was not heard, and why.
//!
//! Takes what the rooms have queued, appends it, and only then lets go of it. A crash loses
//! nothing: the queue outlives the actor, and a gap that is appended twice is one gap, known by its
//! channel and begin. Restart: permanent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use twzrd_domain::ports::Clock;
use twzrd_domain::record::{Append, Gap, Record};
use twzrd_supervision::{ChildRef, set_feed};

use crate::feed::held;
use crate::intake::Gate;
use crate::step::{Probe, Step};

/// How many begins and ends are appended at once.
const APPENDED_AT_ONCE: usize = 2_000;

/// How many begins and ends of gaps may wait for the journal. One more is dropped, and counted.
pub const MAX_WAITING_GAPS: usize = 1_000_000;
/// Begins and ends of gaps that the journal has not acknowledged.
pub struct GapQueue {
    waiting: Mutex<(VecDeque<Gap>, bool)>,
    dropped: AtomicU64,
    ledger: ChildRef<GapLedgerMsg>,
}

impl GapQueue {
    /// An empty queue, which tells this actor when it is not empty any more.
    #[must_use]
    pub fn new(ledger: ChildRef<GapLedgerMsg>) -> Self {
        Self {
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
            ledger,
        }
    }

    pub(crate) fn push(&self, gap: Gap) {
        let mut waiting = held(&self.waiting);
        if waiting.0.len() >= MAX_WAITING_GAPS {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.0.push_back(gap);
        let is_told = std::mem::replace(&mut waiting.1, true);
        drop(waiting);
        if !is_told {
            // An actor that is away looks at the queue when it starts.
            let _ = self.ledger.cast(GapLedgerMsg::LookDue);
        }
    }

    /// The first that wait, at most so many. They stay until [`GapQueue::commit`].
    #[must_use]
    pub fn peek(&self, most: usize) -> Vec<Gap> {
        let mut waiting = held(&self.waiting);
        waiting.1 = false;
        waiting.0.iter().take(most).cloned().collect()
    }

    /// Lets go of the first so many.
    pub fn commit(&self, count: usize) {
        let mut waiting = held(&self.waiting);
        let count = count.min(waiting.0.len());
        waiting.0.drain(..count);
    }

    /// How many wait, and how many were dropped.
    #[must_use]
    pub fn depth(&self) -> (u64, u64) {
        let waiting = held(&self.waiting).0.len() as u64;
        (waiting, self.dropped.load(Ordering::Relaxed))
    }
}

/// What the gap ledger is told.
pub enum GapLedgerMsg {
    /// Something may wait in the queue. May come late or twice.
    LookDue,
}

/// What a start of the gap ledger needs.
#[derive(Clone)]
pub struct GapLedgerArgs {
    /// What waits.
    pub queue: Arc<GapQueue>,
    /// Where it goes.
    pub gate: Gate,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct GapLedger;

impl Actor for GapLedger {
    type Msg = GapLedgerMsg;
    type State = GapLedgerArgs;
    type Arguments = GapLedgerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<GapLedgerMsg>,
        args: GapLedgerArgs,
    ) -> Result<GapLedgerArgs, ActorProcessingErr> {
        myself.cast(GapLedgerMsg::LookDue)?;
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<GapLedgerMsg>,
        _: GapLedgerMsg,
        state: &mut GapLedgerArgs,
    ) -> Result<(), ActorProcessingErr> {
        if append_some(state).await? {
            myself.cast(GapLedgerMsg::LookDue)?;
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<GapLedgerMsg>,
        state: &mut GapLedgerArgs,
    ) -> Result<(), ActorProcessingErr> {
        while append_some(state).await? {}
        Ok(())
    }
}

/// Appends the first that wait. False where nothing did.
async fn append_some(state: &GapLedgerArgs) -> Result<bool, ActorProcessingErr> {
    let (waiting, _) = state.queue.depth();
    set_feed(waiting, MAX_WAITING_GAPS as u64);
    let gaps = state.queue.peek(APPENDED_AT_ONCE);
    if gaps.is_empty() {
        return Ok(false);
    }
    let (count, now) = (gaps.len(), state.clock.now());
    let records = gaps.into_iter().map(|gap| (now, Record::Gap(gap)));
    let append = Append::Records {
        progress: None,
        records: records.collect(),
    };
    state.gate.append(append).await?;
    state.probe.reached(Step::GAPS_APPENDED);
    state.queue.commit(count);
    Ok(true)
}
