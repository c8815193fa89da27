//! Load with cuts, reconnects and garbage.

use std::time::Duration;

use twzrd_simulator::{Cut, Garbage, Target};

use crate::world::{Plan, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_delivered_line_is_in_the_ledger_and_the_roots_are_those_of_a_replay() {
    let world = World::start(Plan::default()).await;
    world.all_heard().await;
    world.simulator.set_rate(1_500);
    tokio::time::sleep(Duration::from_secs(9)).await;
    world.settle().await;
    let ledger = world.equals_a_replay_of_the_log().await;
    assert!(ledger.counted > 5_000, "{ledger:?}");
    assert!(ledger.suppressed > 0 && ledger.mirrored > 0, "{ledger:?}");
    world.no_limit_was_broken();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_reconnects_garbage_and_duplicates_change_no_root() {
    let plan = Plan {
        uncertain: true,
        grace_seconds: None,
        ..Plan::default()
    };
    let world = World::start(plan).await;
    world.all_heard().await;
    world.simulator.set_rate(1_000);
    let pause = || tokio::time::sleep(Duration::from_millis(700));
    for garbage in Garbage::ALL {
        world.simulator.garbage(Target::All, garbage);
        world.simulator.duplicate(20);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (socket, cut) in [(1, Cut::Orderly), (2, Cut::MidLine), (3, Cut::Reset)] {
        world.simulator.cut(Target::Socket(socket), cut);
        pause().await;
    }
    let counters = world.live.board.counters();
    until("each cut is noticed", || async {
        counters.read().losses >= 3
    })
    .await;
    world.all_heard().await;
    assert_eq!(counters.read().losses, 3);
    world
        .simulator
        .reconnect(Target::All, Duration::from_secs(20));
    let all_moved = || async { counters.read().reconnects >= 4 };
    until("every connection is replaced", all_moved).await;
    world.all_heard().await;
    pause().await;
    world.settle().await;
    let ledger = world.equals_a_replay_of_the_log().await;
    assert!(ledger.duplicate > 20, "{ledger:?}");
    assert!(ledger.invalid > 4, "{ledger:?}");
    let counts = counters.read();
    assert_eq!(counts.reconnects, 4, "one for each connection");
    assert!(counts.broken >= 1, "the half line is counted: {counts:?}");
    world.no_limit_was_broken();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_keep_to_the_budget_of_the_network() {
    let plan = Plan {
        joins: 20,
        channels: 50,
        ..Plan::default()
    };
    let world = World::start(plan).await;
    world.all_heard().await;
    assert_eq!(world.simulator.snapshot().joins, 50);
    world.no_limit_was_broken();
    world.stop().await;
}
