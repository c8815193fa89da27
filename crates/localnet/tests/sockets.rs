//! The node on real sockets: solana-client over HTTP, solana-pubsub-client over WebSocket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Claims, EPOCH, channel, publication, publish, scene, signed};
use futures::StreamExt as _;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_client::rpc_config::{
    RpcSignatureSubscribeConfig, RpcTransactionLogsConfig, RpcTransactionLogsFilter,
};
use solana_client::rpc_response::RpcSignatureResult;
use solana_commitment_config::CommitmentConfig;
use solana_pubsub_client::nonblocking::pubsub_client::PubsubClient;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use tokio::time::timeout;
use twzrd_localnet::faults::{Fault, FaultPlan, FaultyProxy, Kind, Rule};

const PATIENCE: Duration = Duration::from_secs(20);

fn anywhere() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn mentioning(scene: &twzrd_localnet::scene::Scene) -> RpcTransactionLogsFilter {
    RpcTransactionLogsFilter::Mentions(vec![scene.program.id.to_string()])
}

const CONFIRMED: RpcTransactionLogsConfig = RpcTransactionLogsConfig {
    commitment: Some(CommitmentConfig::confirmed()),
};

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_is_funded_publishes_and_claims_over_sockets() {
    let scene = scene();
    let served = scene
        .node
        .serve(anywhere(), Some(Duration::from_millis(20)))
        .await
        .unwrap();
    let client = RpcClient::new_with_commitment(served.http_url(), CommitmentConfig::finalized());
    client.get_health().await.unwrap();
    let wallet = Keypair::new();
    let airdrop = client
        .request_airdrop(&wallet.pubkey(), 1_000_000_000)
        .await
        .unwrap();
    let landed = timeout(PATIENCE, async {
        while !client.confirm_transaction(&airdrop).await.unwrap() {
            tokio::task::yield_now().await;
        }
    });
    landed.await.unwrap();
    assert_eq!(
        client.get_balance(&wallet.pubkey()).await.unwrap(),
        1_000_000_000
    );

    let claims = Claims::of(&scene);
    let transaction = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH, claims.root())],
    )
    .await;
    timeout(PATIENCE, client.send_and_confirm_transaction(&transaction))
        .await
        .unwrap()
        .unwrap();
    scene
        .claim(&client, 2, &claims.parts(EPOCH, 2))
        .await
        .unwrap();
    let claimed = timeout(PATIENCE, async {
        while scene.claimed(&channel(), EPOCH) != Some(vec![2]) {
            tokio::task::yield_now().await;
        }
    });
    claimed.await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_tell_slots_logs_and_signatures_at_their_commitment() {
    let scene = scene();
    let served = scene.node.serve(anywhere(), None).await.unwrap();
    let client = Arc::new(RpcClient::new(served.http_url()));
    let pubsub = PubsubClient::new(served.ws_url()).await.unwrap();
    let (mut slots, _) = pubsub.slot_subscribe().await.unwrap();
    let (mut logs, stop_logs) = pubsub
        .logs_subscribe(mentioning(&scene), CONFIRMED)
        .await
        .unwrap();
    scene.node.tick();
    let slot = timeout(PATIENCE, slots.next()).await.unwrap().unwrap();
    assert_eq!((slot.slot, slot.parent, slot.root), (1001, 1000, 1000));

    let signature = publish(&scene, &client, EPOCH, [1; 32]).await;
    let level = RpcSignatureSubscribeConfig {
        commitment: Some(CommitmentConfig::finalized()),
        enable_received_notification: None,
    };
    let (mut finalized, _) = pubsub
        .signature_subscribe(&signature, Some(level))
        .await
        .unwrap();
    scene.node.ticks(4);
    let told = timeout(PATIENCE, logs.next()).await.unwrap().unwrap();
    assert_eq!(told.value.signature, signature.to_string());
    assert_eq!(told.value.err, None);
    assert_eq!(told.context.slot, 1002);
    assert!(
        told.value
            .logs
            .iter()
            .any(|line| line == "Program log: Instruction: SetChannelMerkleRoot")
    );
    let done = timeout(PATIENCE, finalized.next()).await.unwrap().unwrap();
    assert!(matches!(
        done.value,
        RpcSignatureResult::ProcessedSignature(result) if result.err.is_none()
    ));
    for expected in 1002..=1006 {
        let slot = timeout(PATIENCE, slots.next()).await.unwrap().unwrap();
        assert_eq!(slot.slot, expected);
    }
    timeout(PATIENCE, stop_logs()).await.unwrap();
    served.stop().await;
    assert!(
        timeout(PATIENCE, slots.next()).await.unwrap().is_none(),
        "the socket closes with the node"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_loses_and_doubles_notifications_and_falls_silent() {
    let scene = scene();
    let served = scene.node.serve(anywhere(), None).await.unwrap();
    let plan = FaultPlan::new(1);
    let proxy = FaultyProxy::start(
        anywhere(),
        &served.http_url(),
        &served.ws_url(),
        plan.clone(),
        None,
    )
    .await
    .unwrap();
    let pubsub = PubsubClient::new(proxy.ws_url()).await.unwrap();
    let (mut slots, _) = pubsub.slot_subscribe().await.unwrap();
    plan.add(Rule::new(Fault::LostNotification).times(1));
    plan.add(Rule::new(Fault::DoubledNotification).after(1).times(1));
    plan.add(Rule::new(Fault::SilentSocket).after(3));
    scene.node.ticks(12);
    let mut seen = Vec::new();
    // 1001 is lost, 1003 comes twice, and nothing comes from 1006 on.
    while seen.last() != Some(&1005) {
        let slot = timeout(PATIENCE, slots.next()).await.unwrap().unwrap();
        seen.push(slot.slot);
    }
    assert_eq!(seen, [1002, 1003, 1003, 1004, 1005]);
    let more = timeout(Duration::from_millis(200), slots.next()).await;
    assert!(more.is_err(), "the socket is silent and open: {more:?}");
    assert_eq!(plan.struck(Kind::LostNotification), 1);
    assert_eq!(plan.struck(Kind::DoubledNotification), 1);
    assert_eq!(plan.struck(Kind::SilentSocket), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_plays_every_fault_of_a_call() {
    let scene = scene();
    let served = scene.node.serve(anywhere(), None).await.unwrap();
    let plan = FaultPlan::new(1);
    let proxy = FaultyProxy::start(
        anywhere(),
        &served.http_url(),
        &served.ws_url(),
        plan.clone(),
        Some(scene.node.clone()),
    )
    .await
    .unwrap();
    let client = RpcClient::new(proxy.http_url());
    scene.node.ticks(10);
    let once = |fault| plan.add(Rule::new(fault).times(1));

    once(Fault::RpcError {
        code: -32000,
        message: "made up".to_owned(),
    });
    let error = client.get_slot().await.unwrap_err();
    assert!(error.to_string().contains("made up"), "{error}");

    once(Fault::Status(503));
    let error = client.get_slot().await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    once(Fault::Status(429));
    assert_eq!(client.get_slot().await.unwrap(), 1006, "it is asked again");

    once(Fault::Hang(Duration::from_millis(50)));
    assert!(client.get_slot().await.is_err());
    once(Fault::Behind(4));
    assert_eq!(client.get_slot().await.unwrap(), 1002);
    once(Fault::Fork {
        blocks: 2,
        dropped: twzrd_localnet::Dropped::Lost,
    });
    let processed = CommitmentConfig::processed();
    let slot = client.get_slot_with_commitment(processed).await;
    assert_eq!(slot.unwrap(), 1008);
    once(Fault::SkipBlocks(151));
    let height = client.get_block_height_with_commitment(processed).await;
    assert_eq!(height.unwrap(), 908 + 151);

    let instruction = publication(&scene, EPOCH, [1; 32]);
    once(Fault::StaleBlockhash);
    let stale = signed(
        &client,
        &scene.publisher,
        std::slice::from_ref(&instruction),
    )
    .await;
    assert!(client.send_transaction(&stale).await.is_err());

    let transaction = signed(&client, &scene.publisher, &[instruction]).await;
    once(Fault::NeverLands);
    let signature = client.send_transaction(&transaction).await.unwrap();
    scene.node.tick();
    assert!(scene.node.landed(&signature).is_none());
    once(Fault::LandsThoughFailed);
    assert!(client.send_transaction(&transaction).await.is_err());
    scene.node.tick();
    assert!(scene.node.landed(&signature).is_some());

    let strikes = plan.strikes();
    assert_eq!(strikes.values().sum::<u64>(), 10);
    assert_eq!(strikes[&Kind::Status], 2);
}
