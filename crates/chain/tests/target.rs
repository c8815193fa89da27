#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

//! Looking and drafting against a node that says what the test wants.

#[allow(dead_code, reason = "shared with other tests")]
mod target_script;

use serde_json::{Value, json};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::transaction::Transaction;
use target_script::{
    Script, State, UNITS, channel_state, instructions, program, protocol, root, roots, signer,
    target_of, why,
};
use twzrd_chain::program::account::{Layout, ProtocolState, Slot};
use twzrd_chain::program::{Program, SYSTEM_PROGRAM, decode};
use twzrd_chain::target::{MAX_TRANSACTION_BYTES, TargetConfig};
use twzrd_domain::chain::{Deed, RootChain, Standing};
use twzrd_domain::settlement::{RootId, RootKind, RootToPublish, Why};

#[tokio::test]
async fn looking_tells_where_each_root_stands_at_one_finalized_slot() {
    let (script, target) = program();
    script.put_channel("published", |it| {
        it.slots[0] = Slot::new(it.layout, 100, [7; 32]);
    });
    script.put_channel("newer", |it| {
        it.slots[0] = Slot::new(it.layout, 110, [1; 32]);
    });
    script.put_channel("other", |it| {
        it.slots[0] = Slot::new(it.layout, 100, [8; 32]);
    });
    let mut all: Vec<RootToPublish> = roots(130);
    all.extend(["published", "newer", "other"].map(|channel| root(200, channel)));
    let found = target.look(&all).await.unwrap();
    assert_eq!(found.len(), 133);
    assert!(
        found[..130]
            .iter()
            .all(|standing| *standing == Standing::Free)
    );
    assert_eq!(found[130..132], [Standing::Published, Standing::Newer(110)]);
    assert_eq!(why(&found[132]), Some(Why::ProgramRefused));
    let state = script.set();
    let reads: Vec<&Value> = state.calls.iter().map(|(_, params)| params).collect();
    assert_eq!(reads.len(), 2, "135 accounts in chunks of 100");
    for read in reads {
        assert_eq!(read[1]["commitment"], "finalized");
        assert_eq!(read[1]["minContextSlot"], 1000);
    }
}

#[tokio::test]
async fn each_obstacle_is_its_own_reason() {
    let foreign = ProtocolState {
        publisher: Pubkey::from([2; 32]),
        ..protocol()
    };
    let paused = ProtocolState {
        paused: true,
        ..protocol()
    };
    for (state, expected) in [
        (Some(paused), Why::Paused),
        (Some(foreign), Why::Unauthorized),
        (None, Why::ProtocolMissing),
    ] {
        let script = Script::new();
        if let Some(state) = state {
            script.put_protocol(&state);
        }
        let target = target_of(&script, TargetConfig::default());
        let found = target.look(&roots(1)).await.unwrap();
        assert_eq!(why(&found[0]), Some(expected));
        let draft = target.draft(&roots(1)).await.unwrap();
        assert_eq!(draft.signed, None);
        assert_eq!(
            (draft.refused[0].0, draft.refused[0].1.why),
            (RootId(1), expected)
        );
    }
    let (_, target) = program();
    let many = RootToPublish {
        count: 1025,
        ..root(1, "lacy")
    };
    assert_eq!(
        why(&target.look(std::slice::from_ref(&many)).await.unwrap()[0]),
        Some(Why::TooManyParticipants)
    );
    assert_eq!(
        target.draft(&[many]).await.unwrap().refused[0].1.why,
        Why::TooManyParticipants
    );
    let (script, _) = program();
    let clean = TargetConfig {
        new_layout: Layout::C10x128,
        ..TargetConfig::default()
    };
    let found = target_of(&script, clean).look(&roots(1)).await.unwrap();
    assert_eq!(why(&found[0]), Some(Why::ChannelMissing));
}

