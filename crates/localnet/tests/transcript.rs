//! The transcript of the recorded program, step by step, on the model: the same results and the
//! same bytes of accounts after each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use litesvm::LiteSVM;
use serde_json::Value;
use solana_sdk::account::Account;
use solana_sdk::instruction::{Instruction, InstructionError};
use solana_sdk::message::{Message, VersionedMessage};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::{TransactionError, VersionedTransaction};
use twzrd_chain::program::Program;
use twzrd_chain::program::instruction::{
    Claim, claim_channel_open, set_channel_merkle_root, set_paused_open, update_publisher_open,
};
use twzrd_domain::identity::{Channel, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::merkle::MerkleTree;
use twzrd_localnet::scene::{Scene, SceneConfig, token_accounts};
use twzrd_localnet::{Commitment, NodeConfig, model};

const TRANSCRIPT: &str = include_str!("../../chain/tests/golden/accounts.json");

/// The five people of the recorded claim tree: `viewer_00000` and so on.
struct Recorded {
    file: Value,
    program: Program,
    channel: Channel,
    tree: MerkleTree,
}

impl Recorded {
    fn read() -> Self {
        let file: Value = serde_json::from_str(TRANSCRIPT).unwrap();
        let text = |name: &str| file[name].as_str().unwrap().to_owned();
        let program = Program::parse(&text("program"), &text("mint")).unwrap();
        let channel = Channel::parse(&text("channel")).unwrap();
        let leaves = (0..5)
            .map(|index| {
                let (claimer, amount, id) = person(&file, index);
                leaf::claim(Wallet(claimer.to_bytes()), index, amount, &id)
            })
            .collect();
        let tree = MerkleTree::new(leaves).unwrap();
        Self {
            program,
            channel,
            tree,
            file,
        }
    }

    fn key(&self, name: &str) -> Pubkey {
        self.file[name].as_str().unwrap().parse().unwrap()
    }

    fn claim(&self, index: u32, epoch: u64, wrong: bool) -> (Pubkey, Instruction) {
        let (claimer, amount, id) = person(&self.file, index);
        let proof = self.tree.proof(index as usize).unwrap();
        let claim = Claim {
            number: epoch,
            index,
            amount: amount + u64::from(wrong),
            id: &id,
            proof: &proof,
        };
        let instruction = claim_channel_open(&self.program, &claimer, &self.channel, &claim);
        (claimer, instruction)
    }

    fn publish(&self, signer: Pubkey, epoch: u64) -> (Pubkey, Instruction) {
        let root = self.tree.root();
        let instruction =
            set_channel_merkle_root(&self.program, &signer, &self.channel, epoch, root);
        (signer, instruction)
    }

    /// The instruction that a step names, and who signs it.
    fn instruction(&self, step: &str, stranger: Pubkey) -> (Pubkey, Instruction) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
        let signer = if step.contains("by a stranger") {
            stranger
        } else if step.contains("by admin") {
            self.key("admin")
        } else {
            self.key("publisher")
        };
        match words[0] {
            "set_channel_merkle_root" => {
                // Where a step names no epoch it is one that would be newer.
                self.publish(signer, numbers.first().copied().unwrap_or(1_761_861_600))
            }
            "claim_channel_open" if step.contains("erased epoch") => {
                self.claim(3, numbers[0], false)
            }
            "claim_channel_open" => {
                let index = u32::try_from(numbers[0]).unwrap();
                self.claim(index, 1_761_854_400, step.contains("wrong amount"))
            }
            "set_paused_open" => {
                let value = !step.contains("false");
                (signer, set_paused_open(&self.program, &signer, value))
            }
            "update_publisher_open" => {
                let new = self.key("new_publisher");
                (signer, update_publisher_open(&self.program, &signer, &new))
            }
            other => panic!("the transcript has a step that this test does not know: {other}"),
        }
    }
}

