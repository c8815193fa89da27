//! The figures of settlement.

use twzrd_actors::weather::Waiting;
use twzrd_chain::rpc::{BUCKET_BOUNDS, NodeStatus, Observed};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::settlement::Target;

use super::super::app::App;
use super::super::view::SettlementFacts;
use super::collect::{Figures, Value};
use super::meters::Labels;
use super::table::{self, Metric};

/// The label of all channels that have none of their own.
const OTHER: &str = "other";
/// Lamports of a SOL.
const LAMPORTS: f64 = 1e9;

impl Figures {
    /// What is published and followed on chain.
    pub(super) fn chain(&mut self, app: &App) {
        self.roots(app);
        let facts = (app.view.settlement.facts)();
        let now = app.view.clock.now();
        // Where the target was taken away, what is in flight for it waits.
        self.waits(table::PUBLISHER_WAITS, &facts.publisher.waits_for, now);
        self.waits(table::LISTENER_WAITS, &facts.listener.waits_for, now);
        if facts.target == Target::None {
            return;
        }
        self.publisher(&facts);
        let listener = facts.listener;
        self.one(table::LISTENER_EVENTS, listener.transactions);
        self.one(table::LISTENER_CLAIMS, listener.claims);
        self.one(table::LISTENER_PUBLICATIONS, listener.publications);
        // Before the first of each it is not known.
        let looked = listener.looked.map(|at| at / 1000);
        self.some(table::LISTENER_LOOKED, looked);
        self.some(table::LISTENER_KNOWN, listener.known_from);
        self.some(
            table::LISTENER_SLOT,
            Some(listener.slot).filter(|slot| *slot > 0),
        );
        self.one(table::LISTENER_HINTS, listener.hints);
        self.one(table::LISTENER_LOST, listener.subscriptions_lost);
        self.nodes(&facts.nodes);
        self.put(table::RPC_SECONDS, facts.calls.iter().map(calls).collect());
    }

    fn roots(&mut self, app: &App) {
        // What was never read is left out: a zero would say that there is none.
        let Some(tallies) = app.known.tallies.get(&()) else {
            return;
        };
        let tallies = tallies.value;
        let of = |tally: &twzrd_domain::chain::Tally| {
            let labels = vec![
                ("state", tally.state.clone()),
                ("reason", tally.why.clone()),
            ];
            (labels, Value::Whole(tally.roots))
        };
        self.put(table::ROOTS, tallies.iter().map(of).collect());
        let is_end = |state: &str| matches!(state, "settled" | "superseded" | "failed");
        let open = tallies.iter().filter(|tally| !is_end(&tally.state));
        self.one(
            table::ROOTS_UNPUBLISHED,
            open.map(|tally| tally.roots).sum(),
        );
    }

    fn publisher(&mut self, facts: &SettlementFacts) {
        let counts = &facts.publisher;
        self.one(table::PUBLISHER_TICKS, counts.ticks);
        let settled = counts.settled.iter().map(|(channel, roots)| {
            let name = Some(channel.as_str()).filter(|name| !name.is_empty());
            labelled("channel", name.unwrap_or(OTHER), *roots)
        });
        self.put(table::PUBLISHED, settled.collect());
        let skipped = counts.skipped.iter();
        let skipped = skipped.map(|(why, roots)| labelled("reason", why.code(), *roots));
        self.put(table::PUBLISH_SKIPPED, skipped.collect());
        let failed = counts.failed.iter();
        let failed = failed.map(|(code, roots)| labelled("error_code", code, *roots));
        self.put(table::PUBLISH_FAILED, failed.collect());
        self.one(table::PUBLISH_SIGNED, counts.transactions);
        let sends = [("taken", counts.sent), ("failed", counts.send_failed)];
        let sends = sends.map(|(taken, times)| labelled("result", taken, times));
        self.put(table::PUBLISH_SENT, sends.into());
        self.one(table::PUBLISH_CONTRADICTIONS, counts.contradictions);
        if let Some(lamports) = facts.signer_lamports {
            #[allow(clippy::cast_precision_loss, reason = "a gauge for eyes")]
            let sol = lamports as f64 / LAMPORTS;
            self.put(table::WALLET, vec![(Labels::new(), Value::Real(sol))]);
        }
    }

    fn waits(&mut self, metric: Metric, waiting: &Option<Waiting>, now: UnixMs) {
        let waited = waiting
            .as_ref()
            .map_or(0, |it| now.saturating_sub(it.since));
        let seconds = std::time::Duration::from_millis(waited).as_secs_f64();
        self.put(metric, vec![(Labels::new(), Value::Real(seconds))]);
    }

    fn nodes(&mut self, nodes: &[NodeStatus]) {
        let mut put = |metric: Metric, of: fn(&NodeStatus) -> Option<u64>| {
            let samples = nodes.iter().filter_map(|node| {
                let value = of(node)?;
                Some(labelled("node", &node.name, value))
            });
            self.put(metric, samples.collect());
        };
        put(table::RPC_NODE_UP, |node| Some(u64::from(node.is_healthy)));
        put(table::RPC_NODE_LAG, |node| node.lag);
        put(table::RPC_NODE_ERRORS, |node| Some(node.errors));
    }
}

fn labelled(label: &'static str, name: &str, value: u64) -> (Labels, Value) {
    (vec![(label, name.to_owned())], Value::Whole(value))
}

fn calls(observed: &Observed) -> (Labels, Value) {
    let labels = vec![
        ("method", observed.method.to_owned()),
        ("status", observed.status.as_str().to_owned()),
    ];
    let bounds = BUCKET_BOUNDS.into_iter().chain([f64::MAX]);
    let buckets = bounds.zip(observed.buckets).collect();
    let sum = observed.total.as_secs_f64();
    (labels, Value::Spread(sum, observed.count, buckets))
}
