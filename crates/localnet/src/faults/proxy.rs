//! A plan played on real sockets, in front of any node.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::frames::{frame, head};
use super::judge::{Delivery, Verdict, deliver, judge, twist};
use super::plan::FaultPlan;
use crate::Node;
use crate::serve::{MAX_BODY, framed, json_response};

/// How long the node behind may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many WebSockets may be open.
const MAX_SOCKETS: usize = 256;

/// A proxy at which calls and notifications go wrong, until it is dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    http: SocketAddr,
    ws: SocketAddr,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Front {
    upstream: String,
    client: reqwest::Client,
    plan: FaultPlan,
    node: Option<Node>,
}

impl FaultyProxy {
    /// Listens in front of the node at these URLs (`http://…`, `ws://…`, without TLS), at two free
    /// ports of the address of `listen`, or at its port and a free one. Faults that need the node
    /// strike only where it is given.
    ///
    /// # Errors
    /// Where a port cannot be taken, or the second URL names no socket.
    pub async fn start(
        listen: SocketAddr,
        http_url: &str,
        ws_url: &str,
        plan: FaultPlan,
        node: Option<Node>,
    ) -> io::Result<Self> {
        let upstream_ws = ws_url
            .strip_prefix("ws://")
            .map(|rest| rest.trim_end_matches('/').to_owned())
            .ok_or_else(|| {
                let text = "the WebSocket's URL is no ws://; expected ws://address:port";
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(io::Error::other)?;
        let http_listener = TcpListener::bind(listen).await?;
        let ws_listener = TcpListener::bind((listen.ip(), 0)).await?;
        let (http, ws) = (http_listener.local_addr()?, ws_listener.local_addr()?);
        let router = Router::new()
            .route("/", post(call))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Front {
                upstream: http_url.to_owned(),
                client,
                plan: plan.clone(),
                node,
            });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(http_listener, router).await {
                tracing::warn!(%error, "the proxy's server ended");
            }
        });
        tasks.spawn(accept(ws_listener, upstream_ws, plan));
        Ok(Self {
            http,
            ws,
            _tasks: tasks,
        })
    }

    /// The URL of JSON-RPC.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The URL of the WebSocket.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.ws)
    }
}

async fn call(State(front): State<Front>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, params) = (&request["id"], &request["params"]);
    let method = request["method"].as_str().unwrap_or_default();
    match judge(&front.plan, front.node.as_ref(), method, params) {
        Verdict::Pass => pass(&front, body).await,
        Verdict::PassAndFail => {
            // What it came to is what the caller must not learn.
            let _ = pass(&front, body).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Verdict::PassAndTwist(how) => match forward(&front, body).await {
            Ok((status, text)) => {
                let mut answer: Value = serde_json::from_slice(&text).unwrap_or_default();
                twist(&front.plan, method, &mut answer["result"], how);
                (status, json_response(&answer)).into_response()
            }
            Err(error) => unreachable(&error),
        },
        Verdict::Answer(answer) => json_response(&framed(id, answer)),
        Verdict::Hang(duration) => {
            tokio::time::sleep(duration).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Verdict::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            // Clients that are told to come back at once do not sleep on their own account.
            (status, [(header::RETRY_AFTER, "0")]).into_response()
        }
    }
}

async fn forward(front: &Front, body: Bytes) -> Result<(StatusCode, Bytes), reqwest::Error> {
    let answer = front
        .client
        .post(&front.upstream)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await?;
    let status = answer.status();
    Ok((status, answer.bytes().await?))
}

async fn pass(front: &Front, body: Bytes) -> Response {
    match forward(front, body).await {
        Ok((status, text)) => {
            (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(error) => unreachable(&error),
    }
}

fn unreachable(error: &reqwest::Error) -> Response {
    (StatusCode::BAD_GATEWAY, error.to_string()).into_response()
}

async fn accept(listener: TcpListener, upstream: String, plan: FaultPlan) {
    let mut sockets = JoinSet::new();
    loop {
        while sockets.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) if sockets.len() < MAX_SOCKETS => {
                sockets.spawn(socket(client, upstream.clone(), plan.clone()));
            }
            Ok(_) => tracing::warn!(limit = MAX_SOCKETS, "a socket too many was refused"),
            Err(error) => tracing::warn!(%error, "a socket could not be taken"),
        }
    }
}

/// Carries a WebSocket. The client's side goes through as it is.
async fn socket(client: TcpStream, upstream: String, plan: FaultPlan) {
    let server = match TcpStream::connect(&upstream).await {
        Ok(server) => server,
        Err(error) => {
            tracing::warn!(%error, "the node's WebSocket cannot be reached");
            return;
        }
    };
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        result = copy(&mut from_client, &mut to_server) => {
            if let Err(error) = result {
                tracing::debug!(%error, "a client's side of a WebSocket ended");
            }
        }
        result = answers(from_server, to_client, &plan) => {
            if let Err(error) = result {
                tracing::debug!(%error, "a node's side of a WebSocket ended");
            }
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: &FaultPlan,
) -> io::Result<()> {
    to.write_all(&head(&mut from).await?).await?;
    loop {
        let frame = frame(&mut from).await?;
        let delivery = match frame.notification() {
            Some(kind) => deliver(plan, &kind),
            None => Delivery::Once,
        };
        match delivery {
            Delivery::Once => to.write_all(&frame.bytes).await?,
            Delivery::Twice => {
                to.write_all(&frame.bytes).await?;
                to.write_all(&frame.bytes).await?;
            }
            Delivery::Never => {}
            // The socket stays open, and says nothing more: not even to a ping.
            Delivery::Silence => return std::future::pending().await,
        }
    }
}
