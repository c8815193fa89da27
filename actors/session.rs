//! The life of one socket: connect, join what is assigned, bring lines to the feeds, until it ends.
//!
//! A full feed is waited for, and then the socket is read no further, so that TCP pushes back
//! towards the network. Joins go out as the budget of the whole process allows; one that is not
//! answered in time counts as refused. What a socket has joined it leaves when it ends, however it
//! ends: the rooms are told when the session is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use ractor::ActorRef;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use twzrd_domain::budget::Grant;
use twzrd_domain::chat::{
    ChatNetwork, ChatReader, ChatWriter, Chunk, ConnectError, Lost, News, Socket,
};
use twzrd_domain::identity::Channel;

use crate::board::{Board, Link, count};
use crate::connection::{ConnectionMsg, Times};
use crate::feed::Offered;
use crate::reason::{DISCONNECTED, REMOVED};
use crate::room::Room;
use crate::status::ConnectionState;

/// The longest wait before everything is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// No socket was opened.
    NotConnected(ConnectError),
    /// The socket was lost.
    Lost(Lost),
}

/// How a channel stands with this socket.
enum Standing {
    /// It is to be joined, and waits for the budget.
    Wanted,
    /// A JOIN was sent; it is answered before this.
    Asked(Instant),
    /// It is joined.
    Joined,
    /// It was refused; it is tried again at this time.
    Refused(Instant),
}

struct Place {
    room: Arc<Room>,
    standing: Standing,
}

impl Place {
    fn new(room: Arc<Room>, standing: Standing) -> Self {
        room.enter();
        Self { room, standing }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.leave();
    }
}

/// One socket. See the module.
pub(crate) struct Session {
    pub(crate) socket: u64,
    pub(crate) link: Arc<Link>,
    pub(crate) board: Arc<Board>,
    pub(crate) network: Arc<dyn ChatNetwork>,
    pub(crate) times: Times,
    pub(crate) actor: ActorRef<ConnectionMsg>,
    /// Asks it to end.
    pub(crate) stop: CancellationToken,
    /// Says that channels were assigned or taken away.
    pub(crate) changed: Arc<Notify>,
    places: BTreeMap<CompactString, Place>,
    queue: VecDeque<CompactString>,
    slot: Option<Grant>,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    is_settled: bool,
    /// Why what it has joined is not heard any more once it is gone.
    why: CompactString,
}

impl Session {
    pub(crate) fn new(
        (link, board, network): (Arc<Link>, Arc<Board>, Arc<dyn ChatNetwork>),
        times: Times,
        actor: ActorRef<ConnectionMsg>,
    ) -> Self {
        Self {
            socket: board.next_socket(),
            link,
            board,
            network,
            times,
            actor,
            stop: CancellationToken::new(),
            changed: Arc::default(),
            places: BTreeMap::new(),
            queue: VecDeque::new(),
            slot: None,
            heard_at: Instant::now(),
            pinged_at: None,
            is_settled: false,
            why: CompactString::const_new(DISCONNECTED),
        }
    }

    pub(crate) async fn run(mut self) -> Ended {
        let stop = self.stop.clone();
        let connected = tokio::select! {
            () = stop.cancelled() => return Ended::Stopped,
            connected = self.connect() => connected,
        };
        let Socket {
            mut reader,
            mut writer,
        } = match connected {
            Ok(socket) => socket,
            Err(error) => return Ended::NotConnected(error),
        };
        count(&self.board.counters().connects, 1);
        self.heard_at = Instant::now();
        self.tell(ConnectionMsg::Connected(self.socket));
        match self.serve(&mut *reader, &mut *writer).await {
            Ok(()) => {
                writer.close().await;
                Ended::Stopped
            }
            Err(lost) => {
                self.why = format_compact!("{DISCONNECTED}: {lost}");
                Ended::Lost(lost)
            }
        }
    }

    async fn connect(&self) -> Result<Socket, ConnectError> {
        let grant = self.board.reserve_login();
        sleep_until(self.board.instant(grant.at_ms)).await;
        self.network.connect().await
    }

