//! The settlement of a store in memory: roots, transactions, and what the chain told.

mod steps;

use std::collections::BTreeMap;

use async_trait::async_trait;
use compact_str::CompactString;
use twzrd_domain::chain::{
    ActivityStore, Change, DUE_OF_A_CHANNEL, Deed, Followed, InFlight, Known, LOOK_AGAIN_WITHIN_MS,
    Mark, Order, REPORTED_TRIES, Recorded, SettlementLogRow, SettlementRow, SettlementStore,
    SignedTransaction, Tally,
};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::StoreError;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{Candidate, Earlier, Policy, RootId, RootToPublish, Target};

use super::state::{State, refuse};
use super::store::{MemoryStore, claim_root};

/// A root on its way to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootState {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// Where it stands.
    pub publication: Publication,
    /// Whether an operator let it pass the policy.
    pub is_released: bool,
    /// When a held root is looked at again; none where no time brings it back.
    pub look_again: Option<UnixMs>,
    /// When it was read back.
    pub settled_at: Option<UnixMs>,
    /// The slot at which it was read back.
    pub settled_slot: Option<u64>,
    /// The second in which `published` of its sealed epoch was set; none while it is not.
    pub published_at: Option<u64>,
    /// What was tried, the oldest first.
    pub log: Vec<SettlementLogRow>,
}

/// A transaction that was kept before it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// It.
    pub transaction: SignedTransaction,
    /// For which target.
    pub target: Target,
    /// The slot in which it was finalized.
    pub finalized_slot: Option<u64>,
    /// Its roots as they were signed.
    pub roots: Vec<RootToPublish>,
}

/// A claim that was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRow {
    /// The channel; empty where the instruction names none.
    pub channel: Channel,
    /// The epoch; none where none has the number.
    pub epoch: Option<Epoch>,
    /// The epoch's number on chain.
    pub number: u64,
    /// The place in the sealed order.
    pub index: u32,
    /// The amount.
    pub amount: u64,
    /// The wallet, in base58.
    pub claimer: CompactString,
    /// The slot.
    pub slot: u64,
    /// The time of the block, in Unix seconds.
    pub block_time: Option<u64>,
}

/// A slot, a signature, and the place of an instruction in the transaction.
type ChainPlace = (u64, CompactString, u32);

/// All that settlement keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Roots by number, which are given out as the trees are written.
    pub roots: BTreeMap<RootId, RootState>,
    /// The numbers by epoch and channel.
    pub ids: BTreeMap<(Epoch, Channel), RootId>,
    /// Transactions in the order in which they were signed.
    pub transactions: Vec<Kept>,
    /// When channels were live, in Unix seconds; none for an end that is open.
    pub live: BTreeMap<(Channel, u64), Option<u64>>,
    /// Claims by signature and place in the transaction.
    pub claims: BTreeMap<(CompactString, u32), ClaimRow>,
    /// The least and the greatest slot in which an epoch was published.
    pub slots: BTreeMap<Epoch, (u64, u64)>,
    /// Publications of ours, also of roots that are not built yet, in the order of the chain.
    pub publications: BTreeMap<ChainPlace, ((Epoch, Channel), [u8; 32])>,
    /// How far the program was followed.
    pub followed: Followed,
}

impl Settlement {
    /// The root of a channel in an epoch.
    #[must_use]
    pub fn root(&self, key: &(Epoch, Channel)) -> Option<&RootState> {
        self.roots.get(self.ids.get(key)?)
    }
}

impl RootState {
    /// The transaction that settled it: ours, or the first that was seen.
    pub(super) fn settled_by(&self) -> Option<CompactString> {
        let Publication::Settled { signature } = &self.publication else {
            return None;
        };
        let mut seen = self.log.iter().filter(|row| row.status == steps::CONFIRMED);
        let ours = signature.as_deref().map(Into::into);
        ours.or_else(|| seen.find_map(|row| row.signature.clone()))
    }
}

impl MemoryStore {
    /// Notes that a channel was live from one second to another, or on and on.
    pub fn set_live(&self, channel: &Channel, start: u64, end: Option<u64>) {
        let key = (channel.clone(), start);
        self.lock().settlement.live.insert(key, end);
    }
}

impl State {
    /// Gives a number to each root that has none, in the order in which a database does.
    pub(super) fn plan_roots(&mut self) {
        for key in self.trees.keys() {
            if self.settlement.ids.contains_key(key) {
                continue;
            }
            let last = self.settlement.roots.keys().next_back();
            let id = RootId(last.map_or(1, |last| last.0 + 1));
            let root = RootState {
                epoch: key.0,
                channel: key.1.clone(),
                publication: Publication::Planned,
                is_released: false,
                look_again: None,
                settled_at: None,
                settled_slot: None,
                published_at: None,
                log: Vec::new(),
            };
            self.settlement.roots.insert(id, root);
            self.settlement.ids.insert(key.clone(), id);
        }
        for ((slot, signature, _), (key, root)) in self.settlement.publications.clone() {
            self.log_published(&key, &root, &Mark { slot, signature });
        }
    }

