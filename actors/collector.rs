//! Collects one channel: takes lines out of its feed, has them judged and screened, and appends
//! them to the journal; only then does it let go of them.
//!
//! Comes in: lines in the feed, which a socket fills. Goes out: intakes to the gate in front of the
//! journal. A crash loses nothing: the batch stays in the feed under its number, and the journal
//! accepts a number once. A line that crashes the collector three times is booked as invalid and
//! goes to the quarantine with its text. Restart: permanent, with a cool-down of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{error, warn};
use twzrd_domain::chat::LineJudge;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::ports::{IngestStore, Quarantined};
use twzrd_domain::record::{Intake, Progress};
use twzrd_supervision::set_feed;

use crate::board::Counters;
use crate::feed::{CRASHES_OF_A_LINE, FeedBatch};
use crate::intake::Gate;
use crate::later::Later;
use crate::room::Room;
use crate::step::{Probe, Step};
use crate::weather::Weather;

/// The wait before a line that was put aside is offered to the store again.
const KEEP_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The longest wait for the store to take such a line.
const KEEP_WITHIN: Duration = Duration::from_secs(5);

/// What a collector is told.
pub enum CollectorMsg {
    /// Lines wait in the feed. May come late or twice.
    FeedFilled,
    /// It is time to take them out. May come late or twice.
    LookDue,
    /// It is time to offer lines that were put aside to the store.
    KeepDue,
}

/// What all collectors share.
pub struct Collecting {
    /// Judges lines.
    pub judge: Arc<dyn LineJudge>,
    /// The gate in front of the journal.
    pub gate: Gate,
    /// Where lines go that crash their collector.
    pub store: Arc<dyn IngestStore>,
    /// The epoch length in force.
    pub length: EpochLength,
    /// How long lines are gathered before they are taken out.
    pub linger: Duration,
    /// How many lines are taken out at once.
    pub batch_lines: usize,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// What a start of a collector needs.
#[derive(Clone)]
pub struct CollectorArgs {
    /// The channel.
    pub room: Arc<Room>,
    /// What it shares with the others.
    pub shared: Arc<Collecting>,
}

/// The actor. See the module.
pub struct Collector;

/// Whether a look is under way. All else is in the room.
pub struct State {
    args: CollectorArgs,
    look_is_due: bool,
    keep_later: Later<CollectorMsg>,
    weather: Weather,
}

impl Actor for Collector {
    type Msg = CollectorMsg;
    type State = State;
    type Arguments = CollectorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<CollectorMsg>,
        args: CollectorArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(CollectorMsg::LookDue)?;
        Ok(State {
            args,
            look_is_due: true,
            keep_later: Later::new(),
            weather: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<CollectorMsg>,
        message: CollectorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CollectorMsg::FeedFilled => state.feed_filled(&myself),
            CollectorMsg::LookDue => state.look_due(&myself).await?,
            CollectorMsg::KeepDue => state.keep_due(&myself).await,
        }
        Ok(())
    }

    /// What is in the feed goes into the journal before the journal stops.
    async fn post_stop(
        &self,
        _: ActorRef<CollectorMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while state.collect().await? {}
        Ok(())
    }
}

impl State {
    /// Many hints come to one look, after a while in which more lines come in.
    fn feed_filled(&mut self, myself: &ActorRef<CollectorMsg>) {
        if !std::mem::replace(&mut self.look_is_due, true) {
            let _later = myself.send_after(self.args.shared.linger, || CollectorMsg::LookDue);
        }
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<CollectorMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due = false;
        if self.collect().await? {
            let waiting = self.args.room.feed().depth().lines;
            if waiting >= self.args.shared.batch_lines as u64 {
                self.look_is_due = true;
                myself.cast(CollectorMsg::LookDue)?;
            } else if waiting > 0 {
                self.feed_filled(myself);
            }
        }
        if self.args.room.aside().is_some() {
            self.keep_due(myself).await;
        }
        Ok(())
    }

    /// Takes one batch to the journal. False where nothing waits.
    async fn collect(&mut self) -> Result<bool, ActorProcessingErr> {
        let CollectorArgs { room, shared } = &self.args;
        let feed = room.feed();
        let Some(batch) = feed.take(shared.batch_lines) else {
            return Ok(false);
        };
        set_feed(feed.depth().bytes, feed.bound() as u64);
        shared.probe.reached(Step::COLLECTOR_TOOK);
        let (intake, aside) = self.judge(&batch);
        shared.probe.reached(Step::COLLECTOR_JUDGED);
        shared.gate.accept(intake).await?;
        shared.probe.reached(Step::COLLECTOR_ACCEPTED);
        for line in aside {
            self.put_aside(line);
        }
        feed.commit(batch.number());
        set_feed(feed.depth().bytes, feed.bound() as u64);
        Ok(true)
    }

    /// Judges every line of a batch, but for those that crash whoever does so.
    fn judge(&self, batch: &FeedBatch) -> (Intake, Vec<Quarantined>) {
        let CollectorArgs { room, shared } = &self.args;
        let mut draft = shared.judge.begin(shared.length);
        let mut aside = Vec::new();
        batch.each(|line| {
            if line.is_aside {
                draft.push_invalid(line.at);
                aside.push(Quarantined {
                    channel: room.channel().clone(),
                    line: String::from_utf8_lossy(line.bytes).into_owned(),
                    error: "its collector ended while it judged this line".to_owned(),
                    crashes: CRASHES_OF_A_LINE.into(),
                    at: line.at,
                });
            } else if line.is_broken {
                draft.push_invalid(line.at);
            } else {
                draft.push(line.bytes, line.at);
            }
        });
        let progress = Progress {
            source: room.source().clone(),
            upto: batch.number(),
            digest: "".into(),
        };
        (draft.finish(Some(progress)), aside)
    }

    fn put_aside(&self, line: Quarantined) {
        let counters = &self.args.shared.counters;
        counters.quarantined.fetch_add(1, Ordering::Relaxed);
        let channel = self.args.room.channel().as_str();
        error!(
            channel,
            "a line crashed its collector three times; it goes to the quarantine"
        );
        if !self.args.room.put_aside(line) {
            counters.quarantine_dropped.fetch_add(1, Ordering::Relaxed);
            warn!(
                channel,
                "too many lines wait for the quarantine; the text of one is dropped"
            );
        }
    }

    /// Offers lines that were put aside to the store. While it is away they wait.
    async fn keep_due(&mut self, myself: &ActorRef<CollectorMsg>) {
        let CollectorArgs { room, shared } = &self.args;
        while let Some(line) = room.aside() {
            let kept = tokio::time::timeout(KEEP_WITHIN, shared.store.quarantine(&line)).await;
            let failure = match kept {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {KEEP_WITHIN:?}")),
            };
            if let Some(failure) = failure {
                self.weather.failed("store", &failure);
                self.keep_later
                    .send(myself, KEEP_AGAIN_AFTER, || CollectorMsg::KeepDue);
                return;
            }
            self.weather.works("store");
            room.kept();
        }
    }
}
