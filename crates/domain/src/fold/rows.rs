//! From a draft to a batch: its rows, sorted by their keys.

use super::Written;
use super::draft::Draft;
use crate::batch::{AliasRow, Batch, LedgerRow, MinuteRow, NameRow, ParticipantRow, SignalRow};
use crate::identity::{Channel, UserHash};

/// The batch of a draft. Rows that the store has already are left out.
pub(super) fn batch_of(mut draft: Draft, written: &mut Written) -> Batch {
    let controls = std::mem::take(&mut draft.controls);
    let rows = Rows::of(&draft);
    let (names, aliases) = rows.people(written);
    Batch {
        from: draft.from,
        participants: rows.participants(written),
        signals: rows.signals(),
        minutes: rows.minutes(),
        ledger: rows.ledger(),
        names,
        aliases,
        controls,
        ..Batch::default()
    }
}

/// The sorted rows of a draft.
struct Rows<'a> {
    draft: &'a Draft,
    rank: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// Channels by rank: rows are sorted by small numbers, and come out in the order of names.
    fn of(draft: &'a Draft) -> Self {
        let mut by_name: Vec<usize> = (0..draft.channels.len()).collect();
        by_name.sort_by(|&a, &b| draft.channels[a].cmp(&draft.channels[b]));
        let mut rank = vec![0usize; by_name.len()];
        for (place, &number) in by_name.iter().enumerate() {
            rank[number] = place;
        }
        Self { draft, rank }
    }

    /// Names and aliases.
    fn people(&self, written: &mut Written) -> (Vec<NameRow>, Vec<AliasRow>) {
        let (mut names, mut aliases) = (Vec::new(), Vec::new());
        for person in &self.draft.users {
            let Some(heard) = person.heard else { continue };
            if written.knows_user(person.hash, person.alias.is_some()) {
                continue;
            }
            let (user, login) = (person.hash, person.login.clone());
            names.push(NameRow {
                user,
                login,
                first_seen: heard,
            });
            aliases.extend(person.alias.map(|(by_id, first_seen)| AliasRow {
                user,
                by_id,
                first_seen,
            }));
        }
        names.sort_unstable_by_key(|row| row.user);
        aliases.sort_unstable_by_key(|row| row.user);
        (names, aliases)
    }

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
