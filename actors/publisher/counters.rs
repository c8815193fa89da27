//! What the publisher counts. It outlives a restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use twzrd_domain::chain::Change;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::Why;

use crate::weather::Waiting;

/// How many channels are counted by name: the first ones. The settled roots of others are counted
/// under the empty name.
const CHANNELS: usize = 100;

/// The counts, shared by the publisher and whoever shows them.
#[derive(Debug, Default)]
pub struct PublisherCounters(Mutex<PublisherCounts>);

/// The counts at a moment, since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublisherCounts {
    /// Ticks.
    pub ticks: u64,
    /// Transactions that were signed.
    pub transactions: u64,
    /// Roots in them.
    pub signed: u64,
    /// Transactions that a node took, each time they were sent.
    pub sent: u64,
    /// Times that a node did not take one.
    pub send_failed: u64,
    /// Roots that were settled, by channel.
    pub settled: BTreeMap<Channel, u64>,
    /// The newest epoch of which a root was settled.
    pub last_epoch: Option<Epoch>,
    /// Roots that were held or refused before they were signed, each time that was found.
    pub skipped: BTreeMap<Why, u64>,
    /// Roots whose transaction came to nothing, by code, each time: it failed or expired, or what it
    /// wrote was not found.
    pub failed: BTreeMap<&'static str, u64>,
    /// Roots that were not where their finalized transaction had put them, each time.
    pub contradictions: u64,
    /// Why nothing goes on now, where that is so.
    pub waits_for: Option<Waiting>,
}

impl PublisherCounters {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> PublisherCounts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut PublisherCounts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn ticked(&self) {
        self.change(|it| it.ticks += 1);
    }

    pub(super) fn signed(&self, roots: usize) {
        self.change(|it| {
            it.transactions += 1;
            it.signed += roots as u64;
        });
    }

    pub(super) fn sent(&self) {
        self.change(|it| it.sent += 1);
    }

    pub(super) fn send_failed(&self) {
        self.change(|it| it.send_failed += 1);
    }

    pub(super) fn settled(&self, channel: &Channel, epoch: Epoch) {
        self.change(|it| {
            let is_known = it.settled.contains_key(channel) || it.settled.len() < CHANNELS;
            let name = if is_known {
                channel.clone()
            } else {
                Channel::none()
            };
            *it.settled.entry(name).or_default() += 1;
            it.last_epoch = it.last_epoch.max(Some(epoch));
        });
    }

    pub(super) fn skipped(&self, why: Why) {
        self.change(|it| *it.skipped.entry(why).or_default() += 1);
    }

    /// Notes what stands in the way now, or that nothing does.
    pub(super) fn waits_for(&self, now: UnixMs, reason: Option<&str>) {
        self.change(|it| Waiting::note(&mut it.waits_for, now, reason));
    }

    pub(super) fn contradicted(&self, roots: usize) {
        self.change(|it| it.contradictions += roots as u64);
    }

    /// Counts the tries that failed.
    pub(super) fn stepped(&self, steps: &[Change]) {
        self.change(|it| {
            for Change { was, step, .. } in steps {
                use Publication::{Finalized, Signed};
                let code = match (was, step) {
                    (Signed { .. }, Step::Expire) => "expired",
                    (Signed { .. } | Finalized { .. }, Step::FoundNewer(_)) => "superseded",
                    (Signed { .. } | Finalized { .. }, Step::Refuse(reason)) => reason.why.code(),
                    _ => continue,
                };
                *it.failed.entry(code).or_default() += 1;
            }
        });
    }
}
