//! What a journal holds of the lines that may count.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use twzrd_domain::batch::Position;
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::event::{Event, IdDigest, MessageId};
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_domain::record::{self, Record};

/// How many records are read at a time.
const READ_AT_ONCE: usize = 10_000;

/// What a journal holds of the lines that may count.
#[derive(Default)]
pub(super) struct Accepted {
    /// By id, the first that has it.
    pub(super) by_id: HashMap<MessageId, Placed>,
    /// Those without an id, by what they say.
    pub(super) without_id: HashMap<String, Alike>,
    /// Ids of lines that left no event.
    pub(super) seen: HashSet<IdDigest>,
    /// Events whose id an event before them has.
    pub(super) twice: Vec<Event>,
    /// How many events there are.
    pub(super) events: u64,
    /// How many of these stand behind the seal of their epoch.
    pub(super) late: u64,
    sealed: HashSet<Epoch>,
}

/// An event, and whether it stands behind the seal of its epoch.
pub(super) struct Placed {
    pub(super) event: Event,
    pub(super) is_late: bool,
}

/// Events that say the same and have no id.
pub(super) struct Alike {
    pub(super) event: Event,
    pub(super) in_time: u64,
    pub(super) late: u64,
}

impl Accepted {
    /// Reads a journal from its beginning.
    pub(super) async fn read(
        journal: &dyn JournalFolder,
        length: EpochLength,
    ) -> Result<Self, JournalError> {
        let mut accepted = Self::default();
        let mut position = Position::default();
        loop {
            let chunk = journal.read(position, READ_AT_ONCE).await?;
            let Some(&behind) = chunk.positions.last() else {
                return Ok(accepted);
            };
            for entry in chunk.entries {
                accepted.push(entry, length);
            }
            position = behind;
        }
    }

    /// Takes in the next record.
    pub(super) fn push(&mut self, entry: record::Entry, length: EpochLength) {
        match entry.record {
            Record::Seal(seal) => drop(self.sealed.insert(seal.epoch)),
            Record::Tally(tally) => self.seen.extend(tally.seen),
            Record::Event(event) => {
                let is_late = self.sealed.contains(&length.epoch_of(event.ts));
                self.events += 1;
                self.late += u64::from(is_late);
                self.event(event, is_late);
            }
            Record::Suppress(_)
            | Record::Unsuppress(_)
            | Record::Bind(_)
            | Record::Settings(_)
            | Record::Gap(_) => {}
        }
    }

    fn event(&mut self, event: Event, is_late: bool) {
        let Some(id) = event.id.clone() else {
            let alike = self.without_id.entry(content(&event)).or_insert(Alike {
                event,
                in_time: 0,
                late: 0,
            });
            alike.late += u64::from(is_late);
            alike.in_time += u64::from(!is_late);
            return;
        };
        match self.by_id.entry(id) {
            Entry::Occupied(_) => self.twice.push(event),
            Entry::Vacant(place) => {
                place.insert(Placed { event, is_late });
            }
        }
    }
}

/// All that an event says, in place of the id that it lacks.
pub(super) fn content(event: &Event) -> String {
    format!("{event:?}")
}
