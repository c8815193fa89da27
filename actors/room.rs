//! A channel as the intake holds it: its feed, who hears it, and the gaps in which nobody did.
//!
//! A room outlives its collector and its sockets. It is heard while at least one socket has joined
//! it; when the last one leaves, a gap begins. Each begin and end of a gap goes into a queue of
//! records for the journal, see [`crate::gap_ledger`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use compact_str::CompactString;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::Quarantined;
use twzrd_domain::record::Gap;
use twzrd_domain::roster::Listing;
use twzrd_supervision::ChildRef;

use crate::collector::CollectorMsg;
use crate::feed::{Feed, FeedPool, held};
use crate::gap_ledger::GapQueue;
use crate::reason::{CONNECTING, RATE_LIMITED, REMOVED, bounded};
use crate::status::{ChannelState, ChannelStatus};

/// How many lines of a channel that crashed their collector may wait for the store.
const MAX_ASIDE: usize = 16;

/// From when on a channel was not heard when the room was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// From when.
    pub from: UnixMs,
    /// Why.
    pub reason: CompactString,
    /// True where the journal knows of it.
    pub is_recorded: bool,
}

struct State {
    listing: Listing,
    connection: Option<u32>,
    /// The sockets that have joined it.
    heard_by: Vec<u64>,
    /// The gap that goes on, by its begin, and why; none while it is heard.
    gap: Option<(UnixMs, CompactString)>,
    /// Where the next gap may begin at the earliest: no two begin at the same moment.
    next_gap: UnixMs,
    state: ChannelState,
    since: UnixMs,
    reason: Option<CompactString>,
    refusals: u32,
    /// When it may be tried again after a refusal, by [`crate::board::Board::now_ms`].
    retry_ms: u64,
    retry_at: Option<UnixMs>,
}

/// A channel as the intake holds it.
pub struct Room {
    channel: Channel,
    source: CompactString,
    feed: Feed,
    collector: ChildRef<CollectorMsg>,
    gaps: Option<Arc<GapQueue>>,
    state: Mutex<State>,
    /// How many sessions bring lines here.
    users: AtomicUsize,
    aside: Mutex<VecDeque<Quarantined>>,
}

impl Room {
    /// A room that nobody hears yet.
    #[must_use]
    pub fn new(
        (channel, listing): (Channel, Listing),
        source: CompactString,
        (feed_bytes, pool): (usize, Arc<FeedPool>),
        gaps: Arc<GapQueue>,
        (unheard, now): (Unheard, UnixMs),
    ) -> Self {
        let feed = Feed::new(feed_bytes, pool);
        let room = Self::with(channel, listing, source, feed, Some(gaps));
        let mut state = held(&room.state);
        state.gap = Some((unheard.from, unheard.reason.clone()));
        state.next_gap = unheard.from;
        state.since = now;
        if !unheard.is_recorded {
            room.record(unheard.from, unheard.from, &unheard.reason);
        }
        room.change_gap(&mut state, CONNECTING, now);
        state.reason = Some(CompactString::const_new(CONNECTING));
        drop(state);
        room
    }

    /// The room of all that belongs to no channel: what a server says to a socket, and garbage.
    #[must_use]
    pub fn server(source: CompactString, feed: Feed) -> Self {
        let none = CompactString::const_new;
        let listing = Listing {
            group: none(""),
            token_group: none(""),
            category: none(""),
        };
        Self::with(Channel::none(), listing, source, feed, None)
    }

    fn with(
        channel: Channel,
        listing: Listing,
        source: CompactString,
        feed: Feed,
        gaps: Option<Arc<GapQueue>>,
    ) -> Self {
        let id = match channel.as_str() {
            "" => "server".to_owned(),
            name => format!("#{name}"),
        };
        Self {
            source,
            feed,
            collector: ChildRef::new(id),
            gaps,
            state: Mutex::new(State {
                listing,
                connection: None,
                heard_by: Vec::new(),
                gap: None,
                next_gap: 0,
                state: ChannelState::Disconnected,
                since: 0,
                reason: None,
                refusals: 0,
                retry_ms: 0,
                retry_at: None,
            }),
            channel,
            users: AtomicUsize::new(0),
            aside: Mutex::default(),
        }
    }

    /// The channel; the empty name for the room of the server.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The name of its feed in the journal.
    #[must_use]
    pub const fn source(&self) -> &CompactString {
        &self.source
    }

    /// Its feed.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Its collector.
    #[must_use]
    pub const fn collector(&self) -> &ChildRef<CollectorMsg> {
        &self.collector
    }

