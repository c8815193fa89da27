//! What the tasks of a server have in common, and how lines are generated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::Config;
use crate::counters::{Counters, Snapshot};
use crate::hall::Hall;
use crate::log::{Book, Log};
use crate::outbox::Times;
use crate::socket::WhenFull;

/// How many lines are generated under one hold of the hall's lock.
const LINES_AT_ONCE: u64 = 256;

/// A line, in parts of which a rate is reckoned.
const PARTS: u64 = 1_000_000;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) book: Arc<Book>,
    /// There is a rate again.
    rate_changed: Notify,
    hall: Mutex<Hall>,
}

impl Shared {
    pub(crate) fn new(config: Config, names: Arc<[Arc<str>]>) -> Self {
        let book = Book::new(config.keep_log, config.log_deliveries, Arc::clone(&names));
        let book = Arc::new(book);
        Self {
            hall: Mutex::new(Hall::new(&config, names, Arc::clone(&book))),
            counters: Counters::default(),
            book,
            rate_changed: Notify::new(),
            config,
        }
    }

    pub(crate) fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn when_full(&self) -> WhenFull {
        if self.config.backpressure {
            WhenFull::Push
        } else {
            WhenFull::Reset
        }
    }

    pub(crate) fn times(&self) -> Times {
        Times {
            ping_every: self.config.ping_every,
            pong_within: self.config.pong_within,
            login_within: self.config.login_within,
            close_within: self.config.close_within,
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let (rate, sockets) = {
            let hall = self.hall();
            (hall.lines_per_second, hall.states())
        };
        let mut snapshot = self.counters.snapshot(rate, sockets);
        snapshot.log_refused = Log(Arc::clone(&self.book)).refused();
        snapshot
    }

    pub(crate) fn set_rate(&self, lines_per_second: u32) {
        self.hall().lines_per_second = lines_per_second;
        self.rate_changed.notify_one();
    }

    /// Generates and delivers so many lines, waiting for sockets that have no room. Returns early
    /// where it is `paced` and the rate has become 0.
    pub(crate) async fn generate(&self, lines: u64, is_paced: bool) {
        let mut left = lines;
        while left > 0 {
            let now = self.config.clock.now();
            let generated = {
                let mut hall = self.hall();
                if is_paced && hall.lines_per_second == 0 {
                    return;
                }
                hall.generate(left.min(LINES_AT_ONCE), now, &self.counters)
            };
            left -= generated.lines;
            for socket in generated.full {
                socket.has_room().await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Generates lines at the rate that is set, for ever. What could not be generated in time,
    /// since a socket had to be waited for, is made up for up to one second's worth.
    pub(crate) async fn pump(&self) {
        let mut ticks = interval(self.config.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut parts) = (Instant::now(), 0);
        loop {
            let rate = u64::from(self.hall().lines_per_second);
            if rate == 0 {
                self.rate_changed.notified().await;
                (last, parts) = (Instant::now(), 0);
                continue;
            }
            let now = ticks.tick().await;
            let passed = now.saturating_duration_since(last).as_micros();
            last = now;
            let passed = u64::try_from(passed).unwrap_or(u64::MAX).min(PARTS);
            parts = (parts + rate * passed).min(rate * PARTS);
            self.generate(parts / PARTS, true).await;
            parts %= PARTS;
        }
    }
}
