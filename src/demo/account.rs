//! Holds a journal against what a chat server said: which line is lost, which is there twice, and
//! which was never said.
//!
//! A line is known by its `id`. Lines without one are known by all that their event says; those
//! that say the same are interchangeable, so only how many there are is told. A line that was on
//! its way when its socket was lost may have arrived or not, and the journal is asked which. Every
//! other line that was sent must be in the journal, once.

use std::collections::{HashMap, HashSet};

use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::event::{Event, IdDigest, MessageId};
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::record::Candidate;
use twzrd_simulator::log::{Fate, Line, Truth};
use twzrd_twitch::line::{self, Arrival};

use super::accepted::{Accepted, content};

/// What decides what becomes of a line in front of the journal.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) length: EpochLength,
    pub(super) keep_text: bool,
    pub(super) bots: HashSet<Login>,
}

/// Something that is not as it should be, in one channel and epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// What was found, and what was expected.
    pub found: String,
}

/// A line that was sent whole.
pub(super) struct Said<'a> {
    line: &'a Line,
    candidate: Option<Candidate>,
    /// Whoever read on has it. Otherwise it was on its way when its socket was lost.
    is_certain: bool,
}

/// Lines of one id.
#[derive(Default)]
struct OfId<'a> {
    events: Vec<&'a Event>,
    may_be_no_event: bool,
    is_certain: bool,
}

/// Lines without an id that say the same.
struct Counted<'a> {
    event: &'a Event,
    certain: u64,
    on_the_way: u64,
}

/// What holding one against the other comes to.
#[derive(Default)]
pub(super) struct Account {
    /// Lines that were read, and that the journal lacks.
    pub(super) lost: u64,
    /// Lines that are in the journal more often than they were said.
    pub(super) doubled: u64,
    /// Events in the journal that nobody said.
    pub(super) unsaid: u64,
    /// Lines that were on their way when their socket was lost.
    pub(super) on_the_way: u64,
    /// How many of these are in the journal.
    pub(super) arrived: u64,
    /// How many of those that were on their way had no id.
    pub(super) on_the_way_without_id: u64,
    /// How many of these say the same as another line, so that one for the other would not show.
    pub(super) alike: u64,
    /// Each of what is lost, doubled or was never said, by epoch and channel.
    pub(super) differences: Vec<Difference>,
}

/// The lines that were sent whole, in the order in which they were said.
pub(super) fn said<'a>(truth: &'a Truth, rules: &Rules) -> Vec<Said<'a>> {
    let certain = truth.certain.iter().map(|line| (line, true));
    // Of a torn line nobody has more than a piece.
    let doubtful = |line: &&Line| line.fate == Fate::Doubtful;
    let possible = truth.possible.iter().filter(doubtful);
    let mut all: Vec<_> = certain.chain(possible.map(|line| (line, false))).collect();
    all.sort_by_key(|(line, _)| line.sequence);
    let judged = all.into_iter().map(|(line, is_certain)| Said {
        line,
        candidate: match line::read(&line.bytes, Arrival::Recorded, rules.keep_text) {
            line::Line::Candidate(candidate) => Some(candidate),
            line::Line::Empty | line::Line::Uncounted { .. } => None,
        },
        is_certain,
    });
    judged.collect()
}

impl Said<'_> {
    fn event(&self) -> Option<&Event> {
        match &self.candidate {
            Some(Candidate::Event(event)) => Some(event),
            _ => None,
        }
    }

    /// The id of a line that leaves no event.
    fn passed(&self) -> Option<IdDigest> {
        match &self.candidate {
            Some(Candidate::Passed(passed)) => passed.id,
            _ => None,
        }
    }
}

