//! Scripted nodes, and a pool over them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error::{self, ErrorKind};
use solana_rpc_client_api::request::{RpcError, RpcRequest, RpcResponseErrorData};
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};

/// What a node does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Well,
    Code(i64),
    Broken,
    Hang,
    Says(Value),
}

/// A slot that no chain has come to, and that any one could.
pub(crate) const ABSURD: u64 = 1_000_000_000_000;

/// A scripted node. Its slot is told well whatever its mode, unless `is_mute`.
pub(crate) struct Node {
    pub(crate) slot: AtomicU64,
    mode: Mutex<Mode>,
    probes: Mutex<Mode>,
    calls: AtomicUsize,
    probed: AtomicUsize,
}

impl Node {
    pub(crate) fn at(slot: u64) -> Arc<Self> {
        Arc::new(Self {
            slot: AtomicU64::new(slot),
            mode: Mutex::new(Mode::Well),
            probes: Mutex::new(Mode::Well),
            calls: AtomicUsize::new(0),
            probed: AtomicUsize::new(0),
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub(crate) fn set_probes(&self, mode: Mode) {
        *self.probes.lock().unwrap() = mode;
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn probed(&self) -> usize {
        self.probed.load(Ordering::SeqCst)
    }
}

pub(crate) struct Sender(pub(crate) Arc<Node>);

#[async_trait]
impl RpcSender for Sender {
    async fn send(&self, request: RpcRequest, _: Value) -> client_error::Result<Value> {
        let slot = self.0.slot.load(Ordering::SeqCst);
        let (mode, well) = if request == RpcRequest::GetSlot {
            self.0.probed.fetch_add(1, Ordering::SeqCst);
            (self.0.probes.lock().unwrap().clone(), json!(slot))
        } else {
            self.0.calls.fetch_add(1, Ordering::SeqCst);
            let well = json!({"context": {"slot": slot}, "value": 5});
            (self.0.mode.lock().unwrap().clone(), well)
        };
        match mode {
            Mode::Well => Ok(well),
            Mode::Says(value) => Ok(value),
            Mode::Hang => std::future::pending().await,
            Mode::Broken => Err(ErrorKind::Custom("connection refused".to_owned()).into()),
            Mode::Code(code) => Err(RpcError::RpcResponseError {
                code,
                message: "said so".to_owned(),
                data: RpcResponseErrorData::Empty,
            }
            .into()),
        }
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        String::new()
    }
}

pub(crate) fn pool(nodes: &[&Arc<Node>]) -> Pool {
    let names = ["a", "b", "c", "d"];
    let endpoint = |(name, node): (&&str, &&Arc<Node>)| {
        Endpoint::new(*name, Box::new(Sender(Arc::clone(node))))
            .with_timeout(Duration::from_secs(3))
    };
    let endpoints = names.iter().zip(nodes).map(endpoint).collect();
    Pool::new(endpoints, PoolConfig::default()).unwrap()
}

pub(crate) async fn balance(pool: &Pool) -> client_error::Result<u64> {
    pool.client().get_balance(&Default::default()).await
}

pub(crate) fn calls(nodes: &[&Arc<Node>]) -> Vec<usize> {
    nodes.iter().map(|node| node.calls()).collect()
}
