//! A blockhash, and for how long a transaction with it can land.

use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::request::RpcRequest;
use solana_rpc_client_api::response::{Response, RpcBlockhash};
use solana_sdk::hash::Hash;
use twzrd_domain::chain::ChainError;

use crate::rpc::chain_error;

/// In so many blocks behind its own a blockhash can be used.
const AGE: u64 = 150;

/// A blockhash whose last height is further than this above the present one is not believed.
const MOST: u64 = 2 * AGE;

const DOING: &str = "read the latest blockhash";

/// A blockhash, and for how long a transaction with it can land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) blockhash: Hash,
    /// The last height at which it can land.
    pub(crate) last_valid_block_height: u64,
    /// The slot of the state that the blockhash is from: it cannot land before.
    pub(crate) slot: u64,
}

/// The latest blockhash of one node.
///
/// A confirmed one lives longer than a finalized one. Where its block is dropped, the transaction
/// can never land, and expires like any other.
///
/// The last height decides when a transaction is given up and signed anew, so it is not taken on
/// the node's word alone: the height is read after it. A blockhash that was given before a height
/// was reached cannot be used more than [`AGE`] blocks above that height; what the node tells may
/// be later, by blocks and not by days, and never earlier.
pub(crate) async fn lifetime(client: &RpcClient) -> Result<Lifetime, ChainError> {
    let confirmed = CommitmentConfig::confirmed();
    let params = json!([{ "commitment": confirmed.commitment }]);
    let told: Response<RpcBlockhash> = client
        .send(RpcRequest::GetLatestBlockhash, params)
        .await
        .map_err(|error| chain_error(DOING, &error))?;
    let height = client
        .get_epoch_info_with_commitment(confirmed)
        .await
        .map_err(|error| chain_error("read the height", &error))?
        .block_height;
    let last = told.value.last_valid_block_height;
    let most = height.saturating_add(MOST);
    if !(height..=most).contains(&last) {
        return Err(nonsense(&format!(
            "{last} as the last height of a blockhash; expected {height} to {most}, by the height that it told then"
        )));
    }
    let blockhash = told
        .value
        .blockhash
        .parse()
        .map_err(|_| nonsense("a blockhash that is none; expected 32 bytes in base58"))?;
    Ok(Lifetime {
        blockhash,
        last_valid_block_height: last.max(height.saturating_add(AGE)),
        slot: told.context.slot,
    })
}

fn nonsense(what: &str) -> ChainError {
    ChainError::Transient {
        doing: DOING,
        reason: format!("the node told {what}"),
    }
}
