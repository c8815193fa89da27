//! What an answer of a node says about the call, and about the node.

use std::io;

use serde_json::Value;
use solana_rpc_client_api::client_error::{Error, ErrorKind};
use solana_rpc_client_api::custom_error as code;
use solana_rpc_client_api::request::{RpcError, RpcRequest};

use super::http::ask_again;
use super::stats::Status;

/// No chain has come to this slot or height, nor will it: at two a second that takes millions of
/// years. The store could not hold every number above it.
const MAX_SLOT: u64 = 1 << 48;

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The call itself is wrong, or the chain refuses it: any node would say so.
    Answer,
    /// This node cannot answer this call. It is not ill for that.
    Elsewhere(Status),
    /// The node is ill, and is left alone for a while.
    Ill(Status),
}

impl Verdict {
    /// Judges an error.
    pub(super) fn of(error: &Error) -> Self {
        match ask_again(error) {
            Some((429, _)) => return Self::Ill(Status::RateLimited),
            Some(_) => return Self::Ill(Status::Error),
            None => {}
        }
        match error.kind() {
            ErrorKind::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Self::Ill(Status::Timeout)
            }
            ErrorKind::Reqwest(error) if error.is_timeout() => Self::Ill(Status::Timeout),
            ErrorKind::Reqwest(error) if error.status().is_some_and(|s| s.as_u16() == 429) => {
                Self::Ill(Status::RateLimited)
            }
            ErrorKind::RpcError(RpcError::RpcResponseError { code, message, .. }) => {
                Self::of_code(*code, message)
            }
            ErrorKind::RpcError(RpcError::ForUser(_))
            | ErrorKind::SigningError(_)
            | ErrorKind::TransactionError(_) => Self::Answer,
            _ => Self::Ill(Status::Error),
        }
    }

    /// Judges an error code of JSON-RPC.
    pub(super) fn of_code(number: i64, message: &str) -> Self {
        match number {
            code::JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY => Self::Ill(Status::Behind),
            code::JSON_RPC_SERVER_ERROR_MIN_CONTEXT_SLOT_NOT_REACHED => {
                Self::Elsewhere(Status::Behind)
            }
            code::JSON_RPC_SERVER_ERROR_BLOCK_CLEANED_UP
            | code::JSON_RPC_SERVER_ERROR_BLOCK_NOT_AVAILABLE
            | code::JSON_RPC_SERVER_ERROR_SLOT_SKIPPED
            | code::JSON_RPC_SERVER_ERROR_LONG_TERM_STORAGE_SLOT_SKIPPED
            | code::JSON_RPC_SERVER_ERROR_KEY_EXCLUDED_FROM_SECONDARY_INDEX
            | code::JSON_RPC_SERVER_ERROR_TRANSACTION_HISTORY_NOT_AVAILABLE
            | code::JSON_RPC_SERVER_ERROR_BLOCK_STATUS_NOT_AVAILABLE_YET
            | code::JSON_RPC_SERVER_ERROR_LONG_TERM_STORAGE_UNREACHABLE
            | code::JSON_RPC_SERVER_ERROR_FILTER_TRANSACTION_NOT_FOUND
            | code::JSON_RPC_SERVER_ERROR_NO_SLOT_HISTORY
            | METHOD_NOT_FOUND => Self::Elsewhere(Status::Error),
            // Its message tells of the program, and may hold any words.
            code::JSON_RPC_SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE => Self::Answer,
            INTERNAL_ERROR => Self::Ill(Status::Error),
            429 | -32429 => Self::Ill(Status::RateLimited),
            _ if speaks_of_a_rate_limit(message) => Self::Ill(Status::RateLimited),
            // What a server says of itself, in its own numbers: another one may do better.
            -32000 | -32099..=-32020 => Self::Elsewhere(Status::Error),
            _ => Self::Answer,
        }
    }
}

/// Codes of JSON-RPC itself.
const METHOD_NOT_FOUND: i64 = -32601;
const INTERNAL_ERROR: i64 = -32603;

/// Vendors have codes of their own for a rate limit, and say it in words.
fn speaks_of_a_rate_limit(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["rate limit", "too many requests", "rate exceeded"]
        .iter()
        .any(|words| message.contains(words))
}

