//! What the gateway takes on at most.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twzrd::gateway::{Gateway, Limits, ServeError, StoreProbe, View};
use twzrd_domain::ports::StoreError;
use twzrd_domain::record::Seq;

use crate::world::{Got, Served, TOKEN, World, limits, serve};

/// Sends bytes as they are, and reads all that comes until the connection ends.
async fn raw(served: &Served, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    rest(&mut socket).await
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    match socket.read_to_end(&mut read).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn headers_are_bounded_by_number_and_by_size() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let mut many = served.client.get(served.url("/health"));
    for n in 0..70 {
        many = many.header(format!("x-{n}"), "1");
    }
    let got = Got::of(many).await;
    assert_eq!(got.problem(), (431, "headers_too_large".to_owned()));
    let long = "a".repeat(17_000);
    let got = Got::of(
        served
            .client
            .get(served.url("/health"))
            .header("x-long", &long),
    )
    .await;
    assert_eq!(got.problem(), (431, "headers_too_large".to_owned()));
    let got = served.get(&format!("/health?{long}")).await;
    assert_eq!(got.problem(), (431, "headers_too_large".to_owned()));
    // Beyond what is read at all there is an answer too, though not in so many words.
    let mut huge = b"GET /health HTTP/1.1\r\nhost: x\r\nx-huge: ".to_vec();
    huge.extend("a".repeat(200_000).bytes());
    let told = raw(&served, &huge).await;
    assert!(
        told.is_empty() || told.starts_with("HTTP/1.1 431"),
        "{told}"
    );
}

