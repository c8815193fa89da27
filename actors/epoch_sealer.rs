//! Seals an epoch: decides, once and durably, that it takes no more participations, and freezes
//! who took part.
//!
//! An epoch is sealed by a record of the journal; once the batcher has committed that record, the
//! participants of each channel are frozen in a transaction. Tells the tree builder to look again.
//! A crash loses nothing: the next start asks the store what is due and what is half done. A seal
//! is appended only when the store has applied all that the journal held, its own earlier seals
//! among that, so none is appended twice. Restart: permanent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::info;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{Clock, JournalError, JournalFolder, SealStore, StoreError};
use twzrd_domain::record::{Append, Record, Seal, Seq};
use twzrd_domain::seal::{self, FreezeError, FrozenChannel};
use twzrd_domain::weight::Arithmetic;
use twzrd_supervision::{ChildRef, RefError, waiting_for};

use crate::journal::JournalMsg;
use crate::later::Later;
use crate::offload::offload;
use crate::step::{Probe, Step};
use crate::tree_builder::TreeBuilderMsg;
use crate::weather::Weather;

/// How many participants are frozen in one transaction, unless one channel has more.
const FREEZE_PARTICIPANTS: u64 = 20_000;
/// How many channels are frozen in one transaction.
const FREEZE_CHANNELS: usize = 500;
/// How many seals are appended at once.
const SEALS_AT_ONCE: usize = 10_000;
/// How long the journal's answer to a seal is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The wait before a look that a batch asks for, where there is a clock.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// The longest wait before it is looked again whether an epoch is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the epoch sealer is told and asked.
pub enum EpochSealerMsg {
    /// A batch was committed: what was waited for may have happened. May come late or twice.
    BatchCommitted,
    /// It is time to look. May come late or twice.
    LookDue,
    /// The input has ended. Must be answered once the store has applied all that the journal holds
    /// and everything that is sealed is frozen. May come twice.
    Finish {
        /// Whether every epoch in which something counted must be sealed first. Without, only the
        /// seals that the journal holds already are waited for.
        seal_open: bool,
        /// Where to answer.
        reply: RpcReplyPort<()>,
    },
}

/// When an epoch is sealed.
#[derive(Clone)]
pub enum SealWhen {
    /// When the clock is past the epoch's end by the grace, in milliseconds.
    AfterGrace {
        /// The source of time.
        clock: Arc<dyn Clock>,
        /// How long after its end an epoch still takes participations.
        grace_ms: u64,
    },
    /// When asked to, at the end of the input. There is no clock.
    Asked,
}

