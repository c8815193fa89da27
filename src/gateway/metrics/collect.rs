//! Figures that are read when they are asked for.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use twzrd_actors::status::{ChannelState, ConnectionState};
use twzrd_domain::event::Outcome;
use twzrd_supervision::{ChildSnapshot, ChildState};

use super::super::actors::state_name;
use super::super::app::App;
use super::meters::Labels;
use super::table::{self, Kind, Metric};

/// Figures of one moment, ready to be written.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<(Metric, Vec<(Labels, Value)>)>);

#[derive(Clone, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    /// The sum, how many, and how many in each bucket by its upper bound.
    Spread(f64, u64, Vec<(f64, u64)>),
}

impl Figures {
    /// Everything as it is now.
    pub(super) fn of(app: &App) -> Self {
        let mut figures = Self::default();
        let version = vec![("version", app.view.version.to_owned())];
        figures.put(table::BUILD, vec![(version, Value::Whole(1))]);
        figures.actors(app);
        figures.journal(app);
        figures.store(app);
        figures.intake(app);
        figures.chain(app);
        figures.gateway(app);
        figures
    }

    pub(super) fn put(&mut self, metric: Metric, samples: Vec<(Labels, Value)>) {
        self.0.push((metric, samples));
    }

    pub(super) fn one(&mut self, metric: Metric, value: u64) {
        self.put(metric, vec![(Labels::new(), Value::Whole(value))]);
    }

    pub(super) fn some(&mut self, metric: Metric, value: Option<u64>) {
        if let Some(value) = value {
            self.one(metric, value);
        }
    }

    fn actors(&mut self, app: &App) {
        let tree = (app.view.tree)();
        let mut samples = Samples::default();
        let mut states: BTreeMap<&str, u64> = BTreeMap::new();
        let mut open = vec![&tree.root];
        while let Some(child) = open.pop() {
            *states.entry(state_name(child.state)).or_default() += 1;
            samples.single(child);
            if app.view.dynamic.contains(&child.path) {
                for below in &child.children {
                    *states.entry(state_name(below.state)).or_default() += 1;
                }
                samples.many(app, &format!("{}/*", child.path), &child.children);
            } else {
                open.extend(child.children.iter().rev());
            }
        }
        for (metric, samples) in samples.0 {
            self.0.push((metric, samples));
        }
        let label = |(state, n): (&str, u64)| (vec![("state", state.to_owned())], Value::Whole(n));
        self.put(table::ACTORS, states.into_iter().map(label).collect());
    }

    fn journal(&mut self, app: &App) {
        let health = (app.view.journal)();
        let is_up = health.state == twzrd_journal::State::Ok;
        self.one(table::JOURNAL_UP, u64::from(is_up));
        let counters = health.counters;
        self.one(table::JOURNAL_APPENDS, counters.appends);
        self.one(table::JOURNAL_KNOWN, counters.known);
        self.one(table::JOURNAL_REFUSED, counters.refused);
        self.one(table::JOURNAL_RECORDS, counters.records);
        self.one(table::JOURNAL_BYTES, counters.bytes);
        self.one(table::JOURNAL_SYNCS, counters.syncs);
        self.one(table::JOURNAL_ROTATIONS, counters.rotations);
        self.one(table::JOURNAL_UPKEEP, counters.upkeep_failures);
        self.one(table::JOURNAL_DURABLE, health.durable);
    }

    fn store(&mut self, app: &App) {
        let is_up = app.health.database_away().is_none();
        self.one(table::STORE_UP, u64::from(is_up));
        let last = app.seen.last();
        self.some(table::STORE_OFFSET, last.offset);
        self.some(table::STORE_LAG, app.lag());
        self.some(table::BACKLOG, last.backlog);
        self.some(table::LAST_EPOCH, last.epoch.map(|epoch| epoch.0));
        // What was never read is left out: a zero would say that nothing came.
        if let Some(ledger) = app.known.ledger.get(&()) {
            let (ledger, drift) = (ledger.value.counts, ledger.value.drift);
            self.one(table::LINES_RECEIVED, ledger.received);
            let of = |outcome: Outcome| {
                let label = vec![("outcome", outcome.as_str().to_owned())];
                (label, Value::Whole(ledger.of(outcome)))
            };
            self.put(table::LINES, Outcome::ALL.map(of).into());
            self.one(table::DRIFT, drift);
        }
    }

