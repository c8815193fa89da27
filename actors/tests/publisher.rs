//! The publisher on a chain and a store in memory, in paused time.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chain_world;

use std::time::Duration;

use chain_world::{World, channel};
use twzrd_actors::step::Step;
use twzrd_domain::chain::{Order, SettlementStore};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{AnomalyGuard, Policy, Reason, Why};
use twzrd_testkit::fake::{Fault, Sending};

#[tokio::test(start_paused = true)]
async fn a_root_is_settled_once_and_its_log_row_tells_how() {
    let world = World::new(3, 2).await;
    world.run_until_settled().await;
    for (epoch, channel) in world.places() {
        let row = world.row(epoch, &channel).await;
        let Publication::Settled {
            signature: Some(signature),
        } = &row.publication
        else {
            panic!("{row:?}");
        };
        assert!(row.settled_at.is_some());
        assert_eq!(row.log.len(), 1, "{row:?}");
        assert_eq!(row.log[0].status, "confirmed");
        assert_eq!(row.log[0].signature.as_deref(), Some(signature.as_str()));
        assert!(row.log[0].slot.is_some() && row.log[0].error_message.is_none());
        assert_eq!(world.chain.signed(row.id), 1);
    }
    let published = world.chain.published();
    assert_eq!(published.len(), 6);
    let (first, second) = published.split_at(3);
    assert!(
        first.iter().all(|it| it.number == 3600),
        "the older epoch of each channel first"
    );
    assert!(second.iter().all(|it| it.number == 7200));
}

