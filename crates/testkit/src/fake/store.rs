//! The store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use twzrd_domain::batch::{Batch, Groups};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::{Channel, UserHash};
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{
    Balance, BatchStore, BuiltTrees, Committed, IngestStore, LastGap, Projection, Quarantined,
    ReportStore, SealStore, SealedEpoch, StoreError, SuppressedPerson, SuppressionStore, TreeStore,
    Unbuilt,
};
use twzrd_domain::proof::ProofMaterial;
use twzrd_domain::record::Seq;
use twzrd_domain::seal::{FrozenChannel, Participant, SealedLeaves};
use twzrd_domain::weight::Arithmetic;

use super::faults::{Fault, Faults, store_error};
use super::settlement::RootState;
use super::state::{State, refuse};

/// The store in memory. Clones are the same store.
///
/// It refuses for good what a caller must never do: rows of a sealed epoch, unsorted rows, a
/// change to what freezing reads while a sealed epoch is not frozen, freezing an epoch that is not
/// sealed, trees of what is not frozen.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    groups: Arc<Groups>,
    faults: Faults,
}

impl MemoryStore {
    /// An empty store, with these groups of channels.
    #[must_use]
    pub fn new(groups: Groups) -> Self {
        Self {
            groups: Arc::new(groups),
            ..Self::default()
        }
    }

    /// A store that holds this already.
    #[must_use]
    pub fn with_state(mut state: State) -> Self {
        state.plan_roots();
        Self {
            state: Arc::new(Mutex::new(state)),
            ..Self::default()
        }
    }

    /// What goes wrong.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The next `n` operations fail.
    pub fn fail_next(&self, n: u64, fault: Fault) {
        self.faults.fail_next(n, fault);
    }

    /// A copy of all that it holds.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Looks at what it holds, under its lock.
    pub fn look_at<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// What a disturbed and an undisturbed run must agree on: [`State::comparable`].
    #[must_use]
    pub fn dump(&self) -> State {
        self.lock().comparable()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut State) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let work = async { work(&mut self.lock()) };
        self.faults.run(operation, work, store_error).await
    }
}

#[async_trait]
impl BatchStore for MemoryStore {
    async fn projection(&self) -> Result<Projection, StoreError> {
        let work = |state: &mut State| {
            Ok(Projection {
                position: state.position,
                journal: state.journal.clone(),
                arithmetic: state.arithmetic.clone(),
                sealed: state.sealed.keys().copied().collect(),
                suppressed: state.suppressed.keys().copied().collect(),
            })
        };
        self.run("projection", work).await
    }

    async fn offset(&self) -> Result<Seq, StoreError> {
        self.run("offset", |state| Ok(state.position.seq)).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let work = |state: &mut State| {
            if let Some(found) = state.journal.as_ref().filter(|id| **id != batch.journal) {
                return Err(StoreError::OtherJournal {
                    expected: batch.journal.clone(),
                    found: found.clone(),
                });
            }
            let stands = state.position.seq;
            if batch.to.seq <= stands {
                return Ok(Committed::Known);
            }
            if batch.from != stands {
                let begins = batch.from;
                return Err(StoreError::OutOfStep { stands, begins });
            }
            state.check(batch)?;
            state.apply(batch, &self.groups);
            Ok(Committed::Written)
        };
        self.run("commit", work).await
    }

    async fn is_freeze_pending(&self) -> Result<bool, StoreError> {
        let work = |state: &mut State| Ok(state.is_freeze_pending());
        self.run("is_freeze_pending", work).await
    }
}

#[async_trait]
impl SealStore for MemoryStore {
    async fn offset(&self) -> Result<Seq, StoreError> {
        BatchStore::offset(self).await
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        let work = |state: &mut State| {
            let counted = state.ledger.iter().filter(|(_, counts)| counts.counted > 0);
            let mut epochs: Vec<Epoch> = counted.map(|((epoch, _), _)| *epoch).collect();
            epochs.dedup();
            epochs.retain(|epoch| !state.sealed.contains_key(epoch));
            Ok(epochs)
        };
        self.run("open_epochs", work).await
    }

    async fn unfrozen(&self) -> Result<Vec<(Epoch, UnixMs)>, StoreError> {
        let work = |state: &mut State| {
            let sealed = state.sealed.iter().map(|(&epoch, &at)| (epoch, at));
            let pending = |epoch: &Epoch| !state.frozen_epochs.contains_key(epoch);
            Ok(sealed.filter(|(epoch, _)| pending(epoch)).collect())
        };
        self.run("unfrozen", work).await
    }

