//! A TCP proxy in front of one server, so that real client libraries meet the faults of a network.
//!
//! [`Proxy::start`] listens on a free port of 127.0.0.1. A [`Handle`] gives the commands: what
//! befalls every connection (cut, black hole, slow), who is let in, and one fault that waits for
//! its moment ([`Handle::lose_next_answer`], [`Handle::at_next_commit`] and the like).
//!
//! Where the server is a Postgres, the proxy reads along as far as it must to know transactions
//! and commits. It does so without TLS only: a connection that turns to TLS is passed on unread.

mod link;
mod listen;
mod postgres;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::interval;

use listen::{Listener, Order};
use shared::{Shared, Trigger};

pub use shared::Snapshot;

/// How many orders may wait for the listening task.
const ORDERS: usize = 16;

/// How often [`Handle::until`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How a connection ends that is cut, to both of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Close {
    /// With a FIN behind what was passed on.
    Orderly,
    /// With an RST. What was passed on and not read yet may be lost.
    Reset,
    /// Not at all, as by a firewall that has forgotten it: the connection stays open, whatever is
    /// said on it vanishes, and neither side hears that the other has closed. Another cut closes
    /// it.
    Silent,
}

/// One of the two ways through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What the client says.
    ToServer,
    /// What the server says.
    ToClient,
}

/// One of the ways through the proxy, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ways {
    /// Both.
    Both,
    /// One.
    Only(Direction),
}

/// How new connections are kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The port is kept, but nobody listens: the system refuses, and nobody can count it.
    NotListening,
    /// They are accepted and reset at once.
    ResetAtOnce,
}

/// How slowly bytes pass, each way of each connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What each chunk waits before it passes.
    pub delay: Duration,
    /// At most so many bytes a second; at least 1. None is no limit.
    pub bytes_per_second: Option<u64>,
}

/// When a Postgres connection is cut that commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommitFault {
    /// In front of the COMMIT: the server never sees it, and undoes the transaction.
    BeforeServer,
    /// Once the server has committed and said so: the client never hears it.
    AfterServer,
}

/// What the proxy understands of what passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing: bytes.
    #[default]
    Bytes,
    /// Transactions and commits of Postgres.
    Postgres,
}

/// What a proxy is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server, as `host:port`.
    pub upstream: String,
    /// What is understood of what passes.
    pub protocol: Protocol,
    /// How many connections may be open. One more is reset, and counted as refused.
    pub connections: usize,
    /// How many bytes of a connection the proxy holds at most, each way; at least 1.
    pub chunk_bytes: usize,
}

impl Config {
    /// A proxy for a server that it knows nothing about, with the bounds that it has by default.
    #[must_use]
    pub fn bytes(upstream: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            protocol: Protocol::Bytes,
            connections: 256,
            chunk_bytes: 16 * 1024,
        }
    }

    /// A proxy for a Postgres.
    #[must_use]
    pub fn postgres(upstream: impl Into<String>) -> Self {
        Self {
            protocol: Protocol::Postgres,
            ..Self::bytes(upstream)
        }
    }
}

/// A running proxy. Its tasks and connections end with [`Proxy::stop`], or when it is dropped.
pub struct Proxy {
    handle: Handle,
    tasks: Mutex<JoinSet<()>>,
}

/// The commands of a proxy. Clones are of the same proxy; they do not keep it alive.
///
/// What strikes connections says how many. After the proxy has ended, that is none.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
}

impl Proxy {
    /// Starts a proxy. It must be called within a runtime with I/O and time. The server need not
    /// be there yet.
    ///
    /// # Errors
    /// Those of listening.
    pub fn start(config: Config) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(config));
        let listener = Listener::open(Arc::clone(&shared))?;
        let address = listener.address();
        let (orders, taken) = mpsc::channel(ORDERS);
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.run(taken));
        let handle = Handle {
            shared,
            address,
            orders,
        };
        Ok(Self {
            handle,
            tasks: Mutex::new(tasks),
        })
    }

    /// Starts a proxy in front of the Postgres of a URL, and gives the URL that leads through it.
    ///
    /// # Errors
    /// Where the URL names no host and port (`InvalidInput`), and those of listening.
    pub fn before_postgres(url: &str) -> io::Result<(Self, String)> {
        let authority = authority(url).ok_or_else(|| {
            // The URL is not repeated: it may hold a password.
            let why = "the URL names no host with a port; expected postgres://USER@HOST:PORT/NAME";
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        let proxy = Self::start(Config::postgres(&url[authority.clone()]))?;
        let (before, behind) = (&url[..authority.start], &url[authority.end..]);
        let url = format!("{before}{}{behind}", proxy.handle.address);
        Ok((proxy, url))
    }

    /// The commands.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.handle.address
    }

    /// Ends the listening, closes all connections, and returns the last state of the counters once
    /// no task is left. A second call changes nothing.
    pub async fn stop(&self) -> Snapshot {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let (answer, done) = oneshot::channel();
        if self.handle.orders.send(Order::Stop(answer)).await.is_ok() {
            // No answer means that the task has ended, which is what was asked for.
            let _ = done.await;
        }
        tasks.shutdown().await;
        self.handle.snapshot()
    }
}

