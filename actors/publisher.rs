//! Publishes roots: planned → signed → sent → finalized → read back → settled.
//!
//! What is signed is stored before it is sent, and the same bytes are sent until they land or can
//! no longer land; nothing is signed anew before. A root is settled when it was read back from a
//! finalized account, and not before. A crash loses nothing: every look begins with what is in
//! flight, by the store. Restart: permanent.

mod counters;
mod round;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use twzrd_domain::chain::{ChainError, RootChain, SettlementStore};
use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{Clock, StoreError};
use twzrd_domain::settlement::{EpochMode, Policy, RootKind};

use crate::later::Later;
use crate::step::Probe;
use crate::weather::Weather;

pub use counters::{PublisherCounters, PublisherCounts};
use round::Round;

/// What the publisher is told and asked.
pub enum PublisherMsg {
    /// There may be something to do. May come late or twice.
    LookDue,
    /// Must be answered once nothing is in flight and nothing can be published now. May come
    /// twice.
    SettleAll(RpcReplyPort<()>),
}

/// How roots are published.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// Whether roots are signed and sent; else they are planned and shown.
    pub auto: bool,
    /// Which of the two roots.
    pub kind: RootKind,
    /// Which number stands for an epoch on chain.
    pub mode: EpochMode,
    /// The epoch length in force.
    pub length: EpochLength,
    /// Which roots.
    pub policy: Policy,
    /// How many roots are signed in a tick, at most.
    pub per_tick: usize,
    /// From one tick to the next.
    pub interval: Duration,
    /// How often a transaction in flight is looked at.
    pub poll: Duration,
    /// How often its bytes are sent again.
    pub resend: Duration,
    /// After what time the policy judges a root again that it held back.
    pub judge_again: Duration,
    /// Publishes this one alone.
    pub only: Option<(Epoch, Channel)>,
}

/// What a start of the publisher needs.
#[derive(Clone)]
pub struct PublisherArgs {
    /// Where roots come from and their state goes.
    pub store: Arc<dyn SettlementStore>,
    /// The chain; none where nothing is published.
    pub chain: Option<Arc<dyn RootChain>>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// How roots are published.
    pub publishing: Arc<Publishing>,
    /// What is counted.
    pub counters: Arc<PublisherCounters>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct Publisher;

/// When it looks next, and who waits. All else is asked of the store.
pub struct State {
    round: Round,
    asked: Vec<RpcReplyPort<()>>,
    next_tick: UnixMs,
    look_is_due: bool,
    later: Later<PublisherMsg>,
    store: Weather,
    chain: Weather,
}

/// Why the publisher cannot go on for now, or at all.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Actor for Publisher {
    type Msg = PublisherMsg;
    type State = State;
    type Arguments = PublisherArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<PublisherMsg>,
        args: PublisherArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(PublisherMsg::LookDue)?;
        Ok(State {
            round: Round::new(args),
            asked: Vec::new(),
            next_tick: 0,
            look_is_due: true,
            later: Later::new(),
            store: Weather::default(),
            chain: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PublisherMsg>,
        message: PublisherMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PublisherMsg::LookDue => state.look_due(&myself).await,
            PublisherMsg::SettleAll(reply) => {
                state.asked.push(reply);
                state.hint(&myself)
            }
        }
    }
}

impl State {
    /// Many hints come to one look.
    fn hint(&mut self, myself: &ActorRef<PublisherMsg>) -> Result<(), ActorProcessingErr> {
        if !self.look_is_due {
            self.look_is_due = true;
            myself.cast(PublisherMsg::LookDue)?;
        }
        Ok(())
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<PublisherMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due = false;
        let wait = match self.look().await {
            Ok(wait) => {
                self.store.works("store");
                self.chain.works("chain");
                wait
            }
            Err(Trouble::Store(error)) if error.is_transient() => {
                self.store.failed("store", &error)
            }
            // A chain that refuses is weather too: what runs there is not ours.
            Err(Trouble::Chain(error)) => self.chain.failed("chain", &error),
            Err(trouble) => return Err(trouble.into()),
        };
        if wait.is_zero() {
            return self.hint(myself);
        }
        self.later.send(myself, wait, || PublisherMsg::LookDue);
        Ok(())
    }

    /// Looks after what is in flight, and publishes what is due; gives the wait to the next look.
    async fn look(&mut self) -> Result<Duration, Trouble> {
        let Some(chain) = self.round.args.chain.clone() else {
            self.answer();
            return Ok(self.round.args.publishing.interval);
        };
        let flying = self.round.reconcile(&*chain).await?;
        let now = self.round.args.clock.now();
        let interval = self.round.args.publishing.interval;
        if now >= self.next_tick {
            let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            self.next_tick = now.saturating_add(millis);
            self.round.begin_tick();
        }
        let went_on = self.round.publish(&*chain, &flying).await?;
        if went_on {
            return Ok(Duration::ZERO);
        }
        if flying.is_empty() {
            self.answer();
            return Ok(Duration::from_millis(
                self.next_tick.saturating_sub(now).max(1),
            ));
        }
        Ok(self.round.args.publishing.poll)
    }

    fn answer(&mut self) {
        for reply in self.asked.drain(..) {
            // Whoever no longer waits for the answer will ask again.
            let _ = reply.send(());
        }
    }
}
