//! A scripted node, and what a walk over it is asked.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::{RpcError, RpcRequest, RpcResponseErrorData};
use solana_sdk::signature::Signature;
use twzrd_chain::activity::{PAGE, ProgramActivity, Subscriber};
use twzrd_chain::program::Program;
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_domain::chain::{ChainActivity, ChainError, Followed, Known, Mark, Subscription};

/// A chain with a transaction for each number; three in each slot.
pub(crate) fn mark(number: u64) -> Mark {
    let mut bytes = [7; 64];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Mark {
        slot: 1000 + number / 3,
        signature: Signature::from(bytes).to_string().into(),
    }
}

pub(crate) fn marks(from: u64, to: u64) -> Vec<Mark> {
    (from..to).map(mark).collect()
}

pub(crate) type Twist = Arc<dyn Fn(&Value, &mut Vec<Mark>) + Send + Sync>;

/// A node that knows transactions, oldest first.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) known: Arc<Mutex<Vec<Mark>>>,
    pub(crate) slot: Arc<AtomicU64>,
    pub(crate) page: usize,
    pub(crate) twist: Twist,
    pub(crate) asked: Arc<AtomicUsize>,
    /// What is above this slot is listed, and not finalized.
    pub(crate) finalized: Arc<AtomicU64>,
    /// The first block that it keeps; none where it does not say.
    pub(crate) first: Option<u64>,
}

impl Node {
    pub(crate) fn knows(known: Vec<Mark>) -> Self {
        let slot = known.last().map_or(1000, |mark| mark.slot);
        Self {
            known: Arc::new(Mutex::new(known)),
            slot: Arc::new(AtomicU64::new(slot)),
            page: PAGE,
            twist: Arc::new(|_, _| {}),
            asked: Arc::default(),
            finalized: Arc::new(AtomicU64::new(u64::MAX)),
            first: Some(0),
        }
    }

    /// A node that has lost what is before a number's slot.
    pub(crate) fn pruned(from: u64, to: u64) -> Self {
        Self {
            first: Some(mark(from).slot),
            ..Self::knows(marks(from, to))
        }
    }

    fn status(&self, mark: &Mark) -> &'static str {
        match mark.slot > self.finalized.load(Ordering::SeqCst) {
            true => "confirmed",
            false => "finalized",
        }
    }

    pub(crate) fn twisted(
        known: Vec<Mark>,
        twist: impl Fn(&Value, &mut Vec<Mark>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            twist: Arc::new(twist),
            ..Self::knows(known)
        }
    }

    fn page(&self, config: &Value) -> Vec<Mark> {
        let known = self.known.lock().unwrap();
        let is = |key: &str| {
            let wanted = config[key].as_str().map(str::to_owned);
            move |mark: &&Mark| Some(mark.signature.as_str()) == wanted.as_deref()
        };
        let mut newest_first = known.iter().rev();
        // As a real node: what it does not know to go on from has nothing before it.
        if !config["before"].is_null() && !newest_first.any(|mark| is("before")(&mark)) {
            return Vec::new();
        }
        let limit = usize::try_from(config["limit"].as_u64().unwrap()).unwrap();
        let is_until = is("until");
        newest_first
            .take_while(|mark| !is_until(mark))
            .take(limit.min(self.page))
            .cloned()
            .collect()
    }
}

#[async_trait]
impl RpcSender for Node {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        let slot = self.slot.load(Ordering::SeqCst);
        if request == RpcRequest::GetSlot {
            return Ok(json!(slot));
        }
        if request == RpcRequest::GetFirstAvailableBlock {
            return self
                .first
                .map(|slot| json!(slot))
                .ok_or_else(|| error(-32601, "no such method"));
        }
        assert_eq!(request, RpcRequest::GetSignaturesForAddress);
        assert_eq!(params[0], Program::default().id.to_string());
        let config = &params[1];
        assert_eq!(config["commitment"], "finalized");
        self.asked.fetch_add(1, Ordering::SeqCst);
        if config["minContextSlot"]
            .as_u64()
            .is_some_and(|wanted| wanted > slot)
        {
            return Err(error(-32016, "Minimum context slot has not been reached"));
        }
        let mut page = self.page(config);
        (self.twist)(config, &mut page);
        let entry = |mark: &Mark| {
            json!({"signature": mark.signature, "slot": mark.slot, "err": null, "memo": null,
                   "blockTime": 1, "confirmationStatus": self.status(mark)})
        };
        Ok(page.iter().map(entry).collect())
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        String::new()
    }
}

pub(crate) fn error(code: i64, message: &str) -> client_error::Error {
    RpcError::RpcResponseError {
        code,
        message: message.to_owned(),
        data: RpcResponseErrorData::Empty,
    }
    .into()
}

pub(crate) struct NoSubscriber;

#[async_trait]
impl Subscriber for NoSubscriber {
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        panic!("not asked for here")
    }
}

pub(crate) fn activity(nodes: &[&Node]) -> ProgramActivity {
    let endpoints = nodes
        .iter()
        .zip(["a", "b", "c"])
        .map(|(node, name)| Endpoint::new(name, Box::new((*node).clone())));
    // Nodes that are behind stay in the turn here.
    let config = PoolConfig {
        allowed_lag: 1_000_000,
        ..PoolConfig::default()
    };
    let pool = Pool::new(endpoints.collect(), config).unwrap();
    ProgramActivity::new(pool, Program::default(), Box::new(NoSubscriber))
}

/// What comes behind a mark, where nothing else is known.
pub(crate) async fn after(
    activity: &ProgramActivity,
    mark: Option<&Mark>,
    limit: usize,
) -> Result<Vec<Mark>, ChainError> {
    let followed = Followed {
        mark: mark.cloned(),
        known: None,
    };
    let found = activity.after(&followed, limit).await;
    found.map(|found| found.marks)
}

pub(crate) fn known(from: u64, to: u64) -> Option<Known> {
    Some(Known { from, to })
}
