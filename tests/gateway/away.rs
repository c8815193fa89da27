//! Everything answers while the store is away, from what was read last, and says how old it is.

use serde_json::{Value, json};
use twzrd_testkit::fake::Fault;

use crate::world::{HOUR, NOW, World, limits, serve};

fn without_age(mut body: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    fields.remove("stale");
    body
}

#[tokio::test]
async fn what_was_read_last_is_told_with_its_age() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let proof = format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user=bob");
    let paths = [
        "/api/v1/ledger".to_owned(),
        "/api/v1/epochs?limit=1".to_owned(),
        format!("/api/v1/epochs/{HOUR}/channels/tea"),
    ];
    let mut before = Vec::new();
    for path in &paths {
        before.push(served.get(path).await.json());
    }
    let proven = served.get(&proof).await;
    world.set_store_away(true);
    served.wait_database("away").await;
    world.clock.advance(42_000);
    for (path, before) in paths.iter().zip(before) {
        let got = served.get(path).await;
        assert_eq!((got.status, got.header("age")), (200, "42"), "{path}");
        let body = got.json();
        assert_eq!(
            (&body["stale"], &body["as_of"]),
            (&json!(true), &json!(NOW))
        );
        assert_eq!(without_age(body), without_age(before), "{path}");
    }
    let again = served.get(&proof).await;
    assert_eq!((again.status, again.header("age")), (200, "42"));
    assert_eq!(again.text, proven.text);
    // Whoever was not asked for yet is in the same channel.
    let other = served.get(&proof.replace("bob", "carol")).await;
    assert_eq!((other.status, other.header("age")), (200, "42"));
    let absent = served.get(&proof.replace("bob", "dave")).await;
    assert_eq!(absent.problem(), (404, "not_participant".to_owned()));
}

#[tokio::test]
async fn what_was_never_read_is_not_made_up() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    // It is not sealed, which may change while the store is away.
    let absent = format!("/api/v1/epochs/{HOUR}/channels/coffee");
    assert_eq!(served.get(&absent).await.status, 404);
    world.set_store_away(true);
    served.wait_database("away").await;
    let go = format!("epoch={HOUR}&channel=go&user=erin");
    for path in [
        "/api/v1/epochs?limit=7".to_owned(),
        format!("/api/v1/epochs/{HOUR}/channels/go"),
        format!("/api/v1/proofs?{go}"),
        absent,
    ] {
        let got = served.get(&path).await;
        assert_eq!(got.problem(), (503, "store_away".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn what_needs_no_store_answers_as_ever() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    world.set_store_away(true);
    served.wait_database("away").await;
    for path in [
        "/",
        "/health",
        "/actors",
        "/metrics",
        "/api/v1/channels",
        "/api/openapi.json",
    ] {
        assert_eq!(served.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_store_that_is_known_to_be_away_is_only_probed() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    world.set_store_away(true);
    served.wait_database("away").await;
    let asked = world.store.faults().calls("proof_material");
    for user in ["alice", "bob"] {
        let path = format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user={user}");
        assert_eq!(served.get(&path).await.status, 503);
    }
    assert_eq!(world.store.faults().calls("proof_material"), asked);
    world.set_store_away(false);
    served.wait_database("ok").await;
    let path = format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user=bob");
    assert_eq!(served.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_store_that_hangs_counts_as_away() {
    let world = World::new();
    let bounds = twzrd::gateway::Limits {
        store_time: std::time::Duration::from_millis(50),
        ..limits()
    };
    let served = serve(world.view(), bounds).await;
    assert_eq!(served.get("/api/v1/ledger").await.status, 200);
    world.store.faults().hold();
    served.wait_database("away").await;
    let health = served.get("/health").await.json();
    let reason = "the store gave no answer within 0.05 s";
    assert_eq!(health["database"]["reason"], reason);
    world.clock.advance(3000);
    let ledger = served.get("/api/v1/ledger").await;
    assert_eq!((ledger.status, ledger.header("age")), (200, "3"));
    world.set_store_away(false);
    served.wait_database("ok").await;
}

#[tokio::test]
async fn a_defect_of_the_store_is_told_without_its_details() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let hook = |operation: &str| (operation == "proof_material").then_some(Fault::Permanent);
    world.store.faults().hook(hook);
    let path = format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user=bob");
    let got = served.get(&path).await;
    assert_eq!(got.problem(), (500, "internal".to_owned()));
    assert!(!got.text.contains("test asked"), "{}", got.text);
}
