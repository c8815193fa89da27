//! Publishing by itself on the main network must be meant.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use solana_sdk::pubkey::Pubkey;
use tokio::sync::OnceCell;
use twzrd_chain::rpc::{Pool, chain_error};
use twzrd_domain::chain::{ChainError, Draft, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::settlement::{RootToPublish, Target};

use crate::exit::{Code, Failure, fail};

/// The genesis hash of the main network.
const MAINNET: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";
/// What is said where it is refused.
const REFUSED: &str = "the nodes are of the main network, and publisher.auto_publish is on; expected chain.mainnet_acknowledged = true where that is meant";
/// The balance is not known.
const UNKNOWN: u64 = u64::MAX;

/// A target that signs nothing before it is known that the network may be written to.
pub struct Guarded {
    target: Box<dyn RootChain>,
    pool: Pool,
    signer: Pubkey,
    /// Whether the main network is refused.
    asks_first: bool,
    is_mainnet: OnceCell<bool>,
    lamports: AtomicU64,
}

impl Guarded {
    /// Guards a target; asks for the network only where the main network is refused.
    #[must_use]
    pub fn new(target: Box<dyn RootChain>, pool: Pool, signer: Pubkey, asks_first: bool) -> Self {
        Self {
            target,
            pool,
            signer,
            asks_first,
            is_mainnet: OnceCell::new(),
            lamports: AtomicU64::new(UNKNOWN),
        }
    }

    /// The signer's balance, in lamports, as it was read last.
    #[must_use]
    pub fn lamports(&self) -> Option<u64> {
        Some(self.lamports.load(Ordering::Relaxed)).filter(|lamports| *lamports != UNKNOWN)
    }

    /// Refuses the main network where that was not acknowledged. Nodes that are away are asked
    /// again before the first transaction is signed.
    ///
    /// # Errors
    /// Where it is the main network.
    pub async fn refuse_unacknowledged(&self, within: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(within, self.allowed()).await {
            Ok(Err(_)) if self.is_mainnet.get() == Some(&true) => Err(fail(Code::Config, REFUSED)),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    "no node tells which network it is of; asked again before anything is signed"
                );
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
        }
    }

    async fn allowed(&self) -> Result<(), ChainError> {
        const DOING: &str = "asking which network this is";
        if !self.asks_first {
            return Ok(());
        }
        let ask = async {
            let hash = self.pool.client().get_genesis_hash().await;
            let hash = hash.map_err(|error| chain_error(DOING, &error))?;
            Ok::<_, ChainError>(hash.to_string() == MAINNET)
        };
        if *self.is_mainnet.get_or_try_init(|| ask).await? {
            let (doing, reason) = (DOING, REFUSED.to_owned());
            return Err(ChainError::Permanent { doing, reason });
        }
        Ok(())
    }
}

#[async_trait]
impl RootChain for Guarded {
    fn target(&self) -> Target {
        self.target.target()
    }

    fn replaces(&self, one: &RootToPublish, other: &RootToPublish) -> bool {
        self.target.replaces(one, other)
    }

    async fn look(&self, roots: &[RootToPublish]) -> Result<Vec<Standing>, ChainError> {
        let standings = self.target.look(roots).await?;
        // For eyes; what a transaction needs is looked at where it is built.
        if let Ok(lamports) = self.pool.client().get_balance(&self.signer).await {
            self.lamports.store(lamports, Ordering::Relaxed);
        }
        Ok(standings)
    }

    async fn draft(&self, roots: &[RootToPublish]) -> Result<Draft, ChainError> {
        self.allowed().await?;
        self.target.draft(roots).await
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        self.allowed().await?;
        self.target.send(transaction).await
    }

    async fn landing(&self, transaction: &SignedTransaction) -> Result<Landing, ChainError> {
        self.target.landing(transaction).await
    }

    async fn read_back(
        &self,
        transaction: &SignedTransaction,
        slot: u64,
        roots: &[RootToPublish],
    ) -> Result<Vec<Standing>, ChainError> {
        self.target.read_back(transaction, slot, roots).await
    }
}