/// What a start of the sealer needs.
#[derive(Clone)]
pub struct EpochSealerArgs {
    /// What is due, and where the frozen go.
    pub store: Arc<dyn SealStore>,
    /// How far the journal has come.
    pub folder: Arc<dyn JournalFolder>,
    /// Where seals are appended.
    pub journal: ChildRef<JournalMsg>,
    /// Is told of frozen epochs.
    pub trees: ChildRef<TreeBuilderMsg>,
    /// When to seal.
    pub when: SealWhen,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct EpochSealer;

/// Who waits, and what is under way. All else is asked of the store.
pub struct State {
    args: EpochSealerArgs,
    asked: Vec<RpcReplyPort<()>>,
    seal_open: bool,
    /// How far the journal was when it was found that the store is behind it.
    awaited: Option<Seq>,
    freezing: Freezing,
    look_is_due: bool,
    later: Later<EpochSealerMsg>,
    weather: Weather,
}

/// The epoch that is being frozen. What is left of it is asked of the store once, and once more
/// before it is called done: to count the participants of a large epoch takes a while.
#[derive(Default)]
struct Freezing {
    epoch: Epoch,
    /// Channels that are not frozen, each with the number of its participants.
    left: VecDeque<(Channel, u64)>,
    channels: usize,
    participants: usize,
}

/// Why the sealer cannot go on for now, or at all.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Away(#[from] RefError),
    #[error(transparent)]
    Freeze(#[from] FreezeError),
    #[error("the thread that freezes died: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// What one look came to.
enum Looked {
    /// Something was done; there may be more.
    Worked,
    /// The batcher has not applied all that the journal holds.
    BatcherBehind,
    /// Nothing is due.
    Idle,
}

impl Actor for EpochSealer {
    type Msg = EpochSealerMsg;
    type State = State;
    type Arguments = EpochSealerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<EpochSealerMsg>,
        args: EpochSealerArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(EpochSealerMsg::LookDue)?;
        Ok(State {
            args,
            asked: Vec::new(),
            seal_open: false,
            awaited: None,
            freezing: Freezing::default(),
            look_is_due: true,
            later: Later::new(),
            weather: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<EpochSealerMsg>,
        message: EpochSealerMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EpochSealerMsg::BatchCommitted => state.batch_committed(&myself),
            EpochSealerMsg::LookDue => state.look_due(&myself).await,
            EpochSealerMsg::Finish { seal_open, reply } => {
                state.asked.push(reply);
                state.seal_open |= seal_open;
                // What was accepted before it was asked belongs to what is to be finished.
                state.awaited = None;
                state.hint(&myself)
            }
        }
    }
}

impl State {
    /// While lines come in all the time, one look serves many batches.
    fn batch_committed(
        &mut self,
        myself: &ActorRef<EpochSealerMsg>,
    ) -> Result<(), ActorProcessingErr> {
        match self.args.when {
            SealWhen::Asked => self.hint(myself),
            SealWhen::AfterGrace { .. } => {
                if !std::mem::replace(&mut self.look_is_due, true) {
                    self.later
                        .send(myself, LOOK_SOON, || EpochSealerMsg::LookDue);
                }
                Ok(())
            }
        }
    }

    /// Many hints come to one look.
    fn hint(&mut self, myself: &ActorRef<EpochSealerMsg>) -> Result<(), ActorProcessingErr> {
        if !self.look_is_due {
            self.look_is_due = true;
            myself.cast(EpochSealerMsg::LookDue)?;
        }
        Ok(())
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<EpochSealerMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due = false;
        let wait = match self.look().await {
            Ok(Looked::Worked) => {
                self.weather.works("store");
                return self.hint(myself);
            }
            // The batcher's next batch makes it look sooner.
            Ok(Looked::BatcherBehind) => Duration::from_millis(50),
            Ok(Looked::Idle) => {
                self.weather.works("store");
                self.seal_open = false;
                for reply in self.asked.drain(..) {
                    // Whoever no longer waits for the answer will ask again.
                    let _ = reply.send(());
                }
                match self.args.when {
                    SealWhen::AfterGrace { .. } => LOOK_EVERY,
                    SealWhen::Asked => return Ok(()),
                }
            }
            Err(Trouble::Store(error)) if error.is_transient() => {
                self.weather.failed("store", &error)
            }
            Err(Trouble::Journal(error)) if error.is_transient() => {
                self.weather.failed("journal", &error)
            }
            Err(Trouble::Away(error)) => self.weather.failed("journal", &error),
            Err(trouble) => return Err(trouble.into()),
        };
        self.later.send(myself, wait, || EpochSealerMsg::LookDue);
        Ok(())
    }

    /// One piece of work: some channels frozen, or the seals that are due appended.
    async fn look(&mut self) -> Result<Looked, Trouble> {
        // The order matters: once the store has come as far as the journal was, it knows every
        // seal that the journal held then. Asked the other way round, a seal that is committed in
        // between would be missed, and `Finish` answered before its epoch is frozen.
        //
        // How far the journal is now is looked at once, and then waited for: under steady chat the
        // store is behind the journal's present end at nearly every look, and nothing were sealed.
        let accepted = *self
            .awaited
            .get_or_insert_with(|| self.args.folder.durable());
        let is_behind = self.args.store.offset().await? < accepted;
        if !is_behind {
            self.awaited = None;
        }
        if let Some(&(epoch, at)) = self.args.store.unfrozen().await?.first() {
            return self.freeze_some(epoch, at).await;
        }
        if matches!(self.args.when, SealWhen::Asked) && self.asked.is_empty() {
            return Ok(Looked::Idle);
        }
        if is_behind {
            let _waiting = waiting_for("participation_batcher");
            return Ok(Looked::BatcherBehind);
        }
        match self.args.when {
            SealWhen::Asked if !self.seal_open => Ok(Looked::Idle),
            _ => self.seal_due().await,
        }
    }

    async fn seal_due(&mut self) -> Result<Looked, Trouble> {
        let open = self.args.store.open_epochs().await?;
        if open.is_empty() {
            return Ok(Looked::Idle);
        }
        let arithmetic = self.arithmetic().await?;
        let due: Vec<(UnixMs, Record)> = open
            .into_iter()
            .filter_map(|epoch| self.sealed_at(epoch, &arithmetic).map(|at| (at, epoch)))
            .map(|(at, epoch)| (at, Record::Seal(Seal { epoch })))
            .take(SEALS_AT_ONCE)
            .collect();
        if due.is_empty() {
            return Ok(Looked::Idle);
        }
        self.args.probe.reached(Step::SEALER_BEFORE_SEAL);
        let _waiting = waiting_for("journal");
        let append = Append::Records {
            progress: None,
            records: due,
        };
        let ask = |reply| JournalMsg::Append(append, reply);
        self.args.journal.call(ask, ANSWER_WITHIN).await??;
        self.args.probe.reached(Step::SEALER_SEALED);
        Ok(Looked::Worked)
    }

    /// The time of the seal record, where the epoch is due.
    fn sealed_at(&self, epoch: Epoch, arithmetic: &Arithmetic) -> Option<UnixMs> {
        let end = arithmetic.epoch_seconds.end_of(epoch);
        match &self.args.when {
            SealWhen::Asked => Some(end),
            SealWhen::AfterGrace { clock, grace_ms } => {
                let now = clock.now();
                (now >= end.saturating_add(*grace_ms)).then_some(now)
            }
        }
    }

    async fn arithmetic(&self) -> Result<Arithmetic, StoreError> {
        Ok(self.args.store.arithmetic().await?.unwrap_or_default())
    }

    async fn freeze_some(&mut self, epoch: Epoch, at: UnixMs) -> Result<Looked, Trouble> {
        if self.freezing.epoch != epoch {
            self.freezing = Freezing {
                epoch,
                ..Freezing::default()
            };
        }
        if self.freezing.left.is_empty() {
            self.freezing.left = self.args.store.channels_to_freeze(epoch).await?.into();
        }
        if self.freezing.left.is_empty() {
            return self.finish_freeze(epoch, at).await;
        }
        let channels = some_channels(&self.freezing.left);
        let people = self.args.store.participants(epoch, &channels).await?;
        let arithmetic = self.arithmetic().await?;
        let taken = channels.len();
        // Weighing and hashing a million people takes a second of a core.
        let frozen = offload(move || {
            let each = channels.iter().zip(people);
            each.filter_map(|(channel, people)| {
                seal::freeze(epoch, channel, at, &arithmetic, people).transpose()
            })
            .collect::<Result<Vec<FrozenChannel>, FreezeError>>()
        })
        .await??;
        self.args.probe.reached(Step::SEALER_BEFORE_FREEZE);
        self.args.store.freeze(&frozen).await?;
        self.freezing.left.drain(..taken);
        self.freezing.channels += frozen.len();
        self.freezing.participants += frozen
            .iter()
            .map(|channel| channel.participants.len())
            .sum::<usize>();
        self.args.probe.reached(Step::SEALER_FROZEN);
        let _ = self.args.trees.cast(TreeBuilderMsg::LookDue);
        Ok(Looked::Worked)
    }

    async fn finish_freeze(&mut self, epoch: Epoch, at: UnixMs) -> Result<Looked, Trouble> {
        self.args.store.finish_freeze(epoch, at).await?;
        let Freezing {
            channels,
            participants,
            ..
        } = std::mem::take(&mut self.freezing);
        info!(%epoch, channels, participants, "epoch sealed");
        self.args.probe.reached(Step::SEALER_FINISHED);
        // The tree builder also looks by itself when it starts; the hint makes it look sooner.
        let _ = self.args.trees.cast(TreeBuilderMsg::LookDue);
        Ok(Looked::Worked)
    }
}

/// As many channels as one transaction takes.
fn some_channels(left: &VecDeque<(Channel, u64)>) -> Vec<Channel> {
    let mut people = 0;
    left.iter()
        .take(FREEZE_CHANNELS)
        .take_while(|(_, participants)| {
            let fits = people == 0 || people + participants <= FREEZE_PARTICIPANTS;
            people += participants;
            fits
        })
        .map(|(channel, _)| channel.clone())
        .collect()
}