#[tokio::test]
async fn a_participation_root_never_reaches_a_program_that_pays() {
    let (script, _) = program();
    let config = TargetConfig {
        kind: RootKind::Participation,
        ..TargetConfig::default()
    };
    let target = target_of(&script, config);
    assert_eq!(
        why(&target.look(&roots(1)).await.unwrap()[0]),
        Some(Why::ParticipationPays)
    );
    let draft = target.draft(&roots(2)).await.unwrap();
    assert_eq!(draft.signed, None);
    assert!(
        draft
            .refused
            .iter()
            .all(|(_, reason)| reason.why == Why::ParticipationPays)
    );
    assert_eq!(draft.refused.len(), 2);
    assert_eq!(script.methods(), Vec::<String>::new(), "nobody was asked");
}

#[tokio::test]
async fn a_draft_takes_as_many_roots_as_fit_and_signs_what_it_simulated() {
    let (script, target) = program();
    script.set().fees = vec![1000, 2000, 3000, 4000, 900_000];
    let all = roots(40);
    let draft = target.draft(&all).await.unwrap();
    let signed = draft.signed.unwrap();
    let taken = signed.roots.len();
    assert!((7..12).contains(&taken), "{taken}");
    assert_eq!(
        signed.roots,
        all[..taken].iter().map(|it| it.id).collect::<Vec<_>>()
    );
    assert_eq!(draft.refused, []);
    assert!(signed.bytes.len() <= MAX_TRANSACTION_BYTES);
    let longer = signed.bytes.len() + 100;
    assert!(longer > MAX_TRANSACTION_BYTES, "another root had fitted");
    assert_eq!(signed.last_valid_block_height, 1050);
    assert_eq!(signed.signed_in_slot, Some(1000));
    let transaction: Transaction = bincode::deserialize(&signed.bytes).unwrap();
    transaction.verify().unwrap();
    assert_eq!(
        transaction.signatures[0].to_string(),
        signed.signature.as_str()
    );
    let instructions = instructions(&signed);
    let units = (300 + UNITS * taken as u64) * 120 / 100;
    let limit = u32::from_le_bytes(instructions[0].1[1..].try_into().unwrap());
    assert_eq!(u64::from(limit), units, "20 % above the simulation");
    let price = u64::from_le_bytes(instructions[1].1[1..].try_into().unwrap());
    assert_eq!(price, 4000, "the 75th percentile");
    assert_eq!(
        signed.fee_lamports,
        5000 + (units * 4000).div_ceil(1_000_000)
    );
    for (at, (program, data)) in instructions[2..].iter().enumerate() {
        assert_eq!(*program, Program::default().id);
        let keys = [Pubkey::default(); 4];
        let deed = decode::decode(data, &keys).unwrap().deed;
        let expected = Deed::Publish {
            channel: Some(all[at].channel.clone()),
            number: 100,
            root: [7; 32],
        };
        assert_eq!(deed, expected);
    }
    let fees: u64 = draft.estimates.iter().map(|it| it.fee_lamports).sum();
    assert_eq!((fees, draft.estimates.len()), (signed.fee_lamports, taken));
    let rent = 890_880 + 6960 * 1782;
    assert!(
        draft
            .estimates
            .iter()
            .all(|it| it.rent_lamports == rent && it.units > UNITS)
    );
    let again = target.draft(&all[taken..]).await.unwrap().signed.unwrap();
    assert_eq!(again.roots[0], all[taken].id);
    assert_eq!(script.set().sent.len(), 0, "a draft sends nothing");
}

