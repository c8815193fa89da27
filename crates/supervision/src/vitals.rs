//! What is known about a child without asking it: shared atomics, read by snapshots.
//!
//! [`Vitals`] belong to the child and survive its restarts. A [`Pulse`] belongs to one
//! incarnation, so that one that was cut off can no longer disturb the figures of the next.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::exit::ExitReason;

/// Locks also after a panic of another holder: every section under these locks leaves the
/// data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a child is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ChildState {
    /// Its first start is under way, or waits for its turn.
    Starting = 0,
    /// It handles messages.
    Running = 1,
    /// It has failed (or a sibling has) and is waiting for its restart, or restarting.
    Restarting = 2,
    /// It has failed too often and rests before it is tried again.
    CoolingDown = 3,
    /// It has been in one handler for longer than its spec allows.
    Stalled = 4,
    /// It has been asked to stop and has not yet stopped.
    Stopping = 5,
    /// It is not running and nobody is about to start it.
    Stopped = 6,
}

impl ChildState {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Restarting,
            3 => Self::CoolingDown,
            4 => Self::Stalled,
            5 => Self::Stopping,
            _ => Self::Stopped,
        }
    }
}

/// Which function of an actor is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Handler {
    /// `pre_start`, including the making of the actor and its arguments.
    PreStart = 1,
    /// `post_start`.
    PostStart = 2,
    /// `handle`.
    Message = 3,
    /// `handle_supervisor_evt`.
    SupervisorEvent = 4,
    /// `post_stop`.
    PostStop = 5,
}

impl Handler {
    fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::PreStart),
            2 => Some(Self::PostStart),
            3 => Some(Self::Message),
            4 => Some(Self::SupervisorEvent),
            5 => Some(Self::PostStop),
            _ => None,
        }
    }
}

/// The moments and texts of a child; everything that an atomic cannot hold.
#[derive(Default)]
pub(crate) struct Moments {
    pub(crate) running_since: Option<Instant>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) last_exit: Option<ExitReason>,
    pub(crate) pulse: Option<Arc<Pulse>>,
}

/// The figures of one child, over all its incarnations.
pub(crate) struct Vitals {
    base: Instant,
    state: AtomicU8,
    incarnations: AtomicU64,
    restarts: AtomicU64,
    handled: AtomicU64,
    rate: RateMeter,
    feed_depth: AtomicU64,
    feed_bound: AtomicU64,
    moments: Mutex<Moments>,
}

impl Vitals {
    pub(crate) fn new() -> Self {
        Self {
            base: Instant::now(),
            state: AtomicU8::new(ChildState::Stopped as u8),
            incarnations: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            rate: RateMeter::default(),
            feed_depth: AtomicU64::new(0),
            feed_bound: AtomicU64::new(0),
            moments: Mutex::default(),
        }
    }

    pub(crate) fn moments(&self) -> MutexGuard<'_, Moments> {
        lock(&self.moments)
    }

    pub(crate) fn state(&self) -> ChildState {
        ChildState::from_u8(self.state.load(Relaxed))
    }

    pub(crate) fn set_state(&self, state: ChildState) {
        self.state.store(state as u8, Relaxed);
    }

    /// Opens the books of the next incarnation.
    pub(crate) fn next_pulse(&self) -> Arc<Pulse> {
        let number = self.incarnations.fetch_add(1, Relaxed) + 1;
        let pulse = Arc::new(Pulse::new(number, self.base));
        self.moments().pulse = Some(Arc::clone(&pulse));
        pulse
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Relaxed)
    }

    /// Messages a second, over the last [`RATE_SECONDS`] whole seconds.
    pub(crate) fn handled_per_second(&self) -> f64 {
        self.rate.per_second(self.base.elapsed().as_secs())
    }

    fn count_handled(&self) {
        self.handled.fetch_add(1, Relaxed);
        self.rate.count(self.base.elapsed().as_secs());
    }

    pub(crate) fn set_feed(&self, depth: u64, bound: u64) {
        self.feed_depth.store(depth, Relaxed);
        self.feed_bound.store(bound, Relaxed);
    }

    /// Depth and bound; `None` if the child has published no feed.
    pub(crate) fn feed(&self) -> Option<(u64, u64)> {
        match self.feed_bound.load(Relaxed) {
            0 => None,
            bound => Some((self.feed_depth.load(Relaxed), bound)),
        }
    }
}

/// The seconds over which messages a second are averaged.
pub(crate) const RATE_SECONDS: u64 = 5;
const RATE_SLOTS: usize = 8;
const COUNT_BITS: u32 = 32;

/// Counts by second in a small ring; each slot packs a second and its count.
///
/// One task writes. A second writer exists only while an incarnation that was cut off
/// finishes its last handler, and then a count may be lost, never the ring.
#[derive(Default)]
struct RateMeter {
    slots: [AtomicU64; RATE_SLOTS],
}

impl RateMeter {
    fn slot(&self, second: u64) -> &AtomicU64 {
        let index = usize::try_from(second % RATE_SLOTS as u64).unwrap_or(0);
        &self.slots[index]
    }