/// What a result must look like, and that it does not. A result that does is not yet true.
pub(super) fn misshapen(request: RpcRequest, result: &Value) -> Option<&'static str> {
    use RpcRequest as R;
    let (fits, expected) = match request {
        R::GetSlot | R::GetBlockHeight | R::GetFirstAvailableBlock => {
            (is_slot(result), "a number that a slot can be")
        }
        R::GetTransactionCount | R::GetMinimumBalanceForRentExemption => {
            (result.is_u64(), "a number")
        }
        R::GetLatestBlockhash => (
            has_value(result)
                && result["value"]["blockhash"].is_string()
                && is_slot(&result["value"]["lastValidBlockHeight"]),
            "an object with context, blockhash and lastValidBlockHeight",
        ),
        R::GetAccountInfo
        | R::GetBalance
        | R::GetMultipleAccounts
        | R::GetSignatureStatuses
        | R::SimulateTransaction
        | R::IsBlockhashValid
        | R::GetFeeForMessage
        | R::GetTokenAccountBalance => (
            has_value(result),
            "an object with context and value, of a slot that can be",
        ),
        R::GetSignaturesForAddress | R::GetRecentPrioritizationFees => {
            (result.is_array(), "an array")
        }
        R::SendTransaction | R::GetGenesisHash | R::RequestAirdrop => {
            (result.is_string(), "a string")
        }
        // There is at most one block a slot.
        R::GetEpochInfo => (
            is_slot(&result["absoluteSlot"])
                && result["blockHeight"].as_u64() <= result["absoluteSlot"].as_u64()
                && result["blockHeight"].is_u64(),
            "an object with absoluteSlot, and a blockHeight that is not above it",
        ),
        R::GetVersion => (result.is_object(), "an object"),
        R::GetTransaction => (result.is_object() || result.is_null(), "an object or null"),
        _ => (true, ""),
    };
    (!fits).then_some(expected)
}

/// The slot at which a result was true, where it tells one.
pub(super) fn slot_of(request: RpcRequest, result: &Value) -> Option<u64> {
    match request {
        RpcRequest::GetSlot => result.as_u64(),
        RpcRequest::GetEpochInfo => result["absoluteSlot"].as_u64(),
        _ => context_slot(result),
    }
}

/// True where the slot of a result is a finalized one.
pub(super) fn is_finalized(request: RpcRequest, params: &Value) -> bool {
    // Statuses are told at the processed slot, whatever they say.
    if request == RpcRequest::GetSignatureStatuses {
        return false;
    }
    let config = params.as_array().and_then(|all| all.last());
    match config.and_then(|config| config.get("commitment")) {
        Some(commitment) => commitment == "finalized",
        None => true,
    }
}

fn is_slot(value: &Value) -> bool {
    value.as_u64().is_some_and(|slot| slot <= MAX_SLOT)
}

fn has_value(result: &Value) -> bool {
    result.get("value").is_some() && result.pointer("/context/slot").is_some_and(is_slot)
}

fn context_slot(result: &Value) -> Option<u64> {
    result.get("context")?.get("slot")?.as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_call_itself_is_an_answer() {
        let of = |code| Verdict::of_code(code, "said so");
        for code in [-32002, -32003, -32013, -32015, -32600, -32602] {
            assert_eq!(of(code), Verdict::Answer, "{code}");
        }
        assert_eq!(of(-32005), Verdict::Ill(Status::Behind));
        assert_eq!(of(-32603), Verdict::Ill(Status::Error));
        assert_eq!(of(-32429), Verdict::Ill(Status::RateLimited));
        assert_eq!(of(-32016), Verdict::Elsewhere(Status::Behind));
        for code in [-32601, -32000, -32021, -32051, -32099] {
            assert_eq!(of(code), Verdict::Elsewhere(Status::Error), "{code}");
        }
        assert_eq!(
            Verdict::of_code(-32002, "Rate limit exceeded"),
            Verdict::Answer
        );
        assert_eq!(
            Verdict::of_code(-32097, "Rate limit exceeded"),
            Verdict::Ill(Status::RateLimited)
        );
    }

    #[test]
    fn a_slot_is_finalized_unless_the_call_asks_for_less() {
        let finalized = |params| is_finalized(RpcRequest::GetAccountInfo, &params);
        assert!(finalized(json!(["key", {"commitment": "finalized"}])));
        assert!(finalized(json!(["key"])), "the node's default");
        assert!(!finalized(json!(["key", {"commitment": "processed"}])));
        assert!(!is_finalized(
            RpcRequest::GetSignatureStatuses,
            &json!([["signature"]])
        ));
    }

    #[test]
    fn a_result_of_another_shape_is_refused_by_what_was_expected() {
        let at = json!({"context": {"slot": 7}, "value": null});
        assert_eq!(misshapen(RpcRequest::GetAccountInfo, &at), None);
        assert_eq!(slot_of(RpcRequest::GetAccountInfo, &at), Some(7));
        for (request, result) in [
            (RpcRequest::GetAccountInfo, json!({"value": null})),
            (RpcRequest::GetSlot, json!("7")),
            (RpcRequest::GetSlot, json!(-7)),
            (RpcRequest::GetSlot, json!(u64::MAX)),
            (
                RpcRequest::GetBalance,
                json!({"context": {"slot": u64::MAX}, "value": 5}),
            ),
            (
                RpcRequest::GetEpochInfo,
                json!({"absoluteSlot": 1000, "blockHeight": 1001}),
            ),
            (
                RpcRequest::GetLatestBlockhash,
                json!({"context": {"slot": 7}, "value": {"blockhash": "a"}}),
            ),
            (RpcRequest::GetSignaturesForAddress, json!(null)),
            (RpcRequest::SendTransaction, json!({})),
        ] {
            assert!(misshapen(request, &result).is_some(), "{request} {result}");
        }
    }
}
