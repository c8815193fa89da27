//! A node on real sockets: JSON-RPC by `POST /`, WebSocket by `GET /`, on one port.

mod socket;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Node;
use crate::rpc::RpcError;

/// The largest request, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// A node that is served, until this is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    tasks: JoinSet<()>,
    /// Tells the sockets to close; they outlive the server's own task.
    open: watch::Sender<bool>,
}

impl Served {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of JSON-RPC.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of the WebSocket.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Closes every socket and waits for the tasks to end.
    pub async fn stop(mut self) {
        let _ = self.open.send(false);
        self.tasks.shutdown().await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.open.send(false);
    }
}

#[derive(Clone)]
struct Front {
    node: Node,
    open: watch::Receiver<bool>,
}

impl Node {
    /// Serves this node. With `every`, a block is made so often; without, only by `tick`.
    ///
    /// # Errors
    /// Where the address cannot be taken.
    pub async fn serve(&self, listen: SocketAddr, every: Option<Duration>) -> io::Result<Served> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (open, receiver) = watch::channel(true);
        let front = Front {
            node: self.clone(),
            open: receiver,
        };
        let router = Router::new()
            .route("/", get(subscribe).post(call))
            .route("/health", get(health))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(front);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the node's server ended");
            }
        });
        if let Some(every) = every {
            let node = self.clone();
            tasks.spawn(async move { node.run(every).await });
        }
        Ok(Served {
            address,
            tasks,
            open,
        })
    }
}

async fn health() -> &'static str {
    "ok"
}

async fn subscribe(State(front): State<Front>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MAX_BODY)
        .on_upgrade(move |socket| socket::run(front.node, socket, front.open))
}

async fn call(State(front): State<Front>, body: Bytes) -> Response {
    let answer = answer(&body, |method, params| front.node.handle(method, params));
    json_response(&answer)
}

/// Answers a request of JSON-RPC, whatever its bytes are.
pub(crate) fn answer(
    body: &[u8],
    handle: impl FnOnce(&str, &Value) -> Result<Value, RpcError>,
) -> Value {
    let request: Value = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => {
            let error = RpcError::new(-32700, format!("Parse error: {error}"));
            return framed(&Value::Null, Err(error));
        }
    };
    let id = &request["id"];
    match request["method"].as_str() {
        Some(method) => framed(id, handle(method, &request["params"])),
        None => framed(
            id,
            Err(RpcError::new(
                -32600,
                "Invalid request: expected one object with a method",
            )),
        ),
    }
}

/// An answer with the id of its request.
pub(crate) fn framed(id: &Value, answer: Result<Value, RpcError>) -> Value {
    match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error.to_json()}),
    }
}

pub(crate) fn json_response(answer: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::OK, kind, answer.to_string()).into_response()
}
