//! What the records of a stretch of the journal come to: one transaction of the store.
//!
//! All rows are sorted by their key and unique in it, so that bulk statements touch each page of
//! an index once and never a row twice.

use std::collections::BTreeMap;

use compact_str::CompactString;

use crate::epoch::{Epoch, Minute, UnixMs};
use crate::identity::{Channel, Login, UserHash};
use crate::ledger::Counts;
use crate::record::{Bind, Gap, Seq, Suppress};
use crate::signal::SignalKind;
use crate::weight::Arithmetic;

/// Where a reader of the journal stands: behind record `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last record that was read; 0 before the first.
    pub seq: Seq,
    /// The segment of the next record, by its first sequence number. A hint: 0 where unknown.
    pub segment: Seq,
    /// Where in the segment the next record begins, in bytes before compression. A hint.
    pub byte: u64,
}

/// The group to which a channel belongs, as the tables of the deployed system keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The token group, in upper case.
    pub token_group: CompactString,
    /// The category.
    pub category: CompactString,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            token_group: CompactString::const_new("MILO"),
            category: CompactString::const_new("default"),
        }
    }
}

/// The group of each channel that has another than the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    of: BTreeMap<Channel, Group>,
    default: Group,
}

impl Groups {
    /// The groups of these channels; all others have the default.
    #[must_use]
    pub fn new(of: BTreeMap<Channel, Group>) -> Self {
        Self {
            of,
            default: Group::default(),
        }
    }

    /// The group of a channel.
    #[must_use]
    pub fn of(&self, channel: &Channel) -> &Group {
        self.of.get(channel).unwrap_or(&self.default)
    }
}

/// One transaction of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The journal from which it comes.
    pub journal: CompactString,
    /// The record after which it begins: the store's offset before it.
    pub from: Seq,
    /// Where the journal has been read up to: the store's offset after it.
    pub to: Position,
    /// People in a channel and epoch, by epoch, channel, person.
    pub participants: Vec<ParticipantRow>,
    /// Signals, by epoch, channel, minute, kind, person.
    pub signals: Vec<SignalRow>,
    /// What happened in a channel in a minute, by minute and channel.
    pub minutes: Vec<MinuteRow>,
    /// Names, by person. The name that is there already stays.
    pub names: Vec<NameRow>,
    /// The two hashes of a person, by person. The pair that is there already stays.
    pub aliases: Vec<AliasRow>,
    /// Lines by outcome, by epoch and channel; to be added.
    pub ledger: Vec<LedgerRow>,
    /// Records that change state, in the order of the journal, after all rows above.
    pub controls: Vec<Control>,
}

impl Batch {
    /// True where a control changes what freezing an epoch would read, so that every epoch whose
    /// seal is committed must be frozen before this batch is.
    #[must_use]
    pub fn needs_frozen(&self) -> bool {
        self.controls
            .iter()
            .any(|control| control.change.touches_frozen())
    }

    /// How many rows it writes, besides controls.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.participants.len()
            + self.signals.len()
            + self.minutes.len()
            + self.names.len()
            + self.aliases.len()
            + self.ledger.len()
    }
}

/// A person took part in a channel in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRow {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The person.
    pub user: UserHash,
    /// The second of the earliest event; the store keeps the least.
    pub first_seen: u64,
}

/// A signal of a person in a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalRow {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The minute.
    pub minute: Minute,
    /// The kind.
    pub kind: SignalKind,
    /// The person.
    pub user: UserHash,
    /// To be added to the value that is there, except for [`SignalKind::is_once_a_minute`], which
    /// stays as it is.
    pub value: u64,
}

/// What happened in a channel in a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinuteRow {
    /// The minute.
    pub minute: Minute,
    /// The channel.
    pub channel: Channel,
    /// The epochs that share a second with the minute. The store counts the distinct people with
    /// a [`SignalKind::Message`] of this minute over them, after the signals are written.
    pub epochs: Vec<Epoch>,
    /// Messages; to be added.
    pub messages: u64,
    /// Subscriptions given away; to be added.
    pub gifts: u64,
    /// Subscriptions, new and renewed; to be added.
    pub new_subs: u64,
    /// Bits; to be added.
    pub bits: u64,
}

/// The name of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRow {
    /// The person.
    pub user: UserHash,
    /// The login.
    pub login: Login,
    /// The second in which the name was first heard.
    pub first_seen: u64,
}

/// The two hashes of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRow {
    /// The hash by login.
    pub user: UserHash,
    /// The hash by Twitch id.
    pub by_id: UserHash,
    /// The second in which the pair was first heard.
    pub first_seen: u64,
}

/// Lines of a channel and epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// The epoch, or [`Epoch::NONE`].
    pub epoch: Epoch,
    /// The channel, or the empty name.
    pub channel: Channel,
    /// To be added.
    pub counts: Counts,
}

/// A record that changes state, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its number in the journal.
    pub seq: Seq,
    /// When it was accepted.
    pub at: UnixMs,
    /// What it changes.
    pub change: Change,
}

/// What a control changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The epoch takes no more participations.
    Seal(Epoch),
    /// A person is removed from every epoch that is not sealed, and their name from every table.
    Suppress(Suppress),
    /// A person is taken off the list.
    Unsuppress(Suppress),
    /// A wallet is bound.
    Bind(Bind),
    /// The settings that change arithmetic.
    Settings(Arithmetic),
    /// A channel was not heard.
    Gap(Gap),
}

impl Change {
    /// True where it changes what freezing an epoch reads: names, wallets, arithmetic.
    #[must_use]
    pub const fn touches_frozen(&self) -> bool {
        matches!(self, Self::Suppress(_) | Self::Bind(_) | Self::Settings(_))
    }
}
