//! The network is away, and everything else goes on.

use std::time::Duration;

use twzrd_simulator::{Cut, Refusal};

use crate::world::{Plan, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_network_leaves_sealing_proofs_and_health_working() {
    let world = World::start(Plan {
        uncertain: true,
        ..Plan::default()
    })
    .await;
    world.all_heard().await;
    world.simulator.set_rate(1_000);
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.settle().await;
    world
        .simulator
        .begin_outage(Refusal::NotListening, Cut::Reset)
        .await
        .unwrap();
    // Two epochs long: what was open before is sealed while nobody is there.
    let sealed = world.sealed().await;
    assert!(!sealed.is_empty());
    until("health tells of the outage", || async {
        let (status, health) = world.get("/health").await;
        status == 200 && health["status"] == "degraded"
    })
    .await;
    let (status, ready) = world.get("/ready").await;
    assert_eq!(status, 503);
    assert!(ready.to_string().contains("twitch_down"), "{ready}");
    let one = sealed.iter().max_by_key(|one| one.participants).unwrap();
    let path = format!("/api/v1/epochs/{}/channels/{}", one.epoch.0, one.channel);
    let (status, shown) = world.get(&path).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["count"], one.participants);
    let snapshot = world.live.running.tree.which_children();
    let crashed: Vec<_> = snapshot
        .all()
        .into_iter()
        .filter(|child| child.restarts > 0)
        .collect();
    assert!(crashed.is_empty(), "weather is no crash: {crashed:?}");
    world.simulator.end_outage().await.unwrap();
    world.all_heard().await;
    world.simulator.set_rate(1_000);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.settle().await;
    world.equals_a_replay_of_the_log().await;
    until("health is well again", || async {
        world.get("/health").await.1["status"] == "ok"
    })
    .await;
    assert_eq!(world.get("/ready").await.0, 200);
    world.stop().await;
}
