//! Every actor is killed, again and again, under load.

use std::time::Duration;

use twzrd_supervision::Child;
use twzrd_testkit::postgres::Postgres;

use crate::world::{PATIENCE, Plan, World};

/// Those of whom it is held that each round has killed them.
const EVERY_ROUND: [&str; 4] = [
    "journal",
    "suppression_filter",
    "participation_batcher",
    "epoch_sealer",
];

/// Limits that such a storm of kills does not reach.
pub(crate) const NO_ESCALATION: &str = r"
    [supervisors.settlement]
    intensity = 100000
    [supervisors.root]
    intensity = 1000
    [supervisors.ingest]
    intensity = 100000
    [supervisors.collectors]
    intensity = 100000
    [children.collector]
    cool_down_restarts = 100000
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_every_actor_behind_the_sockets_changes_neither_roots_nor_ledger() {
    kill_behind_the_sockets(None, Some(8)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_every_actor_behind_the_sockets_changes_nothing_on_postgres_either() {
    let postgres = Postgres::start().unwrap();
    kill_behind_the_sockets(Some(postgres.url()), None).await;
}

async fn kill_behind_the_sockets(database_url: Option<String>, grace_seconds: Option<u32>) {
    let plan = Plan {
        more: NO_ESCALATION,
        database_url,
        grace_seconds,
        ..Plan::default()
    };
    let world = World::start(plan).await;
    world.all_heard().await;
    world.simulator.set_rate(1_000);
    let refs = &world.live.running.refs;
    for round in 0..8 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        for name in EVERY_ROUND {
            let runs = refs.child(name).unwrap().lives_again(0);
            assert!(
                tokio::time::timeout(PATIENCE, runs).await.unwrap(),
                "{name}"
            );
        }
        for child in refs.children() {
            if child.id() != "channel_roster" {
                child.kill();
            }
        }
        for room in world.live.board.rooms().iter().skip(round % 2).step_by(2) {
            room.collector().kill();
        }
    }
    world.settle().await;
    world.equals_a_replay_of_the_log().await;
    let snapshot = world.live.running.tree.which_children();
    for name in EVERY_ROUND {
        let child = snapshot.find(&format!("root/settlement/{name}")).unwrap();
        assert!(child.restarts >= 8, "{name}: {}", child.restarts);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_connections_and_the_roster_loses_nothing_that_was_read() {
    let plan = Plan {
        uncertain: true,
        grace_seconds: None,
        more: NO_ESCALATION,
        ..Plan::default()
    };
    let world = World::start(plan).await;
    world.all_heard().await;
    world.simulator.set_rate(1_000);
    for round in 0..5 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        world.live.running.refs.roster.kill();
        let links = world.live.board.links();
        links[round % links.len()].child().kill();
    }
    world.all_heard().await;
    world.settle().await;
    world.equals_a_replay_of_the_log().await;
    world.no_limit_was_broken();
    world.stop().await;
}
