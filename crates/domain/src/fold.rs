//! Folds records of the journal into batches for the store.
//!
//! What a batch comes to depends on the records and their order only, not on how the stream of
//! records is cut into batches. Two things hold this up: whatever is "the first" is the first in
//! the order of the journal, and a control ends the rows of its batch.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;

use crate::batch::{
    AliasRow, Batch, Change, Control, LedgerRow, MinuteRow, NameRow, ParticipantRow, Position,
    SignalRow,
};
use crate::epoch::{Epoch, EpochLength, Minute};
use crate::event::{Action, Event, Outcome};
use crate::identity::{Channel, Login, UserHash};
use crate::ledger::Counts;
use crate::ports::Projection;
use crate::record::{Entry, Record, Seq, Tally};
use crate::signal::{SignalKind, signals};
use crate::weight::Arithmetic;

/// How many people and participations are remembered as written already, so that they are not
/// written again. Past that, all are forgotten and written once more, which changes nothing.
pub const REMEMBERED_ROWS: usize = 500_000;

/// A record does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal goes on with record {found}; expected record {expected}")]
pub struct OutOfSequence {
    /// What came.
    pub found: Seq,
    /// What should have come.
    pub expected: Seq,
}

/// What became of a record that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is part of the batch.
    Taken,
    /// It belongs to the next batch: finish this one, then push it again.
    NextBatch,
}

/// Folds records into batches, from where the store stands.
pub struct Fold {
    journal: CompactString,
    arithmetic: Arithmetic,
    sealed: HashSet<Epoch>,
    suppressed: HashSet<UserHash>,
    written: Written,
    position: Position,
    draft: Draft,
}

impl Fold {
    /// Goes on from where the store stands.
    #[must_use]
    pub fn new(projection: Projection, journal: CompactString) -> Self {
        Self {
            journal,
            sealed: projection.sealed.into_iter().collect(),
            suppressed: projection.suppressed.into_iter().collect(),
            written: Written::default(),
            position: projection.position,
            draft: Draft::from(
                projection.position.seq,
                projection
                    .arithmetic
                    .as_ref()
                    .map_or(EpochLength::HOUR, |a| a.epoch_seconds),
            ),
            arithmetic: projection.arithmetic.unwrap_or_default(),
        }
    }

    /// Where the journal has been read up to.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Takes in the next record; `behind` is where its successor begins.
    ///
    /// # Errors
    /// Where the record does not follow the one before it.
    pub fn push(&mut self, entry: &Entry, behind: Position) -> Result<Pushed, OutOfSequence> {
        let expected = self.position.seq + 1;
        if entry.seq != expected || behind.seq != expected {
            return Err(OutOfSequence {
                found: entry.seq,
                expected,
            });
        }
        if self.draft.is_cut_before(&entry.record) {
            return Ok(Pushed::NextBatch);
        }
        match &entry.record {
            Record::Event(event) => self.event(event),
            Record::Tally(tally) => self.draft.tally(tally),
            Record::Seal(seal) => {
                self.sealed.insert(seal.epoch);
                self.control(entry, Change::Seal(seal.epoch));
            }
            Record::Suppress(person) => {
                self.suppressed.extend(&person.hashes);
                self.control(entry, Change::Suppress(person.clone()));
            }
            Record::Unsuppress(person) => {
                person.hashes.iter().for_each(|hash| {
                    self.suppressed.remove(hash);
                });
                self.control(entry, Change::Unsuppress(person.clone()));
            }
            Record::Bind(bind) => self.control(entry, Change::Bind(bind.clone())),
            Record::Settings(settings) => {
                self.arithmetic = settings.clone();
                self.control(entry, Change::Settings(settings.clone()));
            }
            Record::Gap(gap) => self.control(entry, Change::Gap(gap.clone())),
        }
        self.position = behind;
        Ok(Pushed::Taken)
    }

    /// The batch of all that was taken in since the last; none where that is nothing.
    pub fn finish(&mut self) -> Option<Batch> {
        if self.position.seq == self.draft.from {
            return None;
        }
        let draft = std::mem::replace(
            &mut self.draft,
            Draft::from(self.position.seq, self.arithmetic.epoch_seconds),
        );
        let mut batch = draft.into_batch(&mut self.written);
        if batch
            .controls
            .iter()
            .any(|c| matches!(c.change, Change::Suppress(_)))
        {
            // The store takes rows of this very batch away again.
            self.written = Written::default();
        }
        batch.journal = self.journal.clone();
        batch.to = self.position;
        Some(batch)
    }