impl Handle {
    /// Where the proxy listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Returns once a snapshot holds what is asked for. It waits for ever; whoever calls it gives
    /// it a deadline.
    pub async fn until(&self, holds: impl Fn(&Snapshot) -> bool) {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            if holds(&self.snapshot()) {
                return;
            }
        }
    }

    /// From now on, new connections lead to this server. Those that are open stay where they are.
    pub fn set_upstream(&self, upstream: impl Into<String>) {
        self.shared.set_upstream(upstream.into());
    }

    /// Cuts all connections now.
    pub fn cut(&self, close: Close) -> usize {
        let links = self.shared.links();
        links.iter().filter(|link| link.cut(close)).count()
    }

    /// Cuts every connection that is open once so many more bytes have passed in this direction;
    /// with 0, in front of the next one.
    pub fn cut_after(&self, direction: Direction, bytes: u64, close: Close) -> usize {
        let links = self.shared.links();
        let limited = links.iter().map(|link| link.limit(direction, bytes, close));
        limited.count()
    }

    /// Stops passing bytes, and ends of streams. Connections stay open, and new ones are accepted;
    /// what is said waits, in the proxy and in the system, until [`Handle::release`].
    pub fn black_hole(&self, ways: Ways) -> usize {
        self.shared.darken(ways)
    }

    /// Passes on again what waits in a black hole.
    pub fn release(&self) -> usize {
        self.shared.lighten()
    }

    /// Passes bytes slowly from now on.
    pub fn slow(&self, pace: Pace) -> usize {
        self.shared.pace(Some(pace))
    }

    /// Passes bytes as fast as they come.
    pub fn full_speed(&self) -> usize {
        self.shared.pace(None)
    }

    /// Lets no new connections in. Those that are open stay.
    ///
    /// # Errors
    /// Where the port could not be kept, or the proxy has ended (`BrokenPipe`).
    pub async fn refuse(&self, refusal: Refusal) -> io::Result<()> {
        self.order(|answer| Order::Admit(Err(refusal), answer))
            .await
    }

    /// Lets no new connections in, and cuts those that are open: the server is gone.
    ///
    /// # Errors
    /// As [`Handle::refuse`].
    pub async fn gone(&self, refusal: Refusal, close: Close) -> io::Result<usize> {
        self.refuse(refusal).await?;
        Ok(self.cut(close))
    }

    /// Lets connections in again.
    ///
    /// # Errors
    /// As [`Handle::refuse`].
    pub async fn admit(&self) -> io::Result<()> {
        self.order(|answer| Order::Admit(Ok(()), answer)).await
    }

    /// Lets the next bytes of any client through, and cuts its connection before the first byte
    /// that comes back: the server has taken what was asked, and the client does not know.
    ///
    /// Of this and the three below, one waits at a time: a new one takes the place of the one
    /// before.
    pub fn lose_next_answer(&self, close: Close) {
        self.shared.arm(Trigger::Answer, close);
    }

    /// Cuts the next connection on which a client says something, before the server hears it.
    pub fn lose_next_request(&self, close: Close) {
        self.shared.arm(Trigger::Request, close);
    }

    /// Cuts the next Postgres connection that commits.
    pub fn at_next_commit(&self, fault: CommitFault, close: Close) {
        self.shared.arm(Trigger::Commit(fault), close);
    }

    /// Cuts the next Postgres connection that is in a transaction which began after this call and
    /// has had so many statements: in front of the next one, or of its COMMIT. BEGIN is not
    /// counted. A transaction with fewer statements goes through, and the fault waits for another.
    pub fn in_next_transaction(&self, after_statements: u32, close: Close) {
        let trigger = Trigger::Transaction { after_statements };
        self.shared.arm(trigger, close);
    }

    /// Takes back the fault that waits for its moment. True where there was one, that is, where it
    /// has struck nobody.
    pub fn disarm(&self) -> bool {
        self.shared.disarm()
    }

    /// Ends all faults: connections are let in, and pass bytes as they come. What was cut stays
    /// cut.
    ///
    /// # Errors
    /// As [`Handle::admit`].
    pub async fn clear(&self) -> io::Result<()> {
        self.disarm();
        self.shared.links().iter().for_each(|link| link.unlimit());
        self.full_speed();
        self.release();
        self.admit().await
    }

    async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Order,
    ) -> io::Result<()> {
        let (answer, done) = oneshot::channel();
        let ended = || io::Error::new(io::ErrorKind::BrokenPipe, "the proxy has ended");
        let sent = self.orders.send(order(answer)).await;
        sent.map_err(|_| ended())?;
        done.await.map_err(|_| ended())?
    }
}

/// Where in a URL its host and port stand.
fn authority(url: &str) -> Option<std::ops::Range<usize>> {
    let start = url.find("://")? + 3;
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    let host = url[start..end]
        .rfind('@')
        .map_or(start, |at| start + at + 1);
    let (_, port) = url[host..end].rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some(host..end)
}
