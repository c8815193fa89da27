//! How health and readiness follow the parts of the process.

use serde_json::{Value, json};
use twzrd_actors::status::{ChannelState, ConnectionState};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::ledger::Counts;
use twzrd_supervision::ChildState;

use crate::world::{NOW, World, connected, heard, limits, name, serve};

fn part(status: &str, reason: Option<&str>, since: u64, checked_at: u64) -> Value {
    json!({"status": status, "reason": reason, "since": since, "checked_at": checked_at})
}

fn codes(ready: &Value) -> Vec<&str> {
    let reasons = ready["reasons"].as_array().unwrap().iter();
    reasons
        .map(|reason| reason["code"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_process_that_is_well_says_so() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let expected = json!({
        "status": "ok", "version": "1.2.3", "started_at": NOW,
        "database": part("ok", None, NOW, NOW),
        "journal": part("ok", None, NOW, NOW),
        "twitch": part("ok", None, NOW, NOW),
        "program": part("ok", None, NOW, NOW)
    });
    let got = served.get("/health").await;
    assert_eq!((got.status, got.json()), (200, expected));
    let got = served.get("/ready").await;
    assert_eq!((got.status, got.json()), (200, json!({"ready": true})));
}

#[tokio::test]
async fn a_store_that_is_away_degrades_and_the_time_since_when_stays() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    world.clock.set(NOW + 5000);
    world.set_store_away(true);
    served.wait_database("away").await;
    world.clock.set(NOW + 9000);
    let checked = |got: &crate::world::Got| got.json()["database"]["checked_at"] == NOW + 9000;
    let health = served.get_until("/health", checked).await;
    let (status, health) = (health.status, health.json());
    let reason = "the store is away while offset: the test asked for a failure (Transient)";
    assert_eq!((status, &health["status"]), (200, &json!("degraded")));
    // A slow question may have told of it in place of the probe.
    assert_eq!(health["database"]["since"], NOW + 5000);
    assert_eq!(health["database"]["reason"], reason);
    let got = served.get("/ready").await;
    assert_eq!(got.problem(), (503, "not_ready".to_owned()));
    let ready = got.json();
    assert_eq!(
        (&ready["ready"], codes(&ready)),
        (&json!(false), vec!["database_away"])
    );
    let text = format!("since {}: {reason}", NOW + 5000);
    assert_eq!(ready["reasons"][0]["detail"], text);
    world.set_store_away(false);
    served.wait_database("ok").await;
    let since = served.get("/health").await.json()["database"]["since"].clone();
    assert_eq!(since, NOW + 9000);
    assert_eq!(served.get("/ready").await.status, 200);
}

#[tokio::test]
async fn a_journal_that_fails_takes_the_whole_down() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let reason = "No space left on device".to_owned();
    world.journal.lock().unwrap().state = twzrd_journal::State::Failed {
        reason,
        attempts: 3,
    };
    let health = served.get("/health").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &json!("down"))
    );
    let reason = "No space left on device (3 attempts in a row)";
    assert_eq!(health.json()["journal"]["reason"], reason);
    assert_eq!(
        codes(&served.get("/ready").await.json()),
        ["journal_failed"]
    );
}

