#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

//! The formats of the chain, against vectors that the deployed system made.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::Value;
use solana_sdk::instruction::Instruction;
use solana_sdk::pubkey::Pubkey;
use twzrd_chain::program::account::{ChannelState, Layout, ProtocolState};
use twzrd_chain::program::error::{self, Line};
use twzrd_chain::program::instruction::{self, Claim};
use twzrd_chain::program::{Program, account_tag, decode, instruction_tag};
use twzrd_domain::chain::Deed;
use twzrd_domain::identity::Channel;
use twzrd_domain::leaf::{self, SubjectForm};

fn formats() -> Value {
    serde_json::from_str(include_str!("../../domain/tests/golden/formats.json")).unwrap()
}

fn accounts() -> Value {
    serde_json::from_str(include_str!("golden/accounts.json")).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap()
}

fn key(value: &Value, key: &str) -> Pubkey {
    text(value, key).parse().unwrap()
}

fn channel(value: &Value, key: &str) -> Channel {
    text(value, key).parse().unwrap()
}

fn root(hexadecimal: &str) -> [u8; 32] {
    hex::decode(hexadecimal).unwrap().try_into().unwrap()
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text(value, key)).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

#[test]
fn subjects_lead_to_the_same_hash() {
    let formats = formats();
    let subjects = list(&formats, "subjects");
    assert_eq!(subjects.len(), 5);
    for vector in subjects {
        let form = match (text(vector, "prefix"), vector["namespace"].as_str()) {
            ("channel:", None) => SubjectForm::Channel,
            ("channel:", Some(namespace)) => SubjectForm::Namespaced(namespace),
            ("twitch:", None) => SubjectForm::Twitch,
            other => panic!("{other:?}"),
        };
        let subject = leaf::subject_in(form, text(vector, "channel"));
        assert_eq!(hex::encode(subject), text(vector, "subject"));
    }
}

#[test]
fn addresses_and_bumps_are_those_of_the_program() {
    let pdas = &formats()["pdas"];
    let program = Program::parse(text(pdas, "program"), text(pdas, "mint")).unwrap();
    assert_eq!(program, Program::default());
    let (address, bump) = program.protocol_state();
    assert_eq!(address, key(&pdas["protocol_state"], "address"));
    assert_eq!(u64::from(bump), number(&pdas["protocol_state"], "bump"));
    let channels = list(pdas, "channel_state");
    assert_eq!(channels.len(), 2);
    for vector in channels {
        let (address, bump) = program.channel_state(&channel(vector, "channel"));
        assert_eq!(address, key(vector, "address"));
        assert_eq!(u64::from(bump), number(vector, "bump"));
    }
}

#[test]
fn tags_are_those_of_the_program() {
    let formats = formats();
    let instructions = formats["instruction_discriminators"].as_object().unwrap();
    assert_eq!(instructions.len(), 20);
    for (name, tag) in instructions {
        assert_eq!(hex::encode(instruction_tag(name)), tag.as_str().unwrap());
        let read = decode::describe(&instruction_tag(name), &[]);
        assert_eq!(read.name, name.as_str(), "the listener knows it by name");
    }
    let accounts = formats["account_discriminators"].as_object().unwrap();
    assert_eq!(accounts.len(), 4);
    for (name, tag) in accounts {
        assert_eq!(hex::encode(account_tag(name)), tag.as_str().unwrap());
    }
}

/// Compares data and accounts with a vector, and reads them back.
fn matches(built: &Instruction, vector: &Value) -> decode::Decoded {
    assert_eq!(built.program_id, Program::default().id);
    assert_eq!(hex::encode(&built.data), text(vector, "data"));
    let expected = list(vector, "accounts");
    assert_eq!(built.accounts.len(), expected.len());
    for (account, expected) in built.accounts.iter().zip(expected) {
        assert_eq!(account.pubkey, key(expected, "pubkey"));
        assert_eq!(account.is_signer, expected["signer"].as_bool().unwrap());
        assert_eq!(account.is_writable, expected["writable"].as_bool().unwrap());
    }
    let keys: Vec<Pubkey> = built.accounts.iter().map(|it| it.pubkey).collect();
    decode::decode(&built.data, &keys).unwrap()
}

