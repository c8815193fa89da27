//! The subscription over real WebSockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests spawn their own servers"
)]
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{Message, WebSocket as Socket};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use twzrd_chain::activity::{SILENCE, SocketConfig, Subscriber, WebSocket};
use twzrd_chain::program::Program;
use twzrd_domain::chain::{ChainError, Subscription};

const KEY: &str = "0123-secret-4567";

/// What a server does.
#[derive(Clone, Debug, PartialEq)]
enum Say {
    Log,
    Slot,
    Text(String),
    Close,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Well,
    /// It takes the socket and answers nothing.
    Mute,
    RefusesUpgrade,
    RefusesSubscription,
    /// It tells a slot all the time.
    Ticks,
}

struct Server {
    url: String,
    say: broadcast::Sender<Say>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

async fn server(manner: Manner) -> Server {
    let (say, _) = broadcast::channel(1024);
    let open = Arc::new(AtomicUsize::new(0));
    let (said, counter) = (say.clone(), Arc::clone(&open));
    let upgrade = move |ws: WebSocketUpgrade| {
        let (said, counter) = (said.subscribe(), Arc::clone(&counter));
        async move {
            if manner == Manner::RefusesUpgrade {
                return (StatusCode::FORBIDDEN, format!("bad key {KEY}")).into_response();
            }
            ws.on_upgrade(move |socket| async move {
                counter.fetch_add(1, Ordering::SeqCst);
                serve(socket, said, manner).await;
                counter.fetch_sub(1, Ordering::SeqCst);
            })
        }
    };
    let router = Router::new().fallback(any(upgrade));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/{KEY}?key={KEY}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server {
        url,
        say,
        open,
        _tasks: tasks,
    }
}

fn notification(method: &str, id: u64, result: &Value) -> Message {
    let params = json!({"result": result, "subscription": id});
    let text = json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string();
    Message::Text(text.into())
}

fn slot() -> Message {
    notification(
        "slotNotification",
        2,
        &json!({"parent": 1, "root": 0, "slot": 2}),
    )
}

async fn serve(mut socket: Socket, mut said: broadcast::Receiver<Say>, manner: Manner) {
    let tick = if manner == Manner::Ticks {
        Duration::from_millis(20)
    } else {
        Duration::MAX
    };
    loop {
        let sent = tokio::select! {
            () = tokio::time::sleep(tick) => socket.send(slot()).await,
            say = said.recv() => match say.unwrap() {
                Say::Log => {
                    let value = json!({"signature": "s", "err": null, "logs": []});
                    let result = json!({"context": {"slot": 2}, "value": value});
                    socket.send(notification("logsNotification", 1, &result)).await
                }
                Say::Slot => socket.send(slot()).await,
                Say::Text(text) => socket.send(Message::Text(text.into())).await,
                Say::Close => return,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => match answer(&text, manner) {
                    Some(answer) => socket.send(Message::Text(answer.into())).await,
                    None => Ok(()),
                },
                Some(Ok(_)) => Ok(()),
                _ => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

fn answer(text: &str, manner: Manner) -> Option<String> {
    let request: Value = serde_json::from_str(text).unwrap();
    let id = &request["id"];
    let subscription = match request["method"].as_str().unwrap() {
        "logsSubscribe" => {
            let mentions = json!({"mentions": [Program::default().id.to_string()]});
            assert_eq!(
                request["params"],
                json!([mentions, {"commitment": "finalized"}])
            );
            1
        }
        "slotSubscribe" => 2,
        other => panic!("{other}"),
    };
    match manner {
        Manner::Mute => None,
        Manner::RefusesSubscription => {
            let error = json!({"code": -32601, "message": format!("not with {KEY}")});
            Some(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
        }
        _ => Some(json!({"jsonrpc": "2.0", "id": id, "result": subscription}).to_string()),
    }
}

fn config() -> SocketConfig {
    SocketConfig {
        connect_timeout: Duration::from_millis(500),
        silence: Duration::from_millis(400),
    }
}

fn sockets(servers: &[&Server], config: SocketConfig) -> WebSocket {
    let urls: Vec<String> = servers.iter().map(|server| server.url.clone()).collect();
    WebSocket::new(&urls, Program::default().id, config).unwrap()
}

async fn next(subscription: &mut Box<dyn Subscription>) -> Result<(), ChainError> {
    let next = subscription.next();
    tokio::time::timeout(Duration::from_secs(20), next)
        .await
        .expect("an end or news")
}

fn shows_no_key(error: &ChainError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("ws://127.0.0.1:"), "{shown}");
    assert!(error.is_transient(), "{shown}");
}

#[test]
fn a_dead_socket_is_noticed_within_thirty_seconds() {
    assert!(SILENCE <= Duration::from_secs(30));
    assert_eq!(SocketConfig::default().silence, SILENCE);
    assert!(SocketConfig::default().connect_timeout <= Duration::from_secs(10));
}

#[tokio::test]
async fn a_log_is_news_and_a_slot_is_not() {
    let server = server(Manner::Well).await;
    let long = SocketConfig {
        silence: Duration::from_secs(20),
        ..config()
    };
    let mut live = sockets(&[&server], long).subscribe().await.unwrap();
    server.say.send(Say::Slot).unwrap();
    server.say.send(Say::Log).unwrap();
    next(&mut live).await.unwrap();
    server.say.send(Say::Slot).unwrap();
    server.say.send(Say::Close).unwrap();
    // The slot before the end was no news.
    shows_no_key(&next(&mut live).await.unwrap_err());
}

#[tokio::test]
async fn a_socket_that_goes_silent_is_given_up_and_closed() {
    let server = server(Manner::Well).await;
    let mut live = sockets(&[&server], config()).subscribe().await.unwrap();
    server.say.send(Say::Log).unwrap();
    next(&mut live).await.unwrap();
    let error = next(&mut live).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("neither log nor slot within 400ms"),
        "{error}"
    );
    shows_no_key(&error);
    drop(live);
    let closed = async {
        while server.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .unwrap();
}

#[tokio::test]
async fn slots_keep_a_quiet_subscription_alive() {
    let server = server(Manner::Ticks).await;
    let mut live = sockets(&[&server], config()).subscribe().await.unwrap();
    let silent = tokio::time::timeout(config().silence * 3, live.next()).await;
    assert!(silent.is_err(), "neither news nor an end");
    server.say.send(Say::Log).unwrap();
    next(&mut live).await.unwrap();
}

#[tokio::test]
async fn logs_that_nobody_waits_for_become_one_hint() {
    let server = server(Manner::Well).await;
    let mut live = sockets(&[&server], config()).subscribe().await.unwrap();
    for _ in 0..500 {
        server.say.send(Say::Log).unwrap();
    }
    server.say.send(Say::Close).unwrap();
    let mut news = 0;
    while next(&mut live).await.is_ok() {
        news += 1;
    }
    assert!((1..=500).contains(&news), "{news}");
}

#[tokio::test]
async fn nonsense_ends_a_subscription_or_does_not_keep_it_alive() {
    let nonsense = [
        "no json",
        "[]",
        "{\"id\":\"x\"}",
        "{\"id\":99,\"result\":1}",
        "{\"method\":\"slotNotification\",\"params\":{\"subscription\":2,\"result\":\"x\"}}",
        "{\"method\":\"logsNotification\",\"params\":{\"subscription\":1,\"result\":{}}}",
        "{\"method\":\"logsNotification\",\"params\":{\"subscription\":77,\"result\":{}}}",
    ];
    for text in nonsense {
        let server = server(Manner::Well).await;
        let mut live = sockets(&[&server], config()).subscribe().await.unwrap();
        server.say.send(Say::Text(text.to_owned())).unwrap();
        shows_no_key(&next(&mut live).await.unwrap_err());
    }
}

#[tokio::test]
async fn a_server_that_does_not_take_the_subscription_is_followed_by_the_next() {
    for manner in [
        Manner::Mute,
        Manner::RefusesUpgrade,
        Manner::RefusesSubscription,
    ] {
        let (ill, good) = (server(manner).await, server(Manner::Well).await);
        let error = sockets(&[&ill], config()).subscribe().await.err().unwrap();
        shows_no_key(&error);
        let both = sockets(&[&ill, &good], config());
        let mut live = both.subscribe().await.unwrap();
        good.say.send(Say::Log).unwrap();
        next(&mut live).await.unwrap();
    }
}

#[tokio::test]
async fn the_next_subscription_begins_with_the_next_url() {
    let (a, b) = (server(Manner::Ticks).await, server(Manner::Ticks).await);
    let both = sockets(&[&a, &b], config());
    let _first = both.subscribe().await.unwrap();
    assert_eq!(
        (a.open.load(Ordering::SeqCst), b.open.load(Ordering::SeqCst)),
        (1, 0)
    );
    let _second = both.subscribe().await.unwrap();
    assert_eq!(
        (a.open.load(Ordering::SeqCst), b.open.load(Ordering::SeqCst)),
        (1, 1)
    );
    let shown = format!("{both:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_url_that_is_none_is_refused_without_being_shown() {
    let program = Program::default().id;
    for url in [format!("http://host/{KEY}"), KEY.to_owned()] {
        let error = WebSocket::new(&[url], program, config()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(WebSocket::new(&[], program, config()).is_err());
}