    /// Notes that a session brings lines here from now on.
    pub(crate) fn enter(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a session brings no more.
    pub(crate) fn leave(&self) {
        self.users.fetch_sub(1, Ordering::AcqRel);
    }

    /// True where nobody brings lines any more, and all that were brought are in the journal.
    pub(crate) fn is_done(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0 && self.feed.depth().lines == 0
    }

    /// Tells its collector that lines wait.
    pub(crate) fn tell_collector(&self) {
        // One that is away looks at the feed when it starts.
        let _ = self.collector.cast(CollectorMsg::FeedFilled);
    }

    /// Notes that a socket has joined it.
    pub fn joined(&self, socket: u64, now: UnixMs) {
        let mut state = held(&self.state);
        if !state.heard_by.contains(&socket) {
            state.heard_by.push(socket);
        }
        state.refusals = 0;
        state.retry_at = None;
        state.go(ChannelState::Heard, None, now);
        self.end_gap(&mut state, now);
    }

    /// Notes that a socket has left it, or has ended. Nothing changes where it had not joined.
    pub fn left(&self, socket: u64, reason: &str, now: UnixMs) {
        let mut state = held(&self.state);
        let before = state.heard_by.len();
        state.heard_by.retain(|&other| other != socket);
        if before > 0 && state.heard_by.is_empty() {
            state.go(ChannelState::Disconnected, Some(reason), now);
            self.begin_gap(&mut state, reason, now);
        }
    }

    /// Notes that it is being joined, or waits for that.
    pub fn joining(&self, now: UnixMs) {
        let mut state = held(&self.state);
        if state.heard_by.is_empty() && state.state != ChannelState::Refused {
            state.go(ChannelState::Joining, None, now);
        }
    }

    /// Notes that its JOIN waits for the join budget.
    pub fn rate_limited(&self, now: UnixMs) {
        let mut state = held(&self.state);
        if state.heard_by.is_empty() && state.state != ChannelState::Refused {
            state.go(ChannelState::Joining, Some(RATE_LIMITED), now);
            self.change_gap(&mut state, RATE_LIMITED, now);
        }
    }

    /// Notes that its connection has no socket, and why.
    pub fn disconnected(&self, reason: &str, now: UnixMs) {
        let mut state = held(&self.state);
        if state.heard_by.is_empty() && state.state != ChannelState::Refused {
            state.go(ChannelState::Disconnected, Some(reason), now);
        }
    }

    /// Notes a refusal: why, and how many there have been in a row. The answer's second part is
    /// what the wait before the next try follows from.
    pub fn refused(&self, socket: u64, reason: &str, now: UnixMs) -> u32 {
        let mut state = held(&self.state);
        state.heard_by.retain(|&other| other != socket);
        state.refusals = state.refusals.saturating_add(1);
        if state.heard_by.is_empty() {
            state.go(ChannelState::Refused, Some(reason), now);
            if state.gap.is_some() {
                self.change_gap(&mut state, reason, now);
            } else {
                self.begin_gap(&mut state, reason, now);
            }
        }
        state.refusals
    }

    /// Notes when it is tried again: by the clock of the board, and by that of people.
    pub fn retry_at(&self, board_ms: u64, at: UnixMs) {
        let mut state = held(&self.state);
        state.retry_ms = board_ms;
        state.retry_at = Some(at);
    }

    /// When it may be tried again, by the clock of the board; none where it was not refused.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        let state = held(&self.state);
        (state.state == ChannelState::Refused).then_some(state.retry_ms)
    }

    /// Notes that it is not wanted any more. The answer is the begin of the gap that goes on from
    /// here until it is heard again.
    pub fn removed(&self, now: UnixMs) -> UnixMs {
        let mut state = held(&self.state);
        state.heard_by.clear();
        state.go(ChannelState::Disconnected, Some(REMOVED), now);
        match state.gap {
            Some((from, _)) => from,
            None => self.begin_gap(&mut state, REMOVED, now),
        }
    }

    fn begin_gap(&self, state: &mut State, reason: &str, now: UnixMs) -> UnixMs {
        let from = now.max(state.next_gap);
        state.gap = Some((from, bounded(reason)));
        self.record(from, from, reason);
        from
    }

    fn end_gap(&self, state: &mut State, now: UnixMs) {
        if let Some((from, reason)) = state.gap.take() {
            let until = now.max(from + 1);
            state.next_gap = until;
            self.record(from, until, &reason);
        }
    }

    /// The reason of the gap that goes on changes: one ends, another begins.
    fn change_gap(&self, state: &mut State, reason: &str, now: UnixMs) {
        let is_news =
            |(from, old): &(UnixMs, CompactString)| now > *from && *old != bounded(reason);
        if state.gap.as_ref().is_some_and(is_news) {
            self.end_gap(state, now);
            self.begin_gap(state, reason, now);
        }
    }

    fn record(&self, from: UnixMs, until: UnixMs, reason: &str) {
        if let Some(gaps) = &self.gaps {
            gaps.push(Gap {
                channel: self.channel.clone(),
                from,
                until,
                reason: bounded(reason).into_string(),
            });
        }
    }

    /// Changes under what it is listed.
    pub fn list_under(&self, listing: Listing) {
        held(&self.state).listing = listing;
    }

    /// Notes to which connection it is assigned.
    pub fn assign(&self, connection: Option<u32>) {
        held(&self.state).connection = connection;
    }

    /// The number of its connection.
    #[must_use]
    pub fn connection(&self) -> Option<u32> {
        held(&self.state).connection
    }

