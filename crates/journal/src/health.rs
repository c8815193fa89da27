//! What the journal says about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use twzrd_domain::record::Seq;

/// Whether the journal takes appends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It does, as far as it knows.
    #[default]
    Ok,
    /// The last group of appends, or the last attempt to open, was refused. The next append tries
    /// again.
    Failed {
        /// Why the last attempt failed, with the file named.
        reason: String,
        /// How many attempts in a row have failed.
        attempts: u64,
    },
}

/// What was counted since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Appends that were written and answered.
    pub appends: u64,
    /// Appends that were known before.
    pub known: u64,
    /// Appends that were answered with an error.
    pub refused: u64,
    /// Records that were written and synced.
    pub records: u64,
    /// Bytes that were written and synced.
    pub bytes: u64,
    /// Syncs of groups of appends.
    pub syncs: u64,
    /// Segments that were begun because the one before was full or old.
    pub rotations: u64,
    /// New segments, snapshots and compressions that failed, and are tried again later.
    pub upkeep_failures: u64,
}

/// The state of a journal at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it takes appends.
    pub state: State,
    /// What was counted.
    pub counters: Counters,
    /// The last record that is synced.
    pub durable: Seq,
}

/// Counts, and is read from anywhere.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    state: Mutex<State>,
    pub(crate) appends: AtomicU64,
    pub(crate) known: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) upkeep_failures: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Meter {
    pub(crate) fn works(&self) {
        *held(&self.state) = State::Ok;
    }

    pub(crate) fn fails(&self, reason: String) {
        let mut state = held(&self.state);
        let before = match &*state {
            State::Ok => 0,
            State::Failed { attempts, .. } => *attempts,
        };
        *state = State::Failed {
            reason,
            attempts: before + 1,
        };
    }

    pub(crate) fn state(&self) -> State {
        held(&self.state).clone()
    }

    pub(crate) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            appends: read(&self.appends),
            known: read(&self.known),
            refused: read(&self.refused),
            records: read(&self.records),
            bytes: read(&self.bytes),
            syncs: read(&self.syncs),
            rotations: read(&self.rotations),
            upkeep_failures: read(&self.upkeep_failures),
        }
    }
}

/// Takes a mutex. What a thread that panicked left behind is whole: nothing here panics between
/// two changes that belong together.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