#[tokio::test(start_paused = true)]
async fn without_auto_publish_nothing_is_signed() {
    let mut world = World::new(2, 1).await;
    world.publishing.auto = false;
    world.run_for(Duration::from_secs(3600)).await;
    assert_eq!(world.chain.published(), []);
    for (epoch, channel) in world.places() {
        let row = world.row(epoch, &channel).await;
        assert_eq!((row.publication, row.log.len()), (Publication::Planned, 0));
        assert_eq!(world.chain.signed(row.id), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_settles_every_root_once() {
    for step in Step::CHAIN
        .into_iter()
        .filter(|step| step.name().starts_with("publisher."))
    {
        for nth in [1, 2, 3] {
            let mut world = World::new(3, 2).await;
            world.crash_at(step, nth);
            world.run_until_settled().await;
            assert!(world.crashes() > 0, "{step} was not reached {nth} times");
            world
                .assert_settled_once(&format!("{step}, the {nth}th time"))
                .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_are_sent_until_they_land_and_nothing_is_signed_anew_before_they_expire() {
    let world = World::new(1, 1).await;
    world.chain.next_sendings([
        Sending::IsLost,
        Sending::Fails,
        Sending::IsLost,
        Sending::FailsAndLands,
    ]);
    world.run_until_settled().await;
    world.assert_settled_once("sent four times").await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert_eq!(world.chain.signed(row.id), 1);

    let world = World::new(1, 1).await;
    world.chain.next_sendings([Sending::IsLost; 200]);
    world.run_until_settled().await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert!(world.chain.signed(row.id) >= 2, "{row:?}");
    assert!(row.publication.is_published());
    let (last, expired) = row.log.split_last().unwrap();
    assert_eq!(last.status, "confirmed");
    for tried in expired {
        assert_eq!(tried.status, "failed");
        assert!(
            tried
                .error_message
                .as_deref()
                .unwrap()
                .contains("block height"),
            "{tried:?}"
        );
    }
    assert_eq!(world.chain.published().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_shown_and_goes_on_by_itself_when_it_is_gone() {
    for why in [
        Why::Paused,
        Why::Unauthorized,
        Why::NoFunds,
        Why::ChannelMissing,
        Why::WrongLayout,
    ] {
        let world = World::new(1, 2).await;
        world
            .chain
            .block(&channel(0), Some(Reason::new(why, "so the test says")));
        world.run_for(Duration::from_secs(600)).await;
        let row = world.row(Epoch(3600), &channel(0)).await;
        assert_eq!(
            row.publication,
            Publication::Held {
                reason: Reason::new(why, "so the test says")
            }
        );
        let newer = world.row(Epoch(7200), &channel(0)).await;
        assert!(
            !newer.publication.is_published(),
            "{why}: it must not go before the older one"
        );
        assert_eq!(world.chain.published(), []);
        world.chain.block(&channel(0), None);
        world.run_until_settled().await;
        world.assert_settled_once(why.code()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_a_failure_with_its_reason_until_an_operator_asks_again() {
    let world = World::new(2, 1).await;
    let reason = Reason::new(
        Why::TooManyParticipants,
        "1381 participants; the bitmap has 1024 bits",
    );
    world.chain.block(&channel(0), Some(reason.clone()));
    world.run_for(Duration::from_secs(300)).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert_eq!(row.publication, Publication::Failed { reason });
    assert!(
        world
            .row(Epoch(3600), &channel(1))
            .await
            .publication
            .is_published()
    );
    world.chain.block(&channel(0), None);
    world.run_for(Duration::from_secs(300)).await;
    assert!(
        !world
            .row(Epoch(3600), &channel(0))
            .await
            .publication
            .is_published()
    );
    assert!(world.store.order(row.id, Order::Retry, 0).await.unwrap());
    world.run_until_settled().await;
    world.assert_settled_once("after a retry").await;
}

#[tokio::test(start_paused = true)]
async fn an_instruction_that_fails_on_chain_fails_its_own_root_and_the_others_land_anew() {
    let world = World::new(3, 1).await;
    let reason = Reason::new(Why::ProgramRefused, "custom error 6009");
    world.chain.reject(&channel(1), Some(reason.clone()));
    world.run_for(Duration::from_secs(600)).await;
    let row = world.row(Epoch(3600), &channel(1)).await;
    assert_eq!(row.publication, Publication::Failed { reason });
    for good in [0, 2] {
        let row = world.row(Epoch(3600), &channel(good)).await;
        assert!(row.publication.is_published(), "{row:?}");
        assert_eq!(row.log.len(), 2, "{row:?}");
        assert_eq!(row.log[0].status, "failed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_in_the_slot_is_superseded_and_never_published() {
    let world = World::new(1, 1).await;
    world.chain.publish(&channel(0), 36_000, [9; 32]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.run_for(Duration::from_secs(300)).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert_eq!(row.publication, Publication::Superseded { by: 36_000 });
    assert_eq!(row.settled_at, None);
    assert_eq!(world.chain.published().len(), 1);
    let failed = world.counters.counts().failed;
    assert!(failed.is_empty(), "no transaction of ours: {failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_on_chain_already_is_settled_without_a_transaction() {
    let world = World::new(1, 1).await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    world.chain.publish(&channel(0), 3600, row.root);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.run_until_settled().await;
    let row = world.row(Epoch(3600), &channel(0)).await;
    assert_eq!(row.publication, Publication::Settled { signature: None });
    assert_eq!(world.chain.signed(row.id), 0);
}

#[tokio::test(start_paused = true)]
async fn an_anomaly_is_held_until_an_operator_releases_it() {
    let mut world = World::with_counts(&[100, 100, 100, 100, 100, 900]).await;
    world.publishing.policy = Policy {
        anomaly: Some(AnomalyGuard::default()),
        ..world.publishing.policy.clone()
    };
    world.run_for(Duration::from_secs(7200)).await;
    let row = world.row(Epoch(6 * 3600), &channel(0)).await;
    let Publication::Held { reason } = &row.publication else {
        panic!("{row:?}");
    };
    assert_eq!(reason.why, Why::Anomaly);
    assert_eq!(world.chain.published().len(), 5);
    assert!(world.store.order(row.id, Order::Release, 0).await.unwrap());
    world.run_until_settled().await;
    assert_eq!(world.chain.published().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn chain_and_store_that_are_away_are_waited_for() {
    let world = World::new(2, 1).await;
    world.chain.fail_next(40);
    let calls = std::sync::atomic::AtomicU32::new(0);
    world.store.faults().hook(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (call < 20 && call.is_multiple_of(2)).then_some(Fault::Transient)
    });
    world.run_until_settled().await;
    assert_eq!(world.crashes(), 0, "weather is no crash");
    world.assert_settled_once("after the weather").await;
    assert_eq!(world.waits_for(), None);
}
