//! The metrics are those of the table, and say what is so.

use std::collections::BTreeMap;
use std::sync::Arc;

use twzrd::gateway::{METRICS, MetricKind};
use twzrd_actors::weather::Waiting;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::Channel;
use twzrd_supervision::{ChildSnapshot, ChildState, Feed, Handler, RunningHandler};

use crate::world::{
    NOW, Served, TOKEN, World, child, limits, name, publishing, seal, serve, supervisor,
};

/// Samples, by name with labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

async fn scrape_with(served: &Served, wanted: &str) -> String {
    let there = |got: &crate::world::Got| got.text.contains(wanted);
    served.get_until("/metrics", there).await.text
}

fn collector(n: u64, state: ChildState) -> ChildSnapshot {
    ChildSnapshot {
        restarts: n,
        handled: 10 * n,
        mailbox_depth: 1,
        feed: Some(Feed { depth: n, bound: 8 }),
        handler: Some(RunningHandler {
            handler: Handler::Message,
            running_ms: 500 * n,
        }),
        ..child(&format!("root/ingest/collectors/{n}"), state)
    }
}

#[tokio::test]
async fn the_output_has_every_metric_of_the_table_and_no_other() {
    let world = World::new();
    let collectors = supervisor(
        "root/ingest/collectors",
        vec![collector(1, ChildState::Running)],
    );
    world.tree.lock().unwrap().root.children.push(collectors);
    let served = serve(world.view_with_admin(), limits()).await;
    let refused = served
        .client
        .post(served.url("/admin/reload"))
        .bearer_auth(&TOKEN[1..]);
    assert_eq!(refused.send().await.unwrap().status(), 401);
    let text = scrape_with(&served, "epoch_sealed_total{").await;
    let mut written: Vec<(&str, &str, &str)> = Vec::new();
    let described = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    for help in described {
        let (name, help) = help.split_once(' ').unwrap();
        let kind = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        written.push((name, kind.unwrap(), help));
    }
    written.sort_unstable();
    let mut table: Vec<(String, &str, String)> = METRICS
        .iter()
        .map(|metric| {
            let (name, kind) = match metric.kind {
                MetricKind::Counter => (metric.name.strip_suffix("_total").unwrap(), "counter"),
                MetricKind::Gauge => (metric.name, "gauge"),
                MetricKind::Histogram => (metric.name, "histogram"),
            };
            (name.to_owned(), kind, format!("{}.", metric.help))
        })
        .collect();
    table.sort_unstable();
    let table: Vec<_> = table
        .iter()
        .map(|(a, b, c)| (a.as_str(), *b, c.as_str()))
        .collect();
    assert_eq!(written, table);
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_figures_are_those_of_the_process() {
    let world = World::new();
    world.ingest.lock().unwrap().counts.blocked_ms = 1500;
    let served = serve(world.view(), limits()).await;
    let text = scrape_with(&served, "epoch_sealed_total{").await;
    let samples = samples(&text);
    for (name, value) in [
        ("twzrd_build_info{version=\"1.2.3\"}", 1.0),
        ("publish_success_total{channel=\"tea\"}", 3.0),
        ("publish_success_total{channel=\"other\"}", 4.0),
        ("publish_skipped_total{reason=\"paused\"}", 2.0),
        ("publish_failed_total{error_code=\"expired\"}", 1.0),
        ("aggregator_wallet_sol", 1.5),
        ("twzrd_publisher_waiting_seconds", 0.0),
        ("twzrd_listener_waiting_seconds", 0.0),
        ("twzrd_listener_slot", 999.0),
        (
            "twzrd_listener_last_look",
            f64::from(u32::try_from(NOW / 1000 - 1).unwrap()),
        ),
        ("twzrd_listener_known_from_slot", 12.0),
        (
            "rpc_request_duration_seconds_bucket{le=\"1.0\",method=\"getBalance\",status=\"ok\"}",
            2.0,
        ),
        (
            "rpc_request_duration_seconds_sum{method=\"getBalance\",status=\"ok\"}",
            1.7,
        ),
        ("twzrd_actor_up{path=\"root/settlement/journal\"}", 1.0),
        ("twzrd_actors{state=\"running\"}", 5.0),
        ("twzrd_journal_up", 1.0),
        ("twzrd_journal_durable_seq", 100.0),
        ("twzrd_store_up", 1.0),
        ("twzrd_store_offset_seq", 90.0),
        ("twzrd_store_lag_records", 10.0),
        ("twzrd_lines_received_total", 36.0),
        ("twzrd_lines_total{outcome=\"counted\"}", 1.0),
        ("twzrd_lines_total{outcome=\"other\"}", 8.0),
        ("twzrd_conservation_drift", 0.0),
        ("twzrd_channels{state=\"heard\"}", 2.0),
        ("twzrd_connections{state=\"waiting\"}", 0.0),
        ("twzrd_intake_blocked_seconds_total", 1.5),
        (
            "epoch_sealed_total{channel=\"tea\",token_group=\"CLS\"}",
            1.0,
        ),
        ("epoch_participants_sum{channel=\"tea\"}", 3.0),
        ("epoch_participants_bucket{le=\"0.0\",channel=\"tea\"}", 0.0),
        ("tree_built_total{channel=\"go\"}", 1.0),
        (
            "tree_participants_bucket{le=\"2048.0\",channel=\"tea\"}",
            1.0,
        ),
        ("aggregator_backlog", 0.0),
        ("aggregator_last_epoch", 1_760_000_400.0),
        ("twzrd_http_connections", 1.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in\n{text}");
    }
    let requests = "twzrd_http_requests_total{route=\"/metrics\",method=\"GET\",status=\"200\"}";
    let text = scrape_with(&served, requests).await;
    assert!(text.contains("twzrd_http_request_seconds_count{route=\"/metrics\"}"));
}

#[tokio::test]
async fn actors_that_come_and_go_are_measured_together() {
    let world = World::new();
    let many = (1..=4).map(|n| {
        let state = if n == 4 {
            ChildState::Restarting
        } else {
            ChildState::Running
        };
        collector(n, state)
    });
    let collectors = supervisor("root/ingest/collectors", many.collect());
    world.tree.lock().unwrap().root.children.push(collectors);
    let served = serve(world.view(), limits()).await;
    let text = served.get("/metrics").await.text;
    let of = |text: &str, name: &str| {
        let name = format!("{name}{{path=\"root/ingest/collectors/*\"}}");
        samples(text).get(name.as_str()).copied()
    };
    for (name, value) in [
        ("twzrd_actor_up", 0.75),
        ("twzrd_actor_restarts_total", 10.0),
        ("twzrd_actor_mailbox_depth", 4.0),
        ("twzrd_actor_handled_total", 100.0),
        ("twzrd_actor_handler_seconds", 2.0),
        ("twzrd_actor_feed_depth", 10.0),
        ("twzrd_actor_feed_bound", 32.0),
    ] {
        assert_eq!(of(&text, name), Some(value), "{name}");
    }
    assert!(!text.contains("collectors/1"));
    // One goes, and what it had handled is not taken back.
    world.tree.lock().unwrap().root.children[1]
        .children
        .remove(3);
    let text = served.get("/metrics").await.text;
    assert_eq!(of(&text, "twzrd_actor_handled_total"), Some(100.0));
    assert_eq!(of(&text, "twzrd_actor_up"), Some(1.0));
}

#[tokio::test]
async fn no_client_and_no_channel_makes_series_without_end() {
    let mut state = World::new().store.state();
    for n in 0..150 {
        let channel: Channel = name(&format!("channel{n:03}"));
        seal(
            &mut state,
            Epoch(crate::world::HOUR),
            &channel,
            &["x", "y", "z", "w"],
        );
    }
    let world = World::with(state);
    let served = serve(world.view(), limits()).await;
    for method in ["BREW", "STIR"] {
        let request = served
            .client
            .request(method.parse().unwrap(), served.url("/health"));
        assert_eq!(request.send().await.unwrap().status(), 405);
    }
    for path in ["/a", "/b"] {
        assert_eq!(served.get(path).await.status, 404);
    }
    let text = scrape_with(&served, "epoch_sealed_total{").await;
    let samples = samples(&text);
    let begin = |prefix: &'static str| samples.keys().filter(move |key| key.starts_with(prefix));
    assert_eq!(begin("tree_built_total{").count(), 101);
    assert_eq!(samples["tree_built_total{channel=\"other\"}"], 52.0);
    let other = "twzrd_http_requests_total{route=\"/health\",method=\"other\",status=\"405\"}";
    assert_eq!(samples[other], 2.0, "{text}");
    let unmatched = "twzrd_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"}";
    assert_eq!(samples[unmatched], 2.0);
}

#[tokio::test]
async fn what_is_not_known_is_left_out() {
    let world = World::new();
    world.set_store_away(true);
    let served = serve(world.view(), limits()).await;
    let text = served.get("/metrics").await.text;
    let samples = samples(&text);
    assert_eq!(samples["twzrd_store_up"], 0.0);
    for absent in [
        "twzrd_store_lag_records",
        "twzrd_lines_received_total",
        "aggregator_last_epoch",
    ] {
        assert_eq!(samples.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn who_stands_still_says_for_how_long_and_a_slot_is_told_once_it_is_known() {
    let world = World::new();
    let mut view = world.view();
    view.settlement.facts = Arc::new(|| {
        let mut facts = publishing();
        facts.listener.slot = 0;
        facts.listener.waits_for = Some(Waiting {
            since: NOW - 1500,
            reason: "nothing before it is known".to_owned(),
        });
        facts
    });
    let served = serve(view, limits()).await;
    let text = served.get("/metrics").await.text;
    let samples = samples(&text);
    assert_eq!(samples["twzrd_listener_waiting_seconds"], 1.5);
    assert_eq!(samples["twzrd_publisher_waiting_seconds"], 0.0);
    assert!(!text.contains("twzrd_listener_slot"), "{text}");
    let health = served.get("/health").await.json();
    let expected = format!(
        "the chain listener has waited since {}: nothing before it is known",
        NOW - 1500
    );
    assert_eq!(health["program"]["status"], "degraded");
    assert_eq!(health["program"]["reason"], expected.as_str());
    // It goes on by itself, and what is heard is not touched by it.
    assert_eq!(served.get("/ready").await.status, 200);
}
