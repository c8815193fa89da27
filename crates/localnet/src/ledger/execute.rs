//! Transactions: into a block, or tried without one.

use std::sync::Arc;

use litesvm::types::{FailedTransactionMetadata, TransactionMetadata};
use solana_sdk::account::{Account, AccountSharedData, ReadableAccount};
use solana_sdk::inner_instruction::InnerInstructionsList;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use solana_sdk::transaction::{TransactionError, VersionedTransaction};
use spl_token_2022_interface::extension::StateWithExtensions;
use spl_token_2022_interface::state::{Account as TokenAccount, Mint};
use twzrd_chain::program::TOKEN_PROGRAM;

use super::{BLOCKHASH_AGE, Ledger};

/// A transaction in a block.
#[derive(Clone, Debug)]
pub struct Landed {
    /// Its first signature.
    pub signature: Signature,
    /// In which slot.
    pub slot: u64,
    /// Its place in the block.
    pub index: usize,
    /// It.
    pub transaction: VersionedTransaction,
    /// Why it failed; none where it did what it should.
    pub err: Option<TransactionError>,
    /// What programs said.
    pub logs: Vec<String>,
    /// The instructions that programs called, by outer instruction.
    pub inner: InnerInstructionsList,
    /// Compute units.
    pub units: u64,
    /// The fee, in lamports.
    pub fee: u64,
    /// Its accounts.
    pub keys: Vec<Pubkey>,
    /// Lamports of its accounts before.
    pub pre_balances: Vec<u64>,
    /// Lamports of its accounts behind it.
    pub post_balances: Vec<u64>,
    /// Token accounts among them before.
    pub pre_tokens: Vec<TokenAmount>,
    /// Token accounts among them behind it.
    pub post_tokens: Vec<TokenAmount>,
}

/// What a token account holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAmount {
    /// The account's place in the transaction.
    pub index: usize,
    /// The mint.
    pub mint: Pubkey,
    /// Whose it is.
    pub owner: Pubkey,
    /// The token program.
    pub program: Pubkey,
    /// In the smallest unit.
    pub amount: u64,
    /// Decimal places of the mint.
    pub decimals: u8,
}

/// A transaction that was tried and is in no block.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Why it failed.
    pub err: Option<TransactionError>,
    /// What programs said, calls, units, fee.
    pub meta: TransactionMetadata,
    /// The accounts that it would leave; empty where it failed.
    pub accounts: Vec<(Pubkey, AccountSharedData)>,
}

impl Ledger {
    /// Executes a transaction into the latest block, or drops it and counts why.
    pub(super) fn land(&mut self, transaction: VersionedTransaction, slot: u64, height: u64) {
        let Some(&signature) = transaction.signatures.first() else {
            self.counts.refused += 1;
            return;
        };
        if self.transactions.contains_key(&signature) {
            self.counts.duplicate += 1;
            return;
        }
        let usable = self
            .hashes
            .get(transaction.message.recent_blockhash())
            .is_some_and(|made| *made < height && height <= made + BLOCKHASH_AGE);
        if !usable {
            self.counts.expired += 1;
            return;
        }
        let keys = transaction.message.static_account_keys().to_vec();
        let before: Vec<_> = keys.iter().map(|key| self.current(key)).collect();
        let pre_tokens = self.tokens(&keys, &before);
        let result = self.svm.send_transaction(transaction.clone());
        let after: Vec<_> = keys.iter().map(|key| self.current(key)).collect();
        let (err, meta) = match result {
            Ok(meta) => (None, meta),
            Err(FailedTransactionMetadata { err, meta }) => (Some(err), meta),
        };
        // A failed transaction is in a block exactly where its payer paid for it.
        if err.is_some() && lamports(&before).first() == lamports(&after).first() {
            self.counts.refused += 1;
            return;
        }
        for (key, (was, is)) in keys.iter().zip(before.iter().zip(&after)) {
            if was != is {
                self.remember(*key, height, was.clone());
            }
        }
        if err.is_some() {
            self.counts.failed += 1;
        } else {
            self.counts.landed += 1;
        }
        let landed = Arc::new(Landed {
            signature,
            slot,
            index: self.tip().transactions.len(),
            pre_balances: lamports(&before),
            post_balances: lamports(&after),
            pre_tokens,
            post_tokens: self.tokens(&keys, &after),
            err,
            logs: meta.logs,
            inner: meta.inner_instructions,
            units: meta.compute_units_consumed,
            fee: meta.fee,
            keys,
            transaction,
        });
        self.transactions
            .insert(signature, (height, Arc::clone(&landed)));
        for key in &landed.keys {
            self.by_address
                .entry(*key)
                .or_default()
                .push_back((height, Arc::clone(&landed)));
        }
        if let Some(block) = self.blocks.back_mut() {
            block.transactions.push(landed);
        }
    }

