//! Reading a transaction of the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::RpcRequest;
use solana_sdk::instruction::{AccountMeta, Instruction};
use solana_sdk::message::{AddressLookupTableAccount, VersionedMessage, v0};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer as _;
use solana_sdk::transaction::{Transaction, VersionedTransaction};
use twzrd_chain::activity::{ProgramActivity, Subscriber};
use twzrd_chain::program::Program;
use twzrd_chain::program::instruction::{Claim, claim_channel_open, set_channel_merkle_root};
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_domain::chain::{Activity, ChainActivity, ChainError, Deed, Mark, Subscription};
use twzrd_domain::identity::Channel;

struct NoSubscriber;

#[async_trait]
impl Subscriber for NoSubscriber {
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        panic!("not asked for here")
    }
}

/// A node that answers `getTransaction` the same way each time.
struct Node {
    answer: Value,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl RpcSender for Node {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        if request == RpcRequest::GetSlot {
            return Ok(json!(10));
        }
        assert_eq!(request, RpcRequest::GetTransaction);
        assert_eq!(params[1]["commitment"], "finalized");
        assert_eq!(params[1]["maxSupportedTransactionVersion"], 0);
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answer.clone())
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        String::new()
    }
}

async fn read(answers: &[Value], mark: &Mark) -> (Result<Activity, ChainError>, Vec<usize>) {
    let (activity, asked) = over(answers);
    let read = activity.read(mark).await;
    (
        read,
        asked
            .iter()
            .map(|asked| asked.load(Ordering::SeqCst))
            .collect(),
    )
}

/// Nodes that answer these, and how often each is asked.
fn over(answers: &[Value]) -> (ProgramActivity, Vec<Arc<AtomicUsize>>) {
    let mut asked: Vec<Arc<AtomicUsize>> = Vec::new();
    let endpoints = answers.iter().zip(["a", "b", "c"]).map(|(answer, name)| {
        asked.push(Arc::default());
        let node = Node {
            answer: answer.clone(),
            asked: Arc::clone(&asked[asked.len() - 1]),
        };
        Endpoint::new(name, Box::new(node))
    });
    let pool = Pool::new(endpoints.collect(), PoolConfig::default()).unwrap();
    let activity = ProgramActivity::new(pool, Program::default(), Box::new(NoSubscriber));
    (activity, asked)
}

fn channel() -> Channel {
    "lacy".parse().unwrap()
}

fn payer() -> Keypair {
    Keypair::new_from_array([3; 32])
}

fn publish(number: u64) -> Instruction {
    publish_of(&Program::default(), number)
}

fn publish_of(program: &Program, number: u64) -> Instruction {
    set_channel_merkle_root(program, &payer().pubkey(), &channel(), number, [9; 32])
}

/// The program, set up by somebody for a mint of their own.
fn other_mint() -> Program {
    Program {
        mint: Pubkey::new_from_array([6; 32]),
        ..Program::default()
    }
}

fn claim() -> Instruction {
    claim_of(&Program::default())
}

fn claim_of(program: &Program) -> Instruction {
    let claim = Claim {
        number: 7,
        index: 5,
        amount: 80,
        id: "twitch:lacy:me",
        proof: &[[1; 32]],
    };
    claim_channel_open(program, &payer().pubkey(), &channel(), &claim)
}

fn other() -> Instruction {
    let accounts = vec![AccountMeta::new_readonly(Program::default().id, false)];
    Instruction {
        program_id: Pubkey::new_from_array([8; 32]),
        accounts,
        data: vec![1, 2],
    }
}

fn transaction(instructions: &[Instruction]) -> VersionedTransaction {
    let payer = payer();
    let signed = Transaction::new_signed_with_payer(
        instructions,
        Some(&payer.pubkey()),
        &[&payer],
        Default::default(),
    );
    signed.into()
}

fn meta() -> Value {
    json!({
        "err": null, "status": {"Ok": null}, "fee": 5000, "preBalances": [], "postBalances": [],
        "innerInstructions": [], "logMessages": [], "preTokenBalances": [], "rewards": null,
        "postTokenBalances": [
            balance(&Program::default().mint.to_string(), "80"),
            balance(&other_mint().mint.to_string(), "7"),
        ],
    })
}

