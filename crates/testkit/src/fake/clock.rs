//! Clocks that tests move.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::Clock;

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `now`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(now: UnixMs) -> Self {
        Self(Arc::new(AtomicU64::new(now)))
    }

    /// Sets the time, also backwards.
    pub fn set(&self, now: UnixMs) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// Moves the time on by so many milliseconds.
    pub fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        self.0.load(Ordering::SeqCst)
    }
}

/// A clock that goes with tokio's time, which a test may have paused, and that can jump. Clones show
/// the same time.
#[derive(Clone, Debug)]
pub struct PausedClock(Arc<Mutex<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: UnixMs,
    /// When it showed that; none before it is started.
    read: Option<Instant>,
}

impl PausedClock {
    /// A clock that shows `now`, and stands still until it is started.
    #[must_use]
    pub fn at(now: UnixMs) -> Self {
        let (at, read) = (now, None);
        Self(Arc::new(Mutex::new(Reading { at, read })))
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from the time that it shows.
    pub fn start(&self) {
        self.lock().read = Some(Instant::now());
    }

    /// Stands still: the runtime whose time it goes with may end.
    pub fn stop(&self) {
        let at = self.now();
        *self.lock() = Reading { at, read: None };
    }

    /// Jumps by so many milliseconds, also backwards.
    pub fn jump(&self, by_ms: i64) {
        let mut reading = self.lock();
        reading.at = reading.at.saturating_add_signed(by_ms);
    }
}

impl Clock for PausedClock {
    fn now(&self) -> UnixMs {
        let Reading { at, read } = *self.lock();
        let passed = read.map_or(0, |read| read.elapsed().as_millis());
        at.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_the_same_time() {
        let clock = ManualClock::at(5);
        let other = clock.clone();
        clock.advance(10);
        assert_eq!(other.now(), 15);
        other.set(3);
        assert_eq!(clock.now(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_goes_with_the_time_of_tests_and_jumps() {
        let clock = PausedClock::at(1000);
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        assert_eq!(clock.now(), 1000);
        clock.start();
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        assert_eq!(clock.now(), 1005);
        clock.jump(-505);
        assert_eq!(clock.now(), 500);
        clock.stop();
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        assert_eq!(clock.now(), 500);
    }
}
