//! What the intake knows that must outlive its actors: rooms, links, budgets, counters.
//!
//! It is to the ingest branch what the store is to the others: the truth, of which a message is
//! only a hint. An actor that starts again looks here for what it has to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use tokio::time::Instant;
use twzrd_domain::budget::{Budget, Grant};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::Clock;
use twzrd_domain::roster::{Listing, Roster};
use twzrd_supervision::ChildRef;

use crate::connection::ConnectionMsg;
use crate::feed::{Feed, FeedPool, held};
use crate::gap_ledger::GapQueue;
use crate::reason::bounded;
use crate::room::{Room, Unheard};
use crate::status::{ChannelStatus, ConnectionState, ConnectionStatus, IntakeCounts};

/// What the board's clock shows when it begins: time before it can be told, too.
const BEGUN_MS: u64 = 3_600_000;

/// What the network allows, and how many channels go onto a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Channels on one connection, at most.
    pub channels_per_connection: usize,
    /// Joins in any period.
    pub joins: usize,
    /// That period, in milliseconds.
    pub join_period_ms: u64,
    /// Log-ins in any period.
    pub logins: usize,
    /// That period, in milliseconds.
    pub login_period_ms: u64,
    /// The bound of a channel's feed, in bytes.
    pub feed_bytes: usize,
    /// The bound of all feeds together, in bytes.
    pub all_feeds_bytes: usize,
}

/// Counts since the start of the process; see [`IntakeCounts`] for each.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the fields are those of IntakeCounts")]
pub struct Counters {
    pub lines: AtomicU64,
    pub bytes: AtomicU64,
    pub broken: AtomicU64,
    pub connects: AtomicU64,
    pub connect_failures: AtomicU64,
    pub losses: AtomicU64,
    pub reconnects: AtomicU64,
    pub joins: AtomicU64,
    pub joined: AtomicU64,
    pub refusals: AtomicU64,
    pub blocked: AtomicU64,
    pub blocked_ms: AtomicU64,
    pub quarantined: AtomicU64,
    pub quarantine_dropped: AtomicU64,
}

impl Counters {
    /// The counts at this moment; what waits now is not among them, see [`Board::counts`].
    #[must_use]
    pub fn read(&self) -> IntakeCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IntakeCounts {
            lines: get(&self.lines),
            bytes: get(&self.bytes),
            broken: get(&self.broken),
            connects: get(&self.connects),
            connect_failures: get(&self.connect_failures),
            losses: get(&self.losses),
            reconnects: get(&self.reconnects),
            joins: get(&self.joins),
            joined: get(&self.joined),
            refusals: get(&self.refusals),
            blocked: get(&self.blocked),
            blocked_ms: get(&self.blocked_ms),
            quarantined: get(&self.quarantined),
            quarantine_dropped: get(&self.quarantine_dropped),
            ..IntakeCounts::default()
        }
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

struct LinkState {
    state: ConnectionState,
    reason: Option<CompactString>,
    since: UnixMs,
    blocked_by: Option<Channel>,
}

/// A connection as its actors and sockets share it: the rooms that are assigned to it.
pub struct Link {
    number: u32,
    child: ChildRef<ConnectionMsg>,
    rooms: Mutex<BTreeMap<Channel, Arc<Room>>>,
    state: Mutex<LinkState>,
}

impl Link {
    fn new(number: u32, now: UnixMs) -> Self {
        let state = LinkState {
            state: ConnectionState::Waiting,
            reason: None,
            since: now,
            blocked_by: None,
        };
        Self {
            number,
            child: ChildRef::new(number.to_string()),
            rooms: Mutex::default(),
            state: Mutex::new(state),
        }
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Its actor.
    #[must_use]
    pub const fn child(&self) -> &ChildRef<ConnectionMsg> {
        &self.child
    }

    /// The rooms that are assigned to it, by channel.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<Room>> {
        held(&self.rooms).values().cloned().collect()
    }

    /// How many rooms are assigned to it.
    #[must_use]
    pub fn len(&self) -> usize {
        held(&self.rooms).len()
    }

    /// True where no room is assigned to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Assigns a room to it.
    pub fn assign(&self, room: &Arc<Room>) {
        held(&self.rooms).insert(room.channel().clone(), Arc::clone(room));
        room.assign(Some(self.number));
    }

    /// Takes a room away from it.
    pub fn unassign(&self, room: &Room) {
        held(&self.rooms).remove(room.channel());
        room.assign(None);
    }

    pub(crate) fn go(&self, to: ConnectionState, reason: Option<&str>, now: UnixMs) {
        let mut state = held(&self.state);
        if state.state != to {
            state.state = to;
            state.since = now;
        }
        state.reason = reason.map(bounded);
    }

    pub(crate) fn blocked_by(&self, channel: Option<&Channel>) {
        held(&self.state).blocked_by = channel.cloned();
    }