    fn intake(&mut self, app: &App) {
        let by_state = |name: &'static str, n: usize| {
            (vec![("state", name.to_owned())], Value::Whole(n as u64))
        };
        let channels = app.view.ingest.channels();
        let of = |state: ChannelState| {
            let there = channels.iter().filter(|channel| channel.state == state);
            by_state(state.as_str(), there.count())
        };
        self.put(table::CHANNELS, ChannelState::ALL.map(of).into());
        let connections = app.view.ingest.connections();
        let of = |state: ConnectionState| {
            let there = connections.iter().filter(|it| it.state == state);
            by_state(state.as_str(), there.count())
        };
        self.put(table::CONNECTIONS, ConnectionState::ALL.map(of).into());
        let blocked = connections.iter().filter(|it| it.blocked_by.is_some());
        self.one(table::CONNECTIONS_BLOCKED, blocked.count() as u64);
        let counts = app.view.ingest.intake();
        self.one(table::INTAKE_LINES, counts.lines);
        self.one(table::INTAKE_BYTES, counts.bytes);
        self.one(table::INTAKE_BROKEN, counts.broken);
        self.one(table::INTAKE_CONNECTS, counts.connects);
        self.one(table::INTAKE_CONNECT_FAILURES, counts.connect_failures);
        self.one(table::INTAKE_LOSSES, counts.losses);
        self.one(table::INTAKE_RECONNECTS, counts.reconnects);
        self.one(table::INTAKE_JOINS, counts.joins);
        self.one(table::INTAKE_JOINED, counts.joined);
        self.one(table::INTAKE_REFUSALS, counts.refusals);
        self.one(table::INTAKE_BLOCKED, counts.blocked);
        let blocked = Value::Real(seconds(counts.blocked_ms));
        let blocked = vec![(Labels::new(), blocked)];
        self.put(table::INTAKE_BLOCKED_SECONDS, blocked);
        self.one(table::INTAKE_QUARANTINED, counts.quarantined);
        let dropped = counts.quarantine_dropped;
        self.one(table::INTAKE_QUARANTINE_DROPPED, dropped);
        self.one(table::INTAKE_FEED_BYTES, counts.feed_bytes);
        self.one(table::INTAKE_FEED_BYTES_BOUND, counts.feed_bytes_bound);
        self.one(table::INTAKE_GAPS_WAITING, counts.gaps_waiting);
        self.one(table::INTAKE_GAPS_DROPPED, counts.gaps_dropped);
    }

    fn gateway(&mut self, app: &App) {
        let open = app.meters.open_connections();
        self.one(table::HTTP_CONNECTIONS, open);
        let known = &app.known;
        let sizes = [
            ("pages", known.pages.size()),
            ("summaries", known.summaries.size()),
            ("materials", known.materials.size()),
            ("proofs", known.proofs.size()),
        ];
        let of =
            |(kind, n): (&str, usize)| (vec![("kind", kind.to_owned())], Value::Whole(n as u64));
        let items = sizes.map(|(kind, (items, _))| of((kind, items)));
        self.put(table::CACHED, items.into());
        let bytes = sizes.map(|(kind, (_, bytes))| of((kind, bytes)));
        self.put(table::CACHED_BYTES, bytes.into());
    }
}

/// The samples of actors, by metric.
struct Samples([(Metric, Vec<(Labels, Value)>); 7]);

impl Default for Samples {
    fn default() -> Self {
        Self(
            [
                table::ACTOR_UP,
                table::ACTOR_RESTARTS,
                table::ACTOR_MAILBOX,
                table::ACTOR_HANDLED,
                table::ACTOR_HANDLER,
                table::ACTOR_FEED,
                table::ACTOR_FEED_BOUND,
            ]
            .map(|metric| (metric, Vec::new())),
        )
    }
}

impl Samples {
    fn add(&mut self, path: &str, values: [Option<Value>; 7]) {
        for ((_, samples), value) in self.0.iter_mut().zip(values) {
            let label = || vec![("path", path.to_owned())];
            samples.extend(value.map(|value| (label(), value)));
        }
    }

    fn single(&mut self, child: &ChildSnapshot) {
        let whole = |value| Some(Value::Whole(value));
        let values = [
            whole(u64::from(child.state == ChildState::Running)),
            whole(child.restarts),
            whole(child.mailbox_depth),
            whole(child.handled),
            Some(Value::Real(handler_seconds(child))),
            child.feed.map(|feed| Value::Whole(feed.depth)),
            child.feed.map(|feed| Value::Whole(feed.bound)),
        ];
        self.add(&child.path, values);
    }

    /// Children that come and go, together.
    #[allow(clippy::cast_precision_loss, reason = "fewer than 2^53 actors run")]
    fn many(&mut self, app: &App, path: &str, children: &[ChildSnapshot]) {
        let sum = |of: fn(&ChildSnapshot) -> u64| children.iter().map(of).sum::<u64>();
        let grown = |metric, of| app.meters.grown(&metric, path, sum(of));
        let running = sum(|child| u64::from(child.state == ChildState::Running));
        let part = match children.len() {
            0 => 1.0,
            all => running as f64 / all as f64,
        };
        let longest = children.iter().map(handler_seconds).fold(0.0, f64::max);
        let whole = |value| Some(Value::Whole(value));
        let values = [
            Some(Value::Real(part)),
            whole(grown(table::ACTOR_RESTARTS, |child| child.restarts)),
            whole(sum(|child| child.mailbox_depth)),
            whole(grown(table::ACTOR_HANDLED, |child| child.handled)),
            Some(Value::Real(longest)),
            whole(sum(|child| child.feed.map_or(0, |feed| feed.depth))),
            whole(sum(|child| child.feed.map_or(0, |feed| feed.bound))),
        ];
        self.add(path, values);
    }
}

fn handler_seconds(child: &ChildSnapshot) -> f64 {
    child.handler.map_or(0.0, |it| seconds(it.running_ms))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "fewer than 2^53 milliseconds pass"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (metric, samples) in &self.0 {
            if samples.is_empty() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            // The registry ends each of its sentences; these are to look the same.
            let help = format!("{}.", metric.help);
            let mut written = encoder.encode_descriptor(metric.base(), &help, None, kind)?;
            for (labels, value) in samples {
                if labels.is_empty() {
                    write(metric.kind, value, &mut written)?;
                } else {
                    write(metric.kind, value, &mut written.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn write(kind: Kind, value: &Value, to: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
    let none: Option<&Exemplar<Labels, f64>> = None;
    match (kind, value) {
        (_, Value::Spread(sum, count, buckets)) => {
            to.encode_histogram::<Labels>(*sum, *count, buckets, None)
        }
        (Kind::Counter, Value::Whole(value)) => to.encode_counter(value, none),
        (Kind::Counter, Value::Real(value)) => to.encode_counter(value, none),
        (_, Value::Real(value)) => to.encode_gauge(value),
        (_, Value::Whole(value)) => to.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX)),
    }
}