#[test]
fn publishing_is_encoded_byte_for_byte() {
    let vector = &formats()["set_channel_merkle_root"];
    let built = instruction::set_channel_merkle_root(
        &Program::default(),
        &key(vector, "payer"),
        &channel(vector, "channel"),
        number(vector, "epoch"),
        root(text(vector, "root")),
    );
    let deed = Deed::Publish {
        channel: Some(channel(vector, "channel")),
        number: number(vector, "epoch"),
        root: root(text(vector, "root")),
    };
    assert_eq!(matches(&built, vector).deed, deed);
}

#[test]
fn claiming_is_encoded_byte_for_byte() {
    let vector = &formats()["claim_channel_open"];
    let proof: Vec<[u8; 32]> = list(vector, "proof")
        .iter()
        .map(|node| root(node.as_str().unwrap()))
        .collect();
    let claim = Claim {
        number: number(vector, "epoch"),
        index: u32::try_from(number(vector, "index")).unwrap(),
        amount: number(vector, "amount"),
        id: text(vector, "id"),
        proof: &proof,
    };
    let built = instruction::claim_channel_open(
        &Program::default(),
        &key(vector, "claimer"),
        &channel(vector, "channel"),
        &claim,
    );
    let read = matches(&built, vector);
    assert_eq!(
        read.deed,
        Deed::Claim {
            channel: Some(channel(vector, "channel")),
            number: claim.number,
            index: claim.index,
            amount: claim.amount,
            claimer: text(vector, "claimer").into(),
        }
    );
    assert_eq!(read.fields["id"], text(vector, "id"));
}

#[test]
fn the_recorded_protocol_state_reads_and_writes_back() {
    let recorded = accounts();
    let program = Program::parse(text(&recorded, "program"), text(&recorded, "mint")).unwrap();
    let (address, bump) = program.protocol_state();
    assert_eq!(address, key(&recorded["protocol_state"], "address"));
    assert_eq!(u64::from(bump), number(&recorded["protocol_state"], "bump"));
    let before = bytes(&recorded["protocol_state"], "data");
    let state = ProtocolState {
        is_initialized: true,
        version: 1,
        admin: key(&recorded, "admin"),
        publisher: key(&recorded, "publisher"),
        treasury: address,
        mint: program.mint,
        paused: false,
        require_receipt: false,
        bump,
    };
    assert_eq!(ProtocolState::decode(&before).unwrap(), state);
    assert_eq!(state.encode(), before);
    let after = bytes(&recorded, "protocol_state_after");
    let state = ProtocolState {
        publisher: key(&recorded, "new_publisher"),
        ..state
    };
    assert_eq!(ProtocolState::decode(&after).unwrap(), state);
    assert_eq!(state.encode(), after);
}

/// What the ring holds after each step of the transcript: epochs by slot, and the claims of the
/// first.
fn ring_after(step: usize) -> (u64, [u64; 2], u16) {
    match step {
        0 => (1_761_854_400, [1_761_854_400, 0], 0),
        1..=6 => (1_761_854_400, [1_761_854_400, 0], 1),
        7 => (1_761_858_001, [1_761_854_400, 1_761_858_001], 1),
        _ => (1_761_858_001, [1_761_858_000, 1_761_858_001], 0),
    }
}

