//! What must hold at all times, by number. Tests and chaos runs name these.

use std::collections::HashSet;
use std::fmt;

use crate::batch::Batch;
use crate::event::MessageId;
use crate::ledger::Counts;
use crate::merkle::MerkleTree;
use crate::proof::ProofMaterial;
use crate::record::Seq;
use crate::seal::{FrozenChannel, FrozenParticipant};

/// An invariant, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Invariant {
    /// Received equals the sum of all outcomes.
    LedgerBalances = 1,
    /// The store's offset only grows, and never passes what the journal has synced.
    OffsetFollowsJournal = 2,
    /// The rows of a batch are sorted and unique by key.
    BatchIsSorted = 3,
    /// The stored participants of a sealed epoch give the stored roots.
    RootsFollowParticipants = 4,
    /// What was frozen of a channel in an epoch never changes, but for names that are taken out.
    SealedIsFinal = 5,
    /// The journal holds an id once.
    EventsAreUnique = 6,
}

impl Invariant {
    /// All invariants.
    pub const ALL: [Self; 6] = [
        Self::LedgerBalances,
        Self::OffsetFollowsJournal,
        Self::BatchIsSorted,
        Self::RootsFollowParticipants,
        Self::SealedIsFinal,
        Self::EventsAreUnique,
    ];

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What must hold, as a sentence.
    #[must_use]
    pub const fn statement(self) -> &'static str {
        match self {
            Self::LedgerBalances => "received equals the sum of all outcomes",
            Self::OffsetFollowsJournal => {
                "the store's offset only grows and never passes what the journal has synced"
            }
            Self::BatchIsSorted => "the rows of a batch are sorted and unique by key",
            Self::RootsFollowParticipants => {
                "the stored participants of a sealed epoch give the stored roots"
            }
            Self::SealedIsFinal => "what was frozen of a channel in an epoch never changes",
            Self::EventsAreUnique => "the journal holds an id once",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.number(), self.statement())
    }
}

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} does not hold: {found}")]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was found instead.
    pub found: String,
}

fn holds(invariant: Invariant, ok: bool, found: impl FnOnce() -> String) -> Result<(), Violation> {
    if ok {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            found: found(),
        })
    }
}

/// Invariant 1.
///
/// # Errors
/// Where lines have disappeared or were counted twice.
pub fn ledger_balances(counts: &Counts) -> Result<(), Violation> {
    holds(
        Invariant::LedgerBalances,
        counts.received == counts.outcomes(),
        || {
            format!(
                "{} received, {} accounted for",
                counts.received,
                counts.outcomes()
            )
        },
    )
}

/// Invariant 2, over two looks at the store's offset and one at the journal's synced end.
///
/// # Errors
/// Where the offset went back, or passed the journal.
pub fn offset_follows_journal(before: Seq, now: Seq, durable: Seq) -> Result<(), Violation> {
    holds(
        Invariant::OffsetFollowsJournal,
        before <= now && now <= durable,
        || format!("offset {before}, then {now}; synced up to {durable}"),
    )
}

/// Invariant 3.
///
/// # Errors
/// Names the rows that are out of order.
pub fn batch_is_sorted(batch: &Batch) -> Result<(), Violation> {
    let checks = [
        (
            "participants",
            ascending(&batch.participants, |r| {
                (r.epoch, r.channel.clone(), r.user)
            }),
        ),
        (
            "signals",
            ascending(&batch.signals, |r| {
                (
                    r.epoch,
                    r.channel.clone(),
                    r.minute,
                    r.kind.as_str(),
                    r.user,
                )
            }),
        ),
        (
            "minutes",
            ascending(&batch.minutes, |r| (r.minute, r.channel.clone())),
        ),
        ("names", ascending(&batch.names, |r| r.user)),
        ("aliases", ascending(&batch.aliases, |r| r.user)),
        (
            "ledger",
            ascending(&batch.ledger, |r| (r.epoch, r.channel.clone())),
        ),
    ];
    checks.into_iter().try_for_each(|(rows, sorted)| {
        holds(Invariant::BatchIsSorted, sorted, || {
            format!("{rows} are out of order")
        })
    })
}

fn ascending<R, K: Ord>(rows: &[R], key: impl Fn(&R) -> K) -> bool {
    rows.windows(2).all(|pair| key(&pair[0]) < key(&pair[1]))
}

/// Invariant 4.
///
/// # Errors
/// Where a tree cannot be built, or has another root.
pub fn roots_follow_participants(material: &ProofMaterial) -> Result<(), Violation> {
    let presence = material
        .participants
        .iter()
        .map(|p| crate::leaf::participation(p.user, &material.channel, material.epoch));
    let claims = material.participants.iter().map(|p| p.claim_leaf);
    let pairs = [
        (
            "participation",
            MerkleTree::new(presence.collect()),
            material.participation_root,
        ),
        (
            "claim",
            MerkleTree::new(claims.collect()),
            material.claim_root,
        ),
    ];
    pairs.into_iter().try_for_each(|(name, tree, root)| {
        let ok = tree.as_ref().is_ok_and(|tree| tree.root() == root);
        holds(Invariant::RootsFollowParticipants, ok, || {
            format!(
                "the {name} tree of {} in epoch {} differs",
                material.channel, material.epoch
            )
        })
    })
}

