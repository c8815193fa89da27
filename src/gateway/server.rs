//! The server: takes connections, serves them, and lets go of them when it is to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::limits::Limits;
use super::patient::Patient;
use super::problem::{MEDIA_TYPE, OVERLOADED, Problem};
use super::router::router;
use super::view::View;
use super::watch::watch;

/// The first wait after a connection could not be taken.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// The longest wait after a connection could not be taken.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The buffer of a connection, and so the most that a head may have before it is read. More than
/// [`Limits::header_bytes`], so that who goes beyond that hears why.
const BUFFER_BYTES: usize = 64 * 1024;
/// As many headers as are read. More than [`Limits::headers`], for the same reason.
const PARSED_HEADERS: usize = 256;
/// The gateway.
pub struct Gateway;

/// A gateway that has its socket and serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

/// The gateway cannot have its socket.
#[derive(Debug, thiserror::Error)]
#[error("the gateway cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address that was wanted.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

impl Gateway {
    /// Takes the socket.
    ///
    /// # Errors
    /// Where the address is taken or not ours.
    pub async fn bind(address: SocketAddr, limits: Limits) -> Result<Bound, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound {
            listener,
            address,
            limits,
        })
    }
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is told to stop; then takes no more connections, gives open requests
    /// [`Limits::stop_time`], and ends. Dropping the future ends all of it at once.
    ///
    /// # Errors
    /// Where there is a defect; whoever supervises the gateway starts it again.
    pub async fn serve(self, view: View, stop: CancellationToken) -> Result<(), ServeError> {
        let (router, app) = router(view, self.limits)?;
        // Nobody is told how the store is before it was asked.
        app.look().await;
        let mut watching = JoinSet::new();
        watching.spawn(watch(Arc::clone(&app)));
        // A child, so that what is cancelled here is not the caller's.
        let ending = stop.child_token();
        let mut server = Server {
            connections: JoinSet::new(),
            router,
            app,
            stop: ending.clone(),
        };
        let served = tokio::select! {
            () = stop.cancelled() => Ok(()),
            // It has no end but a panic.
            Some(ended) = watching.join_next() => ended.map_err(ServeError::Watch),
            never = server.accept_all(&self.listener) => match never {},
        };
        drop(self.listener);
        // Also where it ends by a defect: what was asked is answered.
        ending.cancel();
        server.finish().await;
        served
    }
}

/// The gateway has a defect.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What it says of itself cannot be written.
    #[error("the OpenAPI document cannot be written: {0}")]
    Document(#[from] serde_json::Error),
    /// Nobody looks at the parts of the process any more.
    #[error("the watch over the process ended: {0}")]
    Watch(tokio::task::JoinError),
}

/// Where connections come from.
trait Source {
    async fn next(&self) -> io::Result<TcpStream>;
}

impl Source for TcpListener {
    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(socket, _)| socket)
    }
}

struct Server {
    connections: JoinSet<()>,
    router: Router,
    app: Arc<App>,
    stop: CancellationToken,
}

impl Server {
    /// Takes connections for ever. Every error is survived: the process may be out of descriptors
    /// for a while, and is asked for more of them at a bounded rate.
    async fn accept_all(&mut self, source: &impl Source) -> Infallible {
        let mut wait = FIRST_WAIT;
        loop {
            let taken = tokio::select! {
                biased;
                Some(ended) = self.connections.join_next() => {
                    self.ended(ended);
                    continue;
                }
                taken = source.next() => taken,
            };
            match taken {
                Ok(socket) => {
                    wait = FIRST_WAIT;
                    self.serve(socket);
                }
                Err(error) => {
                    self.app.meters.accept_failed();
                    // It came and went again before it was taken; the next may be waiting.
                    if is_of_the_client(&error) {
                        continue;
                    }
                    tracing::warn!(%error, "a connection cannot be taken");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    fn serve(&mut self, socket: TcpStream) {
        let limits = &self.app.limits;
        if self.connections.len() >= limits.connections {
            self.app.meters.refused("connections");
            // Into the buffer of a new socket it goes at once, or not at all.
            let _ = socket.try_write(&too_many(limits));
            return;
        }
        // Without it an answer may wait for the client's acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
        let socket = TokioIo::new(Patient::new(socket, limits.write_time));
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_buf_size(BUFFER_BYTES)
            .max_headers(PARSED_HEADERS)
            .keep_alive(true)
            .serve_connection(socket, service);
        let (stop, stop_time) = (self.stop.clone(), limits.stop_time);
        self.connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            // How it ended is the client's affair: it hung up, was too slow, or spoke no HTTP.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = stop.cancelled() => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(stop_time, connection).await;
        });
        self.app.meters.connections(self.connections.len());
    }

    fn ended(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "the task of a connection ended");
        }
        self.app.meters.connections(self.connections.len());
    }

