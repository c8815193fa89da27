//! The program itself: a binary that is named is deployed on the validator, and does what the
//! recorded one did. What is done to it there is done here to others as well, so that it works on
//! the day on which there is a binary.

use std::io::Write as _;

use solana_commitment_config::CommitmentConfig;
use solana_sdk::account::Account;
use solana_sdk::instruction::{AccountMeta, Instruction, InstructionError};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer as _;
use solana_sdk::transaction::TransactionError;
use twzrd_chain::activity::{ProgramActivity, SocketConfig, WebSocket};
use twzrd_chain::program::account::{ChannelState, Layout, Slot};
use twzrd_chain::program::memo::MEMO_PROGRAM;
use twzrd_chain::program::{Program, TOKEN_PROGRAM};
use twzrd_chain::target::{MemoTarget, ProgramTarget, TargetConfig};
use twzrd_domain::chain::{ChainActivity as _, Followed, RootChain as _, Standing};
use twzrd_domain::leaf;
use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_localnet::{Commitment, NodeConfig};

use crate::memo;
use crate::recorded::{self, Machine};
use crate::settlement::{self, World, publish_claim_and_listen};
use crate::validator::{SLOT, Validator, signer, unless_away, until};

const NAMED_BY: &str = "TWZRD_TEST_PROGRAM";

/// The binary that the environment names. Where it names none, that is said, also where the output
/// of tests is captured.
fn named(test: &str) -> Option<Vec<u8>> {
    let Some(path) = std::env::var_os(NAMED_BY).filter(|path| !path.is_empty()) else {
        let told = format!("{test}: skipped, because {NAMED_BY} is not set\n");
        std::io::stdout().write_all(told.as_bytes()).unwrap();
        return None;
    };
    let path = std::path::Path::new(&path);
    match std::fs::read(path) {
        Ok(binary) => Some(binary),
        Err(error) => panic!("{NAMED_BY} names {}: {error}", path.display()),
    }
}

impl Machine for Validator {
    async fn put(&mut self, key: Pubkey, account: Account) {
        self.write(&key, account);
    }

    async fn get(&mut self, key: &Pubkey) -> Account {
        let processed = CommitmentConfig::processed();
        let client = self.client();
        let found = client.get_account_with_commitment(key, processed).await;
        found.unwrap().value.unwrap()
    }

