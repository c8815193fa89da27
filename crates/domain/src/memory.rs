//! What the journal remembers of its own past: message ids, the progress of sources, settings.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use compact_str::CompactString;

use crate::epoch::{Epoch, EpochLength, UnixMs};
use crate::event::{IdDigest, Outcome};
use crate::identity::Channel;
use crate::record::{Append, Candidate, Entry, Intake, Progress, Record, Tally, TallyCount};
use crate::weight::Arithmetic;

/// How many message ids are remembered.
pub const REMEMBERED_IDS: usize = 1_000_000;

/// How many sources are remembered. The one that was heard of longest ago is forgotten first.
pub const REMEMBERED_SOURCES: usize = 200_000;

/// Digests are uniform already; hashing them again would buy nothing.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// The message ids of the recent past, the oldest forgotten first.
#[derive(Default)]
pub struct SeenIds {
    order: VecDeque<IdDigest>,
    set: HashSet<IdDigest, BuildHasherDefault<DigestHasher>>,
}

impl SeenIds {
    /// Remembers an id. False where it is remembered already, and then nothing changes.
    pub fn insert(&mut self, id: IdDigest) -> bool {
        if !self.set.insert(id) {
            return false;
        }
        if self.order.len() >= REMEMBERED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        self.order.push_back(id);
        true
    }

    /// The ids, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IdDigest> + '_ {
        self.order.iter().copied()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True where none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// How far each source has been read, by name; bounded by [`REMEMBERED_SOURCES`].
#[derive(Default)]
struct Sources {
    by_name: BTreeMap<CompactString, (u64, Progress)>,
    by_age: BTreeMap<u64, CompactString>,
    clock: u64,
}

impl Sources {
    fn get(&self, source: &str) -> Option<&Progress> {
        self.by_name.get(source).map(|(_, progress)| progress)
    }

    fn set(&mut self, progress: Progress) {
        self.clock += 1;
        self.by_age.insert(self.clock, progress.source.clone());
        let name = progress.source.clone();
        if let Some((age, _)) = self.by_name.insert(name, (self.clock, progress)) {
            self.by_age.remove(&age);
        }
        if self.by_name.len() > REMEMBERED_SOURCES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_name.remove(&oldest);
        }
    }
}

/// What the journal remembers. Rebuilt by [`Memory::observe`] from its records, or from a snapshot
/// of [`Memory::parts`] and the records since.
#[derive(Default)]
pub struct Memory {
    seen: SeenIds,
    sources: Sources,
    settings: Option<Arithmetic>,
}

/// The parts of a [`Memory`], for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryParts {
    /// The progress of the sources, the one heard of longest ago first.
    pub sources: Vec<Progress>,
    /// The settings in force.
    pub settings: Option<Arithmetic>,
}

impl Memory {
    /// Puts a memory together from its parts and ids, oldest first.
    #[must_use]
    pub fn from_parts(parts: MemoryParts, ids: impl IntoIterator<Item = IdDigest>) -> Self {
        let mut memory = Self {
            settings: parts.settings,
            ..Self::default()
        };
        for id in ids {
            memory.seen.insert(id);
        }
        for progress in parts.sources {
            memory.sources.set(progress);
        }
        memory
    }

    /// The parts besides the ids.
    #[must_use]
    pub fn parts(&self) -> MemoryParts {
        MemoryParts {
            sources: self.sources().cloned().collect(),
            settings: self.settings.clone(),
        }
    }

    /// The ids that are remembered.
    #[must_use]
    pub const fn seen(&self) -> &SeenIds {
        &self.seen
    }

