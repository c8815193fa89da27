//! The validator, and what tests do with it that no client of a cluster can.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_client::rpc_config::RpcTransactionConfig;
use solana_client::rpc_request::RpcRequest;
use solana_commitment_config::CommitmentConfig;
use solana_sdk::account::Account;
use solana_sdk::instruction::Instruction;
use solana_sdk::message::Message;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::signer::Signer as _;
use solana_sdk::transaction::{Transaction, TransactionError};
use solana_transaction_status_client_types::UiTransactionEncoding;
use surfpool_sdk::cheatcodes::builders::{DeployProgram, SetAccount};
use surfpool_sdk::{BlockProductionMode, Surfnet};
use tokio::time::Instant;
use twzrd_chain::keys::Signer;
use twzrd_chain::program::memo::MEMO_PROGRAM;
use twzrd_chain::rpc::{Pool, PoolConfig};
use twzrd_domain::chain::ChainError;

/// The time of a slot. A transaction is finalized 31 slots after its own, and a blockhash is good
/// for 150: soon enough for a test, and late enough for a busy machine.
pub(crate) const SLOT: Duration = Duration::from_millis(40);

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A program in an account of the upgradeable loader stands behind so many bytes.
const PROGRAM_DATA_HEADER: usize = 45;

/// What became of an instruction.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) signature: Signature,
    pub(crate) result: Result<(), TransactionError>,
    pub(crate) logs: Vec<String>,
}

/// A validator with slots that go by. It ends when it is dropped.
pub(crate) struct Validator {
    surfnet: Surfnet,
    unsigned: AtomicU64,
}

impl Validator {
    pub(crate) async fn start() -> Self {
        let mut failed = None;
        // It looks for free ports before it binds them, and somebody else may be faster.
        for _ in 0..3 {
            let builder = Surfnet::builder()
                .offline(true)
                .block_production_mode(BlockProductionMode::Clock)
                .slot_time_ms(u64::try_from(SLOT.as_millis()).unwrap());
            match builder.start().await {
                Ok(surfnet) => {
                    let unsigned = AtomicU64::new(1);
                    let validator = Self { surfnet, unsigned };
                    validator.has_history().await;
                    return validator;
                }
                Err(error) => failed = Some(error),
            }
        }
        panic!("no validator: {failed:?}");
    }

    /// Waits until it has finalized the begin of its history. In its first seconds it looks like a
    /// node that has forgotten, which is not believed.
    async fn has_history(&self) {
        let client = self.client();
        let finalized = CommitmentConfig::finalized();
        until("a history", async || {
            let first = client.get_first_available_block().await.unwrap();
            let slot = client.get_slot_with_commitment(finalized).await.unwrap();
            (slot > first).then_some(())
        })
        .await;
    }

    pub(crate) fn http_url(&self) -> String {
        self.surfnet.rpc_url().to_owned()
    }

    pub(crate) fn ws_url(&self) -> String {
        self.surfnet.ws_url().to_owned()
    }

    /// A client of this node alone. Finalized, where a call says nothing else.
    pub(crate) fn client(&self) -> RpcClient {
        RpcClient::new_with_commitment(self.http_url(), CommitmentConfig::finalized())
    }

    pub(crate) fn pool(&self) -> Pool {
        pool(self.http_url())
    }

    /// A key with lamports.
    pub(crate) fn funded(&self) -> Keypair {
        let keypair = Keypair::new();
        let account = Account::new(10_000_000_000, 0, &Pubkey::default());
        self.write(&keypair.pubkey(), account);
        keypair
    }

    /// Writes an account, whoever owns it.
    pub(crate) fn write(&self, key: &Pubkey, account: Account) {
        let account = SetAccount::new(key.to_bytes().into())
            .lamports(account.lamports)
            .owner(account.owner.to_bytes().into())
            .data(account.data);
        self.surfnet.cheatcodes().execute(account).unwrap();
    }

    /// Puts a program's binary at an address.
    pub(crate) fn deploy(&self, id: &Pubkey, binary: Vec<u8>) {
        let program = DeployProgram::new(id.to_bytes().into()).so_bytes(binary);
        self.surfnet.cheatcodes().deploy(program).unwrap();
    }

    /// The binary of the memo program, as this node has it.
    pub(crate) async fn memo_binary(&self) -> Vec<u8> {
        let client = self.client();
        let mut data = client.get_account_data(&MEMO_PROGRAM).await.unwrap();
        if !data.starts_with(b"\x7fELF") {
            // The account names the one that holds the program.
            let key = Pubkey::try_from(&data[4..36]).unwrap();
            let held = client.get_account_data(&key).await.unwrap();
            data = held[PROGRAM_DATA_HEADER..].to_vec();
        }
        assert!(data.starts_with(b"\x7fELF"));
        data
    }

    /// Executes an instruction of somebody whose key is not at hand: no signature is checked.
    pub(crate) async fn execute_unsigned(
        &self,
        payer: &Pubkey,
        instruction: Instruction,
    ) -> Executed {
        let client = self.client();
        let processed = CommitmentConfig::processed();
        let (blockhash, _) = client
            .get_latest_blockhash_with_commitment(processed)
            .await
            .unwrap();
        // The node finds transactions by their signature, so that each has its own.
        let mut signature = [1; 64];
        let number = self.unsigned.fetch_add(1, Ordering::Relaxed);
        signature[..8].copy_from_slice(&number.to_be_bytes());
        let signature = Signature::from(signature);
        let transaction = Transaction {
            signatures: vec![signature],
            message: Message::new_with_blockhash(&[instruction], Some(payer), &blockhash),
        };
        let bytes = BASE64_STANDARD.encode(bincode::serialize(&transaction).unwrap());
        let config = json!({"encoding": "base64", "skipPreflight": true, "skipSigVerify": true});
        let sent: String = client
            .send(RpcRequest::SendTransaction, json!([bytes, config]))
            .await
            .unwrap();
        assert_eq!(sent, signature.to_string());
        let status = until("an unsigned transaction", async || {
            let statuses = client.get_signature_statuses(&[signature]).await.unwrap();
            statuses.value.into_iter().next().unwrap()
        });
        let result = status.await.err.map_or(Ok(()), Err);
        let found = client.get_transaction_with_config(
            &signature,
            RpcTransactionConfig {
                encoding: Some(UiTransactionEncoding::Base64),
                commitment: Some(CommitmentConfig::confirmed()),
                max_supported_transaction_version: Some(0),
            },
        );
        let meta = found.await.unwrap().transaction.meta.unwrap();
        Executed {
            signature,
            result,
            logs: meta.log_messages.unwrap(),
        }
    }
}

pub(crate) fn pool(url: String) -> Pool {
    Pool::http(&[url], Duration::from_secs(10), PoolConfig::default()).unwrap()
}

pub(crate) fn signer(keypair: &Keypair) -> Signer {
    Signer::from_text("TEST_KEY", &keypair.to_base58_string()).unwrap()
}

/// What the chain answers; none where it is away. After a look at what became of a transaction,
/// surfpool is for a moment taken to be further than it is (README.md).
pub(crate) fn unless_away<T>(answer: Result<T, ChainError>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) if error.is_transient() => {
            println!("{error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Looks until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(SLOT).await;
    }
}
