//! From roots to one signed transaction that was simulated.

use compact_str::CompactString;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_rpc_client_api::config::RpcSimulateTransactionConfig;
use solana_sdk::hash::Hash;
use solana_sdk::instruction::Instruction;
use solana_sdk::message::Message;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::{Transaction, TransactionError};
use twzrd_domain::chain::{ChainError, Draft, Estimate, SignedTransaction};
use twzrd_domain::settlement::{Reason, RootId, Why};

use super::blockhash::{Lifetime, lifetime};
use super::cost::{fee_of, limit, price, shares};
use super::funds::{Purse, afford};
use super::refusal::{Refuser, Verdict, ran_out};
use super::{MAX_TRANSACTION_BYTES, MAX_UNITS, TargetConfig, logs};
use crate::keys::Signer;
use crate::rpc::chain_error;

/// A root that is to go into a transaction.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The root.
    pub(super) root: RootId,
    /// Its instruction.
    pub(super) instruction: Instruction,
    /// The rent of an account that the instruction makes.
    pub(super) rent: u64,
}

/// What composes. All calls go to one node.
pub(super) struct Composer<'a> {
    pub(super) client: &'a RpcClient,
    pub(super) signer: &'a Signer,
    pub(super) config: &'a TargetConfig,
    pub(super) refuser: Refuser,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Composed {
    pub(super) draft: Draft,
    /// Roots whose slot holds their epoch or a newer one.
    pub(super) not_increasing: Vec<(RootId, Reason)>,
}

/// What the transaction will be made with, whatever roots are left.
struct Frame {
    lifetime: Lifetime,
    price: u64,
    purse: Purse,
}

/// A simulation that went well.
struct Simulated {
    units: u64,
    log: Vec<String>,
}

impl Composer<'_> {
    /// Takes the first roots that fit, leaves out what the simulation refuses, and signs the rest.
    /// Each round of it takes out at least one root, so that it ends.
    pub(super) async fn compose(&self, items: Vec<Item>) -> Result<Composed, ChainError> {
        let mut composed = Composed::default();
        let items = self.fit(items, &mut composed.draft.refused);
        if items.is_empty() {
            return Ok(composed);
        }
        let frame = self.frame(&items).await?;
        let (mut items, refused) = afford(items, &frame.purse);
        composed.draft.refused.extend(refused);
        while !items.is_empty() {
            let simulated = match self.simulate(&items, &frame).await? {
                Ok(simulated) => simulated,
                Err(verdict) => {
                    self.take_out(verdict, &mut items, &frame, &mut composed)?;
                    continue;
                }
            };
            if let Some(limit) = limit(self.config, simulated.units) {
                self.finish(&items, &frame, &simulated, limit, &mut composed.draft)?;
                break;
            }
            let text = format!(
                "{} compute units and {} % margin; expected at most {}",
                simulated.units, self.config.units_margin_percent, self.config.max_units
            );
            too_much(
                text,
                items.len() - 1,
                &mut items,
                &mut composed.draft.refused,
            );
        }
        Ok(composed)
    }

    /// The first roots whose transaction is not too long. One that would be too long alone is
    /// refused.
    fn fit(&self, items: Vec<Item>, refused: &mut Vec<(RootId, Reason)>) -> Vec<Item> {
        let mut fitting: Vec<Item> = Vec::new();
        for item in items {
            if fitting.len() >= self.config.max_roots.max(1) {
                break;
            }
            fitting.push(item);
            let size = self.size(&fitting);
            if size <= MAX_TRANSACTION_BYTES {
                continue;
            }
            let Some(last) = fitting.pop() else { break };
            if !fitting.is_empty() {
                break;
            }
            let text =
                format!("a transaction of {size} bytes; expected at most {MAX_TRANSACTION_BYTES}");
            refused.push((last.root, Reason::new(Why::TooLarge, text)));
        }
        fitting
    }

    fn size(&self, items: &[Item]) -> usize {
        let instructions = budgeted(items, 0, 0);
        let message = message(&self.signer.pubkey(), &instructions, Hash::default());
        1 + size_of::<Signature>() + message.serialize().len()
    }

    async fn frame(&self, items: &[Item]) -> Result<Frame, ChainError> {
        let confirmed = CommitmentConfig::confirmed();
        let key = self.signer.pubkey();
        let lifetime = lifetime(self.client).await?;
        let price = price(self.client, self.config, &writable(items)).await?;
        let has = self
            .client
            .get_balance_with_commitment(&key, confirmed)
            .await
            .map_err(|error| chain_error("read the key's balance", &error))?
            .value;
        let keeps = rent(self.client, 0).await?;
        let fee = fee_of(self.config.max_units.min(MAX_UNITS), price);
        Ok(Frame {
            lifetime,
            price,
            purse: Purse {
                key,
                has,
                fee,
                keeps,
            },
        })
    }

    async fn simulate(
        &self,
        items: &[Item],
        frame: &Frame,
    ) -> Result<Result<Simulated, Verdict>, ChainError> {
        let units = self.config.max_units.min(MAX_UNITS);
        let instructions = budgeted(items, units, frame.price);
        let blockhash = frame.lifetime.blockhash;
        let message = message(&self.signer.pubkey(), &instructions, blockhash);
        let config = RpcSimulateTransactionConfig {
            commitment: Some(CommitmentConfig::confirmed()),
            ..RpcSimulateTransactionConfig::default()
        };
        let answer = self
            .client
            .simulate_transaction_with_config(&Transaction::new_unsigned(message), config)
            .await
            .map_err(|error| chain_error("simulate a transaction", &error))?
            .value;
        let log = answer.logs.unwrap_or_default();
        if let Some(error) = answer.err {
            let error = TransactionError::from(error);
            let used = answer.units_consumed;
            if ran_out(&error, used, u64::from(units), &log) {
                let text = format!("{error} with {units} compute units");
                return Ok(Err(Verdict::TooMuch(text)));
            }
            return Ok(Err(self.refuser.judge(&error, &log)));
        }
        let Some(units) = answer.units_consumed else {
            return Err(ChainError::Transient {
                doing: "simulate a transaction",
                reason: "the node does not tell the units; expected unitsConsumed".to_owned(),
            });
        };
        Ok(Ok(Simulated { units, log }))
    }

    /// Takes out at least one root.
    fn take_out(
        &self,
        verdict: Verdict,
        items: &mut Vec<Item>,
        frame: &Frame,
        composed: &mut Composed,
    ) -> Result<(), ChainError> {
        let refused = &mut composed.draft.refused;
        match verdict {
            Verdict::Root(at, reason) if at < items.len() => {
                refused.push((items.remove(at).root, reason));
            }
            Verdict::NotIncreasing(at, reason) if at < items.len() => {
                composed
                    .not_increasing
                    .push((items.remove(at).root, reason));
            }
            Verdict::NoFunds(said) => {
                let rent = items.iter().map(|item| item.rent).sum();
                let reason = frame.purse.reason(rent, &said);
                refused.extend(items.drain(..).map(|item| (item.root, reason.clone())));
            }
            Verdict::TooMuch(text) => too_much(text, items.len() / 2, items, refused),
            Verdict::Root(at, _) | Verdict::NotIncreasing(at, _) => {
                return Err(ChainError::Transient {
                    doing: "simulate a transaction",
                    reason: format!(
                        "the node names instruction {at} behind the budget; there are {}",
                        items.len()
                    ),
                });
            }
            Verdict::Elsewhere(error) => return Err(error),
        }
        Ok(())
    }

    fn finish(
        &self,
        items: &[Item],
        frame: &Frame,
        simulated: &Simulated,
        limit: u32,
        draft: &mut Draft,
    ) -> Result<(), ChainError> {
        let fee = fee_of(limit, frame.price);
        let instructions = budgeted(items, limit, frame.price);
        let (signature, bytes) = sign(self.signer, &instructions, frame.lifetime.blockhash)?;
        let program = items.first().map(|item| item.instruction.program_id);
        let told = logs::units(&simulated.log, &program.unwrap_or_default().to_string());
        let even: Vec<u64> = shares(simulated.units, items.len()).collect();
        let fees = shares(fee, items.len());
        for ((at, item), fee_lamports) in items.iter().enumerate().zip(fees) {
            let told = told.get(at).copied().flatten();
            draft.estimates.push(Estimate {
                root: item.root,
                units: told.or(even.get(at).copied()).unwrap_or(0),
                fee_lamports,
                rent_lamports: item.rent,
            });
        }
        draft.signed = Some(SignedTransaction {
            signature,
            bytes,
            last_valid_block_height: frame.lifetime.last_valid_block_height,
            signed_in_slot: Some(frame.lifetime.slot),
            fee_lamports: fee,
            roots: items.iter().map(|item| item.root).collect(),
        });
        Ok(())
    }
}

