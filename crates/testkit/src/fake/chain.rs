//! A chain in memory: the program's ring, transactions that land, are lost or expire, and a log of
//! what happened. Its slots go with tokio's time, which a test may have paused.

mod activity;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use compact_str::{CompactString, format_compact};
use tokio::time::Instant;
use twzrd_domain::chain::{ChainError, Draft, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::identity::{Channel, Node};
use twzrd_domain::settlement::{Reason, RootId, RootToPublish, Target, Why};

/// How long a slot takes.
const SLOT: Duration = Duration::from_millis(400);
/// How many slots behind the newest one is finalized.
const FINALITY: u64 = 31;
/// How many slots a transaction can land in.
const VALID: u64 = 150;
/// How many slots the ring has.
const RING: u64 = 10;
/// How many roots a transaction takes.
const ROOTS: usize = 8;

/// What becomes of a sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// It is taken, and lands in the next slot.
    Lands,
    /// It is taken, and never lands.
    IsLost,
    /// The caller gets an error, and it lands.
    FailsAndLands,
    /// The caller gets an error, and it does not land.
    Fails,
}

/// A published root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChain {
    /// The channel.
    pub channel: Channel,
    /// The epoch's number.
    pub number: u64,
    /// The root.
    pub root: [u8; 32],
    /// By which transaction.
    pub signature: CompactString,
    /// In which slot.
    pub slot: u64,
}

/// A chain in memory. Clones are the same chain.
#[derive(Clone)]
pub struct FakeChain(Arc<Mutex<State>>);

struct State {
    begun: Instant,
    signed: BTreeMap<CompactString, Signed>,
    /// Everything that was ever published, in order.
    published: Vec<OnChain>,
    /// What becomes of the next sendings; each lands where nothing is said.
    sendings: VecDeque<Sending>,
    /// How many of the next calls fail.
    failing: u32,
    /// Roots of these channels are in the way of something.
    blocked: BTreeMap<Channel, Reason>,
    /// Roots of these channels are refused when their transaction is executed.
    rejected: BTreeMap<Channel, Reason>,
    /// Roots of these channels are refused when their transaction is drafted.
    refused: BTreeMap<Channel, Reason>,
    /// A read-back answers as if nothing of these channels had been published.
    forgotten: BTreeSet<Channel>,
    /// Transactions with roots of these channels cannot be looked at.
    unseen: BTreeSet<Channel>,
    target: Target,
    activity: activity::State,
}

struct Signed {
    roots: Vec<RootToPublish>,
    last_valid: u64,
    landed: Option<u64>,
    rejected: Option<(RootId, Reason)>,
}

impl Default for FakeChain {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            begun: Instant::now(),
            signed: BTreeMap::new(),
            published: Vec::new(),
            sendings: VecDeque::new(),
            failing: 0,
            blocked: BTreeMap::new(),
            rejected: BTreeMap::new(),
            refused: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            unseen: BTreeSet::new(),
            target: Target::Program,
            activity: activity::State::default(),
        })))
    }
}

impl FakeChain {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of the next sendings, in their order.
    pub fn next_sendings(&self, sendings: impl IntoIterator<Item = Sending>) {
        self.lock().sendings.extend(sendings);
    }

    /// So many of the next calls fail.
    pub fn fail_next(&self, calls: u32) {
        self.lock().failing = calls;
    }

    /// Read-backs answer as if nothing of a channel had been published, or no longer.
    pub fn forget(&self, channel: &Channel, is_forgotten: bool) {
        put(&mut self.lock().forgotten, channel, is_forgotten);
    }

    /// Transactions with roots of a channel cannot be looked at, or can again.
    pub fn hide(&self, channel: &Channel, is_hidden: bool) {
        put(&mut self.lock().unseen, channel, is_hidden);
    }

    /// Roots of a channel are refused when their transaction is drafted, or no longer.
    pub fn refuse(&self, channel: &Channel, reason: Option<Reason>) {
        let mut state = self.lock();
        match reason {
            Some(reason) => state.refused.insert(channel.clone(), reason),
            None => state.refused.remove(channel),
        };
    }

