//! Methods that try and send transactions.

use bincode::Options as _;
use serde_json::{Value, json};
use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_sdk::account::AccountSharedData;
use solana_sdk::message::VersionedMessage;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::signer::Signer;
use solana_sdk::transaction::{Transaction, TransactionError, VersionedTransaction};

use super::account::shown;
use super::history::{err_json, inner_json};
use super::params::{Params, bytes, parse};
use super::{Answer, Call, MAX_TRANSACTION, RpcError, with_context};
use crate::ledger::Trial;

/// The largest airdrop, in lamports: a million SOL.
const MAX_AIRDROP: u64 = 1_000_000_000_000_000;

/// Of how many accounts a simulation may answer the state.
const MAX_SIMULATED_ACCOUNTS: usize = 32;

impl Call<'_> {
    pub(super) fn fee_for_message(&self) -> Answer {
        let text = self.params.text(0, "message")?;
        let (slot, height) = self.block(1)?;
        let bytes = bytes(text, Some("base64"), MAX_TRANSACTION)?;
        let message: VersionedMessage = bincode::deserialize(&bytes)
            .map_err(|error| RpcError::invalid(format!("no message: {error}")))?;
        if !self.ledger.is_usable(message.recent_blockhash(), height) {
            return Ok(with_context(slot, Value::Null));
        }
        let signatures = usize::from(message.header().num_required_signatures);
        let transaction = VersionedTransaction {
            signatures: vec![Signature::default(); signatures],
            message,
        };
        let trial = self.ledger.simulate(transaction, height);
        Ok(with_context(slot, trial.meta.fee))
    }

    pub(super) fn simulate(&self) -> Answer {
        let config = self.params.config(1)?;
        let (slot, height) = self.bank(config.commitment()?, config.min_context_slot)?;
        let mut transaction = self.decoded(config.encoding.as_deref())?;
        if config.sig_verify && config.replace_recent_blockhash {
            return Err(RpcError::invalid(
                "sigVerify may not be used with replaceRecentBlockhash",
            ));
        }
        if config.sig_verify {
            verify(&transaction)?;
        }
        let mut replacement = Value::Null;
        if config.replace_recent_blockhash {
            let block = self.ledger.at(height);
            transaction.message.set_recent_blockhash(block.hash);
            replacement = json!({
                "blockhash": block.hash.to_string(),
                "lastValidBlockHeight": height + crate::ledger::BLOCKHASH_AGE,
            });
        }
        let wanted = match &config.accounts {
            None => None,
            Some(wanted) if wanted.addresses.len() > MAX_SIMULATED_ACCOUNTS => {
                return Err(RpcError::invalid(format!(
                    "{} accounts; expected at most {MAX_SIMULATED_ACCOUNTS}",
                    wanted.addresses.len()
                )));
            }
            Some(wanted) => Some(
                wanted
                    .addresses
                    .iter()
                    .map(|text| parse::<Pubkey>(text, "public key"))
                    .collect::<Result<Vec<_>, _>>()?,
            ),
        };
        let trial = self.tried(&transaction, height);
        let accounts = wanted.map(|keys| self.after(&trial, &keys, height));
        let mut value = trial_json(&trial);
        value["accounts"] = json!(accounts);
        value["replacementBlockhash"] = replacement;
        if config.inner_instructions {
            value["innerInstructions"] = inner_json(&trial.meta.inner_instructions);
        }
        Ok(with_context(slot, value))
    }

    pub(super) fn send(&mut self) -> Answer {
        let config = self.params.config(1)?;
        let transaction = self.decoded(config.encoding.as_deref())?;
        let (_, height) = self.bank(config.preflight_commitment()?, config.min_context_slot)?;
        let signature = verify(&transaction)?;
        if !config.skip_preflight {
            let trial = self.tried(&transaction, height);
            if let Some(err) = &trial.err {
                return Err(RpcError {
                    code: -32002,
                    message: format!("Transaction simulation failed: {err}"),
                    data: Some(trial_json(&trial)),
                });
            }
        }
        self.enqueue(transaction)?;
        Ok(json!(signature.to_string()))
    }

    pub(super) fn airdrop(&mut self) -> Answer {
        let key: Pubkey = self.params.parsed(0, "public key")?;
        let lamports = self.params.number(1, "lamports")?;
        if lamports > MAX_AIRDROP {
            return Err(RpcError::invalid(format!(
                "an airdrop of {lamports} lamports; expected at most {MAX_AIRDROP}"
            )));
        }
        let Some(faucet) = self.ledger.faucet() else {
            return Err(RpcError::new(-32603, "the faucet has no key"));
        };
        // A limit of its own makes each airdrop another transaction.
        let limit = 10_000 + self.ledger.next_airdrop() % 1_000_000;
        let hash = self.ledger.at(self.view.processed).hash;
        let transaction = Transaction::new_signed_with_payer(
            &[
                ComputeBudgetInstruction::set_compute_unit_limit(limit),
                solana_system_interface::instruction::transfer(&faucet.pubkey(), &key, lamports),
            ],
            Some(&faucet.pubkey()),
            &[&faucet],
            hash,
        );
        let transaction = VersionedTransaction::from(transaction);
        let signature = verify(&transaction)?;
        self.enqueue(transaction)?;
        Ok(json!(signature.to_string()))
    }

    fn enqueue(&mut self, transaction: VersionedTransaction) -> Result<(), RpcError> {
        if self.ledger.accept(transaction) {
            return Ok(());
        }
        Err(RpcError::new(
            -32603,
            format!(
                "{} transactions wait for a block; expected fewer",
                self.ledger.config.max_pending
            ),
        ))
    }

    /// What a transaction would do behind the block of a height, blockhash and duplicates included.
    fn tried(&self, transaction: &VersionedTransaction, height: u64) -> Trial {
        let failed = |err| Trial {
            err: Some(err),
            meta: litesvm::types::TransactionMetadata::default(),
            accounts: Vec::new(),
        };
        if !self
            .ledger
            .is_usable(transaction.message.recent_blockhash(), height)
        {
            return failed(TransactionError::BlockhashNotFound);
        }
        let landed = transaction
            .signatures
            .first()
            .and_then(|signature| self.ledger.transaction(signature))
            .is_some_and(|(at, _)| at <= height);
        if landed {
            return failed(TransactionError::AlreadyProcessed);
        }
        self.ledger.simulate(transaction.clone(), height)
    }

    /// The state of accounts behind a trial.
    fn after(&self, trial: &Trial, keys: &[Pubkey], height: u64) -> Vec<Option<Value>> {
        if trial.err.is_some() {
            return vec![None; keys.len()];
        }
        keys.iter()
            .map(|key| {
                let changed: Option<&AccountSharedData> = trial
                    .accounts
                    .iter()
                    .find(|(changed, _)| changed == key)
                    .map(|(_, account)| account);
                match changed {
                    Some(account) => Some(shown(account, None)),
                    None => self
                        .ledger
                        .account_at(key, height)
                        .map(|account| shown(&account, None)),
                }
            })
            .collect()
    }

    fn decoded(&self, encoding: Option<&str>) -> Result<VersionedTransaction, RpcError> {
        let transaction = deserialized(self.params.text(0, "transaction")?, encoding)?;
        transaction
            .sanitize()
            .map_err(|error| RpcError::invalid(format!("invalid transaction: {error}")))?;
        if transaction
            .message
            .address_table_lookups()
            .is_some_and(|lookups| !lookups.is_empty())
        {
            return Err(RpcError::invalid(
                "the transaction looks up addresses in a table; this node knows none",
            ));
        }
        Ok(transaction)
    }
}

