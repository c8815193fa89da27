//! What the gateway counts itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric as Registered, Registry};

use super::table::{self, Metric};

/// Labels with their values.
pub(super) type Labels = Vec<(&'static str, String)>;

type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// What the gateway counts itself.
pub(in super::super) struct Meters {
    requests: Counters,
    seconds: Histograms,
    refused: Counters,
    accept_errors: Counter,
    connections: AtomicU64,
    epochs_sealed: Counters,
    epoch_participants: Histograms,
    trees_built: Counters,
    tree_participants: Histograms,
    /// Sums over actors that come and go, which must not go down when one goes.
    sums: Mutex<BTreeMap<(&'static str, String), Sum>>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    last: u64,
    total: u64,
}

impl Default for Meters {
    fn default() -> Self {
        let seconds = || {
            Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ])
        };
        // The buckets of the deployed system.
        let epochs = || {
            let sizes = [0, 10, 50, 100, 250, 500, 1000, 2000, 5000, 10_000];
            Histogram::new(sizes.map(f64::from))
        };
        let trees = || {
            let sizes = [0, 10, 50, 100, 250, 500, 1000, 2048, 4096, 8192];
            Histogram::new(sizes.map(f64::from))
        };
        Self {
            requests: Counters::default(),
            seconds: Histograms::new_with_constructor(seconds),
            refused: Counters::default(),
            accept_errors: Counter::default(),
            connections: AtomicU64::new(0),
            epochs_sealed: Counters::default(),
            epoch_participants: Histograms::new_with_constructor(epochs),
            trees_built: Counters::default(),
            tree_participants: Histograms::new_with_constructor(trees),
            sums: Mutex::default(),
        }
    }
}

impl Meters {
    /// Counts a request that was answered.
    pub(in super::super) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let route = ("route", route.to_owned());
        let labels = vec![
            route.clone(),
            ("method", method_name(method).to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        self.requests.get_or_create(&labels).inc();
        let seconds = self.seconds.get_or_create(&vec![route]);
        seconds.observe(took.as_secs_f64());
    }

    /// Counts what a bound refused.
    pub(in super::super) fn refused(&self, bound: &'static str) {
        let labels = vec![("bound", bound.to_owned())];
        self.refused.get_or_create(&labels).inc();
    }

    /// Counts a connection that could not be taken.
    pub(in super::super) fn accept_failed(&self) {
        self.accept_errors.inc();
    }

    /// How many connections could not be taken.
    #[cfg(test)]
    pub(in super::super) fn accept_errors(&self) -> u64 {
        self.accept_errors.get()
    }

    /// Notes how many connections are open.
    pub(in super::super) fn connections(&self, open: usize) {
        self.connections.store(open as u64, Relaxed);
    }

    /// How many connections are open.
    pub(super) fn open_connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Counts a sealed epoch of a channel that has its trees.
    pub(in super::super) fn sealed(&self, channel: &str, token_group: &str, participants: u64) {
        let channel = ("channel", channel.to_owned());
        let group = ("token_group", token_group.to_owned());
        let of_group = vec![channel.clone(), group];
        self.epochs_sealed.get_or_create(&of_group).inc();
        let labels = vec![channel];
        self.trees_built.get_or_create(&labels).inc();
        #[allow(
            clippy::cast_precision_loss,
            reason = "fewer than 2^53 people take part"
        )]
        let size = participants as f64;
        self.epoch_participants.get_or_create(&labels).observe(size);
        self.tree_participants.get_or_create(&labels).observe(size);
    }

    /// What the sum over actors that come and go has grown to. What one of them had when it went
    /// is kept.
    pub(super) fn grown(&self, metric: &Metric, path: &str, now: u64) -> u64 {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry((metric.name, path.to_owned())).or_default();
        sum.total += now.saturating_sub(sum.last);
        sum.last = now;
        sum.total
    }

    /// Puts all of it into a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let mut put = Put(registry);
        put.metric(table::HTTP_REQUESTS, &self.requests);
        put.metric(table::HTTP_SECONDS, &self.seconds);
        put.metric(table::HTTP_REFUSED, &self.refused);
        put.metric(table::HTTP_ACCEPT_ERRORS, &self.accept_errors);
        put.metric(table::EPOCH_SEALED, &self.epochs_sealed);
        put.metric(table::EPOCH_PARTICIPANTS, &self.epoch_participants);
        put.metric(table::TREE_BUILT, &self.trees_built);
        put.metric(table::TREE_PARTICIPANTS, &self.tree_participants);
    }
}

/// Registers under the name and meaning of the table. Clones share their figures.
struct Put<'a>(&'a mut Registry);

impl Put<'_> {
    fn metric(&mut self, of: Metric, figures: &(impl Registered + Clone)) {
        self.0.register(of.base(), of.help, figures.clone());
    }
}

/// The name of a method. A client may make up others, and each would be a series of its own.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_never_goes_down() {
        let meters = Meters::default();
        let grown = |now| meters.grown(&table::ACTOR_HANDLED, "root/collectors/*", now);
        let seen: Vec<_> = [10, 15, 3, 5].into_iter().map(grown).collect();
        assert_eq!(seen, [10, 15, 15, 17]);
    }
}