fn balance(mint: &str, amount: &str) -> Value {
    json!({"accountIndex": 1, "mint": mint, "uiTokenAmount":
        {"amount": amount, "decimals": 9, "uiAmount": 0.0, "uiAmountString": "0"}})
}

fn answer(transaction: &VersionedTransaction, meta: &Value) -> (Value, Mark) {
    let bytes = BASE64_STANDARD.encode(bincode::serialize(transaction).unwrap());
    let answer = json!({
        "slot": 10, "blockTime": 1_700_000_000, "version": "legacy",
        "transaction": [bytes, "base64"], "meta": meta,
    });
    let signature = transaction.signatures[0].to_string().into();
    (
        answer,
        Mark {
            slot: 10,
            signature,
        },
    )
}

#[tokio::test(start_paused = true)]
async fn the_instructions_of_the_program_come_in_the_order_in_which_they_ran() {
    let transaction = transaction(&[publish(6), other(), claim()]);
    let keys = transaction.message.static_account_keys();
    let at = |key: &Pubkey| keys.iter().position(|k| k == key).unwrap();
    let inner = publish(8);
    let accounts: Vec<usize> = inner.accounts.iter().map(|meta| at(&meta.pubkey)).collect();
    let mut meta = meta();
    meta["innerInstructions"] = json!([{"index": 1, "instructions": [
        {"programIdIndex": at(&other().program_id), "accounts": [], "data": "", "stackHeight": 2},
        {"programIdIndex": at(&Program::default().id), "accounts": accounts,
         "data": bs58::encode(&inner.data).into_string(), "stackHeight": 3},
    ]}]);
    let (answer, mark) = answer(&transaction, &meta);
    let activity = read(&[answer], &mark).await.0.unwrap();
    assert_eq!(activity.mark, mark);
    assert_eq!(activity.block_time, Some(1_700_000_000));
    let deeds: Vec<_> = activity
        .actions
        .iter()
        .map(|a| (a.index, a.deed.clone()))
        .collect();
    let published = |number| Deed::Publish {
        channel: Some(channel()),
        number,
        root: [9; 32],
    };
    let claimed = Deed::Claim {
        channel: Some(channel()),
        number: 7,
        index: 5,
        amount: 80,
        claimer: payer().pubkey().to_string().into(),
    };
    assert_eq!(deeds, [(0, published(6)), (3, published(8)), (4, claimed)]);

    let json: Value = serde_json::from_str(&activity.actions[2].json).unwrap();
    let mut members: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "accounts",
            "blockTime",
            "instruction",
            "meta",
            "signature",
            "slot"
        ]
    );
    assert_eq!(json["slot"], 10);
    assert_eq!(json["signature"], mark.signature.as_str());
    assert_eq!(json["blockTime"], 1_700_000_000);
    assert_eq!(json["instruction"]["program"], "Attention Oracle");
    assert_eq!(
        json["instruction"]["programId"],
        Program::default().id.to_string()
    );
    assert_eq!(json["instruction"]["action"], "claim_channel_open");
    assert!(json["instruction"]["data"].is_object());
    assert_eq!(json["accounts"][0]["pubkey"], payer().pubkey().to_string());
    assert_eq!(json["meta"]["fee"], 5000);
    assert_eq!(json["meta"]["preTokenBalances"], json!([]));
    assert_eq!(
        json["meta"]["postTokenBalances"][0]["uiTokenAmount"]["amount"],
        "80"
    );
    let balances = json["meta"]["postTokenBalances"].as_array().unwrap();
    assert_eq!(balances.len(), 1, "those of our mint");
    assert!(!activity.actions[2].json.contains('\n'));
}

