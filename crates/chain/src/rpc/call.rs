//! One call: to one node, and from one node to the next.

use std::error::Error as _;
use std::io;
use std::ops::RangeInclusive;

use serde_json::Value;
use solana_rpc_client_api::client_error::{Error, ErrorKind, Result};
use solana_rpc_client_api::custom_error::JSON_RPC_SERVER_ERROR_MIN_CONTEXT_SLOT_NOT_REACHED;
use solana_rpc_client_api::request::{RpcError, RpcRequest, RpcResponseErrorData};
use tokio::time::{Duration, Instant};

use super::Shared;
use super::http::ask_again;
use super::stats::Status;
use super::verdict::{Verdict, is_finalized, misshapen, slot_of};

/// A node is left alone for at most so long because it wishes so.
const MAX_WISH: Duration = Duration::from_secs(600);

/// An answer of any slot will do.
pub(super) const ANY_SLOT: RangeInclusive<u64> = 0..=u64::MAX;

impl Shared {
    /// Asks one node after the other until one answers. The error is that of the last.
    pub(super) async fn call(&self, request: RpcRequest, params: &Value) -> Result<Value> {
        if self.nodes.len() > 1 {
            self.probe(self.config.probe_interval).await;
        }
        let mut last = None;
        for node in self.nodes.order(self.next_turn()) {
            match self.ask(node, request, params, ANY_SLOT).await {
                Ok(result) => return Ok(result),
                Err((Verdict::Answer, error)) => return Err(error),
                Err((_, error)) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ErrorKind::Custom("no node".to_owned()).into()))
    }

    /// Asks one node, and notes how it did. A result of another slot than these is refused.
    pub(super) async fn ask(
        &self,
        node: usize,
        request: RpcRequest,
        params: &Value,
        slots: RangeInclusive<u64>,
    ) -> std::result::Result<Value, (Verdict, Error)> {
        let timeout = self.nodes.get(node).endpoint.timeout;
        self.ask_within(node, request, params, slots, timeout).await
    }

    /// As [`Shared::ask`], with another time for the answer.
    pub(super) async fn ask_within(
        &self,
        node: usize,
        request: RpcRequest,
        params: &Value,
        slots: RangeInclusive<u64>,
        timeout: Duration,
    ) -> std::result::Result<Value, (Verdict, Error)> {
        let asked = self.nodes.get(node);
        let began = Instant::now();
        let sent = asked.endpoint.sender.send(request, params.clone());
        let result = match tokio::time::timeout(timeout, sent).await {
            Ok(result) => result.and_then(|result| judge(request, result, &slots)),
            Err(_) => Err(late(timeout)),
        };
        let took = began.elapsed();
        let error = match result {
            Ok(result) => {
                if is_finalized(request, params)
                    && let Some(slot) = slot_of(request, &result)
                {
                    self.nodes.take_slot(node, slot);
                }
                asked.answered();
                self.stats.count(request.as_str(), Status::Ok, took);
                return Ok(result);
            }
            Err(error) => error,
        };
        let verdict = Verdict::of(&error);
        let wish = ask_again(&error).map_or(Duration::ZERO, |(_, after)| after);
        let status = match verdict {
            Verdict::Answer => {
                asked.answered();
                self.stats.count(request.as_str(), Status::Error, took);
                return Err((verdict, error));
            }
            Verdict::Elsewhere(status) | Verdict::Ill(status) => status,
        };
        self.stats.count(request.as_str(), status, took);
        let error = named(&asked.endpoint.name, error);
        let text = format!("{request}: {}", text(&error));
        match verdict {
            // A node is left alone for longer where it wishes so, within bounds.
            Verdict::Ill(_) => {
                let cool_down = self.config.cool_down.max(wish.min(MAX_WISH));
                asked.failed(&text, cool_down);
            }
            Verdict::Elsewhere(_) | Verdict::Answer => asked.passed(&text),
        }
        Err((verdict, error))
    }
}

/// Refuses a result that cannot be one, or is of another slot than these.
fn judge(request: RpcRequest, result: Value, slots: &RangeInclusive<u64>) -> Result<Value> {
    if let Some(expected) = misshapen(request, &result) {
        let kind = match result {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "another number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let text = format!("a result that is {kind}; expected {expected}");
        return Err(RpcError::RpcRequestError(text).into());
    }
    match slot_of(request, &result) {
        Some(slot) if slot > *slots.end() => Err(RpcError::RpcRequestError(format!(
            "an answer of slot {slot}; expected one of slot {} at most",
            slots.end()
        ))
        .into()),
        Some(slot) if slot < *slots.start() => Err(RpcError::RpcResponseError {
            code: JSON_RPC_SERVER_ERROR_MIN_CONTEXT_SLOT_NOT_REACHED,
            message: format!(
                "an answer of slot {slot}; expected one of slot {} or later",
                slots.start()
            ),
            data: RpcResponseErrorData::Empty,
        }
        .into()),
        _ => Ok(result),
    }
}

fn late(timeout: Duration) -> Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {timeout:?}"),
    )
    .into()
}

/// The error of a node, with its name in front. An error of JSON-RPC keeps its code.
fn named(name: &str, error: Error) -> Error {
    match *error.kind {
        ErrorKind::RpcError(RpcError::RpcResponseError {
            code,
            message,
            data,
        }) => RpcError::RpcResponseError {
            code,
            message: format!("{name}: {message}"),
            data,
        }
        .into(),
        kind => ErrorKind::Custom(format!("{name}: {}", text(&kind.into()))).into(),
    }
}

/// An error with its causes, and without any URL.
pub(super) fn text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Custom(text) => text.clone(),
        ErrorKind::RpcError(RpcError::RpcRequestError(text)) => text.clone(),
        ErrorKind::RpcError(RpcError::RpcResponseError { code, message, .. }) => {
            format!("{message} ({code})")
        }
        // Its text ends with the URL, where it has one.
        ErrorKind::Reqwest(error) => {
            let mut text = error.to_string();
            if let Some(url) = error.url() {
                text = text.replace(url.as_str(), "***");
            }
            with_causes(text, error.source())
        }
        kind => kind.to_string(),
    }
}

fn with_causes(mut text: String, mut cause: Option<&dyn std::error::Error>) -> String {
    for _ in 0..4 {
        let Some(error) = cause else { break };
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
