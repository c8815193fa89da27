//! Sending a transaction, and what became of it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::client_error::Error;
use solana_rpc_client_api::request::RpcRequest;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::TransactionError;
use solana_transaction_status_client_types::TransactionConfirmationStatus;
use twzrd_domain::chain::ChainError;

use crate::rpc::{Pinned, Pool, chain_error};

const STATUS: &str = "read a signature's status";

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It can still land.
    Pending,
    /// It is finalized, and did what it should.
    Finalized { slot: u64 },
    /// It is finalized, and failed as a whole.
    Failed { slot: u64, error: TransactionError },
    /// It can never land.
    Expired { block_height: u64 },
}

/// Sends the bytes as they are, without preflight: it was simulated before it was signed, and a
/// node that is behind would refuse what the others take. That it was processed already is what
/// sending is for, and no error.
pub(crate) async fn send(pool: &Pool, signature: &str, bytes: &[u8]) -> Result<(), ChainError> {
    let config = json!({ "encoding": "base64", "skipPreflight": true, "maxRetries": 0 });
    let params = json!([BASE64_STANDARD.encode(bytes), config]);
    let sent: Result<String, Error> = pool
        .client()
        .send(RpcRequest::SendTransaction, params)
        .await;
    match sent {
        Ok(answered) if answered == signature => Ok(()),
        Ok(answered) => Err(ChainError::Transient {
            doing: "send a transaction",
            reason: format!(
                "the node answered {:?}; expected {signature}",
                answered.chars().take(100).collect::<String>()
            ),
        }),
        Err(error) if is_already_processed(&error) => Ok(()),
        Err(error) => Err(chain_error("send a transaction", &error)),
    }
}

fn is_already_processed(error: &Error) -> bool {
    error.get_transaction_error() == Some(TransactionError::AlreadyProcessed)
}

/// What became of a transaction, by one node that is not behind.
///
/// The finalized height is read first, the status after it; this order is what makes "expired"
/// safe. A transaction can only be in a block of a height up to its last valid one. Where the
/// finalized height has passed that, every such block is decided: a block of the finalized chain
/// is never undone, and no other block of that height can join it. A status that is read *later*,
/// from a state that holds that finalized chain, knows each transaction in it; where it knows
/// none, there is none and never will be, whatever forks there still are. Read the other way
/// round, the transaction could land between the two calls, and be signed a second time.
///
/// A node also knows none of those that it has forgotten, or never had because its history begins
/// later. So where the slot is known in which the transaction was signed, "expired" is believed
/// only of a node whose history reaches back to it. That is asked last, since history only gets
/// shorter.
///
/// A slot that lies behind what the node has finalized is not that of a finalized transaction, nor
/// is one in front of that in which it was signed.
///
/// Height and slot come in one answer, so that a machine behind the same URL whose state is older
/// than that slot is refused ([`crate::rpc::Pinned`]) instead of believed.
pub(crate) async fn landing(
    pool: &Pool,
    signature: &str,
    last_valid_block_height: u64,
    signed_in_slot: Option<u64>,
) -> Result<Outcome, ChainError> {
    let signature: Signature = signature.parse().map_err(|_| ChainError::Permanent {
        doing: STATUS,
        reason: format!("{signature:?} is no signature; expected 64 bytes in base58"),
    })?;
    let node = pool.pinned(0).await?;
    let finalized = node
        .client
        .get_epoch_info_with_commitment(CommitmentConfig::finalized())
        .await
        .map_err(|error| chain_error("read the finalized height", &error))?;
    let statuses = node
        .client
        .get_signature_statuses_with_history(&[signature])
        .await
        .map_err(|error| chain_error(STATUS, &error))?;
    let known = statuses.context.slot;
    let [status] = <[_; 1]>::try_from(statuses.value)
        .map_err(|all| nonsense(&format!("{} statuses; expected 1", all.len())))?;
    let Some(status) = status else {
        if finalized.block_height <= last_valid_block_height {
            return Ok(Outcome::Pending);
        }
        if let Some(slot) = signed_in_slot {
            reaches_back(&node, slot).await?;
        }
        let block_height = finalized.block_height;
        return Ok(Outcome::Expired { block_height });
    };
    if status.slot > known {
        return Err(nonsense(&format!(
            "slot {} for {signature}; expected {known} at most, the slot of the answer",
            status.slot
        )));
    }
    if let Some(since) = signed_in_slot.filter(|since| status.slot < *since) {
        return Err(nonsense(&format!(
            "slot {} for {signature}; expected {since} at least, in which it was signed",
            status.slot
        )));
    }
    let is_finalized = status.confirmation_status() == TransactionConfirmationStatus::Finalized;
    // What was finalized since the height was read is so at the next look.
    if !is_finalized || status.slot > finalized.absolute_slot {
        return Ok(Outcome::Pending);
    }
    let slot = status.slot;
    Ok(match status.err {
        None => Outcome::Finalized { slot },
        Some(error) => Outcome::Failed { slot, error },
    })
}

/// Refuses a node whose history begins behind a slot.
async fn reaches_back(node: &Pinned, slot: u64) -> Result<(), ChainError> {
    const DOING: &str = "read where a node's history begins";
    let first = node.client.get_first_available_block().await;
    let first = first.map_err(|error| chain_error(DOING, &error))?;
    if first <= slot {
        return Ok(());
    }
    Err(ChainError::Transient {
        doing: DOING,
        reason: format!(
            "{} does not know a transaction of slot {slot} or later, and its history begins in slot {first}: it may have landed; expected a node whose history begins in slot {slot} or before",
            node.name()
        ),
    })
}

fn nonsense(what: &str) -> ChainError {
    ChainError::Transient {
        doing: STATUS,
        reason: format!("the node told {what}"),
    }
}
