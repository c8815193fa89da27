//! The rows of a draft, sorted by their keys.

use super::Written;
use super::draft::Draft;
use crate::batch::{LedgerRow, MinuteRow, ParticipantRow, SignalRow};
use crate::identity::{Channel, UserHash};

/// The sorted rows of a draft.
pub(super) struct Rows<'a> {
    pub(super) draft: &'a Draft,
    pub(super) rank: Vec<usize>,
}

impl Rows<'_> {
    pub(super) fn channel(&self, number: u32) -> Channel {
        self.draft.channels[number as usize].clone()
    }

    pub(super) fn rank(&self, number: u32) -> usize {
        self.rank[number as usize]
    }

    pub(super) fn hash(&self, number: u32) -> UserHash {
        self.draft.users[number as usize].hash
    }

    pub(super) fn participants(&self, written: &mut Written) -> Vec<ParticipantRow> {
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

    pub(super) fn signals(&self) -> Vec<SignalRow> {
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

    pub(super) fn minutes(&self) -> Vec<MinuteRow> {
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

    pub(super) fn ledger(&self) -> Vec<LedgerRow> {
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
