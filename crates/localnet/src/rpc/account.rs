//! Methods that read accounts and blockhashes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use solana_sdk::account::{AccountSharedData, ReadableAccount};
use solana_sdk::hash::Hash;
use solana_sdk::pubkey::Pubkey;

use super::params::DataSlice;
use super::{Answer, Call, RpcError, with_context};
use crate::ledger::{BLOCKHASH_AGE, decimals, token_account};

/// The largest account that there can be, in bytes.
const MAX_ACCOUNT: u64 = 10 * 1024 * 1024;

/// How many accounts one call may ask for.
const MAX_ACCOUNTS: usize = 100;

impl Call<'_> {
    pub(super) fn latest_blockhash(&self) -> Answer {
        let (slot, height) = self.block(0)?;
        let hash = self.ledger.at(height).hash.to_string();
        let last = height + BLOCKHASH_AGE;
        Ok(with_context(
            slot,
            json!({"blockhash": hash, "lastValidBlockHeight": last}),
        ))
    }

    pub(super) fn is_blockhash_valid(&self) -> Answer {
        let hash: Hash = self.params.parsed(0, "blockhash")?;
        let (slot, height) = self.block(1)?;
        Ok(with_context(slot, self.ledger.is_usable(&hash, height)))
    }

    pub(super) fn balance(&self) -> Answer {
        let key: Pubkey = self.params.parsed(0, "public key")?;
        let (slot, height) = self.block(1)?;
        let account = self.ledger.account_at(&key, height);
        Ok(with_context(
            slot,
            account.map_or(0, |account| account.lamports()),
        ))
    }

    pub(super) fn account_info(&self) -> Answer {
        let key: Pubkey = self.params.parsed(0, "public key")?;
        let slice = self.params.config(1)?.data_slice;
        let (slot, height) = self.block(1)?;
        let account = self.ledger.account_at(&key, height);
        Ok(with_context(
            slot,
            account.map(|account| shown(&account, slice)),
        ))
    }

    pub(super) fn multiple_accounts(&self) -> Answer {
        let keys: Vec<Pubkey> = self.params.list(0, "public key", MAX_ACCOUNTS)?;
        let slice = self.params.config(1)?.data_slice;
        let (slot, height) = self.block(1)?;
        let accounts: Vec<Option<Value>> = keys
            .iter()
            .map(|key| {
                let account = self.ledger.account_at(key, height)?;
                Some(shown(&account, slice))
            })
            .collect();
        Ok(with_context(slot, accounts))
    }

    pub(super) fn rent(&self) -> Answer {
        let size = self.params.number(0, "size in bytes")?;
        if size > MAX_ACCOUNT {
            return Err(RpcError::invalid(format!(
                "an account of {size} bytes; expected at most {MAX_ACCOUNT}"
            )));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(json!(
            self.ledger.svm.minimum_balance_for_rent_exemption(size)
        ))
    }

    pub(super) fn token_balance(&self) -> Answer {
        let key: Pubkey = self.params.parsed(0, "public key")?;
        let (slot, height) = self.block(1)?;
        let account = self
            .ledger
            .account_at(&key, height)
            .ok_or_else(|| RpcError::invalid("Invalid param: could not find account"))?;
        let token = token_account(account.owner(), account.data())
            .ok_or_else(|| RpcError::invalid("Invalid param: not a Token account"))?;
        let places = self
            .ledger
            .account_at(&token.mint, height)
            .and_then(|mint| decimals(mint.data()))
            .ok_or_else(|| RpcError::invalid("Invalid param: mint could not be unpacked"))?;
        Ok(with_context(slot, token_amount(token.amount, places)))
    }
}

/// An account as answers show it. Always in base64: clients read what the answer says it is.
pub(super) fn shown(account: &AccountSharedData, slice: Option<DataSlice>) -> Value {
    let data = account.data();
    let part = match slice {
        None => data,
        Some(slice) => {
            let from = slice.offset.min(data.len());
            let to = slice.offset.saturating_add(slice.length).min(data.len());
            &data[from..to]
        }
    };
    json!({
        "lamports": account.lamports(),
        "data": [BASE64_STANDARD.encode(part), "base64"],
        "owner": account.owner().to_string(),
        "executable": account.executable(),
        "rentEpoch": account.rent_epoch(),
        "space": data.len(),
    })
}

/// An amount of a token as answers show it.
pub(super) fn token_amount(amount: u64, places: u8) -> Value {
    let digits = amount.to_string();
    let places_wide = usize::from(places);
    let text = if places == 0 {
        digits.clone()
    } else {
        let padded = format!("{digits:0>width$}", width = places_wide + 1);
        let (whole, part) = padded.split_at(padded.len() - places_wide);
        format!("{whole}.{part}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    };
    json!({
        "amount": digits,
        "decimals": places,
        "uiAmount": text.parse::<f64>().ok(),
        "uiAmountString": text,
    })
}