    fn candidate_of(&self, id: RootId) -> Option<Candidate> {
        let root = self.settlement.roots.get(&id)?;
        let key = (root.epoch, root.channel.clone());
        let (trees, frozen) = (self.trees.get(&key)?, self.frozen.get(&key)?);
        let named = frozen.participants.iter();
        let named = named.filter(|p| p.login.is_some() && !self.suppressed.contains_key(&p.user));
        let before = self.frozen.range(..&key).rev();
        let before =
            before.filter(|((epoch, channel), _)| *epoch < root.epoch && *channel == root.channel);
        let mut earlier = Earlier::default();
        for (_, frozen) in before.take(Policy::EARLIER_EPOCHS as usize) {
            earlier.epochs += 1;
            earlier.participants += frozen.participants.len() as u64;
        }
        let length = self.arithmetic.clone().unwrap_or_default().epoch_seconds;
        let (begin, end) = (root.epoch.0, root.epoch.0.saturating_add(length.seconds()));
        let mut live = self.settlement.live.iter();
        let was_live = live.any(|((channel, start), until)| {
            *channel == root.channel && *start < end && until.is_none_or(|until| until > begin)
        });
        Some(Candidate {
            id,
            epoch: root.epoch,
            channel: root.channel.clone(),
            claim_root: claim_root(trees)?,
            participation_root: trees.participation_root,
            count: trees.participants,
            token_group: frozen.group.token_group.to_uppercase().into(),
            named: named.count() as u64,
            earlier,
            was_live,
            is_released: root.is_released,
            publication: root.publication.clone(),
        })
    }

    fn settlement_row(&self, id: RootId) -> Option<SettlementRow> {
        let root = self.settlement.roots.get(&id)?;
        let trees = self.trees.get(&(root.epoch, root.channel.clone()))?;
        Some(SettlementRow {
            id,
            epoch: root.epoch,
            channel: root.channel.clone(),
            root: claim_root(trees)?,
            count: trees.participants,
            publication: root.publication.clone(),
            is_released: root.is_released,
            settled_at: root.settled_at,
            log: {
                let more = root.log.len().saturating_sub(REPORTED_TRIES);
                root.log[more..].to_vec()
            },
        })
    }

    fn record_one(&mut self, recorded: &Recorded) {
        let activity = &recorded.activity;
        let Mark { slot, signature } = &activity.mark;
        for (action, epoch) in activity.actions.iter().zip(&recorded.epochs) {
            let epoch = epoch.filter(|Epoch(epoch)| i64::try_from(*epoch).is_ok());
            match &action.deed {
                Deed::Claim {
                    channel,
                    number,
                    index,
                    amount,
                    claimer,
                } => {
                    let key = (signature.clone(), action.index);
                    let claims = &mut self.settlement.claims;
                    claims.entry(key).or_insert_with(|| ClaimRow {
                        channel: channel.clone().unwrap_or_else(Channel::none),
                        epoch,
                        number: *number,
                        index: *index,
                        amount: *amount,
                        claimer: claimer.clone(),
                        slot: *slot,
                        block_time: activity.block_time,
                    });
                }
                Deed::Publish { channel, root, .. } => {
                    let Some(epoch) = epoch else { continue };
                    let slots = &mut self.settlement.slots;
                    let slots = slots.entry(epoch).or_insert((*slot, *slot));
                    *slots = (slots.0.min(*slot), slots.1.max(*slot));
                    if let Some(channel) = channel {
                        let key = (epoch, channel.clone());
                        self.log_published(&key, root, &activity.mark);
                        let place = (*slot, signature.clone(), action.index);
                        self.settlement.publications.insert(place, (key, *root));
                    }
                }
                Deed::Other => {}
            }
        }
    }

    /// A publication of a root of ours that no log row tells of.
    fn log_published(&mut self, key: &(Epoch, Channel), root: &[u8; 32], mark: &Mark) {
        if self.trees.get(key).and_then(claim_root).as_ref() != Some(root) {
            return;
        }
        let id = self.settlement.ids.get(key);
        let Some(ours) = id.and_then(|id| self.settlement.roots.get_mut(id)) else {
            return;
        };
        let signature = Some(mark.signature.clone());
        if ours.log.iter().any(|row| row.signature == signature) {
            return;
        }
        let found =
            |row: &&mut SettlementLogRow| row.signature.is_none() && row.status == steps::CONFIRMED;
        if let Some(row) = ours.log.iter_mut().find(found) {
            (row.signature, row.slot) = (signature, Some(mark.slot));
            return;
        }
        ours.log.push(SettlementLogRow {
            signature,
            status: steps::CONFIRMED.to_owned(),
            target: Target::Program.to_string(),
            signed_at: None,
            slot: Some(mark.slot),
            settled_at: None,
            error_message: None,
        });
    }
}

