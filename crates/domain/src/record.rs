//! The records of the journal: the one input of everything after it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::epoch::{Epoch, UnixMs};
use crate::event::{Event, IdDigest, MessageId, Outcome};
use crate::identity::{Channel, UserHash, Wallet};
use crate::weight::Arithmetic;

/// The number of a record: 1 for the first of a journal, then one more for each. 0 is "none yet".
pub type Seq = u64;

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A line that may count. Whether it is late is decided by where it stands.
    Event(Event),
    /// The lines of one append that left no event, and how far its source was read.
    Tally(Tally),
    /// From here on the epoch takes no more participations.
    Seal(Seal),
    /// A person opted out.
    Suppress(Suppress),
    /// A person opted in again.
    Unsuppress(Suppress),
    /// A person bound a wallet.
    Bind(Bind),
    /// The settings that change arithmetic, from here on.
    Settings(Arithmetic),
    /// A stretch of time in which a channel was not heard.
    Gap(Gap),
}

impl Record {
    /// The value of the key `kind` in the journal.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Tally(_) => "tally",
            Self::Seal(_) => "seal",
            Self::Suppress(_) => "suppress",
            Self::Unsuppress(_) => "unsuppress",
            Self::Bind(_) => "bind",
            Self::Settings(_) => "settings",
            Self::Gap(_) => "gap",
        }
    }
}

/// A record in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub seq: Seq,
    /// When it was accepted; in a replay, the latest time that the lines of its append carry.
    pub at: UnixMs,
    /// What it says.
    pub record: Record,
}

/// The lines of one append that left no event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many lines the append took in, with those that became events.
    pub lines: u64,
    /// How far its source has been read, where the source has a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Digests of ids that are remembered though their lines left no event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<IdDigest>,
    /// The lines by epoch, channel and outcome, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<TallyCount>,
}

/// So many lines of one epoch and channel with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyCount {
    /// The epoch, or [`Epoch::NONE`].
    pub epoch: Epoch,
    /// The channel, or the empty name.
    pub channel: Channel,
    /// What became of them.
    pub outcome: Outcome,
    /// How many.
    pub lines: u64,
}

/// How far a source has been read.
///
/// A source is read in order, and `upto` only grows: an append whose `upto` is not above what the
/// journal knows of the source has been accepted before, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The source: an input of a replay, or a channel's feed in one run of the process.
    pub source: CompactString,
    /// The position up to which it has been read: bytes of an input, or batches of a feed.
    pub upto: u64,
    /// For an input, a hash over its content up to that position, in hexadecimal.
    #[serde(default, skip_serializing_if = "CompactString::is_empty")]
    pub digest: CompactString,
}

/// An epoch is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Which.
    pub epoch: Epoch,
}

/// A person opted out, or in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppress {
    /// The hashes under which the person can be found, by login and by id. Never the name.
    pub hashes: Vec<UserHash>,
    /// Why, in the operator's words. Empty where nothing was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A person bound a wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The person, by login.
    pub user: UserHash,
    /// The wallet.
    pub wallet: Wallet,
    /// True where the person proved to own it.
    pub verified: bool,
    /// Who says so.
    pub source: String,
}

/// A stretch of time in which a channel was not heard.
///
/// It is written when it begins, with `until` at `from`, which says that it goes on; and once more
/// when it ends, from the same moment on. So a process that dies in between leaves it open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The channel.
    pub channel: Channel,
    /// From when, in milliseconds since the Unix epoch.
    pub from: UnixMs,
    /// Until when: the first millisecond in which it was heard again; `from` while it goes on.
    pub until: UnixMs,
    /// Why.
    pub reason: String,
}

/// What a collector hands to the journal in one append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// How far the source has been read once this is accepted.
    pub progress: Option<Progress>,
    /// When it was received; in a replay, the latest time that its lines carry.
    pub at: UnixMs,
    /// How many lines it took in.
    pub lines: u64,
    /// The lines that got as far as the check of ids, in the order in which they came.
    pub candidates: Vec<Candidate>,
    /// The lines that did not, by epoch, channel and outcome, in that order.
    pub tally: Vec<TallyCount>,
}

impl Intake {
    /// Takes away the events at these places: of each, a count and the digest of its id stay.
    pub fn suppress(&mut self, places: &[u32]) {
        for &place in places {
            if let Some(candidate) = self.candidates.get_mut(place as usize)
                && let Candidate::Event(event) = candidate
            {
                *candidate = Candidate::Passed(Passed {
                    id: event.id.as_ref().map(MessageId::digest),
                    channel: event.channel.clone(),
                    ts: event.ts,
                    outcome: Outcome::Suppressed,
                });
            }
        }
    }
}

/// A line that got as far as the check of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// It may count.
    Event(Event),
    /// It leaves no event, but its id is remembered.
    Passed(Passed),
}

/// A line that leaves no event, but whose id is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The digest of its id, where it has one.
    pub id: Option<IdDigest>,
    /// Its channel.
    pub channel: Channel,
    /// When it was sent.
    pub ts: UnixMs,
    /// What becomes of it unless its id is a duplicate.
    pub outcome: Outcome,
}

/// What is appended to the journal: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// Lines, from a collector or a replay.
    Intake(Intake),
    /// Records as they stand, each with its time: seals, opt-outs, bindings, settings, gaps, or
    /// all records of another journal. Events among them pass the check of ids.
    Records {
        /// How far the source has been read, where they come from one.
        progress: Option<Progress>,
        /// The records, in order.
        records: Vec<(UnixMs, Record)>,
    },
}

/// The answer to an append, given once it is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It was written; this is the number of its last record.
    Written(Seq),
    /// Its source had been read that far before; nothing was written.
    Known,
}
