//! The pool over real HTTP servers.
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
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use twzrd_chain::rpc::{MAX_RESPONSE_BYTES, Pool, PoolConfig, Status, chain_error};

const KEY: &str = "0123-secret-4567";

/// A server that answers every request the same way.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

async fn server<F>(answer: F) -> Server
where
    F: Fn(Value) -> Response + Clone + Send + Sync + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let router = Router::new().fallback(move |body: String| async move {
        let request: Value = serde_json::from_str(&body).unwrap();
        counter.fetch_add(1, Ordering::SeqCst);
        answer(request)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://user:{KEY}@{}/v1/{KEY}/?api-key={KEY}",
        listener.local_addr().unwrap()
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server {
        url,
        asked,
        _tasks: tasks,
    }
}

fn result(request: &Value) -> Response {
    let result = match request["method"].as_str() {
        Some("getSlot") => json!(100),
        _ => json!({"context": {"slot": 100}, "value": 5}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
    answer.to_string().into_response()
}

fn error(request: &Value, code: i64, message: &str) -> Response {
    json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}})
        .to_string()
        .into_response()
}

async fn good() -> Server {
    server(|request| result(&request)).await
}

fn pool(urls: &[&str]) -> Pool {
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    Pool::http(&urls, Duration::from_millis(500), PoolConfig::default()).unwrap()
}

fn endless() -> Response {
    let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
    Body::from_stream(chunks).into_response()
}

/// The first chunk of an answer, and then nothing.
fn stalling() -> Response {
    use futures::StreamExt as _;
    let start = futures::stream::iter([Ok::<_, std::io::Error>(b"{\"jsonrpc\"".to_vec())]);
    Body::from_stream(start.chain(futures::stream::pending())).into_response()
}

type Answer = fn(Value) -> Response;

const ILL: [(&str, Answer, Status); 14] = [
    (
        "429",
        |_| StatusCode::TOO_MANY_REQUESTS.into_response(),
        Status::RateLimited,
    ),
    (
        "429 with a wait",
        |_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "100")]).into_response(),
        Status::RateLimited,
    ),
    (
        "503",
        |_| StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Status::Error,
    ),
    (
        "500",
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Status::Error,
    ),
    (
        "403",
        |_| (StatusCode::FORBIDDEN, format!("bad key {KEY}")).into_response(),
        Status::Error,
    ),
    (
        "a redirect",
        |_| {
            (
                StatusCode::TEMPORARY_REDIRECT,
                [("location", "http://127.0.0.1:1/")],
            )
                .into_response()
        },
        Status::Error,
    ),
    (
        "html",
        |_| format!("<html>{KEY}</html>").into_response(),
        Status::Error,
    ),
    ("no object", |_| "[1,2]".into_response(), Status::Error),
    ("an empty object", |_| "{}".into_response(), Status::Error),
    (
        "another's answer",
        |r| result(&json!({"method": r["method"], "id": 99_999})),
        Status::Error,
    ),
    (
        "an odd error",
        |_| json!({"error": {"code": "x"}}).to_string().into_response(),
        Status::Error,
    ),
    (
        "unhealthy",
        |r| error(&r, -32005, "Node is behind by 42 slots"),
        Status::Behind,
    ),
    ("too much", |_| endless(), Status::Error),
    ("a stalled body", |_| stalling(), Status::Timeout),
];

#[tokio::test]
async fn whatever_an_ill_node_answers_the_next_one_is_asked_and_no_key_is_shown() {
    for (name, answer, status) in ILL {
        let (ill, good) = (server(answer).await, good().await);
        let pool = pool(&[&ill.url, &good.url]);
        for _ in 0..3 {
            let balance = pool.client().get_balance(&Default::default()).await;
            assert_eq!(balance.unwrap(), 5, "{name}");
        }
        assert_eq!(ill.asked.load(Ordering::SeqCst), 1, "{name}: it cools down");
        let shown = &pool.status()[0];
        assert!(!shown.is_healthy, "{name}");
        let seen = pool.observe();
        assert!(
            seen.iter().any(|o| o.status == status && o.count == 1),
            "{name}: {seen:?}"
        );
        let all = format!(
            "{:?} {pool:?} {} {seen:?}",
            pool.status(),
            pool.client().url()
        );
        assert!(!all.contains("secret"), "{name}: {all}");
        assert!(
            shown.name.starts_with("http://127.0.0.1:"),
            "{}",
            shown.name
        );
    }
}

