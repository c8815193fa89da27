//! The faults that the server has on command.

use std::time::Duration;

/// Which sockets a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that are open. A stall or a pace also befalls those that come while it lasts.
    All,
    /// The one with this number. None where there is no such socket (any more).
    Socket(u64),
}

/// How a socket is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// Whole lines only: what waits is written, then comes the FIN, and then the client is waited
    /// for to close its side. Nothing that was written is lost.
    Orderly,
    /// As orderly, but a line more is begun in one of the socket's rooms and broken at some byte.
    MidLine,
    /// At once, with an RST. What waits is not sent, and the tail of what was written may be lost.
    Reset,
}

/// How clients are kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Sockets are accepted and closed at once.
    CloseAtOnce,
    /// The port is kept, but nobody listens: the system refuses.
    NotListening,
}

/// What no client likes to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Garbage {
    /// A message with bytes that are no UTF-8.
    InvalidUtf8,
    /// Random bytes, and a line end.
    RandomBytes,
    /// A message of more than 64 KiB.
    LongLine,
    /// A line with a command that nobody knows.
    UnknownCommand,
    /// Three empty lines.
    EmptyLines,
    /// A message with more than 200 tags.
    ManyTags,
}

impl Garbage {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::InvalidUtf8,
        Self::RandomBytes,
        Self::LongLine,
        Self::UnknownCommand,
        Self::EmptyLines,
        Self::ManyTags,
    ];
}

/// How fast a socket is read or written: so many bytes at once, and then a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The least bytes at once; at least 1.
    pub least: usize,
    /// The most bytes at once.
    pub most: usize,
    /// The pause after them.
    pub every: Duration,
}

impl Pace {
    /// So many bytes in every such time.
    #[must_use]
    pub const fn slow(bytes: usize, every: Duration) -> Self {
        Self {
            least: bytes,
            most: bytes,
            every,
        }
    }

    /// Pieces of 1 up to so many bytes, drawn from the seed, without regard to lines, each in a
    /// segment of its own where the client reads fast enough.
    #[must_use]
    pub const fn pieces(most: usize) -> Self {
        Self {
            least: 1,
            most,
            every: Duration::ZERO,
        }
    }
}

/// Whether a room can be joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomState {
    /// Yes.
    #[default]
    Open,
    /// No: `msg_channel_suspended`.
    Suspended,
    /// No: `msg_banned`.
    Banned,
}
