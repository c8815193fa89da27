//! Publishing by itself on the main network must be meant.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use solana_sdk::pubkey::Pubkey;
use twzrd_chain::rpc::{Network, Pool};
use twzrd_domain::chain::{ChainError, Draft, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::settlement::{RootToPublish, Target};

use crate::exit::{Code, Failure, fail};

/// The genesis hash of the main network.
const MAINNET: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";
const DOING: &str = "asking which network this is";
/// The balance is not known.
const UNKNOWN: u64 = u64::MAX;

/// A target that signs nothing before it is known that the network may be written to.
pub struct Guarded {
    target: Box<dyn RootChain>,
    pool: Pool,
    signer: Pubkey,
    /// Whether the main network is refused.
    asks_first: bool,
    /// Why nothing may be signed. A node is of the same network for ever.
    refused: OnceLock<String>,
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
            refused: OnceLock::new(),
            lamports: AtomicU64::new(UNKNOWN),
        }
    }

    /// The signer's balance, in lamports, as it was read last.
    #[must_use]
    pub fn lamports(&self) -> Option<u64> {
        Some(self.lamports.load(Ordering::Relaxed)).filter(|lamports| *lamports != UNKNOWN)
    }

    /// Refuses the main network where that was not acknowledged, and nodes of different ones.
    /// Nodes that are away are asked again before a transaction is signed or sent, and given
    /// nothing before they have answered.
    ///
    /// # Errors
    /// Where it is the main network, or not one network.
    pub async fn refuse_unacknowledged(&self, within: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(within, self.allowed()).await {
            Ok(Err(ChainError::Permanent { reason, .. })) => Err(fail(Code::Config, reason)),
            Ok(Err(ChainError::Transient { .. })) | Err(_) => {
                tracing::warn!(
                    "no node tells which network it is of; asked again before anything is signed"
                );
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
        }
    }

    async fn allowed(&self) -> Result<(), ChainError> {
        if !self.asks_first {
            return Ok(());
        }
        if self.refused.get().is_none() {
            let networks = self.pool.networks().await;
            if let Some(reason) = refusal(&networks) {
                // Another call may have found the same.
                let _ = self.refused.set(reason);
            } else if networks.iter().all(|it| it.genesis.is_none()) {
                return Err(ChainError::Transient {
                    doing: DOING,
                    reason: format!(
                        "none of {} nodes told the hash of its genesis",
                        networks.len()
                    ),
                });
            }
        }
        match self.refused.get() {
            Some(reason) => Err(ChainError::Permanent {
                doing: DOING,
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Why nothing may be signed with nodes of these networks, as far as they are known.
fn refusal(networks: &[Network]) -> Option<String> {
    let mut known = networks
        .iter()
        .filter_map(|it| Some((it.node.as_str(), it.genesis.as_deref()?)));
    let (first, genesis) = known.clone().next()?;
    if let Some((node, _)) = known.clone().find(|(_, genesis)| *genesis == MAINNET) {
        return Some(format!(
            "{node} is of the main network, and publisher.auto_publish is on; expected chain.mainnet_acknowledged = true where that is meant"
        ));
    }
    let (other, its) = known.find(|(_, its)| *its != genesis)?;
    Some(format!(
        "{first} is of the network with genesis {genesis}, and {other} of that with {its}; expected nodes of one network in chain.rpc_urls"
    ))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn networks(all: &[Option<&str>]) -> Vec<Network> {
        let names = ["a", "b", "c"];
        let network = |(node, genesis): (&&str, &Option<&str>)| Network {
            node: (*node).to_owned(),
            genesis: genesis.map(str::to_owned),
        };
        names.iter().zip(all).map(network).collect()
    }

    #[test]
    fn one_node_of_the_main_network_or_of_another_than_the_first_is_refused_wherever_it_stands() {
        for fine in [&[][..], &[None], &[Some("dev"), None], &[Some("dev"); 3]] {
            assert_eq!(refusal(&networks(fine)), None, "{fine:?}");
        }
        for main in [
            &[Some(MAINNET)][..],
            &[Some("dev"), Some(MAINNET)],
            &[Some(MAINNET), Some("dev")],
            &[None, Some("dev"), Some(MAINNET)],
        ] {
            let reason = refusal(&networks(main)).unwrap();
            assert!(reason.contains("chain.mainnet_acknowledged"), "{reason}");
        }
        let reason = refusal(&networks(&[Some("dev"), None, Some("test")])).unwrap();
        for part in ["a is", "dev", "c of", "test", "chain.rpc_urls"] {
            assert!(reason.contains(part), "{reason}");
        }
    }
}
