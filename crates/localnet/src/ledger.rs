//! A chain of blocks around the SVM: what it holds, and how it grows, forks and forgets.
//!
//! The SVM holds the state behind the latest block alone. For every account that a block changed,
//! the ledger keeps what it was before, so that older views can be read and blocks undone. Heights
//! have no holes; slots do, after a fork.

mod execute;
mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use litesvm::LiteSVM;
use solana_sdk::account::{Account, AccountSharedData};
use solana_sdk::clock::Clock;
use solana_sdk::hash::{Hash, hashv};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::transaction::VersionedTransaction;

pub use execute::{Landed, TokenAmount, Trial};
pub(crate) use execute::{decimals, token_account};
pub use view::{Commitment, View};

use crate::events::Event;
use crate::seed;

/// For how many blocks a blockhash can be used.
pub const BLOCKHASH_AGE: u64 = 150;

/// What a node is like.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Keys and blockhashes follow from it.
    pub seed: u64,
    /// The answer to `getGenesisHash`; none for one of the seed.
    pub genesis_hash: Option<Hash>,
    /// The first block's slot.
    pub first_slot: u64,
    /// The first block's height. Not its slot, so that whoever takes one for the other is seen.
    pub first_height: u64,
    /// The first block's time, in Unix seconds.
    pub first_time: i64,
    /// Between two slots, by block time. In milliseconds.
    pub slot_ms: u64,
    /// By how many blocks confirmed is behind processed.
    pub confirm_slots: u64,
    /// By how many blocks finalized is behind processed.
    pub finality_slots: u64,
    /// How far behind a view may be, in blocks.
    pub view_blocks: u64,
    /// How many blocks are kept, with their transactions.
    pub history_blocks: usize,
    /// How many transactions may wait for the next block.
    pub max_pending: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            genesis_hash: None,
            first_slot: 1000,
            first_height: 900,
            first_time: 1_761_854_400,
            slot_ms: 400,
            confirm_slots: 1,
            finality_slots: 4,
            view_blocks: 256,
            history_blocks: 100_000,
            max_pending: 10_000,
        }
    }
}

/// What becomes of the transactions of blocks that a fork drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// They are gone, as if never sent.
    Lost,
    /// They wait for a block again.
    Pending,
}

/// A fork that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fork of {asked} blocks; expected at most the {possible} that are not finalized")]
pub struct ForkError {
    /// How many were to be dropped.
    pub asked: u64,
    /// How many could be.
    pub possible: u64,
}

/// What became of transactions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In a block, and did what they should.
    pub landed: u64,
    /// In a block, and failed.
    pub failed: u64,
    /// Dropped: their blockhash was too old, or on no block of this chain.
    pub expired: u64,
    /// Dropped: could not be loaded, for example where the payer has nothing.
    pub refused: u64,
    /// Dropped: in a block already, or waiting.
    pub duplicate: u64,
    /// Taken out of a block by a fork.
    pub forked: u64,
    /// Not accepted, because too many waited.
    pub full: u64,
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its slot.
    pub slot: u64,
    /// The slot of the block before.
    pub parent: u64,
    /// Its height.
    pub height: u64,
    /// Its hash, which transactions name.
    pub hash: Hash,
    /// The time, in Unix seconds.
    pub time: i64,
    /// Its transactions in their order.
    pub transactions: Vec<Arc<Landed>>,
}

/// The chain and the state behind its latest block.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) config: NodeConfig,
    pub(crate) svm: LiteSVM,
    pub(crate) faucet: [u8; 64],
    pub(crate) counts: Counts,
    genesis_hash: Hash,
    blocks: VecDeque<Block>,
    hashes: HashMap<Hash, u64>,
    transactions: HashMap<Signature, (u64, Arc<Landed>)>,
    by_address: HashMap<Pubkey, VecDeque<(u64, Arc<Landed>)>>,
    pending: VecDeque<VersionedTransaction>,
    /// What an account was before the block of a height changed it.
    past: HashMap<Pubkey, VecDeque<(u64, Option<AccountSharedData>)>>,
    /// Which accounts a block changed, so that old ones can be forgotten in order.
    changed: VecDeque<(u64, Pubkey)>,
    highest_slot: u64,
    /// The height up to which blocks are finalized. Never goes back.
    finalized: u64,
    confirmed_told: u64,
    finalized_told: u64,
    airdrops: u32,
}

