//! Roots by the SPL Memo program, one line a root, on any cluster.
//!
//! A memo stands in no account, so that nothing can be said of a root before its own transaction
//! is finalized; then the transaction itself is read.

use async_trait::async_trait;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::config::RpcTransactionConfig;
use solana_sdk::message::VersionedMessage;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::VersionedTransaction;
use solana_transaction_status_client_types::UiTransactionEncoding;
use twzrd_domain::chain::{ChainError, Draft, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::identity::Node;
use twzrd_domain::settlement::{Reason, RootToPublish, Target, Why};

use super::TargetConfig;
use super::compose::{Composer, Item};
use super::landing::{landing, send};
use super::refusal::Refuser;
use crate::keys::Signer;
use crate::program::memo::{self, MEMO_PROGRAM, Memo};
use crate::rpc::{Pool, chain_error};

const DOING: &str = "read a finalized memo";

/// The memo program as a target.
#[derive(Clone, Debug)]
pub struct MemoTarget {
    pool: Pool,
    signer: Signer,
    config: TargetConfig,
}

impl MemoTarget {
    /// A target that signs with this key.
    #[must_use]
    pub const fn new(pool: Pool, signer: Signer, config: TargetConfig) -> Self {
        Self {
            pool,
            signer,
            config,
        }
    }
}

#[async_trait]
impl RootChain for MemoTarget {
    fn target(&self) -> Target {
        Target::Memo
    }

    /// Nothing is known of a memo by its root alone: all are free.
    async fn look(&self, roots: &[RootToPublish]) -> Result<Vec<Standing>, ChainError> {
        Ok(vec![Standing::Free; roots.len()])
    }

    async fn draft(&self, roots: &[RootToPublish]) -> Result<Draft, ChainError> {
        if roots.is_empty() {
            return Ok(Draft::default());
        }
        let node = self.pool.pinned(0).await?;
        let key = self.signer.pubkey();
        let items = roots.iter().take(self.config.max_roots.max(1));
        let items = items.map(|root| Item {
            root: root.id,
            instruction: memo::instruction(&key, root),
            rent: 0,
        });
        let composer = Composer {
            client: &node.client,
            signer: &self.signer,
            config: &self.config,
            refuser: Refuser::Memo,
        };
        Ok(composer.compose(items.collect()).await?.draft)
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        send(&self.pool, &transaction.signature, &transaction.bytes).await
    }

    async fn landing(&self, transaction: &SignedTransaction) -> Result<Landing, ChainError> {
        let (signature, since) = (&transaction.signature, transaction.signed_in_slot);
        let last_valid = transaction.last_valid_block_height;
        let outcome = landing(&self.pool, signature, last_valid, since).await?;
        Ok(Refuser::Memo.landing(outcome, &transaction.roots))
    }

    async fn read_back(
        &self,
        transaction: &SignedTransaction,
        slot: u64,
        roots: &[RootToPublish],
    ) -> Result<Vec<Standing>, ChainError> {
        let node = self.pool.pinned(slot).await?;
        let found = finalized(&node.client, &transaction.signature, slot).await?;
        let lines = lines(&found, &payer(transaction)?);
        Ok(roots.iter().map(|root| standing(&lines, root)).collect())
    }
}

/// The transaction, as the finalized chain has it.
async fn finalized(
    client: &RpcClient,
    signature: &str,
    slot: u64,
) -> Result<VersionedTransaction, ChainError> {
    let transient = |reason: String| ChainError::Transient {
        doing: DOING,
        reason,
    };
    let expected: Signature = signature.parse().map_err(|_| ChainError::Permanent {
        doing: DOING,
        reason: format!("{signature:?} is no signature; expected 64 bytes in base58"),
    })?;
    let config = RpcTransactionConfig {
        encoding: Some(UiTransactionEncoding::Base64),
        commitment: Some(CommitmentConfig::finalized()),
        max_supported_transaction_version: Some(0),
    };
    let found = client
        .get_transaction_with_config(&expected, config)
        .await
        .map_err(|error| chain_error(DOING, &error))?;
    if found.slot != slot {
        return Err(transient(format!(
            "{signature} is in slot {}; expected {slot}",
            found.slot
        )));
    }
    if let Some(error) = found.transaction.meta.and_then(|meta| meta.err) {
        return Err(transient(format!(
            "{signature} failed: {error}; expected success"
        )));
    }
    let transaction = found.transaction.transaction.decode();
    let transaction = transaction
        .ok_or_else(|| transient(format!("{signature} cannot be read; expected base64")))?;
    if transaction.signatures.first() != Some(&expected) {
        return Err(transient(format!(
            "the node answered another transaction; expected {signature}"
        )));
    }
    Ok(transaction)
}

/// The key that signed a stored transaction, which by now need not be the one that signs.
fn payer(transaction: &SignedTransaction) -> Result<Pubkey, ChainError> {
    let damaged = |reason: String| ChainError::Permanent {
        doing: DOING,
        reason: format!("the stored bytes of {}: {reason}", transaction.signature),
    };
    let stored: VersionedTransaction =
        bincode::deserialize(&transaction.bytes).map_err(|error| damaged(error.to_string()))?;
    let keys = stored.message.static_account_keys();
    let payer = keys.first().copied();
    payer.ok_or_else(|| damaged("no account; expected the payer first".to_owned()))
}

/// The lines of a transaction that this key signed.
fn lines(transaction: &VersionedTransaction, key: &Pubkey) -> Vec<Memo> {
    let message: &VersionedMessage = &transaction.message;
    let keys = message.static_account_keys();
    let signers = usize::from(message.header().num_required_signatures);
    message
        .instructions()
        .iter()
        .filter(|it| keys.get(usize::from(it.program_id_index)) == Some(&MEMO_PROGRAM))
        .filter(|it| {
            let mut named = it.accounts.iter().map(|at| usize::from(*at));
            named.any(|at| at < signers && keys.get(at) == Some(key))
        })
        .filter_map(|it| memo::parse(std::str::from_utf8(&it.data).ok()?))
        .collect()
}

fn standing(lines: &[Memo], root: &RootToPublish) -> Standing {
    let same = |line: &&Memo| line.epoch == root.epoch && line.channel == root.channel;
    let text = match lines.iter().find(same) {
        Some(line) if line.root == root.root && line.count == root.count => {
            return Standing::Published;
        }
        Some(line) => format!(
            "the memo says count {} and root {}; expected {} and {}",
            line.count,
            Node(line.root),
            root.count,
            Node(root.root)
        ),
        None => format!(
            "the transaction has no memo of ours for epoch {} of {}; it has {}",
            root.epoch,
            root.channel,
            lines.len()
        ),
    };
    Standing::Blocked(Reason::new(Why::ProgramRefused, text))
}
