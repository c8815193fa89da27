//! What a node tells while it goes on.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::ledger::{Commitment, Landed};

/// How many events may wait for a listener; one that is slower loses the oldest.
pub(crate) const EVENTS: usize = 16_384;

/// Something that a node tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// A block.
    Slot {
        /// Its slot.
        slot: u64,
        /// The slot of the block before.
        parent: u64,
        /// The slot of the latest finalized block.
        root: u64,
    },
    /// A transaction came into a block, or its block came further.
    Transaction {
        /// How far.
        commitment: Commitment,
        /// It.
        landed: Arc<Landed>,
    },
}

/// The events of a node, from when it was asked for them.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    lost: u64,
}

impl Events {
    pub(crate) const fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { receiver, lost: 0 }
    }

    /// Waits for the next; none once the node is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(lost)) => self.lost += lost,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many were lost because they were not taken in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}
