//! A batch in the making.

use std::collections::HashMap;

use crate::batch::{Change, Control};
use crate::epoch::{Epoch, EpochLength, Minute};
use crate::event::{Action, Event};
use crate::identity::{Channel, Login, UserHash};
use crate::ledger::Counts;
use crate::record::{Record, Seq, Tally};
use crate::signal::{SignalKind, signals};

/// A person in a draft.
pub(super) struct Person {
    pub(super) login: Login,
    pub(super) hash: UserHash,
    /// The second of the first event that counted, in the order of the journal.
    pub(super) heard: Option<u64>,
    /// The hash by id of the first event that counted and carried an id, with its second.
    pub(super) alias: Option<(UserHash, u64)>,
}

/// What happened in a channel in a minute.
#[derive(Default)]
pub(super) struct MinuteSums {
    pub(super) messages: u64,
    pub(super) gifts: u64,
    pub(super) new_subs: u64,
    pub(super) bits: u64,
}

/// A batch in the making. Channels and people are numbered, so that rows are small keys.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) from: Seq,
    pub(super) length: EpochLength,
    pub(super) channels: Vec<Channel>,
    pub(super) channel_numbers: HashMap<Channel, u32>,
    pub(super) users: Vec<Person>,
    pub(super) user_numbers: HashMap<Login, u32>,
    pub(super) ids: HashMap<u64, UserHash>,
    pub(super) participants: HashMap<(Epoch, u32, u32), u64>,
    pub(super) signals: HashMap<(Epoch, u32, Minute, SignalKind, u32), u64>,
    pub(super) minutes: HashMap<(Minute, u32), MinuteSums>,
    pub(super) ledger: HashMap<(Epoch, u32), Counts>,
    pub(super) controls: Vec<Control>,
}

impl Draft {
    pub(super) fn from(seq: Seq, length: EpochLength) -> Self {
        Self {
            from: seq,
            length,
            ..Self::default()
        }
    }

    /// Rows never follow a control; what freezing reads never changes in the batch of a seal.
    pub(super) fn is_cut_before(&self, record: &Record) -> bool {
        let after_seal = || {
            self.controls
                .iter()
                .any(|c| matches!(c.change, Change::Seal(_)))
        };
        match record {
            Record::Event(_) | Record::Tally(_) => !self.controls.is_empty(),
            Record::Suppress(_) | Record::Bind(_) | Record::Settings(_) => after_seal(),
            Record::Seal(_) | Record::Unsuppress(_) | Record::Gap(_) => false,
        }
    }

    pub(super) fn channel(&mut self, channel: &Channel) -> u32 {
        if let Some(&number) = self.channel_numbers.get(channel) {
            return number;
        }
        let number = number_of(self.channels.len());
        self.channels.push(channel.clone());
        self.channel_numbers.insert(channel.clone(), number);
        number
    }

    pub(super) fn user(&mut self, login: &Login) -> u32 {
        if let Some(&number) = self.user_numbers.get(login) {
            return number;
        }
        let number = number_of(self.users.len());
        let hash = UserHash::of_login(login);
        self.users.push(Person {
            login: login.clone(),
            hash,
            heard: None,
            alias: None,
        });
        self.user_numbers.insert(login.clone(), number);
        number
    }

    pub(super) fn hash_of_id(&mut self, id: u64) -> UserHash {
        *self
            .ids
            .entry(id)
            .or_insert_with(|| UserHash::of_twitch_id(id))
    }

    pub(super) fn tally(&mut self, tally: &Tally) {
        for count in &tally.counts {
            let channel = self.channel(&count.channel);
            self.ledger
                .entry((count.epoch, channel))
                .or_default()
                .book(count.outcome, count.lines);
        }
    }

    pub(super) fn count(
        &mut self,
        epoch: Epoch,
        channel: u32,
        user: u32,
        by_id: Option<UserHash>,
        event: &Event,
    ) {
        let second = event.ts / 1000;
        let minute = Minute::of(event.ts);
        let person = &mut self.users[user as usize];
        person.heard.get_or_insert(second);
        if person.alias.is_none() {
            person.alias = by_id.map(|id| (id, second));
        }
        let first_seen = self
            .participants
            .entry((epoch, channel, user))
            .or_insert(second);
        *first_seen = second.min(*first_seen);
        self.signals
            .insert((epoch, channel, minute, SignalKind::Presence, user), 1);
        for (kind, value) in signals(event) {
            *self
                .signals
                .entry((epoch, channel, minute, kind, user))
                .or_default() += value;
        }
        let sums = self.minutes.entry((minute, channel)).or_default();
        match event.action {
            Action::Message { bits } => {
                sums.messages += 1;
                sums.bits += u64::from(bits);
            }
            Action::Sub | Action::Resub => sums.new_subs += 1,
            Action::Gift { count } => sums.gifts += u64::from(count),
            Action::Raid { .. } | Action::Notice => {}
        }
    }
}

pub(super) fn number_of(len: usize) -> u32 {
    // A batch holds far fewer names than 2^32; were it ever full, the last number is shared and
    // the store's unique keys refuse the batch.
    u32::try_from(len).unwrap_or(u32::MAX)
}
