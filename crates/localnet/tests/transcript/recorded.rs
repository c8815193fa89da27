//! The transcript of the recorded program, on any machine that executes a program.

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
use twzrd_localnet::scene::token_accounts;

const TRANSCRIPT: &str = include_str!("../../../chain/tests/golden/accounts.json");

/// What executes a program.
pub(crate) trait Machine {
    /// Writes an account.
    async fn put(&mut self, key: Pubkey, account: Account);
    /// An account as it is now.
    async fn get(&mut self, key: &Pubkey) -> Account;
    /// Executes an instruction for a signer whose key nobody has.
    async fn execute(
        &mut self,
        signer: &Pubkey,
        instruction: Instruction,
    ) -> Result<(), TransactionError>;
}

/// One that checks neither signatures nor blockhashes, and remembers no transaction.
pub(crate) fn unchecked() -> LiteSVM {
    LiteSVM::new()
        .with_sigverify(false)
        .with_blockhash_check(false)
        .with_transaction_history(0)
}

impl Machine for LiteSVM {
    async fn put(&mut self, key: Pubkey, account: Account) {
        self.set_account(key, account).unwrap();
    }

    async fn get(&mut self, key: &Pubkey) -> Account {
        self.get_account(key).unwrap()
    }

    async fn execute(
        &mut self,
        signer: &Pubkey,
        instruction: Instruction,
    ) -> Result<(), TransactionError> {
        let transaction = VersionedTransaction {
            signatures: vec![Signature::default()],
            message: VersionedMessage::Legacy(Message::new(&[instruction], Some(signer))),
        };
        let result = self.send_transaction(transaction);
        result.map(drop).map_err(|failed| failed.err)
    }
}

/// What the file tells.
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
        let root: String = tree
            .root()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(root, text("claim_root"));
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

    /// The accounts before the first step.
    fn accounts(&self, stranger: Pubkey) -> Vec<(Pubkey, Account)> {
        let svm = LiteSVM::new();
        let (protocol, bump) = self.program.protocol_state();
        let before = &self.file["protocol_state"];
        assert_eq!(before["address"], protocol.to_string());
        assert_eq!(before["bump"], bump);
        let state = Account {
            lamports: svm.minimum_balance_for_rent_exemption(141),
            data: bytes(&before["data"]),
            owner: self.program.id,
            executable: false,
            rent_epoch: u64::MAX,
        };
        let mut accounts = vec![(protocol, state)];
        let tokens = token_accounts(&svm, &self.program, &self.key("admin"), u64::MAX / 2);
        accounts.extend(tokens);
        let people = (0..5).map(|index| person(&self.file, index).0);
        let keys = [self.key("admin"), self.key("publisher"), stranger];
        for key in keys.into_iter().chain(people) {
            accounts.push((key, Account::new(10_000_000_000, 0, &Pubkey::default())));
        }
        accounts
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
        let instruction = match words[0] {
            "set_channel_merkle_root" => {
                // Where a step names no epoch it is one that would be newer.
                let epoch = numbers.first().copied().unwrap_or(1_761_861_600);
                let root = self.tree.root();
                set_channel_merkle_root(&self.program, &signer, &self.channel, epoch, root)
            }
            "claim_channel_open" if step.contains("erased epoch") => {
                return self.claim(3, numbers[0], false);
            }
            "claim_channel_open" => {
                let index = u32::try_from(numbers[0]).unwrap();
                return self.claim(index, 1_761_854_400, step.contains("wrong amount"));
            }
            "set_paused_open" => set_paused_open(&self.program, &signer, !step.contains("false")),
            "update_publisher_open" => {
                update_publisher_open(&self.program, &signer, &self.key("new_publisher"))
            }
            other => panic!("the transcript has a step that this test does not know: {other}"),
        };
        (signer, instruction)
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
fn expected(result: &str) -> Result<(), TransactionError> {
    if result == "ok" {
        return Ok(());
    }
    let digits: String = result.chars().filter(char::is_ascii_digit).collect();
    let number = digits[digits.len() - 4..].parse().unwrap();
    Err(TransactionError::InstructionError(
        0,
        InstructionError::Custom(number),
    ))
}

/// The address of the recorded program.
pub(crate) fn program() -> Pubkey {
    Recorded::read().program.id
}

/// Plays the transcript on a machine that has the program: the same results, and after each step
/// the same bytes.
pub(crate) async fn replay(machine: &mut impl Machine) {
    let recorded = Recorded::read();
    let stranger = Pubkey::new_from_array([7; 32]);
    for (key, account) in recorded.accounts(stranger) {
        machine.put(key, account).await;
    }
    let channel_state = recorded.program.channel_state(&recorded.channel).0;
    let address = channel_state.to_string();
    assert_eq!(recorded.file["channel_state_address"], address);
    let rent = LiteSVM::new().minimum_balance_for_rent_exemption(1782);
    let steps = recorded.file["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 15);
    for step in steps {
        let name = step["step"].as_str().unwrap();
        let (signer, instruction) = recorded.instruction(name, stranger);
        let result = machine.execute(&signer, instruction).await;
        assert_eq!(result, expected(step["result"].as_str().unwrap()), "{name}");
        let is = machine.get(&channel_state).await;
        assert_eq!(is.data, bytes(&step["channel_state"]), "{name}");
        assert_eq!(
            (is.owner, is.lamports),
            (recorded.program.id, rent),
            "{name}"
        );
    }
    let protocol = recorded.program.protocol_state().0;
    let after = machine.get(&protocol).await.data;
    assert_eq!(after, bytes(&recorded.file["protocol_state_after"]));
}
