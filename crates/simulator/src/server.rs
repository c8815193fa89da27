//! The task that listens, and owns the tasks of all sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::counters::Reason;
use crate::fault::{Refusal, Target};
use crate::outbox::Close;
use crate::session;
use crate::shared::Shared;
use crate::socket::Socket;

/// How many sockets may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long to wait after a failure of the system to accept a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What the listening task is told. Each is answered once it is done.
pub(crate) enum Order {
    Listen(bool, oneshot::Sender<io::Result<()>>),
    Stop(oneshot::Sender<()>),
}

/// The port: open, kept without anybody who listens, or lost.
enum Port {
    Open(TcpListener),
    Kept(TcpSocket),
    Lost,
}

pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    port: Port,
    sessions: JoinSet<()>,
    accepted: u64,
}

impl Server {
    /// Listens.
    pub(crate) fn open(shared: Arc<Shared>) -> io::Result<Self> {
        let socket = bound(shared.config.listen, shared.config.send_buffer_bytes)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self {
            address: listener.local_addr()?,
            port: Port::Open(listener),
            sessions: JoinSet::new(),
            accepted: 0,
            shared,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts sockets until it is told to stop.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Listen(listens, answer)) => {
                        // Nobody waits for the answer where the asker has been dropped.
                        let _ = answer.send(self.listen(listens));
                    }
                    Some(Order::Stop(answer)) => {
                        self.stop().await;
                        let _ = answer.send(());
                        return;
                    }
                    None => return,
                },
                accepted = accept(&self.port) => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => {
                        self.shared.counters.accept_errors.add(1);
                        tracing::warn!(%error, "a socket could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.sessions.join_next() => {}
            }
        }
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        let shared = &self.shared;
        let mut hall = shared.hall();
        let is_closed = hall.weather.refusal.is_some();
        if is_closed || hall.members.len() >= shared.config.sockets {
            shared.counters.refused.add(1);
            return;
        }
        shared.counters.accepted.add(1);
        self.accepted += 1;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a socket is gone already");
        }
        let socket = Socket::new(
            (self.accepted, peer),
            (shared.config.outbox_bytes, shared.when_full()),
            (shared.times(), shared.config.seed ^ self.accepted << 32),
            Arc::clone(&shared.book),
        );
        let socket = Arc::new(socket);
        shared.book.keep(&socket);
        hall.enter(Arc::clone(&socket));
        drop(hall);
        self.sessions
            .spawn(session::run(Arc::clone(shared), socket, stream));
    }

    /// Gives the port up for connections, but keeps it, or takes it into service again.
    fn listen(&mut self, listens: bool) -> io::Result<()> {
        let is_open = matches!(self.port, Port::Open(_));
        if is_open == listens {
            return Ok(());
        }
        let port = std::mem::replace(&mut self.port, Port::Lost);
        let socket = match port {
            Port::Kept(socket) => socket,
            Port::Open(listener) => {
                // It ends here, before its port is taken again.
                drop(listener);
                bound(self.address, self.shared.config.send_buffer_bytes)?
            }
            Port::Lost => bound(self.address, self.shared.config.send_buffer_bytes)?,
        };
        self.port = if listens {
            Port::Open(socket.listen(BACKLOG)?)
        } else {
            Port::Kept(socket)
        };
        Ok(())
    }

    /// Closes all sockets in order, as far as their clients let it in time.
    async fn stop(&mut self) {
        self.port = Port::Lost;
        let sockets = self.shared.hall().sockets(Target::All);
        for socket in sockets {
            socket.close(Close::Orderly, Reason::Stopped, Instant::now());
        }
        // Once to write what waits, once for the clients to close, and a little more.
        let within = 2 * self.shared.config.close_within + Duration::from_secs(1);
        let deadline = Instant::now() + within;
        while let Ok(Some(_)) = timeout_at(deadline, self.sessions.join_next()).await {}
        self.sessions.shutdown().await;
    }
}

async fn accept(port: &Port) -> io::Result<(TcpStream, SocketAddr)> {
    match port {
        Port::Open(listener) => listener.accept().await,
        Port::Kept(_) | Port::Lost => std::future::pending().await,
    }
}

/// True where a refusal leaves the port open.
pub(crate) const fn listens(refusal: Option<Refusal>) -> bool {
    !matches!(refusal, Some(Refusal::NotListening))
}

fn bound(address: SocketAddr, send_buffer_bytes: Option<u32>) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Sockets that were closed a moment ago do not keep the port.
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = send_buffer_bytes {
        // Accepted sockets take it over.
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(address)?;
    Ok(socket)
}
