//! The chain as it is read: by commitment, and by nodes that are behind.

use std::sync::Arc;

use solana_sdk::account::AccountSharedData;
use solana_sdk::clock::Clock;
use solana_sdk::hash::Hash;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::sysvar;

use super::{BLOCKHASH_AGE, Block, Landed, Ledger};

/// How sure a reader wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commitment {
    /// In the latest block. A fork may undo it.
    Processed,
    /// Behind the settings' number of blocks. A fork may undo it here, as a test of who trusts it.
    Confirmed,
    /// For ever.
    Finalized,
}

/// What one node knows: everything up to some blocks behind the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The height of the latest block that it knows.
    pub processed: u64,
    /// The height up to which it holds blocks confirmed.
    pub confirmed: u64,
    /// The height up to which it holds blocks finalized.
    pub finalized: u64,
}

impl View {
    /// The height of a commitment.
    #[must_use]
    pub const fn height(&self, commitment: Commitment) -> u64 {
        match commitment {
            Commitment::Processed => self.processed,
            Commitment::Confirmed => self.confirmed,
            Commitment::Finalized => self.finalized,
        }
    }

    /// How sure a height is; none where this node does not know it.
    #[must_use]
    pub const fn commitment_of(&self, height: u64) -> Option<Commitment> {
        if height <= self.finalized {
            Some(Commitment::Finalized)
        } else if height <= self.confirmed {
            Some(Commitment::Confirmed)
        } else if height <= self.processed {
            Some(Commitment::Processed)
        } else {
            None
        }
    }
}

impl Ledger {
    /// The latest block.
    pub(crate) fn tip(&self) -> &Block {
        // There is always at least the first block: none is dropped that is finalized.
        &self.blocks[self.blocks.len() - 1]
    }

    /// The first block that is kept.
    pub(crate) fn first(&self) -> &Block {
        &self.blocks[0]
    }

    /// The block of a height, or the nearest that is kept.
    pub(crate) fn at(&self, height: u64) -> &Block {
        let first = self.blocks[0].height;
        let index = usize::try_from(height.saturating_sub(first)).unwrap_or(usize::MAX);
        &self.blocks[index.min(self.blocks.len() - 1)]
    }

    /// What a node knows that is so many blocks behind.
    pub(crate) fn view(&self, behind: u64) -> View {
        let behind = behind.min(self.config.view_blocks);
        let first = self.blocks[0].height;
        let tip = self.tip().height;
        let finalized = self.finalized.min(tip).saturating_sub(behind).max(first);
        let processed = tip.saturating_sub(behind).max(finalized);
        View {
            processed,
            confirmed: processed
                .saturating_sub(self.config.confirm_slots)
                .max(finalized),
            finalized,
        }
    }

    /// An account behind the block of a height; none where it was not there.
    pub(crate) fn account_at(&self, key: &Pubkey, height: u64) -> Option<AccountSharedData> {
        if *key == sysvar::clock::ID {
            return self.clock_at(height);
        }
        let changed_later = self
            .past
            .get(key)
            .and_then(|states| states.iter().find(|(at, _)| *at > height));
        match changed_later {
            Some((_, before)) => before.clone(),
            None => self.current(key),
        }
    }

    /// The account with the chain's own time: the SVM's is that of the last transaction.
    fn clock_at(&self, height: u64) -> Option<AccountSharedData> {
        let mut account = self.current(&sysvar::clock::ID)?;
        let (block, mut clock) = (self.at(height), self.svm.get_sysvar::<Clock>());
        clock.slot = block.slot;
        clock.unix_timestamp = block.time;
        account.set_data_from_slice(&bincode::serialize(&clock).ok()?);
        Some(account)
    }

    /// Whether a transaction with this blockhash could be executed behind the block of a height.
    pub(crate) fn is_usable(&self, hash: &Hash, height: u64) -> bool {
        self.hashes
            .get(hash)
            .is_some_and(|made| *made <= height && height <= made + BLOCKHASH_AGE)
    }

    /// A transaction and the height of its block.
    pub(crate) fn transaction(&self, signature: &Signature) -> Option<(u64, &Arc<Landed>)> {
        self.transactions
            .get(signature)
            .map(|(height, landed)| (*height, landed))
    }

    /// The transactions that name an account, the newest first, with the height of their blocks.
    pub(crate) fn transactions_of(
        &self,
        key: &Pubkey,
    ) -> impl Iterator<Item = (u64, &Arc<Landed>)> {
        self.by_address
            .get(key)
            .into_iter()
            .flatten()
            .rev()
            .map(|(height, landed)| (*height, landed))
    }
}