/// Signs instructions: the signature in base58, and the transaction's bytes.
pub(crate) fn sign(
    signer: &Signer,
    instructions: &[Instruction],
    blockhash: Hash,
) -> Result<(CompactString, Vec<u8>), ChainError> {
    let message = message(&signer.pubkey(), instructions, blockhash);
    let signature = signer.sign(&message.serialize());
    let transaction = Transaction {
        signatures: vec![signature],
        message,
    };
    let bytes = bincode::serialize(&transaction).map_err(|error| ChainError::Permanent {
        doing: "sign a transaction",
        reason: error.to_string(),
    })?;
    Ok((CompactString::from(signature.to_string()), bytes))
}

/// The rent of an account of so many bytes, in lamports.
pub(super) async fn rent(client: &RpcClient, size: usize) -> Result<u64, ChainError> {
    client
        .get_minimum_balance_for_rent_exemption(size)
        .await
        .map_err(|error| chain_error("read the rent", &error))
}

fn message(payer: &Pubkey, instructions: &[Instruction], blockhash: Hash) -> Message {
    Message::new_with_blockhash(instructions, Some(payer), &blockhash)
}

/// The instructions of roots, behind limit and price.
fn budgeted(items: &[Item], units: u32, price: u64) -> Vec<Instruction> {
    let mut instructions = vec![
        ComputeBudgetInstruction::set_compute_unit_limit(units),
        ComputeBudgetInstruction::set_compute_unit_price(price),
    ];
    instructions.extend(items.iter().map(|item| item.instruction.clone()));
    instructions
}

/// The accounts that are written, each once: fees are asked for by them.
fn writable(items: &[Item]) -> Vec<Pubkey> {
    let mut keys: Vec<Pubkey> = items
        .iter()
        .flat_map(|item| &item.instruction.accounts)
        .filter(|account| account.is_writable)
        .map(|account| account.pubkey)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Leaves only so many roots for this transaction, the others for the next; one alone is refused.
fn too_much(
    text: String,
    leave: usize,
    items: &mut Vec<Item>,
    refused: &mut Vec<(RootId, Reason)>,
) {
    if items.len() > 1 {
        items.truncate(leave.max(1));
    } else {
        let reason = Reason::new(Why::TooLarge, text);
        refused.extend(items.drain(..).map(|item| (item.root, reason.clone())));
    }
}