#[tokio::test]
async fn a_last_height_that_cannot_be_signs_nothing_and_one_that_is_too_low_is_not_believed() {
    let (script, target) = program();
    for absurd in [0, 899, 1201, 1_000_000_000_000, u64::MAX] {
        script.set().last_valid = Some(absurd);
        let error = target.draft(&roots(1)).await.unwrap_err();
        assert!(error.is_transient(), "{absurd}: {error}");
        if absurd < u64::MAX {
            let text = error.to_string();
            assert!(text.contains(&absurd.to_string()), "{text}");
            assert!(text.contains("expected 900 to 1200"), "{text}");
        }
    }
    // A transaction of this blockhash can land for 150 blocks, whatever the node tells.
    for (told, kept) in [(900, 1050), (1049, 1050), (1051, 1051), (1200, 1200)] {
        script.set().last_valid = Some(told);
        let signed = target.draft(&roots(1)).await.unwrap().signed.unwrap();
        assert_eq!(signed.last_valid_block_height, kept, "{told}");
    }
    // Height and blockhash are told at the same slot, and the height is above it.
    script.set().last_valid = None;
    script.set().height = 1001;
    let error = target.draft(&roots(1)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_number_of_another_counting_in_the_slot_is_held_and_not_superseded() {
    let (script, target) = program();
    script.put_clock(360_000 + 3600);
    for (channel, number) in [("seconds", 3_600_000), ("newer", 110)] {
        script.put_channel(channel, |it| {
            it.slots[0] = Slot::new(it.layout, number, [1; 32]);
        });
    }
    let all = [root(1, "seconds"), root(2, "newer"), root(3, "free")];
    let found = target.look(&all).await.unwrap();
    assert_eq!(why(&found[0]), Some(Why::OtherNumbering));
    assert_eq!(found[1..], [Standing::Newer(110), Standing::Free]);
    let draft = target.draft(&all).await.unwrap();
    assert_eq!(draft.signed.unwrap().roots, [RootId(3)]);
    let refused: Vec<_> = draft
        .refused
        .iter()
        .map(|(id, it)| (id.0, it.why))
        .collect();
    assert_eq!(refused, [(1, Why::OtherNumbering)]);
}

#[tokio::test]
async fn the_price_keeps_to_its_cap() {
    let (script, target) = program();
    script.set().fees = vec![u64::MAX; 150];
    let signed = target.draft(&roots(1)).await.unwrap().signed.unwrap();
    let price = u64::from_le_bytes(instructions(&signed)[1].1[1..].try_into().unwrap());
    assert_eq!(price, TargetConfig::default().max_fee_micro_lamports);
}

#[tokio::test]
async fn what_the_program_refuses_is_taken_out_and_the_rest_goes_on() {
    let (script, target) = program();
    for (channel, number) in [
        ("channel_1", 6000),
        ("channel_3", 6005),
        ("channel_4", 6015),
    ] {
        script
            .set()
            .refuse
            .insert(channel.to_owned(), json!({ "Custom": number }));
    }
    let draft = target.draft(&roots(6)).await.unwrap();
    let signed = draft.signed.unwrap();
    assert_eq!(signed.roots, [2, 5, 6].map(RootId));
    let refused: Vec<(u64, Why)> = draft
        .refused
        .iter()
        .map(|(id, it)| (id.0, it.why))
        .collect();
    assert_eq!(
        refused,
        [
            (1, Why::Unauthorized),
            (3, Why::Paused),
            (4, Why::ProgramRefused)
        ]
    );
    assert!(
        draft.refused[0].1.text.starts_with("6000 Unauthorized"),
        "{}",
        draft.refused[0].1
    );
    assert_eq!(script.set().simulated.len(), 4);
    let (all, _) = program();
    let target = target_of(&all, TargetConfig::default());
    all.set()
        .refuse
        .insert("channel_1".to_owned(), json!({ "Custom": 6000 }));
    assert_eq!(target.draft(&roots(1)).await.unwrap().signed, None);
}

#[tokio::test]
async fn an_epoch_that_does_not_increase_is_decided_by_the_account() {
    for (slot, refused) in [
        (Some((100, [7; 32])), false),
        (Some((110, [1; 32])), false),
        (None, true),
    ] {
        let (script, target) = program();
        script
            .set()
            .refuse
            .insert("channel_1".to_owned(), json!({ "Custom": 6023 }));
        // Somebody published it between the read of the accounts and the simulation.
        let (address, state) = channel_state("channel_1", |it| {
            if let Some((epoch, root)) = slot {
                it.slots[0] = Slot::new(it.layout, epoch, root);
            }
        });
        let account = (Program::default().id, 1, state.encode());
        let hook = move |it: &mut State| {
            it.accounts.insert(address, account);
        };
        script
            .set()
            .after
            .insert("simulateTransaction".to_owned(), Box::new(hook));
        let draft = target.draft(&roots(2)).await.unwrap();
        assert_eq!(draft.signed.unwrap().roots, [RootId(2)]);
        let reasons: Vec<Why> = draft.refused.iter().map(|(_, it)| it.why).collect();
        let expected = if refused {
            vec![Why::EpochNotIncreasing]
        } else {
            Vec::new()
        };
        assert_eq!(reasons, expected);
    }
}

#[tokio::test]
async fn a_channel_has_one_root_in_a_transaction() {
    let (script, target) = program();
    let later = RootToPublish {
        number: 110,
        ..root(2, "lacy")
    };
    let draft = target
        .draft(&[root(1, "lacy"), later, root(3, "xqc")])
        .await
        .unwrap();
    assert_eq!(draft.signed.unwrap().roots, [RootId(1), RootId(3)]);
    assert_eq!(draft.refused, []);
    script.put_channel("lacy", |it| {
        it.slots[0] = Slot::new(it.layout, 100, [7; 32]);
    });
    let draft = target.draft(&[root(1, "lacy")]).await.unwrap();
    assert_eq!(
        (draft.signed, draft.refused),
        (None, Vec::new()),
        "it is there by now"
    );
}

#[tokio::test]
async fn a_key_that_cannot_pay_is_named_with_what_it_has_and_needs() {
    let (script, target) = program();
    script.put_channel("channel_2", |_| ());
    script.set().balance = 5_000_000;
    let draft = target.draft(&roots(3)).await.unwrap();
    assert_eq!(
        draft.signed.unwrap().roots,
        [RootId(2)],
        "the one without rent is paid for"
    );
    assert_eq!(draft.refused.len(), 2);
    let reason = &draft.refused[0].1;
    assert_eq!(reason.why, Why::NoFunds);
    let key = signer().pubkey().to_string();
    let rent = (890_880 + 6960 * 1782).to_string();
    for part in [key.as_str(), "5000000", rent.as_str()] {
        assert!(reason.text.contains(part), "{}", reason.text);
    }
    for error in [
        json!("InsufficientFundsForFee"),
        json!({ "InstructionError": [2, { "Custom": 1 }] }),
    ] {
        let (script, target) = program();
        script.set().failures.push_back(error);
        let draft = target.draft(&roots(2)).await.unwrap();
        assert_eq!(draft.signed, None);
        assert!(
            draft
                .refused
                .iter()
                .all(|(_, reason)| reason.why == Why::NoFunds)
        );
        assert_eq!(draft.refused.len(), 2);
    }
    let (script, target) = program();
    script.set().balance = 0;
    assert_eq!(
        target.draft(&roots(1)).await.unwrap().refused[0].1.why,
        Why::NoFunds
    );
    assert_eq!(script.set().simulated.len(), 0);
}

#[tokio::test]
async fn units_past_the_cap_leave_roots_for_the_next_transaction() {
    let (script, _) = program();
    let config = TargetConfig {
        max_units: 100_000,
        ..TargetConfig::default()
    };
    let target = target_of(&script, config);
    let draft = target.draft(&roots(6)).await.unwrap();
    assert_eq!(draft.signed.unwrap().roots, [1, 2].map(RootId));
    assert_eq!(draft.refused, [], "none is at fault");
    let tiny = TargetConfig {
        max_units: 10_000,
        ..TargetConfig::default()
    };
    let draft = target_of(&script, tiny).draft(&roots(2)).await.unwrap();
    assert_eq!(draft.signed, None);
    assert_eq!(draft.refused.len(), 1);
    assert_eq!(draft.refused[0].1.why, Why::TooLarge);
}

#[tokio::test]
async fn an_account_that_was_only_sent_lamports_is_made_for_less() {
    let (script, target) = program();
    let (address, _) = channel_state("channel_1", |_| ());
    script
        .set()
        .accounts
        .insert(address, (SYSTEM_PROGRAM, 1000, Vec::new()));
    let draft = target.draft(&roots(1)).await.unwrap();
    assert_eq!(
        draft.estimates[0].rent_lamports,
        890_880 + 6960 * 1782 - 1000
    );
}

#[tokio::test]
async fn a_node_that_does_not_know_the_blockhash_is_weather() {
    let (script, target) = program();
    script.set().failures.push_back(json!("BlockhashNotFound"));
    let error = target.draft(&roots(1)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}