impl Account {
    /// Holds the journal against what was said.
    pub(super) fn of(said: &[Said<'_>], accepted: &Accepted, rules: &Rules) -> Self {
        let mut account = Self::default();
        account.by_id(&ids(said, rules), accepted, rules.length);
        account.without_id(&counted(said, rules), accepted, rules.length);
        account.differences.sort_unstable();
        account
    }

    fn by_id(
        &mut self,
        ids: &HashMap<&MessageId, OfId<'_>>,
        accepted: &Accepted,
        length: EpochLength,
    ) {
        for (id, of) in ids {
            let is_event = accepted.by_id.contains_key(*id);
            let is_seen = accepted.seen.contains(&id.digest());
            let is_there = is_event || (is_seen && of.may_be_no_event);
            self.on_the_way += u64::from(!of.is_certain);
            self.arrived += u64::from(!of.is_certain && is_there);
            if of.is_certain && !is_there {
                self.lost += 1;
                let text = format!("line {} was read, and is not in the journal", id.as_str());
                self.differ(of.events.first().copied(), length, text);
            }
        }
        for (id, placed) in &accepted.by_id {
            let is_said = |of: &OfId<'_>| of.events.contains(&&placed.event);
            if !ids.get(id).is_some_and(is_said) {
                self.unsaid += 1;
                let text = format!("line {} is in the journal, and nobody said it", id.as_str());
                self.differ(Some(&placed.event), length, text);
            }
        }
        for event in &accepted.twice {
            self.doubled += 1;
            let id = event.id.as_ref().map_or("", MessageId::as_str);
            let text = format!("line {id} is in the journal more than once");
            self.differ(Some(event), length, text);
        }
    }

    fn without_id(
        &mut self,
        counted: &HashMap<String, Counted<'_>>,
        accepted: &Accepted,
        length: EpochLength,
    ) {
        for (content, of) in counted {
            let found = accepted.without_id.get(content);
            let found = found.map_or(0, |alike| alike.in_time + alike.late);
            let most = of.certain + of.on_the_way;
            self.on_the_way += of.on_the_way;
            self.on_the_way_without_id += of.on_the_way;
            self.alike += if most > 1 { of.on_the_way } else { 0 };
            self.arrived += found.saturating_sub(of.certain).min(of.on_the_way);
            let (lost, doubled) = (of.certain.saturating_sub(found), found.saturating_sub(most));
            self.lost += lost;
            self.doubled += doubled;
            if lost + doubled > 0 {
                let text = format!(
                    "a line without an id is in the journal {found} times; expected {} to {most}",
                    of.certain
                );
                self.differ(Some(of.event), length, text);
            }
        }
        for (content, alike) in &accepted.without_id {
            if !counted.contains_key(content) {
                self.unsaid += alike.in_time + alike.late;
                let text = "a line without an id is in the journal, and nobody said it";
                self.differ(Some(&alike.event), length, text.to_owned());
            }
        }
    }

    fn differ(&mut self, event: Option<&Event>, length: EpochLength, found: String) {
        let (epoch, channel) = event.map_or_else(
            || (Epoch::NONE, Channel::none()),
            |event| (length.epoch_of(event.ts), event.channel.clone()),
        );
        self.differences.push(Difference {
            epoch,
            channel,
            found,
        });
    }
}

/// The lines that an undisturbed service would have had, in the order in which they were said: all
/// that were certain to arrive and those that did, but for those that came behind the seal of their
/// epoch. What is lost is among them, so that it shows in the roots too.
pub(super) fn undisturbed<'a>(
    said: &[Said<'a>],
    accepted: &Accepted,
    rules: &Rules,
) -> Vec<&'a Line> {
    let counted = counted(said, rules);
    let quota = |(content, of): (String, Counted<'_>)| {
        let found = accepted.without_id.get(&content);
        let (in_time, late) = found.map_or((0, 0), |alike| (alike.in_time, alike.late));
        (content, in_time + of.certain.saturating_sub(in_time + late))
    };
    let mut left: HashMap<String, u64> = counted.into_iter().map(quota).collect();
    let mut is_had = |one: &&Said<'a>| {
        let Some(event) = one.event() else {
            return one.is_certain;
        };
        match &event.id {
            Some(id) => accepted.by_id.get(id).map_or(one.is_certain, |placed| {
                !placed.is_late && placed.event == *event
            }),
            None => match left.get_mut(&content(event)) {
                Some(0) => false,
                Some(left) => {
                    *left -= 1;
                    true
                }
                None => one.is_certain,
            },
        }
    };
    let had = said.iter().filter(|one| is_had(one));
    had.map(|one| one.line).collect()
}

fn ids<'a>(said: &'a [Said<'_>], rules: &Rules) -> HashMap<&'a MessageId, OfId<'a>> {
    let mut ids: HashMap<&MessageId, OfId<'_>> = HashMap::new();
    for one in said {
        let Some(event) = one.event() else { continue };
        let Some(id) = &event.id else { continue };
        let of = ids.entry(id).or_default();
        of.events.push(event);
        of.may_be_no_event |= rules.bots.contains(&event.login);
        of.is_certain |= one.is_certain;
    }
    // A line that leaves no event, and has the id of one, may have come first.
    let passed: HashSet<IdDigest> = said.iter().filter_map(Said::passed).collect();
    for (id, of) in &mut ids {
        of.may_be_no_event |= passed.contains(&id.digest());
    }
    ids
}

/// Lines without an id that may count, by what they say.
fn counted<'a>(said: &'a [Said<'_>], rules: &Rules) -> HashMap<String, Counted<'a>> {
    let mut counted: HashMap<String, Counted<'_>> = HashMap::new();
    for one in said {
        let Some(event) = one.event() else { continue };
        if event.id.is_some() || rules.bots.contains(&event.login) {
            continue;
        }
        let of = counted.entry(content(event)).or_insert(Counted {
            event,
            certain: 0,
            on_the_way: 0,
        });
        match one.is_certain {
            true => of.certain += 1,
            false => of.on_the_way += 1,
        }
    }
    counted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
