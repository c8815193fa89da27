//! One node that is not behind, for answers that must fit together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::RpcRequest;
use twzrd_domain::chain::ChainError;

use super::node::MAX_LEAD;
use super::verdict::{is_finalized, slot_of};
use super::{Pool, Shared, client_config};

/// A node is chosen by slots that are no older than this, about the time of a slot.
const MAX_AGE: Duration = Duration::from_millis(400);

/// One node. Nothing is passed on to another.
///
/// Behind one URL there may be several machines. So an answer that tells its slot is refused
/// (-32016) where that is before [`Pinned::slot`] or before the highest finalized slot that an
/// earlier answer told, and so is one of a slot far above them. `getEpochInfo` counts, `getBlockHeight` tells no slot: a height that must
/// not be later than what is read after it comes from `getEpochInfo`.
pub struct Pinned {
    /// The client of this node.
    pub client: Arc<RpcClient>,
    name: String,
    slot: u64,
}

impl Pinned {
    /// The node's name. No credentials.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The finalized slot that the node told when it was chosen.
    #[must_use]
    pub const fn slot(&self) -> u64 {
        self.slot
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("name", &self.name)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// One node whose finalized slot is `not_before_slot` or later, and not behind the highest
    /// that any node of the pool ever told.
    ///
    /// # Errors
    /// Where there is none now.
    pub async fn pinned(&self, not_before_slot: u64) -> Result<Pinned, ChainError> {
        let shared = &self.shared;
        shared.probe(MAX_AGE).await;
        let floor = shared.nodes.floor().max(not_before_slot);
        let order = shared.nodes.order(shared.next_turn());
        let chosen = order.into_iter().find_map(|node| {
            let slot = shared.nodes.get(node).slot()?;
            (slot >= floor).then_some((node, slot))
        });
        let Some((node, slot)) = chosen else {
            return Err(ChainError::Transient {
                doing: "choose a node that is not behind",
                reason: format!("expected slot {floor} or later; {}", self.slots()),
            });
        };
        let sender = PinnedSender {
            shared: Arc::clone(shared),
            node,
            floor: AtomicU64::new(slot),
            ceiling: slot.saturating_add(MAX_LEAD),
        };
        Ok(Pinned {
            client: Arc::new(RpcClient::new_sender(sender, client_config())),
            name: shared.nodes.get(node).endpoint.name.clone(),
            slot,
        })
    }

    fn slots(&self) -> String {
        let told = self.status().into_iter().map(|node| {
            let slot = node
                .slot
                .map_or("at no slot".to_owned(), |slot| format!("at {slot}"));
            match node.cooling {
                Some(_) => format!(
                    "{} {slot} and cooling down after {}",
                    node.name,
                    node.last_error.unwrap_or_default()
                ),
                None => format!("{} {slot}", node.name),
            }
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// A call to one node.
struct PinnedSender {
    shared: Arc<Shared>,
    node: usize,
    floor: AtomicU64,
    ceiling: u64,
}

#[async_trait]
impl RpcSender for PinnedSender {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        let floor = self.floor.load(Ordering::Acquire);
        let slots = floor..=self.ceiling;
        let asked = self.shared.ask(self.node, request, &params, slots).await;
        let result = asked.map_err(|(_, error)| error)?;
        if is_finalized(request, &params)
            && let Some(slot) = slot_of(request, &result)
        {
            self.floor.fetch_max(slot, Ordering::AcqRel);
        }
        Ok(result)
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        self.shared.stats.transport()
    }

    fn url(&self) -> String {
        self.shared.nodes.get(self.node).endpoint.name.clone()
    }
}