#[test]
fn every_recorded_channel_state_reads_as_its_step_says_and_writes_back() {
    let recorded = accounts();
    let program = Program::parse(text(&recorded, "program"), text(&recorded, "mint")).unwrap();
    let name = channel(&recorded, "channel");
    let (address, bump) = program.channel_state(&name);
    assert_eq!(address, key(&recorded, "channel_state_address"));
    let claim_root = root(text(&recorded, "claim_root"));
    let steps = list(&recorded, "steps");
    assert_eq!(steps.len(), 15);
    for (at, step) in steps.iter().enumerate() {
        let data = bytes(step, "channel_state");
        let state = ChannelState::decode(&data).unwrap();
        assert_eq!(state.encode(), data, "step {at}");
        assert_eq!(state.layout, Layout::Packed10x128);
        assert_eq!((state.version, state.bump), (1, bump));
        assert_eq!(state.mint, program.mint);
        assert_eq!(state.subject, leaf::subject(name.as_str()));
        let (latest, epochs, claims) = ring_after(at);
        assert_eq!(state.latest, latest, "step {at}");
        for (place, slot) in state.slots.iter().enumerate() {
            let epoch = epochs.get(place).copied().unwrap_or(0);
            let paid = if place == 0 { claims } else { 0 };
            assert_eq!((slot.epoch, slot.claim_count), (epoch, paid), "step {at}");
            let is_there = slot.root == claim_root;
            assert_eq!(is_there, epoch != 0, "step {at} slot {place}");
            let bits: u32 = slot.bitmap.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(bits, u32::from(paid));
        }
        let claimed = state.is_claimed(1_761_854_400, 4);
        let expected = if epochs[0] == 1_761_854_400 {
            Some(claims == 1)
        } else {
            None
        };
        assert_eq!(claimed, expected, "step {at}");
    }
}

#[test]
fn every_recorded_refusal_has_its_name() {
    let expected = [
        (2, "AlreadyClaimed"),
        (3, "InvalidProof"),
        (4, "EpochNotIncreasing"),
        (5, "EpochNotIncreasing"),
        (6, "Unauthorized"),
        (9, "SlotMismatch"),
        (11, "ProtocolPaused"),
        (12, "Unauthorized"),
    ];
    let recorded = accounts();
    for (at, step) in list(&recorded, "steps").iter().enumerate() {
        let result = text(step, "result");
        let name = expected.iter().find(|(step, _)| *step == at);
        let Some((_, name)) = name else {
            assert_eq!(result, "ok", "step {at}");
            continue;
        };
        let number = error::number(name, Line::Recorded).unwrap();
        assert!(
            result.contains(&format!("InstructionErrorCustom({number})")),
            "step {at}: {result}"
        );
    }
}

/// Bytes of a known size with the right tag, and others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![
        Just(ProtocolState::SIZE),
        prop::sample::select(Layout::ALL.map(Layout::size).to_vec()),
        0_usize..200,
    ];
    let tags = prop::sample::select(vec![
        account_tag("ProtocolState"),
        account_tag("ChannelState"),
        [0; 8],
    ]);
    (sizes, tags, any::<u64>()).prop_map(|(size, tag, seed)| {
        let mut state = seed | 1;
        let mut data: Vec<u8> = (0..size)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        if let Some(first) = data.first_chunk_mut::<8>() {
            *first = tag;
        }
        data
    })
}

proptest! {
    #[test]
    fn no_bytes_panic_a_reader_and_what_is_read_writes_back(
        data in hostile(),
        epoch in any::<u64>(),
        index in any::<u32>(),
    ) {
        if let Ok(state) = ProtocolState::decode(&data) {
            prop_assert_eq!(state.encode(), data.clone());
        }
        if let Ok(state) = ChannelState::decode(&data) {
            prop_assert_eq!(state.encode(), data);
            let slot = state.slot_of(epoch).unwrap();
            prop_assert_eq!(slot.is_claimed(index).is_some(), u64::from(index) < state.layout.max_claims());
            prop_assert_eq!(state.is_claimed(epoch, index).is_some(), slot.epoch == epoch && slot.is_claimed(index).is_some());
        }
    }
}