    async fn arithmetic(&self) -> Result<Option<Arithmetic>, StoreError> {
        let work = |state: &mut State| Ok(state.arithmetic.clone());
        self.run("arithmetic", work).await
    }

    async fn channels_to_freeze(&self, epoch: Epoch) -> Result<Vec<(Channel, u64)>, StoreError> {
        let work = |state: &mut State| {
            let mut channels: Vec<(Channel, u64)> = Vec::new();
            let here = state.participants.keys().filter(|(e, ..)| *e == epoch);
            for (_, channel, _) in here {
                match channels.last_mut() {
                    Some((last, people)) if last == channel => *people += 1,
                    _ => channels.push((channel.clone(), 1)),
                }
            }
            channels.retain(|(channel, _)| !state.frozen.contains_key(&(epoch, channel.clone())));
            Ok(channels)
        };
        self.run("channels_to_freeze", work).await
    }

    async fn participants(
        &self,
        epoch: Epoch,
        channels: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError> {
        let work = |state: &mut State| {
            let of = |channel| state.participants_of(epoch, channel);
            Ok(channels.iter().map(of).collect())
        };
        self.run("participants", work).await
    }

    async fn freeze(&self, channels: &[FrozenChannel]) -> Result<(), StoreError> {
        let work = |state: &mut State| {
            for channel in channels {
                if !state.sealed.contains_key(&channel.epoch) {
                    let why = format!("epoch {} is not sealed", channel.epoch);
                    return Err(refuse("freezing channels", why));
                }
            }
            for channel in channels {
                let key = (channel.epoch, channel.channel.clone());
                state.frozen.entry(key).or_insert_with(|| channel.clone());
            }
            Ok(())
        };
        self.run("freeze", work).await
    }

    async fn finish_freeze(&self, epoch: Epoch, at: UnixMs) -> Result<(), StoreError> {
        let work = |state: &mut State| {
            const DOING: &str = "finishing the freezing of an epoch";
            if !state.sealed.contains_key(&epoch) {
                return Err(refuse(DOING, format!("epoch {epoch} is not sealed")));
            }
            let mut people = state.participants.keys().filter(|(e, ..)| *e == epoch);
            let missing = people
                .find(|(_, channel, _)| !state.frozen.contains_key(&(epoch, channel.clone())));
            if let Some((_, channel, _)) = missing {
                return Err(refuse(DOING, format!("{channel} is not frozen in {epoch}")));
            }
            state.frozen_epochs.entry(epoch).or_insert(at);
            Ok(())
        };
        self.run("finish_freeze", work).await
    }
}

#[async_trait]
impl TreeStore for MemoryStore {
    async fn unbuilt(&self, limit: u64) -> Result<Vec<Unbuilt>, StoreError> {
        let work = |state: &mut State| {
            let without = state
                .frozen
                .iter()
                .filter(|(k, _)| !state.trees.contains_key(k));
            let unbuilt = without.map(|((epoch, channel), frozen)| Unbuilt {
                epoch: *epoch,
                channel: channel.clone(),
                participants: frozen.participants.len() as u64,
            });
            Ok(unbuilt
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect())
        };
        self.run("unbuilt", work).await
    }

    async fn sealed_leaves(&self, wanted: &[Unbuilt]) -> Result<Vec<SealedLeaves>, StoreError> {
        let work = |state: &mut State| {
            let leaves = |wanted: &Unbuilt| {
                let frozen = frozen_of(state, wanted.epoch, &wanted.channel, "reading leaves")?;
                Ok(SealedLeaves {
                    epoch: frozen.epoch,
                    channel: frozen.channel.clone(),
                    sealed_at: frozen.sealed_at,
                    users: frozen.participants.iter().map(|p| p.user).collect(),
                    claim_leaves: frozen.participants.iter().map(|p| p.claim_leaf).collect(),
                })
            };
            wanted.iter().map(leaves).collect()
        };
        self.run("sealed_leaves", work).await
    }

    async fn write_trees(&self, trees: &[BuiltTrees]) -> Result<(), StoreError> {
        let work = |state: &mut State| {
            const DOING: &str = "writing trees";
            for tree in trees {
                let frozen = frozen_of(state, tree.epoch, &tree.channel, DOING)?;
                let (found, expected) = (tree.participants, frozen.participants.len() as u64);
                let leaves = tree.claim_levels.first().map_or(0, Vec::len) as u64;
                if (found, leaves) != (expected, expected) {
                    let why = format!("{found} participants, {leaves} leaves of {expected}");
                    return Err(refuse(DOING, why));
                }
            }
            for tree in trees {
                let key = (tree.epoch, tree.channel.clone());
                state.trees.entry(key).or_insert_with(|| tree.clone());
            }
            state.plan_roots();
            Ok(())
        };
        self.run("write_trees", work).await
    }
}

fn frozen_of<'a>(
    state: &'a State,
    epoch: Epoch,
    channel: &Channel,
    doing: &'static str,
) -> Result<&'a FrozenChannel, StoreError> {
    let frozen = state.frozen.get(&(epoch, channel.clone()));
    frozen.ok_or_else(|| refuse(doing, format!("{channel} is not frozen in {epoch}")))
}