fn person(file: &Value, index: u32) -> (Pubkey, u64, String) {
    let place = index as usize;
    (
        file["claimers"][place].as_str().unwrap().parse().unwrap(),
        file["claim_amounts"][place].as_u64().unwrap(),
        format!("twitch:goldenchannel:viewer_{index:05}"),
    )
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// `ok`, or the number in `custom error …(InstructionErrorCustom(6006))…`.
fn expected(result: &str) -> Option<u32> {
    let digits: String = result.chars().filter(char::is_ascii_digit).collect();
    (result != "ok").then(|| digits[digits.len() - 4..].parse().unwrap())
}

#[test]
fn the_model_does_what_the_recorded_program_did_byte_for_byte() {
    replay(model::install);
}

/// Where a binary is named, it has to do the same: then the model stands for it.
#[test]
fn a_program_that_is_named_does_what_the_recorded_program_did() {
    let Ok(path) = std::env::var("TWZRD_TEST_PROGRAM") else {
        return;
    };
    let binary = std::fs::read(&path).unwrap();
    replay(|svm, id| svm.add_program(id, &binary).unwrap());
}

fn replay(install: impl FnOnce(&mut LiteSVM, Pubkey)) {
    let recorded = Recorded::read();
    assert_eq!(
        hex(&recorded.tree.root()),
        recorded.file["claim_root"].as_str().unwrap()
    );
    let program = recorded.program;
    let stranger = Pubkey::new_from_array([7; 32]);
    let mut svm = LiteSVM::new()
        .with_sigverify(false)
        .with_blockhash_check(false)
        .with_transaction_history(0);
    install(&mut svm, program.id);
    let (protocol, bump) = program.protocol_state();
    let before = &recorded.file["protocol_state"];
    assert_eq!(before["address"], protocol.to_string());
    assert_eq!(before["bump"], bump);
    let rent = svm.minimum_balance_for_rent_exemption(141);
    svm.set_account(
        protocol,
        Account {
            lamports: rent,
            data: bytes(&before["data"]),
            owner: program.id,
            executable: false,
            rent_epoch: u64::MAX,
        },
    )
    .unwrap();
    for (key, account) in token_accounts(&svm, &program, &recorded.key("admin"), u64::MAX / 2) {
        svm.set_account(key, account).unwrap();
    }
    let mut wallets = vec![recorded.key("admin"), recorded.key("publisher"), stranger];
    wallets.extend((0..5).map(|index| person(&recorded.file, index).0));
    for wallet in &wallets {
        svm.set_account(*wallet, Account::new(10_000_000_000, 0, &Pubkey::default()))
            .unwrap();
    }
    let channel_state = program.channel_state(&recorded.channel).0;
    assert_eq!(
        recorded.file["channel_state_address"],
        channel_state.to_string()
    );

    let steps = recorded.file["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 15);
    for step in steps {
        let name = step["step"].as_str().unwrap();
        let (signer, instruction) = recorded.instruction(name, stranger);
        let message = Message::new(&[instruction], Some(&signer));
        let transaction = VersionedTransaction {
            signatures: vec![Signature::default(); 1],
            message: VersionedMessage::Legacy(message),
        };
        let result = svm.send_transaction(transaction);
        let number = match &result {
            Ok(_) => None,
            Err(failed) => match &failed.err {
                TransactionError::InstructionError(0, InstructionError::Custom(number)) => {
                    Some(*number)
                }
                other => panic!("{name}: {other}: {:?}", failed.meta.logs),
            },
        };
        assert_eq!(number, expected(step["result"].as_str().unwrap()), "{name}");
        let is = svm.get_account(&channel_state).unwrap();
        assert_eq!(is.data, bytes(&step["channel_state"]), "{name}");
        assert_eq!(is.owner, program.id);
        assert_eq!(is.lamports, svm.minimum_balance_for_rent_exemption(1782));
    }
    assert_eq!(
        svm.get_account(&protocol).unwrap().data,
        bytes(&recorded.file["protocol_state_after"])
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One scene is made, and each schedule has its copy.
#[test]
fn a_copy_of_a_scene_goes_its_own_way() {
    let scene = Scene::new(SceneConfig {
        node: NodeConfig::default(),
        ..SceneConfig::default()
    });
    let copy = scene.duplicate();
    assert_eq!(copy.node.ticks(3), 1003);
    assert_eq!(scene.node.slot(Commitment::Processed), 1000);
}
