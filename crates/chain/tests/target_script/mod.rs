//! A node of one struct: what it holds is set by the test, and it refuses what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error::{Error, ErrorKind, Result};
use solana_rpc_client_api::request::{RpcError, RpcRequest, RpcResponseErrorData};
use solana_sdk::clock::Clock;
use solana_sdk::hash::Hash;
use solana_sdk::message::compiled_instruction::CompiledInstruction;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Keypair;
use solana_sdk::sysvar;
use solana_sdk::transaction::Transaction;
use twzrd_chain::keys::Signer;
use twzrd_chain::program::account::{ChannelState, Layout, ProtocolState};
use twzrd_chain::program::{Program, decode};
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_chain::target::{ProgramTarget, TargetConfig};
use twzrd_domain::chain::{SignedTransaction, Standing};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::Channel;
use twzrd_domain::leaf;
use twzrd_domain::settlement::{RootId, RootToPublish, Why};

/// The compute units of each instruction of the simulation.
pub(crate) const UNITS: u64 = 30_000;

type Hook = Box<dyn FnOnce(&mut State) + Send>;

#[derive(Default)]
pub(crate) struct State {
    pub slot: u64,
    pub height: u64,
    /// Account: owner, lamports, data.
    pub accounts: BTreeMap<Pubkey, (Pubkey, u64, Vec<u8>)>,
    /// What accounts hold after a simulation; those that are not here hold what they hold now.
    pub simulated_accounts: BTreeMap<Pubkey, (Pubkey, u64, Vec<u8>)>,
    pub balance: u64,
    pub fees: Vec<u64>,
    /// By signature, as `getSignatureStatuses` answers.
    pub statuses: BTreeMap<String, Value>,
    /// By signature, as `getTransaction` answers.
    pub transactions: BTreeMap<String, Value>,
    /// The roots of this channel, or the instructions of this name, are refused with this error.
    pub refuse: BTreeMap<String, Value>,
    /// The next simulations fail as a whole with these.
    pub failures: VecDeque<Value>,
    /// What `sendTransaction` answers instead of the signature: code and data.
    pub send_error: Option<(i64, RpcResponseErrorData)>,
    pub sent: Vec<Vec<u8>>,
    /// What `getLatestBlockhash` answers instead of the height and its age.
    pub last_valid: Option<u64>,
    /// The first slot of the history.
    pub first_available: u64,
    /// So often a method is answered with an error.
    pub broken: BTreeMap<String, u64>,
    /// What a simulation logs.
    pub logs: Vec<String>,
    pub simulated: Vec<Transaction>,
    pub calls: Vec<(String, Value)>,
    /// What happens right after the first call of this method.
    pub after: BTreeMap<String, Hook>,
}

/// Handle to the node.
#[derive(Clone)]
pub(crate) struct Script(Arc<Mutex<State>>);

impl Script {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            slot: 1000,
            height: 900,
            balance: 10_000_000_000,
            logs: vec!["Program log: a line of the log".to_owned()],
            ..State::default()
        })))
    }

    pub(crate) fn set(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn pool(&self) -> Pool {
        let endpoint = Endpoint::new("script", Box::new(self.clone()));
        let config = PoolConfig {
            cool_down: Duration::ZERO,
            ..PoolConfig::default()
        };
        Pool::new(vec![endpoint], config).unwrap()
    }

    pub(crate) fn put_protocol(&self, state: &ProtocolState) {
        let program = Program::default();
        let account = (program.id, 1_000_000, state.encode());
        self.set()
            .accounts
            .insert(program.protocol_state().0, account);
    }

    pub(crate) fn put_channel(&self, channel: &str, change: impl FnOnce(&mut ChannelState)) {
        let (address, state) = channel_state(channel, change);
        let account = (Program::default().id, 1_000_000, state.encode());
        self.set().accounts.insert(address, account);
    }

    /// The chain's own time.
    pub(crate) fn put_clock(&self, seconds: i64) {
        let clock = Clock {
            unix_timestamp: seconds,
            ..Clock::default()
        };
        let account = (Pubkey::default(), 1, bincode::serialize(&clock).unwrap());
        self.set().accounts.insert(sysvar::clock::ID, account);
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.set()
            .calls
            .iter()
            .map(|(method, _)| method.clone())
            .collect()
    }
}