    /// It is another target from now on.
    pub fn become_target(&self, target: Target) {
        self.lock().target = target;
    }

    /// Puts something in the way of a channel's roots, or takes it away.
    pub fn block(&self, channel: &Channel, reason: Option<Reason>) {
        let mut state = self.lock();
        match reason {
            Some(reason) => state.blocked.insert(channel.clone(), reason),
            None => state.blocked.remove(channel),
        };
    }

    /// Has transactions with roots of a channel fail when they are executed, or no longer.
    pub fn reject(&self, channel: &Channel, reason: Option<Reason>) {
        let mut state = self.lock();
        match reason {
            Some(reason) => state.rejected.insert(channel.clone(), reason),
            None => state.rejected.remove(channel),
        };
    }

    /// Somebody else publishes.
    pub fn publish(&self, channel: &Channel, number: u64, root: [u8; 32]) {
        let mut state = self.lock();
        let slot = state.slot();
        let signature = format_compact!("other-{}", state.published.len());
        let channel = channel.clone();
        state.published.push(OnChain {
            channel,
            number,
            root,
            signature,
            slot,
        });
    }

    /// Everything that was ever published, in order.
    #[must_use]
    pub fn published(&self) -> Vec<OnChain> {
        self.lock().published.clone()
    }

    /// How many transactions with a root were signed.
    #[must_use]
    pub fn signed(&self, root: RootId) -> usize {
        let state = self.lock();
        let has = |it: &&Signed| it.roots.iter().any(|one| one.id == root);
        state.signed.values().filter(has).count()
    }

    fn answer(&self, doing: &'static str) -> Result<MutexGuard<'_, State>, ChainError> {
        let mut state = self.lock();
        if state.failing > 0 {
            state.failing -= 1;
            let reason = "the test says so".to_owned();
            return Err(ChainError::Transient { doing, reason });
        }
        Ok(state)
    }
}

impl State {
    fn slot(&self) -> u64 {
        let slots = self.begun.elapsed().as_millis() / SLOT.as_millis();
        u64::try_from(slots)
            .unwrap_or(u64::MAX)
            .saturating_add(1000)
    }

    fn finalized(&self) -> u64 {
        self.slot() - FINALITY
    }

    /// Who stands in the slot of a root, as far as is finalized.
    fn stands(&self, root: &RootToPublish, at: u64) -> Option<&OnChain> {
        let same = |it: &&OnChain| {
            it.slot <= at && it.channel == root.channel && it.number % RING == root.number % RING
        };
        self.published
            .iter()
            .filter(same)
            .max_by_key(|it| it.number)
    }

    fn standing(&self, root: &RootToPublish, at: u64) -> Standing {
        match self.stands(root, at) {
            Some(it) if (it.number, it.root) == (root.number, root.root) => Standing::Published,
            Some(it) if it.number == root.number => {
                let text = format!("the slot holds another root, {}", Node(it.root));
                Standing::Blocked(Reason::new(Why::ProgramRefused, text))
            }
            Some(it) if it.number > root.number => Standing::Newer(it.number),
            _ => match self.blocked.get(&root.channel) {
                Some(reason) => Standing::Blocked(reason.clone()),
                None => Standing::Free,
            },
        }
    }

    /// Refuses to look at a transaction that is hidden.
    fn see(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        let signed = self.signed.get(&transaction.signature);
        let mut roots = signed.iter().flat_map(|signed| &signed.roots);
        if roots.any(|root| self.unseen.contains(&root.channel)) {
            return Err(ChainError::Transient {
                doing: "looking at a transaction",
                reason: format!("the test hides {}", transaction.signature),
            });
        }
        Ok(())
    }