#[tokio::test]
async fn bodies_are_bounded_whether_or_not_their_length_is_told() {
    let world = World::new();
    let served = serve(world.view_with_admin(), limits()).await;
    let post = || {
        let request = served.client.post(served.url("/admin/channels"));
        request
            .bearer_auth(TOKEN)
            .header("content-type", "application/json")
    };
    let got = Got::of(post().body(" ".repeat(65_537))).await;
    assert_eq!(got.problem(), (413, "body_too_large".to_owned()));
    let mut chunked = format!(
        "POST /admin/channels HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    for _ in 0..5 {
        chunked += &format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    }
    chunked += "0\r\n\r\n";
    let told = raw(&served, chunked.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    assert!(told.contains("body_too_large"), "{told}");
    let got = Got::of(post().body(format!("{}{{}}", " ".repeat(65_534)))).await;
    assert_eq!(got.status, 200);
    assert_eq!(world.admin.edits.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_sends_slowly_is_let_go() {
    let world = World::new();
    let bounds = Limits {
        header_time: Duration::from_millis(100),
        body_time: Duration::from_millis(100),
        ..limits()
    };
    let served = serve(world.view_with_admin(), bounds).await;
    for begin in ["", "GET /health HT", "GET /health HTTP/1.1\r\nhost: x\r\n"] {
        let told = raw(&served, begin.as_bytes()).await;
        assert!(
            told.is_empty() || told.starts_with("HTTP/1.1 408"),
            "{told}"
        );
    }
    let slow = format!(
        "POST /admin/channels HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: 10\r\nconnection: close\r\n\r\n{{"
    );
    let told = raw(&served, slow.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(told.contains("body_timeout"), "{told}");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_the_next_after_an_end_is_served() {
    let world = World::new();
    let bounds = Limits {
        connections: 2,
        ..limits()
    };
    let served = serve(world.view(), bounds).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket
            .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        open.push(socket);
    }
    let mut third = TcpStream::connect(served.address).await.unwrap();
    let told = rest(&mut third).await;
    assert!(
        told.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{told}"
    );
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())));
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], "overloaded");
    drop(open);
    let again = async {
        loop {
            let got = served.client.get(served.url("/health")).send().await;
            if got.is_ok_and(|got| got.status() == 200) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .unwrap();
    let metrics = served.get("/metrics").await.text;
    assert!(
        metrics.contains("twzrd_http_refused_total{bound=\"connections\"}"),
        "{metrics}"
    );
}

/// A view whose `/actors` is answered only once it is let go.
struct Held {
    entered: Arc<Barrier>,
    let_go: Arc<Barrier>,
}

impl Held {
    fn view(world: &World) -> (Self, View) {
        let barrier = || Arc::new(Barrier::new(2));
        let held = Self {
            entered: barrier(),
            let_go: barrier(),
        };
        let (entered, let_go) = (Arc::clone(&held.entered), Arc::clone(&held.let_go));
        let tree = world.tree.lock().unwrap().clone();
        let view = View {
            // Whatever else this thread of the runtime was about to do is done by another.
            tree: Arc::new(move || {
                tokio::task::block_in_place(|| {
                    entered.wait();
                    let_go.wait();
                });
                tree.clone()
            }),
            ..world.view()
        };
        (held, view)
    }

    async fn pass(barrier: &Arc<Barrier>) {
        let barrier = Arc::clone(barrier);
        let passed = tokio::task::spawn_blocking(move || barrier.wait());
        passed.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_request_too_many_is_refused_at_once() {
    let world = World::new();
    let (held, view) = Held::view(&world);
    let bounds = Limits {
        requests: 1,
        ..limits()
    };
    let served = serve(view, bounds).await;
    let second = async {
        Held::pass(&held.entered).await;
        let got = served.get("/health").await;
        Held::pass(&held.let_go).await;
        got
    };
    let (first, second) = tokio::join!(served.get("/actors"), second);
    assert_eq!(first.status, 200);
    assert_eq!(second.problem(), (503, "overloaded".to_owned()));
    assert_eq!(served.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let world = World::new();
    let bounds = Limits {
        request_time: Duration::from_secs(1),
        store_time: Duration::from_secs(60),
        ..limits()
    };
    let served = serve(world.view(), bounds).await;
    assert_eq!(served.get("/health").await.status, 200);
    world.store.faults().hold();
    let got = served.get("/api/v1/epochs").await;
    assert_eq!(got.problem(), (503, "timeout".to_owned()));
    world.store.faults().release();
    assert_eq!(served.get("/api/v1/epochs").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_answers_what_was_asked_and_takes_nothing_more() {
    let world = World::new();
    let (held, view) = Held::view(&world);
    let mut served = serve(view, limits()).await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    let stopped = async {
        Held::pass(&held.entered).await;
        served.stop.cancel();
        // A connection that asks for nothing is let go at once.
        assert_eq!(rest(&mut idle).await, "");
        Held::pass(&held.let_go).await;
    };
    let (got, ()) = tokio::join!(served.get("/actors"), stopped);
    assert_eq!(got.status, 200);
    let ended = tokio::time::timeout(Duration::from_secs(20), served.tasks.join_next());
    ended.await.unwrap().unwrap().unwrap().unwrap();
    let late = TcpStream::connect(served.address).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Panics when it is asked for the second time.
struct Broken(AtomicU32);

#[async_trait]
impl StoreProbe for Broken {
    async fn offset(&self) -> Result<Seq, StoreError> {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0);
        Ok(0)
    }
}

#[tokio::test]
async fn a_gateway_that_no_longer_watches_ends_so_that_it_is_started_again() {
    let world = World::new();
    let view = View {
        probe: Arc::new(Broken(AtomicU32::new(0))),
        ..world.view()
    };
    let mut served = serve(view, limits()).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), served.tasks.join_next());
    let ended = ended.await.unwrap().unwrap().unwrap();
    assert!(matches!(ended, Err(ServeError::Watch(error)) if error.is_panic()));
    assert!(!served.stop.is_cancelled());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let refused = Gateway::bind(served.address, limits()).await.unwrap_err();
    let told = format!("{refused}");
    let expected = format!("the gateway cannot listen on {}: ", served.address);
    assert!(told.starts_with(&expected), "{told}");
    assert_eq!(refused.source.kind(), ErrorKind::AddrInUse);
}
