//! When to restart and after what wait: the sliding window and the backoff.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::spec::{Backoff, Intensity};

/// The restarts of the recent past. Holds at most one entry more than the limit.
#[derive(Debug)]
pub(crate) struct Window {
    limit: Intensity,
    restarts: VecDeque<Instant>,
}

impl Window {
    pub(crate) fn new(limit: Intensity) -> Self {
        Self {
            limit,
            restarts: VecDeque::new(),
        }
    }

    pub(crate) fn limit(&self) -> Intensity {
        self.limit
    }

    /// Counts a restart; `false` if it is one too many.
    ///
    /// As in OTP, a restart exactly one period ago still counts.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let period = self.limit.period;
        while let Some(first) = self.restarts.front() {
            if now.saturating_duration_since(*first) <= period {
                break;
            }
            self.restarts.pop_front();
        }
        self.restarts.push_back(now);
        let allowed = usize::try_from(self.limit.restarts).unwrap_or(usize::MAX);
        self.restarts.len() <= allowed
    }

    pub(crate) fn clear(&mut self) {
        self.restarts.clear();
    }
}

/// The longest exponent: beyond it a wait in nanoseconds would overflow anyway.
const MAX_DOUBLINGS: u32 = 31;

/// The wait before the restart after `failures` failures in a row.
pub(crate) fn delay(backoff: &Backoff, failures: u32, rng: &mut StdRng) -> Duration {
    if backoff.initial.is_zero() {
        return Duration::ZERO;
    }
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    let wait = backoff
        .initial
        .saturating_mul(1 << doublings)
        .min(backoff.max);
    wait.mul_f64(1.0 - backoff.jitter * rng.random::<f64>())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(2),
        jitter: 0.5,
        reset_after: Duration::from_secs(10),
    };

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_jitter_only_shortens_it() {
        let mut rng = StdRng::seed_from_u64(1);
        for (failures, longest_ms) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (5, 1600),
            (6, 2000),
            (99, 2000),
        ] {
            let longest = Duration::from_millis(longest_ms);
            for _ in 0..100 {
                let wait = delay(&BACKOFF, failures, &mut rng);
                assert!(
                    wait <= longest && wait >= longest / 2,
                    "{failures}: {wait:?}"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (1..20)
                .map(|n| delay(&BACKOFF, n, &mut rng))
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }

    #[test]
    fn the_window_forgets_restarts_that_are_older_than_the_period() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::new(Intensity {
            restarts: 2,
            period: Duration::from_secs(1),
        });
        assert!(window.allows(at(0)));
        assert!(window.allows(at(500)));
        assert!(
            !window.allows(at(1000)),
            "exactly one period ago still counts"
        );
        assert!(!window.allows(at(1001)));
        assert!(!window.allows(at(2000)));
        assert!(window.allows(at(9000)));
        assert!(window.restarts.len() <= 3);
    }
}
