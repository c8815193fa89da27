//! Parameters of a call, which may be anything.

use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::RpcError;
use crate::ledger::Commitment;

/// The list of parameters; a call without is one with none.
pub(super) struct Params<'a>(&'a [Value]);

/// Every option of every method that is answered. What a method does not know it does not read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Config {
    commitment: Option<String>,
    preflight_commitment: Option<String>,
    pub(super) min_context_slot: Option<u64>,
    pub(super) encoding: Option<String>,
    pub(super) skip_preflight: bool,
    pub(super) sig_verify: bool,
    pub(super) replace_recent_blockhash: bool,
    pub(super) inner_instructions: bool,
    pub(super) accounts: Option<AccountsConfig>,
    pub(super) before: Option<String>,
    pub(super) until: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) search_transaction_history: bool,
    pub(super) max_supported_transaction_version: Option<u8>,
    pub(super) data_slice: Option<DataSlice>,
}

/// Which accounts a simulation answers.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AccountsConfig {
    pub(super) addresses: Vec<String>,
}

/// Which part of an account's data is asked for.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct DataSlice {
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl Config {
    pub(super) fn commitment(&self) -> Result<Commitment, RpcError> {
        level(self.commitment.as_deref())
    }

    pub(super) fn preflight_commitment(&self) -> Result<Commitment, RpcError> {
        level(self.preflight_commitment.as_deref())
    }
}

/// Without a word it is finalized.
pub(crate) fn level(word: Option<&str>) -> Result<Commitment, RpcError> {
    match word {
        None | Some("finalized") => Ok(Commitment::Finalized),
        Some("confirmed") => Ok(Commitment::Confirmed),
        Some("processed") => Ok(Commitment::Processed),
        Some(other) => Err(RpcError::invalid(format!(
            "commitment is {other:?}; expected processed, confirmed or finalized"
        ))),
    }
}

impl<'a> Params<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, RpcError> {
        match value {
            Value::Null => Ok(Self(&[])),
            Value::Array(list) => Ok(Self(list)),
            _ => Err(RpcError::invalid(
                "params are not a list; expected an array",
            )),
        }
    }

    pub(super) fn value(&self, place: usize, what: &str) -> Result<&'a Value, RpcError> {
        self.0.get(place).ok_or_else(|| {
            RpcError::invalid(format!("parameter {place} is missing; expected {what}"))
        })
    }

    pub(super) fn text(&self, place: usize, what: &str) -> Result<&'a str, RpcError> {
        self.value(place, what)?.as_str().ok_or_else(|| {
            RpcError::invalid(format!("parameter {place} is no text; expected {what}"))
        })
    }

    pub(super) fn number(&self, place: usize, what: &str) -> Result<u64, RpcError> {
        self.value(place, what)?.as_u64().ok_or_else(|| {
            RpcError::invalid(format!("parameter {place} is no number; expected {what}"))
        })
    }

    pub(super) fn parsed<T: FromStr>(&self, place: usize, what: &str) -> Result<T, RpcError> {
        parse(self.text(place, what)?, what)
    }

    /// A list of at most `most` texts, each read as one thing.
    pub(super) fn list<T: FromStr>(
        &self,
        place: usize,
        what: &str,
        most: usize,
    ) -> Result<Vec<T>, RpcError> {
        let list = self
            .value(place, what)?
            .as_array()
            .ok_or_else(|| RpcError::invalid(format!("parameter {place} is no list of {what}")))?;
        if list.len() > most {
            return Err(RpcError::invalid(format!(
                "{} of {what}; expected at most {most}",
                list.len()
            )));
        }
        list.iter()
            .map(|one| parse(one.as_str().unwrap_or_default(), what))
            .collect()
    }

    /// Options at a place; none where there are none. A text stands for an encoding.
    pub(super) fn config(&self, place: usize) -> Result<Config, RpcError> {
        match self.0.get(place) {
            None | Some(Value::Null) => Ok(Config::default()),
            Some(Value::String(encoding)) => Ok(Config {
                encoding: Some(encoding.clone()),
                ..Config::default()
            }),
            Some(value) => Config::deserialize(value)
                .map_err(|error| RpcError::invalid(format!("parameter {place}: {error}"))),
        }
    }
}

pub(super) fn parse<T: FromStr>(text: &str, what: &str) -> Result<T, RpcError> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(100).collect();
        RpcError::invalid(format!("Invalid param: {shown:?} is no {what}"))
    })
}

/// Bytes in the encoding that the options name.
pub(super) fn bytes(text: &str, encoding: Option<&str>, most: usize) -> Result<Vec<u8>, RpcError> {
    if text.len() > most.saturating_mul(2) {
        return Err(RpcError::invalid(format!(
            "{} characters; expected at most {most} bytes",
            text.len()
        )));
    }
    let decoded = match encoding {
        Some("base64") => BASE64_STANDARD.decode(text).ok(),
        None | Some("base58") => bs58::decode(text).into_vec().ok(),
        Some(other) => {
            return Err(RpcError::invalid(format!(
                "encoding is {other:?}; expected base58 or base64"
            )));
        }
    };
    let bytes = decoded.ok_or_else(|| RpcError::invalid("the encoding of the bytes is damaged"))?;
    if bytes.len() > most {
        return Err(RpcError::invalid(format!(
            "decoded {} bytes; expected at most {most}",
            bytes.len()
        )));
    }
    Ok(bytes)
}