    fn event(&mut self, event: &Event) {
        let epoch = self.arithmetic.epoch_seconds.epoch_of(event.ts);
        let channel = self.draft.channel(&event.channel);
        let user = self.draft.user(&event.login);
        let by_id = event.user_id.map(|id| self.draft.hash_of_id(id));
        let hash = self.draft.users[user as usize].hash;
        let is_suppressed = !self.suppressed.is_empty()
            && (self.suppressed.contains(&hash)
                || by_id.is_some_and(|id| self.suppressed.contains(&id)));
        let outcome = if is_suppressed {
            Outcome::Suppressed
        } else if self.sealed.contains(&epoch) {
            Outcome::Late
        } else {
            Outcome::Counted
        };
        self.draft
            .ledger
            .entry((epoch, channel))
            .or_default()
            .book(outcome, 1);
        if outcome == Outcome::Counted {
            self.draft.count(epoch, channel, user, by_id, event);
        }
    }

    fn control(&mut self, entry: &Entry, change: Change) {
        self.draft.controls.push(Control {
            seq: entry.seq,
            at: entry.at,
            change,
        });
    }
}

/// Rows that are in the store already.
#[derive(Default)]
struct Written {
    users: HashSet<(UserHash, bool)>,
    participants: HashMap<(Epoch, Channel, UserHash), u64>,
}

impl Written {
    /// True where the person's name, and alias if there is one, are written already.
    fn knows_user(&mut self, user: UserHash, has_alias: bool) -> bool {
        if self.users.len() >= REMEMBERED_ROWS {
            self.users.clear();
        }
        !self.users.insert((user, has_alias))
    }

    /// True where the participation is written already with a time as early as this.
    fn knows_participant(&mut self, row: &ParticipantRow) -> bool {
        if self.participants.len() >= REMEMBERED_ROWS {
            self.participants.clear();
        }
        let key = (row.epoch, row.channel.clone(), row.user);
        let least = self.participants.entry(key).or_insert(u64::MAX);
        let known = *least <= row.first_seen;
        *least = row.first_seen.min(*least);
        known
    }
}

/// A person in a draft.
struct Person {
    login: Login,
    hash: UserHash,
    /// The second of the first event that counted, in the order of the journal.
    heard: Option<u64>,
    /// The hash by id of the first event that counted and carried an id, with its second.
    alias: Option<(UserHash, u64)>,
}

/// What happened in a channel in a minute.
#[derive(Default)]
struct MinuteSums {
    messages: u64,
    gifts: u64,
    new_subs: u64,
    bits: u64,
}

/// A batch in the making. Channels and people are numbered, so that rows are small keys.
#[derive(Default)]
struct Draft {
    from: Seq,
    length: EpochLength,
    channels: Vec<Channel>,
    channel_numbers: HashMap<Channel, u32>,
    users: Vec<Person>,
    user_numbers: HashMap<Login, u32>,
    ids: HashMap<u64, UserHash>,
    participants: HashMap<(Epoch, u32, u32), u64>,
    signals: HashMap<(Epoch, u32, Minute, SignalKind, u32), u64>,
    minutes: HashMap<(Minute, u32), MinuteSums>,
    ledger: HashMap<(Epoch, u32), Counts>,
    controls: Vec<Control>,
}

impl Draft {
    fn from(seq: Seq, length: EpochLength) -> Self {
        Self {
            from: seq,
            length,
            ..Self::default()
        }
    }