    /// True where at least one socket has joined it.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        !held(&self.state).heard_by.is_empty()
    }

    /// Keeps a line that crashed its collector until the store has it. False where too many wait.
    pub fn put_aside(&self, line: Quarantined) -> bool {
        let mut aside = held(&self.aside);
        let fits = aside.len() < MAX_ASIDE;
        if fits {
            aside.push_back(line);
        }
        fits
    }

    /// The first line that the store does not have yet.
    #[must_use]
    pub fn aside(&self) -> Option<Quarantined> {
        held(&self.aside).front().cloned()
    }

    /// Lets go of it.
    pub fn kept(&self) {
        held(&self.aside).pop_front();
    }

    /// How it is at this moment.
    #[must_use]
    pub fn status(&self) -> ChannelStatus {
        let depth = self.feed.depth();
        let state = held(&self.state);
        ChannelStatus {
            channel: self.channel.clone(),
            listing: state.listing.clone(),
            state: state.state,
            reason: state.reason.clone(),
            since: state.since,
            retry_at: state.retry_at,
            connection: state.connection,
            lines: depth.taken,
            last_line: depth.last_line,
            feed_lines: depth.lines,
            feed_bytes: depth.bytes,
            feed_bound: self.feed.bound() as u64,
        }
    }
}

impl State {
    fn go(&mut self, state: ChannelState, reason: Option<&str>, now: UnixMs) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        self.reason = reason.map(bounded);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::reason::PROCESS_DOWN;

    fn room(from: UnixMs) -> (Room, Arc<GapQueue>) {
        let gaps = Arc::new(GapQueue::new(ChildRef::new("gap_ledger")));
        let listing = Listing {
            group: "main".into(),
            token_group: "MILO".into(),
            category: "default".into(),
        };
        let unheard = Unheard {
            from,
            reason: PROCESS_DOWN.into(),
            is_recorded: false,
        };
        let channel = Channel::parse("forsen").unwrap();
        let queue = Arc::clone(&gaps);
        let feed = (1000, Arc::new(FeedPool::new(1000)));
        let room = Room::new((channel, listing), "f".into(), feed, queue, (unheard, 50));
        (room, gaps)
    }

    fn recorded(gaps: &GapQueue) -> Vec<(UnixMs, UnixMs, String)> {
        let all = gaps.peek(usize::MAX).into_iter();
        all.map(|gap| (gap.from, gap.until, gap.reason)).collect()
    }

    /// What a room records until it is heard at 100.
    fn begun() -> Vec<(UnixMs, UnixMs, String)> {
        let down = |until| (10, until, PROCESS_DOWN.to_owned());
        let connecting = |until| (50, until, CONNECTING.to_owned());
        vec![down(10), down(50), connecting(50), connecting(100)]
    }

    #[test]
    fn a_wait_for_the_join_budget_is_told() {
        let (room, gaps) = room(10);
        room.rate_limited(70);
        room.rate_limited(80);
        assert_eq!(room.status().state, ChannelState::Joining);
        room.joined(1, 90);
        let limited = |until| (70, until, RATE_LIMITED.to_owned());
        assert_eq!(recorded(&gaps)[4..], [limited(70), limited(90)]);
    }

    #[test]
    fn a_gap_lasts_from_the_last_socket_that_left_to_the_first_that_joins() {
        let (room, gaps) = room(10);
        room.joined(1, 100);
        room.joined(2, 110);
        room.left(1, "closed", 120);
        assert!(room.is_heard());
        room.left(2, "cut", 130);
        assert_eq!(room.status().state, ChannelState::Disconnected);
        room.joined(3, 140);
        let cut = |from, until| (from, until, "cut".to_owned());
        let expected = [begun().as_slice(), &[cut(130, 130), cut(130, 140)]].concat();
        assert_eq!(recorded(&gaps), expected);
    }

    #[test]
    fn gaps_within_one_millisecond_do_not_begin_at_the_same_moment() {
        let (room, gaps) = room(10);
        room.joined(1, 50);
        room.left(1, "a", 50);
        room.joined(2, 50);
        room.left(2, "b", 50);
        let begins: Vec<_> = recorded(&gaps)
            .into_iter()
            .filter(|gap| gap.0 == gap.1)
            .map(|gap| gap.0)
            .collect();
        assert_eq!(begins, [10, 50, 51, 52]);
    }

    #[test]
    fn a_refusal_is_a_gap_with_the_servers_reason() {
        let (room, gaps) = room(10);
        assert_eq!(room.refused(1, "msg_banned: no", 60), 1);
        assert_eq!(room.refused(1, "msg_banned: no", 90), 2);
        let connecting = |until| (50, until, CONNECTING.to_owned());
        let mut expected = begun()[..2].to_vec();
        expected.extend([connecting(50), connecting(60)]);
        expected.push((60, 60, "msg_banned: no".to_owned()));
        assert_eq!(recorded(&gaps), expected);
        let status = room.status();
        assert_eq!(status.state, ChannelState::Refused);
        assert_eq!(status.reason.as_deref(), Some("msg_banned: no"));
        assert_eq!(status.since, 60);
    }
}
