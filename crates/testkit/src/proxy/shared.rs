//! What the commands and all connections share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::link::{Link, Seat};
use super::{Close, CommitFault, Config, Direction, Pace, Protocol, Ways};

/// What was seen so far, and what is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were let in.
    pub accepted: u64,
    /// Connections that were accepted and reset at once: none were wanted, or too many were open.
    pub refused: u64,
    /// Connections that were let in, and then reset because the server could not be reached.
    pub unreachable: u64,
    /// Connections that were cut, by a command or by a fault that waited for its moment.
    pub cut: u64,
    /// Bytes that were passed to the server.
    pub bytes_to_server: u64,
    /// Bytes that were passed to the client.
    pub bytes_to_client: u64,
    /// Commits that a client asked for, also those that were cut.
    pub commits_asked: u64,
    /// Commits that the server took, also those of which the client was not told.
    pub commits_taken: u64,
    /// Times that the system could not accept a connection.
    pub accept_errors: u64,
    /// True while a fault waits for its moment.
    pub is_armed: bool,
}

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) unreachable: Counter,
    pub(super) cut: Counter,
    pub(super) to_server: Counter,
    pub(super) to_client: Counter,
    pub(super) commits_asked: Counter,
    pub(super) commits_taken: Counter,
    pub(super) accept_errors: Counter,
}

/// What every connection meets.
#[derive(Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) to_server_is_dark: bool,
    pub(super) to_client_is_dark: bool,
    pub(super) pace: Option<Pace>,
}

impl Weather {
    pub(super) const fn is_dark(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.to_server_is_dark,
            Direction::ToClient => self.to_client_is_dark,
        }
    }
}

/// The moment that a fault waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    Answer,
    Request,
    Commit(CommitFault),
    Transaction { after_statements: u32 },
}

#[derive(Default)]
struct Arming {
    armed: Option<(Trigger, Close)>,
    /// How often something was armed: so a transaction knows whether it began after that.
    times: u64,
}

pub(super) struct Shared {
    pub(super) counters: Counters,
    pub(super) weather: watch::Sender<Weather>,
    pub(super) chunk_bytes: usize,
    pub(super) protocol: Protocol,
    most_links: usize,
    upstream: Mutex<String>,
    arming: Mutex<Arming>,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    last: u64,
    open: BTreeMap<u64, Arc<Link>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        Self {
            counters: Counters::default(),
            weather: watch::Sender::new(Weather::default()),
            chunk_bytes: config.chunk_bytes.max(1),
            protocol: config.protocol,
            most_links: config.connections,
            upstream: Mutex::new(config.upstream),
            arming: Mutex::default(),
            links: Mutex::default(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let counters = &self.counters;
        Snapshot {
            open: lock(&self.links).open.len() as u64,
            accepted: counters.accepted.get(),
            refused: counters.refused.get(),
            unreachable: counters.unreachable.get(),
            cut: counters.cut.get(),
            bytes_to_server: counters.to_server.get(),
            bytes_to_client: counters.to_client.get(),
            commits_asked: counters.commits_asked.get(),
            commits_taken: counters.commits_taken.get(),
            accept_errors: counters.accept_errors.get(),
            is_armed: lock(&self.arming).armed.is_some(),
        }
    }

    pub(super) fn upstream(&self) -> String {
        lock(&self.upstream).clone()
    }

    pub(super) fn set_upstream(&self, upstream: String) {
        *lock(&self.upstream) = upstream;
    }

    /// A place for one more connection, where there is room.
    pub(super) fn open_link(self: &Arc<Self>) -> Option<Seat> {
        let mut links = lock(&self.links);
        if links.open.len() >= self.most_links {
            return None;
        }
        links.last += 1;
        let number = links.last;
        let link = Arc::new(Link::new(Arc::clone(self)));
        links.open.insert(number, Arc::clone(&link));
        Some(Seat { number, link })
    }

    pub(super) fn close_link(&self, number: u64) {
        lock(&self.links).open.remove(&number);
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.links).open.values().cloned().collect()
    }

    pub(super) fn darken(&self, ways: Ways) -> usize {
        let is_meant = |direction| ways == Ways::Both || ways == Ways::Only(direction);
        self.weather.send_modify(|weather| {
            weather.to_server_is_dark |= is_meant(Direction::ToServer);
            weather.to_client_is_dark |= is_meant(Direction::ToClient);
        });
        self.links().len()
    }

    pub(super) fn lighten(&self) -> usize {
        self.weather.send_modify(|weather| {
            weather.to_server_is_dark = false;
            weather.to_client_is_dark = false;
        });
        self.links().len()
    }

    pub(super) fn pace(&self, pace: Option<Pace>) -> usize {
        self.weather.send_modify(|weather| weather.pace = pace);
        self.links().len()
    }

    pub(super) fn arm(&self, trigger: Trigger, close: Close) {
        let mut arming = lock(&self.arming);
        arming.times += 1;
        arming.armed = Some((trigger, close));
    }

    pub(super) fn disarm(&self) -> bool {
        lock(&self.arming).armed.take().is_some()
    }

    pub(super) fn times_armed(&self) -> u64 {
        lock(&self.arming).times
    }

    /// Takes the fault that waits, where its moment has come.
    pub(super) fn spring(&self, has_come: impl FnOnce(Trigger, u64) -> bool) -> Option<Close> {
        let mut arming = lock(&self.arming);
        let times = arming.times;
        let armed = arming
            .armed
            .take_if(|(trigger, _)| has_come(*trigger, times));
        armed.map(|(_, close)| close)
    }
}
