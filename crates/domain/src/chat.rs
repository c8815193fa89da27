//! The ports to a chat network: sockets, and the judging of lines.
//!
//! A socket gives lines in chunks, many at a time; what it says about itself (a room was joined, a
//! reconnect is asked for) comes beside them as [`News`]. Every line that was received is in a
//! chunk, news or not, so that each can be counted.

use async_trait::async_trait;

use crate::epoch::{EpochLength, UnixMs};
use crate::identity::Channel;
use crate::record::{Intake, Progress};

/// The most bytes of lines that one read hands out, besides a line that is longer by itself.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A chat network, to which sockets can be opened.
#[async_trait]
pub trait ChatNetwork: Send + Sync {
    /// Opens a socket and logs in. Answers once the network has welcomed it.
    ///
    /// Bounded in time by the network's own settings. Lines that came before the welcome are in
    /// the first chunk.
    async fn connect(&self) -> Result<Socket, ConnectError>;
}

/// An open socket, in two halves.
pub struct Socket {
    /// Gives lines.
    pub reader: Box<dyn ChatReader>,
    /// Takes commands.
    pub writer: Box<dyn ChatWriter>,
}

/// No socket was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The network cannot be reached: no address, no route, refused, no TLS, no answer in time.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// Why.
        reason: String,
    },
    /// The network does not take these credentials. Never names them.
    #[error("{address} refused to log in: {reason}")]
    Refused {
        /// Host and port.
        address: String,
        /// What the network said.
        reason: String,
    },
}

/// A socket has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Lost {
    /// Why, as a person would say it: "closed by the server", or the error of the system.
    pub reason: String,
}

/// The half of a socket that gives lines.
#[async_trait]
pub trait ChatReader: Send {
    /// Waits for lines and puts them into `chunk`, which is emptied first. At least one line or
    /// one piece of news. May be dropped while it waits; then nothing is lost.
    ///
    /// A half line at the end of a socket is handed out as a broken one by the read before the
    /// error.
    ///
    /// # Errors
    /// Once the socket has ended.
    async fn read(&mut self, chunk: &mut Chunk) -> Result<(), Lost>;
}

/// The half of a socket that takes commands. Each is sent before it answers.
#[async_trait]
pub trait ChatWriter: Send {
    /// Asks to join these channels: one line or several, in the order given.
    async fn join(&mut self, channels: &[Channel]) -> Result<(), Lost>;

    /// Leaves these channels.
    async fn part(&mut self, channels: &[Channel]) -> Result<(), Lost>;

    /// Asks whether the other side is there.
    async fn ping(&mut self) -> Result<(), Lost>;

    /// Answers such a question.
    async fn pong(&mut self, token: &str) -> Result<(), Lost>;

    /// Says goodbye. What fails here is of no consequence.
    async fn close(&mut self);
}

/// Lines as they came from a socket. Reused from read to read.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The lines, one after the other, without line ends.
    pub bytes: Vec<u8>,
    /// Where each line ends in `bytes`, and to which channel it belongs.
    pub lines: Vec<ChunkLine>,
    /// When they were received, in milliseconds since the Unix epoch.
    pub at: UnixMs,
    /// What the network says to the socket, in the order of the lines that say so.
    pub news: Vec<News>,
}

/// A line of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkLine {
    /// Where it ends in the chunk's bytes; it begins where the line before it ends.
    pub end: u32,
    /// The name of its channel, without `#`, as a range of the chunk's bytes; empty where it
    /// belongs to none. As it came: perhaps no name at all, perhaps in upper case.
    pub channel: (u32, u32),
    /// True where it was too long to be kept, or was cut by the end of the socket: the bytes are
    /// then a stand-in that is judged invalid.
    pub is_broken: bool,
}

impl Chunk {
    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.news.clear();
    }

    /// True where it holds neither lines nor news.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.news.is_empty()
    }

    /// Each line with the name of its channel, which is empty where it belongs to none.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut begin = 0;
        self.lines.iter().map(move |line| {
            let bytes = self.bytes.get(begin..line.end as usize).unwrap_or_default();
            begin = line.end as usize;
            let (from, to) = (line.channel.0 as usize, line.channel.1 as usize);
            (bytes, self.bytes.get(from..to).unwrap_or_default())
        })
    }
}

/// What the network says to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A channel was joined.
    Joined(Channel),
    /// A channel was left.
    Parted(Channel),
    /// A channel cannot be joined: it does not exist, is suspended, or bans this account.
    Refused {
        /// The channel.
        channel: Channel,
        /// The network's name for the reason, such as `msg_channel_suspended`.
        code: String,
        /// What it said.
        reason: String,
    },
    /// Another socket is to take over: this one will be closed soon.
    Reconnect,
    /// It asks whether this side is there; to be answered with the token.
    Ping(String),
    /// It answered that it is there.
    Pong,
    /// It said something to the socket as a whole, such as that it sends too many commands.
    Notice(String),
}

/// Judges lines of a socket.
pub trait LineJudge: Send + Sync {
    /// Begins an intake under the epoch length in force.
    fn begin(&self, length: EpochLength) -> Box<dyn IntakeDraft>;
}

/// An intake that is being gathered.
pub trait IntakeDraft: Send {
    /// Judges a line, without its line end, that was received at this time.
    fn push(&mut self, line: &[u8], received: UnixMs);

    /// Books a line as invalid, unseen: it cannot be judged.
    fn push_invalid(&mut self, received: UnixMs);

    /// The intake. It stands for its source up to `progress`, and its time is that of the line
    /// that was received last.
    fn finish(self: Box<Self>, progress: Option<Progress>) -> Intake;
}
