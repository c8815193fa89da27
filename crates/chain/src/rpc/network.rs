//! Which network each node is of.

use futures::future::join_all;
use serde_json::json;
use solana_rpc_client_api::request::RpcRequest;
use solana_sdk::hash::Hash;

use super::call::ANY_SLOT;
use super::{Pool, Shared};

/// Which network a node is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The node's name. No credentials.
    pub node: String,
    /// The hash of its genesis, in base58; none where it has not told it.
    pub genesis: Option<String>,
}

impl Pool {
    /// Which network each node is of, in their order. Only those that have not told it are asked,
    /// all at once, each with [`super::PoolConfig::probe_timeout`] for its answer.
    ///
    /// From the first answer on, no client of the pool asks a node that has not told its network:
    /// one that is away now might turn out to be of another. With the slots it is asked again.
    pub async fn networks(&self) -> Vec<Network> {
        self.shared.ask_networks().await;
        let network = |(name, genesis): (&str, Option<String>)| Network {
            node: name.to_owned(),
            genesis,
        };
        let nodes = &self.shared.nodes;
        nodes.names().zip(nodes.geneses()).map(network).collect()
    }
}

impl Shared {
    /// Asks the nodes whose network is not known.
    pub(super) async fn ask_networks(&self) {
        let params = json!([]);
        let timeout = self.config.probe_timeout;
        let asked = self.nodes.unknown().into_iter().map(|node| {
            let params = &params;
            async move {
                let request = RpcRequest::GetGenesisHash;
                let told = self.ask_within(node, request, params, ANY_SLOT, timeout);
                (node, told.await)
            }
        });
        for (node, told) in join_all(asked).await {
            let Ok(told) = told else { continue };
            match told.as_str().and_then(|text| text.parse::<Hash>().ok()) {
                Some(hash) => self.nodes.get(node).is_of(hash.to_string()),
                None => self
                    .nodes
                    .get(node)
                    .passed("getGenesisHash: a text that is no hash; expected 32 bytes in base58"),
            }
        }
    }
}
