//! How much of an epoch a channel was heard.

use crate::epoch::{Epoch, EpochLength, UnixMs};

/// A stretch of time in which a channel was not heard: from, and until. One that ends where it
/// begins goes on; see [`crate::record::Gap`].
pub type Stretch = (UnixMs, UnixMs);

/// How long a channel was not heard in an epoch, in milliseconds. The stretches are in the order
/// of their begin; what two of them share counts once.
#[must_use]
pub fn gap_ms(gaps: impl IntoIterator<Item = Stretch>, epoch: Epoch, length: EpochLength) -> u64 {
    let (begin, end) = (epoch.0.saturating_mul(1000), length.end_of(epoch));
    let mut covered_to = begin;
    let mut missing = 0;
    for (from, until) in gaps {
        let until = if until <= from { end } else { until.min(end) };
        let from = from.clamp(covered_to, end.max(covered_to));
        missing += until.saturating_sub(from);
        covered_to = covered_to.max(until);
    }
    missing
}

/// The part of an epoch in which a channel was heard, in percent, rounded down: 100 only where it
/// was heard all the time.
#[must_use]
pub fn percent(gap_ms: u64, length: EpochLength) -> u64 {
    let whole = length.seconds().saturating_mul(1000).max(1);
    whole.saturating_sub(gap_ms).saturating_mul(100) / whole
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn missing(gaps: &[Stretch]) -> u64 {
        let minute = EpochLength::new(60).unwrap();
        gap_ms(gaps.iter().copied(), Epoch(60), minute)
    }

    #[test]
    fn gaps_are_cut_at_the_epoch_and_what_they_share_counts_once() {
        assert_eq!(missing(&[]), 0);
        assert_eq!(missing(&[(0, 59_999)]), 0);
        assert_eq!(missing(&[(0, 61_000)]), 1000);
        assert_eq!(missing(&[(119_000, 500_000)]), 1000);
        assert_eq!(missing(&[(120_000, 130_000)]), 0);
        assert_eq!(missing(&[(0, 999_999)]), 60_000);
        let overlapping = [(61_000, 70_000), (62_000, 65_000), (69_000, 71_000)];
        assert_eq!(missing(&overlapping), 10_000);
    }

    #[test]
    fn a_gap_that_goes_on_takes_the_rest_of_the_epoch() {
        assert_eq!(missing(&[(100_000, 100_000)]), 20_000);
        assert_eq!(missing(&[(5, 5)]), 60_000);
        assert_eq!(missing(&[(120_000, 120_000)]), 0);
        assert_eq!(missing(&[(100_000, 100_000), (110_000, 111_000)]), 20_000);
    }

    #[test]
    fn coverage_is_rounded_down() {
        assert_eq!(percent(0, EpochLength::HOUR), 100);
        assert_eq!(percent(1, EpochLength::HOUR), 99);
        assert_eq!(percent(3_600_000, EpochLength::HOUR), 0);
        assert_eq!(percent(9_999_999, EpochLength::HOUR), 0);
    }
}
