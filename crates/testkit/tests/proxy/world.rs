//! A proxy of which the test holds both ends.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use twzrd_testkit::proxy::{Config, Handle, Proxy, Snapshot};

/// Nothing here takes as long.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) proxy: Proxy,
    pub(crate) server: TcpListener,
}

/// Both ends of a connection through the proxy.
pub(crate) struct Pair {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::bytes(server.local_addr().unwrap().to_string());
        change(&mut config);
        let proxy = Proxy::start(config).unwrap();
        Self { proxy, server }
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.proxy.handle()
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        soon(TcpStream::connect(self.proxy.address())).await
    }

    pub(crate) async fn pair(&self) -> Pair {
        let client = self.connect().await.unwrap();
        let (server, _) = soon(self.server.accept()).await.unwrap();
        Pair { client, server }
    }

    pub(crate) async fn until(&self, holds: impl Fn(&Snapshot) -> bool) {
        soon(self.handle().until(holds)).await;
    }
}

impl Pair {
    /// Says something each way, and hears it.
    pub(crate) async fn works(&mut self) {
        say(&mut self.client, b"ping").await;
        assert_eq!(hear(&mut self.server, 4).await, b"ping");
        say(&mut self.server, b"pong").await;
        assert_eq!(hear(&mut self.client, 4).await, b"pong");
    }

    /// Both ends have an RST, and nothing before it.
    pub(crate) async fn is_reset(&mut self) {
        for end in [&mut self.client, &mut self.server] {
            let error = soon(end.read_u8()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
}

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.expect("it came to no end within the deadline")
}

pub(crate) async fn say(end: &mut TcpStream, bytes: &[u8]) {
    soon(end.write_all(bytes)).await.unwrap();
}

pub(crate) async fn hear(end: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut heard = vec![0; bytes];
    soon(end.read_exact(&mut heard)).await.unwrap();
    heard
}

/// All up to the FIN.
pub(crate) async fn hear_all(end: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    soon(end.read_to_end(&mut heard)).await.unwrap();
    heard
}

/// Nothing has come, although the proxy, which runs on the same thread, had its turns.
pub(crate) async fn hears_nothing(end: &TcpStream) {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    let error = end.try_read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
