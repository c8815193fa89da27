//! Reads a finalized transaction: the program's instructions in it, in the order in which they ran.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::VersionedTransaction;
use solana_transaction_status_client_types::option_serializer::OptionSerializer;
use solana_transaction_status_client_types::{
    EncodedConfirmedTransactionWithStatusMeta, UiInnerInstructions, UiInstruction,
    UiTransactionStatusMeta, UiTransactionTokenBalance,
};
use twzrd_domain::chain::{Action, Activity, Deed, Mark};

use crate::program::Program;
use crate::program::decode::{Decoded, describe};

pub(super) const READING: &str = "read a transaction";

/// The program's name in the log.
const PROGRAM_NAME: &str = "Attention Oracle";

/// Arguments are shown where they are no longer than this, as JSON. Those of a claim are a quarter
/// of it at most; strangers may hand the program ten kilobytes in each of 64 instructions.
const MAX_FIELDS: usize = 8 * 1024;

/// So many accounts of an instruction are shown, of at most 255. No instruction has a word for more
/// than twelve.
const MAX_ACCOUNTS: usize = 32;

/// Whose instructions are read.
pub(super) struct Ours {
    program: Pubkey,
    program_id: String,
    /// Anybody may set up the program for a mint of their own, which has a state of its own.
    protocol: Pubkey,
    mint: String,
}

impl Ours {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            program: program.id,
            program_id: program.id.to_string(),
            protocol: program.protocol_state().0,
            mint: program.mint.to_string(),
        }
    }

    /// Whether an instruction is about our mint.
    fn has(&self, decoded: &Decoded) -> bool {
        let protocol =
            |(role, key): &(&str, Pubkey)| *role == "protocol_state" && *key == self.protocol;
        decoded.accounts.iter().any(protocol)
    }
}

/// A line of the log, without its time: the first shape of the system before.
#[derive(Serialize)]
struct Line<'a> {
    slot: u64,
    signature: &'a str,
    #[serde(rename = "blockTime", skip_serializing_if = "Option::is_none")]
    block_time: Option<u64>,
    instruction: Instruction<'a>,
    accounts: Vec<Account<'a>>,
    meta: Meta<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Instruction<'a> {
    program: &'static str,
    program_id: &'a str,
    action: &'a str,
    data: Cow<'a, Value>,
}

#[derive(Serialize)]
struct Account<'a> {
    name: &'a str,
    pubkey: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    fee: u64,
    pre_token_balances: Vec<&'a UiTransactionTokenBalance>,
    post_token_balances: Vec<&'a UiTransactionTokenBalance>,
}

/// An instruction, outer or inner.
struct Ran<'a> {
    program: u8,
    accounts: &'a [u8],
    data: Vec<u8>,
}

/// Reads the answer to `getTransaction`.
///
/// # Errors
/// Where it is null, though the transaction is finalized, or is not what it must be: another node
/// may know better.
pub(super) fn read(
    ours: &Ours,
    mark: &Mark,
    answer: Option<EncodedConfirmedTransactionWithStatusMeta>,
) -> Result<Activity, String> {
    let answer = answer.ok_or("null; expected a transaction that is finalized")?;
    if answer.slot != mark.slot {
        return Err(format!(
            "one of slot {}; expected slot {}",
            answer.slot, mark.slot
        ));
    }
    let meta = answer.transaction.meta.as_ref();
    let meta = meta.ok_or("a transaction without meta; expected one with it")?;
    let block_time = answer.block_time.and_then(|time| u64::try_from(time).ok());
    let mut activity = Activity {
        mark: mark.clone(),
        block_time,
        actions: Vec::new(),
    };
    if meta.err.is_some() {
        return Ok(activity);
    }
    let transaction = answer.transaction.transaction.decode();
    let transaction = transaction.ok_or("bytes that are no transaction")?;
    let signature = transaction.signatures.first().map(Signature::to_string);
    if signature.as_deref() != Some(mark.signature.as_str()) {
        return Err("another transaction than was asked for".to_owned());
    }
    let keys = keys(&transaction, meta)?;
    for (index, ran) in ran(&ours.program, &transaction, meta)?.iter().enumerate() {
        if key(&keys, ran.program)? != ours.program {
            continue;
        }
        let accounts: Result<Vec<Pubkey>, String> =
            ran.accounts.iter().map(|at| key(&keys, *at)).collect();
        let decoded = describe(&ran.data, &accounts?);
        let line = line(&activity, ours, &decoded, meta);
        activity.actions.push(Action {
            index: u32::try_from(index).map_err(|_| "too many instructions")?,
            json: serde_json::to_string(&line).map_err(|error| error.to_string())?,
            deed: if ours.has(&decoded) {
                decoded.deed
            } else {
                Deed::Other
            },
        });
    }
    Ok(activity)
}