    /// Rows never follow a control; what freezing reads never changes in the batch of a seal.
    fn is_cut_before(&self, record: &Record) -> bool {
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

    fn channel(&mut self, channel: &Channel) -> u32 {
        if let Some(&number) = self.channel_numbers.get(channel) {
            return number;
        }
        let number = number_of(self.channels.len());
        self.channels.push(channel.clone());
        self.channel_numbers.insert(channel.clone(), number);
        number
    }

    fn user(&mut self, login: &Login) -> u32 {
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

    fn hash_of_id(&mut self, id: u64) -> UserHash {
        *self
            .ids
            .entry(id)
            .or_insert_with(|| UserHash::of_twitch_id(id))
    }

    fn tally(&mut self, tally: &Tally) {
        for count in &tally.counts {
            let channel = self.channel(&count.channel);
            self.ledger
                .entry((count.epoch, channel))
                .or_default()
                .book(count.outcome, count.lines);
        }
    }

    fn count(
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

    fn into_batch(self, written: &mut Written) -> Batch {
        // Channels by rank: rows are sorted by small numbers, and come out in the order of names.
        let mut by_name: Vec<usize> = (0..self.channels.len()).collect();
        by_name.sort_by(|&a, &b| self.channels[a].cmp(&self.channels[b]));
        let mut rank = vec![0usize; by_name.len()];
        for (place, &number) in by_name.iter().enumerate() {
            rank[number] = place;
        }
        let rows = Rows { draft: &self, rank };
        Batch {
            from: self.from,
            participants: rows.participants(written),
            signals: rows.signals(),
            minutes: rows.minutes(),
            ledger: rows.ledger(),
            names: Vec::new(),
            aliases: Vec::new(),
            ..Batch::default()
        }
        .with_people(&self.users, written)
        .with_controls(self.controls)
    }
}

impl Batch {
    fn with_people(mut self, users: &[Person], written: &mut Written) -> Self {
        for person in users {
            let Some(heard) = person.heard else { continue };
            if written.knows_user(person.hash, person.alias.is_some()) {
                continue;
            }
            self.names.push(NameRow {
                user: person.hash,
                login: person.login.clone(),
                first_seen: heard,
            });
            if let Some((by_id, first_seen)) = person.alias {
                self.aliases.push(AliasRow {
                    user: person.hash,
                    by_id,
                    first_seen,
                });
            }
        }
        self.names.sort_unstable_by_key(|row| row.user);
        self.aliases.sort_unstable_by_key(|row| row.user);
        self
    }

    fn with_controls(mut self, controls: Vec<Control>) -> Self {
        self.controls = controls;
        self
    }
}

/// The sorted rows of a draft.
struct Rows<'a> {
    draft: &'a Draft,
    rank: Vec<usize>,
}

impl Rows<'_> {
    fn channel(&self, number: u32) -> Channel {
        self.draft.channels[number as usize].clone()
    }

    fn rank(&self, number: u32) -> usize {
        self.rank[number as usize]
    }

    fn hash(&self, number: u32) -> UserHash {
        self.draft.users[number as usize].hash
    }

    fn participants(&self, written: &mut Written) -> Vec<ParticipantRow> {
        let mut keys: Vec<_> = self
            .draft
            .participants
            .iter()
            .map(|(&(epoch, channel, user), &first)| {
                (epoch, self.rank(channel), self.hash(user), channel, first)
            })
            .collect();
        keys.sort_unstable();
        let row = |(epoch, _, user, channel, first_seen)| ParticipantRow {
            epoch,
            channel: self.channel(channel),
            user,
            first_seen,
        };
        keys.into_iter()
            .map(row)
            .filter(|row| !written.knows_participant(row))
            .collect()
    }

    fn signals(&self) -> Vec<SignalRow> {
        let mut keys: Vec<_> = self
            .draft
            .signals
            .iter()
            .map(|(&(epoch, channel, minute, kind, user), &value)| {
                let rank = self.rank(channel);
                (
                    (epoch, rank, minute, kind.as_str(), self.hash(user)),
                    (channel, kind, value),
                )
            })
            .collect();
        keys.sort_unstable_by_key(|&(key, _)| key);
        keys.into_iter()
            .map(
                |((epoch, _, minute, _, user), (channel, kind, value))| SignalRow {
                    epoch,
                    channel: self.channel(channel),
                    minute,
                    kind,
                    user,
                    value,
                },
            )
            .collect()
    }

    fn minutes(&self) -> Vec<MinuteRow> {
        let mut keys: Vec<_> = self
            .draft
            .minutes
            .iter()
            .map(|(&(minute, channel), sums)| (minute, channel, sums))
            .collect();
        keys.sort_unstable_by_key(|&(minute, channel, _)| (minute, self.rank(channel)));
        keys.into_iter()
            .map(|(minute, channel, sums)| MinuteRow {
                minute,
                channel: self.channel(channel),
                epochs: self.draft.length.epochs_of_minute(minute),
                messages: sums.messages,
                gifts: sums.gifts,
                new_subs: sums.new_subs,
                bits: sums.bits,
            })
            .collect()
    }

    fn ledger(&self) -> Vec<LedgerRow> {
        let mut keys: Vec<_> = self
            .draft
            .ledger
            .iter()
            .map(|(&(epoch, channel), &counts)| (epoch, channel, counts))
            .collect();
        keys.sort_unstable_by_key(|&(epoch, channel, _)| (epoch, self.rank(channel)));
        keys.into_iter()
            .map(|(epoch, channel, counts)| LedgerRow {
                epoch,
                channel: self.channel(channel),
                counts,
            })
            .collect()
    }
}

fn number_of(len: usize) -> u32 {
    // A batch holds far fewer names than 2^32; were it ever full, the last number is shared and
    // the store's unique keys refuse the batch.
    u32::try_from(len).unwrap_or(u32::MAX)
}