#[async_trait]
impl SettlementStore for MemoryStore {
    async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        let work = |state: &mut State| Ok(state.settlement.in_flight());
        self.run("in_flight", work).await
    }

    async fn due(&self, now: UnixMs, limit: u64) -> Result<Vec<Candidate>, StoreError> {
        let work = |state: &mut State| {
            let is_due = |root: &RootState| match &root.publication {
                Publication::Planned => true,
                Publication::Held { .. } => {
                    let never = now.saturating_add(LOOK_AGAIN_WITHIN_MS);
                    root.look_again.is_some_and(|at| at <= now || at > never)
                }
                _ => false,
            };
            let looked = |root: &RootState| match &root.publication {
                Publication::Held { .. } => root.look_again,
                _ => None,
            };
            let settlement = &state.settlement;
            let ids = settlement.ids.values();
            let due = ids.filter_map(|id| Some((*id, settlement.roots.get(id)?)));
            let mut places: BTreeMap<&Channel, usize> = BTreeMap::new();
            // The numbers go by epoch and channel.
            let mut placed: Vec<_> = due
                .filter(|(_, root)| is_due(root))
                .map(|(id, root)| {
                    let place = places.entry(&root.channel).or_default();
                    *place += 1;
                    (*place, looked(root), root.epoch, &root.channel, id)
                })
                .filter(|(place, ..)| *place <= DUE_OF_A_CHANNEL)
                .collect();
            placed.sort_unstable();
            placed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            placed.sort_unstable_by_key(|(_, _, epoch, channel, _)| (*epoch, *channel));
            let ids = placed.into_iter().map(|(.., id)| id);
            Ok(ids.filter_map(|id| state.candidate_of(id)).collect())
        };
        self.run("due", work).await
    }

    async fn candidate(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<Candidate>, StoreError> {
        let work = |state: &mut State| {
            let id = state.settlement.ids.get(&(epoch, channel.clone()));
            Ok(id.and_then(|id| state.candidate_of(*id)))
        };
        self.run("candidate", work).await
    }

    async fn keep_signed(
        &self,
        transaction: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let work = |state: &mut State| {
            state
                .settlement
                .keep_signed(transaction, target, roots, now)
        };
        self.run("keep_signed", work).await
    }

    async fn advance(&self, changes: &[Change], now: UnixMs) -> Result<u64, StoreError> {
        let work = |state: &mut State| {
            let mut next = state.settlement.clone();
            let taken = next.advance(changes, now)?;
            state.settlement = next;
            Ok(taken)
        };
        self.run("advance", work).await
    }

    async fn tallies(&self) -> Result<Vec<Tally>, StoreError> {
        let work = |state: &mut State| Ok(state.settlement.tallies());
        self.run("tallies", work).await
    }

    async fn rows(
        &self,
        wanted: Option<&str>,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SettlementRow>, StoreError> {
        let work = |state: &mut State| {
            if let Some(word) = wanted.filter(|word| !steps::STATES.contains(word)) {
                return Err(refuse("looking up a state", format!("no state {word:?}")));
            }
            let ids = state.settlement.ids.iter();
            let behind = ids.filter(|(key, _)| Some(*key) > after.as_ref());
            let rows = behind.filter_map(|(_, id)| state.settlement_row(*id));
            let rows =
                rows.filter(|row| wanted.is_none_or(|word| row.publication.to_string() == word));
            Ok(rows
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect())
        };
        self.run("rows", work).await
    }

    async fn row(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<SettlementRow>, StoreError> {
        let work = |state: &mut State| {
            let id = state.settlement.ids.get(&(epoch, channel.clone()));
            Ok(id.and_then(|id| state.settlement_row(*id)))
        };
        self.run("row", work).await
    }

    async fn order(&self, root: RootId, order: Order, now: UnixMs) -> Result<bool, StoreError> {
        let work = |state: &mut State| state.settlement.order(root, order, now);
        self.run("order", work).await
    }
}

#[async_trait]
impl ActivityStore for MemoryStore {
    async fn followed(&self) -> Result<Followed, StoreError> {
        let work = |state: &mut State| Ok(state.settlement.followed.clone());
        self.run("followed", work).await
    }

    async fn record(
        &self,
        all: &[Recorded],
        known: Option<Known>,
        _now: UnixMs,
    ) -> Result<(), StoreError> {
        let work = |state: &mut State| {
            const DOING: &str = "recording what the chain tells";
            for recorded in all {
                let (actions, epochs) = (recorded.activity.actions.len(), recorded.epochs.len());
                if actions != epochs {
                    let why = format!("{actions} actions and {epochs} epochs");
                    return Err(refuse(DOING, why));
                }
                let slot = recorded.activity.mark.slot;
                if i64::try_from(slot).is_err() {
                    return Err(refuse(DOING, format!("slot {slot}")));
                }
            }
            all.iter().for_each(|recorded| state.record_one(recorded));
            if let Some(last) = all.last() {
                state.settlement.followed.mark = Some(last.activity.mark.clone());
            }
            if known.is_some() {
                state.settlement.followed.known = known;
            }
            Ok(())
        };
        self.run("record", work).await
    }
}
