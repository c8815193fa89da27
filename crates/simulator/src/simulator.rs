//! The handle of a running server: start, watch, command, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::config::Config;
use crate::counters::Snapshot;
use crate::dialect::{self, Caps};
use crate::fault::Target;
use crate::log::Log;
use crate::server::{Order, Server};
use crate::shared::Shared;

/// How many orders may wait for the listening task.
const ORDERS: usize = 16;

/// How often [`Simulator::until`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A running server. Its tasks end with [`Simulator::stop`], or when it is dropped.
pub struct Simulator {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    tasks: Mutex<JoinSet<()>>,
}

impl Simulator {
    /// Starts a server. It must be called within a runtime with I/O and time.
    ///
    /// # Errors
    /// Where the rooms are no list of rooms (`InvalidInput`), and those of listening.
    pub async fn start(config: Config) -> io::Result<Self> {
        let names = config.rooms.names()?;
        let shared = Arc::new(Shared::new(config, names));
        let server = Server::open(Arc::clone(&shared))?;
        let address = server.address();
        let (orders, taken) = mpsc::channel(ORDERS);
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(taken));
        let pumped = Arc::clone(&shared);
        tasks.spawn(async move { pumped.pump().await });
        Ok(Self {
            shared,
            address,
            orders,
            tasks: Mutex::new(tasks),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All counters, and the sockets that are open.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// The log. It is empty where [`Config::keep_log`] is false.
    #[must_use]
    pub fn log(&self) -> Log {
        Log(Arc::clone(&self.shared.book))
    }

    /// The names of all rooms, without `#`, in order.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.shared.book.rooms().to_vec()
    }

    /// Returns once a snapshot holds what is asked for. It waits for ever; whoever calls it
    /// gives it a deadline.
    pub async fn until(&self, holds: impl Fn(&Snapshot) -> bool) {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            if holds(&self.snapshot()) {
                return;
            }
        }
    }

    /// Sets how many lines are said in a second, over all rooms. 0 is silence: after it has
    /// returned no line is generated, except by [`Simulator::generate`].
    pub fn set_rate(&self, lines_per_second: u32) {
        self.shared.set_rate(lines_per_second);
    }

    /// Generates so many lines as fast as the sockets take them, whatever the rate. Returns when
    /// the last one waits for its sockets.
    pub async fn generate(&self, lines: u64) {
        self.shared.generate(lines, false).await;
    }

    /// Stops generation and waits until everything is in the hands of the kernel. A stalled
    /// socket is waited for, and so is one whose client does not read; sockets that are no more
    /// are not. Whoever calls it gives it a deadline.
    pub async fn quiesce(&self) {
        self.set_rate(0);
        let sockets = self.shared.hall().sockets(Target::All);
        for socket in sockets {
            socket.until(|outbox| outbox.waiting() == 0).await;
        }
    }

    /// Stops generation, and waits until every client that has logged in has answered a PING that
    /// came after everything else: then it has read all of it. Sockets that are no more are not
    /// waited for. Whoever calls it gives it a deadline.
    pub async fn acknowledged(&self) {
        self.set_rate(0);
        let sockets = self.shared.hall().sockets(Target::All);
        let mut asked = Vec::new();
        for socket in sockets {
            if socket.outbox().nick().is_some() && socket.say(dialect::PING, Caps::NONE) {
                let upto = socket.outbox().queued();
                socket.changed.notify_one();
                asked.push((socket, upto));
            }
        }
        for (socket, upto) in asked {
            let is_read = |acknowledged: u64| acknowledged >= upto;
            socket
                .until(|outbox| is_read(outbox.tide().acknowledged))
                .await;
        }
    }

    /// Stops: nobody is accepted any more, and all sockets are closed in order, after what waits
    /// for them. Those whose clients do not close in time ([`Config::close_within`]) are dropped.
    /// Returns the last state of all counters. A second call changes nothing.
    pub async fn stop(&self) -> Snapshot {
        self.set_rate(0);
        let (answer, done) = oneshot::channel();
        if self.orders.send(Order::Stop(answer)).await.is_ok() {
            // No answer means that the task has ended, which is what was asked for.
            let _ = done.await;
        }
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.snapshot()
    }

    pub(crate) async fn listen(&self, listens: bool) -> io::Result<()> {
        let stopped = || io::Error::new(io::ErrorKind::NotConnected, "the simulator was stopped");
        let (answer, done) = oneshot::channel();
        let order = Order::Listen(listens, answer);
        self.orders.send(order).await.map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())?
    }
}
