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
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::json;
use solana_rpc_client_api::request::RpcRequest;
use twzrd_domain::chain::{Activity, ChainActivity, ChainError, Mark, Subscription};

use crate::program::Program;
use crate::rpc::{Pool, chain_error};

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

/// The program's transactions, by a pool of nodes.
pub struct ProgramActivity {
    pool: Pool,
    program: Program,
    subscriber: Box<dyn Subscriber>,
    /// Where the pages of the last walk ended, the newest first: a gap of many pages is walked
    /// from its new end to its old one once, and not again for each piece of it.
    ends: Mutex<Vec<Mark>>,
}

impl ProgramActivity {
    /// Asks nothing yet.
    #[must_use]
    pub fn new(pool: Pool, program: Program, subscriber: Box<dyn Subscriber>) -> Self {
        Self {
            pool,
            program,
            subscriber,
            ends: Mutex::default(),
        }
    }

    /// The oldest page end that is surely behind the mark.
    fn start_behind(&self, mark: Option<&Mark>) -> Option<Mark> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = ends.last() {
            // Within a slot, an end may be the mark itself or before it.
            if mark.is_none_or(|mark| end.slot > mark.slot) {
                return Some(end.clone());
            }
            ends.pop();
        }
        None
    }

    fn drop_end(&self) {
        self.ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
    }

    fn keep_ends(&self, ends: Vec<Mark>) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
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
    async fn after(&self, mark: Option<&Mark>, limit: usize) -> Result<Vec<Mark>, ChainError> {
        let mut all: Vec<Mark> = Vec::new();
        while all.len() < limit {
            let last = all.last().or(mark).cloned();
            let end = self.start_behind(last.as_ref());
            let walk = walk::Walk::new(
                &self.pool,
                &self.program.id,
                last.as_ref(),
                limit - all.len(),
            );
            let is_newest = end.is_none();
            let found = walk.from(end).await?;
            if is_newest {
                self.keep_ends(found.ends);
                all.extend(found.marks);
                break;
            }
            if found.marks.is_empty() {
                // The end itself is the next, and the page above holds it.
                self.drop_end();
            }
            all.extend(found.marks);
        }
        Ok(all)
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
        let mut last = None;
        // The nodes take turns, so that each is asked about once.
        for _ in 0..self.pool.status().len() {
            let asked = self.pool.client();
            let answer = asked
                .send(RpcRequest::GetTransaction, params.clone())
                .await
                .map_err(|error| chain_error(doing, &error))?;
            match transaction::read(&self.program.id, mark, answer) {
                Ok(activity) => return Ok(activity),
                Err(reason) => last = Some(reason),
            }
        }
        Err(ChainError::Transient {
            doing,
            reason: format!(
                "{} in slot {}: {}",
                mark.signature,
                mark.slot,
                last.unwrap_or_default()
            ),
        })
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        self.subscriber.subscribe().await
    }
}
