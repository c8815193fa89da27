//! What a store holds, and how a batch changes it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use twzrd_domain::batch::{Batch, Change, Control, Group, Groups, Position};
use twzrd_domain::coverage;
use twzrd_domain::epoch::{Epoch, Minute, UnixMs};
use twzrd_domain::identity::{Channel, Login, UserHash, Wallet};
use twzrd_domain::invariant;
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{BuiltTrees, Quarantined, StoreError};
use twzrd_domain::record::{Bind, Gap, Suppress};
use twzrd_domain::seal::{FrozenChannel, Participant};
use twzrd_domain::signal::{SignalKind, SignalSums};
use twzrd_domain::weight::Arithmetic;

use super::settlement::Settlement;

/// A caller broke an obligation of a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

pub(super) fn refuse(doing: &'static str, why: impl Into<String>) -> StoreError {
    StoreError::Permanent {
        doing,
        source: Box::new(Refused(why.into())),
    }
}

/// When a person was first seen in a channel and epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The second of the earliest event.
    pub first_seen: u64,
    /// The group of the channel when the row was first written.
    pub group: Group,
}

/// The sums of a channel's minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteStats {
    /// Messages.
    pub messages: u64,
    /// Subscriptions given away.
    pub gifts: u64,
    /// Subscriptions, new and renewed.
    pub new_subs: u64,
    /// Bits.
    pub bits: u64,
    /// Distinct people with a message, as of the last batch that touched the minute.
    pub unique_chatters: u64,
}

/// The name of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The login.
    pub login: Login,
    /// The second in which the name was first heard.
    pub first_seen: u64,
}

/// A person on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opted {
    /// When they asked first, in Unix seconds.
    pub requested_at: u64,
    /// Why, as it was said then.
    pub reason: Option<String>,
}

/// A wallet of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// True where the person proved to own it.
    pub verified: bool,
    /// Who says so.
    pub source: String,
    /// When the binding was accepted.
    pub at: UnixMs,
}

/// All that a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The journal that it follows.
    pub journal: Option<CompactString>,
    /// Where it stands.
    pub position: Position,
    /// The settings in force.
    pub arithmetic: Option<Arithmetic>,
    /// People by epoch and channel.
    pub participants: BTreeMap<(Epoch, Channel, UserHash), Seen>,
    /// Signals by epoch, channel, minute, kind and person.
    pub signals: BTreeMap<(Epoch, Channel, Minute, SignalKind, UserHash), u64>,
    /// Sums by minute and channel.
    pub minutes: BTreeMap<(Minute, Channel), MinuteStats>,
    /// Names by hash by login.
    pub names: BTreeMap<UserHash, Name>,
    /// Hashes by id, and the second of the first event with it, by hash by login.
    pub aliases: BTreeMap<UserHash, (UserHash, u64)>,
    /// Lines by outcome, by epoch and channel.
    pub ledger: BTreeMap<(Epoch, Channel), Counts>,
    /// Epochs whose seal is committed, with the time of the first seal record.
    pub sealed: BTreeMap<Epoch, UnixMs>,
    /// Epochs of which every channel is frozen, with the time of the seal record.
    pub frozen_epochs: BTreeMap<Epoch, UnixMs>,
    /// Frozen channels.
    pub frozen: BTreeMap<(Epoch, Channel), FrozenChannel>,
    /// Trees of frozen channels.
    pub trees: BTreeMap<(Epoch, Channel), BuiltTrees>,
    /// People on the list, by every hash that was given.
    pub suppressed: BTreeMap<UserHash, Opted>,
    /// Wallets by hash by login, and by the wallet as text.
    pub bindings: BTreeMap<(UserHash, String), Bound>,
    /// Lines that were set aside.
    pub quarantine: Vec<Quarantined>,
    /// Gaps, by channel and begin.
    pub gaps: BTreeMap<(Channel, UnixMs), Gap>,
    /// Roots on their way to the chain, and what it told.
    pub settlement: Settlement,
}

impl State {
    /// The state without what may differ between two runs over the same lines: the journal and
    /// the place in it, times of acceptance, gaps, and the settlement. A disturbed run and an
    /// undisturbed one must agree on the rest.
    #[must_use]
    pub fn comparable(&self) -> Self {
        let mut state = self.clone();
        state.journal = None;
        state.position = Position::default();
        state.gaps.clear();
        state.settlement = Settlement::default();
        let times = state.sealed.values_mut();
        times
            .chain(state.frozen_epochs.values_mut())
            .for_each(|at| *at = 0);
        state.frozen.values_mut().for_each(|f| f.sealed_at = 0);
        state.trees.values_mut().for_each(|t| t.built_at = 0);
        state
            .suppressed
            .values_mut()
            .for_each(|p| p.requested_at = 0);
        state.bindings.values_mut().for_each(|b| b.at = 0);
        state
    }

