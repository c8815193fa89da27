//! Methods that read transactions.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use solana_sdk::inner_instruction::InnerInstructionsList;
use solana_sdk::message::compiled_instruction::CompiledInstruction;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::{TransactionError, TransactionVersion};
use solana_transaction_status_client_types::UiTransactionError;

use super::account::token_amount;
use super::params::parse;
use super::{Answer, Call, RpcError, with_context};
use crate::ledger::{BLOCKHASH_AGE, Commitment, Landed, TokenAmount};

/// How many statuses one call may ask for.
const MAX_STATUSES: usize = 256;

/// How many signatures a page has at most, and without a limit.
const MAX_PAGE: usize = 1000;

impl Call<'_> {
    pub(super) fn statuses(&self) -> Answer {
        let signatures: Vec<Signature> = self.params.list(0, "signature", MAX_STATUSES)?;
        let everything = self.params.config(1)?.search_transaction_history;
        let tip = self.view.processed;
        let statuses: Vec<Value> = signatures
            .iter()
            .map(|signature| {
                let (height, landed) = self.ledger.transaction(signature)?;
                let commitment = self.view.commitment_of(height)?;
                // What is older is in the history alone, which the caller has to ask for.
                if !everything && height + BLOCKHASH_AGE < tip {
                    return None;
                }
                let finalized = commitment == Commitment::Finalized;
                Some(json!({
                    "slot": landed.slot,
                    "confirmations": (!finalized).then_some(tip - height),
                    "err": err_json(landed.err.as_ref()),
                    "status": status_json(landed.err.as_ref()),
                    "confirmationStatus": word(commitment),
                }))
            })
            .map(|status| status.unwrap_or(Value::Null))
            .collect();
        Ok(with_context(self.ledger.at(tip).slot, statuses))
    }

    pub(super) fn signatures_for_address(&self) -> Answer {
        let key: Pubkey = self.params.parsed(0, "public key")?;
        let config = self.params.config(1)?;
        let limit = config.limit.unwrap_or(MAX_PAGE);
        if limit == 0 || limit > MAX_PAGE {
            return Err(RpcError::invalid(format!(
                "Invalid limit; max {MAX_PAGE}; it is {limit}"
            )));
        }
        let (_, until_height) = self.above_processed(&config)?;
        let before: Option<Signature> = signature(config.before.as_deref())?;
        let until: Option<Signature> = signature(config.until.as_deref())?;
        let mut known = self
            .ledger
            .transactions_of(&key)
            .filter(|(height, _)| *height <= until_height);
        if let Some(before) = before {
            // What lies before a transaction that is not known is not known either.
            let position = self.ledger.transaction(&before);
            let Some((height, landed)) = position else {
                return Ok(json!([]));
            };
            let place = (height, landed.index);
            let page: Vec<Value> = known
                .skip_while(|(height, landed)| (*height, landed.index) >= place)
                .take_while(|(_, landed)| Some(landed.signature) != until)
                .take(limit)
                .map(|(height, landed)| self.line(height, landed))
                .collect();
            return Ok(json!(page));
        }
        let page: Vec<Value> = known
            .by_ref()
            .take_while(|(_, landed)| Some(landed.signature) != until)
            .take(limit)
            .map(|(height, landed)| self.line(height, landed))
            .collect();
        Ok(json!(page))
    }

    fn line(&self, height: u64, landed: &Landed) -> Value {
        json!({
            "signature": landed.signature.to_string(),
            "slot": landed.slot,
            "err": err_json(landed.err.as_ref()),
            "memo": null,
            "blockTime": self.ledger.at(height).time,
            "confirmationStatus": self.view.commitment_of(height).map(word),
            "transactionIndex": landed.index,
        })
    }

    pub(super) fn transaction(&self) -> Answer {
        let signature: Signature = self.params.parsed(0, "signature")?;
        let config = self.params.config(1)?;
        let (_, until_height) = self.above_processed(&config)?;
        let Some((height, landed)) = self
            .ledger
            .transaction(&signature)
            .filter(|(height, _)| *height <= until_height)
        else {
            return Ok(Value::Null);
        };
        let version = match landed.transaction.version() {
            TransactionVersion::Legacy(_) => None,
            TransactionVersion::Number(number) => Some(number),
        };
        if version.is_some() && config.max_supported_transaction_version < version {
            return Err(RpcError::new(
                -32015,
                format!(
                    "Transaction version ({}) is not supported by the requesting client. Please \
                     try the request again with the following configuration parameter: \
                     \"maxSupportedTransactionVersion\": {}",
                    version.unwrap_or_default(),
                    version.unwrap_or_default()
                ),
            ));
        }
        let mut answer = json!({
            "slot": landed.slot,
            "blockTime": self.ledger.at(height).time,
            "transactionIndex": landed.index,
            "transaction": encoded(landed, config.encoding.as_deref())?,
            "meta": meta(landed),
        });
        if config.max_supported_transaction_version.is_some() {
            answer["version"] = version.map_or(json!("legacy"), |number| json!(number));
        }
        Ok(answer)
    }

    /// The bank of methods that read the history, which knows no processed blocks.
    fn above_processed(&self, config: &super::params::Config) -> Result<(u64, u64), RpcError> {
        let commitment = config.commitment()?;
        if commitment == Commitment::Processed {
            return Err(RpcError::invalid(
                "Method does not support commitment below `confirmed`",
            ));
        }
        self.bank(commitment, config.min_context_slot)
    }
}

