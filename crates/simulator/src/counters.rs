//! What the server counts, and what of it is shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a socket is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The client closed it.
    ClientClosed,
    /// The client reset it, or it broke.
    ClientReset,
    /// The client said QUIT.
    Quit,
    /// It was cut on command.
    Cut,
    /// It was told to connect again, and its time was up.
    Reconnect,
    /// No PONG came in time.
    PongMissing,
    /// Nobody logged in in time.
    LoginMissing,
    /// The login was refused.
    LoginRefused,
    /// There were too many logins by this account or address.
    LoginRate,
    /// There were too many joins by this account or address.
    JoinRate,
    /// It did not read for too long, and more waited for it than may wait.
    SlowConsumer,
    /// The client sent a line that is longer than one may be.
    CommandTooLong,
    /// The server was stopped.
    Stopped,
    /// Its task ended without an end of its own: the simulator was dropped.
    Dropped,
}

impl Reason {
    const ALL: [Self; 14] = [
        Self::ClientClosed,
        Self::ClientReset,
        Self::Quit,
        Self::Cut,
        Self::Reconnect,
        Self::PongMissing,
        Self::LoginMissing,
        Self::LoginRefused,
        Self::LoginRate,
        Self::JoinRate,
        Self::SlowConsumer,
        Self::CommandTooLong,
        Self::Stopped,
        Self::Dropped,
    ];
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) logins: Counter,
    pub(crate) login_refusals: Counter,
    pub(crate) login_violations: Counter,
    pub(crate) joins: Counter,
    pub(crate) join_violations: Counter,
    pub(crate) join_refusals: Counter,
    pub(crate) room_limit_violations: Counter,
    pub(crate) parts: Counter,
    pub(crate) commands_ignored: Counter,
    pub(crate) lines_generated: Counter,
    pub(crate) lines_unheard: Counter,
    pub(crate) lines_delivered: Counter,
    pub(crate) bytes_delivered: Counter,
    pub(crate) bytes_received: Counter,
    disconnects: [Counter; Reason::ALL.len()],
}

impl Counters {
    pub(crate) fn disconnect(&self, reason: Reason) {
        self.disconnects[reason as usize].add(1);
    }

    fn disconnects(&self) -> BTreeMap<Reason, u64> {
        let counts = Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.disconnects[reason as usize].get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The state of all counters, with the sockets that are open.
    pub(crate) fn snapshot(&self, lines_per_second: u32, sockets: Vec<SocketState>) -> Snapshot {
        Snapshot {
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            accept_errors: self.accept_errors.get(),
            logins: self.logins.get(),
            login_refusals: self.login_refusals.get(),
            login_violations: self.login_violations.get(),
            joins: self.joins.get(),
            join_violations: self.join_violations.get(),
            join_refusals: self.join_refusals.get(),
            room_limit_violations: self.room_limit_violations.get(),
            parts: self.parts.get(),
            commands_ignored: self.commands_ignored.get(),
            lines_generated: self.lines_generated.get(),
            lines_unheard: self.lines_unheard.get(),
            lines_delivered: self.lines_delivered.get(),
            bytes_delivered: self.bytes_delivered.get(),
            bytes_received: self.bytes_received.get(),
            log_refused: 0,
            disconnects: self.disconnects(),
            lines_per_second,
            sockets,
        }
    }
}

/// What the server has done so far, and who is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Sockets that were taken.
    pub accepted: u64,
    /// Sockets that were closed at once: on command, or since there were too many.
    pub refused: u64,
    /// Failures of the system to accept a socket.
    pub accept_errors: u64,
    /// Logins that came through.
    pub logins: u64,
    /// Logins that were refused: wrong or malformed.
    pub login_refusals: u64,
    /// Logins beyond what an account or address may do in a time.
    pub login_violations: u64,
    /// Rooms that were joined, one for each socket that joined one.
    pub joins: u64,
    /// JOINs, by room, beyond what an account or address may do in a time.
    pub join_violations: u64,
    /// JOINs, by room, of rooms that do not exist, are suspended, or ban whoever joins.
    pub join_refusals: u64,
    /// JOINs, by room, beyond the rooms that a socket may join.
    pub room_limit_violations: u64,
    /// Rooms that were left by PART.
    pub parts: u64,
    /// Commands that the server does not know or does not follow.
    pub commands_ignored: u64,
    /// Lines of the generator.
    pub lines_generated: u64,
    /// Lines of the generator that nobody heard: nobody had joined their room.
    pub lines_unheard: u64,
    /// Whole lines that were handed to the kernel, of all kinds, one for each socket.
    pub lines_delivered: u64,
    /// Bytes that were handed to the kernel.
    pub bytes_delivered: u64,
    /// Bytes that came from clients.
    pub bytes_received: u64,
    /// Deliveries that the log did not keep, since it was full. Above 0 the log is no truth.
    pub log_refused: u64,
    /// How many sockets are no more, and why.
    pub disconnects: BTreeMap<Reason, u64>,
    /// The rate of the generator now.
    pub lines_per_second: u32,
    /// The sockets that are open, by number.
    pub sockets: Vec<SocketState>,
}

impl Snapshot {
    /// How many rooms are joined now, each counted once for each socket.
    #[must_use]
    pub fn joined(&self) -> usize {
        self.sockets.iter().map(|socket| socket.rooms).sum()
    }

    /// How many sockets are no more for this reason.
    #[must_use]
    pub fn disconnected(&self, reason: Reason) -> u64 {
        self.disconnects.get(&reason).copied().unwrap_or(0)
    }
}

/// A socket that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketState {
    /// Its number: the first that is accepted is 1.
    pub number: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The name under which it logged in; none before.
    pub nick: Option<String>,
    /// How many rooms it has joined.
    pub rooms: usize,
    /// How many bytes wait for it and are not in the hands of the kernel.
    pub waiting_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disconnect_is_counted_under_its_reason() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(place, reason as usize);
        }
        let counters = Counters::default();
        counters.disconnect(Reason::Quit);
        counters.disconnect(Reason::Quit);
        let snapshot = counters.snapshot(7, Vec::new());
        assert_eq!(snapshot.disconnects, BTreeMap::from([(Reason::Quit, 2)]));
        assert_eq!(snapshot.disconnected(Reason::Quit), 2);
        assert_eq!(snapshot.disconnected(Reason::Cut), 0);
    }
}
