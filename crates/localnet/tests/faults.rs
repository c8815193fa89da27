//! The plan of faults in the process: every fault strikes, is counted, and follows from its seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use common::{EPOCH, client, publication, publish, scene, signed};
use solana_client::client_error::ClientErrorKind;
use solana_commitment_config::CommitmentConfig;
use std::sync::Arc;
use tokio::time::{Instant, timeout};
use twzrd_localnet::Dropped;
use twzrd_localnet::events::Event;
use twzrd_localnet::faults::{Fault, FaultPlan, FaultyEvents, FaultySender, Kind, Rule};

#[tokio::test(start_paused = true)]
async fn calls_fail_hang_and_are_answered_by_the_past() {
    let scene = scene();
    let plan = FaultPlan::new(7);
    let client = client(FaultySender::of(&scene.node, plan.clone()));
    scene.node.ticks(10);
    let once = |fault| plan.add(Rule::new(fault).on(&["getSlot"]).times(1));
    once(Fault::RpcError {
        code: -32000,
        message: "made up".to_owned(),
    });
    assert!(client.get_block_height().await.is_ok(), "another method");
    assert!(client.get_slot().await.is_err());
    assert_eq!(client.get_slot().await.unwrap(), 1006);

    for status in [429, 503] {
        once(Fault::Status(status));
        let error = client.get_slot().await.unwrap_err();
        let ClientErrorKind::Reqwest(error) = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(error.status().unwrap().as_u16(), status);
    }
    once(Fault::Hang(Duration::from_secs(30)));
    let before = Instant::now();
    let error = client.get_slot().await.unwrap_err();
    assert!(
        matches!(error.kind(), ClientErrorKind::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
    );
    assert_eq!(before.elapsed(), Duration::from_secs(30), "of paused time");
    once(Fault::Behind(4));
    assert_eq!(client.get_slot().await.unwrap(), 1002);
    once(Fault::SkipBlocks(151));
    assert_eq!(client.get_slot().await.unwrap(), 1157);
    once(Fault::Fork {
        blocks: 100,
        dropped: Dropped::Lost,
    });
    let processed = CommitmentConfig::processed();
    let slot = client.get_slot_with_commitment(processed).await.unwrap();
    assert_eq!(slot, 1157, "no finalized block is dropped");
    assert_eq!(plan.struck(Kind::Status), 2);
    assert_eq!(plan.strikes().values().sum::<u64>(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_accepted_and_never_lands_or_lands_though_the_call_failed() {
    let scene = scene();
    let plan = FaultPlan::new(7);
    let client = client(FaultySender::of(&scene.node, plan.clone()));
    let instruction = publication(&scene, EPOCH, [1; 32]);
    let transaction = signed(
        &client,
        &scene.publisher,
        std::slice::from_ref(&instruction),
    )
    .await;
    plan.add(Rule::new(Fault::NeverLands).times(1));
    plan.add(Rule::new(Fault::LandsThoughFailed).times(1));
    let signature = client.send_transaction(&transaction).await.unwrap();
    assert_eq!(signature, transaction.signatures[0]);
    scene.node.tick();
    assert!(scene.node.landed(&signature).is_none());
    client.send_transaction(&transaction).await.unwrap_err();
    scene.node.tick();
    assert!(scene.node.landed(&signature).is_some());

    plan.add(Rule::new(Fault::StaleBlockhash));
    let stale = signed(&client, &scene.publisher, &[instruction]).await;
    let processed = CommitmentConfig::processed();
    let hash = stale.message.recent_blockhash;
    assert!(!client.is_blockhash_valid(&hash, processed).await.unwrap());
    for kind in [
        Kind::NeverLands,
        Kind::LandsThoughFailed,
        Kind::StaleBlockhash,
    ] {
        assert_eq!(plan.struck(kind), 1, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_slot_or_height_of_an_answer_is_absurd_and_which_follows_from_the_seed() {
    let run = async |seed| {
        let scene = scene();
        let plan = FaultPlan::new(seed);
        let client = client(FaultySender::of(&scene.node, plan.clone()));
        scene.node.ticks(10);
        plan.add(Rule::new(Fault::AbsurdNumber(7)));
        assert_eq!(client.get_slot().await.unwrap(), 7);
        assert_eq!(client.get_first_available_block().await.unwrap(), 7);
        let mut seen = Vec::new();
        for _ in 0..32 {
            let info = client.get_epoch_info().await.unwrap();
            let absurd = (info.absolute_slot == 7, info.block_height == 7);
            assert!(absurd.0 != absurd.1, "one of the two: {info:?}");
            seen.push(absurd.0);
        }
        assert!(seen.contains(&true) && seen.contains(&false));
        let genesis = client.get_genesis_hash().await;
        assert!(genesis.is_ok(), "there is no number in it");
        assert_eq!(plan.struck(Kind::AbsurdNumber), 35);
        seen
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn notifications_are_lost_doubled_and_end_in_silence() {
    let scene = scene();
    let plan = FaultPlan::new(7);
    let logs = ["logsNotification"];
    plan.add(Rule::new(Fault::LostNotification).on(&logs).times(1));
    plan.add(Rule::new(Fault::DoubledNotification).on(&logs).times(1));
    plan.add(Rule::new(Fault::SilentSocket).on(&logs));
    let mut events = FaultyEvents::new(scene.node.events(), plan.clone());
    let client = Arc::new(client(scene.node.sender()));
    let mut signatures = Vec::new();
    for number in 1..=3 {
        signatures.push(publish(&scene, &client, number, [1; 32]).await);
    }
    let mut told = Vec::new();
    // Each is told when it is processed, and the one before when it is confirmed.
    while let Ok(Some(event)) = timeout(Duration::from_secs(60), events.next()).await {
        match event {
            Event::Transaction { landed, .. } => told.push(landed.signature),
            Event::Slot { slot, .. } => assert!(slot <= 1003),
        }
    }
    assert_eq!(told, [signatures[1]; 2]);
    let kinds: Vec<_> = plan.strikes().into_iter().collect();
    assert_eq!(
        kinds,
        [
            (Kind::SilentSocket, 1),
            (Kind::LostNotification, 1),
            (Kind::DoubledNotification, 1)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_strikes_the_same_calls() {
    let run = async |seed| {
        let scene = scene();
        let plan = FaultPlan::new(seed);
        plan.add(Rule::new(Fault::Status(503)).chance(400));
        let client = client(FaultySender::of(&scene.node, plan.clone()));
        let mut seen = Vec::new();
        for _ in 0..64 {
            seen.push(client.get_slot().await.is_ok());
        }
        assert_eq!(
            seen.iter().filter(|ok| !**ok).count() as u64,
            plan.struck(Kind::Status)
        );
        plan.clear();
        assert!(client.get_slot().await.is_ok());
        seen
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_fork_drops_a_confirmed_transaction_between_two_calls() {
    for dropped in [Dropped::Lost, Dropped::Pending] {
        let scene = scene();
        let plan = FaultPlan::new(7);
        let client = Arc::new(client(FaultySender::of(&scene.node, plan.clone())));
        let signature = publish(&scene, &client, EPOCH, [1; 32]).await;
        scene.node.ticks(2);
        let confirmed = CommitmentConfig::confirmed();
        let status = client
            .get_signature_status_with_commitment(&signature, confirmed)
            .await;
        assert_eq!(status.unwrap(), Some(Ok(())));
        let fork = Fault::Fork { blocks: 3, dropped };
        plan.add(Rule::new(fork).on(&["getSignatureStatuses"]).times(1));
        let status = client.get_signature_status(&signature).await.unwrap();
        assert_eq!(status, None, "it was confirmed, and is gone");
        scene.node.ticks(5);
        let status = client.get_signature_status(&signature).await.unwrap();
        let lands_again = (dropped == Dropped::Pending).then_some(Ok(()));
        assert_eq!(status, lands_again);
        assert_eq!(plan.struck(Kind::Fork), 1);
    }
}
