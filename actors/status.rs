//! What is known of channels and connections at a moment, as it is shown.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::Channel;
use twzrd_domain::roster::Listing;

/// Whether a channel is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Its connection has no socket.
    Disconnected,
    /// It is to be joined, and waits for the join budget or the network's answer.
    Joining,
    /// It is joined.
    Heard,
    /// The network refused it; it is tried again, rarely.
    Refused,
}

impl ChannelState {
    /// Every state, in the order in which it is shown.
    pub const ALL: [Self; 4] = [
        Self::Disconnected,
        Self::Joining,
        Self::Heard,
        Self::Refused,
    ];

    /// The name in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Joining => "joining",
            Self::Heard => "heard",
            Self::Refused => "refused",
        }
    }
}

/// A channel at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStatus {
    /// The channel.
    pub channel: Channel,
    /// Under what it is listed.
    pub listing: Listing,
    /// Whether it is heard.
    pub state: ChannelState,
    /// Why it is not heard, in the network's words where it said something.
    pub reason: Option<CompactString>,
    /// Since when it is in this state.
    pub since: UnixMs,
    /// When it is tried again, where it is refused.
    pub retry_at: Option<UnixMs>,
    /// The number of its connection.
    pub connection: Option<u32>,
    /// Lines that came in since the start of the process.
    pub lines: u64,
    /// When the last line came in.
    pub last_line: Option<UnixMs>,
    /// Lines in its feed, which the journal has not acknowledged yet.
    pub feed_lines: u64,
    /// Bytes in its feed.
    pub feed_bytes: u64,
    /// The bound on the bytes in its feed.
    pub feed_bound: u64,
}

/// Whether a connection has a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// It waits before it tries again.
    Waiting,
    /// It opens a socket and logs in.
    Connecting,
    /// It has a socket.
    Connected,
    /// It has a socket that will be closed, and another is about to take over.
    HandingOver,
}

impl ConnectionState {
    /// Every state, in the order in which it is shown.
    pub const ALL: [Self; 4] = [
        Self::Waiting,
        Self::Connecting,
        Self::Connected,
        Self::HandingOver,
    ];

    /// The name in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::HandingOver => "handing_over",
        }
    }
}

/// A connection at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Its number, from 1.
    pub number: u32,
    /// Whether it has a socket.
    pub state: ConnectionState,
    /// Why it has none, or what the network said last.
    pub reason: Option<CompactString>,
    /// Since when it is in this state.
    pub since: UnixMs,
    /// Channels that are assigned to it.
    pub channels: u64,
    /// Of these, heard.
    pub heard: u64,
    /// The channel whose full feed keeps it from reading on.
    pub blocked_by: Option<Channel>,
}

/// What was counted of the intake since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Lines that sockets gave.
    pub lines: u64,
    /// Bytes of these lines.
    pub bytes: u64,
    /// Lines that were too long or cut.
    pub broken: u64,
    /// Sockets that were opened.
    pub connects: u64,
    /// Sockets that were not opened.
    pub connect_failures: u64,
    /// Sockets that ended without being asked to.
    pub losses: u64,
    /// Times that the network asked for a reconnect.
    pub reconnects: u64,
    /// Channels that a JOIN was sent for.
    pub joins: u64,
    /// Channels that were joined.
    pub joined: u64,
    /// Refusals of channels.
    pub refusals: u64,
    /// Times that a full feed kept a socket from being read on.
    pub blocked: u64,
    /// Milliseconds for which full feeds did so.
    pub blocked_ms: u64,
    /// Lines that crashed their collector and were put aside.
    pub quarantined: u64,
    /// Lines put aside whose text could not be kept, because too many waited for the store.
    pub quarantine_dropped: u64,
    /// Bytes that wait in all feeds now.
    pub feed_bytes: u64,
    /// The bound on these.
    pub feed_bytes_bound: u64,
    /// Begins and ends of gaps that wait for the journal now.
    pub gaps_waiting: u64,
    /// Begins and ends of gaps that were dropped, because too many waited.
    pub gaps_dropped: u64,
}
