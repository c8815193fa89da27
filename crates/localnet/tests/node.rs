//! The node as solana-client sees it in the process: commitment levels, expiry, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Claims, EPOCH, amount, channel, client, publication, publish, scene, signed};
use serde_json::json;
use solana_client::client_error::ClientError;
use solana_client::rpc_config::{
    RpcSendTransactionConfig, RpcSimulateTransactionAccountsConfig, RpcSimulateTransactionConfig,
};
use solana_client::rpc_request::{RpcError, RpcResponseErrorData};
use solana_commitment_config::{CommitmentConfig, CommitmentLevel};
use solana_sdk::hash::Hash;
use solana_sdk::instruction::InstructionError;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use solana_sdk::transaction::TransactionError;
use solana_transaction_status_client_types::TransactionConfirmationStatus;
use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_localnet::{Commitment, Dropped, NodeConfig};

fn code(error: &ClientError) -> i64 {
    match error.kind() {
        solana_client::client_error::ClientErrorKind::RpcError(RpcError::RpcResponseError {
            code,
            ..
        }) => *code,
        other => panic!("expected an answer with an error, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_comes_through_every_commitment_level() {
    let scene = scene();
    let client = client(scene.node.sender());
    let claims = Claims::of(&scene);
    let transaction = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH, claims.root())],
    )
    .await;
    let signature = client.send_transaction(&transaction).await.unwrap();
    let status = async || {
        let statuses = client.get_signature_statuses(&[signature]).await.unwrap();
        let status = statuses.value[0].clone()?;
        assert_eq!(status.err, None);
        Some((
            status.slot,
            status.confirmations,
            status.confirmation_status?,
        ))
    };
    let rent = async |level| {
        let key = scene.program.channel_state(&channel()).0;
        let account = client.get_account_with_commitment(&key, level).await;
        account.unwrap().value.map(|account| account.data.len())
    };
    assert_eq!(status().await, None, "it is in no block yet");

    scene.node.tick();
    let processed = TransactionConfirmationStatus::Processed;
    assert_eq!(status().await, Some((1001, Some(0), processed)));
    assert_eq!(rent(CommitmentConfig::processed()).await, Some(1782));
    assert_eq!(rent(CommitmentConfig::confirmed()).await, None);

    scene.node.tick();
    let confirmed = TransactionConfirmationStatus::Confirmed;
    assert_eq!(status().await, Some((1001, Some(1), confirmed)));
    assert_eq!(rent(CommitmentConfig::confirmed()).await, Some(1782));
    assert_eq!(rent(CommitmentConfig::finalized()).await, None);

    scene.node.ticks(2);
    assert_eq!(rent(CommitmentConfig::finalized()).await, None);
    scene.node.tick();
    let finalized = TransactionConfirmationStatus::Finalized;
    assert_eq!(status().await, Some((1001, None, finalized)));
    assert_eq!(rent(CommitmentConfig::finalized()).await, Some(1782));

    // Without the whole history, only what is recent is known.
    scene.node.ticks(146);
    assert!(status().await.is_some());
    scene.node.tick();
    assert_eq!(status().await, None);
    let all = client
        .get_signature_statuses_with_history(&[signature])
        .await
        .unwrap();
    assert_eq!(all.value[0].as_ref().unwrap().slot, 1001);
}

#[tokio::test(start_paused = true)]
async fn claims_are_paid_once_and_the_bitmap_says_so() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    let claims = Claims::of(&scene);
    publish(&scene, &client, EPOCH, claims.root()).await;
    scene.node.ticks(5);
    for index in [3, 1] {
        scene
            .claim(&client, index as usize, &claims.parts(EPOCH, index))
            .await
            .unwrap();
        scene.node.ticks(5);
    }
    assert_eq!(scene.claimed(&channel(), EPOCH), Some(vec![1, 3]));
    assert_eq!(scene.tokens_of(&scene.wallets[3].pubkey()), amount(3));
    assert_eq!(scene.tokens_of(&scene.wallets[0].pubkey()), 0);
    let again = scene.claim(&client, 1, &claims.parts(EPOCH, 1)).await;
    let error = again.unwrap_err();
    assert_eq!(
        error.get_transaction_error(),
        Some(TransactionError::InstructionError(
            0,
            InstructionError::Custom(6006)
        ))
    );
    assert_eq!(code(&error), -32002);
    assert_eq!(scene.node.counts().landed, 3);

    let account = scene.program.token_account(&scene.wallets[3].pubkey());
    let balance = client.get_token_account_balance(&account).await.unwrap();
    assert_eq!(balance.amount, amount(3).to_string());
    assert_eq!(balance.ui_amount_string, "80.000000003");
}

