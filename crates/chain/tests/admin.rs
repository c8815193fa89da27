#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

//! The operator's instructions against a node that says what the test wants.

#[allow(dead_code, reason = "shared with other tests")]
mod target_script;

use std::time::Duration;

use serde_json::{Value, json};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::transaction::Transaction;
use target_script::{Script, State, channel_state, protocol, signer};
use twzrd_chain::admin::{Admin, AdminConfig, AdminError, Change, Operation, show};
use twzrd_chain::program::account::{ProtocolState, Slot};
use twzrd_chain::program::{Program, decode};

/// The protocol of whom our key is the admin.
fn ours() -> ProtocolState {
    ProtocolState {
        admin: signer().pubkey(),
        publisher: Pubkey::from([2; 32]),
        ..protocol()
    }
}

fn world() -> (Script, Admin) {
    let script = Script::new();
    script.put_protocol(&ours());
    let admin = Admin::new(
        script.pool(),
        Program::default(),
        signer(),
        AdminConfig::default(),
    );
    (script, admin)
}

type Account = (Pubkey, u64, Vec<u8>);

fn account(state: &ProtocolState) -> (Pubkey, Account) {
    let program = Program::default();
    (
        program.protocol_state().0,
        (program.id, 1_000_000, state.encode()),
    )
}

fn finalized(slot: u64, err: &Value) -> Value {
    let result = if err.is_null() {
        json!({ "Ok": null })
    } else {
        json!({ "Err": err })
    };
    json!({
        "slot": slot, "confirmations": null, "status": result,
        "err": err, "confirmationStatus": "finalized",
    })
}

/// The signature of what was sent last.
fn sent(state: &State) -> String {
    let transaction: Transaction = bincode::deserialize(state.sent.last().unwrap()).unwrap();
    transaction.signatures[0].to_string()
}

/// What is sent lands at once with this result, and the account then holds this.
fn lands(script: &Script, err: Value, (address, account): (Pubkey, Account)) {
    let hook = move |state: &mut State| {
        state.slot += 1;
        let status = finalized(state.slot, &err);
        state.statuses.insert(sent(state), status);
        state.accounts.insert(address, account);
    };
    script
        .set()
        .after
        .insert("sendTransaction".to_owned(), Box::new(hook));
}

fn change(name: &str, before: &str, after: &str) -> Change {
    Change {
        name: name.to_owned(),
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
    }
}

