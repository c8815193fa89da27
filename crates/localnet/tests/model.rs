//! What the model refuses beyond the transcript, and what it makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Claims, EPOCH, channel, client, publication, publish, scene, signed};
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_sdk::instruction::{Instruction, InstructionError};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use solana_sdk::transaction::TransactionError;
use twzrd_chain::program::instruction::{
    initialize_channel, set_paused_open, set_policy_open, update_admin_open, update_publisher_open,
};
use twzrd_localnet::Commitment;

/// What a simulation of one instruction comes to: none where it does what it should.
async fn refusal(client: &RpcClient, payer: &Keypair, instruction: Instruction) -> Option<u32> {
    let transaction = signed(client, payer, &[instruction]).await;
    let result = client.simulate_transaction(&transaction).await.unwrap();
    match result.value.err.map(TransactionError::from) {
        None => None,
        Some(TransactionError::InstructionError(0, InstructionError::Custom(number))) => {
            Some(number)
        }
        Some(other) => panic!("{other}: {:?}", result.value.logs),
    }
}

async fn claim_code(
    scene: &twzrd_localnet::scene::Scene,
    client: &RpcClient,
    parts: &twzrd_localnet::scene::ClaimParts,
) -> Option<TransactionError> {
    let sent = scene
        .claim(client, parts.index.min(4) as usize, parts)
        .await;
    sent.err().and_then(|error| error.get_transaction_error())
}

fn custom(number: u32) -> Option<TransactionError> {
    let error = InstructionError::Custom(number);
    Some(TransactionError::InstructionError(0, error))
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_refused_by_the_first_rule_that_it_breaks() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    let claims = Claims::of(&scene);
    let good = claims.parts(EPOCH, 2);
    assert_eq!(
        claim_code(&scene, &client, &good).await,
        custom(6015),
        "the channel has no account"
    );
    publish(&scene, &client, EPOCH, claims.root()).await;
    scene.node.ticks(4);
    let changed = |change: fn(&mut twzrd_localnet::scene::ClaimParts)| {
        let mut parts = good.clone();
        change(&mut parts);
        parts
    };
    for (number, parts) in [
        (6012, changed(|parts| parts.proof = vec![[0; 32]; 21])),
        (6007, changed(|parts| parts.proof = vec![[0; 32]; 20])),
        (6007, changed(|parts| parts.id.push('x'))),
        (6011, changed(|parts| parts.id = "x".repeat(65))),
        (6009, changed(|parts| parts.index = 1024)),
        (6009, changed(|parts| parts.index = u32::MAX)),
        (6017, changed(|parts| parts.number += 1)),
        (6017, changed(|parts| parts.number -= 3600)),
    ] {
        assert_eq!(
            claim_code(&scene, &client, &parts).await,
            custom(number),
            "{parts:?}"
        );
    }
    // Another wallet cannot claim this leaf.
    let stolen = scene.claim(&client, 0, &good).await.unwrap_err();
    assert_eq!(stolen.get_transaction_error(), custom(6007));
    assert_eq!(claim_code(&scene, &client, &good).await, None);
}

#[tokio::test(start_paused = true)]
async fn only_the_admin_administers_and_the_account_holds_what_was_asked() {
    let scene = scene();
    let client = client(scene.node.sender());
    let (admin, new) = (scene.admin.pubkey(), Pubkey::new_from_array([9; 32]));
    let stranger = &scene.wallets[0];
    let program = &scene.program;
    let before = scene.protocol_state().unwrap();
    for make in [
        update_publisher_open(program, &stranger.pubkey(), &new),
        update_admin_open(program, &stranger.pubkey(), &new),
        set_paused_open(program, &stranger.pubkey(), true),
        set_policy_open(program, &stranger.pubkey(), true),
    ] {
        assert_eq!(refusal(&client, stranger, make).await, Some(6000));
    }
    let zero = update_publisher_open(program, &admin, &Pubkey::default());
    assert_eq!(refusal(&client, &scene.admin, zero).await, Some(6025));
    let all = [
        update_publisher_open(program, &admin, &new),
        set_paused_open(program, &admin, true),
        set_policy_open(program, &admin, true),
        update_admin_open(program, &admin, &stranger.pubkey()),
    ];
    let transaction = signed(&client, &scene.admin, &all).await;
    client.send_transaction(&transaction).await.unwrap();
    scene.node.ticks(5);
    let mut expected = before;
    expected.publisher = new;
    expected.paused = true;
    expected.require_receipt = true;
    expected.admin = stranger.pubkey();
    assert_eq!(scene.protocol_state(), Some(expected));
    // Whoever was admin is nobody now.
    let make = set_paused_open(program, &admin, false);
    assert_eq!(refusal(&client, &scene.admin, make).await, Some(6000));
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_made_once_by_anyone_and_then_published_into() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    let payer = &scene.wallets[0];
    // Lamports that somebody sent there before do not stand in the way.
    let key = scene.program.channel_state(&channel()).0;
    client.request_airdrop(&key, 1_000_000).await.unwrap();
    scene.node.ticks(5);
    let make = initialize_channel(&scene.program, &payer.pubkey(), &channel());
    let transaction = signed(&client, payer, std::slice::from_ref(&make)).await;
    client.send_transaction(&transaction).await.unwrap();
    scene.node.ticks(5);
    let empty = scene.channel_state(&channel()).unwrap();
    assert_eq!(
        (empty.latest, empty.version, empty.mint),
        (0, 1, scene.program.mint)
    );
    assert_eq!(refusal(&client, payer, make).await, Some(6015));
    publish(&scene, &client, EPOCH, [1; 32]).await;
    let state = scene.channel_state(&channel()).unwrap();
    assert_eq!(state.slot_of(EPOCH).unwrap().root, [1; 32]);
    let account = scene.node.account(&key, Commitment::Processed).unwrap();
    let rent = client.get_minimum_balance_for_rent_exemption(1782).await;
    assert_eq!(account.lamports, rent.unwrap());
}

#[tokio::test(start_paused = true)]
async fn accounts_that_are_not_the_channels_are_refused() {
    let scene = scene();
    let client = Arc::new(client(scene.node.sender()));
    publish(&scene, &client, EPOCH, [1; 32]).await;
    scene.node.ticks(4);
    let good = publication(&scene, EPOCH + 3600, [2; 32]);
    let other = twzrd_domain::identity::Channel::parse("another").unwrap();
    let changed = |place: usize, key: Pubkey| {
        let mut instruction = good.clone();
        instruction.accounts[place].pubkey = key;
        instruction
    };
    let publisher = &scene.publisher;
    let elsewhere = scene.program.channel_state(&other).0;
    for (number, instruction) in [
        (2006, changed(2, elsewhere)),
        (6015, changed(2, scene.program.protocol_state().0)),
        (3012, changed(1, elsewhere)),
        (3007, changed(1, publisher.pubkey())),
        (3008, changed(3, elsewhere)),
    ] {
        let found = refusal(&client, publisher, instruction).await;
        assert_eq!(found, Some(number));
    }
    let mut unknown = good.clone();
    unknown.data[0] ^= 1;
    assert_eq!(refusal(&client, publisher, unknown).await, Some(101));
    let mut short = good.clone();
    short.data.truncate(20);
    assert_eq!(refusal(&client, publisher, short).await, Some(102));
    let mut few = good.clone();
    few.accounts.truncate(2);
    assert_eq!(refusal(&client, publisher, few).await, Some(3005));
    assert_eq!(refusal(&client, publisher, good).await, None);
}