    /// True where an epoch's seal is committed and the epoch is not frozen.
    #[must_use]
    pub fn is_freeze_pending(&self) -> bool {
        let mut sealed = self.sealed.keys();
        sealed.any(|epoch| !self.frozen_epochs.contains_key(epoch))
    }

    /// Epochs that are frozen and of which every frozen channel has its trees.
    #[must_use]
    pub fn finalized(&self) -> BTreeSet<Epoch> {
        let built = |epoch: Epoch| {
            let mut channels = self.frozen.keys().filter(|(e, _)| *e == epoch);
            channels.all(|key| self.trees.contains_key(key))
        };
        let frozen = self.frozen_epochs.keys().copied();
        frozen.filter(|&epoch| built(epoch)).collect()
    }

    /// The ledger over all channels and epochs.
    #[must_use]
    pub fn ledger_sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.ledger.values().for_each(|&counts| sum += counts);
        sum
    }

    /// Refuses a batch that breaks an obligation of the port. Nothing is changed before this is
    /// through, so that a commit is all or nothing.
    pub(super) fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        const DOING: &str = "committing a batch";
        invariant::batch_is_sorted(batch).map_err(|v| refuse(DOING, v.to_string()))?;
        if batch.needs_frozen() && self.is_freeze_pending() {
            let why = "a control changes what freezing reads, and a sealed epoch is not frozen yet";
            return Err(refuse(DOING, why));
        }
        let participants = batch.participants.iter().map(|row| row.epoch);
        let mut epochs = participants.chain(batch.signals.iter().map(|row| row.epoch));
        if let Some(epoch) = epochs.find(|epoch| self.sealed.contains_key(epoch)) {
            return Err(refuse(DOING, format!("rows of sealed epoch {epoch}")));
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, batch: &Batch, groups: &Groups) {
        self.journal = Some(batch.journal.clone());
        self.position = batch.to;
        for row in &batch.participants {
            let key = (row.epoch, row.channel.clone(), row.user);
            let seen = self.participants.entry(key).or_insert_with(|| Seen {
                first_seen: row.first_seen,
                group: groups.of(&row.channel).clone(),
            });
            seen.first_seen = seen.first_seen.min(row.first_seen);
        }
        for row in &batch.signals {
            let key = (
                row.epoch,
                row.channel.clone(),
                row.minute,
                row.kind,
                row.user,
            );
            if row.kind.is_once_a_minute() {
                self.signals.entry(key).or_insert(row.value);
            } else {
                *self.signals.entry(key).or_default() += row.value;
            }
        }
        for row in &batch.minutes {
            let unique_chatters = self.chatters(&row.channel, row.minute, &row.epochs);
            let key = (row.minute, row.channel.clone());
            let stats = self.minutes.entry(key).or_default();
            stats.messages += row.messages;
            stats.gifts += row.gifts;
            stats.new_subs += row.new_subs;
            stats.bits += row.bits;
            stats.unique_chatters = unique_chatters;
        }
        for row in &batch.names {
            self.names.entry(row.user).or_insert_with(|| Name {
                login: row.login.clone(),
                first_seen: row.first_seen,
            });
        }
        for row in &batch.aliases {
            let pair = (row.by_id, row.first_seen);
            self.aliases.entry(row.user).or_insert(pair);
        }
        for row in &batch.ledger {
            let key = (row.epoch, row.channel.clone());
            *self.ledger.entry(key).or_default() += row.counts;
        }
        batch.controls.iter().for_each(|c| self.control(c));
    }

    fn chatters(&self, channel: &Channel, minute: Minute, epochs: &[Epoch]) -> u64 {
        let mut people = BTreeSet::new();
        for &epoch in epochs {
            let key = |user| (epoch, channel.clone(), minute, SignalKind::Message, user);
            let all = key(UserHash([0; 32]))..=key(UserHash([0xff; 32]));
            people.extend(self.signals.range(all).map(|((.., user), _)| *user));
        }
        people.len() as u64
    }

    fn control(&mut self, control: &Control) {
        match &control.change {
            Change::Seal(epoch) => {
                self.sealed.entry(*epoch).or_insert(control.at);
            }
            Change::Suppress(person) => self.suppress(person, control.at),
            Change::Unsuppress(person) => {
                for hash in &person.hashes {
                    self.suppressed.remove(hash);
                }
            }
            Change::Bind(bind) => self.bind(bind, control.at),
            Change::Settings(settings) => self.arithmetic = Some(settings.clone()),
            Change::Gap(gap) => {
                let key = (gap.channel.clone(), gap.from);
                let known = self.gaps.entry(key).or_insert_with(|| gap.clone());
                if gap.until > known.until {
                    *known = gap.clone();
                }
            }
        }
    }

    fn bind(&mut self, bind: &Bind, at: UnixMs) {
        let bound = Bound {
            verified: bind.verified,
            source: bind.source.clone(),
            at,
        };
        self.bindings
            .insert((bind.user, bind.wallet.to_string()), bound);
    }

    fn suppress(&mut self, person: &Suppress, at: UnixMs) {
        for &hash in &person.hashes {
            self.suppressed.entry(hash).or_insert_with(|| Opted {
                requested_at: at / 1000,
                reason: Some(person.reason.clone()).filter(|reason| !reason.is_empty()),
            });
        }
        let mut gone: BTreeSet<UserHash> = person.hashes.iter().copied().collect();
        let by_id = |by_id: &UserHash| person.hashes.contains(by_id);
        let known = self.aliases.iter().filter(|(_, (id, _))| by_id(id));
        gone.extend(known.map(|(user, _)| *user));
        let sealed = &self.sealed;
        self.participants
            .retain(|(epoch, _, user), _| sealed.contains_key(epoch) || !gone.contains(user));
        self.signals
            .retain(|(epoch, .., user), _| sealed.contains_key(epoch) || !gone.contains(user));
        self.names.retain(|user, _| !gone.contains(user));
        self.aliases.retain(|user, _| !gone.contains(user));
        let frozen = self.frozen.values_mut().flat_map(|f| &mut f.participants);
        for participant in frozen.filter(|p| gone.contains(&p.user)) {
            participant.login = None;
        }
    }

    /// The participants of a channel in sealed order, with all that freezing reads.
    pub(super) fn participants_of(&self, epoch: Epoch, channel: &Channel) -> Vec<Participant> {
        let sums = self.sums_of(epoch, channel);
        let key = |user| (epoch, channel.clone(), user);
        let all = key(UserHash([0; 32]))..=key(UserHash([0xff; 32]));
        let participant = |(&(_, _, user), seen): (&(Epoch, Channel, UserHash), &Seen)| {
            let wallet = self.wallet_of(user);
            Participant {
                user,
                first_seen: seen.first_seen,
                login: self.names.get(&user).map(|name| name.login.clone()),
                wallet,
                sums: sums.get(&user).copied(),
                group: seen.group.clone(),
            }
        };
        let mut people: Vec<_> = self.participants.range(all).map(participant).collect();
        people.sort_by_key(|p| (p.first_seen, p.user));
        people
    }

    /// The wallet that a person claims with: one that is verified before others, then the one that
    /// was bound last, by the second, then the first as text.
    fn wallet_of(&self, user: UserHash) -> Wallet {
        let all = self.bindings.range((user, String::new())..);
        let own = all.take_while(|((of, _), _)| *of == user);
        let best = own.min_by_key(|((_, wallet), bound)| {
            (!bound.verified, Reverse(bound.at / 1000), wallet.clone())
        });
        let wallet = best.and_then(|((_, wallet), _)| wallet.parse().ok());
        wallet.unwrap_or(Wallet::UNBOUND)
    }

    fn sums_of(&self, epoch: Epoch, channel: &Channel) -> BTreeMap<UserHash, SignalSums> {
        let mut sums: BTreeMap<UserHash, SignalSums> = BTreeMap::new();
        let first = SignalKind::Presence;
        let from = (epoch, channel.clone(), Minute(0), first, UserHash([0; 32]));
        let rows = self.signals.range(from..);
        let here = rows.take_while(|((e, c, ..), _)| *e == epoch && c == channel);
        for ((_, _, _, kind, user), value) in here {
            let sums = sums.entry(*user).or_default();
            *match kind {
                SignalKind::Presence => &mut sums.presence,
                SignalKind::Message => &mut sums.message,
                SignalKind::Sub => &mut sums.sub,
                SignalKind::Resub => &mut sums.resub,
                SignalKind::Gift => &mut sums.gift,
                SignalKind::Bits => &mut sums.bits,
                SignalKind::Raid => &mut sums.raid,
            } += value;
        }
        sums
    }

    /// How long a channel was not heard in an epoch, in milliseconds. What two gaps share counts
    /// once.
    pub(super) fn gap_ms(&self, epoch: Epoch, channel: &Channel) -> u64 {
        let length = self.arithmetic.clone().unwrap_or_default().epoch_seconds;
        let gaps = self.gaps.values().filter(|gap| gap.channel == *channel);
        coverage::gap_ms(gaps.map(|gap| (gap.from, gap.until)), epoch, length)
    }
}
