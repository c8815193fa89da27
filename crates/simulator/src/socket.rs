//! A socket as everybody but its task sees it: its outbox, and who waits for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::counters::{Reason, SocketState};
use crate::dialect::Caps;
use crate::log::{Book, Entry, Source, Tide};
use crate::outbox::{Close, Outbox, Plan, Times};
use crate::parcel::{Front, Parcel};

/// What became of a line that was offered to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits, and there is room for more.
    Taken,
    /// It waits, and there is no room for more.
    Filled,
    /// It was not taken: the socket is full, or ends, or has not asked for such lines.
    Refused,
}

/// What happens where a socket is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Lines are taken all the same, and whoever offers them waits.
    Push,
    /// The socket is reset.
    Reset,
}

pub(crate) struct Socket {
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    most_bytes: u64,
    when_full: WhenFull,
    book: Arc<Book>,
    outbox: Mutex<Outbox>,
    /// The task has something to look at.
    pub(crate) changed: Notify,
    /// The pace of reading has changed.
    pub(crate) pace_changed: Notify,
    /// Something was written or acknowledged, or the end has come.
    progressed: Notify,
}

impl Socket {
    pub(crate) fn new(
        (number, peer): (u64, SocketAddr),
        (most_bytes, when_full): (usize, WhenFull),
        (times, seed): (Times, u64),
        book: Arc<Book>,
    ) -> Self {
        Self {
            number,
            peer,
            most_bytes: most_bytes as u64,
            when_full,
            book,
            outbox: Mutex::new(Outbox::new(times, seed, Instant::now())),
            changed: Notify::new(),
            pace_changed: Notify::new(),
            progressed: Notify::new(),
        }
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a line. The task is told by whoever calls, see [`Socket::touch`].
    pub(crate) fn offer(&self, parcel: &Parcel<'_>) -> Offered {
        let mut outbox = self.outbox();
        if self.when_full == WhenFull::Reset && outbox.waiting() >= self.most_bytes {
            let now = Instant::now();
            outbox.close(Close::Reset, Reason::SlowConsumer, now, now);
            drop(outbox);
            self.changed.notify_one();
            return Offered::Refused;
        }
        if !outbox.push(parcel, &self.book) {
            return Offered::Refused;
        }
        if self.when_full == WhenFull::Push && outbox.waiting() >= self.most_bytes {
            return Offered::Filled;
        }
        Offered::Taken
    }

    /// Says a line of the server's own. True where it was taken.
    pub(crate) fn say(&self, line: &[u8], needs: Caps) -> bool {
        let parcel = Parcel::new(&self.book, line, Source::Dialect, needs);
        self.offer(&parcel) != Offered::Refused
    }

    /// True for the first who touches the socket after its task has looked: that one has to tell
    /// the task, when it has no more to say.
    pub(crate) fn touch(&self) -> bool {
        !std::mem::replace(&mut self.outbox().is_touched, true)
    }

    /// Asks for the end, now or later.
    pub(crate) fn close(&self, close: Close, reason: Reason, at: Instant) {
        self.outbox().close(close, reason, at, Instant::now());
        self.changed.notify_one();
        self.progressed.notify_waiters();
    }

    /// What its task does next.
    pub(crate) fn plan(&self, front: &mut Front) -> Plan {
        let mut outbox = self.outbox();
        let plan = outbox.plan(Instant::now(), front, &self.book);
        if outbox.is_over() {
            // Nobody need wait for room in what takes no more lines.
            self.progressed.notify_waiters();
        }
        plan
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.outbox().wrote(bytes, Instant::now());
        self.progressed.notify_waiters();
    }

    pub(crate) fn pong(&self) {
        self.outbox().pong();
        self.progressed.notify_waiters();
    }

    /// Takes note of the end.
    pub(crate) fn end(&self, is_orderly: bool) {
        self.outbox().end(is_orderly);
        self.progressed.notify_waiters();
    }

    /// Returns once `holds` holds, or the socket is no more.
    pub(crate) async fn until(&self, holds: impl Fn(&Outbox) -> bool) {
        loop {
            let progressed = self.progressed.notified();
            tokio::pin!(progressed);
            progressed.as_mut().enable();
            {
                let outbox = self.outbox();
                if outbox.tide().is_over || holds(&outbox) {
                    return;
                }
            }
            progressed.await;
        }
    }

    /// Returns once there is room for more: half of what may wait is written.
    pub(crate) async fn has_room(&self) {
        let low = self.most_bytes / 2;
        self.until(|outbox| outbox.waiting() <= low || outbox.is_over())
            .await;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.outbox().waiting() >= self.most_bytes
    }

    pub(crate) fn record(&self) -> (Tide, Vec<Entry>) {
        let outbox = self.outbox();
        (outbox.tide(), outbox.entries().to_vec())
    }

    pub(crate) fn state(&self, rooms: usize) -> SocketState {
        let outbox = self.outbox();
        SocketState {
            number: self.number,
            peer: self.peer,
            nick: outbox.nick().map(str::to_owned),
            rooms,
            waiting_bytes: outbox.waiting(),
        }
    }
}
