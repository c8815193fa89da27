//! The ledger: what became of every line that was received.
//!
//! It tells each line's outcome at the time when it was accepted, by channel and epoch; a later
//! opt-out removes rows of a person, not the count of lines.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::event::Outcome;

/// How many lines were received, and how many came to each outcome.
///
/// The fields stand in the order in which the ledger is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Lines that were received.
    pub received: u64,
    /// Of these, [`Outcome::Counted`].
    pub counted: u64,
    /// Of these, [`Outcome::Suppressed`].
    pub suppressed: u64,
    /// Of these, [`Outcome::Mirrored`].
    pub mirrored: u64,
    /// Of these, [`Outcome::Duplicate`].
    pub duplicate: u64,
    /// Of these, [`Outcome::Late`].
    pub late: u64,
    /// Of these, [`Outcome::Anonymous`].
    pub anonymous: u64,
    /// Of these, [`Outcome::Invalid`].
    pub invalid: u64,
    /// Of these, [`Outcome::Other`].
    pub other: u64,
}

impl Counts {
    /// Books `lines` received lines with one outcome.
    pub fn book(&mut self, outcome: Outcome, lines: u64) {
        self.received += lines;
        *self.of_mut(outcome) += lines;
    }

    /// How many lines came to an outcome.
    #[must_use]
    pub const fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Counted => self.counted,
            Outcome::Suppressed => self.suppressed,
            Outcome::Mirrored => self.mirrored,
            Outcome::Duplicate => self.duplicate,
            Outcome::Late => self.late,
            Outcome::Anonymous => self.anonymous,
            Outcome::Invalid => self.invalid,
            Outcome::Other => self.other,
        }
    }

    /// The field of an outcome.
    pub const fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Counted => &mut self.counted,
            Outcome::Suppressed => &mut self.suppressed,
            Outcome::Mirrored => &mut self.mirrored,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Late => &mut self.late,
            Outcome::Anonymous => &mut self.anonymous,
            Outcome::Invalid => &mut self.invalid,
            Outcome::Other => &mut self.other,
        }
    }

    /// The sum over all outcomes, which must equal `received`.
    #[must_use]
    pub fn outcomes(&self) -> u64 {
        Outcome::ALL.iter().map(|&outcome| self.of(outcome)).sum()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        for outcome in Outcome::ALL {
            *self.of_mut(outcome) += other.of(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_field_of_its_own() {
        let mut counts = Counts::default();
        for (n, outcome) in Outcome::ALL.into_iter().enumerate() {
            counts.book(outcome, 1 << n);
        }
        assert_eq!(counts.received, 255);
        assert_eq!(counts.outcomes(), 255);
        for (n, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(counts.of(outcome), 1 << n, "{}", outcome.as_str());
        }
    }
}
