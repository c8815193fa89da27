//! Weather is state, not failure: how an actor waits for something that is away for now.

use std::fmt::Display;
use std::time::Duration;

use tracing::{info, warn};
use twzrd_domain::epoch::UnixMs;
use twzrd_supervision::{WaitGuard, waiting_for};

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(20);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// What an actor waits for, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it began to wait.
    pub since: UnixMs,
    /// What stands in its way now.
    pub reason: String,
}

/// How long something has been away, and how long to wait before the next try.
///
/// Says so once when it goes and once when it is back, and shows the actor as waiting in between.
#[derive(Default)]
pub(crate) struct Weather {
    failures: u32,
    shown: Option<WaitGuard>,
}

impl Weather {
    /// Notes a failure and gives the wait before the next try: 20 ms, doubled each time, at most
    /// five seconds.
    pub(crate) fn failed(&mut self, what: &'static str, error: &dyn Display) -> Duration {
        if self.failures == 0 {
            warn!(%error, what, "is away; waiting for it");
        }
        self.shown = Some(waiting_for(format!("{what}: {error}")));
        let wait = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Notes that it works.
    pub(crate) fn works(&mut self, what: &'static str) {
        self.shown = None;
        if self.failures > 0 {
            info!(what, failures = self.failures, "is back");
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_once_it_works() {
        let mut weather = Weather::default();
        assert_eq!(weather.failed("store", &"gone"), Duration::from_millis(20));
        assert_eq!(weather.failed("store", &"gone"), Duration::from_millis(40));
        for _ in 0..100 {
            assert!(weather.failed("store", &"gone") <= LONGEST);
        }
        assert_eq!(weather.failed("store", &"gone"), LONGEST);
        weather.works("store");
        assert_eq!(weather.failed("store", &"gone"), Duration::from_millis(20));
    }
}