pub(crate) fn channel_state(
    channel: &str,
    change: impl FnOnce(&mut ChannelState),
) -> (Pubkey, ChannelState) {
    let program = Program::default();
    let channel: Channel = channel.parse().unwrap();
    let (address, bump) = program.channel_state(&channel);
    let subject = leaf::subject(channel.as_str());
    let mut state = ChannelState::new(Layout::Packed10x128, bump, program.mint, subject);
    change(&mut state);
    (address, state)
}

pub(crate) fn signer() -> Signer {
    let keypair = Keypair::new_from_array([7; 32]);
    Signer::from_text("TEST_KEY", &keypair.to_base58_string()).unwrap()
}

pub(crate) fn protocol() -> ProtocolState {
    let program = Program::default();
    let (address, bump) = program.protocol_state();
    ProtocolState {
        is_initialized: true,
        version: 1,
        admin: Pubkey::from([1; 32]),
        publisher: signer().pubkey(),
        treasury: address,
        mint: program.mint,
        paused: false,
        require_receipt: false,
        bump,
    }
}

fn with_context(state: &State, value: &Value) -> Value {
    json!({ "context": { "slot": state.slot }, "value": value })
}

fn account_json((owner, lamports, data): &(Pubkey, u64, Vec<u8>)) -> Value {
    json!({
        "lamports": lamports,
        "owner": owner.to_string(),
        "data": [BASE64_STANDARD.encode(data), "base64"],
        "executable": false,
        "rentEpoch": 0,
        "space": data.len(),
    })
}

impl State {
    fn accounts_json(&self, keys: &Value, is_simulated: bool) -> Value {
        let keys = keys.as_array().unwrap().iter();
        keys.map(|key| {
            let key: Pubkey = key.as_str().unwrap().parse().unwrap();
            let after = self.simulated_accounts.get(&key).filter(|_| is_simulated);
            let found = after.or_else(|| self.accounts.get(&key));
            found.map_or(Value::Null, account_json)
        })
        .collect()
    }

