//! JSON-RPC as solana-client speaks it: a method and its parameters, answered from a view of the
//! ledger. Everything above it, sockets or none, calls [`handle`].

mod account;
mod history;
mod params;
mod transaction;

use serde_json::{Value, json};

use crate::ledger::{Ledger, View};
use params::Params;

pub(crate) use history::err_json;
pub(crate) use params::level;
pub(crate) use transaction::signature_of;

/// How many slots an epoch of the cluster has; that of the main network.
const SLOTS_IN_EPOCH: u64 = 432_000;

/// The largest transaction, in bytes.
pub(crate) const MAX_TRANSACTION: usize = 1232;

/// A node that is further behind says that it is not healthy.
const HEALTHY_WITHIN: u64 = 128;

/// An error of JSON-RPC.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// The number.
    pub code: i64,
    /// What was wrong, for people.
    pub message: String,
    /// More of it, for programs.
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    /// As it stands in an answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        error
    }
}

/// What a method answers.
pub type Answer = Result<Value, RpcError>;

/// A call in progress: the ledger, what this node knows of it, and what was asked.
pub(crate) struct Call<'a> {
    ledger: &'a mut Ledger,
    view: View,
    behind: u64,
    params: Params<'a>,
}

/// Answers a call from the view of a node that is so many blocks behind.
pub(crate) fn handle(ledger: &mut Ledger, behind: u64, method: &str, params: &Value) -> Answer {
    let view = ledger.view(behind);
    let mut call = Call {
        ledger,
        view,
        behind,
        params: Params::of(params)?,
    };
    match method {
        "getHealth" => call.health(),
        "getVersion" => Ok(json!({"solana-core": "4.2.2", "feature-set": 0})),
        "getGenesisHash" => Ok(json!(call.ledger.genesis_hash().to_string())),
        "getSlot" => Ok(json!(call.block(0)?.0)),
        "getBlockHeight" => Ok(json!(call.block(0)?.1)),
        "getEpochInfo" => {
            let (slot, height) = call.block(0)?;
            Ok(json!({
                "absoluteSlot": slot, "blockHeight": height, "epoch": slot / SLOTS_IN_EPOCH,
                "slotIndex": slot % SLOTS_IN_EPOCH, "slotsInEpoch": SLOTS_IN_EPOCH,
                "transactionCount": null,
            }))
        }
        "getFirstAvailableBlock" => Ok(json!(call.ledger.first().slot)),
        "getLatestBlockhash" => call.latest_blockhash(),
        "isBlockhashValid" => call.is_blockhash_valid(),
        "getBalance" => call.balance(),
        "getAccountInfo" => call.account_info(),
        "getMultipleAccounts" => call.multiple_accounts(),
        "getMinimumBalanceForRentExemption" => call.rent(),
        "getTokenAccountBalance" => call.token_balance(),
        "getFeeForMessage" => call.fee_for_message(),
        "getRecentPrioritizationFees" => call.recent_fees(),
        "simulateTransaction" => call.simulate(),
        "sendTransaction" => call.send(),
        "requestAirdrop" => call.airdrop(),
        "getSignatureStatuses" => call.statuses(),
        "getSignaturesForAddress" => call.signatures_for_address(),
        "getTransaction" => call.transaction(),
        _ => Err(RpcError::new(-32601, "Method not found")),
    }
}

impl Call<'_> {
    /// Slot and height of the block that an answer is read from, by the commitment and the least
    /// slot that the configuration at a place of the parameters asks for.
    fn block(&self, place: usize) -> Result<(u64, u64), RpcError> {
        let config = self.params.config(place)?;
        self.bank(config.commitment()?, config.min_context_slot)
    }

    fn bank(
        &self,
        commitment: crate::ledger::Commitment,
        least: Option<u64>,
    ) -> Result<(u64, u64), RpcError> {
        let height = self.view.height(commitment);
        let slot = self.ledger.at(height).slot;
        if least.is_some_and(|least| slot < least) {
            return Err(RpcError {
                code: -32016,
                message: "Minimum context slot has not been reached".to_owned(),
                data: Some(json!({"contextSlot": slot})),
            });
        }
        Ok((slot, height))
    }

    fn health(&self) -> Answer {
        if self.behind <= HEALTHY_WITHIN {
            return Ok(json!("ok"));
        }
        Err(RpcError {
            code: -32005,
            message: format!("Node is behind by {} slots", self.behind),
            data: Some(json!({"numSlotsBehind": self.behind})),
        })
    }

    fn recent_fees(&self) -> Answer {
        let tip = self.view.processed;
        let first = tip.saturating_sub(crate::ledger::BLOCKHASH_AGE - 1);
        let fees: Vec<Value> = (first.max(self.ledger.config.first_height)..=tip)
            .map(|height| json!({"slot": self.ledger.at(height).slot, "prioritizationFee": 0}))
            .collect();
        Ok(json!(fees))
    }
}

/// A value with the slot that it was read at.
fn with_context(slot: u64, value: impl serde::Serialize) -> Value {
    json!({"context": {"slot": slot, "apiVersion": "4.2.2"}, "value": value})
}
