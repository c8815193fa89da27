//! What can go wrong.

use std::fmt;
use std::time::Duration;

/// What can go wrong. A stage that knows no such thing says so: [`super::Hit::Missed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An actor panics the next time it reaches this step.
    Panic(&'static str),
    /// An actor is killed; it cleans nothing up. Of collectors and connections, one of them.
    Kill(&'static str),
    /// A supervisor is ended by its children, and started again by the one above it.
    Restart(&'static str),
    /// No operation behind a port is answered for so long: the handlers that wait for one hang.
    Hang(Port, Duration),
    /// Something about sockets.
    Socket(SocketFault),
    /// Something about the disk of the journal.
    Disk(DiskFault),
    /// Something about the database.
    Database(DatabaseFault),
    /// The clock of the system jumps by so many milliseconds.
    ClockJump(i64),
    /// The channel list is changed.
    Reload,
    /// A person asks to be left out, or asks to be let in again.
    OptOut,
    /// The process is asked to stop, and started again.
    Terminate,
    /// The process is killed as by `kill -9`, and started again.
    KillProcess,
}

/// A port that can hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// The journal.
    Journal,
    /// The store.
    Store,
}

/// What can go wrong with sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketFault {
    /// One is closed, in order.
    Close,
    /// One ends in the middle of a line.
    CutMidLine,
    /// One is reset.
    Reset,
    /// All are reset, and none can be opened for so long.
    Outage(Duration),
    /// One says nothing for so long, and loses nothing.
    Stall(Duration),
    /// The network asks for a reconnect.
    Reconnect,
    /// The last lines are said once more.
    Duplicate,
    /// Bytes that are no line.
    Garbage,
}

/// What can go wrong with the disk of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskFault {
    /// It is full for so long.
    Full(Duration),
    /// It answers EIO for so many writes or syncs.
    Error(u32),
    /// So many writes put down a part only.
    ShortWrite(u32),
    /// A sync takes so long.
    SlowSync(Duration),
    /// So many appends are written and synced, and the answer is lost.
    AnswerLost(u32),
}

/// What can go wrong with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseFault {
    /// It is gone for so long.
    Gone(Duration),
    /// Every operation takes long, for so long.
    Slow(Duration),
    /// Somebody else holds the locks for so long.
    Locked(Duration),
    /// The connection is cut in the middle of the next transaction.
    CutInTransaction,
    /// The next commit is not taken, and nobody is told so.
    CommitLost,
    /// The next commit is taken, and its answer is lost.
    CommitUnknown,
    /// So many operations of any sort fail for now.
    Transient(u32),
}

impl Fault {
    /// What it counts as in a table.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Panic(_) => "an actor panics at a step",
            Self::Kill(_) => "an actor is killed",
            Self::Restart(_) => "a supervisor is started again",
            Self::Hang(Port::Journal, _) => "the journal does not answer",
            Self::Hang(Port::Store, _) => "the store does not answer",
            Self::Socket(fault) => fault.kind(),
            Self::Disk(fault) => fault.kind(),
            Self::Database(fault) => fault.kind(),
            Self::ClockJump(_) => "the clock jumps",
            Self::Reload => "the channel list is changed",
            Self::OptOut => "somebody opts out or in",
            Self::Terminate => "SIGTERM and a new start",
            Self::KillProcess => "`kill -9` and a new start",
        }
    }
}

impl SocketFault {
    const fn kind(self) -> &'static str {
        match self {
            Self::Close => "a socket is closed",
            Self::CutMidLine => "a socket ends within a line",
            Self::Reset => "a socket is reset",
            Self::Outage(_) => "the network is away",
            Self::Stall(_) => "a socket stalls",
            Self::Reconnect => "the network asks for a reconnect",
            Self::Duplicate => "lines are delivered twice",
            Self::Garbage => "garbage on a socket",
        }
    }
}

impl DiskFault {
    const fn kind(self) -> &'static str {
        match self {
            Self::Full(_) => "the disk is full",
            Self::Error(_) => "the disk answers EIO",
            Self::ShortWrite(_) => "a write is cut short",
            Self::SlowSync(_) => "a sync is slow",
            Self::AnswerLost(_) => "the answer to an append is lost",
        }
    }
}

impl DatabaseFault {
    const fn kind(self) -> &'static str {
        match self {
            Self::Gone(_) => "the database is gone",
            Self::Slow(_) => "the database is slow",
            Self::Locked(_) => "the database is locked",
            Self::CutInTransaction => "the connection is cut within a transaction",
            Self::CommitLost => "a commit is lost on the way there",
            Self::CommitUnknown => "a commit is taken and its answer lost",
            Self::Transient(_) => "operations of the store fail",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(step) => write!(f, "panic at {step}"),
            Self::Kill(actor) => write!(f, "kill {actor}"),
            Self::Restart(supervisor) => write!(f, "restart {supervisor}"),
            Self::Hang(_, time)
            | Self::Socket(SocketFault::Outage(time) | SocketFault::Stall(time))
            | Self::Disk(DiskFault::Full(time) | DiskFault::SlowSync(time))
            | Self::Database(
                DatabaseFault::Gone(time) | DatabaseFault::Slow(time) | DatabaseFault::Locked(time),
            ) => write!(f, "{} for {time:?}", self.kind()),
            Self::Disk(
                DiskFault::Error(times)
                | DiskFault::ShortWrite(times)
                | DiskFault::AnswerLost(times),
            )
            | Self::Database(DatabaseFault::Transient(times)) => {
                write!(f, "{}, {times} times", self.kind())
            }
            Self::ClockJump(ms) => write!(f, "the clock jumps by {ms} ms"),
            Self::Socket(_)
            | Self::Database(_)
            | Self::Reload
            | Self::OptOut
            | Self::Terminate
            | Self::KillProcess => f.write_str(self.kind()),
        }
    }
}