    async fn execute(
        &mut self,
        signer: &Pubkey,
        instruction: Instruction,
    ) -> Result<(), TransactionError> {
        self.execute_unsigned(signer, instruction).await.result
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_named_does_what_the_recorded_program_did() {
    let Some(binary) = named("a_program_that_is_named_does_what_the_recorded_program_did") else {
        return;
    };
    let mut validator = Validator::start().await;
    validator.deploy(&recorded::program(), binary);
    recorded::replay(&mut validator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_is_published_to_claimed_from_and_listened_to() {
    let node = NodeConfig {
        finality_slots: 31,
        ..NodeConfig::default()
    };
    let scene = Scene::new(SceneConfig {
        node,
        ..SceneConfig::default()
    });
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let served = scene.node.serve(anywhere, Some(SLOT)).await.unwrap();
    let world = World {
        http_url: served.http_url(),
        ws_url: served.ws_url(),
        program: scene.program,
        publisher: scene.publisher,
        wallets: scene.wallets,
    };
    publish_claim_and_listen(&world).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_named_is_published_to_claimed_from_and_listened_to() {
    let test = "a_program_that_is_named_is_published_to_claimed_from_and_listened_to";
    let Some(binary) = named(test) else {
        return;
    };
    let validator = Validator::start().await;
    let world = settle_in(&validator);
    validator.deploy(&world.program.id, binary);
    publish_claim_and_listen(&world).await;
}

/// The accounts of the model's scene, on the validator.
fn settle_in(validator: &Validator) -> World {
    let scene = Scene::new(SceneConfig::default());
    let program = scene.program;
    let mut keys = vec![
        program.protocol_state().0,
        program.mint,
        program.treasury(),
        scene.admin.pubkey(),
        scene.publisher.pubkey(),
    ];
    keys.extend(scene.wallets.iter().map(Keypair::pubkey));
    for key in keys {
        let account = scene.node.account(&key, Commitment::Processed).unwrap();
        validator.write(&key, account);
    }
    World {
        http_url: validator.http_url(),
        ws_url: validator.ws_url(),
        program,
        publisher: scene.publisher,
        wallets: scene.wallets,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_runs_where_it_is_deployed_for_signers_whose_keys_nobody_has() {
    let mut validator = Validator::start().await;
    let world = settle_in(&validator);
    let program = world.program;
    let binary = validator.memo_binary().await;
    validator.deploy(&program.id, binary);
    let stranger = Pubkey::new_from_array([7; 32]);
    validator.write(
        &stranger,
        Account::new(1_000_000_000, 0, &Pubkey::default()),
    );
    let say = |program_id, text: &[u8]| Instruction {
        program_id,
        accounts: vec![AccountMeta::new_readonly(stranger, true)],
        data: text.to_vec(),
    };
    // What runs there does what it does at its own address.
    let mut executed = Vec::new();
    for (text, is_good) in [(b"here".as_slice(), true), (b"\xff".as_slice(), false)] {
        let here = validator
            .execute_unsigned(&stranger, say(program.id, text))
            .await;
        let there = validator
            .execute_unsigned(&stranger, say(MEMO_PROGRAM, text))
            .await;
        assert_eq!(here.result, there.result);
        assert_eq!(here.result.is_ok(), is_good, "{here:?}");
        let named =
            |line: &String| line.replace(&program.id.to_string(), &MEMO_PROGRAM.to_string());
        assert_eq!(here.logs.iter().map(named).collect::<Vec<_>>(), there.logs);
        executed.push(here.signature.to_string());
    }
    // A number of a program's own comes back as it is, from a block and from a preflight.
    let unknown = Instruction {
        program_id: TOKEN_PROGRAM,
        accounts: Vec::new(),
        data: vec![0xfe],
    };
    let refused = TransactionError::InstructionError(0, InstructionError::Custom(12));
    let result = Machine::execute(&mut validator, &stranger, unknown.clone()).await;
    assert_eq!(result, Err(refused.clone()));
    let client = validator.client();
    let wallet = &world.wallets[0];
    let sent = settlement::send(&client, wallet, &unknown).await;
    assert_eq!(sent.unwrap_err().get_transaction_error(), Some(refused));
    let mut signed = say(program.id, b"signed");
    signed.accounts[0].pubkey = wallet.pubkey();
    let signature = settlement::send(&client, wallet, &signed).await.unwrap();
    executed.push(signature.to_string());

    // The listener follows the program there, and knows nothing of what it did.
    let activity = follow(&world);
    let status = until("finality of all", async || {
        client.get_signature_status(&signature).await.unwrap()
    });
    assert_eq!(status.await, Ok(()));
    let marks = activity
        .after(&Followed::default(), 10)
        .await
        .unwrap()
        .marks;
    let listed: Vec<_> = marks.iter().map(|it| it.signature.to_string()).collect();
    assert_eq!(listed, executed);
    let actions = activity.read(&marks[0]).await.unwrap().actions;
    assert_eq!(actions.len(), 1);
    assert!(
        actions[0].json.contains("\"action\":\"unknown:68657265\""),
        "{actions:?}"
    );
    assert_eq!(activity.read(&marks[2]).await.unwrap().actions.len(), 1);
    let failed = activity.read(&marks[1]).await.unwrap();
    assert_eq!(failed.actions, [], "a transaction that failed did nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_there_as_the_scene_has_them_at_the_same_rent() {
    let mut validator = Validator::start().await;
    let program = settle_in(&validator).program;
    let expected = Scene::new(SceneConfig::default());
    for key in [program.protocol_state().0, program.mint, program.treasury()] {
        let is = Machine::get(&mut validator, &key).await;
        let expected = expected.node.account(&key, Commitment::Processed).unwrap();
        let client = validator.client();
        let rent = client.get_minimum_balance_for_rent_exemption(is.data.len());
        assert_eq!(rent.await.unwrap(), is.lamports);
        assert_eq!(is.lamports, expected.lamports);
        assert_eq!((is.data, is.owner), (expected.data, expected.owner));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_target_reads_accounts_also_right_after_a_landing() {
    let validator = Validator::start().await;
    let world = settle_in(&validator);
    let (pool, key) = (validator.pool(), signer(&world.publisher));
    let config = TargetConfig::default();
    let target = ProgramTarget::new(pool.clone(), world.program, key.clone(), config);
    let roots = memo::roots(2, 100);
    let look = async || until("a look", async || unless_away(target.look(&roots).await)).await;
    assert_eq!(look().await, [Standing::Free, Standing::Free]);

    // As the program would leave the channels: one with the root, one with a newer epoch.
    let program = &world.program;
    for (root, number) in roots.iter().zip([100, 110]) {
        let (address, bump) = program.channel_state(&root.channel);
        let subject = leaf::subject(root.channel.as_str());
        let mut state = ChannelState::new(Layout::Packed10x128, bump, program.mint, subject);
        state.latest = number;
        let place = state.place_of(number);
        state.slots[place] = Slot::new(state.layout, number, root.root);
        let account = Account {
            lamports: 100_000_000,
            data: state.encode(),
            owner: program.id,
            ..Account::default()
        };
        validator.write(&address, account);
    }
    let expected = [Standing::Published, Standing::Newer(110)];
    assert_eq!(look().await, expected);

    // Any transaction lands alike. What it comes to is asked for by the same pool.
    let memos = MemoTarget::new(pool, key, config);
    let signed = memo::draft(&memos, &roots).await.signed.unwrap();
    target.send(&signed).await.unwrap();
    let slot = memo::finalized(&target, &signed).await;
    let back = until("a read back", async || {
        unless_away(target.read_back(&signed, slot, &roots).await)
    })
    .await;
    assert_eq!(back, expected);
}

fn follow(world: &World) -> ProgramActivity {
    let followed: Program = world.program;
    let urls = [world.ws_url.clone()];
    let socket = WebSocket::new(&urls, followed.id, SocketConfig::default()).unwrap();
    let pool = crate::validator::pool(world.http_url.clone());
    ProgramActivity::new(pool, followed, Box::new(socket))
}