fn line<'a>(
    activity: &'a Activity,
    ours: &'a Ours,
    decoded: &'a Decoded,
    meta: &'a UiTransactionStatusMeta,
) -> Line<'a> {
    let account = |(name, key): &(&'a str, Pubkey)| Account {
        name,
        pubkey: key.to_string(),
    };
    // They are the transaction's, and so in each of its lines again: those of others in none.
    let balances = |told: &'a OptionSerializer<Vec<UiTransactionTokenBalance>>| match told {
        OptionSerializer::Some(told) if ours.has(decoded) => {
            told.iter().filter(|it| it.mint == ours.mint).collect()
        }
        _ => Vec::new(),
    };
    let shown = decoded.accounts.iter().take(MAX_ACCOUNTS);
    Line {
        slot: activity.mark.slot,
        signature: &activity.mark.signature,
        block_time: activity.block_time,
        instruction: Instruction {
            program: PROGRAM_NAME,
            program_id: &ours.program_id,
            action: &decoded.name,
            data: fields(decoded),
        },
        accounts: shown.map(account).collect(),
        meta: Meta {
            fee: meta.fee,
            pre_token_balances: balances(&meta.pre_token_balances),
            post_token_balances: balances(&meta.post_token_balances),
        },
    }
}

fn fields(decoded: &Decoded) -> Cow<'_, Value> {
    match decoded.fields.to_string().len() {
        0..=MAX_FIELDS => Cow::Borrowed(&decoded.fields),
        long => Cow::Owned(json!({ "left_out": format!("{long} bytes of arguments") })),
    }
}

/// All accounts: those in the message, and those from lookup tables behind them.
fn keys(
    transaction: &VersionedTransaction,
    meta: &UiTransactionStatusMeta,
) -> Result<Vec<Pubkey>, String> {
    let mut keys = transaction.message.static_account_keys().to_vec();
    if let OptionSerializer::Some(loaded) = &meta.loaded_addresses {
        for text in loaded.writable.iter().chain(&loaded.readonly) {
            let key = text.parse();
            keys.push(key.map_err(|_| "a loaded address that is no public key")?);
        }
    }
    Ok(keys)
}

fn key(keys: &[Pubkey], at: u8) -> Result<Pubkey, String> {
    keys.get(usize::from(at)).copied().ok_or_else(|| {
        format!(
            "an instruction with account {at}; expected one of {}",
            keys.len()
        )
    })
}

/// All instructions that ran, inner ones behind their outer one.
fn ran<'a>(
    program: &Pubkey,
    transaction: &'a VersionedTransaction,
    meta: &'a UiTransactionStatusMeta,
) -> Result<Vec<Ran<'a>>, String> {
    let outer = transaction.message.instructions();
    let inner: &[UiInnerInstructions] = match &meta.inner_instructions {
        OptionSerializer::Some(inner) => inner,
        OptionSerializer::None | OptionSerializer::Skip => {
            refuse_hidden(program, &meta.log_messages)?;
            &[]
        }
    };
    let mut inside: Vec<Option<&[UiInstruction]>> = vec![None; outer.len()];
    for inner in inner {
        match inside.get_mut(usize::from(inner.index)) {
            Some(place @ None) => *place = Some(&inner.instructions),
            Some(Some(_)) => return Err(format!("instruction {} twice", inner.index)),
            None => return Err(format!("what ran inside of instruction {}", inner.index)),
        }
    }
    let mut all = Vec::new();
    for (outer, inside) in outer.iter().zip(inside) {
        all.push(Ran {
            program: outer.program_id_index,
            accounts: &outer.accounts,
            data: outer.data.clone(),
        });
        for inner in inside.unwrap_or_default() {
            let UiInstruction::Compiled(inner) = inner else {
                return Err("a parsed instruction; expected its bytes".to_owned());
            };
            let data = bs58::decode(&inner.data).into_vec();
            all.push(Ran {
                program: inner.program_id_index,
                accounts: &inner.accounts,
                data: data.map_err(|_| "instruction data that is no base58")?,
            });
        }
    }
    Ok(all)
}

/// A node that does not tell inner instructions is believed that there were none of the program
/// only where its logs say so too.
fn refuse_hidden(program: &Pubkey, logs: &OptionSerializer<Vec<String>>) -> Result<(), String> {
    let OptionSerializer::Some(logs) = logs else {
        return Err("neither inner instructions nor logs; expected one of them".to_owned());
    };
    let invoked = format!("Program {program} invoke [");
    let inside = |line: &String| {
        line.strip_prefix(&invoked)
            .is_some_and(|depth| depth != "1]")
    };
    if logs.iter().any(inside) || logs.iter().any(|line| line == "Log truncated") {
        return Err("no inner instructions, and logs that may hide some".to_owned());
    }
    Ok(())
}