/// Invariant 5, over two looks at the same channel and epoch. Names may be gone in the second.
///
/// # Errors
/// Where people, their order, weights, amounts or leaves differ.
pub fn sealed_is_final(
    before: &FrozenChannel,
    now: Option<&FrozenChannel>,
) -> Result<(), Violation> {
    let same = |a: &FrozenParticipant, b: &FrozenParticipant| {
        (a.user, a.weight, a.amount, a.claimer, a.claim_leaf)
            == (b.user, b.weight, b.amount, b.claimer, b.claim_leaf)
            && (b.login.is_none() || a.login == b.login)
    };
    let ok = now.is_some_and(|now| {
        let people = before.participants.iter().zip(&now.participants);
        before.participants.len() == now.participants.len()
            && before.group == now.group
            && people.into_iter().all(|(a, b)| same(a, b))
    });
    holds(Invariant::SealedIsFinal, ok, || {
        let people = now.map_or(0, |now| now.participants.len());
        format!(
            "{} of epoch {} was frozen with {} people, and has others now, {people}",
            before.channel,
            before.epoch,
            before.participants.len()
        )
    })
}

/// Invariant 6. `ids` are those of all events, in any order.
///
/// # Errors
/// Names an id that is there twice.
pub fn events_are_unique<'a>(
    ids: impl IntoIterator<Item = &'a MessageId>,
) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    let twice = ids.into_iter().find(|id| !seen.insert(*id));
    holds(Invariant::EventsAreUnique, twice.is_none(), || {
        let id = twice.map_or("", MessageId::as_str);
        format!("{id} is there twice")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Group;
    use crate::epoch::Epoch;
    use crate::event::Outcome;
    use crate::identity::{Channel, Name, UserHash, Wallet};
    use crate::weight::Weight;

    #[test]
    fn a_line_that_disappears_is_a_violation_by_number() {
        let mut counts = Counts::default();
        counts.book(Outcome::Counted, 3);
        assert_eq!(ledger_balances(&counts), Ok(()));
        counts.received += 1;
        let violation = ledger_balances(&counts).map_err(|v| v.to_string());
        assert_eq!(violation, Err("invariant 1: received equals the sum of all outcomes does not hold: 4 received, 3 accounted for".to_owned()));
    }

    #[test]
    fn two_channels_that_cancel_out_are_each_a_violation() {
        let mut even = Counts::default();
        even.book(Outcome::Counted, 5);
        let (mut more, mut less) = (even, even);
        more.received += 3;
        less.received -= 3;
        let mut sum = more;
        sum += less;
        assert_eq!(ledger_balances(&sum), Ok(()), "the sum shows nothing");
        assert!(ledger_balances(&more).is_err());
        assert!(ledger_balances(&less).is_err());
    }

    #[test]
    fn an_offset_that_goes_back_or_passes_the_journal_is_a_violation() {
        assert!(offset_follows_journal(3, 5, 5).is_ok());
        assert!(offset_follows_journal(5, 3, 9).is_err());
        assert!(offset_follows_journal(3, 6, 5).is_err());
    }

    #[test]
    fn an_id_that_is_there_twice_is_a_violation_that_names_it() {
        let ids: Vec<_> = ["a", "b", "a"]
            .into_iter()
            .filter_map(MessageId::parse)
            .collect();
        assert_eq!(events_are_unique(&ids[..2]), Ok(()));
        let violation = events_are_unique(&ids).map_err(|v| v.found);
        assert_eq!(violation, Err("a is there twice".to_owned()));
    }

    #[test]
    fn what_is_frozen_may_lose_a_name_and_nothing_else() {
        let person = |user| FrozenParticipant {
            user: UserHash([user; 32]),
            login: Name::parse("alice").ok(),
            weight: Weight::ONE,
            amount: 1,
            claimer: Wallet::UNBOUND,
            claim_leaf: [user; 32],
        };
        let before = FrozenChannel {
            epoch: Epoch(3600),
            channel: Channel::none(),
            group: Group::default(),
            sealed_at: 1,
            participants: vec![person(1), person(2)],
        };
        let mut now = before.clone();
        now.participants[0].login = None;
        assert_eq!(sealed_is_final(&before, Some(&now)), Ok(()));
        assert!(
            sealed_is_final(&now, Some(&before)).is_err(),
            "a name came from nowhere"
        );
        now.participants.swap(0, 1);
        assert!(sealed_is_final(&before, Some(&now)).is_err());
        assert!(sealed_is_final(&before, None).is_err());
    }
}
