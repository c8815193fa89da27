//! A budget of so many grants in any period: Twitch's limits on joins and log-ins.
//!
//! Twitch counts over a window that slides, and closes the socket that goes over
//! (<https://dev.twitch.tv/docs/chat/#rate-limits>): 20 joins and 20 log-ins in 10 seconds for an
//! ordinary account. A grant is a reservation: it names the moment from which it may be used, so
//! that whoever waits holds no lock, and whoever asked first goes first.

use std::collections::VecDeque;

/// How much longer than the period a grant is counted, as a part of it: what was sent at even
/// intervals may arrive at uneven ones.
const MARGIN: u64 = 20;

/// So many grants in any period. Times are in milliseconds on a clock that never goes back.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    counted_ms: u64,
    /// When each of the last `limit` grants may be used, ascending.
    granted: VecDeque<u64>,
}

/// What was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// From when on it may be used.
    pub at_ms: u64,
    /// How many things may be done then; at least 1.
    pub count: usize,
}

impl Budget {
    /// `limit` grants, at least 1, in any `period_ms`.
    #[must_use]
    pub fn new(limit: usize, period_ms: u64) -> Self {
        Self {
            limit: limit.max(1),
            counted_ms: period_ms + period_ms.div_ceil(MARGIN),
            granted: VecDeque::new(),
        }
    }

    /// Counts the whole budget as spent at this time: an earlier process may have done so.
    pub fn spend_all(&mut self, at_ms: u64) {
        self.granted.clear();
        self.granted.resize(self.limit, at_ms);
    }

    /// Reserves up to `wanted` grants that may be used at one and the same moment, the earliest.
    pub fn reserve(&mut self, now_ms: u64, wanted: usize) -> Grant {
        let at_ms = self.next_at(now_ms);
        let mut count = 0;
        while count < wanted.max(1) && self.next_at(now_ms) <= at_ms {
            self.granted.push_back(at_ms);
            if self.granted.len() > self.limit {
                self.granted.pop_front();
            }
            count += 1;
        }
        Grant { at_ms, count }
    }

    fn next_at(&self, now_ms: u64) -> u64 {
        let last = self.granted.back().copied().unwrap_or_default();
        let free = match self.granted.front() {
            Some(&oldest) if self.granted.len() >= self.limit => oldest + self.counted_ms,
            _ => 0,
        };
        now_ms.max(last).max(free)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fresh_budget_grants_its_limit_at_once_and_the_next_a_period_later() {
        let mut budget = Budget::new(20, 10_000);
        assert_eq!(
            budget.reserve(5, 15),
            Grant {
                at_ms: 5,
                count: 15
            }
        );
        assert_eq!(budget.reserve(6, 15), Grant { at_ms: 6, count: 5 });
        assert_eq!(
            budget.reserve(7, 1),
            Grant {
                at_ms: 10_505,
                count: 1
            }
        );
    }

    #[test]
    fn a_spent_budget_grants_nothing_before_the_period_is_over() {
        let mut budget = Budget::new(2, 1000);
        budget.spend_all(500);
        assert_eq!(
            budget.reserve(600, 9),
            Grant {
                at_ms: 1550,
                count: 2
            }
        );
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(
            limit in 1usize..25,
            asks in prop::collection::vec((0u64..3000, 1usize..30), 1..200),
        ) {
            let mut budget = Budget::new(limit, 1000);
            let (mut now, mut used) = (0, Vec::new());
            for (pause, wanted) in asks {
                now += pause;
                let grant = budget.reserve(now, wanted);
                prop_assert!(grant.at_ms >= now && grant.count >= 1 && grant.count <= wanted);
                used.extend(std::iter::repeat_n(grant.at_ms, grant.count));
            }
            prop_assert!(used.is_sorted(), "whoever asked first goes first");
            for window in used.windows(limit + 1) {
                prop_assert!(window[limit] - window[0] > 1000);
            }
        }
    }
}