/// The first signature of the transaction in the parameters of `sendTransaction`.
pub(crate) fn signature_of(params: &Value) -> Result<String, RpcError> {
    let params = Params::of(params)?;
    let encoding = params.config(1)?.encoding;
    let transaction = deserialized(params.text(0, "transaction")?, encoding.as_deref())?;
    transaction
        .signatures
        .first()
        .map(ToString::to_string)
        .ok_or_else(|| RpcError::invalid("the transaction has no signature"))
}

fn deserialized(text: &str, encoding: Option<&str>) -> Result<VersionedTransaction, RpcError> {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(MAX_TRANSACTION as u64)
        .reject_trailing_bytes()
        .deserialize(&bytes(text, encoding, MAX_TRANSACTION)?)
        .map_err(|error| RpcError::invalid(format!("failed to deserialize: {error}")))
}

fn verify(transaction: &VersionedTransaction) -> Result<Signature, RpcError> {
    let valid = !transaction.signatures.is_empty()
        && transaction
            .verify_with_results()
            .into_iter()
            .all(|valid| valid);
    match transaction.signatures.first() {
        Some(signature) if valid => Ok(*signature),
        _ => Err(RpcError::new(
            -32003,
            "Transaction signature verification failure",
        )),
    }
}

/// A trial as answers show it.
fn trial_json(trial: &Trial) -> Value {
    json!({
        "err": err_json(trial.err.as_ref()),
        "logs": trial.meta.logs,
        "accounts": null,
        "unitsConsumed": trial.meta.compute_units_consumed,
        "fee": trial.meta.fee,
        "loadedAccountsDataSize": null,
        "returnData": null,
        "innerInstructions": null,
        "replacementBlockhash": null,
    })
}
