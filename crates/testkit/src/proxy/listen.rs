//! The task that listens, and owns the tasks of all connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Refusal;
use super::link;
use super::shared::Shared;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long to wait after a failure of the system to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What the listening task is told. Each is answered once it is done.
pub(super) enum Order {
    Admit(Result<(), Refusal>, oneshot::Sender<io::Result<()>>),
    Stop(oneshot::Sender<()>),
}

/// The port: open, kept without anybody who listens, or lost.
enum Port {
    Open(TcpListener),
    /// Holding the socket keeps the port.
    Kept(TcpSocket),
    Lost,
}

pub(super) struct Listener {
    shared: Arc<Shared>,
    address: SocketAddr,
    port: Port,
    admitted: Result<(), Refusal>,
    links: JoinSet<()>,
}

impl Listener {
    pub(super) fn open(shared: Arc<Shared>) -> io::Result<Self> {
        let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self {
            address: listener.local_addr()?,
            port: Port::Open(listener),
            admitted: Ok(()),
            links: JoinSet::new(),
            shared,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until it is told to stop.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                // An order that was given before a connection came holds for it.
                biased;
                order = orders.recv() => match order {
                    Some(Order::Admit(admitted, answer)) => {
                        // Nobody waits for the answer where the asker has been dropped.
                        let _ = answer.send(self.admit(admitted));
                    }
                    Some(Order::Stop(answer)) => {
                        self.port = Port::Lost;
                        self.links.shutdown().await;
                        let _ = answer.send(());
                        return;
                    }
                    None => return,
                },
                Some(_) = self.links.join_next() => {}
                accepted = accept(&self.port) => match accepted {
                    Ok(client) => self.take(client),
                    Err(_) => {
                        self.shared.counters.accept_errors.add(1);
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn take(&mut self, client: TcpStream) {
        let is_refused = self.admitted.is_err();
        match self.shared.open_link().filter(|_| !is_refused) {
            Some(link) => {
                self.shared.counters.accepted.add(1);
                self.links.spawn(link::run(link, client));
            }
            None => {
                self.shared.counters.refused.add(1);
                link::reset(&client);
            }
        }
    }

    fn admit(&mut self, admitted: Result<(), Refusal>) -> io::Result<()> {
        self.admitted = admitted;
        let listens = admitted != Err(Refusal::NotListening);
        if matches!(self.port, Port::Open(_)) == listens {
            return Ok(());
        }
        let socket = match std::mem::replace(&mut self.port, Port::Lost) {
            Port::Kept(socket) => socket,
            Port::Open(listener) => {
                // It ends here, before its port is taken again.
                drop(listener);
                bound(self.address)?
            }
            Port::Lost => bound(self.address)?,
        };
        self.port = if listens {
            Port::Open(socket.listen(BACKLOG)?)
        } else {
            Port::Kept(socket)
        };
        Ok(())
    }
}

async fn accept(port: &Port) -> io::Result<TcpStream> {
    match port {
        Port::Open(listener) => Ok(listener.accept().await?.0),
        Port::Kept(_) | Port::Lost => std::future::pending().await,
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that are open, or were a moment ago, do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
