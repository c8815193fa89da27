//! Asks all nodes for their finalized slot, now and then and inside of calls.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use solana_rpc_client_api::request::RpcRequest;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::call::ANY_SLOT;

/// When slots were asked for last, and whether somebody is asking.
#[derive(Default)]
pub(super) struct Probes {
    state: Mutex<State>,
    rounds: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    last: Option<Instant>,
    is_under_way: bool,
}

/// What somebody who wants slots has to do.
enum Turn<'a> {
    /// Nothing: they are fresh.
    Fresh,
    /// Wait: another one asks.
    Wait,
    /// Ask.
    Mine(Round<'a>),
}

/// The right to ask. Given up when dropped, so that a caller who is cancelled leaves none waiting.
struct Round<'a>(&'a Probes);

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.0.lock().is_under_way = false;
        self.0.rounds.send_modify(|round| *round += 1);
    }
}

impl Probes {
    fn turn(&self, max_age: Duration) -> Turn<'_> {
        let mut state = self.lock();
        if state.last.is_some_and(|last| last.elapsed() < max_age) {
            return Turn::Fresh;
        }
        if state.is_under_way {
            return Turn::Wait;
        }
        state.is_under_way = true;
        Turn::Mine(Round(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Makes sure that the slots are no older than `max_age`. Takes at most
    /// [`super::PoolConfig::probe_timeout`], twice where a node has not told its network, and twice
    /// that where another call was asking.
    pub(super) async fn probe(&self, max_age: Duration) {
        loop {
            let mut rounds = self.probes.rounds.subscribe();
            match self.probes.turn(max_age) {
                Turn::Fresh => return,
                Turn::Wait => {
                    if rounds.changed().await.is_err() {
                        return;
                    }
                }
                Turn::Mine(round) => {
                    self.ask_slots().await;
                    self.probes.lock().last = Some(Instant::now());
                    drop(round);
                    return;
                }
            }
        }
    }

    async fn ask_slots(&self) {
        if self.nodes.is_vetted() {
            self.ask_networks().await;
        }
        let params = json!([{"commitment": "finalized"}]);
        let timeout = self.config.probe_timeout;
        let asked = self.nodes.ready().into_iter().map(|node| {
            let params = &params;
            async move {
                let slot = self
                    .ask_within(node, RpcRequest::GetSlot, params, ANY_SLOT, timeout)
                    .await;
                (node, slot.ok().and_then(|slot| slot.as_u64()))
            }
        });
        let mut told = Vec::new();
        for (node, slot) in join_all(asked).await {
            match slot {
                Some(slot) => told.push((node, slot)),
                None => self.nodes.forget_slot(node),
            }
        }
        for (node, told) in self.nodes.take_slots(&told) {
            let error = format!("getSlot: {told}");
            self.nodes.get(node).failed(&error, self.config.cool_down);
        }
    }
}
