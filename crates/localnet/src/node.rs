//! A node: the ledger behind a lock, the calls that it answers, and what it tells.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use litesvm::LiteSVM;
use serde_json::Value;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::{
    RpcError as ClientRpcError, RpcRequest, RpcResponseErrorData,
};
use solana_sdk::account::{Account, ReadableAccount};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use tokio::sync::broadcast;

use crate::events::{EVENTS, Event, Events};
use crate::ledger::{Commitment, Counts, Dropped, ForkError, Landed, Ledger, NodeConfig};
use crate::rpc::{self, Answer, RpcError};

/// A node. Clones are handles of the same one.
#[derive(Clone)]
pub struct Node {
    ledger: Arc<Mutex<Ledger>>,
    events: broadcast::Sender<Event>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl Node {
    /// A node whose chain begins with the programs and accounts of `svm`. The SVM's own checks of
    /// signatures, blockhashes and duplicates are switched off: the ledger makes them.
    #[must_use]
    pub fn new(config: NodeConfig, svm: LiteSVM) -> Self {
        let svm = svm
            .with_sigverify(false)
            .with_blockhash_check(false)
            .with_transaction_history(0);
        Self::over(Ledger::new(config, svm))
    }

    fn over(ledger: Ledger) -> Self {
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
            events: broadcast::Sender::new(EVENTS),
        }
    }

    /// Another node with the same chain, which goes its own way from here.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::over(self.lock().clone())
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic in the SVM ends the call alone; what it had changed is not in a block.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a block with everything that was sent since the last. Answers its slot.
    pub fn tick(&self) -> u64 {
        let (events, slot) = {
            let mut ledger = self.lock();
            let events = ledger.tick();
            (events, ledger.tip().slot)
        };
        for event in events {
            // Without listeners there is nobody to tell.
            let _ = self.events.send(event);
        }
        slot
    }

    /// Makes so many blocks. Answers the slot of the last.
    pub fn ticks(&self, blocks: u64) -> u64 {
        for _ in 0..blocks {
            self.tick();
        }
        self.lock().tip().slot
    }

    /// Makes blocks at an even pace, for as long as it is polled.
    pub async fn run(&self, every: Duration) {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.tick();
        }
    }

    /// Makes so many blocks and keeps what waits out of them: after 151, no blockhash of before
    /// can be used.
    pub fn skip_blocks(&self, blocks: u64) {
        let waiting = self.lock().hold();
        self.ticks(blocks);
        self.lock().release(waiting);
    }

    /// Drops the last blocks. Answers how many transactions were in them.
    ///
    /// # Errors
    /// Where one of them is finalized.
    pub fn fork(&self, blocks: u64, dropped: Dropped) -> Result<usize, ForkError> {
        self.lock().fork(blocks, dropped)
    }

    /// Answers a call as a node that knows everything.
    ///
    /// # Errors
    /// As JSON-RPC has them.
    pub fn handle(&self, method: &str, params: &Value) -> Answer {
        self.handle_behind(0, method, params)
    }

    /// Answers a call as a node that is so many blocks behind.
    ///
    /// # Errors
    /// As JSON-RPC has them.
    pub fn handle_behind(&self, blocks: u64, method: &str, params: &Value) -> Answer {
        rpc::handle(&mut self.lock(), blocks, method, params)
    }

    /// A transport for an `RpcClient`, without sockets.
    #[must_use]
    pub fn sender(&self) -> NodeSender {
        self.sender_behind(0)
    }

    /// The same, of a node that is so many blocks behind.
    #[must_use]
    pub fn sender_behind(&self, blocks: u64) -> NodeSender {
        NodeSender {
            node: self.clone(),
            behind: blocks,
        }
    }

    /// What the node tells from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    /// What became of transactions.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// How many blocks could be dropped now.
    #[must_use]
    pub fn forkable(&self) -> u64 {
        self.lock().forkable()
    }

    /// The slot of the latest block of a commitment.
    #[must_use]
    pub fn slot(&self, commitment: Commitment) -> u64 {
        let ledger = self.lock();
        ledger.at(ledger.view(0).height(commitment)).slot
    }

    /// An account at a commitment.
    #[must_use]
    pub fn account(&self, key: &Pubkey, commitment: Commitment) -> Option<Account> {
        let ledger = self.lock();
        let height = ledger.view(0).height(commitment);
        ledger.account_at(key, height).map(Account::from)
    }

    /// The data of an account at a commitment.
    #[must_use]
    pub fn data(&self, key: &Pubkey, commitment: Commitment) -> Option<Vec<u8>> {
        self.account(key, commitment)
            .map(|account| account.data().to_vec())
    }

    /// A transaction that is in a block, and how far it has come.
    #[must_use]
    pub fn landed(&self, signature: &Signature) -> Option<(Commitment, Arc<Landed>)> {
        let ledger = self.lock();
        let (height, landed) = ledger.transaction(signature)?;
        let commitment = ledger.view(0).commitment_of(height)?;
        Some((commitment, Arc::clone(landed)))
    }

    /// Sets an account as if it had been so from the beginning.
    pub fn set_account(&self, key: Pubkey, account: Account) {
        self.lock().set_account(key, account);
    }
}

/// A transport for an `RpcClient` that asks a node in the same process.
#[derive(Clone, Debug)]
pub struct NodeSender {
    node: Node,
    behind: u64,
}

#[async_trait]
impl RpcSender for NodeSender {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        let method = request.to_string();
        self.node
            .handle_behind(self.behind, &method, &params)
            .map_err(|error| client_error(request, error))
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        "in-process".to_owned()
    }
}

/// An error as solana-client makes it from an answer.
pub(crate) fn client_error(request: RpcRequest, error: RpcError) -> client_error::Error {
    let from_data = |data: Value| match error.code {
        -32002 => serde_json::from_value(data)
            .ok()
            .map(RpcResponseErrorData::SendTransactionPreflightFailure),
        -32005 => Some(RpcResponseErrorData::NodeUnhealthy {
            num_slots_behind: data["numSlotsBehind"].as_u64(),
        }),
        _ => None,
    };
    let data = error
        .data
        .and_then(from_data)
        .unwrap_or(RpcResponseErrorData::Empty);
    let error = ClientRpcError::RpcResponseError {
        code: error.code,
        message: error.message,
        data,
    };
    client_error::Error::new_with_request(client_error::ErrorKind::from(error), request)
}