    fn execute(&mut self, signature: &CompactString) {
        let slot = self.slot();
        let Some(signed) = self.signed.get_mut(signature) else {
            return;
        };
        if signed.landed.is_some() || slot > signed.last_valid {
            return;
        }
        signed.landed = Some(slot);
        let refused = signed.roots.iter().find_map(|root| {
            let reason = self.rejected.get(&root.channel)?;
            Some((root.id, reason.clone()))
        });
        if refused.is_some() {
            signed.rejected = refused;
            return;
        }
        for root in &signed.roots {
            self.published.push(OnChain {
                channel: root.channel.clone(),
                number: root.number,
                root: root.root,
                signature: signature.clone(),
                slot,
            });
        }
    }
}

#[async_trait]
impl RootChain for FakeChain {
    fn target(&self) -> Target {
        self.lock().target
    }

    async fn look(&self, roots: &[RootToPublish]) -> Result<Vec<Standing>, ChainError> {
        let state = self.answer("looking")?;
        let at = state.finalized();
        Ok(roots.iter().map(|root| state.standing(root, at)).collect())
    }

    async fn draft(&self, roots: &[RootToPublish]) -> Result<Draft, ChainError> {
        let mut state = self.answer("drafting")?;
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for root in roots.iter().take(ROOTS) {
            match state.refused.get(&root.channel) {
                Some(reason) => refused.push((root.id, reason.clone())),
                None => taken.push(root.clone()),
            }
        }
        if taken.is_empty() {
            return Ok(Draft {
                refused,
                ..Draft::default()
            });
        }
        let ids: Vec<RootId> = taken.iter().map(|root| root.id).collect();
        let signature = format_compact!("signature-{}", state.signed.len());
        let last_valid_block_height = state.slot() + VALID;
        let signed = Signed {
            roots: taken,
            last_valid: last_valid_block_height,
            landed: None,
            rejected: None,
        };
        state.signed.insert(signature.clone(), signed);
        Ok(Draft {
            signed: Some(SignedTransaction {
                bytes: signature.as_bytes().to_vec(),
                signature,
                last_valid_block_height,
                signed_in_slot: Some(state.slot()),
                fee_lamports: 5000,
                roots: ids,
            }),
            refused,
            ..Draft::default()
        })
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        let mut state = self.answer("sending")?;
        let sending = state.sendings.pop_front().unwrap_or(Sending::Lands);
        if matches!(sending, Sending::Lands | Sending::FailsAndLands) {
            state.execute(&transaction.signature);
        }
        if matches!(sending, Sending::Fails | Sending::FailsAndLands) {
            let reason = "the test says so".to_owned();
            return Err(ChainError::Transient {
                doing: "sending",
                reason,
            });
        }
        Ok(())
    }

    async fn landing(&self, transaction: &SignedTransaction) -> Result<Landing, ChainError> {
        let state = self.answer("asking for a transaction")?;
        state.see(transaction)?;
        let finalized = state.finalized();
        let signed = state.signed.get(&transaction.signature);
        Ok(match signed {
            Some(Signed {
                landed: Some(slot),
                rejected,
                ..
            }) if *slot <= finalized => match rejected {
                None => Landing::Finalized { slot: *slot },
                Some((root, reason)) => Landing::Rejected {
                    slot: *slot,
                    root: Some(*root),
                    reason: reason.clone(),
                },
            },
            Some(Signed {
                landed: Some(_), ..
            }) => Landing::Pending,
            _ if finalized > transaction.last_valid_block_height => Landing::Expired {
                block_height: finalized,
            },
            _ => Landing::Pending,
        })
    }

    async fn read_back(
        &self,
        transaction: &SignedTransaction,
        slot: u64,
        roots: &[RootToPublish],
    ) -> Result<Vec<Standing>, ChainError> {
        let state = self.answer("reading back")?;
        state.see(transaction)?;
        let at = state.finalized().max(slot);
        let standing = |root: &RootToPublish| {
            if state.forgotten.contains(&root.channel) {
                return Standing::Free;
            }
            state.standing(root, at)
        };
        Ok(roots.iter().map(standing).collect())
    }
}

fn put(channels: &mut BTreeSet<Channel>, channel: &Channel, is_in: bool) {
    if is_in {
        channels.insert(channel.clone());
    } else {
        channels.remove(channel);
    }
}
