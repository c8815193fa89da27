//! Accounts as a node has them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::request::RpcRequest;
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::ChainError;

use crate::rpc::chain_error;

/// So many accounts can be asked for at once.
const MAX_ACCOUNTS: usize = 100;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) lamports: u64,
    pub(crate) owner: Pubkey,
    pub(crate) data: Vec<u8>,
}

#[derive(Deserialize)]
struct Answer {
    value: Vec<Option<Account>>,
}

/// An account as a node answers it in base64.
#[derive(Deserialize)]
pub(crate) struct Account {
    lamports: u64,
    owner: String,
    data: (String, String),
}

/// Reads accounts, in their order, at a slot that is not before `not_before_slot`.
pub(crate) async fn read_accounts(
    client: &RpcClient,
    keys: &[Pubkey],
    commitment: CommitmentConfig,
    not_before_slot: u64,
) -> Result<Vec<Option<Found>>, ChainError> {
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(MAX_ACCOUNTS) {
        let names: Vec<String> = chunk.iter().map(Pubkey::to_string).collect();
        let config = json!({
            "encoding": "base64",
            "commitment": commitment.commitment,
            "minContextSlot": not_before_slot,
        });
        let answer: Answer = client
            .send(RpcRequest::GetMultipleAccounts, json!([names, config]))
            .await
            .map_err(|error| chain_error("read accounts", &error))?;
        if answer.value.len() != chunk.len() {
            return Err(nonsense(&format!(
                "{} accounts; expected {}",
                answer.value.len(),
                chunk.len()
            )));
        }
        for account in answer.value {
            found.push(account.map(Account::decode).transpose()?);
        }
    }
    Ok(found)
}

impl Account {
    pub(crate) fn decode(self) -> Result<Found, ChainError> {
        let (text, encoding) = &self.data;
        if encoding != "base64" {
            let encoding: String = encoding.chars().take(32).collect();
            return Err(nonsense(&format!(
                "an account in {encoding:?}; expected base64"
            )));
        }
        let data = BASE64_STANDARD.decode(text);
        let data = data.map_err(|error| nonsense(&format!("an account's base64: {error}")))?;
        let owner = self.owner.parse();
        let owner = owner.map_err(|_| nonsense("an owner that is no public key"))?;
        Ok(Found {
            lamports: self.lamports,
            owner,
            data,
        })
    }
}

fn nonsense(reason: &str) -> ChainError {
    ChainError::Transient {
        doing: "read accounts",
        reason: format!("the node answered {reason}"),
    }
}
