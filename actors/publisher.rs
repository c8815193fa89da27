//! Publishes roots: planned → signed → sent → finalized → read back → settled.
//!
//! What is signed is stored before it is sent, and the same bytes are sent until they land or can
//! no longer land; nothing is signed anew before. A root is settled when it was read back from a
//! finalized account, and not before. A crash loses nothing: every look begins with what is in
//! flight, by the store. Restart: permanent.

mod counters;
mod flight;
mod round;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;
use tracing::warn;
use twzrd_domain::chain::{ChainError, RootChain, SettlementStore};
use twzrd_domain::epoch::{Epoch, EpochLength};
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
    /// There may be new roots to publish. May come late or twice.
    LookDue,
    /// It is time to look after what is in flight, or to begin a tick. May come late or twice.
    PollDue,
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
    /// When the next tick begins; none before the first.
    next_tick: Option<Instant>,
    /// Whether there may be roots to publish that were not looked at. What is due costs a query,
    /// which is not made while transactions are only waited for.
    may_publish: bool,
    look_is_due: bool,
    /// What was told last of what does not go on by itself.
    told: Option<String>,
    later: Later<PublisherMsg>,
    store: Weather,
    chain: Weather,
}

/// What a look came to.
struct Looked {
    /// The wait to the next one.
    wait: Duration,
    /// Why a transaction in flight could not be looked at.
    trouble: Option<ChainError>,
    /// What does not go on by itself, or not soon.
    waits_for: Option<String>,
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
            next_tick: None,
            may_publish: true,
            look_is_due: true,
            told: None,
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
            PublisherMsg::LookDue => {
                state.may_publish = true;
                state.look_due(&myself).await
            }
            PublisherMsg::PollDue => state.look_due(&myself).await,
            PublisherMsg::SettleAll(reply) => {
                state.asked.push(reply);
                state.may_publish = true;
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
            myself.cast(PublisherMsg::PollDue)?;
        }
        Ok(())
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<PublisherMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due = false;
        let (wait, waits_for) = match self.look().await {
            Ok(looked) => {
                self.store.works("store");
                self.after(looked)
            }
            Err(Trouble::Store(error)) if error.is_transient() => {
                let wait = self.store.failed("store", &error);
                (wait, Some(format!("store: {error}")))
            }
            // A chain that refuses is weather too: what runs there is not ours.
            Err(Trouble::Chain(error)) => {
                self.store.works("store");
                let wait = self.chain.failed("chain", &error);
                (wait, Some(format!("chain: {error}")))
            }
            Err(trouble) => return Err(trouble.into()),
        };
        let args = &self.round.args;
        args.counters
            .waits_for(args.clock.now(), waits_for.as_deref());
        if wait.is_zero() {
            return self.hint(myself);
        }
        self.later.send(myself, wait, || PublisherMsg::PollDue);
        Ok(())
    }

    /// The wait behind a look, and what stands in the way. What cannot be looked at is looked at
    /// again as soon as the others are.
    fn after(&mut self, looked: Looked) -> (Duration, Option<String>) {
        if looked.waits_for != self.told {
            if let Some(reason) = &looked.waits_for {
                warn!(reason, "something does not go on by itself");
            }
            self.told.clone_from(&looked.waits_for);
        }
        let waits_for = looked.waits_for.or_else(|| {
            let error = looked.trouble.as_ref()?;
            Some(format!("a transaction in flight: {error}"))
        });
        match &looked.trouble {
            Some(error) => {
                self.chain.failed("a transaction in flight", error);
            }
            None => self.chain.works("chain"),
        }
        (looked.wait, waits_for)
    }

    /// Looks after what is in flight, and publishes what is due.
    async fn look(&mut self) -> Result<Looked, Trouble> {
        let interval = self.round.args.publishing.interval;
        let Some(chain) = self.round.args.chain.clone() else {
            let waits_for = self.round.left_behind().await?;
            self.answer();
            return Ok(Looked {
                wait: interval,
                trouble: None,
                waits_for,
            });
        };
        let reconciled = self.round.reconcile(&*chain).await?;
        let now = Instant::now();
        let mut next_tick = self.next_tick.unwrap_or(now);
        if now >= next_tick {
            next_tick = now + interval;
            self.next_tick = Some(next_tick);
            self.may_publish = true;
            self.round.begin_tick();
        }
        self.may_publish |= reconciled.has_moved;
        let lull = self.round.lull.left();
        let mut wait = match lull {
            Some(lull) => lull.min(next_tick - now),
            None => next_tick - now,
        };
        wait = wait.max(Duration::from_millis(1));
        if self.may_publish && lull.is_none() {
            self.may_publish = self.round.publish(&*chain, &reconciled.flying).await?;
            if self.may_publish {
                wait = Duration::ZERO;
            }
        }
        if !reconciled.flying.is_empty() {
            wait = wait.min(self.round.args.publishing.poll);
        } else if !self.may_publish {
            self.answer();
        }
        Ok(Looked {
            wait,
            trouble: reconciled.trouble,
            waits_for: reconciled.waits_for,
        })
    }

    fn answer(&mut self) {
        for reply in self.asked.drain(..) {
            // Whoever no longer waits for the answer will ask again.
            let _ = reply.send(());
        }
    }
}
