//! What an instruction would do, by a simulation.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_rpc_client_api::request::RpcRequest;
use solana_sdk::hash::Hash;
use solana_sdk::instruction::{Instruction, InstructionError};
use solana_sdk::message::Message;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::transaction::{Transaction, TransactionError};
use twzrd_domain::chain::ChainError;

use super::fields::changes;
use super::{Admin, AdminError, Change, Field, Operation};
use crate::keys::Signer;
use crate::program::error::{UNAUTHORIZED, describe};
use crate::rpc::{chain_error, plain};
use crate::target::MAX_UNITS;
use crate::target::accounts::{Account, read_accounts};
use crate::target::blockhash::{Lifetime, lifetime};
use crate::target::compose::sign;
use crate::target::cost::{fee_of, limit, price};

const DOING: &str = "simulate an instruction";

/// What an instruction would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The instruction.
    pub operation: String,
    /// The account that it changes.
    pub account: Pubkey,
    /// The key that would sign.
    pub signer: Pubkey,
    /// The account holds it already: nothing would be sent.
    pub is_held: bool,
    /// The program's error, by number and name; none where it takes the instruction.
    pub refused: Option<String>,
    /// What the program logs, as it may stand on a terminal.
    pub logs: Vec<String>,
    /// The account as it is.
    pub before: Vec<Field>,
    /// What would change in it.
    pub changes: Vec<Change>,
    /// The compute units that were used.
    pub units: u64,
    /// What it would cost, in lamports, without rent.
    pub fee_lamports: u64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} signed by {}", self.operation, self.signer)?;
        for line in &self.logs {
            writeln!(f, "  log: {line}")?;
        }
        writeln!(f, "account {}", self.account)?;
        for change in &self.changes {
            writeln!(f, "  {change}")?;
        }
        match &self.refused {
            Some(error) => write!(f, "refused: {error}"),
            None if self.is_held => f.write_str("held already: nothing would be sent"),
            None => write!(
                f,
                "{} compute units, {} lamports",
                self.units, self.fee_lamports
            ),
        }
    }
}

/// A plan with all that it takes to sign it.
pub(super) struct Drawn {
    pub(super) plan: Plan,
    pub(super) lifetime: Lifetime,
    instructions: Vec<Instruction>,
}

impl Drawn {
    /// Signs what was simulated: signature and bytes.
    pub(super) fn sign(&self, signer: &Signer) -> Result<(String, Vec<u8>), ChainError> {
        let (signature, bytes) = sign(signer, &self.instructions, self.lifetime.blockhash)?;
        Ok((signature.into(), bytes))
    }
}

/// Builds and simulates an instruction, all of it against one node.
pub(super) async fn draw(admin: &Admin, operation: &Operation) -> Result<Drawn, AdminError> {
    let node = admin.pool.pinned(0).await?;
    let confirmed = CommitmentConfig::confirmed();
    let address = operation.account(&admin.program);
    let signer = admin.signer.pubkey();
    let found = read_accounts(&node.client, &[address], confirmed, node.slot()).await?;
    let account = found.first().and_then(Option::as_ref);
    let before = operation.fields(&admin.program, account)?;
    let is_held = operation.is_held(&admin.program, account)?;
    let lifetime = lifetime(&node.client).await?;
    let config = &admin.config.transactions;
    let price = price(&node.client, config, &[signer, address]).await?;
    let instruction = operation.instruction(&admin.program, &signer);
    let most = config.max_units.min(MAX_UNITS);
    let tried = budgeted(&instruction, most, price);
    let simulated = simulate(&node.client, &signer, &tried, lifetime.blockhash, &address).await?;
    // What is held already would not be sent: that the program refuses it says nothing.
    let error = simulated.err.filter(|_| !is_held);
    let refused = error.map(|error| refusal(admin, &error, &before));
    let after = match (&refused, simulated.accounts) {
        (None, Some(accounts)) => {
            let account = accounts.into_iter().next().flatten();
            let account = account.map(Account::decode).transpose()?;
            operation.fields(&admin.program, account.as_ref())?
        }
        _ => before.clone(),
    };
    let units = simulated.units_consumed;
    let limit = units.and_then(|used| limit(config, used)).unwrap_or(most);
    Ok(Drawn {
        lifetime,
        instructions: budgeted(&instruction, limit, price),
        plan: Plan {
            operation: operation.to_string(),
            account: address,
            signer,
            is_held,
            refused,
            logs: shown(&simulated.logs.unwrap_or_default()),
            changes: changes(&before, &after),
            before,
            units: units.unwrap_or(0),
            fee_lamports: fee_of(limit, price),
        },
    })
}

#[derive(Deserialize)]
struct Answer {
    value: Simulated,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Simulated {
    err: Option<TransactionError>,
    logs: Option<Vec<String>>,
    accounts: Option<Vec<Option<Account>>>,
    units_consumed: Option<u64>,
}

async fn simulate(
    client: &RpcClient,
    signer: &Pubkey,
    instructions: &[Instruction],
    blockhash: Hash,
    address: &Pubkey,
) -> Result<Simulated, ChainError> {
    let message = Message::new_with_blockhash(instructions, Some(signer), &blockhash);
    let bytes = bincode::serialize(&Transaction::new_unsigned(message));
    let bytes = bytes.map_err(|error| ChainError::Permanent {
        doing: DOING,
        reason: error.to_string(),
    })?;
    let config = json!({
        "sigVerify": false,
        "commitment": "confirmed",
        "encoding": "base64",
        "accounts": { "encoding": "base64", "addresses": [address.to_string()] },
    });
    let params = json!([BASE64_STANDARD.encode(bytes), config]);
    let answer: Answer = client
        .send(RpcRequest::SimulateTransaction, params)
        .await
        .map_err(|error| chain_error(DOING, &error))?;
    Ok(answer.value)
}

fn budgeted(instruction: &Instruction, units: u32, price: u64) -> Vec<Instruction> {
    vec![
        ComputeBudgetInstruction::set_compute_unit_limit(units),
        ComputeBudgetInstruction::set_compute_unit_price(price),
        instruction.clone(),
    ]
}

/// An error by number and name, and where the key is not the admin, both keys.
fn refusal(admin: &Admin, error: &TransactionError, before: &[Field]) -> String {
    let mut text = explain(admin, error);
    let unauthorized = InstructionError::Custom(UNAUTHORIZED);
    if matches!(error, TransactionError::InstructionError(_, it) if *it == unauthorized) {
        let expected = before.iter().find(|field| field.name == "admin");
        let expected = expected.map_or("nobody", |field| field.value.as_str());
        let found = admin.signer.pubkey();
        text = format!("{text}: the key is {found}; expected the admin {expected}");
    }
    text
}

/// An error by number and name.
pub(super) fn explain(admin: &Admin, error: &TransactionError) -> String {
    match error {
        TransactionError::InstructionError(_, InstructionError::Custom(number)) => {
            describe(*number, admin.config.transactions.new_layout.line())
        }
        other => plain(&other.to_string()),
    }
}

/// At most so many lines of a log are shown.
const MAX_LINES: usize = 100;

/// A log without what a terminal obeys, and not longer than people read.
fn shown(logs: &[String]) -> Vec<String> {
    let lines = logs.iter().take(MAX_LINES).map(|line| plain(line));
    let more = logs.len().saturating_sub(MAX_LINES);
    let more = (more > 0).then(|| format!("and {more} lines more"));
    lines.chain(more).collect()
}