#[tokio::test(start_paused = true)]
async fn a_refused_transaction_says_why_with_its_logs() {
    let scene = scene();
    let client = client(scene.node.sender());
    let mut instruction = publication(&scene, EPOCH, [1; 32]);
    let stranger = &scene.wallets[0];
    instruction.accounts[0].pubkey = stranger.pubkey();
    let transaction = signed(&client, stranger, &[instruction]).await;
    let error = client.send_transaction(&transaction).await.unwrap_err();
    let solana_client::client_error::ClientErrorKind::RpcError(RpcError::RpcResponseError {
        code: -32002,
        data: RpcResponseErrorData::SendTransactionPreflightFailure(data),
        ..
    }) = error.kind()
    else {
        panic!("{error:?}");
    };
    let logs = data.logs.as_ref().unwrap();
    assert!(
        logs.iter().any(|line| line.contains("Error Number: 6000")),
        "{logs:?}"
    );

    // Without preflight it lands, fails and costs its fee.
    let before = client.get_balance(&stranger.pubkey()).await.unwrap();
    let skip = RpcSendTransactionConfig {
        skip_preflight: true,
        ..RpcSendTransactionConfig::default()
    };
    let signature = client
        .send_transaction_with_config(&transaction, skip)
        .await
        .unwrap();
    scene.node.ticks(5);
    let status = client.get_signature_status(&signature).await.unwrap();
    assert_eq!(
        status.unwrap().unwrap_err(),
        TransactionError::InstructionError(0, InstructionError::Custom(6000))
    );
    let after = client.get_balance(&stranger.pubkey()).await.unwrap();
    assert_eq!(before - after, 5000);
    assert_eq!(scene.node.counts().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_simulation_shows_units_logs_and_accounts_and_changes_nothing() {
    let scene = scene();
    let client = client(scene.node.sender());
    let key = scene.program.channel_state(&channel()).0;
    let transaction = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH, [1; 32])],
    )
    .await;
    let config = RpcSimulateTransactionConfig {
        sig_verify: true,
        accounts: Some(RpcSimulateTransactionAccountsConfig {
            encoding: None,
            addresses: vec![key.to_string()],
        }),
        ..RpcSimulateTransactionConfig::default()
    };
    let result = client
        .simulate_transaction_with_config(&transaction, config)
        .await
        .unwrap()
        .value;
    assert_eq!(result.err, None);
    assert!(result.units_consumed.unwrap() > 5_000);
    let account = result.accounts.unwrap()[0].clone().unwrap();
    assert_eq!(account.space, Some(1782));
    let rent = client
        .get_minimum_balance_for_rent_exemption(1782)
        .await
        .unwrap();
    assert_eq!(account.lamports, rent);
    scene.node.ticks(5);
    assert_eq!(scene.node.account(&key, Commitment::Processed), None);
    let fee = client.get_fee_for_message(&transaction.message).await;
    assert_eq!(fee.unwrap(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_blockhash_expires_after_150_blocks_and_not_before() {
    let scene = scene();
    let client = client(scene.node.sender());
    let (hash, last) = client
        .get_latest_blockhash_with_commitment(CommitmentConfig::processed())
        .await
        .unwrap();
    assert_eq!(last, 900 + 150, "a height, not a slot");
    let early = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH, [1; 32])],
    )
    .await;
    let late = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH + 3600, [2; 32])],
    )
    .await;
    scene.node.skip_blocks(149);
    let valid = async || {
        let level = CommitmentConfig::processed();
        client.is_blockhash_valid(&hash, level).await.unwrap()
    };
    assert!(valid().await);
    let skip = RpcSendTransactionConfig {
        skip_preflight: true,
        ..RpcSendTransactionConfig::default()
    };
    client
        .send_transaction_with_config(&early, skip)
        .await
        .unwrap();
    scene.node.tick();
    assert_eq!(scene.node.counts().landed, 1);
    assert!(valid().await, "the height is its last valid one");
    client
        .send_transaction_with_config(&late, skip)
        .await
        .unwrap();
    scene.node.tick();
    assert!(!valid().await);
    assert_eq!(scene.node.counts().expired, 1);
    let processed = RpcSendTransactionConfig {
        preflight_commitment: Some(CommitmentLevel::Processed),
        ..RpcSendTransactionConfig::default()
    };
    let error = client
        .send_transaction_with_config(&late, processed)
        .await
        .unwrap_err();
    assert_eq!(
        error.get_transaction_error(),
        Some(TransactionError::BlockhashNotFound)
    );
}