    fn simulate(&mut self, params: &Value) -> Value {
        let bytes = BASE64_STANDARD.decode(params[0].as_str().unwrap()).unwrap();
        let transaction: Transaction = bincode::deserialize(&bytes).unwrap();
        let mut units = 300;
        let mut err = self.failures.pop_front().unwrap_or(Value::Null);
        let message = &transaction.message;
        let limit = u32::from_le_bytes(message.instructions[0].data[1..].try_into().unwrap());
        for (at, instruction) in message.instructions.iter().enumerate().skip(2) {
            units += UNITS;
            let keys: Vec<Pubkey> = instruction
                .accounts
                .iter()
                .map(|key| message.account_keys[usize::from(*key)])
                .collect();
            let read = decode::describe(&instruction.data, &keys);
            let what = read.fields["channel"].as_str().unwrap_or(&read.name);
            if let Some(error) = self.refuse.get(what)
                && err.is_null()
            {
                err = json!({ "InstructionError": [at, error] });
            }
            // As a node does it: what is used up stops the program, and no more is used.
            if units > u64::from(limit) && err.is_null() {
                err = json!({ "InstructionError": [at, "ProgramFailedToComplete"] });
            }
        }
        units = units.min(u64::from(limit));
        self.simulated.push(transaction);
        let wanted = &params[1]["accounts"]["addresses"];
        let accounts = if wanted.is_array() {
            self.accounts_json(wanted, true)
        } else {
            Value::Null
        };
        json!({
            "err": err,
            "logs": self.logs,
            "unitsConsumed": units,
            "accounts": accounts,
        })
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value> {
        let value = match method {
            "getSlot" => return Ok(json!(self.slot)),
            "getEpochInfo" => {
                return Ok(json!({
                    "epoch": 1, "slotIndex": 1, "slotsInEpoch": 432_000,
                    "absoluteSlot": self.slot, "blockHeight": self.height,
                    "transactionCount": 1,
                }));
            }
            "getFirstAvailableBlock" => return Ok(json!(self.first_available)),
            "getRecentPrioritizationFees" => {
                let fees = self
                    .fees
                    .iter()
                    .map(|fee| json!({ "slot": 1, "prioritizationFee": fee }));
                return Ok(fees.collect());
            }
            "getMinimumBalanceForRentExemption" => {
                return Ok(json!(890_880 + 6960 * params[0].as_u64().unwrap()));
            }
            "getTransaction" => {
                let signature = params[0].as_str().unwrap();
                return Ok(self
                    .transactions
                    .get(signature)
                    .cloned()
                    .unwrap_or(Value::Null));
            }
            "sendTransaction" => return self.send(params),
            "getLatestBlockhash" => json!({
                "blockhash": Hash::new_from_array([9; 32]).to_string(),
                "lastValidBlockHeight": self.last_valid.unwrap_or(self.height + 150),
            }),
            "getBalance" => json!(self.balance),
            "getMultipleAccounts" => self.accounts_json(&params[0], false),
            "getSignatureStatuses" => {
                let wanted = params[0].as_array().unwrap().iter();
                wanted
                    .map(|it| self.statuses.get(it.as_str().unwrap()).cloned())
                    .map(|status| status.unwrap_or(Value::Null))
                    .collect()
            }
            "simulateTransaction" => self.simulate(params),
            other => panic!("{other} {params}"),
        };
        Ok(with_context(self, &value))
    }

    fn send(&mut self, params: &Value) -> Result<Value> {
        let bytes = BASE64_STANDARD.decode(params[0].as_str().unwrap()).unwrap();
        let transaction: Transaction = bincode::deserialize(&bytes).unwrap();
        self.sent.push(bytes);
        if let Some((code, data)) = self.send_error.take() {
            return Err(Error::from(RpcError::RpcResponseError {
                code,
                message: "refused by the script".to_owned(),
                data,
            }));
        }
        Ok(json!(transaction.signatures[0].to_string()))
    }
}

#[async_trait]
impl RpcSender for Script {
    async fn send(&self, request: RpcRequest, params: Value) -> Result<Value> {
        let method = request.to_string();
        let mut state = self.set();
        let left = state.broken.get_mut(&method).filter(|left| **left > 0);
        let answer = match left {
            Some(left) => {
                *left -= 1;
                Err(ErrorKind::Custom("connection refused".to_owned()).into())
            }
            None => state.answer(&method, &params),
        };
        if method != "getSlot" {
            state.calls.push((method.clone(), params));
        }
        if let Some(hook) = state.after.remove(&method) {
            hook(&mut state);
        }
        answer
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        "script".to_owned()
    }
}

pub(crate) fn root(id: u64, channel: &str) -> RootToPublish {
    RootToPublish {
        id: RootId(id),
        epoch: Epoch(360_000),
        number: 100,
        channel: channel.parse().unwrap(),
        root: [7; 32],
        count: 10,
    }
}

pub(crate) fn roots(n: u64) -> Vec<RootToPublish> {
    (1..=n)
        .map(|id| root(id, &format!("channel_{id}")))
        .collect()
}

pub(crate) fn target_of(script: &Script, config: TargetConfig) -> ProgramTarget {
    ProgramTarget::new(script.pool(), Program::default(), signer(), config)
}

/// A node with a protocol that takes our roots, and a target before it.
pub(crate) fn program() -> (Script, ProgramTarget) {
    let script = Script::new();
    script.put_protocol(&protocol());
    let target = target_of(&script, TargetConfig::default());
    (script, target)
}

pub(crate) fn why(standing: &Standing) -> Option<Why> {
    match standing {
        Standing::Blocked(reason) => Some(reason.why),
        _ => None,
    }
}

pub(crate) fn instructions(transaction: &SignedTransaction) -> Vec<(Pubkey, Vec<u8>)> {
    let transaction: Transaction = bincode::deserialize(&transaction.bytes).unwrap();
    let message = &transaction.message;
    let of = |it: &CompiledInstruction| {
        (
            message.account_keys[usize::from(it.program_id_index)],
            it.data.clone(),
        )
    };
    message.instructions.iter().map(of).collect()
}
