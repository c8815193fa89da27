//! What becomes of a call or a notification under a plan, the same in the process and on sockets.

use std::time::Duration;

use serde_json::{Value, json};

use super::plan::{Fault, FaultPlan, Place};
use crate::Node;
use crate::rpc::{self, RpcError};

/// What is to be done with a call.
pub(super) enum Verdict {
    /// It is passed on.
    Pass,
    /// It is passed on, and what comes back is thrown away: the caller hears of a failure.
    PassAndFail,
    /// It is passed on, and something in the answer is replaced.
    PassAndTwist(Twist),
    /// This is the answer.
    Answer(Result<Value, RpcError>),
    /// Nothing answers for so long.
    Hang(Duration),
    /// An HTTP status is the answer.
    Status(u16),
}

/// What is replaced in an answer.
pub(super) enum Twist {
    /// The blockhash of `getLatestBlockhash`.
    Blockhash(String),
    /// A slot or height.
    Number(u64),
}

/// What is to be done with a notification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Once,
    Never,
    Twice,
    /// Nor is any other.
    Silence,
}

pub(super) fn judge(
    plan: &FaultPlan,
    node: Option<&Node>,
    method: &str,
    params: &Value,
) -> Verdict {
    let has_node = node.is_some();
    for fault in plan.strike(Place::Before, method, has_node) {
        match (fault, node) {
            (Fault::SkipBlocks(blocks), Some(node)) => node.skip_blocks(blocks),
            (Fault::Fork { blocks, dropped }, Some(node)) => {
                let possible = blocks.min(node.forkable());
                if let Err(error) = node.fork(possible, dropped) {
                    tracing::warn!(%error, "a fault could not fork the chain");
                }
            }
            _ => {}
        }
    }
    let Some(fault) = plan.strike(Place::Call, method, has_node).pop() else {
        return Verdict::Pass;
    };
    match (fault, node) {
        (Fault::RpcError { code, message }, _) => {
            Verdict::Answer(Err(RpcError::new(code, message)))
        }
        (Fault::Hang(duration), _) => Verdict::Hang(duration),
        (Fault::Status(status), _) => Verdict::Status(status),
        (Fault::Behind(blocks), Some(node)) => {
            Verdict::Answer(node.handle_behind(blocks, method, params))
        }
        (Fault::NeverLands, _) => {
            Verdict::Answer(rpc::signature_of(params).map(|text| json!(text)))
        }
        (Fault::LandsThoughFailed, _) => Verdict::PassAndFail,
        (Fault::StaleBlockhash, _) => {
            Verdict::PassAndTwist(Twist::Blockhash(plan.unknown_hash().to_string()))
        }
        (Fault::AbsurdNumber(number), _) => Verdict::PassAndTwist(Twist::Number(number)),
        _ => Verdict::Pass,
    }
}

/// Replaces something in the answer of a method.
pub(super) fn twist(plan: &FaultPlan, method: &str, answer: &mut Value, twist: Twist) {
    match twist {
        Twist::Blockhash(hash) => {
            if let Some(blockhash) = answer.pointer_mut("/value/blockhash") {
                *blockhash = Value::String(hash);
            }
        }
        Twist::Number(number) => {
            let is_slot = ["getSlot", "getBlockHeight", "getFirstAvailableBlock"].contains(&method);
            if is_slot && answer.is_u64() {
                *answer = json!(number);
                return;
            }
            let mut places = Vec::new();
            slots(answer, &mut places);
            if !places.is_empty() {
                *places.swap_remove(plan.place(places.len())) = json!(number);
            }
        }
    }
}

/// The slots and heights in an answer.
fn slots<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    const NAMES: [&str; 5] = [
        "slot",
        "absoluteSlot",
        "blockHeight",
        "lastValidBlockHeight",
        "contextSlot",
    ];
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| slots(value, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if NAMES.contains(&name.as_str()) && value.is_u64() {
                    found.push(value);
                } else {
                    slots(value, found);
                }
            }
        }
        _ => {}
    }
}

pub(super) fn deliver(plan: &FaultPlan, kind: &str) -> Delivery {
    match plan.strike(Place::Notification, kind, false).pop() {
        Some(Fault::SilentSocket) => Delivery::Silence,
        Some(Fault::LostNotification) => Delivery::Never,
        Some(Fault::DoubledNotification) => Delivery::Twice,
        _ => Delivery::Once,
    }
}
