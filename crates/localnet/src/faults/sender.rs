//! A plan played in the process: around a transport, and around notifications.

use std::collections::VecDeque;
use std::io;

use async_trait::async_trait;
use serde_json::Value;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error::{self, ErrorKind};
use solana_rpc_client_api::request::RpcRequest;

use super::judge::{Delivery, Verdict, deliver, judge, twist};
use super::plan::FaultPlan;
use crate::Node;
use crate::events::{Event, Events};
use crate::node::client_error;

/// A transport at which calls go wrong.
pub struct FaultySender {
    inner: Box<dyn RpcSender + Send + Sync>,
    plan: FaultPlan,
    node: Option<Node>,
}

impl FaultySender {
    /// Around another transport. Faults that need the node strike only where it is given.
    #[must_use]
    pub fn new(
        inner: Box<dyn RpcSender + Send + Sync>,
        plan: FaultPlan,
        node: Option<Node>,
    ) -> Self {
        Self { inner, plan, node }
    }

    /// Around a node in the process.
    #[must_use]
    pub fn of(node: &Node, plan: FaultPlan) -> Self {
        Self::new(Box::new(node.sender()), plan, Some(node.clone()))
    }
}

impl std::fmt::Debug for FaultySender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultySender")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl RpcSender for FaultySender {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        let method = request.to_string();
        match judge(&self.plan, self.node.as_ref(), &method, &params) {
            Verdict::Pass => self.inner.send(request, params).await,
            Verdict::PassAndFail => {
                // What it came to is what the caller must not learn.
                let _ = self.inner.send(request, params).await;
                Err(timed_out(request, "the connection ended before the answer"))
            }
            Verdict::PassAndTwist(how) => {
                let mut answer = self.inner.send(request, params).await?;
                twist(&self.plan, &method, &mut answer, how);
                Ok(answer)
            }
            Verdict::Answer(answer) => answer.map_err(|error| client_error(request, error)),
            Verdict::Hang(duration) => {
                tokio::time::sleep(duration).await;
                Err(timed_out(request, "nothing answered"))
            }
            Verdict::Status(status) => Err(http_status(request, status)),
        }
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        self.inner.get_transport_stats()
    }

    fn url(&self) -> String {
        self.inner.url()
    }
}

fn timed_out(request: RpcRequest, text: &str) -> client_error::Error {
    let error = io::Error::new(io::ErrorKind::TimedOut, text);
    client_error::Error::new_with_request(ErrorKind::Io(error), request)
}

/// The error that solana-client makes of an HTTP status.
fn http_status(request: RpcRequest, status: u16) -> client_error::Error {
    let mut response = axum::http::Response::new("");
    if let Ok(status) = axum::http::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    let kind = match reqwest::Response::from(response).error_for_status() {
        Err(error) => ErrorKind::Reqwest(error),
        Ok(_) => ErrorKind::Custom(format!("HTTP status {status}")),
    };
    client_error::Error::new_with_request(kind, request)
}

/// A node's events at which notifications go wrong.
#[derive(Debug)]
pub struct FaultyEvents {
    inner: Events,
    plan: FaultPlan,
    again: VecDeque<Event>,
    silent: bool,
}

impl FaultyEvents {
    /// Around the events of a node.
    #[must_use]
    pub const fn new(inner: Events, plan: FaultPlan) -> Self {
        Self {
            inner,
            plan,
            again: VecDeque::new(),
            silent: false,
        }
    }

    /// Waits for the next; none once the node is gone. After it fell silent it waits for ever.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.again.pop_front() {
            return Some(event);
        }
        loop {
            if self.silent {
                return std::future::pending().await;
            }
            let event = self.inner.next().await?;
            let kind = match &event {
                Event::Slot { .. } => "slotNotification",
                Event::Transaction { .. } => "logsNotification",
            };
            match deliver(&self.plan, kind) {
                Delivery::Once => return Some(event),
                Delivery::Twice => {
                    self.again.push_back(event.clone());
                    return Some(event);
                }
                Delivery::Never => {}
                Delivery::Silence => self.silent = true,
            }
        }
    }
}
