//! Trouble of one root, one transaction or one moment, which must hold up nothing else, on a chain
//! and a store in memory, in paused time.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain_world;

use std::time::Duration;

use chain_world::{BEGIN, World, channel};
use twzrd_actors::weather::Waiting;
use twzrd_domain::chain::{Change, SettlementStore};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::{Reason, Target, Why};
use twzrd_testkit::fake::Sending;

const MINUTE: Duration = Duration::from_secs(60);
/// In milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

fn said(why: Why) -> Reason {
    Reason::new(why, "so the test says")
}

async fn is_settled(world: &World, epoch: u64, number: usize) -> bool {
    let row = world.row(Epoch(epoch), &channel(number)).await;
    row.publication.is_published()
}

#[tokio::test(start_paused = true)]
async fn roots_that_the_key_cannot_pay_for_keep_none_waiting_that_it_can() {
    // By name the last of them, behind two transactions full of others.
    let rich = channel(9);
    let world = World::new(17, 1).await;
    for (_, poor) in world.places() {
        if poor != rich {
            world.chain.refuse(&poor, Some(said(Why::NoFunds)));
        }
    }
    world.run_for(2 * MINUTE).await;
    for (epoch, of) in world.places() {
        let publication = world.row(epoch, &of).await.publication;
        if of == rich {
            assert!(publication.is_published(), "{publication:?}");
        } else {
            let reason = said(Why::NoFunds);
            assert_eq!(publication, Publication::Held { reason }, "{of}");
            world.chain.refuse(&of, None);
        }
    }
    world.run_until_settled().await;
    world.assert_settled_once("once there is money").await;
}

