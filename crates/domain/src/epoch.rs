//! Epochs: the stretches of time that are sealed one by one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
pub type UnixMs = u64;

/// An epoch, by the Unix second of its start. 0 stands for "no time known".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch under which the ledger books lines that have no usable time.
    pub const NONE: Self = Self(0);

    /// The number as little-endian bytes, as it stands in a leaf.
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The minute of an event, by the Unix second of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(pub u64);

impl Minute {
    /// The minute in which an instant lies.
    #[must_use]
    pub const fn of(at: UnixMs) -> Self {
        Self(at / 60_000 * 60)
    }
}

/// How long an epoch is, in seconds: 1 to 604,800 (a week).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct EpochLength(u32);

/// The length of an epoch is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch of {0} seconds; expected 1 to {max}", max = EpochLength::MAX_SECONDS)]
pub struct EpochLengthError(pub u32);

impl Default for EpochLength {
    fn default() -> Self {
        Self::HOUR
    }
}
impl EpochLength {
    /// The longest epoch, in seconds.
    pub const MAX_SECONDS: u32 = 604_800;
    /// One hour, the length in production.
    pub const HOUR: Self = Self(3600);

    /// A length of so many seconds.
    ///
    /// # Errors
    /// Where `seconds` is 0 or above [`Self::MAX_SECONDS`].
    pub const fn new(seconds: u32) -> Result<Self, EpochLengthError> {
        if seconds == 0 || seconds > Self::MAX_SECONDS {
            return Err(EpochLengthError(seconds));
        }
        Ok(Self(seconds))
    }

    /// The length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 as u64
    }

    /// The epoch in which an instant lies: `floor(seconds / length) * length`.
    #[must_use]
    pub const fn epoch_of(self, at: UnixMs) -> Epoch {
        let length = self.seconds();
        Epoch(at / 1000 / length * length)
    }

    /// The instant at which an epoch is over: the first that is not in it any more.
    #[must_use]
    pub const fn end_of(self, epoch: Epoch) -> UnixMs {
        epoch.0.saturating_add(self.seconds()).saturating_mul(1000)
    }

    /// The epochs that share a second with a minute, in order. At most 60.
    #[must_use]
    pub fn epochs_of_minute(self, minute: Minute) -> Vec<Epoch> {
        let length = self.seconds();
        let first = minute.0 / length;
        let last = minute.0.saturating_add(59) / length;
        (first..=last).map(|index| Epoch(index * length)).collect()
    }
}

impl TryFrom<u32> for EpochLength {
    type Error = EpochLengthError;
    fn try_from(seconds: u32) -> Result<Self, EpochLengthError> {
        Self::new(seconds)
    }
}

impl From<EpochLength> for u32 {
    fn from(length: EpochLength) -> Self {
        length.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_lies_in_the_epoch_that_began_last() {
        assert_eq!(
            EpochLength::HOUR.epoch_of(1_594_553_828_245),
            Epoch(1_594_551_600)
        );
        assert_eq!(EpochLength::HOUR.epoch_of(3_599_999), Epoch(0));
        assert_eq!(EpochLength::HOUR.epoch_of(3_600_000), Epoch(3600));
        assert_eq!(EpochLength::HOUR.end_of(Epoch(3600)), 7_200_000);
    }

    #[test]
    fn a_minute_is_shared_by_every_short_epoch_in_it() {
        let twenty = EpochLength::new(20).unwrap();
        assert_eq!(
            twenty.epochs_of_minute(Minute(60)),
            [Epoch(60), Epoch(80), Epoch(100)]
        );
        assert_eq!(
            EpochLength::HOUR.epochs_of_minute(Minute(3600)),
            [Epoch(3600)]
        );
        let odd = EpochLength::new(90).unwrap();
        assert_eq!(odd.epochs_of_minute(Minute(60)), [Epoch(0), Epoch(90)]);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        assert_eq!(EpochLength::new(0), Err(EpochLengthError(0)));
        assert!(EpochLength::new(604_801).is_err());
    }
}
