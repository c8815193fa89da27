//! How many calls there were and how long they took.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use solana_rpc_client::rpc_sender::RpcTransportStats;

/// The upper bounds of the buckets, in seconds. One more bucket holds what took longer.
pub const BUCKET_BOUNDS: [f64; 6] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0];

/// How a call to one node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It answered, and well.
    Ok,
    /// It answered an error, or nonsense, or nothing could be sent.
    Error,
    /// It did not answer in time.
    Timeout,
    /// It asks for fewer calls.
    RateLimited,
    /// It is behind.
    Behind,
}

impl Status {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Behind => "behind",
        }
    }
}

/// The calls of one method that ended the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The method.
    pub method: &'static str,
    /// How they ended.
    pub status: Status,
    /// How many.
    pub count: u64,
    /// How long they took together.
    pub total: Duration,
    /// How many took how long: up to each of [`BUCKET_BOUNDS`] and more than the bound before, and
    /// last those above all bounds.
    pub buckets: [u64; BUCKET_BOUNDS.len() + 1],
}

/// The counts. Methods are named in code, so that there are few of them.
#[derive(Default)]
pub(super) struct Stats {
    all: Mutex<BTreeMap<(&'static str, Status), Observed>>,
}

impl Stats {
    /// Counts a call.
    pub(super) fn count(&self, method: &'static str, status: Status, took: Duration) {
        let bucket = BUCKET_BOUNDS
            .iter()
            .position(|bound| took.as_secs_f64() <= *bound)
            .unwrap_or(BUCKET_BOUNDS.len());
        let mut all = self.lock();
        let observed = all.entry((method, status)).or_insert_with(|| Observed {
            method,
            status,
            count: 0,
            total: Duration::ZERO,
            buckets: [0; BUCKET_BOUNDS.len() + 1],
        });
        observed.count += 1;
        observed.total += took;
        observed.buckets[bucket] += 1;
    }

    /// All counts, by method and status.
    pub(super) fn observe(&self) -> Vec<Observed> {
        self.lock().values().cloned().collect()
    }

    /// The sums that the client asks for.
    pub(super) fn transport(&self) -> RpcTransportStats {
        let mut stats = RpcTransportStats::default();
        for observed in self.lock().values() {
            let count = usize::try_from(observed.count).unwrap_or(usize::MAX);
            stats.request_count = stats.request_count.saturating_add(count);
            stats.elapsed_time += observed.total;
        }
        stats
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Status), Observed>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_in_the_bucket_of_its_time() {
        let stats = Stats::default();
        for millis in [0, 100, 101, 10_000, 10_001] {
            stats.count("getSlot", Status::Ok, Duration::from_millis(millis));
        }
        stats.count("getSlot", Status::Behind, Duration::from_secs(3));
        let all = stats.observe();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].buckets, [2, 1, 0, 0, 0, 1, 1]);
        assert_eq!((all[0].count, all[0].status), (5, Status::Ok));
        assert_eq!(all[0].total, Duration::from_millis(20_202));
        assert_eq!(all[1].buckets, [0, 0, 0, 0, 1, 0, 0]);
    }
}
