//! A seeded storm over the service of a demo: actors are killed, and sockets are cut.
//!
//! It reaches actors by the references that their siblings use, and sockets by the handle of the
//! chat server: both are given to it by a demo and by nobody else. A kill asks nobody and cleans
//! nothing up, as a crash would.
//!
//! While one strike ends a socket, no other does: how a socket ended says which of its lines the
//! service must have, and two ends at once would blur that. Everything else overlaps as it comes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;
use twzrd_actors::board::Board;
use twzrd_actors::tree::Refs;
use twzrd_simulator::{Cut, Garbage, Simulator, Target};
use twzrd_supervision::Child;

use super::strike::{Kind, Schedule, Strike, Tally, pick};

/// How long an actor may take to run again before that is told as missing.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take until every channel is joined again; likewise.
const JOINED_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// After which time a socket that is told to reconnect is closed, as Twitch does it. The service
/// has left it long before.
const RECONNECT_WITHIN: Duration = Duration::from_secs(30);
/// The least and the most of a stall, in milliseconds.
const STALL_MS: (u64, u64) = (100, 800);
/// The most lines that are delivered again at a time.
const DUPLICATES: usize = 50;

/// What a storm strikes at.
pub(super) struct Place {
    pub(super) refs: Refs,
    pub(super) board: Arc<Board>,
    pub(super) simulator: Arc<Simulator>,
    /// How many channels are to be joined.
    pub(super) channels: usize,
}

/// A storm that rages until it is ended. Dropping it ends it at once.
pub(super) struct Storm {
    tally: Arc<Mutex<Tally>>,
    calm: CancellationToken,
    raging: JoinSet<()>,
}

impl Storm {
    /// Begins, once every channel is joined.
    pub(super) fn begin(place: Place, seed: u64) -> Self {
        let storm = Self {
            tally: Arc::new(Mutex::default()),
            calm: CancellationToken::new(),
            raging: JoinSet::new(),
        };
        storm.rage(Arc::new(place), seed)
    }

    fn rage(mut self, place: Arc<Place>, seed: u64) -> Self {
        let raging = rage(place, seed, Arc::clone(&self.tally), self.calm.clone());
        self.raging.spawn(raging);
        self
    }

    /// What came of it so far.
    pub(super) fn tally(&self) -> Tally {
        held(&self.tally).clone()
    }

    /// Ends it: nothing is struck any more, and what was struck has recovered or was given up on.
    pub(super) async fn end(mut self) -> Tally {
        self.calm.cancel();
        while self.raging.join_next().await.is_some() {}
        self.tally()
    }
}

async fn rage(place: Arc<Place>, seed: u64, tally: Arc<Mutex<Tally>>, calm: CancellationToken) {
    let (mut restarts, mut ends) = (JoinSet::new(), JoinSet::new());
    let begun = Instant::now();
    tokio::select! {
        () = calm.cancelled() => return,
        _ = place.joined(begun, 0) => {}
    }
    for strike in Schedule::new(seed) {
        tokio::select! {
            () = calm.cancelled() => break,
            () = sleep(strike.after) => {}
        }
        while restarts.try_join_next().is_some() {}
        if strike.kind.ends_sockets() {
            all_of(&mut ends).await;
        }
        let ended = place.ended();
        let Some(struck) = place.strike(strike) else {
            info!(kind = strike.kind.name(), "a strike found nobody");
            continue;
        };
        let (kind, what) = (strike.kind, struck.what.clone());
        let number = held(&tally).strike(kind, what);
        info!(number, kind = kind.name(), what = struck.what, "strike");
        if let Some(back) = struck.back {
            let tally = Arc::clone(&tally);
            restarts.spawn(async move {
                let time = back.await;
                held(&tally).restarted(kind.name(), time);
            });
        }
        if kind.ends_sockets() {
            let (place, tally) = (Arc::clone(&place), Arc::clone(&tally));
            let now = Instant::now();
            ends.spawn(async move {
                let time = place.joined(now, ended + 1).await;
                // At a reconnect the old socket stays until the new one has joined: no time is lost.
                if kind != Kind::Reconnect {
                    held(&tally).rejoined(time);
                }
            });
        }
    }
    all_of(&mut ends).await;
    all_of(&mut restarts).await;
}

