//! What must hold at all times, by number. Tests, chaos runs and metrics name these.

use std::fmt;

use crate::batch::Batch;
use crate::ledger::Counts;
use crate::merkle::MerkleTree;
use crate::proof::ProofMaterial;
use crate::record::Seq;

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
}

impl Invariant {
    /// All invariants.
    pub const ALL: [Self; 4] = [
        Self::LedgerBalances,
        Self::OffsetFollowsJournal,
        Self::BatchIsSorted,
        Self::RootsFollowParticipants,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

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
    fn an_offset_that_goes_back_or_passes_the_journal_is_a_violation() {
        assert!(offset_follows_journal(3, 5, 5).is_ok());
        assert!(offset_follows_journal(5, 3, 9).is_err());
        assert!(offset_follows_journal(3, 6, 5).is_err());
    }
}
