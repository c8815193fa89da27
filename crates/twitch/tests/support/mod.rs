//! A server that says what a test tells it to, and in-memory sources of bytes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses what it needs of this"
)]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use twzrd_domain::chat::{ChatReader, Chunk, Lost, News};
use twzrd_domain::identity::{Channel, Login};
use twzrd_testkit::fake::ManualClock;
use twzrd_twitch::net::{Config, Reader, halves};

/// After this, what a test waits for will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time that clocks show.
pub const NOW: u64 = 1_760_000_400_000;

pub const WELCOME: &str = ":tmi.twitch.tv CAP * ACK :twitch.tv/tags twitch.tv/commands\r\n\
    :tmi.twitch.tv 001 reader :Welcome, GLHF!\r\n";

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(NOW))
}

pub fn name(text: &str) -> Channel {
    Channel::parse(text).unwrap()
}

pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work)
        .await
        .expect("what is waited for does not come")
}

/// A listener on a port of its own.
pub struct Server(TcpListener);

impl Server {
    pub async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// How to reach it, without TLS.
    pub fn config(&self) -> Config {
        let port = self.0.local_addr().unwrap().port();
        Config {
            tls: false,
            ..Config::new("127.0.0.1", port, clock())
        }
    }

    pub async fn accept(&self) -> Peer<TcpStream> {
        Peer::new(soon(self.0.accept()).await.unwrap().0)
    }
}

/// The server's side of a connection.
pub struct Peer<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The next line, with its end.
    pub async fn hear(&mut self) -> String {
        let mut line = String::new();
        soon(self.0.read_line(&mut line)).await.unwrap();
        line
    }

    /// All that comes until the other side closes.
    pub async fn hear_all(&mut self) -> String {
        let mut all = String::new();
        soon(self.0.read_to_string(&mut all)).await.unwrap();
        all
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Hears the login up to NICK, and gives it.
    pub async fn hear_login(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines
            .last()
            .is_some_and(|line: &String| line.starts_with("NICK "))
        {
            lines.push(self.hear().await);
            assert!(lines.len() <= 3, "{lines:?}");
        }
        lines
    }

    pub async fn close(mut self) {
        self.0.shutdown().await.unwrap();
    }
}

/// A reader of a stream that is logged in as `reader`, with a clock at [`NOW`].
pub fn reader<R>(source: R) -> Reader<R> {
    halves(
        source,
        tokio::io::sink(),
        Login::parse("reader").unwrap(),
        clock(),
    )
    .0
}

/// What a reader handed out, line by line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Each line, and whether it was broken.
    pub lines: Vec<(Vec<u8>, bool)>,
    /// Each line's channel.
    pub channels: Vec<String>,
    pub news: Vec<News>,
}

impl Heard {
    pub fn add(&mut self, chunk: &Chunk) {
        assert!(!chunk.is_empty(), "a chunk without anything");
        assert_eq!(chunk.iter().count(), chunk.lines.len());
        for ((bytes, channel), line) in chunk.iter().zip(&chunk.lines) {
            self.lines.push((bytes.to_vec(), line.is_broken));
            self.channels
                .push(String::from_utf8_lossy(channel).into_owned());
        }
        self.news.extend(chunk.news.iter().cloned());
    }
}

/// Reads to the end.
pub async fn hear_out(reader: &mut dyn ChatReader) -> (Heard, Lost) {
    let (mut heard, mut chunk) = (Heard::default(), Chunk::default());
    loop {
        match soon(reader.read(&mut chunk)).await {
            Ok(()) => heard.add(&chunk),
            Err(lost) => return (heard, lost),
        }
    }
}

/// What the lines of a stream are, told simply.
pub fn lines_of(stream: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut pieces: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
    let half = pieces.pop().unwrap();
    let trimmed = |mut piece: &[u8]| {
        while let Some(rest) = piece.strip_suffix(b"\r") {
            piece = rest;
        }
        piece.to_vec()
    };
    let broken = (vec![0], true);
    let whole = pieces
        .into_iter()
        .map(trimmed)
        .filter(|line| !line.is_empty());
    let mut lines: Vec<_> = whole
        .map(|line| {
            if line.len() > 65_536 {
                broken.clone()
            } else {
                (line, false)
            }
        })
        .collect();
    if !trimmed(half).is_empty() {
        lines.push(broken);
    }
    lines
}

/// Gives one segment a read, then ends, or fails.
pub struct Segments {
    segments: VecDeque<Vec<u8>>,
    error: Option<io::ErrorKind>,
}

impl Segments {
    pub fn new(segments: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let segments = segments
            .into_iter()
            .filter(|segment| !segment.is_empty())
            .collect();
        Self {
            segments,
            error: None,
        }
    }

    pub fn failing(mut self, error: io::ErrorKind) -> Self {
        self.error = Some(error);
        self
    }
}

impl AsyncRead for Segments {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(out.remaining() > 0, "a read without room looks like an end");
        let Some(mut segment) = self.segments.pop_front() else {
            return Poll::Ready(self.error.map_or(Ok(()), |kind| Err(kind.into())));
        };
        let rest = segment.split_off(segment.len().min(out.remaining()));
        out.put_slice(&segment);
        if !rest.is_empty() {
            self.segments.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}
