//! Owns one socket to the network, with the channels that are assigned to it.
//!
//! The socket's life is a [`session`](crate::session); this actor starts one, starts the next when
//! it ends, after a wait that doubles, and keeps two for a while when the network asks for a
//! reconnect: the old one stays until the new one has joined what it can. Comes in: changes of what
//! is assigned, and what sessions tell. A crash loses no line that is in a feed; the gap is
//! recorded. Restart: permanent, with a cool-down of its own.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use twzrd_domain::chat::ChatNetwork;
use twzrd_supervision::{WaitGuard, waiting_for};

use crate::board::{Board, Link, count};
use crate::session::{Ended, Session};
use crate::status::ConnectionState;
use crate::step::{Probe, Step};

/// What a connection is told.
pub enum ConnectionMsg {
    /// Channels were assigned or taken away.
    AssignmentsChanged,
    /// It is time to open a socket. May come late or twice.
    ConnectDue,
    /// A session has a socket, and is welcome.
    Connected(u64),
    /// A session has joined every channel, or was refused.
    Settled(u64),
    /// The network will close a session's socket soon, and wants another.
    ReconnectAsked(u64),
    /// The wait for the session that is to take over from this one is over.
    HandOverDue(u64),
    /// A session has ended; none where it crashed.
    SessionEnded(u64, Option<Ended>),
}

/// How long a connection waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The wait before the first try after a socket was lost.
    pub reconnect_initial: Duration,
    /// The longest such wait.
    pub reconnect_max: Duration,
    /// Silence after which the other side is asked whether it is there.
    pub ping_after: Duration,
    /// How long the answer may take.
    pub pong_within: Duration,
    /// How long the answer to a JOIN may take.
    pub join_within: Duration,
    /// The wait before a channel is tried again that was refused once.
    pub refused_initial: Duration,
    /// The longest such wait.
    pub refused_max: Duration,
    /// How long a socket that will be closed is kept for the one that takes over.
    pub handover_within: Duration,
}

impl Times {
    /// The wait before another socket is opened, after so many failures in a row.
    fn reconnect_after(&self, failures: u32, salt: u64) -> Duration {
        doubled(self.reconnect_initial, self.reconnect_max, failures, salt)
    }

    /// The wait before a channel is tried again, after so many refusals in a row.
    pub(crate) fn retry_after(&self, refusals: u32, salt: u64) -> Duration {
        doubled(
            self.refused_initial,
            self.refused_max,
            refusals.saturating_sub(1),
            salt,
        )
    }
}

/// A wait that doubles up to a bound, less up to half of it, so that many do not come back at once.
fn doubled(initial: Duration, max: Duration, times: u32, salt: u64) -> Duration {
    let whole = initial.saturating_mul(1 << times.min(20)).min(max);
    // splitmix64: the same salt gives the same wait.
    let mut mixed = salt
        .wrapping_add(u64::from(times))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let part = u32::try_from((mixed ^ (mixed >> 31)) % 1024).unwrap_or_default();
    whole - whole.saturating_mul(part) / 2048
}