#[async_trait]
impl SuppressionStore for MemoryStore {
    async fn suppressed(&self) -> Result<Vec<SuppressedPerson>, StoreError> {
        let work = |state: &mut State| {
            let people = state
                .suppressed
                .iter()
                .map(|(&user, opted)| SuppressedPerson {
                    user,
                    requested_at: opted.requested_at,
                    reason: opted.reason.clone(),
                });
            Ok(people.collect())
        };
        self.run("suppressed", work).await
    }

    async fn aliases(&self, user: UserHash) -> Result<Vec<UserHash>, StoreError> {
        let work = |state: &mut State| {
            let by_login = state.aliases.get(&user).map(|&(by_id, _)| by_id);
            let by_id = state.aliases.iter().filter(|(_, (id, _))| *id == user);
            Ok(by_login
                .into_iter()
                .chain(by_id.map(|(&login, _)| login))
                .collect())
        };
        self.run("aliases", work).await
    }
}

#[async_trait]
impl IngestStore for MemoryStore {
    async fn offset(&self) -> Result<Seq, StoreError> {
        BatchStore::offset(self).await
    }

    async fn last_gaps(&self) -> Result<Vec<LastGap>, StoreError> {
        let work = |state: &mut State| {
            let mut last = BTreeMap::new();
            for gap in state.gaps.values() {
                let gap = LastGap {
                    channel: gap.channel.clone(),
                    from: gap.from,
                    is_open: gap.until <= gap.from,
                    reason: gap.reason.clone(),
                };
                last.insert(gap.channel.clone(), gap);
            }
            Ok(last.into_values().collect())
        };
        self.run("last_gaps", work).await
    }

    async fn quarantine(&self, line: &Quarantined) -> Result<(), StoreError> {
        let line = line.clone();
        let work = |state: &mut State| {
            state.quarantine.push(line);
            Ok(())
        };
        self.run("quarantine", work).await
    }
}

#[async_trait]
impl ReportStore for MemoryStore {
    async fn sealed_after(
        &self,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SealedEpoch>, StoreError> {
        let work = |state: &mut State| {
            let behind = state
                .frozen
                .iter()
                .filter(|(k, _)| Some(*k) > after.as_ref());
            let reported = behind.map(|(key, frozen)| {
                let trees = state.trees.get(key);
                let root = state.settlement.root(key);
                SealedEpoch {
                    epoch: key.0,
                    channel: key.1.clone(),
                    participants: frozen.participants.len() as u64,
                    participation_root: trees.map(|trees| trees.participation_root),
                    claim_root: trees.and_then(claim_root),
                    gap_ms: state.gap_ms(key.0, &key.1),
                    settled_at: root.and_then(|root| root.settled_at),
                    tx_signature: root.and_then(RootState::settled_by),
                }
            });
            Ok(reported
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect())
        };
        self.run("sealed_after", work).await
    }

    async fn ledger(&self) -> Result<Counts, StoreError> {
        self.run("ledger", |state| Ok(state.ledger_sum())).await
    }

    async fn balance(&self) -> Result<Balance, StoreError> {
        let work = |state: &mut State| {
            let mut balance = Balance::default();
            for ((epoch, channel), counts) in &state.ledger {
                balance.add(*epoch, channel, counts);
            }
            Ok(balance)
        };
        self.run("balance", work).await
    }

    async fn proof_material(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<ProofMaterial>, StoreError> {
        let work = |state: &mut State| {
            let key = (epoch, channel.clone());
            let both = state.frozen.get(&key).zip(state.trees.get(&key));
            Ok(both.and_then(|(frozen, trees)| {
                Some(ProofMaterial {
                    epoch,
                    channel: channel.clone(),
                    participants: frozen.participants.clone(),
                    participation_root: trees.participation_root,
                    claim_root: claim_root(trees)?,
                })
            }))
        };
        self.run("proof_material", work).await
    }
}

pub(super) fn claim_root(trees: &BuiltTrees) -> Option<[u8; 32]> {
    trees.claim_levels.last()?.first().copied()
}
