//! What is kept of the past: pages of signatures, transactions, forks, and what is forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Claims, EPOCH, amount, channel, client, publish, scene};
use serde_json::json;
use solana_client::rpc_client::GetConfirmedSignaturesForAddress2Config;
use solana_client::rpc_config::RpcTransactionConfig;
use solana_commitment_config::CommitmentConfig;
use solana_sdk::clock::Clock;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use solana_sdk::sysvar;
use solana_transaction_status_client_types::UiTransactionEncoding;
use solana_transaction_status_client_types::option_serializer::OptionSerializer;
use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_localnet::{Commitment, Dropped, NodeConfig};

#[tokio::test(start_paused = true)]
async fn a_fork_undoes_accounts_statuses_and_history() {
    for dropped in [Dropped::Lost, Dropped::Pending] {
        let scene = scene();
        let client = Arc::new(client(scene.node.sender()));
        let before = client.get_balance(&scene.publisher.pubkey()).await.unwrap();
        let signature = publish(&scene, &client, EPOCH, [1; 32]).await;
        scene.node.ticks(2);
        let key = scene.program.channel_state(&channel()).0;
        assert!(scene.node.account(&key, Commitment::Confirmed).is_some());

        assert_eq!(scene.node.fork(4, dropped).unwrap_err().possible, 3);
        assert_eq!(scene.node.fork(3, dropped), Ok(1));
        assert_eq!(scene.node.account(&key, Commitment::Processed), None);
        let level = CommitmentConfig::processed();
        let balance = client
            .get_balance_with_commitment(&scene.publisher.pubkey(), level)
            .await
            .unwrap();
        assert_eq!(balance.value, before);
        let statuses = client.get_signature_statuses(&[signature]).await.unwrap();
        assert_eq!(statuses.value, [None]);

        // The chain goes on with slots that are new, over heights that were there before.
        assert_eq!(scene.node.tick(), 1004);
        assert_eq!(
            scene.node.landed(&signature).is_some(),
            dropped == Dropped::Pending
        );
        let height = client
            .get_block_height_with_commitment(level)
            .await
            .unwrap();
        assert_eq!(height, 901);
        scene.node.ticks(4);
        let page = client.get_signatures_for_address(&key).await.unwrap();
        let expected = usize::from(dropped == Dropped::Pending);
        assert_eq!(page.len(), expected);
        assert_eq!(scene.node.counts().forked, 1);
        // What was finalized once stays so.
        assert_eq!(scene.node.slot(Commitment::Finalized), 1004);
        assert_eq!(scene.node.fork(5, dropped).unwrap_err().possible, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn signatures_of_an_address_come_in_pages_the_newest_first() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    let mut signatures = Vec::new();
    for number in 1..=7 {
        signatures.push(publish(&scene, &client, number, [1; 32]).await.to_string());
    }
    signatures.reverse();
    let page = async |before: Option<usize>, until: Option<usize>, limit: Option<usize>| {
        let at = |place: Option<usize>| place.map(|place| signatures[place].parse().unwrap());
        let config = GetConfirmedSignaturesForAddress2Config {
            before: at(before),
            until: at(until),
            limit,
            commitment: Some(CommitmentConfig::finalized()),
        };
        let page = client
            .get_signatures_for_address_with_config(&scene.program.id, config)
            .await
            .unwrap();
        page.into_iter()
            .map(|line| line.signature)
            .collect::<Vec<_>>()
    };
    // The last four are not finalized.
    assert_eq!(page(None, None, None).await, signatures[4..]);
    scene.node.ticks(4);
    assert_eq!(page(None, None, None).await, signatures);
    assert_eq!(page(None, None, Some(3)).await, signatures[..3]);
    assert_eq!(page(Some(2), None, Some(3)).await, signatures[3..6]);
    assert_eq!(page(Some(2), Some(4), None).await, signatures[3..4]);
    assert_eq!(page(Some(6), None, None).await, Vec::<String>::new());

    // A node that is behind does not know, and says so where it is asked for a slot.
    let answer = scene.node.handle_behind(
        5,
        "getSignaturesForAddress",
        &json!([scene.program.id.to_string(), {"minContextSlot": 1007}]),
    );
    let error = answer.unwrap_err();
    assert_eq!(error.code, -32016);
    assert_eq!(error.data, Some(json!({"contextSlot": 1002})));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_read_back_with_its_calls_and_balances() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    let claims = Claims::of(&scene);
    publish(&scene, &client, EPOCH, claims.root()).await;
    scene.node.ticks(4);
    let signature = scene
        .claim(&client, 4, &claims.parts(EPOCH, 4))
        .await
        .unwrap();
    scene.node.ticks(5);
    for encoding in [UiTransactionEncoding::Base64, UiTransactionEncoding::Json] {
        let config = RpcTransactionConfig {
            encoding: Some(encoding),
            commitment: Some(CommitmentConfig::finalized()),
            max_supported_transaction_version: Some(0),
        };
        let found = client
            .get_transaction_with_config(&signature, config)
            .await
            .unwrap();
        assert_eq!(found.slot, 1006);
        let meta = found.transaction.meta.unwrap();
        assert_eq!(meta.err, None);
        assert_eq!(meta.fee, 5000);
        assert!(meta.compute_units_consumed.unwrap() > 6_000);
        let OptionSerializer::Some(inner) = meta.inner_instructions else {
            panic!("no inner instructions");
        };
        assert_eq!(inner.len(), 1);
        assert!(
            inner[0].instructions.len() > 2,
            "an account is made, then paid to"
        );
        let OptionSerializer::Some(tokens) = meta.post_token_balances else {
            panic!("no token balances");
        };
        let wallet = scene.wallets[4].pubkey().to_string();
        let paid: Vec<_> = tokens
            .iter()
            .filter(|token| token.owner == OptionSerializer::Some(wallet.clone()))
            .map(|token| token.ui_token_amount.amount.clone())
            .collect();
        assert_eq!(paid, [amount(4).to_string()]);
        if encoding == UiTransactionEncoding::Base64 {
            let decoded = found.transaction.transaction.decode().unwrap();
            assert_eq!(decoded.signatures, [signature]);
        }
    }
    let unknown = client
        .get_transaction(
            &Keypair::new().sign_message(b"x"),
            UiTransactionEncoding::Json,
        )
        .await;
    assert!(unknown.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_chains_own_time_is_that_of_the_block_that_is_asked() {
    let scene = scene();
    let clock = |commitment| {
        let data = scene.node.data(&sysvar::clock::ID, commitment).unwrap();
        let clock: Clock = bincode::deserialize(&data).unwrap();
        (clock.slot, clock.unix_timestamp)
    };
    let first = NodeConfig::default().first_time;
    scene.node.ticks(100);
    assert_eq!(clock(Commitment::Processed), (1100, first + 40));
    assert_eq!(clock(Commitment::Finalized), (1096, first + 38));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_history_is_forgotten_and_the_rest_stays() {
    let scene = Scene::new(SceneConfig {
        node: NodeConfig {
            view_blocks: 8,
            history_blocks: 0,
            ..NodeConfig::default()
        },
        ..SceneConfig::default()
    });
    let client = Arc::new(client(scene.node.sender()));
    let old = publish(&scene, &client, 1, [1; 32]).await;
    // As long as a view and blockhashes need it, nothing is forgotten: 8 + 300 + 4 blocks.
    scene.node.ticks(311);
    assert!(scene.node.landed(&old).is_some());
    assert_eq!(client.get_first_available_block().await.unwrap(), 1001);
    let new = publish(&scene, &client, 2, [2; 32]).await;
    scene.node.ticks(5);
    assert!(scene.node.landed(&old).is_none());
    let first = client.get_first_available_block().await.unwrap();
    assert!(first > 1001, "{first}");
    let page = client
        .get_signatures_for_address(&scene.program.id)
        .await
        .unwrap();
    let known: Vec<_> = page.iter().map(|line| line.signature.clone()).collect();
    assert_eq!(known, [new.to_string()]);
    assert_eq!(scene.channel_state(&channel()).unwrap().latest, 2);
}