    /// The progress of the sources, the one heard of longest ago first.
    pub fn sources(&self) -> impl Iterator<Item = &Progress> {
        self.sources
            .by_age
            .values()
            .filter_map(|name| self.sources.get(name))
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> Option<&Arithmetic> {
        self.settings.as_ref()
    }

    /// Takes in a record that stands in the journal.
    pub fn observe(&mut self, entry: &Entry) {
        self.observe_record(&entry.record);
    }

    fn observe_record(&mut self, record: &Record) {
        match record {
            Record::Event(event) => {
                if let Some(id) = &event.id {
                    self.seen.insert(id.digest());
                }
            }
            Record::Tally(tally) => {
                for &id in &tally.seen {
                    self.seen.insert(id);
                }
                if let Some(progress) = &tally.progress {
                    self.sources.set(progress.clone());
                }
            }
            Record::Settings(settings) => self.settings = Some(settings.clone()),
            Record::Seal(_)
            | Record::Suppress(_)
            | Record::Unsuppress(_)
            | Record::Bind(_)
            | Record::Gap(_) => {}
        }
    }

    /// Turns an append into the records that are to be written, and remembers them.
    ///
    /// None where its source has been read that far before. After a write that failed, this
    /// memory knows more than the journal holds, and must be rebuilt.
    pub fn admit(&mut self, append: Append) -> Option<Vec<(UnixMs, Record)>> {
        let progress = match &append {
            Append::Intake(intake) => intake.progress.as_ref(),
            Append::Records { progress, .. } => progress.as_ref(),
        };
        if let Some(progress) = progress
            && let Some(known) = self.sources.get(&progress.source)
            && known.upto >= progress.upto
        {
            return None;
        }
        Some(match append {
            Append::Intake(intake) => self.admit_intake(intake),
            Append::Records { progress, records } => self.admit_records(progress, records),
        })
    }

    fn admit_intake(&mut self, intake: Intake) -> Vec<(UnixMs, Record)> {
        let at = intake.at;
        let length = self.epoch_length();
        let mut books = Books::from(intake.tally);
        let mut seen = Vec::new();
        let mut records = Vec::with_capacity(intake.candidates.len() + 1);
        for candidate in intake.candidates {
            match candidate {
                Candidate::Event(event) => {
                    let fresh = event
                        .id
                        .as_ref()
                        .is_none_or(|id| self.seen.insert(id.digest()));
                    if fresh {
                        records.push((at, Record::Event(event)));
                    } else {
                        books.book(length.epoch_of(event.ts), event.channel, Outcome::Duplicate);
                    }
                }
                Candidate::Passed(line) => {
                    let fresh = line.id.is_none_or(|id| self.seen.insert(id));
                    seen.extend(line.id.filter(|_| fresh));
                    let outcome = if fresh {
                        line.outcome
                    } else {
                        Outcome::Duplicate
                    };
                    books.book(length.epoch_of(line.ts), line.channel, outcome);
                }
            }
        }
        let tally = Tally {
            lines: intake.lines,
            progress: intake.progress,
            seen,
            counts: books.into_counts(),
        };
        self.close(&mut records, at, tally);
        records
    }

    fn admit_records(
        &mut self,
        progress: Option<Progress>,
        from: Vec<(UnixMs, Record)>,
    ) -> Vec<(UnixMs, Record)> {
        let mut books = Books::default();
        let mut records = Vec::with_capacity(from.len() + 1);
        let mut duplicates = 0;
        let mut last = 0;
        for (at, record) in from {
            last = at;
            if let Record::Event(event) = &record
                && let Some(id) = &event.id
            {
                if !self.seen.insert(id.digest()) {
                    let epoch = self.epoch_length().epoch_of(event.ts);
                    books.book(epoch, event.channel.clone(), Outcome::Duplicate);
                    duplicates += 1;
                    continue;
                }
            } else {
                self.observe_record(&record);
            }
            records.push((at, record));
        }
        if progress.is_some() || duplicates > 0 {
            let counts = books.into_counts();
            let tally = Tally {
                lines: duplicates,
                progress,
                seen: Vec::new(),
                counts,
            };
            self.close(&mut records, last, tally);
        }
        records
    }

    fn close(&mut self, records: &mut Vec<(UnixMs, Record)>, at: UnixMs, tally: Tally) {
        if let Some(progress) = &tally.progress {
            self.sources.set(progress.clone());
        }
        records.push((at, Record::Tally(tally)));
    }

    fn epoch_length(&self) -> EpochLength {
        self.settings
            .as_ref()
            .map_or(EpochLength::HOUR, |settings| settings.epoch_seconds)
    }
}

/// Lines by epoch, channel and outcome.
#[derive(Default)]
struct Books(BTreeMap<(Epoch, Channel, Outcome), u64>);

impl Books {
    fn book(&mut self, epoch: Epoch, channel: Channel, outcome: Outcome) {
        *self.0.entry((epoch, channel, outcome)).or_default() += 1;
    }