    /// Waits until the open connections have ended, each in its time.
    async fn finish(mut self) {
        while let Some(ended) = self.connections.join_next().await {
            self.ended(ended);
        }
    }
}

/// What the connection that is one too many is told, as it goes over the wire.
fn too_many(limits: &Limits) -> Vec<u8> {
    let detail = format!("expected at most {} open connections", limits.connections);
    let problem = Problem::new(OVERLOADED, detail);
    let body = problem.body();
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n",
        OVERLOADED.status,
        body.len()
    );
    [head.into_bytes(), body].concat()
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::routing::get;
    use twzrd_actors::status::{ChannelStatus, ConnectionStatus, IntakeCounts};
    use twzrd_domain::epoch::EpochLength;
    use twzrd_testkit::fake::{ManualClock, MemoryStore};

    use super::super::view::Ingest;
    use super::*;
    use crate::gateway::{SettlementFacts, SettlementView};

    struct Nothing;

    impl Ingest for Nothing {
        fn channels(&self) -> Vec<ChannelStatus> {
            Vec::new()
        }

        fn connections(&self) -> Vec<ConnectionStatus> {
            Vec::new()
        }

        fn intake(&self) -> IntakeCounts {
            IntakeCounts::default()
        }
    }

    fn app() -> Arc<App> {
        let store = Arc::new(MemoryStore::default());
        let view = View {
            version: "0",
            epoch_length: EpochLength::HOUR,
            clock: Arc::new(ManualClock::default()),
            tree: Arc::new(|| unreachable!("nobody asks for it")),
            dynamic: Vec::new(),
            journal: Arc::new(|| unreachable!("nobody asks for it")),
            store: store.clone(),
            probe: store.clone(),
            ingest: Arc::new(Nothing),
            settlement: SettlementView {
                store,
                root: twzrd_domain::settlement::RootKind::Claim,
                facts: Arc::new(SettlementFacts::default),
            },
            lag_bound: 0,
            admin: None,
        };
        router(view, Limits::default()).unwrap().1
    }

    /// Fails as a process without descriptors does, before it gives what waits.
    struct Failing {
        errors: AtomicU32,
        listener: TcpListener,
    }

    impl Source for Failing {
        async fn next(&self) -> io::Result<TcpStream> {
            const EMFILE: i32 = 24;
            if self.errors.load(Ordering::SeqCst) == 0 {
                return self.listener.next().await;
            }
            match self.errors.fetch_sub(1, Ordering::SeqCst) {
                1 => Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Err(io::Error::from_raw_os_error(EMFILE)),
            }
        }
    }

    #[tokio::test]
    async fn whoever_waits_while_there_are_no_descriptors_is_served_after() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = Failing {
            errors: AtomicU32::new(4),
            listener,
        };
        let app = app();
        let mut server = Server {
            connections: JoinSet::new(),
            router: Router::new().route("/", get(async || "served")),
            app: Arc::clone(&app),
            stop: CancellationToken::new(),
        };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = async {
            let got = client.get(format!("http://{address}/")).send().await;
            got.unwrap().text().await.unwrap()
        };
        let answer = tokio::select! {
            never = server.accept_all(&source) => match never {},
            answer = asked => answer,
        };
        assert_eq!((answer.as_str(), app.meters.accept_errors()), ("served", 4));
    }
}
