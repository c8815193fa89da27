#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

//! Sending and following transactions, and memos, against a node that says what the test wants.

#[allow(dead_code, reason = "shared with other tests")]
mod target_script;

use serde_json::{Value, json};
use solana_rpc_client_api::request::RpcResponseErrorData;
use solana_rpc_client_api::response::RpcSimulateTransactionResult;
use solana_sdk::signature::Keypair;
use target_script::{Script, State, instructions, program, roots, signer, why};
use twzrd_chain::keys::Signer;
use twzrd_chain::program::account::Slot;
use twzrd_chain::program::memo::{self, MEMO_PROGRAM};
use twzrd_chain::target::{MemoTarget, TargetConfig};
use twzrd_domain::chain::{ChainError, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::settlement::{RootId, RootKind, RootToPublish, Target, Why};

async fn signed(target: &dyn RootChain, n: u64) -> SignedTransaction {
    target.draft(&roots(n)).await.unwrap().signed.unwrap()
}

#[tokio::test]
async fn sending_sends_the_same_bytes_and_what_was_processed_is_no_error() {
    let (script, target) = program();
    let transaction = signed(&target, 2).await;
    target.send(&transaction).await.unwrap();
    target.send(&transaction).await.unwrap();
    assert_eq!(script.set().sent, vec![transaction.bytes.clone(); 2]);
    let (_, params) = script.set().calls.last().unwrap().clone();
    assert_eq!(
        params[1],
        json!({ "encoding": "base64", "skipPreflight": true, "maxRetries": 0 })
    );
    let processed: RpcSimulateTransactionResult =
        serde_json::from_value(json!({ "err": "AlreadyProcessed", "logs": [] })).unwrap();
    let processed = RpcResponseErrorData::SendTransactionPreflightFailure(processed);
    script.set().send_error = Some((-32002, processed));
    target.send(&transaction).await.unwrap();
    script.set().send_error = Some((-32602, RpcResponseErrorData::Empty));
    let error = target.send(&transaction).await.unwrap_err();
    assert!(matches!(error, ChainError::Permanent { .. }), "{error}");
}

fn status(slot: u64, err: &Value, confirmation: &str) -> Value {
    let confirmations = if confirmation == "finalized" {
        Value::Null
    } else {
        json!(3)
    };
    let result = if err.is_null() {
        json!({ "Ok": null })
    } else {
        json!({ "Err": err })
    };
    json!({
        "slot": slot, "confirmations": confirmations, "status": result,
        "err": err, "confirmationStatus": confirmation,
    })
}

#[tokio::test]
async fn a_landing_is_final_only_when_it_is_finalized() {
    let (script, target) = program();
    let transaction = signed(&target, 3).await;
    let signature = transaction.signature.to_string();
    let landing = || target.landing(&transaction);
    assert_eq!(landing().await.unwrap(), Landing::Pending);
    script.set().slot = 3000;
    for unsettled in ["processed", "confirmed"] {
        script
            .set()
            .statuses
            .insert(signature.clone(), status(1001, &Value::Null, unsettled));
        script.set().height = 2000;
        assert_eq!(
            landing().await.unwrap(),
            Landing::Pending,
            "it may still be finalized"
        );
    }
    script
        .set()
        .statuses
        .insert(signature.clone(), status(1001, &Value::Null, "finalized"));
    assert_eq!(landing().await.unwrap(), Landing::Finalized { slot: 1001 });
    for (error, root, why) in [
        (
            json!({ "InstructionError": [3, { "Custom": 6000 }] }),
            Some(RootId(2)),
            Why::Unauthorized,
        ),
        (
            json!({ "InstructionError": [4, { "Custom": 6023 }] }),
            Some(RootId(3)),
            Why::EpochNotIncreasing,
        ),
        (
            json!({ "InstructionError": [4, { "Custom": 6031 }] }),
            Some(RootId(3)),
            Why::EpochNotIncreasing,
        ),
        (
            json!({ "InstructionError": [3, "ProgramFailedToComplete"] }),
            None,
            Why::TooLarge,
        ),
        (
            json!({ "InstructionError": [2, { "Custom": 1 }] }),
            None,
            Why::NoFunds,
        ),
        (
            json!({ "InstructionError": [0, "InvalidInstructionData"] }),
            None,
            Why::ProgramRefused,
        ),
        (json!("InsufficientFundsForFee"), None, Why::NoFunds),
    ] {
        script
            .set()
            .statuses
            .insert(signature.clone(), status(1001, &error, "finalized"));
        match landing().await.unwrap() {
            Landing::Rejected {
                slot: 1001,
                root: found,
                reason,
            } => {
                assert_eq!((found, reason.why), (root, why), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_transaction_expires_only_behind_its_last_valid_height() {
    let (script, target) = program();
    let transaction = signed(&target, 1).await;
    script.set().slot = 3000;
    script.set().height = transaction.last_valid_block_height;
    assert_eq!(
        target.landing(&transaction).await.unwrap(),
        Landing::Pending
    );
    script.set().height += 1;
    let expired = Landing::Expired {
        block_height: transaction.last_valid_block_height + 1,
    };
    assert_eq!(target.landing(&transaction).await.unwrap(), expired);
    // A node that began later, or has forgotten, cannot know.
    assert_eq!(transaction.signed_in_slot, Some(1000));
    script.set().first_available = 1001;
    let error = target.landing(&transaction).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    for part in ["script", "slot 1001", "slot 1000 or before"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    script.set().first_available = 1000;
    assert_eq!(target.landing(&transaction).await.unwrap(), expired);
    // What was stored without its slot has only the height.
    script.set().first_available = 1001;
    let old = SignedTransaction {
        signed_in_slot: None,
        ..transaction.clone()
    };
    assert_eq!(target.landing(&old).await.unwrap(), expired);
}

#[tokio::test]
async fn a_height_or_a_slot_that_cannot_be_is_not_believed() {
    let (script, target) = program();
    let transaction = signed(&target, 1).await;
    let signature = transaction.signature.to_string();
    for absurd in [1001, 1_000_000_000_000, u64::MAX] {
        script.set().height = absurd;
        let error = target.landing(&transaction).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("blockHeight"), "{error}");
    }
    script.set().height = 900;
    let failed = json!({ "InstructionError": [2, { "Custom": 6000 }] });
    for err in [Value::Null, failed] {
        let slot = script.set().slot;
        for absurd in [slot + 1, 1_000_000_000_000, u64::MAX] {
            let told = status(absurd, &err, "finalized");
            script.set().statuses.insert(signature.clone(), told);
            let error = target.landing(&transaction).await.unwrap_err();
            assert!(error.is_transient(), "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("slot {absurd}")), "{text}");
            assert!(text.contains(&format!("expected {slot} at most")), "{text}");
        }
        let told = status(999, &err, "finalized");
        script.set().statuses.insert(signature.clone(), told);
        let error = target.landing(&transaction).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(
            error.to_string().contains("expected 1000 at least"),
            "{error}"
        );
        // It was finalized between the two calls: the next look believes it.
        let told = status(slot + 2, &err, "finalized");
        script.set().statuses.insert(signature.clone(), told);
        let hook = |it: &mut State| it.slot += 2;
        let after = Box::new(hook);
        script.set().after.insert("getEpochInfo".to_owned(), after);
        let landing = target.landing(&transaction).await.unwrap();
        assert_eq!(landing, Landing::Pending);
        let landing = target.landing(&transaction).await.unwrap();
        assert_ne!(landing, Landing::Pending);
    }
}

/// It lands in the last block that it can, and the chain goes on, between the two calls.
#[tokio::test]
async fn what_lands_between_the_two_calls_is_not_called_expired() {
    let (script, target) = program();
    let transaction = signed(&target, 1).await;
    let signature = transaction.signature.to_string();
    script.set().slot = 3000;
    for method in ["getEpochInfo", "getSignatureStatuses"] {
        let signature = signature.clone();
        script.set().statuses.clear();
        script.set().height = transaction.last_valid_block_height;
        let hook = move |it: &mut State| {
            it.height += 100;
            it.slot += 100;
            it.statuses
                .insert(signature, status(it.slot, &Value::Null, "finalized"));
        };
        script.set().after.insert(method.to_owned(), Box::new(hook));
        let landing = target.landing(&transaction).await.unwrap();
        assert!(
            !matches!(landing, Landing::Expired { .. }),
            "{method}: {landing:?}"
        );
    }
    let (_, params) = script.set().calls.last().unwrap().clone();
    assert_eq!(params[1]["searchTransactionHistory"], true);
}

#[tokio::test]
async fn reading_back_waits_for_a_node_that_knows_the_slot() {
    let (script, target) = program();
    let transaction = signed(&target, 1).await;
    let all = roots(1);
    let error = target
        .read_back(&transaction, 1001, &all)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    script.set().slot = 1001;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    assert_eq!(
        target.read_back(&transaction, 1001, &all).await.unwrap(),
        [Standing::Free]
    );
    script.put_channel("channel_1", |it| {
        it.slots[0] = Slot::new(it.layout, 100, [7; 32]);
    });
    assert_eq!(
        target.read_back(&transaction, 1001, &all).await.unwrap(),
        [Standing::Published]
    );
    let (_, params) = script.set().calls.last().unwrap().clone();
    assert_eq!(params[1]["commitment"], "finalized");
    assert_eq!(params[1]["minContextSlot"], 1001);
}

fn memos() -> (Script, MemoTarget) {
    let script = Script::new();
    let target = MemoTarget::new(script.pool(), signer(), TargetConfig::default());
    (script, target)
}

fn transaction_json(bytes: &[u8], slot: u64, err: &Value) -> Value {
    use base64::Engine as _;
    let text = base64::prelude::BASE64_STANDARD.encode(bytes);
    let result = if err.is_null() {
        json!({ "Ok": null })
    } else {
        json!({ "Err": err })
    };
    json!({
        "slot": slot, "blockTime": 1, "version": "legacy",
        "transaction": [text, "base64"],
        "meta": {
            "err": err, "status": result, "fee": 5000,
            "preBalances": [1], "postBalances": [1],
        },
    })
}

#[tokio::test]
async fn memos_are_lines_of_which_several_share_a_transaction() {
    let (script, target) = memos();
    assert_eq!(target.target(), Target::Memo);
    let all = roots(20);
    assert!(
        target
            .look(&all)
            .await
            .unwrap()
            .iter()
            .all(|it| *it == Standing::Free)
    );
    let signed = target.draft(&all).await.unwrap().signed.unwrap();
    let taken = signed.roots.len();
    assert!((7..12).contains(&taken), "{taken}");
    for ((program, data), root) in instructions(&signed)[2..].iter().zip(&all) {
        assert_eq!(*program, MEMO_PROGRAM);
        assert_eq!(std::str::from_utf8(data).unwrap(), memo::line(root));
    }
    let signature = signed.signature.to_string();
    let back = || target.read_back(&signed, 1000, &all[..taken]);
    assert!(
        back().await.unwrap_err().is_transient(),
        "the node does not have it yet"
    );
    let put = |value| script.set().transactions.insert(signature.clone(), value);
    put(transaction_json(&signed.bytes, 1000, &Value::Null));
    assert_eq!(back().await.unwrap(), vec![Standing::Published; taken]);
    // The key is another one since.
    let key = Keypair::new_from_array([8; 32]).to_base58_string();
    let other = Signer::from_text("TEST_KEY", &key).unwrap();
    let other = MemoTarget::new(script.pool(), other, TargetConfig::default());
    let found = other.read_back(&signed, 1000, &all[..taken]).await;
    assert_eq!(found.unwrap(), vec![Standing::Published; taken]);
    let other = RootToPublish {
        root: [8; 32],
        ..all[0].clone()
    };
    let found = target
        .read_back(&signed, 1000, &[other, all[19].clone()])
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(why).collect::<Vec<_>>(),
        [Some(Why::ProgramRefused); 2]
    );
    put(transaction_json(&signed.bytes, 999, &Value::Null));
    assert!(back().await.unwrap_err().is_transient(), "in another slot");
    put(transaction_json(
        &signed.bytes,
        1000,
        &json!("AccountInUse"),
    ));
    assert!(back().await.unwrap_err().is_transient(), "it failed");
    let another = target.draft(&all[1..]).await.unwrap().signed.unwrap();
    put(transaction_json(&another.bytes, 1000, &Value::Null));
    assert!(
        back().await.unwrap_err().is_transient(),
        "another transaction"
    );
}

#[tokio::test]
async fn a_memo_of_a_participation_root_is_published() {
    let (script, _) = memos();
    let config = TargetConfig {
        kind: RootKind::Participation,
        ..TargetConfig::default()
    };
    let target = MemoTarget::new(script.pool(), signer(), config);
    assert!(target.draft(&roots(1)).await.unwrap().signed.is_some());
}