#[tokio::test]
async fn twitch_is_judged_by_the_channels_that_could_be_heard() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let set = |heard_n: usize, joining: usize, refused: usize, waiting: bool| {
        let mut ingest = world.ingest.lock().unwrap();
        let states = [
            (ChannelState::Heard, heard_n),
            (ChannelState::Joining, joining),
            (ChannelState::Refused, refused),
        ];
        ingest.channels.clear();
        for (state, n) in states {
            for number in 0..n {
                let mut channel = heard(&format!("{}{number}", state.as_str()));
                channel.state = state;
                ingest.channels.push(channel);
            }
        }
        ingest.connections = vec![connected(1), connected(2)];
        if waiting {
            ingest.connections[1].state = ConnectionState::Waiting;
            ingest.connections[1].reason = Some("refused by the network".into());
        }
    };
    for (heard, joining, refused, waiting, status, reason) in [
        (0, 0, 0, true, "ok", None),
        (9, 1, 0, false, "ok", None),
        (9, 1, 50, false, "ok", None),
        (
            8,
            2,
            0,
            false,
            "degraded",
            Some("8 of 10 channels are heard, 0 are refused; 0 of 2 connections are down"),
        ),
        (
            9,
            0,
            0,
            true,
            "degraded",
            Some(
                "9 of 9 channels are heard, 0 are refused; 1 of 2 connections are down; refused by the network",
            ),
        ),
        (
            0,
            1,
            1,
            false,
            "down",
            Some("0 of 1 channels are heard, 1 are refused; 0 of 2 connections are down"),
        ),
        (
            0,
            0,
            2,
            false,
            "down",
            Some("0 of 0 channels are heard, 2 are refused; 0 of 2 connections are down"),
        ),
    ] {
        set(heard, joining, refused, waiting);
        let health = served.get("/health").await.json();
        let twitch = &health["twitch"];
        assert_eq!(
            (&twitch["status"], &twitch["reason"]),
            (&json!(status), &json!(reason))
        );
        let whole = if status == "ok" { "ok" } else { "degraded" };
        assert_eq!(health["status"], whole, "{status}");
        let ready = served.get("/ready").await;
        let expected: &[&str] = if status == "down" {
            &["twitch_down"]
        } else {
            &[]
        };
        match ready.status {
            200 => assert!(expected.is_empty()),
            _ => assert_eq!(codes(&ready.json()), expected),
        }
    }
}

#[tokio::test]
async fn every_reason_not_to_be_ready_is_told() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    world.journal.lock().unwrap().durable = 2000;
    world.tree.lock().unwrap().root.children[0].children[2].state = ChildState::CoolingDown;
    world.ingest.lock().unwrap().connections[0].blocked_by = Some(name("tea"));
    let got = served.get("/ready").await;
    let reasons = json!([
        {"code": "stage_behind", "detail": "the store is 1910 records behind the journal; expected at most 1000"},
        {"code": "feeds_blocked", "detail": "full feeds keep 1 connections from being read on; the first is connection 1, by tea"},
        {"code": "actor_not_running", "detail": "the actor is cooling_down", "path": "root/settlement/participation_batcher"}
    ]);
    assert_eq!((got.status, &got.json()["reasons"]), (503, &reasons));
}

#[tokio::test]
async fn two_channels_that_cancel_out_in_the_sum_are_a_reason_all_the_same() {
    let mut state = World::new().store.state();
    let (hour, counts) = (Epoch(crate::world::HOUR), Counts::default());
    for (channel, received) in [("zebra", 3), ("go", 3)] {
        let counts = Counts { received, ..counts };
        state.ledger.insert((hour, name(channel)), counts);
    }
    state.ledger.get_mut(&(hour, name("tea"))).unwrap().received -= 6;
    let world = World::with(state);
    let served = serve(world.view(), limits()).await;
    let ledger = served.get("/api/v1/ledger").await.json();
    assert_eq!(ledger["ledger"]["received"], 36);
    let first = json!({"epoch": hour.0, "channel": "go"});
    assert_eq!(
        (&ledger["conservation_drift"], &ledger["drifting"]),
        (&json!(12), &json!(3))
    );
    assert_eq!(ledger["first_drifting"], first);
    let got = served.get("/ready").await;
    let reasons = json!([{
        "code": "conservation_drift",
        "detail": "12 lines have no outcome or one too many, in 3 channels and epochs; the first is go in epoch 1760000400"
    }]);
    assert_eq!((got.status, &got.json()["reasons"]), (503, &reasons));
    let metrics = served.get("/metrics").await.text;
    assert!(
        metrics.contains("\ntwzrd_conservation_drift 12\n"),
        "{metrics}"
    );
}
