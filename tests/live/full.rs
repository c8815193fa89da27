//! The load that the service is built for: a thousand channels, 20,000 lines a second, a minute.
//!
//! Too much for everyday runs: `cargo test --release --test live -- --ignored --nocapture`.

use std::time::Duration;

use twzrd_simulator::{Cut, Garbage, Target};
use twzrd_supervision::Child;

use crate::kills::NO_ESCALATION;
use crate::world::{Plan, World};

const SECONDS: u64 = 60;

fn plan() -> Plan {
    Plan {
        channels: 1_000,
        users: 100_000,
        channels_per_connection: 84,
        epoch_seconds: 20,
        grace_seconds: Some(30),
        uncertain: true,
        more: NO_ESCALATION,
        ..Plan::default()
    }
}

async fn second(world: &World, second: u64) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    if second.is_multiple_of(10) {
        let counts = world.live.board.counters().read();
        let (feeds, _) = world.live.board.feeds().depth();
        let applied = world.ledger().await.received;
        println!(
            "after {second} s: {} lines read, {feeds} bytes in feeds, {applied} applied",
            counts.lines
        );
    }
}

async fn end(world: World) {
    world.all_heard().await;
    world.settle().await;
    let snapshot = world.simulator.snapshot();
    let counts = world.live.board.counters().read();
    let ledger = world.equals_a_replay_of_the_log().await;
    println!(
        "generated {}, delivered {}",
        snapshot.lines_generated, snapshot.lines_delivered
    );
    println!("{counts:?}\n{ledger:?}");
    world.no_limit_was_broken();
    assert!(
        snapshot.lines_generated > SECONDS * 15_000,
        "the load was there"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute of full load; see the module"]
async fn a_thousand_channels_at_twenty_thousand_lines_a_second_with_faults() {
    let world = World::start(plan()).await;
    world.all_heard().await;
    world.simulator.set_rate(20_000);
    for now in 1..=SECONDS {
        second(&world, now).await;
        let sockets = world.simulator.snapshot().sockets;
        let one = Target::Socket(sockets[usize::try_from(now).unwrap() % sockets.len()].number);
        match now % 12 {
            2 => world.simulator.cut(one, Cut::Orderly),
            5 => world.simulator.reconnect(one, Duration::from_secs(5)),
            7 => world.simulator.cut(one, Cut::MidLine),
            8 => world.simulator.duplicate(500),
            9 => Garbage::ALL
                .map(|one| world.simulator.garbage(Target::All, one))
                .iter()
                .sum(),
            _ => 0,
        };
    }
    end(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute of full load; see the module"]
async fn every_actor_is_killed_once_a_second_under_full_load() {
    let world = World::start(plan()).await;
    world.all_heard().await;
    world.simulator.set_rate(20_000);
    for now in 1..=SECONDS {
        second(&world, now).await;
        let refs = &world.live.running.refs;
        for child in refs.children() {
            child.kill();
        }
        // A connection takes its socket with it, and so lines that nobody has read.
        let links = world.live.board.links();
        links[usize::try_from(now).unwrap() % links.len()]
            .child()
            .kill();
        for room in world.live.board.rooms() {
            room.collector().kill();
        }
    }
    end(world).await;
}
