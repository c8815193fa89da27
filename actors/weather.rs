//! Weather is state, not failure: how an actor waits for something that is away for now.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use twzrd_domain::epoch::UnixMs;
use twzrd_supervision::{WaitGuard, waiting_for};

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(20);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a new kind of trouble waits at most until it is told, behind one that was told.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How many characters of a reason are shown.
const MAX_REASON: usize = 500;

/// What an actor waits for, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it began to wait.
    pub since: UnixMs,
    /// What stands in its way now.
    pub reason: String,
}

impl Waiting {
    /// Notes what stands in the way at this moment, or that nothing does.
    pub(crate) fn note(waiting: &mut Option<Self>, now: UnixMs, reason: Option<&str>) {
        *waiting = reason.map(|reason| Self {
            since: waiting.as_ref().map_or(now, |before| before.since),
            reason: reason.chars().take(MAX_REASON).collect(),
        });
    }
}

/// How long something has been away, and how long to wait before the next try.
///
/// Says so when it goes, when it stays away for another reason, and when it is back, and shows the
/// actor as waiting in between.
#[derive(Default)]
pub(crate) struct Weather {
    failures: u32,
    /// What was said last, and when.
    told: Option<(String, Instant)>,
    shown: Option<WaitGuard>,
}

impl Weather {
    /// Notes a failure and gives the wait before the next try: 20 ms, doubled each time, at most
    /// five seconds.
    pub(crate) fn failed(&mut self, what: &'static str, error: &dyn Display) -> Duration {
        if self.is_news(&error.to_string()) {
            warn!(%error, what, failures = self.failures, "is away; waiting for it");
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
        (self.shown, self.told) = (None, None);
        if self.failures > 0 {
            info!(what, failures = self.failures, "is back");
            self.failures = 0;
        }
    }

    /// Whether this is another trouble than the one that was told. Numbers make no difference: a
    /// slot or a port is another one at each try. What comes and goes is told once a minute.
    fn is_news(&mut self, error: &str) -> bool {
        let kind: String = error
            .chars()
            .filter(|c| !c.is_ascii_digit())
            .take(MAX_REASON)
            .collect();
        let is_news = self
            .told
            .as_ref()
            .is_none_or(|(told, at)| *told != kind && at.elapsed() >= TELL_AGAIN);
        if is_news {
            self.told = Some((kind, Instant::now()));
        }
        is_news
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

    #[tokio::test(start_paused = true)]
    async fn another_trouble_is_told_and_the_same_one_is_not_and_never_more_than_one_a_minute() {
        let mut weather = Weather::default();
        assert!(weather.is_news("no answer from slot 7"));
        assert!(!weather.is_news("refused"), "told within a minute");
        tokio::time::advance(TELL_AGAIN).await;
        assert!(!weather.is_news("no answer from slot 8"));
        assert!(weather.is_news("refused"));
        assert!(!weather.is_news("no answer from slot 9"));
        weather.works("chain");
        assert!(weather.is_news("refused"), "it was away anew");
    }

    #[test]
    fn a_wait_keeps_its_begin_while_its_reason_changes() {
        let mut waiting = None;
        Waiting::note(&mut waiting, 5, Some("gone"));
        Waiting::note(&mut waiting, 9, Some("refused"));
        let expected = Waiting {
            since: 5,
            reason: "refused".to_owned(),
        };
        assert_eq!(waiting, Some(expected));
        Waiting::note(&mut waiting, 10, None);
        assert_eq!(waiting, None);
    }
}
