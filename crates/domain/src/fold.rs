//! Folds records of the journal into batches for the store.
//!
//! What a batch comes to depends on the records and their order only, not on how the stream of
//! records is cut into batches. Two things hold this up: whatever is "the first" is the first in
//! the order of the journal, and a control ends the rows of its batch.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;

mod draft;
mod rows;

use self::draft::Draft;
use crate::batch::{Batch, Change, Control, ParticipantRow, Position};
use crate::epoch::{Epoch, EpochLength};
use crate::event::{Event, Outcome};
use crate::identity::{Channel, UserHash};
use crate::ports::Projection;
use crate::record::{Entry, Record, Seq};
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
        let mut batch = rows::batch_of(draft, &mut self.written);
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