    fn status(&self) -> ConnectionStatus {
        let rooms = self.rooms();
        let heard = rooms.iter().filter(|room| room.is_heard()).count();
        let state = held(&self.state);
        ConnectionStatus {
            number: self.number,
            state: state.state,
            reason: state.reason.clone(),
            since: state.since,
            channels: rooms.len() as u64,
            heard: heard as u64,
            blocked_by: state.blocked_by.clone(),
        }
    }
}

/// What the intake knows that must outlive its actors.
pub struct Board {
    clock: Arc<dyn Clock>,
    limits: Limits,
    run: CompactString,
    begun: Instant,
    serial: AtomicU64,
    sockets: AtomicU64,
    wanted: Mutex<Arc<Roster>>,
    rooms: RwLock<BTreeMap<Channel, Arc<Room>>>,
    server: Arc<Room>,
    links: RwLock<BTreeMap<u32, Arc<Link>>>,
    gaps: Arc<GapQueue>,
    pool: Arc<FeedPool>,
    joins: Mutex<Budget>,
    logins: Mutex<Budget>,
    counters: Arc<Counters>,
}

impl Board {
    /// An empty board. `run` names this run of the process in the journal: no run that appended
    /// anything had the same.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        limits: Limits,
        run: CompactString,
        gaps: Arc<GapQueue>,
    ) -> Self {
        let pool = Arc::new(FeedPool::new(limits.all_feeds_bytes));
        let feed = Feed::new(limits.feed_bytes, Arc::clone(&pool));
        let server = Room::server(format_compact!("feed:{run}:0"), feed);
        Self {
            clock,
            limits,
            begun: Instant::now(),
            serial: AtomicU64::new(0),
            sockets: AtomicU64::new(0),
            wanted: Mutex::default(),
            rooms: RwLock::default(),
            server: Arc::new(server),
            links: RwLock::default(),
            gaps,
            pool,
            joins: Mutex::new(Budget::new(limits.joins, limits.join_period_ms)),
            logins: Mutex::new(Budget::new(limits.logins, limits.login_period_ms)),
            counters: Arc::default(),
            run,
        }
    }

    /// The source of time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Milliseconds since the board was made, on a clock that never goes back.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis());
        elapsed.unwrap_or(u64::MAX).saturating_add(BEGUN_MS)
    }

    /// That clock as the moment that a timer waits for.
    #[must_use]
    pub fn instant(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms.saturating_sub(BEGUN_MS))
    }

    /// The limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts the budgets as spent: a process before this one may have spent them `ago_ms` ago.
    pub fn spend_budgets(&self, ago_ms: u64) {
        let at = self.now_ms().saturating_sub(ago_ms);
        held(&self.joins).spend_all(at);
        held(&self.logins).spend_all(at);
    }

    /// Reserves joins.
    #[must_use]
    pub fn reserve_joins(&self, wanted: usize) -> Grant {
        held(&self.joins).reserve(self.now_ms(), wanted)
    }

    /// Reserves one log-in.
    #[must_use]
    pub fn reserve_login(&self) -> Grant {
        held(&self.logins).reserve(self.now_ms(), 1)
    }

    /// A number for a socket, used once.
    #[must_use]
    pub fn next_socket(&self) -> u64 {
        self.sockets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What is counted.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What was counted, and what waits now.
    #[must_use]
    pub fn counts(&self) -> IntakeCounts {
        let (feed_bytes, feed_bytes_bound) = self.pool.depth();
        let (gaps_waiting, gaps_dropped) = self.gaps.depth();
        IntakeCounts {
            feed_bytes,
            feed_bytes_bound,
            gaps_waiting,
            gaps_dropped,
            ..self.counters.read()
        }
    }

    /// The begins and ends of gaps that wait for the journal.
    #[must_use]
    pub const fn gaps(&self) -> &Arc<GapQueue> {
        &self.gaps
    }

    /// What all feeds together hold.
    #[must_use]
    pub fn feeds(&self) -> &FeedPool {
        &self.pool
    }

    /// The channels that are wanted.
    #[must_use]
    pub fn wanted(&self) -> Arc<Roster> {
        Arc::clone(&held(&self.wanted))
    }

    /// Changes which channels are wanted. The roster is to be told.
    pub fn want(&self, roster: Arc<Roster>) {
        *held(&self.wanted) = roster;
    }

    /// The room of all that belongs to no channel.
    #[must_use]
    pub const fn server(&self) -> &Arc<Room> {
        &self.server
    }

    /// The room of a channel.
    #[must_use]
    pub fn room(&self, channel: &Channel) -> Option<Arc<Room>> {
        read(&self.rooms).get(channel).cloned()
    }

    /// The rooms, by channel.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<Room>> {
        read(&self.rooms).values().cloned().collect()
    }

    /// Makes a room.
    pub fn add_room(&self, channel: Channel, listing: Listing, unheard: Unheard) -> Arc<Room> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let room = Arc::new(Room::new(
            (channel.clone(), listing),
            format_compact!("feed:{}:{serial}", self.run),
            (self.limits.feed_bytes, Arc::clone(&self.pool)),
            Arc::clone(&self.gaps),
            (unheard, self.now()),
        ));
        write(&self.rooms).insert(channel, Arc::clone(&room));
        room
    }

    /// Forgets a room.
    pub fn remove_room(&self, channel: &Channel) {
        write(&self.rooms).remove(channel);
    }

    /// A connection by its number.
    #[must_use]
    pub fn link(&self, number: u32) -> Option<Arc<Link>> {
        read(&self.links).get(&number).cloned()
    }

    /// The connections, by number.
    #[must_use]
    pub fn links(&self) -> Vec<Arc<Link>> {
        read(&self.links).values().cloned().collect()
    }

    /// Makes a connection with the lowest number that is free.
    pub fn add_link(&self) -> Arc<Link> {
        let mut links = write(&self.links);
        let taken = links.keys().copied();
        let number = (1..).zip(taken).find(|(free, taken)| free != taken);
        let next = u32::try_from(links.len()).unwrap_or(u32::MAX - 1) + 1;
        let number = number.map_or(next, |(free, _)| free);
        let link = Arc::new(Link::new(number, self.now()));
        links.insert(number, Arc::clone(&link));
        link
    }

    /// Forgets a connection.
    pub fn remove_link(&self, number: u32) {
        write(&self.links).remove(&number);
    }

    /// Every channel at this moment, by name.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelStatus> {
        self.rooms().iter().map(|room| room.status()).collect()
    }

    /// Every connection at this moment, by number.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        self.links().iter().map(|link| link.status()).collect()
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