#[tokio::test]
async fn a_node_is_left_alone_for_as_long_as_it_wishes_within_bounds_and_never_for_less() {
    let wishes: [(Answer, u64); 4] = [
        (
            |_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "100")]).into_response(),
            100,
        ),
        (
            |_| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "100")]).into_response(),
            100,
        ),
        (
            |_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
            60,
        ),
        (
            |_| {
                let forever = [("retry-after", "18446744073709551615")];
                (StatusCode::TOO_MANY_REQUESTS, forever).into_response()
            },
            600,
        ),
    ];
    for (answer, seconds) in wishes {
        let (ill, good) = (server(answer).await, good().await);
        let pool = pool(&[&ill.url, &good.url]);
        pool.client()
            .get_balance(&Default::default())
            .await
            .unwrap();
        let cooling = pool.status()[0].cooling.unwrap().as_secs();
        assert!((seconds - 10..=seconds).contains(&cooling), "{cooling}");
    }
}

#[tokio::test]
async fn no_error_that_a_caller_sees_holds_the_key_in_the_url() {
    for (name, answer, _) in ILL {
        let ill = server(answer).await;
        let pool = pool(&[&ill.url]);
        let error = pool
            .client()
            .get_balance(&Default::default())
            .await
            .unwrap_err();
        let shown = format!("{error} {error:?} {}", chain_error("read", &error));
        assert!(!shown.contains("secret"), "{name}: {shown}");
        assert!(
            chain_error("read", &error).is_transient(),
            "{name}: {shown}"
        );
        assert!(shown.contains("http://127.0.0.1:"), "{name}: {shown}");
    }
    // Nobody listens there.
    let url = format!("http://127.0.0.1:1/{KEY}");
    let error = pool(&[&url])
        .client()
        .get_balance(&Default::default())
        .await
        .unwrap_err();
    let shown = format!("{error} {error:?} {}", chain_error("read", &error));
    assert!(
        !shown.contains("secret") && shown.contains("http://127.0.0.1:1"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_node_that_takes_the_call_and_never_answers_holds_up_no_more_than_one() {
    // The system takes connections for it; nobody reads them.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{KEY}", mute.local_addr().unwrap());
    let good = good().await;
    let pool = pool(&[&url, &good.url]);
    for _ in 0..3 {
        let balance = pool.client().get_balance(&Default::default()).await;
        assert_eq!(balance.unwrap(), 5);
    }
    let seen = pool.observe();
    let late = seen.iter().filter(|o| o.status == Status::Timeout);
    assert_eq!(late.map(|o| o.count).sum::<u64>(), 1, "{seen:?}");
    let shown = &pool.status()[0];
    assert!(shown.cooling.is_some(), "{shown:?}");
    assert!(
        shown
            .last_error
            .as_ref()
            .unwrap()
            .contains("no answer within"),
        "{shown:?}"
    );
    assert!(!format!("{shown:?}").contains("secret"), "{shown:?}");
}

#[tokio::test]
async fn an_error_of_the_call_keeps_its_code_and_loses_the_key_that_it_echoes() {
    let answers: [Answer; 2] = [
        |r| {
            error(
                &r,
                -32602,
                &format!("no such thing at /v1/{KEY}/?api-key={KEY}\n"),
            )
        },
        |r| {
            (
                StatusCode::BAD_REQUEST,
                error(&r, -32602, &format!("wrong: {KEY}")),
            )
                .into_response()
        },
    ];
    for answer in answers {
        let (server, other) = (server(answer).await, good().await);
        let pool = pool(&[&server.url, &other.url]);
        let params = json!([{"commitment": "finalized"}]);
        let request = solana_rpc_client_api::request::RpcRequest::GetEpochInfo;
        let error = pool
            .client()
            .send::<Value>(request, params)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("-32602"), "{error}");
        let shown = format!("{error} {error:?} {}", chain_error("read", &error));
        assert!(!shown.contains("secret"), "{shown}");
        assert!(!chain_error("read", &error).is_transient(), "{shown}");
    }
}

#[tokio::test]
async fn the_same_url_twice_is_one_node_and_the_same_host_twice_is_two() {
    let server = good().await;
    let other = format!("{}0", server.url);
    let pool = pool(&[&server.url, &other, &server.url]);
    let names: Vec<String> = pool.status().into_iter().map(|node| node.name).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[1], format!("{}#2", names[0]));
}

#[tokio::test]
async fn an_answer_up_to_the_bound_is_read() {
    let server = server(|request| {
        let padding = " ".repeat(MAX_RESPONSE_BYTES - 1000);
        let answer = json!({"id": request["id"], "result": {"context": {"slot": 1}, "value": 5}});
        format!("{padding}{answer}").into_response()
    })
    .await;
    let urls = [server.url.clone()];
    let pool = Pool::http(&urls, Duration::from_secs(30), PoolConfig::default()).unwrap();
    assert_eq!(
        pool.client()
            .get_balance(&Default::default())
            .await
            .unwrap(),
        5
    );
}