impl Ledger {
    /// A chain of one block. `svm` holds programs and accounts of the beginning.
    pub(crate) fn new(config: NodeConfig, svm: LiteSVM) -> Self {
        let faucet = seed::keypair(config.seed, "faucet", 0);
        let genesis_hash = config
            .genesis_hash
            .unwrap_or_else(|| hashv(&[b"twzrd localnet genesis", &config.seed.to_le_bytes()]));
        let first = Block {
            slot: config.first_slot,
            parent: config.first_slot.saturating_sub(1),
            height: config.first_height,
            hash: hashv(&[genesis_hash.as_ref(), &config.first_slot.to_le_bytes()]),
            time: config.first_time,
            transactions: Vec::new(),
        };
        let mut ledger = Self {
            svm,
            faucet: faucet.to_bytes(),
            counts: Counts::default(),
            genesis_hash,
            hashes: HashMap::from([(first.hash, first.height)]),
            transactions: HashMap::new(),
            by_address: HashMap::new(),
            pending: VecDeque::new(),
            past: HashMap::new(),
            changed: VecDeque::new(),
            highest_slot: first.slot,
            finalized: first.height,
            confirmed_told: first.height,
            finalized_told: first.height,
            airdrops: 0,
            blocks: VecDeque::from([first]),
            config,
        };
        ledger.set_account(
            solana_sdk::signer::Signer::pubkey(&faucet),
            Account::new(u64::MAX / 4, 0, &Pubkey::default()),
        );
        ledger
    }

    /// The hash that stands for the whole chain.
    pub(crate) fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    /// Sets an account at the beginning of time: every view sees it. For accounts that no
    /// instruction of the model makes.
    pub(crate) fn set_account(&mut self, key: Pubkey, account: Account) {
        self.past.remove(&key);
        self.changed.retain(|(_, changed)| changed != &key);
        if let Err(error) = self.svm.set_account(key, account) {
            tracing::warn!(%key, %error, "an account could not be set");
        }
    }

    pub(crate) fn faucet(&self) -> Option<Keypair> {
        Keypair::try_from(self.faucet.as_slice()).ok()
    }

    /// A number that no airdrop has had.
    pub(crate) fn next_airdrop(&mut self) -> u32 {
        self.airdrops = self.airdrops.wrapping_add(1);
        self.airdrops
    }

    /// Takes a transaction for the next block. False where too many wait.
    pub(crate) fn accept(&mut self, transaction: VersionedTransaction) -> bool {
        if self.pending.len() >= self.config.max_pending {
            self.counts.full += 1;
            return false;
        }
        self.pending.push_back(transaction);
        true
    }

    /// Takes out what waits for a block.
    pub(crate) fn hold(&mut self) -> VecDeque<VersionedTransaction> {
        std::mem::take(&mut self.pending)
    }

    /// Puts back what was taken out, in front of what came since.
    pub(crate) fn release(&mut self, mut held: VecDeque<VersionedTransaction>) {
        held.append(&mut self.pending);
        self.pending = held;
    }

    /// How many blocks are not finalized.
    pub(crate) fn forkable(&self) -> u64 {
        self.tip().height.saturating_sub(self.finalized)
    }

    /// A block with everything that waits.
    pub(crate) fn tick(&mut self) -> Vec<Event> {
        let parent = self.tip().clone_head();
        let slot = self.highest_slot + 1;
        let block = Block {
            slot,
            parent: parent.0,
            height: parent.1 + 1,
            hash: hashv(&[parent.2.as_ref(), &slot.to_le_bytes()]),
            time: self.time_of(slot),
            transactions: Vec::new(),
        };
        self.highest_slot = slot;
        let (height, time) = (block.height, block.time);
        self.hashes.insert(block.hash, height);
        self.blocks.push_back(block);
        if !self.pending.is_empty() {
            self.set_clock(slot, time);
            let pending = std::mem::take(&mut self.pending);
            for transaction in pending {
                self.land(transaction, slot, height);
            }
        }
        let target = height.saturating_sub(self.config.finality_slots);
        self.finalized = self.finalized.max(target);
        let events = self.news();
        self.forget();
        events
    }