    async fn serve(
        &mut self,
        reader: &mut dyn ChatReader,
        writer: &mut dyn ChatWriter,
    ) -> Result<(), Lost> {
        let (stop, changed) = (self.stop.clone(), Arc::clone(&self.changed));
        let mut chunk = Chunk::default();
        self.follow_assignments(writer).await?;
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                // Never while a chunk is on its way into the feeds: what was read is brought there.
                () = stop.cancelled() => return Ok(()),
                () = changed.notified() => self.follow_assignments(writer).await?,
                () = sleep_until(wake) => self.on_time(writer).await?,
                read = reader.read(&mut chunk) => {
                    read?;
                    self.take_in(&chunk).await;
                    self.heard_at = Instant::now();
                    self.pinged_at = None;
                    for news in chunk.news.drain(..) {
                        self.news(news, writer).await?;
                    }
                }
            }
            self.tell_when_settled();
        }
    }

    /// Brings every line to the feed of its channel. Waits where one is full.
    async fn take_in(&self, chunk: &Chunk) {
        let counters = self.board.counters();
        count(&counters.lines, chunk.lines.len() as u64);
        count(&counters.bytes, chunk.bytes.len() as u64);
        for (at, (line, channel)) in chunk.iter().enumerate() {
            let is_broken = chunk.lines[at].is_broken;
            count(&counters.broken, u64::from(is_broken));
            let place = std::str::from_utf8(channel)
                .ok()
                .and_then(|channel| self.places.get(channel));
            let room = place.map_or(self.board.server(), |place| &place.room);
            loop {
                match room.feed().offer(line, chunk.at, is_broken) {
                    Offered::Taken => break,
                    Offered::TakenTell => {
                        room.tell_collector();
                        break;
                    }
                    Offered::Full => self.wait_room(room, line.len()).await,
                }
            }
        }
    }

    async fn wait_room(&self, room: &Room, length: usize) {
        let counters = self.board.counters();
        count(&counters.blocked, 1);
        self.link.blocked_by(Some(room.channel()));
        let begun = Instant::now();
        room.feed().wait_room(length).await;
        let waited = u64::try_from(begun.elapsed().as_millis());
        count(&counters.blocked_ms, waited.unwrap_or(u64::MAX));
        self.link.blocked_by(None);
    }

    async fn news(&mut self, news: News, writer: &mut dyn ChatWriter) -> Result<(), Lost> {
        match news {
            News::Joined(channel) => self.joined(&channel),
            News::Parted(channel) => self.parted(&channel),
            News::Refused {
                channel,
                code,
                reason,
            } => {
                self.refused(channel.as_str(), &format_compact!("{code}: {reason}"));
            }
            News::Reconnect => {
                count(&self.board.counters().reconnects, 1);
                info!(
                    connection = self.link.number(),
                    "the network asks for a reconnect"
                );
                self.tell(ConnectionMsg::ReconnectAsked(self.socket));
            }
            News::Ping(token) => writer.pong(&token).await?,
            News::Pong => {}
            News::Notice(notice) => {
                warn!(connection = self.link.number(), notice, "the network says");
                let now = self.board.now();
                self.link.go(ConnectionState::Connected, Some(&notice), now);
            }
        }
        Ok(())
    }

    fn joined(&mut self, channel: &Channel) {
        let Some(place) = self.places.get_mut(channel.as_str()) else {
            return;
        };
        if !matches!(place.standing, Standing::Joined) {
            place.standing = Standing::Joined;
            place.room.joined(self.socket, self.board.now());
            count(&self.board.counters().joined, 1);
        }
    }

    /// The network has put this socket out of a channel that is assigned to it.
    fn parted(&mut self, channel: &Channel) {
        if let Some(place) = self.places.get_mut(channel.as_str())
            && matches!(place.standing, Standing::Joined)
        {
            place.standing = Standing::Wanted;
            place
                .room
                .left(self.socket, "the network parted", self.board.now());
            self.queue.push_back(channel.as_str().into());
        }
    }

    fn refused(&mut self, channel: &str, reason: &str) {
        let Some(place) = self.places.get_mut(channel) else {
            return;
        };
        let now = self.board.now();
        let refusals = place.room.refused(self.socket, reason, now);
        let wait = self.times.retry_after(refusals, self.socket);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        place
            .room
            .retry_at(self.board.now_ms() + wait_ms, now + wait_ms);
        place.standing = Standing::Refused(Instant::now() + wait);
        count(&self.board.counters().refusals, 1);
        if refusals == 1 {
            warn!(channel, reason, "the network refuses a channel");
        } else {
            debug!(
                channel,
                reason, refusals, "the network refuses a channel again"
            );
        }
    }

    /// Makes what is assigned hold: new channels wait to be joined, others are left.
    async fn follow_assignments(&mut self, writer: &mut dyn ChatWriter) -> Result<(), Lost> {
        let assigned = self.link.rooms();
        let (now, now_ms) = (self.board.now(), self.board.now_ms());
        let mut gone: BTreeMap<CompactString, Place> = std::mem::take(&mut self.places);
        for room in assigned {
            let name = CompactString::from(room.channel().as_str());
            let same = gone
                .remove(&name)
                .filter(|place| Arc::ptr_eq(&place.room, &room));
            if let Some(Place {
                room,
                standing: Standing::Joined,
            }) = &same
            {
                // It may have been taken off the list and put back before this was looked at.
                room.joined(self.socket, now);
            }
            let place = same.unwrap_or_else(|| {
                let standing = match room.retry_ms() {
                    Some(ms) if ms > now_ms => Standing::Refused(self.board.instant(ms)),
                    _ => {
                        self.queue.push_back(name.clone());
                        Standing::Wanted
                    }
                };
                room.joining(now);
                Place::new(room, standing)
            });
            self.places.insert(name, place);
        }
        self.is_settled = false;
        let mut to_part: Vec<Channel> = Vec::new();
        for place in gone.into_values() {
            if !matches!(place.standing, Standing::Wanted | Standing::Refused(_)) {
                to_part.push(place.room.channel().clone());
            }
            place.room.left(self.socket, REMOVED, now);
        }
        if to_part.is_empty() {
            return Ok(());
        }
        to_part.sort_unstable();
        writer.part(&to_part).await
    }

    /// When something is to be done at the latest.
    fn next_wake(&mut self) -> Instant {
        let now = Instant::now();
        if self.slot.is_none() && !self.queue.is_empty() {
            let slot = self.board.reserve_joins(self.queue.len());
            if slot.at_ms > self.board.now_ms() {
                self.tell_rate_limited();
            }
            self.slot = Some(slot);
        }
        let mut wake = now + LOOK_AGAIN;
        if let Some(slot) = self.slot {
            wake = wake.min(self.board.instant(slot.at_ms));
        }
        for place in self.places.values() {
            if let Standing::Asked(at) | Standing::Refused(at) = place.standing {
                wake = wake.min(at);
            }
        }
        wake.min(match self.pinged_at {
            Some(at) => at + self.times.pong_within,
            None => self.heard_at + self.times.ping_after,
        })
    }

    /// Notes of every channel that waits that it does so for the budget.
    fn tell_rate_limited(&self) {
        let now = self.board.now();
        for place in self.places.values() {
            if matches!(place.standing, Standing::Wanted) {
                place.room.rate_limited(now);
            }
        }
    }

    async fn on_time(&mut self, writer: &mut dyn ChatWriter) -> Result<(), Lost> {
        let now = Instant::now();
        match self.pinged_at {
            Some(at) if now >= at + self.times.pong_within => {
                let within = self.times.pong_within.as_millis();
                let reason = format!("no answer to PING within {within} ms");
                return Err(Lost { reason });
            }
            None if now >= self.heard_at + self.times.ping_after => {
                writer.ping().await?;
                self.pinged_at = Some(now);
            }
            _ => {}
        }
        let due = |place: &Place| match place.standing {
            Standing::Asked(at) | Standing::Refused(at) => at <= now,
            Standing::Wanted | Standing::Joined => false,
        };
        let mut overdue: Vec<CompactString> = self
            .places
            .iter()
            .filter(|(_, place)| due(place))
            .map(|(name, _)| name.clone())
            .collect();
        overdue.sort_unstable();
        for name in overdue {
            self.overdue(&name);
        }
        if self
            .slot
            .is_some_and(|slot| self.board.instant(slot.at_ms) <= now)
        {
            self.send_joins(writer).await?;
        }
        Ok(())
    }

    fn overdue(&mut self, name: &str) {
        let Some(place) = self.places.get_mut(name) else {
            return;
        };
        if matches!(place.standing, Standing::Refused(_)) {
            place.standing = Standing::Wanted;
            self.queue.push_back(name.into());
        } else {
            // This is how Twitch answers for a channel that does not exist.
            self.refused(name, "no answer to JOIN: the channel may not exist");
        }
    }

    async fn send_joins(&mut self, writer: &mut dyn ChatWriter) -> Result<(), Lost> {
        let Some(slot) = self.slot.take() else {
            return Ok(());
        };
        let within = Instant::now() + self.times.join_within;
        let mut channels = Vec::with_capacity(slot.count);
        while channels.len() < slot.count
            && let Some(name) = self.queue.pop_front()
        {
            if let Some(place) = self.places.get_mut(&name)
                && matches!(place.standing, Standing::Wanted)
            {
                place.standing = Standing::Asked(within);
                channels.push(place.room.channel().clone());
            }
        }
        count(&self.board.counters().joins, channels.len() as u64);
        self.is_settled = false;
        writer.join(&channels).await
    }

    /// Tells its actor once every channel is joined or refused.
    fn tell_when_settled(&mut self) {
        let is_open =
            |place: &Place| matches!(place.standing, Standing::Wanted | Standing::Asked(_));
        if !self.is_settled && !self.places.values().any(is_open) {
            self.is_settled = true;
            self.tell(ConnectionMsg::Settled(self.socket));
        }
    }

    fn tell(&self, message: ConnectionMsg) {
        // An actor that is gone has taken this session with it.
        let _ = self.actor.cast(message);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let now = self.board.now();
        for place in self.places.values() {
            place.room.left(self.socket, &self.why, now);
        }
        self.link.blocked_by(None);
    }
}
