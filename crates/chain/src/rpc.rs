//! A pool of RPC nodes.
//!
//! [`Pool::client`] is a client over all of them: a call that one node cannot answer goes to the
//! next, each node at most once a call. An answer that says what is wrong with the call itself, as
//! a failed preflight does, is an answer and ends the call. [`Pool::pinned`] is a client over one
//! node that is not behind, for answers that must fit together.
//!
//! Which nodes are asked first: those that are not cooling and not behind, in turn; then those
//! that are behind, the least first; where all are cooling, the one that is ready soonest. A node
//! is behind where its finalized slot is more than [`PoolConfig::allowed_lag`] below the highest
//! that any node of the pool has told. Where for minutes no node stands near that one, it is given
//! up: it was a lie, or the chain was set up anew. Nothing runs in the background: slots are asked
//! for inside calls, at most every [`PoolConfig::probe_interval`] and with a deadline of their own.
//!
//! URLs may hold keys in their path, query or user, so a node is shown as scheme, host and port,
//! and no error holds more of its URL.

mod call;
mod endpoint;
mod error;
mod http;
mod network;
mod node;
mod pinned;
mod probe;
mod stats;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client::rpc_client::RpcClientConfig;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::RpcRequest;

pub use endpoint::{Endpoint, MAX_RESPONSE_BYTES, PoolError, Shown};
pub use error::chain_error;
pub use network::Network;
pub use node::NodeStatus;
pub use pinned::Pinned;
pub use stats::{BUCKET_BOUNDS, Observed, Status};

pub(crate) use endpoint::plain;
use node::Nodes;
use stats::Stats;

/// At most so many endpoints: each call may ask all of them.
pub const MAX_ENDPOINTS: usize = 16;

/// How the pool judges its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// How long a node that failed is not asked.
    pub cool_down: Duration,
    /// How many finalized slots a node may be below the highest that is known.
    pub allowed_lag: u64,
    /// Slots are asked for at most this often.
    pub probe_interval: Duration,
    /// How long a node may take to tell its slot.
    pub probe_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            cool_down: Duration::from_secs(60),
            allowed_lag: 50,
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(2),
        }
    }
}

/// Several nodes behind one client. See the module.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    client: Arc<RpcClient>,
}

/// What all clones and clients of a pool share.
struct Shared {
    nodes: Nodes,
    config: PoolConfig,
    turn: AtomicUsize,
    stats: Stats,
    probes: probe::Probes,
}

impl Pool {
    /// A pool over these endpoints. Of endpoints with the same name, the second is shown with
    /// `#2` behind it, and so on.
    ///
    /// # Errors
    /// Where there are none, or more than [`MAX_ENDPOINTS`].
    pub fn new(endpoints: Vec<Endpoint>, config: PoolConfig) -> Result<Self, PoolError> {
        if endpoints.is_empty() {
            return Err(PoolError::None);
        }
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(PoolError::TooMany(endpoints.len()));
        }
        let shared = Arc::new(Shared {
            nodes: Nodes::new(endpoints, config.allowed_lag),
            config,
            turn: AtomicUsize::new(0),
            stats: Stats::default(),
            probes: probe::Probes::default(),
        });
        let client = Arc::new(RpcClient::new_sender(
            PoolSender(Arc::clone(&shared)),
            client_config(),
        ));
        Ok(Self { shared, client })
    }

    /// A pool over these URLs, each of them once.
    ///
    /// # Errors
    /// As [`Pool::new`], and where a text is no HTTP URL.
    pub fn http(urls: &[String], timeout: Duration, config: PoolConfig) -> Result<Self, PoolError> {
        let mut endpoints = Vec::new();
        for (position, url) in urls.iter().enumerate() {
            if !urls[..position].contains(url) {
                endpoints.push(Endpoint::http(url, timeout)?);
            }
        }
        Self::new(endpoints, config)
    }

    /// The client over all nodes. Its commitment is finalized where a call names none.
    #[must_use]
    pub fn client(&self) -> Arc<RpcClient> {
        Arc::clone(&self.client)
    }

    /// How each node stands, in the order of the endpoints.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        self.shared.nodes.status()
    }

    /// How many calls there were, and how long they took, by method and status. A call that was
    /// passed on counts once for each node that was asked.
    #[must_use]
    pub fn observe(&self) -> Vec<Observed> {
        self.shared.stats.observe()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shared.nodes.names()).finish()
    }
}

fn client_config() -> RpcClientConfig {
    RpcClientConfig::with_commitment(CommitmentConfig::finalized())
}

/// A call over all nodes.
struct PoolSender(Arc<Shared>);

#[async_trait]
impl RpcSender for PoolSender {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        self.0.call(request, &params).await
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        self.0.stats.transport()
    }

    fn url(&self) -> String {
        self.0.nodes.names().collect::<Vec<_>>().join(", ")
    }
}

impl Shared {
    /// The place of the next turn.
    fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}
