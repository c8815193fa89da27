//! A client of the simulator that reads and writes lines, and a server to try it on.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each file of tests uses a part of it"
)]

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::Clock;
use twzrd_simulator::{Config, Delivery, Limit, Rooms, Simulator};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The time at which the clock of the tests stands.
pub const NOW: UnixMs = 1_760_000_000_000;

/// A clock that stands until it is moved.
pub struct Manual(pub AtomicU64);

impl Clock for Manual {
    fn now(&self) -> UnixMs {
        self.0.load(Ordering::SeqCst)
    }
}

pub fn clock() -> Arc<Manual> {
    Arc::new(Manual(AtomicU64::new(NOW)))
}

/// Eight rooms, a log, no limits of rate, and no PING.
pub fn config() -> Config {
    Config {
        rooms: Rooms::Numbered(8),
        users: 200,
        join_limit: Limit::NONE,
        login_limit: Limit::NONE,
        ping_every: None,
        keep_log: true,
        close_within: Duration::from_secs(20),
        ..Config::new(clock())
    }
}

/// All rooms of [`config`].
pub const ROOMS: [&str; 8] = [
    "channel_0000",
    "channel_0001",
    "channel_0002",
    "channel_0003",
    "channel_0004",
    "channel_0005",
    "channel_0006",
    "channel_0007",
];

/// What a socket has been sent after the JOINs of its client were answered.
pub fn after_joins(deliveries: Vec<Delivery>, rooms: usize) -> Vec<Delivery> {
    // ACK, welcome, and four lines for each room.
    deliveries.into_iter().skip(8 + 4 * rooms).collect()
}

pub fn bytes(deliveries: &[Delivery]) -> Vec<Vec<u8>> {
    deliveries.iter().map(|one| one.line.to_vec()).collect()
}

pub async fn start(config: Config) -> Simulator {
    Simulator::start(config).await.expect("the server starts")
}

/// Gives everything a deadline.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// A client, which reads only when it is asked to.
pub struct Irc {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

impl Irc {
    pub async fn connect(simulator: &Simulator) -> Self {
        let stream = TcpStream::connect(simulator.address()).await.unwrap();
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// Connected and logged in as nobody in particular, with all capabilities.
    pub async fn anonymous(simulator: &Simulator) -> Self {
        let mut irc = Self::connect(simulator).await;
        irc.say("CAP REQ :twitch.tv/tags twitch.tv/commands twitch.tv/membership")
            .await;
        irc.say("NICK justinfan7").await;
        irc.up_to(" 376 ").await;
        irc
    }

    /// The same, in these rooms.
    pub async fn within(simulator: &Simulator, rooms: &[&str]) -> Self {
        let mut irc = Self::anonymous(simulator).await;
        irc.join(rooms).await;
        irc
    }

    pub async fn join(&mut self, rooms: &[&str]) {
        let list: Vec<_> = rooms.iter().map(|room| format!("#{room}")).collect();
        self.say(&format!("JOIN {}", list.join(","))).await;
        let last = format!("ROOMSTATE {}", list.last().unwrap());
        self.up_to(&last).await;
    }

    pub async fn say(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.stream.write_all(line.as_bytes()).await.unwrap();
    }

    /// The next line without its line end; an error where the stream ends or breaks.
    pub async fn try_line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=end).collect();
                assert!(line.ends_with(b"\r\n"), "a line without its line end");
                line.truncate(line.len() - 2);
                return Ok(line);
            }
            if soon("a line", self.stream.read_buf(&mut self.rest)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub async fn line(&mut self) -> String {
        let line = self.try_line().await.expect("a line");
        String::from_utf8(line).expect("UTF-8")
    }

    pub async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.line().await);
        }
        lines
    }

    /// All lines up to the first that holds this text, which is the last of them.
    pub async fn up_to(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.line().await);
            if lines.last().unwrap().contains(text) {
                return lines;
            }
        }
    }

    /// True where nothing that is unread came before the answer to a PING.
    pub async fn is_silent(&mut self) -> bool {
        self.say("PING :anything").await;
        self.up_to(" PONG ").await.len() == 1
    }

    /// All lines up to the end of the stream, the fragment behind the last one, and how it ended.
    pub async fn rest(mut self) -> (Vec<Vec<u8>>, Vec<u8>, io::ErrorKind) {
        let mut lines = Vec::new();
        let end = loop {
            match self.try_line().await {
                Ok(line) => lines.push(line),
                Err(error) => break error.kind(),
            }
        };
        (lines, self.rest, end)
    }

    /// Reads on for ever and answers PINGs, in a task of `tasks`; returns what it has read when
    /// the stream ends.
    pub fn listen(
        mut self,
        tasks: &mut tokio::task::JoinSet<(Vec<Vec<u8>>, Vec<u8>)>,
    ) -> tokio::task::AbortHandle {
        tasks.spawn(async move {
            let mut lines = Vec::new();
            while let Ok(line) = self.try_line().await {
                if line.starts_with(b"PING") {
                    self.stream
                        .write_all(b"PONG :tmi.twitch.tv\r\n")
                        .await
                        .unwrap();
                }
                lines.push(line);
            }
            (lines, self.rest)
        })
    }
}
