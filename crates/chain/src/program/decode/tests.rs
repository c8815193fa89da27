#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::program::Program;
use crate::program::instruction::{self, Claim};

/// Every tag that the inventory of the deployed system lists.
const TAGS: [(&str, &str); 38] = [
    ("initialize_mint_open", "f6d7c0f9b376d24b"),
    ("initialize_channel", "e85bb1d47a5ee3fa"),
    ("set_channel_merkle_root", "411810063f69997b"),
    ("set_merkle_root_ring", "da205909c65c88ee"),
    ("set_merkle_root", "2b185b3cf0891c66"),
    ("set_merkle_root_open", "6a7b7cb7dddd923e"),
    ("claim_channel_open", "dfabbb29a7470fb8"),
    ("claim_with_ring", "07375adfd1d5064a"),
    ("claim_open", "cf93887364eef95f"),
    ("update_publisher_open", "2a4d65a02956ac3c"),
    ("update_admin_open", "df5dac2ec8ffb5b1"),
    ("set_paused_open", "485c47499232795e"),
    ("set_policy_open", "d3653266242a5f80"),
    ("close_channel_state", "b5ca094cb965acc6"),
    ("initialize_mint", "d12ac3048155d12c"),
    ("claim", "3ec6d6c1d59f6cd2"),
    ("update_publisher", "e8a88ad65f39e0ea"),
    ("update_admin", "a1b028d53cb8b3e4"),
    ("set_paused", "5b3c7dc0b0e1a6da"),
    ("set_policy", "28850c9debca0284"),
    ("claim_channel_open_with_receipt", "8a8ad973c55cb29d"),
    ("close_epoch_state", "cc32aec6e610665e"),
    ("close_epoch_state_open", "8e9cdd0a05fb49a1"),
    ("force_close_epoch_state_legacy", "db73fa45ca605935"),
    ("force_close_epoch_state_open", "9d0f43dfdaab4a64"),
    ("close_old_epoch_state", "01694cfb6f3eccc0"),
    ("claim_points_open", "12eaac320554c3fe"),
    ("require_points_ge", "e5639dd4381d2345"),
    ("update_fee_config", "68b867f258976b14"),
    ("update_fee_config_open", "38a330a50409f60c"),
    ("update_tier_multipliers", "1984a2358281f817"),
    ("harvest_fees", "5a959ef1a3ba9bca"),
    ("transfer_hook", "dc39dc987e7d61a8"),
    ("mint_passport_open", "3b9d582b2ee139e8"),
    ("upgrade_passport_open", "c2c63411a1bca7ac"),
    ("reissue_passport_open", "d4576db7514a2330"),
    ("revoke_passport_open", "adeab5a82b1fe465"),
    ("upgrade_passport_proved", "7baded752567b6dc"),
];

fn keys(n: u8) -> Vec<Pubkey> {
    (1..=n).map(|byte| Pubkey::from([byte; 32])).collect()
}

fn tagged(name: &str, arguments: &impl borsh::BorshSerialize) -> Vec<u8> {
    let mut data = instruction_tag(name).to_vec();
    arguments.serialize(&mut data).unwrap();
    data
}

fn read_built(it: &solana_sdk::instruction::Instruction) -> Decoded {
    let accounts: Vec<Pubkey> = it.accounts.iter().map(|meta| meta.pubkey).collect();
    decode(&it.data, &accounts).unwrap()
}

#[test]
fn every_instruction_of_the_inventory_is_known_by_its_tag() {
    assert_eq!(TAGS.len(), KNOWN.len());
    for (name, tag) in TAGS {
        assert_eq!(hex(&instruction_tag(name)), tag, "{name}");
        assert!(BY_TAG.contains_key(&instruction_tag(name)), "{name}");
    }
}