    fn into_counts(self) -> Vec<TallyCount> {
        self.0
            .into_iter()
            .map(|((epoch, channel, outcome), lines)| TallyCount {
                epoch,
                channel,
                outcome,
                lines,
            })
            .collect()
    }
}

impl From<Vec<TallyCount>> for Books {
    fn from(counts: Vec<TallyCount>) -> Self {
        let mut books = Self::default();
        for count in counts {
            *books
                .0
                .entry((count.epoch, count.channel, count.outcome))
                .or_default() += count.lines;
        }
        books
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::event::{Action, Event, MessageId};
    use crate::identity::Name;

    fn event(id: &str) -> Candidate {
        Candidate::Event(Event {
            id: MessageId::parse(id),
            channel: Name::parse("forsen").unwrap(),
            ts: 3_600_000,
            login: Name::parse("someone").unwrap(),
            user_id: None,
            action: Action::Message { bits: 0 },
            text: None,
        })
    }

    fn anonymous(id: &str) -> Candidate {
        Candidate::Passed(Passed {
            id: MessageId::parse(id).map(|id| id.digest()),
            channel: Name::parse("forsen").unwrap(),
            ts: 3_600_000,
            outcome: Outcome::Anonymous,
        })
    }
    use crate::record::Passed;

    fn intake(upto: u64, candidates: Vec<Candidate>) -> Append {
        Append::Intake(Intake {
            progress: Some(Progress {
                source: "input".into(),
                upto,
                digest: "".into(),
            }),
            at: 3_600_000,
            lines: candidates.len() as u64,
            candidates,
            tally: Vec::new(),
        })
    }

    fn tally(records: &[(UnixMs, Record)]) -> Tally {
        match &records.last().unwrap().1 {
            Record::Tally(tally) => tally.clone(),
            other => panic!("expected a tally, found {other:?}"),
        }
    }

    #[test]
    fn a_known_id_is_a_duplicate_whatever_else_the_line_would_be() {
        let mut memory = Memory::default();
        let first = memory
            .admit(intake(1, vec![event("a"), anonymous("b"), event("a")]))
            .unwrap();
        assert_eq!(first.len(), 2, "one event and the tally");
        let outcomes: Vec<_> = tally(&first)
            .counts
            .iter()
            .map(|c| (c.outcome, c.lines))
            .collect();
        assert_eq!(outcomes, [(Outcome::Duplicate, 1), (Outcome::Anonymous, 1)]);
        let second = memory
            .admit(intake(2, vec![anonymous("a"), event("b")]))
            .unwrap();
        assert_eq!(second.len(), 1);
        assert_eq!(tally(&second).counts[0].outcome, Outcome::Duplicate);
        assert_eq!(tally(&second).counts[0].lines, 2);
    }

    #[test]
    fn the_same_stretch_of_a_source_is_taken_once() {
        let mut memory = Memory::default();
        assert!(memory.admit(intake(10, vec![event("a")])).is_some());
        assert!(memory.admit(intake(10, vec![event("a")])).is_none());
        assert!(memory.admit(intake(9, vec![event("z")])).is_none());
        assert!(memory.admit(intake(11, vec![event("c")])).is_some());
    }

    #[test]
    fn a_memory_rebuilt_from_records_decides_as_the_one_that_wrote_them() {
        let mut memory = Memory::default();
        let written = memory
            .admit(intake(1, vec![event("a"), anonymous("b")]))
            .unwrap();
        let mut rebuilt = Memory::default();
        for (n, (at, record)) in written.into_iter().enumerate() {
            rebuilt.observe(&Entry {
                seq: n as u64 + 1,
                at,
                record,
            });
        }
        let again = || intake(2, vec![event("a"), event("b"), event("c")]);
        let snapshot = Memory::from_parts(rebuilt.parts(), rebuilt.seen().iter());
        for mut other in [memory, rebuilt, snapshot] {
            let records = other.admit(again()).unwrap();
            assert_eq!(records.len(), 2);
            assert_eq!(tally(&records).counts[0].lines, 2);
        }
    }

    #[test]
    fn the_oldest_id_is_forgotten_first() {
        let mut seen = SeenIds::default();
        for n in 0..=REMEMBERED_IDS as u64 {
            assert!(seen.insert(IdDigest(n)));
        }
        assert_eq!(seen.len(), REMEMBERED_IDS);
        assert!(seen.insert(IdDigest(0)), "the first was forgotten");
        assert!(!seen.insert(IdDigest(2)));
    }

    #[test]
    fn records_of_another_journal_pass_the_check_of_ids() {
        let mut memory = Memory::default();
        memory.admit(intake(1, vec![event("a")])).unwrap();
        let Candidate::Event(again) = event("a") else {
            unreachable!()
        };
        let Candidate::Event(fresh) = event("b") else {
            unreachable!()
        };
        let records = vec![(5, Record::Event(again)), (6, Record::Event(fresh))];
        let written = memory
            .admit(Append::Records {
                progress: None,
                records,
            })
            .unwrap();
        assert_eq!(written.len(), 2);
        assert_eq!(tally(&written).lines, 1);
    }
}