    /// Tries a transaction on the state behind the block of a height. Signatures are not looked at.
    pub(crate) fn simulate(&self, transaction: VersionedTransaction, height: u64) -> Trial {
        let old: Vec<_> = transaction
            .message
            .static_account_keys()
            .iter()
            .map(|key| (*key, self.account_at(key, height)))
            .filter(|(key, account)| account != &self.current(key))
            .collect();
        let result = if old.is_empty() {
            self.svm.simulate_transaction(transaction)
        } else {
            let mut svm = self.svm.clone();
            for (key, account) in old {
                let account = account.map_or_else(Account::default, Account::from);
                if let Err(error) = svm.set_account(key, account) {
                    tracing::warn!(%key, %error, "an account could not be set for a simulation");
                }
            }
            svm.simulate_transaction(transaction)
        };
        match result {
            Ok(info) => Trial {
                err: None,
                meta: info.meta,
                accounts: info.post_accounts,
            },
            Err(failed) => Trial {
                err: Some(failed.err),
                meta: failed.meta,
                accounts: Vec::new(),
            },
        }
    }

    pub(super) fn current(&self, key: &Pubkey) -> Option<AccountSharedData> {
        self.svm.accounts_db().get_account(key)
    }

    /// Keeps what an account was before a block; the first word of a block counts.
    fn remember(&mut self, key: Pubkey, height: u64, before: Option<AccountSharedData>) {
        let states = self.past.entry(key).or_default();
        if states.back().is_none_or(|(at, _)| *at != height) {
            states.push_back((height, before));
            self.changed.push_back((height, key));
        }
    }

    /// The token accounts among some accounts.
    fn tokens(&self, keys: &[Pubkey], accounts: &[Option<AccountSharedData>]) -> Vec<TokenAmount> {
        keys.iter()
            .zip(accounts)
            .enumerate()
            .filter_map(|(index, (_, account))| {
                let account = account.as_ref()?;
                let token = token_account(account.owner(), account.data())?;
                let mint = self.current(&token.mint)?;
                Some(TokenAmount {
                    index,
                    mint: token.mint,
                    owner: token.owner,
                    program: *account.owner(),
                    amount: token.amount,
                    decimals: decimals(mint.data())?,
                })
            })
            .collect()
    }
}

/// A token account, where these bytes are one.
pub(crate) fn token_account(owner: &Pubkey, data: &[u8]) -> Option<TokenAccount> {
    if owner != &TOKEN_PROGRAM {
        return None;
    }
    StateWithExtensions::<TokenAccount>::unpack(data)
        .ok()
        .map(|state| state.base)
}

/// The decimal places of a mint.
pub(crate) fn decimals(mint: &[u8]) -> Option<u8> {
    StateWithExtensions::<Mint>::unpack(mint)
        .ok()
        .map(|state| state.base.decimals)
}

fn lamports(accounts: &[Option<AccountSharedData>]) -> Vec<u64> {
    accounts
        .iter()
        .map(|account| account.as_ref().map_or(0, ReadableAccount::lamports))
        .collect()
}