#[tokio::test]
async fn a_dry_run_shows_logs_and_what_would_change_and_sends_nothing() {
    let (script, admin) = world();
    let (address, after) = account(&ProtocolState {
        paused: true,
        ..ours()
    });
    script.set().simulated_accounts.insert(address, after);
    let plan = admin.plan(&Operation::SetPaused(true)).await.unwrap();
    assert_eq!((plan.is_held, &plan.refused), (false, &None));
    assert_eq!(plan.changes, [change("paused", "false", "true")]);
    assert_eq!(plan.logs, ["Program log: a line of the log"]);
    assert_eq!((plan.account, plan.signer), (address, signer().pubkey()));
    let text = plan.to_string();
    for part in [
        "set-paused true",
        "log: Program log: a line",
        "paused: false -> true",
        "5000 lamports",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let state = script.set();
    assert!(state.sent.is_empty());
    let simulated = &state.simulated[0];
    assert_eq!(
        simulated.signatures[0],
        solana_sdk::signature::Signature::default()
    );
}

#[tokio::test]
async fn each_operation_is_done_and_read_back() {
    let key = Pubkey::from([5; 32]);
    for (operation, name, after, expected) in [
        (
            Operation::SetPaused(true),
            "set_paused_open",
            ProtocolState {
                paused: true,
                ..ours()
            },
            change("paused", "false", "true"),
        ),
        (
            Operation::SetPolicy(true),
            "set_policy_open",
            ProtocolState {
                require_receipt: true,
                ..ours()
            },
            change("require_receipt", "false", "true"),
        ),
        (
            Operation::UpdatePublisher(key),
            "update_publisher_open",
            ProtocolState {
                publisher: key,
                ..ours()
            },
            change(
                "publisher",
                &Pubkey::from([2; 32]).to_string(),
                &key.to_string(),
            ),
        ),
        (
            Operation::UpdateAdmin(key),
            "update_admin_open",
            ProtocolState {
                admin: key,
                ..ours()
            },
            change("admin", &signer().pubkey().to_string(), &key.to_string()),
        ),
    ] {
        let (script, admin) = world();
        lands(&script, Value::Null, account(&after));
        tokio::time::pause();
        let done = admin.execute(&operation).await.unwrap();
        tokio::time::resume();
        assert_eq!(done.changes, [expected]);
        let state = script.set();
        assert_eq!(
            (done.slot, done.signature),
            (Some(1001), Some(sent(&state)))
        );
        let transaction: Transaction = bincode::deserialize(&state.sent[0]).unwrap();
        transaction.verify().unwrap();
        let data = &transaction.message.instructions[2].data;
        assert_eq!(decode::describe(data, &[key; 2]).name, name);
    }
}

#[tokio::test]
async fn a_channel_is_made_and_read_back() {
    let (script, admin) = world();
    let operation = Operation::InitializeChannel("lacy".parse().unwrap());
    let (address, state) = channel_state("lacy", |_| ());
    let made = (Program::default().id, 1, state.encode());
    lands(&script, Value::Null, (address, made));
    tokio::time::pause();
    let done = admin.execute(&operation).await.unwrap();
    assert!(done.changes.iter().all(|change| change.before.is_none()));
    assert_eq!(
        done.changes[0].to_string(),
        "layout: nothing -> packed-10x128"
    );
    let again = admin.execute(&operation).await.unwrap();
    assert_eq!(
        (again.signature, again.changes),
        (None, Vec::new()),
        "it is there"
    );
    assert_eq!(script.set().sent.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_are_sent_until_they_land() {
    let (script, admin) = world();
    let late = script.clone();
    let operation = Operation::SetPaused(true);
    let until = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        let mut state = late.set();
        state.slot += 1;
        let (signature, status) = (sent(&state), finalized(state.slot, &Value::Null));
        state.statuses.insert(signature, status);
        let (address, paused) = account(&ProtocolState {
            paused: true,
            ..ours()
        });
        state.accounts.insert(address, paused);
    };
    let (done, ()) = tokio::join!(admin.execute(&operation), until);
    assert_eq!(done.unwrap().changes, [change("paused", "false", "true")]);
    let state = script.set();
    assert_eq!(state.sent.len(), 5, "at 0, 2, 4, 6 and 8 seconds");
    assert!(state.sent.iter().all(|bytes| *bytes == state.sent[0]));
}

#[tokio::test]
async fn what_the_account_does_not_hold_afterwards_is_an_error() {
    let (script, admin) = world();
    lands(&script, Value::Null, account(&ours()));
    let error = admin
        .execute(&Operation::SetPaused(true))
        .await
        .unwrap_err();
    assert!(matches!(error, AdminError::NotHeld { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("set-paused true") && text.contains("paused false"),
        "{text}"
    );
}

#[tokio::test]
async fn what_the_program_refuses_is_not_signed_and_names_both_keys() {
    let (script, admin) = world();
    script.put_protocol(&protocol());
    script
        .set()
        .refuse
        .insert("set_paused_open".to_owned(), json!({ "Custom": 6000 }));
    let operation = Operation::SetPaused(true);
    let plan = admin.plan(&operation).await.unwrap();
    let refused = plan.refused.clone().unwrap();
    for part in [
        "6000 Unauthorized".to_owned(),
        signer().pubkey().to_string(),
        protocol().admin.to_string(),
    ] {
        assert!(refused.contains(&part), "{refused}");
    }
    assert!(plan.to_string().ends_with(&format!("refused: {refused}")));
    match admin.execute(&operation).await.unwrap_err() {
        AdminError::Refused { error, logs, .. } => {
            assert_eq!((error, logs), (refused, plan.logs));
        }
        other => panic!("{other}"),
    }
    assert!(script.set().sent.is_empty());
}

#[tokio::test]
async fn what_is_held_already_is_not_sent() {
    let (script, admin) = world();
    let plan = admin.plan(&Operation::SetPaused(false)).await.unwrap();
    assert!(plan.is_held && plan.to_string().contains("held already"));
    let done = admin.execute(&Operation::SetPaused(false)).await.unwrap();
    assert_eq!((done.signature, done.slot), (None, None));
    assert!(script.set().sent.is_empty());
}

#[tokio::test]
async fn what_is_held_is_not_refused_whatever_the_program_says_to_it() {
    let (script, admin) = world();
    script.put_channel("tea", |_| ());
    let refusal = json!({ "Custom": 6015 });
    script
        .set()
        .refuse
        .insert("initialize_channel".to_owned(), refusal);
    let operation = Operation::InitializeChannel("tea".parse().unwrap());
    let plan = admin.plan(&operation).await.unwrap();
    assert_eq!((plan.is_held, &plan.refused), (true, &None));
    assert!(
        plan.to_string()
            .ends_with("held already: nothing would be sent")
    );
    assert_eq!(admin.execute(&operation).await.unwrap().signature, None);
    let other = Operation::InitializeChannel("coffee".parse().unwrap());
    assert!(admin.plan(&other).await.unwrap().refused.is_some());
}

#[tokio::test]
async fn a_log_of_a_plan_obeys_no_terminal_and_has_an_end() {
    let (script, admin) = world();
    script.set().logs = vec!["Program log: \u{1b}[2Jx\r\n".repeat(100); 1000];
    let plan = admin.plan(&Operation::SetPaused(true)).await.unwrap();
    assert_eq!(plan.logs.len(), 101);
    assert_eq!(plan.logs[100], "and 900 lines more");
    assert!(plan.logs.iter().all(|line| line.chars().count() <= 301));
    assert!(!plan.logs.iter().any(|line| line.contains(char::is_control)));
}

#[tokio::test(start_paused = true)]
async fn what_is_finalized_is_verified_when_the_nodes_are_back_and_named_where_they_stay_away() {
    let operation = Operation::SetPaused(true);
    let paused = || {
        account(&ProtocolState {
            paused: true,
            ..ours()
        })
    };
    for (failures, is_verified) in [(5, true), (1000, false)] {
        let (script, admin) = world();
        lands(&script, Value::Null, paused());
        let hook = move |it: &mut State| {
            it.broken.insert("getMultipleAccounts".to_owned(), failures);
        };
        let after = Box::new(hook);
        script
            .set()
            .after
            .insert("getSignatureStatuses".to_owned(), after);
        let done = admin.execute(&operation).await;
        let signature = sent(&script.set());
        if is_verified {
            let done = done.unwrap();
            assert_eq!(done.signature, Some(signature));
            assert_eq!(done.changes, [change("paused", "false", "true")]);
            continue;
        }
        let error = done.unwrap_err();
        assert!(
            matches!(error, AdminError::NotVerified { slot: 1001, .. }),
            "{error}"
        );
        for part in [
            signature.as_str(),
            "slot 1001",
            "not verified",
            "connection refused",
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn a_last_height_that_cannot_be_signs_nothing() {
    for absurd in [0, 1_000_000_000_000] {
        let (script, admin) = world();
        script.set().last_valid = Some(absurd);
        let error = admin
            .execute(&Operation::SetPaused(true))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&absurd.to_string()), "{error}");
        assert!(script.set().sent.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_known_is_told_apart_from_one_that_is() {
    let operation = Operation::SetPaused(true);
    let (script, admin) = world();
    let error = admin.execute(&operation).await.unwrap_err();
    assert!(matches!(error, AdminError::Unknown { .. }), "{error}");
    assert_eq!(script.set().sent.len(), 60, "every 2 of 120 seconds");
    let (script, admin) = world();
    script.set().after.insert(
        "sendTransaction".to_owned(),
        Box::new(|it| {
            it.slot += 151;
            it.height += 151;
        }),
    );
    let error = admin.execute(&operation).await.unwrap_err();
    assert!(matches!(error, AdminError::Expired { .. }), "{error}");
    assert_eq!(script.set().sent.len(), 1);
    let (script, admin) = world();
    let failed = json!({ "InstructionError": [2, { "Custom": 6000 }] });
    lands(&script, failed, account(&ours()));
    let error = admin.execute(&operation).await.unwrap_err();
    match &error {
        AdminError::Failed {
            slot: 1001, error, ..
        } => assert_eq!(error, "6000 Unauthorized"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn nobody_hands_the_program_to_the_zero_key() {
    let (script, admin) = world();
    for result in [
        admin
            .plan(&Operation::UpdateAdmin(Pubkey::default()))
            .await
            .map(|_| ()),
        admin
            .execute(&Operation::UpdateAdmin(Pubkey::default()))
            .await
            .map(|_| ()),
    ] {
        assert!(matches!(result, Err(AdminError::Senseless { .. })));
    }
    assert!(script.methods().is_empty());
}

#[tokio::test]
async fn accounts_are_shown_or_refused_by_what_is_wrong_with_them() {
    let (script, _) = world();
    let (pool, program) = (script.pool(), Program::default());
    let channel = "lacy".parse().unwrap();
    let shown = show(&pool, &program, Some(&channel)).await.unwrap();
    assert_eq!(shown.len(), 2);
    assert!(
        shown[0]
            .to_string()
            .contains(&format!("admin: {}", signer().pubkey()))
    );
    assert_eq!(
        shown[1].to_string(),
        format!("channel {}: no account", shown[1].address)
    );
    script.put_channel("lacy", |it| {
        it.slots[3] = Slot::new(it.layout, 13, [7; 32]);
    });
    let shown = show(&pool, &program, Some(&channel)).await.unwrap();
    let root = "07".repeat(32);
    let text = shown[1].to_string();
    assert!(
        text.contains(&format!("slot 3: epoch 13, root {root}, 0 claims")),
        "{text}"
    );
    let address = program.protocol_state().0;
    let foreign = (Pubkey::from([3; 32]), 1, ours().encode());
    script.set().accounts.insert(address, foreign);
    let error = show(&pool, &program, None).await.unwrap_err();
    let expected = format!("expected {}", program.id);
    assert!(error.to_string().contains(&expected), "{error}");
    script
        .set()
        .accounts
        .insert(address, (program.id, 1, vec![0; 140]));
    let error = show(&pool, &program, None).await.unwrap_err();
    assert!(
        error.to_string().contains("140 bytes; expected 141"),
        "{error}"
    );
}