    fn count(&self, second: u64) {
        let slot = self.slot(second);
        if slot.load(Relaxed) >> COUNT_BITS == second {
            slot.fetch_add(1, Relaxed);
        } else {
            slot.store((second << COUNT_BITS) | 1, Relaxed);
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "five counts of 32 bits fit a double"
    )]
    fn per_second(&self, now: u64) -> f64 {
        let span = now.min(RATE_SECONDS);
        if span == 0 {
            return 0.0;
        }
        let sum: u64 = (now - span..now)
            .map(|second| (second, self.slot(second).load(Relaxed)))
            .filter(|(second, packed)| packed >> COUNT_BITS == *second)
            .map(|(_, packed)| packed & u64::from(u32::MAX))
            .sum();
        sum as f64 / span as f64
    }
}

/// The most waits of one incarnation that are shown at a time.
const WAITS_SHOWN: usize = 16;

#[derive(Clone)]
pub(crate) struct Wait {
    token: u64,
    pub(crate) what: Arc<str>,
    pub(crate) since: Instant,
}

#[derive(Default)]
struct Waits {
    next_token: u64,
    now: Vec<Wait>,
}

/// The figures of one incarnation.
pub(crate) struct Pulse {
    number: u64,
    base: Instant,
    /// Messages that came in through a `ChildRef`.
    sent: AtomicU64,
    /// Messages that were taken out, never more than were counted in.
    taken: AtomicU64,
    handler: AtomicU8,
    /// Microseconds since `base` at which the handler now running was entered.
    entered: AtomicU64,
    waits: Mutex<Waits>,
}

impl Pulse {
    fn new(number: u64, base: Instant) -> Self {
        Self {
            number,
            base,
            sent: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            handler: AtomicU8::new(0),
            entered: AtomicU64::new(0),
            waits: Mutex::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn count_sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_not_sent(&self) {
        self.sent.fetch_sub(1, Relaxed);
    }

    /// Counts a message out. One that was not counted in (it came by the raw reference, as
    /// timers do) is recognised as soon as the mailbox holds no counted one, so that an error
    /// lasts only until the mailbox is next empty.
    pub(crate) fn count_taken(&self) {
        if self.taken.load(Relaxed) < self.sent.load(Relaxed) {
            self.taken.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn depth(&self) -> u64 {
        self.sent
            .load(Relaxed)
            .saturating_sub(self.taken.load(Relaxed))
    }

    /// The handler now running, and for how long.
    pub(crate) fn handler(&self, now: Instant) -> Option<(Handler, Duration)> {
        let handler = Handler::from_u8(self.handler.load(Relaxed))?;
        let entered = Duration::from_micros(self.entered.load(Relaxed));
        let running = now.saturating_duration_since(self.base);
        Some((handler, running.saturating_sub(entered)))
    }

    /// Shows `handler` as running until the guard is dropped, however the handler ends.
    pub(crate) fn enter<'a>(&'a self, vitals: &'a Vitals, handler: Handler) -> Entered<'a> {
        self.entered.store(micros(self.base.elapsed()), Relaxed);
        self.handler.store(handler as u8, Relaxed);
        Entered {
            pulse: self,
            vitals,
            handler,
        }
    }

    /// `None` if as many waits as are shown are already there.
    pub(crate) fn add_wait(&self, what: Arc<str>) -> Option<u64> {
        let mut waits = lock(&self.waits);
        if waits.now.len() >= WAITS_SHOWN {
            return None;
        }
        let token = waits.next_token;
        waits.next_token += 1;
        waits.now.push(Wait {
            token,
            what,
            since: Instant::now(),
        });
        Some(token)
    }

    pub(crate) fn remove_wait(&self, token: u64) {
        lock(&self.waits).now.retain(|wait| wait.token != token);
    }

    pub(crate) fn waits(&self) -> Vec<Wait> {
        lock(&self.waits).now.clone()
    }
}

pub(crate) struct Entered<'a> {
    pulse: &'a Pulse,
    vitals: &'a Vitals,
    handler: Handler,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.pulse.handler.store(0, Relaxed);
        if self.handler == Handler::Message {
            self.vitals.count_handled();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_were_not_counted_in_leave_no_lasting_error_in_the_depth() {
        let pulse = Pulse::new(1, Instant::now());
        pulse.count_taken();
        assert_eq!(pulse.depth(), 0, "an uncounted message is not counted out");
        pulse.count_sent();
        pulse.count_sent();
        pulse.count_taken();
        assert_eq!(pulse.depth(), 1);
        pulse.count_taken();
        pulse.count_taken();
        pulse.count_sent();
        assert_eq!(pulse.depth(), 1);
    }

    #[test]
    fn the_rate_is_the_mean_of_the_last_whole_seconds() {
        let meter = RateMeter::default();
        for second in 0..20 {
            for _ in 0..10 {
                meter.count(second);
            }
        }
        for (now, expected) in [(20, 10.0), (22, 6.0), (40, 0.0)] {
            let rate = meter.per_second(now);
            assert!((rate - expected).abs() < 1e-9, "at {now} s: {rate}");
        }
    }
}