/// What a start of a connection needs.
#[derive(Clone)]
pub struct ConnectionArgs {
    /// What is assigned to it.
    pub link: Arc<Link>,
    /// What all connections share.
    pub board: Arc<Board>,
    /// The network.
    pub network: Arc<dyn ChatNetwork>,
    /// How long to wait for what.
    pub times: Times,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct Connection;

/// A session that runs.
struct Running {
    socket: u64,
    stop: CancellationToken,
    changed: Arc<Notify>,
    connected: Option<Instant>,
}

/// The sessions, and how often none came about.
pub struct State {
    args: ConnectionArgs,
    tasks: JoinSet<()>,
    current: Option<Running>,
    /// The one that takes over from the current one.
    next: Option<Running>,
    failures: u32,
    connect_is_due: bool,
    shown: Option<WaitGuard>,
}

impl Actor for Connection {
    type Msg = ConnectionMsg;
    type State = State;
    type Arguments = ConnectionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ConnectionMsg>,
        args: ConnectionArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(ConnectionMsg::ConnectDue)?;
        Ok(State {
            args,
            tasks: JoinSet::new(),
            current: None,
            next: None,
            failures: 0,
            connect_is_due: true,
            shown: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ConnectionMsg>,
        message: ConnectionMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while state.tasks.try_join_next().is_some() {}
        match message {
            ConnectionMsg::AssignmentsChanged => state.assignments_changed(&myself),
            ConnectionMsg::ConnectDue => state.connect_due(&myself),
            ConnectionMsg::Connected(socket) => state.connected(socket),
            ConnectionMsg::Settled(socket) => state.settled(socket),
            ConnectionMsg::ReconnectAsked(socket) => state.reconnect_asked(&myself, socket),
            ConnectionMsg::HandOverDue(socket) => state.hand_over_due(socket),
            ConnectionMsg::SessionEnded(socket, ended) => state.ended(&myself, socket, ended)?,
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<ConnectionMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        for session in state.current.iter().chain(&state.next) {
            session.stop.cancel();
        }
        while state.tasks.join_next().await.is_some() {}
        Ok(())
    }
}

impl State {
    fn assignments_changed(&mut self, myself: &ActorRef<ConnectionMsg>) {
        for session in self.current.iter().chain(&self.next) {
            session.changed.notify_one();
        }
        if self.current.is_none() && !self.connect_is_due {
            self.connect_due(myself);
        }
    }

    fn connect_due(&mut self, myself: &ActorRef<ConnectionMsg>) {
        self.connect_is_due = false;
        self.shown = None;
        if self.current.is_some() || self.args.link.is_empty() {
            return;
        }
        self.args.probe.reached(Step::CONNECTION_BEFORE_CONNECT);
        let now = self.args.board.now();
        self.args.link.go(ConnectionState::Connecting, None, now);
        self.current = Some(self.begin(myself));
    }

    fn begin(&mut self, myself: &ActorRef<ConnectionMsg>) -> Running {
        let ConnectionArgs {
            link,
            board,
            network,
            times,
            ..
        } = self.args.clone();
        let session = Session::new((link, board, network), times, myself.clone());
        let running = Running {
            socket: session.socket,
            stop: session.stop.clone(),
            changed: Arc::clone(&session.changed),
            connected: None,
        };
        let mut last_word = LastWord {
            socket: session.socket,
            actor: myself.clone(),
            ended: None,
        };
        self.tasks.spawn(async move {
            last_word.say(session.run().await);
        });
        running
    }

    fn connected(&mut self, socket: u64) {
        let sessions = [&mut self.current, &mut self.next];
        for session in sessions.into_iter().flatten() {
            if session.socket == socket {
                session.connected = Some(Instant::now());
            }
        }
        if self.next.is_none() {
            self.args.probe.reached(Step::CONNECTION_CONNECTED);
            let (link, now) = (&self.args.link, self.args.board.now());
            link.go(ConnectionState::Connected, None, now);
            info!(
                connection = link.number(),
                channels = link.len(),
                "connected"
            );
        }
    }

    fn settled(&mut self, socket: u64) {
        if self.next.as_ref().is_some_and(|next| next.socket == socket)
            && let Some(old) = &self.current
        {
            self.args.probe.reached(Step::CONNECTION_HANDING_OVER);
            old.stop.cancel();
        }
    }

    fn reconnect_asked(&mut self, myself: &ActorRef<ConnectionMsg>, socket: u64) {
        let is_current = self
            .current
            .as_ref()
            .is_some_and(|one| one.socket == socket);
        if !is_current || self.next.is_some() {
            return;
        }
        let now = self.args.board.now();
        let reason = Some("the network asked for a reconnect");
        self.args.link.go(ConnectionState::HandingOver, reason, now);
        self.next = Some(self.begin(myself));
        let within = self.args.times.handover_within;
        let _later = myself.send_after(within, move || ConnectionMsg::HandOverDue(socket));
    }

    fn hand_over_due(&mut self, socket: u64) {
        if let (Some(old), Some(next)) = (&self.current, &self.next)
            && old.socket == socket
            && next.connected.is_some()
        {
            old.stop.cancel();
        }
    }

    fn ended(
        &mut self,
        myself: &ActorRef<ConnectionMsg>,
        socket: u64,
        ended: Option<Ended>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(ended) = ended else {
            return Err(format!("socket {socket} crashed").into());
        };
        let number = self.args.link.number();
        let counters = self.args.board.counters();
        let reason = match &ended {
            Ended::Stopped => None,
            Ended::NotConnected(error) => {
                count(&counters.connect_failures, 1);
                Some(error.to_string())
            }
            Ended::Lost(lost) => {
                count(&counters.losses, 1);
                Some(lost.to_string())
            }
        };
        if self.next.as_ref().is_some_and(|next| next.socket == socket) {
            // The old one is still there; when it ends, another is opened.
            self.next = None;
            warn!(connection = number, reason, "no socket took over");
            let (link, now) = (&self.args.link, self.args.board.now());
            link.go(ConnectionState::Connected, reason.as_deref(), now);
            return Ok(());
        }
        let Some(old) = self.current.take_if(|current| current.socket == socket) else {
            return Ok(());
        };
        let now = self.args.board.now();
        if let Some(next) = self.next.take() {
            let state = match next.connected {
                Some(_) => ConnectionState::Connected,
                None => ConnectionState::Connecting,
            };
            self.args.link.go(state, None, now);
            info!(connection = number, "another socket has taken over");
            self.current = Some(next);
            return Ok(());
        }
        let reason = reason.unwrap_or_else(|| "closed".to_owned());
        self.wait_for_next(myself, &old, &reason);
        Ok(())
    }

    /// Waits before the next socket is opened: the longer, the more often none came about.
    fn wait_for_next(&mut self, myself: &ActorRef<ConnectionMsg>, old: &Running, reason: &str) {
        let (number, now) = (self.args.link.number(), self.args.board.now());
        let lasted = old.connected.map(|since| since.elapsed());
        if lasted.is_some_and(|lasted| lasted >= self.args.times.reconnect_max) {
            self.failures = 0;
        }
        let wait = self
            .args
            .times
            .reconnect_after(self.failures, u64::from(number));
        self.failures = self.failures.saturating_add(1);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        warn!(
            connection = number,
            reason, wait_ms, "has no socket; waiting before the next"
        );
        self.args
            .link
            .go(ConnectionState::Waiting, Some(reason), now);
        for room in self.args.link.rooms() {
            room.disconnected(reason, now);
        }
        self.shown = Some(waiting_for(format!("network: {reason}")));
        self.connect_is_due = true;
        let _later = myself.send_after(wait, || ConnectionMsg::ConnectDue);
    }
}

/// Tells the actor how a session ended, also where it crashed.
struct LastWord {
    socket: u64,
    actor: ActorRef<ConnectionMsg>,
    ended: Option<Ended>,
}

impl LastWord {
    /// Says how it ended; without, it crashed.
    fn say(&mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        let message = ConnectionMsg::SessionEnded(self.socket, self.ended.take());
        // An actor that is gone has aborted its sessions.
        let _ = self.actor.cast(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_bound_and_loses_at_most_half_to_chance() {
        let (initial, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut all = Vec::new();
        for times in 0..40 {
            let wait = doubled(initial, max, times, 7);
            let whole = initial.saturating_mul(1 << times.min(20)).min(max);
            assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
            assert_eq!(
                wait,
                doubled(initial, max, times, 7),
                "the same salt, the same wait"
            );
            all.push(wait);
        }
        all.dedup();
        assert!(all.len() > 30, "the waits differ");
        assert!(doubled(initial, max, 5, 1) != doubled(initial, max, 5, 2));
    }
}
