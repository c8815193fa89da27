//! What the program does, behind [`twzrd_domain::chain::ChainActivity`], and the log of it.
//!
//! [`ProgramActivity`] finds the transactions that touched the program and reads them, all of it
//! finalized. [`WebSocket`] says when to look; what it does not say is found all the same.
//! [`NdjsonLog`] keeps a line for each instruction.

mod log;
mod socket;
mod transaction;
mod walk;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::json;
use solana_rpc_client_api::request::RpcRequest;
use twzrd_domain::chain::{
    Activity, ChainActivity, ChainError, Followed, Found, Mark, Subscription,
};

use crate::program::Program;
use crate::rpc::{Pinned, Pool, chain_error};
use transaction::Ours;
use walk::Walk;

pub use log::{LogConfig, MAX_LINE_BYTES, NdjsonLog};
pub use socket::{SILENCE, SocketConfig, WebSocket};
pub use walk::{MAX_PAGES, PAGE};

/// Where subscriptions come from.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// Subscribes to the program's logs.
    ///
    /// # Errors
    /// Where no node takes the subscription in time.
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError>;
}

/// How often a node is asked for, for each there is: others take turns in between.
const TURNS: usize = 4;

/// The program's transactions, by a pool of nodes.
pub struct ProgramActivity {
    pool: Pool,
    program: Program,
    ours: Ours,
    subscriber: Box<dyn Subscriber>,
    last: Mutex<Last>,
}

/// What the last walk that came to its end left for the next.
#[derive(Clone, Default)]
struct Last {
    /// The node that answered it. It is the first to be asked.
    node: String,
    /// Where its pages ended, the newest first: a gap of many pages is walked from its new end to
    /// its old one once, and not again for each piece of it.
    ends: Vec<Mark>,
}

impl Last {
    /// The oldest page end that is surely behind the mark.
    fn start_behind(&mut self, mark: Option<&Mark>) -> Option<Mark> {
        while let Some(end) = self.ends.last() {
            // Within a slot, an end may be the mark itself or before it.
            if mark.is_none_or(|mark| end.slot > mark.slot) {
                return Some(end.clone());
            }
            self.ends.pop();
        }
        None
    }
}

impl ProgramActivity {
    /// Asks nothing yet.
    #[must_use]
    pub fn new(pool: Pool, program: Program, subscriber: Box<dyn Subscriber>) -> Self {
        Self {
            pool,
            ours: Ours::new(&program),
            program,
            subscriber,
            last: Mutex::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes that are not behind, each once, at least one. Whether one has come as far as the
    /// mark it says itself: the slot that it told is a moment old.
    async fn nodes(&self) -> Result<Vec<Pinned>, ChainError> {
        let first = self.pool.pinned(0).await?;
        let mut nodes = vec![first];
        let all = self.pool.status().len();
        for _ in 1..TURNS * all {
            if nodes.len() == all {
                break;
            }
            let Ok(next) = self.pool.pinned(0).await else {
                break;
            };
            if nodes.iter().all(|node| node.name() != next.name()) {
                nodes.push(next);
            }
        }
        Ok(nodes)
    }

    /// What one node knows behind the mark. Answers from several of them do not fit together where
    /// one has lost its old history.
    async fn after_by(
        &self,
        node: &Pinned,
        followed: &Followed,
        limit: usize,
    ) -> Result<Found, ChainError> {
        let mut last = self.last().clone();
        let mut found = Found::default();
        while found.marks.len() < limit {
            let mark = found.marks.last().or(followed.mark.as_ref()).cloned();
            let start = last.start_behind(mark.as_ref());
            let is_newest = start.is_none();
            let room = limit - found.marks.len();
            let known = found.known.or(followed.known);
            let walk = Walk::new(node, &self.program.id, mark.as_ref(), known, room);
            let walked = walk.from(start).await?;
            if walked.marks.is_empty() {
                // The end itself is the next, and the page above holds it.
                last.ends.pop();
            }
            found.marks.extend(walked.marks);
            found.known = walked.known;
            if is_newest {
                last.ends = walked.ends;
                break;
            }
        }
        last.node = node.name().to_owned();
        *self.last() = last;
        Ok(found)
    }
}

impl fmt::Debug for ProgramActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramActivity")
            .field("pool", &self.pool)
            .field("program", &self.program.id)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ChainActivity for ProgramActivity {
    async fn after(&self, followed: &Followed, limit: usize) -> Result<Found, ChainError> {
        if limit == 0 {
            return Ok(Found::default());
        }
        let mut nodes = self.nodes().await?;
        let last = self.last().node.clone();
        nodes.sort_by_key(|node| node.name() != last);
        let mut wrong = Vec::new();
        for node in &nodes {
            match self.after_by(node, followed, limit).await {
                Ok(found) => return Ok(found),
                Err(
                    ChainError::Transient { reason, .. } | ChainError::Permanent { reason, .. },
                ) => wrong.push(format!("{}: {reason}", node.name())),
            }
        }
        Err(ChainError::Transient {
            doing: walk::LISTING,
            reason: wrong.join("; "),
        })
    }

    async fn read(&self, mark: &Mark) -> Result<Activity, ChainError> {
        let doing = transaction::READING;
        let params = json!([
            mark.signature,
            {
                "encoding": "base64",
                "commitment": "finalized",
                "maxSupportedTransactionVersion": 0,
            }
        ]);
        let mut wrong = Vec::new();
        for node in self.nodes().await? {
            let answer = node.client.send(RpcRequest::GetTransaction, params.clone());
            let read = match answer.await {
                Ok(answer) => transaction::read(&self.ours, mark, answer),
                Err(error) => Err(chain_error(doing, &error).to_string()),
            };
            match read {
                Ok(activity) => return Ok(activity),
                Err(reason) => wrong.push(format!("{}: {reason}", node.name())),
            }
        }
        Err(ChainError::Transient {
            doing,
            reason: format!(
                "{} in slot {}: {}",
                mark.signature,
                mark.slot,
                wrong.join("; ")
            ),
        })
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        self.subscriber.subscribe().await
    }
}
