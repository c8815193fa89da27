//! Asks a node over HTTP.
//!
//! The client's own sender waits up to two minutes on a 429 before anyone hears of it, reads a
//! body of any length, and keeps the URL in its errors; a pool needs none of that.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Response, StatusCode, Url, header, redirect};
use serde_json::Value;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error::{Error, ErrorKind, Result};
use solana_rpc_client_api::custom_error;
use solana_rpc_client_api::request::{RpcError, RpcRequest, RpcResponseErrorData};

use super::endpoint::{PoolError, Shown};

/// A node that says when it may be asked again.
#[derive(Debug, thiserror::Error)]
#[error("HTTP status {status}, to be asked again in {} s", after.as_secs())]
struct AskAgain {
    status: StatusCode,
    after: Duration,
}

/// The HTTP status and the time after which a node wishes to be asked again, where it says so.
pub(super) fn ask_again(error: &Error) -> Option<(u16, Duration)> {
    let ErrorKind::Io(error) = error.kind() else {
        return None;
    };
    let wish: &AskAgain = error.get_ref()?.downcast_ref()?;
    Some((wish.status.as_u16(), wish.after))
}

/// A node behind a URL.
pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
    shown: Shown,
    limit: usize,
    next_id: AtomicU64,
}

impl Http {
    /// Opens nothing yet. An answer may be `limit` bytes long.
    pub(super) fn new(
        url: &str,
        shown: Shown,
        timeout: Duration,
        limit: usize,
    ) -> std::result::Result<Self, PoolError> {
        let broken = |error: String| PoolError::Client(shown.clean(&error));
        let client = reqwest::Client::builder()
            // The pool sets the time for an answer; this one ends what it no longer waits for.
            .connect_timeout(timeout)
            // A redirect would take the call, and the key in its URL, elsewhere.
            .redirect(redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(|error| broken(error.without_url().to_string()))?;
        Ok(Self {
            client,
            url: Url::parse(url).map_err(|error| broken(error.to_string()))?,
            shown,
            limit,
            next_id: AtomicU64::new(0),
        })
    }

    async fn ask(&self, id: u64, request: RpcRequest, params: Value) -> Result<Value> {
        let response = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(request.build_request_json(id, params).to_string())
            .send()
            .await
            .map_err(no_url)?;
        let status = response.status();
        if !status.is_success() && !may_hold_an_answer(status) {
            return Err(failed(response));
        }
        let refusal = response.error_for_status_ref().err();
        let body = self.body(response).await?;
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        match (refusal, json) {
            (None, Some(json)) => self.answer(id, json),
            (None, None) => Err(nonsense(format!(
                "{} bytes that are no JSON; expected a JSON-RPC response",
                body.len()
            ))),
            (Some(_), Some(json)) if json["error"].is_object() => self.answer(id, json),
            (Some(refusal), _) => Err(no_url(refusal)),
        }
    }

    /// Reads a body, and gives up once it is too long.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_url)? {
            if body.len() + chunk.len() > self.limit {
                return Err(nonsense(format!(
                    "a response of more than {} bytes",
                    self.limit
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The result in a response, or its error.
    fn answer(&self, id: u64, mut json: Value) -> Result<Value> {
        if json["id"].as_u64().is_some_and(|its| its != id) {
            return Err(nonsense("the response to another request".to_owned()));
        }
        let Some(object) = json.as_object_mut() else {
            return Err(nonsense("JSON that is no object".to_owned()));
        };
        match object.remove("error") {
            None | Some(Value::Null) => object
                .remove("result")
                .ok_or_else(|| nonsense("an object with neither result nor error".to_owned())),
            Some(error) => Err(self.refusal(error)),
        }
    }

    fn refusal(&self, mut error: Value) -> Error {
        let (Some(code), Some(message)) = (error["code"].as_i64(), error["message"].as_str())
        else {
            return nonsense("an error without code and message".to_owned());
        };
        let message = self.shown.clean(message);
        let data = match code {
            custom_error::JSON_RPC_SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE => {
                serde_json::from_value(error["data"].take()).map_or(
                    RpcResponseErrorData::Empty,
                    RpcResponseErrorData::SendTransactionPreflightFailure,
                )
            }
            custom_error::JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY => {
                RpcResponseErrorData::NodeUnhealthy {
                    num_slots_behind: error["data"]["numSlotsBehind"].as_u64(),
                }
            }
            _ => RpcResponseErrorData::Empty,
        };
        RpcError::RpcResponseError {
            code,
            message,
            data,
        }
        .into()
    }
}

#[async_trait]
impl RpcSender for Http {
    async fn send(&self, request: RpcRequest, params: Value) -> Result<Value> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.ask(id, request, params).await
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        self.shown.name().to_owned()
    }
}

/// True for statuses with which some nodes send a JSON-RPC error about the call itself.
fn may_hold_an_answer(status: StatusCode) -> bool {
    status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY
}

fn failed(response: Response) -> Error {
    let status = response.status();
    let wish = response.headers().get(header::RETRY_AFTER);
    // It may also be a date, which is as good as none here.
    let wish = wish.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if let Some(seconds) = wish {
        let after = Duration::from_secs(seconds);
        return ErrorKind::Io(io::Error::other(AskAgain { status, after })).into();
    }
    match response.error_for_status() {
        Err(error) => no_url(error),
        // A redirect is an error here, though not to the HTTP client.
        Ok(_) => nonsense(format!("HTTP status {status}")),
    }
}

fn no_url(error: reqwest::Error) -> Error {
    ErrorKind::Reqwest(error.without_url()).into()
}

fn nonsense(what: String) -> Error {
    RpcError::RpcRequestError(what).into()
}
