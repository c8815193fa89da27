//! Looks at the process from time to time, so that a change is noted also while nobody asks, and
//! so that a scrape of the metrics waits for no store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use compact_str::CompactString;
use tokio::time::MissedTickBehavior;
use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::identity::{Channel, Name};
use twzrd_domain::ports::SealedEpoch;
use twzrd_domain::record::Seq;

use super::app::App;
use super::known::{NoAnswer, late};

/// Every so many looks at the store, what costs more is read too.
const SLOW_EVERY: u32 = 5;
/// How far back epochs are counted in metrics when the process starts, in milliseconds.
const LOOK_BACK_MS: u64 = 48 * 3600 * 1000;
/// How many sealed epochs are read at a time.
const PAGE_ROWS: u64 = 1000;
/// How many pages are read in a row.
const PAGES: u32 = 100;
/// How many channels have a name of their own in metrics.
const NAMED_CHANNELS: usize = 100;
/// The label of all other channels, and of one that is called so.
const OTHER: &str = "other";

/// What was seen last.
pub(super) struct Seen {
    /// The first epoch that is counted.
    first: Epoch,
    last: Mutex<Last>,
}

/// Figures of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Last {
    /// Where the store stands in the journal.
    pub(super) offset: Option<Seq>,
    /// The last epoch of which a channel has its trees.
    pub(super) epoch: Option<Epoch>,
    /// Sealed channels without trees, so far as they were counted.
    pub(super) backlog: Option<u64>,
}

impl Seen {
    pub(super) fn new(now: UnixMs, length: EpochLength) -> Self {
        Self {
            first: length.epoch_of(now.saturating_sub(LOOK_BACK_MS)),
            last: Mutex::default(),
        }
    }

    /// What was seen last.
    pub(super) fn last(&self) -> Last {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Last)) {
        change(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl App {
    /// How many records the store is behind the journal. None before the store was seen.
    pub(super) fn lag(&self) -> Option<u64> {
        let offset = self.seen.last().offset?;
        Some((self.view.journal)().durable.saturating_sub(offset))
    }

    /// Asks whether the store is there, and notes how everything is.
    pub(super) async fn look(&self) {
        let time = self.limits.store_time;
        let answer = tokio::time::timeout(time, self.view.probe.offset()).await;
        let now = self.view.clock.now();
        let failed = |reason: &str| drop(self.health.database_failed(reason, now));
        match answer {
            Ok(Ok(offset)) => {
                self.health.database_answered(now);
                self.seen.note(|last| last.offset = Some(offset));
            }
            Ok(Err(error)) => failed(&error.to_string()),
            Err(_) => failed(&late(time)),
        }
        self.conditions();
    }
}

/// Looks for as long as it is polled. The first look is the caller's.
pub(super) async fn watch(app: Arc<App>) {
    let mut ticks = tokio::time::interval(app.limits.probe_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut follow = Follow::new(app.seen.first);
    for look in (0..SLOW_EVERY).cycle() {
        ticks.tick().await;
        app.look().await;
        if look == 0 {
            // That the store is away shows in the health; what was read last stays.
            let _ = app.ledger().await;
            let _ = app.tallies().await;
            follow.look(&app).await;
        }
    }
}

/// Follows what is sealed and has its trees, for the metrics.
struct Follow {
    after: (Epoch, Channel),
    named: BTreeSet<Channel>,
}

impl Follow {
    fn new(first: Epoch) -> Self {
        Self {
            after: (first, Name::none()),
            named: BTreeSet::new(),
        }
    }

    async fn look(&mut self, app: &App) {
        for _ in 0..PAGES {
            let page = app
                .view
                .store
                .sealed_after(Some(self.after.clone()), PAGE_ROWS);
            let rows = match app.ask(page).await {
                Ok(rows) => rows,
                Err(NoAnswer::Away(_)) => return,
                Err(NoAnswer::Refused(error)) => {
                    tracing::error!(%error, "sealed epochs cannot be counted");
                    return;
                }
            };
            let is_built =
                |row: &&SealedEpoch| row.participation_root.is_some() && row.claim_root.is_some();
            let built = rows.iter().take_while(is_built).count();
            let missing = rows.iter().filter(|row| !is_built(row)).count() as u64;
            app.seen.note(|last| last.backlog = Some(missing));
            self.count(app, &rows[..built]);
            if built < rows.len() || (rows.len() as u64) < PAGE_ROWS {
                return;
            }
        }
    }

    fn count(&mut self, app: &App, rows: &[SealedEpoch]) {
        let Some(last) = rows.last() else { return };
        self.after = (last.epoch, last.channel.clone());
        app.seen.note(|seen| seen.epoch = Some(last.epoch));
        self.name_the_largest(rows);
        let channels = app.view.ingest.channels();
        let groups: BTreeMap<&Channel, &CompactString> = channels
            .iter()
            .map(|it| (&it.channel, &it.listing.token_group))
            .collect();
        for row in rows {
            let (channel, group) = match self.named.contains(&row.channel) {
                true => (
                    row.channel.as_str(),
                    groups.get(&row.channel).map_or("", |group| group.as_str()),
                ),
                false => (OTHER, ""),
            };
            app.meters.sealed(channel, group, row.participants);
        }
    }

    /// Gives names to the largest channels while there are names left. A channel keeps its name
    /// until the process ends: a count that went from one label to another would go backwards.
    fn name_the_largest(&mut self, rows: &[SealedEpoch]) {
        let mut rows: Vec<&SealedEpoch> = rows.iter().collect();
        rows.sort_by_key(|row| Reverse((row.epoch, row.participants)));
        for row in rows {
            if self.named.len() >= NAMED_CHANNELS {
                return;
            }
            if row.channel.as_str() != OTHER {
                self.named.insert(row.channel.clone());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(epoch: u64, channel: &str, participants: u64) -> SealedEpoch {
        SealedEpoch {
            epoch: Epoch(epoch),
            channel: Name::parse(channel).unwrap(),
            participants,
            participation_root: None,
            claim_root: None,
            gap_ms: 0,
            settled_at: None,
            tx_signature: None,
        }
    }

    #[test]
    fn the_largest_channels_of_the_last_epoch_get_the_names() {
        let mut follow = Follow::new(Epoch(0));
        let mut rows = vec![row(0, "old", 1_000_000)];
        rows.push(row(3600, "other", 2_000_000));
        rows.extend((0..150).map(|n| row(3600, &format!("c{n:03}"), n)));
        follow.name_the_largest(&rows);
        let named: Vec<_> = follow.named.iter().map(Name::as_str).collect();
        let expected: Vec<_> = (50..150).map(|n| format!("c{n:03}")).collect();
        assert_eq!(named, expected);
        follow.name_the_largest(&[row(7200, "new", 5_000_000)]);
        assert_eq!(follow.named.len(), 100);
    }
}