#[test]
fn what_is_built_reads_back_with_its_deed() {
    let program = Program::default();
    let key = Pubkey::from([7; 32]);
    let channel = "lacy".parse().unwrap();
    let publish = read_built(&instruction::set_channel_merkle_root(
        &program, &key, &channel, 42, [9; 32],
    ));
    assert_eq!(publish.name, "set_channel_merkle_root");
    assert_eq!(
        publish.deed,
        Deed::Publish {
            channel: Some(channel.clone()),
            number: 42,
            root: [9; 32]
        }
    );
    assert_eq!(
        publish.fields,
        json!({ "channel": "lacy", "epoch": 42, "root": "09".repeat(32) })
    );
    assert_eq!(publish.accounts[0], ("publisher", key));
    assert_eq!(
        publish.accounts[2],
        ("channel_state", program.channel_state(&channel).0)
    );
    let claim = Claim {
        number: 42,
        index: 3,
        amount: u64::MAX,
        id: "twitch:lacy:fossabot",
        proof: &[[1; 32], [2; 32]],
    };
    let claim = read_built(&instruction::claim_channel_open(
        &program, &key, &channel, &claim,
    ));
    assert_eq!(
        claim.deed,
        Deed::Claim {
            channel: Some(channel.clone()),
            number: 42,
            index: 3,
            amount: u64::MAX,
            claimer: key.to_string().into()
        }
    );
    assert_eq!(claim.fields["amount"], u64::MAX);
    assert_eq!(
        claim.accounts[5],
        ("claimer_ata", program.token_account(&key))
    );
    for (built, name, fields) in [
        (
            instruction::update_admin_open(&program, &key, &key),
            "update_admin_open",
            json!({ "key": key.to_string() }),
        ),
        (
            instruction::set_policy_open(&program, &key, true),
            "set_policy_open",
            json!({ "value": true }),
        ),
    ] {
        let read = read_built(&built);
        assert_eq!((read.name.as_ref(), &read.fields), (name, &fields));
        assert_eq!(read.deed, Deed::Other);
        assert_eq!(read.accounts[1].0, "protocol_state");
    }
}

#[test]
fn a_ring_claim_is_a_claim_only_in_the_line_that_pays() {
    let shared = (42_u64, 3_u32, 500_u64, vec![[1_u8; 32]]);
    let stub = decode(
        &tagged("claim_with_ring", &(shared.clone(), [8_u8; 32])),
        &keys(4),
    )
    .unwrap();
    assert_eq!(stub.deed, Deed::Other);
    assert_eq!(stub.fields["subject"], "08".repeat(32));
    assert_eq!(stub.accounts[3].0, "system_program");
    let paid = tagged("claim_with_ring", &(shared, "id".to_owned(), [8_u8; 32]));
    let paid = decode(&paid, &keys(9)).unwrap();
    assert_eq!(
        paid.deed,
        Deed::Claim {
            channel: None,
            number: 42,
            index: 3,
            amount: 500,
            claimer: keys(1)[0].to_string().into()
        }
    );
    assert_eq!(paid.fields["id"], "id");
}

#[test]
fn roots_that_name_only_a_subject_are_published_without_a_channel() {
    let ring = ([9_u8; 32], 42_u64, 7_u16, [8_u8; 32]);
    let wide = ([9_u8; 32], 42_u64, 7_u32, [8_u8; 32]);
    for data in [
        tagged("set_merkle_root_ring", &ring),
        tagged("set_merkle_root", &wide),
        tagged("set_merkle_root_open", &wide),
    ] {
        let read = decode(&data, &keys(4)).unwrap();
        assert_eq!(read.deed, publish(None));
        assert_eq!(read.fields["claim_count"], 7);
    }
}

fn publish(channel: Option<&str>) -> Deed {
    Deed::Publish {
        channel: channel.map(|name| name.parse().unwrap()),
        number: 42,
        root: [9; 32],
    }
}

#[test]
fn a_name_is_ours_only_where_its_subject_is() {
    for (name, channel) in [
        ("Lacy", Some("lacy")),
        ("la cy", None),
        ("", None),
        ("ÄÖ", None),
    ] {
        let data = tagged(
            "set_channel_merkle_root",
            &(name.to_owned(), 42_u64, [9_u8; 32]),
        );
        assert_eq!(
            decode(&data, &keys(4)).unwrap().deed,
            publish(channel),
            "{name}"
        );
    }
}

#[test]
fn both_forms_of_claim_open_are_read() {
    let short = (1_u8, 3_u32, 500_u64, "id".to_owned(), vec![[1_u8; 32]]);
    let read = decode(&tagged("claim_open", &short), &keys(9)).unwrap();
    assert_eq!(
        (read.fields["index"].as_u64(), &read.deed),
        (Some(3), &Deed::Other)
    );
    assert_eq!(read.accounts[6].0, "token_program");
    let receipt = ([2_u8; 32], [3_u8; 32], 4_u32, vec![[5_u8; 32]], [6_u8; 32]);
    let long = (short, Some("lacy".to_owned()), Some(42_u64), Some(receipt));
    let read = decode(&tagged("claim_open", &long), &keys(12)).unwrap();
    assert_eq!(read.fields["twzrd_epoch"], 42);
    assert_eq!(read.fields["receipt"]["leaf_index"], 4);
    assert_eq!(read.accounts[7].0, "merkle_tree");
}