#[tokio::test(start_paused = true)]
async fn channels_in_trouble_take_no_place_of_another_and_each_is_looked_at_again() {
    let mut world = World::new(4, 3).await;
    world.publishing.per_tick = 1;
    for number in 0..3 {
        let blocked = Some(said(Why::ChannelMissing));
        world.chain.block(&channel(number), blocked);
    }
    world.run_for(10 * MINUTE).await;
    for epoch in [3600, 7200, 10_800] {
        assert!(is_settled(&world, epoch, 3).await, "{epoch}");
    }
    assert_eq!(world.chain.published().len(), 3);
    world.chain.block(&channel(2), None);
    world.run_for(10 * MINUTE).await;
    for epoch in [3600, 7200, 10_800] {
        assert!(is_settled(&world, epoch, 2).await, "{epoch}");
    }
    world.chain.block(&channel(0), None);
    world.chain.block(&channel(1), None);
    world.run_until_settled().await;
    world.assert_settled_once("without trouble").await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_cannot_be_looked_at_keeps_its_channels_waiting_and_no_other() {
    let mut world = World::new(3, 2).await;
    world.publishing.per_tick = 1;
    world.chain.hide(&channel(0), true);
    world.run_for(10 * MINUTE).await;
    for epoch in [3600, 7200] {
        assert!(!is_settled(&world, epoch, 0).await);
        assert!(is_settled(&world, epoch, 1).await && is_settled(&world, epoch, 2).await);
    }
    let waits_for = world.waits_for().unwrap();
    assert!(
        waits_for.contains("the test hides signature-0"),
        "{waits_for}"
    );
    world.chain.hide(&channel(0), false);
    world.run_until_settled().await;
    world.assert_settled_once("once it is seen").await;
    assert_eq!(world.waits_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_read_back_that_does_not_show_the_root_settles_nothing() {
    let world = World::new(1, 1).await;
    world.chain.forget(&channel(0), true);
    world.run_for(5 * MINUTE).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert!(
        matches!(row.publication, Publication::Finalized { .. }),
        "{row:?}"
    );
    assert!(world.counters.counts().contradictions > 0);
    let waits_for = world.waits_for().unwrap();
    assert!(waits_for.contains("cannot be read back"), "{waits_for}");
    world.chain.forget(&channel(0), false);
    world.run_until_settled().await;
    world.assert_settled_once("once it shows").await;
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_never_read_back_fails_with_its_reason_and_its_channel_goes_on() {
    let world = World::new(2, 2).await;
    world.chain.forget(&channel(0), true);
    world.run_for(12 * MINUTE).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    let Publication::Failed { reason } = &row.publication else {
        panic!("{row:?}");
    };
    assert_eq!(reason.why, Why::NotReadBack);
    assert!(reason.text.contains("is finalized in slot"), "{reason}");
    assert_eq!(row.log.len(), 1);
    assert_eq!(row.log[0].status, "failed");
    assert!(is_settled(&world, 3600, 1).await && is_settled(&world, 7200, 1).await);
    let failed = world.counters.counts().failed;
    assert_eq!(failed.get("not_read_back"), Some(&1));
    world.chain.forget(&channel(0), false);
    world.run_for(2 * MINUTE).await;
    assert!(
        is_settled(&world, 7200, 0).await,
        "the next one of its channel"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_for_another_target_waits_for_that_target_and_says_so() {
    let world = World::new(2, 1).await;
    world.chain.forget(&channel(0), true);
    world.run_for(MINUTE).await;
    world.chain.forget(&channel(0), false);
    world.chain.become_target(Target::Memo);
    world.run_for(60 * MINUTE).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert!(
        matches!(row.publication, Publication::Finalized { .. }),
        "{row:?}"
    );
    assert_eq!(world.chain.signed(row.id), 1);
    let waits_for = world.waits_for().unwrap();
    assert!(
        waits_for.contains("for target program, and chain.target is memo"),
        "{waits_for}"
    );
    world.chain.become_target(Target::Program);
    world.run_until_settled().await;
    world.assert_settled_once("for its own target").await;
}

#[tokio::test(start_paused = true)]
async fn without_a_chain_what_is_in_flight_stays_as_it_is_and_is_shown() {
    let mut world = World::new(1, 1).await;
    world.chain.next_sendings([Sending::IsLost; 200]);
    world.run_for(MINUTE).await;
    world.has_chain = false;
    world.run_for(60 * MINUTE).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert!(
        matches!(row.publication, Publication::Signed { .. }),
        "{row:?}"
    );
    let waits_for = world.waits_for().unwrap();
    assert!(waits_for.contains("1 roots are in 1 transactions in flight"));
    world.has_chain = true;
    world.chain.next_sendings([]);
    world.run_until_settled().await;
    assert_eq!(world.waits_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_and_back_stops_nothing() {
    let world = World::new(2, 1).await;
    let held = world.row(Epoch(3600), &channel(1)).await;
    let hold = Change {
        root: held.id,
        was: Publication::Planned,
        step: Step::Hold(said(Why::NoFunds)),
        slot: None,
        look_again: BEGIN + DAY.unsigned_abs(),
    };
    world.store.advance(&[hold], BEGIN).await.unwrap();
    world.chain.block(&channel(0), Some(said(Why::Paused)));
    let running = world.run_for(5 * MINUTE);
    let jumping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.clock.jump(DAY);
        tokio::time::sleep(MINUTE).await;
        world.clock.jump(-DAY);
        world.chain.block(&channel(0), None);
    };
    tokio::join!(running, jumping);
    world.assert_settled_once("within minutes").await;
}

#[tokio::test(start_paused = true)]
async fn where_everything_expires_less_and_less_is_signed_until_something_lands() {
    let world = World::new(1, 1).await;
    world.chain.next_sendings([Sending::IsLost; 100_000]);
    world.run_for(120 * MINUTE).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    let signed = world.chain.signed(row.id);
    assert!((3..20).contains(&signed), "{signed} in two hours");
    let waits_for = world.waits_for().unwrap_or_default();
    let waits = waits_for.contains("times in a row");
    let flies = matches!(row.publication, Publication::Signed { .. });
    assert!(waits || flies, "{waits_for} {row:?}");
}

#[tokio::test(start_paused = true)]
async fn roots_are_not_asked_for_while_transactions_are_only_waited_for() {
    let mut world = World::new(2, 2).await;
    world.publishing.interval = 60 * MINUTE;
    world.chain.next_sendings([Sending::IsLost; 20]);
    world.run_for(MINUTE / 2).await;
    let asked = world.store.faults().calls("due");
    assert!((1..4).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_is_away_is_what_the_publisher_waits_for() {
    let world = World::new(1, 1).await;
    world.chain.fail_next(u32::MAX);
    world.run_for(MINUTE).await;
    let expected = Waiting {
        since: BEGIN,
        reason: "chain: the chain is away while looking: the test says so".to_owned(),
    };
    assert_eq!(world.counters.counts().waits_for, Some(expected));
    world.chain.fail_next(0);
    world.run_until_settled().await;
    assert_eq!(world.waits_for(), None);
}

#[tokio::test(start_paused = true)]
async fn roots_whose_trees_were_just_built_wait_for_no_tick() {
    let mut world = World::new(2, 1).await;
    world.publishing.interval = 60 * MINUTE;
    world.forget_trees();
    world.run_for(MINUTE).await;
    assert_eq!(world.chain.published(), []);
    world.builds_trees = true;
    world.run_for(5 * MINUTE).await;
    world.assert_settled_once("within minutes").await;
}