    /// Drops the last blocks, as if another fork had won: their accounts are what they were, and
    /// nothing knows their transactions. Answers how many these were.
    pub(crate) fn fork(&mut self, blocks: u64, dropped: Dropped) -> Result<usize, ForkError> {
        let possible = self.forkable();
        if blocks > possible {
            return Err(ForkError {
                asked: blocks,
                possible,
            });
        }
        let keep = self.tip().height - blocks;
        let mut gone = VecDeque::new();
        while self.tip().height > keep {
            let Some(block) = self.blocks.pop_back() else {
                break;
            };
            self.hashes.remove(&block.hash);
            for landed in block.transactions.into_iter().rev() {
                self.transactions.remove(&landed.signature);
                for key in &landed.keys {
                    if let Some(index) = self.by_address.get_mut(key) {
                        index.pop_back();
                    }
                }
                gone.push_front(landed.transaction.clone());
            }
        }
        self.restore(keep);
        self.confirmed_told = self.confirmed_told.min(keep);
        let count = gone.len();
        self.counts.forked += count as u64;
        if dropped == Dropped::Pending {
            self.release(gone);
        }
        Ok(count)
    }

    /// Brings every account back to what it was behind the block of a height.
    fn restore(&mut self, keep: u64) {
        while self
            .changed
            .back()
            .is_some_and(|(height, _)| *height > keep)
        {
            let Some((height, key)) = self.changed.pop_back() else {
                break;
            };
            let Some(states) = self.past.get_mut(&key) else {
                continue;
            };
            if states.back().is_none_or(|(at, _)| *at != height) {
                continue;
            }
            let before = states.pop_back().and_then(|(_, before)| before);
            let account = before.map_or_else(Account::default, Account::from);
            // An account of no lamports is one that is not there.
            if let Err(error) = self.svm.set_account(key, account) {
                tracing::warn!(%key, %error, "an account could not be restored");
            }
        }
    }

    /// What is to be told of the latest block, and of blocks that have come further.
    fn news(&mut self) -> Vec<Event> {
        let tip = self.tip();
        let mut events = vec![Event::Slot {
            slot: tip.slot,
            parent: tip.parent,
            root: self.at(self.finalized).slot,
        }];
        let tell = |events: &mut Vec<Event>, height: u64, commitment: Commitment| {
            for landed in &self.at(height).transactions {
                events.push(Event::Transaction {
                    commitment,
                    landed: Arc::clone(landed),
                });
            }
        };
        tell(&mut events, tip.height, Commitment::Processed);
        let confirmed = tip.height.saturating_sub(self.config.confirm_slots);
        for height in self.confirmed_told + 1..=confirmed {
            tell(&mut events, height, Commitment::Confirmed);
        }
        for height in self.finalized_told + 1..=self.finalized {
            tell(&mut events, height, Commitment::Finalized);
        }
        self.confirmed_told = self.confirmed_told.max(confirmed);
        self.finalized_told = self.finalized;
        events
    }

    /// Forgets what is older than the bounds of the settings.
    fn forget(&mut self) {
        let floor = self.finalized.saturating_sub(self.config.view_blocks);
        while self
            .changed
            .front()
            .is_some_and(|(height, _)| *height <= floor)
        {
            let Some((height, key)) = self.changed.pop_front() else {
                break;
            };
            if let Some(states) = self.past.get_mut(&key) {
                if states.front().is_some_and(|(at, _)| *at == height) {
                    states.pop_front();
                }
                if states.is_empty() {
                    self.past.remove(&key);
                }
            }
        }
        let least = usize::try_from(self.config.view_blocks + 2 * BLOCKHASH_AGE)
            .unwrap_or(usize::MAX)
            .saturating_add(usize::try_from(self.config.finality_slots).unwrap_or(usize::MAX));
        while self.blocks.len() > self.config.history_blocks.max(least) {
            let Some(block) = self.blocks.pop_front() else {
                break;
            };
            self.hashes.remove(&block.hash);
            for landed in block.transactions {
                self.transactions.remove(&landed.signature);
                for key in &landed.keys {
                    if let Some(index) = self.by_address.get_mut(key) {
                        index.pop_front();
                        if index.is_empty() {
                            self.by_address.remove(key);
                        }
                    }
                }
            }
        }
    }

    fn time_of(&self, slot: u64) -> i64 {
        let passed = slot
            .saturating_sub(self.config.first_slot)
            .saturating_mul(self.config.slot_ms)
            / 1000;
        self.config
            .first_time
            .saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn set_clock(&mut self, slot: u64, time: i64) {
        let mut clock = self.svm.get_sysvar::<Clock>();
        clock.slot = slot;
        clock.unix_timestamp = time;
        self.svm.set_sysvar(&clock);
    }
}

impl Block {
    fn clone_head(&self) -> (u64, u64, Hash) {
        (self.slot, self.height, self.hash)
    }
}