#[test]
fn bytes_behind_the_arguments_are_told_and_change_nothing() {
    let proof = Vec::<[u8; 32]>::new();
    let claim = (
        "lacy".to_owned(),
        42_u64,
        3_u32,
        5_u64,
        "id".to_owned(),
        proof.clone(),
    );
    let by_subject = ([9_u8; 32], 42_u64, 7_u32, [8_u8; 32]);
    for (name, data) in [
        ("claim_channel_open", borsh::to_vec(&claim)),
        (
            "set_channel_merkle_root",
            borsh::to_vec(&("lacy", 42_u64, [9_u8; 32])),
        ),
        (
            "claim_with_ring",
            borsh::to_vec(&(42_u64, 3_u32, 5_u64, proof, "id", [8_u8; 32])),
        ),
        (
            "set_merkle_root_ring",
            borsh::to_vec(&([9_u8; 32], 42_u64, 7_u16, [8_u8; 32])),
        ),
        ("set_merkle_root", borsh::to_vec(&by_subject)),
        ("set_merkle_root_open", borsh::to_vec(&by_subject)),
        ("initialize_channel", borsh::to_vec(&[8_u8; 32])),
        ("initialize_mint_open", borsh::to_vec(&(1_u16, 2_u64))),
        ("update_admin_open", borsh::to_vec(&[8_u8; 32])),
        ("set_paused_open", borsh::to_vec(&true)),
        ("close_channel_state", Ok(Vec::new())),
    ] {
        let mut data = [&instruction_tag(name)[..], &data.unwrap()].concat();
        let plain = decode(&data, &keys(9)).unwrap();
        assert!(plain.fields.get("trailing").is_none(), "{name}");
        data.extend([7; 100]);
        let mut longer = decode(&data, &keys(9)).unwrap();
        let trailing = longer.fields.as_object_mut().unwrap().remove("trailing");
        let expected = json!({ "bytes": 100, "begin": "07".repeat(SHOWN) });
        assert_eq!(trailing, Some(expected), "{name}");
        assert_eq!(longer, plain, "{name}");
    }
}

#[test]
fn what_is_not_the_instruction_is_refused_and_still_described() {
    let publish = tagged(
        "set_channel_merkle_root",
        &("lacy".to_owned(), 42_u64, [9_u8; 32]),
    );
    let torn = &publish[..publish.len() - 1];
    let described = describe(torn, &keys(4));
    assert_eq!(described.name, "set_channel_merkle_root");
    assert_eq!(described.deed, Deed::Other);
    let error = described.fields["error"].as_str().unwrap();
    assert!(error.contains("cannot be read"), "{error}");
    assert_eq!(
        decode(&publish, &keys(3)).unwrap_err().to_string(),
        "set_channel_merkle_root has 3 accounts; expected at least 4"
    );
    assert!(matches!(
        decode(&publish[..20], &keys(4)),
        Err(DecodeError::Arguments { .. })
    ));
    let claim = tagged(
        "claim_channel_open",
        &(
            "lacy".to_owned(),
            42_u64,
            3_u32,
            5_u64,
            String::new(),
            Vec::<[u8; 32]>::new(),
        ),
    );
    assert!(matches!(
        decode(&claim, &[]),
        Err(DecodeError::Accounts { .. })
    ));
    assert_eq!(
        decode(&vec![0; MAX_DATA + 1], &[]),
        Err(DecodeError::TooLong(MAX_DATA + 1))
    );
}

#[test]
fn an_unknown_instruction_is_named_by_its_tag() {
    let read = decode(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &keys(2)).unwrap();
    assert_eq!(read.name, "unknown:0102030405060708");
    assert_eq!(read.fields, json!({ "data": "010203040506070809" }));
    assert_eq!(read.accounts[1], (REMAINING, keys(2)[1]));
    assert_eq!(decode(&[], &[]).unwrap().name, "unknown:");
    let more = decode(&tagged("close_channel_state", &()), &keys(6)).unwrap();
    assert_eq!(more.accounts[3].0, "rent_receiver");
    assert_eq!(more.accounts[5].0, REMAINING);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic_a_decoder(
        at in 0..KNOWN.len() + 1,
        rest in prop::collection::vec(any::<u8>(), 0..400),
        accounts in 0_u8..14,
    ) {
        let mut data = KNOWN.get(at).map_or(Vec::new(), |it| instruction_tag(it.name).to_vec());
        data.extend(rest);
        let _ = decode(&data, &keys(accounts));
        let described = describe(&data, &keys(accounts));
        prop_assert_eq!(described.accounts.len(), usize::from(accounts));
    }
}