fn signature(text: Option<&str>) -> Result<Option<Signature>, RpcError> {
    text.map(|text| parse(text, "signature")).transpose()
}

fn word(commitment: Commitment) -> &'static str {
    match commitment {
        Commitment::Processed => "processed",
        Commitment::Confirmed => "confirmed",
        Commitment::Finalized => "finalized",
    }
}

/// An error of a transaction as answers show it.
pub(crate) fn err_json(err: Option<&TransactionError>) -> Value {
    err.map_or(Value::Null, |err| {
        serde_json::to_value(UiTransactionError::from(err.clone()))
            .unwrap_or_else(|_| json!(err.to_string()))
    })
}

fn status_json(err: Option<&TransactionError>) -> Value {
    match err {
        None => json!({"Ok": null}),
        Some(_) => json!({"Err": err_json(err)}),
    }
}

/// A transaction in the encoding that was asked for.
fn encoded(landed: &Landed, encoding: Option<&str>) -> Answer {
    let bytes = || {
        bincode::serialize(&landed.transaction)
            .map_err(|error| RpcError::new(-32603, format!("the transaction is damaged: {error}")))
    };
    match encoding {
        Some("base64") => Ok(json!([BASE64_STANDARD.encode(bytes()?), "base64"])),
        Some("base58") => Ok(json!([bs58::encode(bytes()?).into_string(), "base58"])),
        None | Some("json") => Ok(as_json(landed)),
        Some(other) => Err(RpcError::invalid(format!(
            "encoding is {other:?}; expected json, base58 or base64"
        ))),
    }
}

fn as_json(landed: &Landed) -> Value {
    let message = &landed.transaction.message;
    let header = message.header();
    let texts = |keys: &[Pubkey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let instructions: Vec<Value> = message
        .instructions()
        .iter()
        .map(|instruction| instruction_json(instruction, 1))
        .collect();
    json!({
        "signatures": landed
            .transaction
            .signatures
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        "message": {
            "header": {
                "numRequiredSignatures": header.num_required_signatures,
                "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
                "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
            },
            "accountKeys": texts(&landed.keys),
            "recentBlockhash": message.recent_blockhash().to_string(),
            "instructions": instructions,
        },
    })
}

fn instruction_json(instruction: &CompiledInstruction, stack_height: u8) -> Value {
    json!({
        "programIdIndex": instruction.program_id_index,
        "accounts": instruction.accounts,
        "data": bs58::encode(&instruction.data).into_string(),
        "stackHeight": stack_height,
    })
}

/// Inner instructions as answers show them: only of outer ones that have any.
pub(super) fn inner_json(inner: &InnerInstructionsList) -> Value {
    inner
        .iter()
        .enumerate()
        .filter(|(_, instructions)| !instructions.is_empty())
        .map(|(index, instructions)| {
            let instructions: Vec<Value> = instructions
                .iter()
                .map(|inner| instruction_json(&inner.instruction, inner.stack_height))
                .collect();
            json!({"index": index, "instructions": instructions})
        })
        .collect()
}

fn meta(landed: &Landed) -> Value {
    json!({
        "err": err_json(landed.err.as_ref()),
        "status": status_json(landed.err.as_ref()),
        "fee": landed.fee,
        "preBalances": landed.pre_balances,
        "postBalances": landed.post_balances,
        "innerInstructions": inner_json(&landed.inner),
        "logMessages": landed.logs,
        "preTokenBalances": tokens_json(&landed.pre_tokens),
        "postTokenBalances": tokens_json(&landed.post_tokens),
        "rewards": [],
        "loadedAddresses": {"writable": [], "readonly": []},
        "computeUnitsConsumed": landed.units,
    })
}

fn tokens_json(tokens: &[TokenAmount]) -> Value {
    tokens
        .iter()
        .map(|token| {
            json!({
                "accountIndex": token.index,
                "mint": token.mint.to_string(),
                "owner": token.owner.to_string(),
                "programId": token.program.to_string(),
                "uiTokenAmount": token_amount(token.amount, token.decimals),
            })
        })
        .collect()
}