#[tokio::test(start_paused = true)]
async fn a_failed_transaction_did_nothing() {
    let mut meta = meta();
    meta["err"] = json!({"InstructionError": [0, {"Custom": 6006}]});
    meta["status"] = json!({"Err": {"InstructionError": [0, {"Custom": 6006}]}});
    let (answer, mark) = answer(&transaction(&[claim()]), &meta);
    let activity = read(&[answer], &mark).await.0.unwrap();
    assert_eq!(
        activity,
        Activity {
            mark,
            block_time: Some(1_700_000_000),
            actions: vec![]
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_know_a_finalized_transaction_is_followed_by_the_next() {
    let (good, mark) = answer(&transaction(&[claim()]), &meta());
    let (read_, asked) = read(&[Value::Null, good], &mark).await;
    assert_eq!(read_.unwrap().actions.len(), 1);
    assert_eq!(asked, [1, 1]);
    let (read_, asked) = read(&[Value::Null, Value::Null], &mark).await;
    let error = read_.unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("null"),
        "{error}"
    );
    assert!(
        error.to_string().contains(mark.signature.as_str()),
        "{error}"
    );
    assert_eq!(asked, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_contradicts_what_is_known_is_never_taken() {
    let (good, mark) = answer(&transaction(&[claim()]), &meta());
    let (another, _) = answer(&transaction(&[publish(1)]), &meta());
    let with = |change: &dyn Fn(&mut Value)| {
        let mut answer = good.clone();
        change(&mut answer);
        answer
    };
    let program = Program::default().id;
    let wrong = [
        ("another transaction", another),
        ("slot 11", with(&|a| a["slot"] = json!(11))),
        ("without meta", with(&|a| a["meta"] = Value::Null)),
        (
            "no transaction",
            with(&|a| a["transaction"][0] = json!("AAAA")),
        ),
        (
            "inside of instruction 9",
            with(&|a| {
                a["meta"]["innerInstructions"] = json!([{"index": 9, "instructions": []}]);
            }),
        ),
        (
            "twice",
            with(&|a| {
                let inner = json!({"index": 0, "instructions": []});
                a["meta"]["innerInstructions"] = json!([inner, inner]);
            }),
        ),
        (
            "account 200",
            with(&|a| {
                a["meta"]["innerInstructions"] = json!([{"index": 0, "instructions": [
                {"programIdIndex": 200, "accounts": [], "data": "", "stackHeight": 2}]}]);
            }),
        ),
        (
            "no base58",
            with(&|a| {
                a["meta"]["innerInstructions"] = json!([{"index": 0, "instructions": [
                {"programIdIndex": 0, "accounts": [], "data": "0OIl", "stackHeight": 2}]}]);
            }),
        ),
        (
            "neither inner instructions nor logs",
            with(&|a| {
                a["meta"]["innerInstructions"] = Value::Null;
                a["meta"]["logMessages"] = Value::Null;
            }),
        ),
        (
            "may hide some",
            with(&|a| {
                a["meta"]["innerInstructions"] = Value::Null;
                a["meta"]["logMessages"] = json!([format!("Program {program} invoke [2]")]);
            }),
        ),
        (
            "loaded address",
            with(&|a| {
                a["meta"]["loadedAddresses"] = json!({"writable": ["nonsense"], "readonly": []});
            }),
        ),
    ];
    for (expected, answer) in wrong {
        let error = read(&[answer], &mark).await.0.unwrap_err();
        assert!(
            error.is_transient() && error.to_string().contains(expected),
            "{error}"
        );
    }
    let quiet = with(&|a| {
        a["meta"]["innerInstructions"] = Value::Null;
        a["meta"]["logMessages"] = json!([format!("Program {program} invoke [1]")]);
    });
    assert_eq!(read(&[quiet], &mark).await.0.unwrap().actions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instruction_that_cannot_be_read_is_named_and_not_left_out() {
    let mut torn = claim();
    torn.data.truncate(12);
    let (answer, mark) = answer(&transaction(&[torn, claim()]), &meta());
    let activity = read(&[answer], &mark).await.0.unwrap();
    assert_eq!(activity.actions.len(), 2);
    assert_eq!(activity.actions[0].deed, Deed::Other);
    assert!(activity.actions[0].json.contains("claim_channel_open"));
    assert!(activity.actions[0].json.contains("error"));
}

#[tokio::test(start_paused = true)]
async fn what_is_done_under_another_mint_is_logged_and_is_no_deed_of_ours() {
    let theirs = other_mint();
    let all = [claim_of(&theirs), publish_of(&theirs, 7), claim()];
    let (answer, mark) = answer(&transaction(&all), &meta());
    let actions = read(&[answer], &mark).await.0.unwrap().actions;
    let deeds: Vec<_> = actions.iter().map(|action| &action.deed).collect();
    assert_eq!(deeds[..2], [&Deed::Other, &Deed::Other]);
    assert!(matches!(deeds[2], Deed::Claim { .. }));
    let json: Value = serde_json::from_str(&actions[0].json).unwrap();
    assert_eq!(json["instruction"]["action"], "claim_channel_open");
    assert_eq!(json["instruction"]["data"]["amount"], 80);
    assert_eq!(json["meta"]["postTokenBalances"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn no_stranger_makes_a_long_line() {
    // What one program may hand to another: ten kilobytes, and any account 255 times.
    let mut long = publish_of(&other_mint(), 7);
    let name = "\u{1}".repeat(9_000);
    long.data.truncate(8);
    borsh::to_writer(&mut long.data, &(name, 7_u64, [9_u8; 32])).unwrap();
    let transaction = transaction(&[long.clone()]);
    let mut meta = meta();
    let at = transaction.message.static_account_keys();
    let at = at.iter().position(|key| *key == long.program_id).unwrap();
    meta["innerInstructions"] = json!([{"index": 0, "instructions": [{"programIdIndex": at,
        "accounts": vec![0; 255], "data": bs58::encode(&long.data).into_string(),
        "stackHeight": 2}]}]);
    meta["postTokenBalances"] = vec![balance(&other_mint().mint.to_string(), "1"); 60].into();
    let (answer, mark) = answer(&transaction, &meta);
    for action in read(&[answer], &mark).await.0.unwrap().actions {
        assert!(action.json.len() < 8_000, "{} bytes", action.json.len());
        let json: Value = serde_json::from_str(&action.json).unwrap();
        assert_eq!(json["instruction"]["action"], "set_channel_merkle_root");
        let left_out = json["instruction"]["data"]["left_out"].as_str().unwrap();
        assert!(left_out.contains("bytes"), "{left_out}");
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_of_a_lookup_table_stand_behind_those_of_the_message() {
    let claim = claim();
    let table = AddressLookupTableAccount {
        key: Pubkey::new_from_array([5; 32]),
        addresses: claim.accounts[1..].iter().map(|it| it.pubkey).collect(),
    };
    let payer = payer();
    let message = v0::Message::try_compile(
        &payer.pubkey(),
        std::slice::from_ref(&claim),
        std::slice::from_ref(&table),
        Default::default(),
    )
    .unwrap();
    let lookup = &message.address_table_lookups[0];
    let loaded = |places: &[u8]| -> Vec<String> {
        let key = |at: &u8| table.addresses[usize::from(*at)].to_string();
        places.iter().map(key).collect()
    };
    let mut meta = meta();
    meta["loadedAddresses"] = json!({"writable": loaded(&lookup.writable_indexes),
        "readonly": loaded(&lookup.readonly_indexes)});
    assert!(message.account_keys.len() < 4, "most are looked up");
    let signed = VersionedTransaction::try_new(VersionedMessage::V0(message), &[&payer]).unwrap();
    let (mut answer, mark) = answer(&signed, &meta);
    answer["version"] = json!(0);
    let actions = read(&[answer], &mark).await.0.unwrap().actions;
    assert!(
        matches!(&actions[0].deed, Deed::Claim { index: 5, .. }),
        "{actions:?}"
    );
    let json: Value = serde_json::from_str(&actions[0].json).unwrap();
    let shown: Vec<&str> = json["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| account["pubkey"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = claim
        .accounts
        .iter()
        .map(|it| it.pubkey.to_string())
        .collect();
    assert_eq!(shown, expected);
}

#[tokio::test(start_paused = true)]
async fn of_many_reads_at_once_each_comes_to_the_node_that_knows() {
    let (good, mark) = answer(&transaction(&[claim()]), &meta());
    for answers in [[Value::Null, good.clone()], [good, Value::Null]] {
        let (activity, _) = over(&answers);
        let reads = futures::future::join_all((0..50).map(|_| activity.read(&mark))).await;
        for read in reads {
            assert_eq!(read.unwrap().actions.len(), 1);
        }
    }
}