#[tokio::test(start_paused = true)]
async fn a_transaction_of_a_blockhash_that_a_fork_dropped_cannot_land() {
    let scene = scene();
    let client = client(scene.node.sender());
    scene.node.ticks(2);
    let level = CommitmentConfig::processed();
    let (hash, _) = client
        .get_latest_blockhash_with_commitment(level)
        .await
        .unwrap();
    scene.node.fork(1, Dropped::Lost).unwrap();
    scene.node.ticks(2);
    assert!(!client.is_blockhash_valid(&hash, level).await.unwrap());
    let known: Hash = client.get_latest_blockhash().await.unwrap();
    assert!(client.is_blockhash_valid(&known, level).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_node_behind_reads_the_past_and_says_when_it_is_too_far() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    publish(&scene, &client, EPOCH, [1; 32]).await;
    scene.node.ticks(9);
    let key = scene.program.channel_state(&channel()).0;
    let behind = |blocks| common::client(scene.node.sender_behind(blocks));
    assert!(behind(5).get_account(&key).await.is_ok());
    assert!(behind(6).get_account(&key).await.is_err());
    assert_eq!(behind(6).get_slot().await.unwrap(), 1000);
    assert!(behind(128).get_health().await.is_ok());
    assert_eq!(code(&behind(129).get_health().await.unwrap_err()), -32005);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_chain() {
    let run = async || {
        let scene = scene();
        let client = Arc::new(client(scene.node.sender()));
        let mut seen = vec![client.get_genesis_hash().await.unwrap().to_string()];
        for number in 1..4 {
            let signature = publish(&scene, &client, number, [1; 32]).await;
            seen.push(signature.to_string());
            let level = CommitmentConfig::processed();
            let hash = client.get_latest_blockhash_with_commitment(level).await;
            seen.push(hash.unwrap().0.to_string());
        }
        seen
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn hostile_calls_are_refused_by_number() {
    let scene = scene();
    let refused = |method: &str, params: &serde_json::Value| {
        scene.node.handle(method, params).unwrap_err().code
    };
    assert_eq!(refused("getProgramAccounts", &json!([])), -32601);
    assert_eq!(refused("getSlot", &json!("x")), -32602);
    assert_eq!(refused("getSlot", &json!([{"commitment": "sure"}])), -32602);
    assert_eq!(refused("getBalance", &json!(["not a key"])), -32602);
    assert_eq!(refused("getBalance", &json!([])), -32602);
    let many = vec![scene.program.id.to_string(); 101];
    assert_eq!(refused("getMultipleAccounts", &json!([many])), -32602);
    for text in ["", "AAAA", "!", &"A".repeat(5000)] {
        let params = json!([text, {"encoding": "base64"}]);
        assert_eq!(refused("sendTransaction", &params), -32602, "{text}");
    }
    let size = json!([u64::MAX]);
    assert_eq!(refused("getMinimumBalanceForRentExemption", &size), -32602);
    assert_eq!(
        refused(
            "getSignaturesForAddress",
            &json!([scene.program.id.to_string(), {"limit": 0}])
        ),
        -32602
    );
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_is_refused_and_counted() {
    let scene = Scene::new(SceneConfig {
        node: NodeConfig {
            max_pending: 2,
            ..NodeConfig::default()
        },
        ..SceneConfig::default()
    });
    let client = client(scene.node.sender());
    let key = scene.admin.pubkey();
    for _ in 0..2 {
        client.request_airdrop(&key, 1).await.unwrap();
    }
    let third = json!([key.to_string(), 1]);
    let error = scene.node.handle("requestAirdrop", &third).unwrap_err();
    assert_eq!(error.code, -32603);
    scene.node.tick();
    assert_eq!(
        (scene.node.counts().landed, scene.node.counts().full),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_simulation_and_a_preflight_see_the_state_of_their_commitment() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    publish(&scene, &client, EPOCH, [1; 32]).await;
    let transaction = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH, [2; 32])],
    )
    .await;
    let err = async |commitment| {
        let config = RpcSimulateTransactionConfig {
            commitment: Some(commitment),
            ..RpcSimulateTransactionConfig::default()
        };
        let result = client
            .simulate_transaction_with_config(&transaction, config)
            .await;
        result.unwrap().value.err.map(TransactionError::from)
    };
    let newer = TransactionError::InstructionError(0, InstructionError::Custom(6023));
    assert_eq!(err(CommitmentConfig::finalized()).await, None);
    let processed = err(CommitmentConfig::processed()).await;
    assert_eq!(processed, Some(newer.clone()));
    // The preflight of a finalized state lets it through, and the block refuses it.
    let signature = client.send_transaction(&transaction).await.unwrap();
    scene.node.ticks(5);
    let (_, landed) = scene.node.landed(&signature).unwrap();
    assert_eq!(landed.err, Some(newer));
    let state = scene.channel_state(&channel()).unwrap();
    assert_eq!(state.slot_of(EPOCH).unwrap().root, [1; 32]);
}

#[tokio::test(start_paused = true)]
async fn the_same_transaction_lands_once_however_often_it_is_sent() {
    let scene = scene();
    let client = client(scene.node.sender());
    let transaction = signed(
        &client,
        &scene.publisher,
        &[publication(&scene, EPOCH, [1; 32])],
    )
    .await;
    for _ in 0..3 {
        client.send_transaction(&transaction).await.unwrap();
    }
    scene.node.tick();
    client.send_transaction(&transaction).await.unwrap();
    scene.node.ticks(5);
    assert_eq!(scene.node.counts().landed, 1);
    assert_eq!(scene.node.counts().duplicate, 3);
    let error = client.send_transaction(&transaction).await.unwrap_err();
    assert_eq!(
        error.get_transaction_error(),
        Some(TransactionError::AlreadyProcessed)
    );
    // A signature that does not fit is refused before anything else.
    let mut forged = transaction.clone();
    forged.signatures[0] = Keypair::new().sign_message(b"x");
    let error = client.send_transaction(&forged).await.unwrap_err();
    assert_eq!(code(&error), -32003);
}