async fn all_of(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

fn held(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long something took; none where it was given up on.
type Took = Pin<Box<dyn Future<Output = Option<Duration>> + Send>>;

/// A strike that found somebody.
struct Struck {
    what: String,
    /// Until the actor runs again, where one was killed.
    back: Option<Took>,
}

impl Place {
    /// How many sockets have ended so far.
    fn ended(&self) -> u64 {
        self.simulator.snapshot().disconnects.values().sum()
    }

    /// How long it takes until so many sockets have ended, and every channel is joined.
    async fn joined(&self, since: Instant, ended: u64) -> Option<Duration> {
        let joined = async {
            while self.ended() < ended || self.simulator.snapshot().joined() < self.channels {
                sleep(LOOK_EVERY).await;
            }
        };
        let joined = timeout(JOINED_WITHIN, joined).await;
        joined.ok().map(|()| since.elapsed())
    }

    /// Strikes. None where there is nobody to strike at.
    fn strike(&self, strike: Strike) -> Option<Struck> {
        let Strike { kind, draw, .. } = strike;
        match kind {
            Kind::Journal
            | Kind::SuppressionFilter
            | Kind::ParticipationBatcher
            | Kind::EpochSealer
            | Kind::TreeBuilder
            | Kind::GapLedger
            | Kind::ChannelRoster => kill(self.refs.child(kind.name())?, kind.name()),
            Kind::Collector => {
                let rooms = self.board.rooms();
                let room = rooms.get(pick(draw, rooms.len()))?;
                kill(room.collector(), &format!("collector #{}", room.channel()))
            }
            Kind::Connection => {
                let links = self.board.links();
                let link = links.get(pick(draw, links.len()))?;
                kill(link.child(), &format!("connection {}", link.number()))
            }
            _ => self.strike_sockets(kind, draw),
        }
    }

    fn strike_sockets(&self, kind: Kind, draw: u64) -> Option<Struck> {
        let simulator = &self.simulator;
        let sockets = simulator.snapshot().sockets;
        let number = sockets.get(pick(draw, sockets.len()))?.number;
        let one = Target::Socket(number);
        // Which socket is decided by the lower part of what was drawn.
        let more = draw >> 32;
        let (hit, what) = match kind {
            Kind::Cut => (
                simulator.cut(one, Cut::Orderly),
                format!("socket {number} cut"),
            ),
            Kind::CutMidLine => {
                let hit = simulator.cut(one, Cut::MidLine);
                (hit, format!("socket {number} cut in the middle of a line"))
            }
            Kind::Reset => (
                simulator.cut(one, Cut::Reset),
                format!("socket {number} reset"),
            ),
            Kind::Reconnect => {
                let hit = simulator.reconnect(one, RECONNECT_WITHIN);
                (hit, format!("socket {number} told to reconnect"))
            }
            Kind::Stall => {
                let (least, most) = STALL_MS;
                let ms = least + more % (most - least + 1);
                let hit = simulator.stall(one, Duration::from_millis(ms));
                (hit, format!("socket {number} stalled for {ms} ms"))
            }
            Kind::Duplicates => {
                let lines = simulator.duplicate(1 + pick(more, DUPLICATES));
                (lines, format!("{lines} lines delivered again"))
            }
            _ => {
                let garbage = Garbage::ALL[pick(more, Garbage::ALL.len())];
                let hit = simulator.garbage(one, garbage);
                (hit, format!("garbage to socket {number}: {garbage:?}"))
            }
        };
        (hit > 0).then_some(Struck { what, back: None })
    }
}

/// Kills an actor, and says how to wait for its next life.
fn kill(child: &dyn Child, name: &str) -> Option<Struck> {
    let begun = Instant::now();
    let again = child.lives_again(child.kill()?);
    let back = async move {
        let again = timeout(BACK_WITHIN, again).await;
        matches!(again, Ok(true)).then(|| begun.elapsed())
    };
    Some(Struck {
        what: format!("{name} killed"),
        back: Some(Box::pin(back)),
    })
}
