//! What an instruction of the program says, for the listener.
//!
//! Every instruction of both of the program's lines is known by name; those that publish, claim
//! or administer are read field by field. The bytes are hostile, and a reader has a bound. What is
//! left over behind the arguments is told and changes nothing: the program ignores it, and pays.
//! None of the instructions emits an event, so this is all there is.

mod arguments;
mod known;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Value, json};
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::Deed;

use super::{Tag, instruction_tag};
use known::{KNOWN, Known};

/// The longest data of an instruction that is read: what one program can hand to another.
pub const MAX_DATA: usize = 10 * 1024;

/// So many of the bytes behind the arguments are shown.
const SHOWN: usize = 64;

/// What an account is, where the instruction has no word for it.
pub const REMAINING: &str = "remaining";

/// An instruction, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Its name; `unknown:<hex of the tag>` where no line has it.
    pub name: Cow<'static, str>,
    /// Its arguments by name. Keys are in base58, roots and subjects in hexadecimal.
    pub fields: Value,
    /// What it did.
    pub deed: Deed,
    /// Its accounts, each with what it is to the instruction.
    pub accounts: Vec<(&'static str, Pubkey)>,
}

/// The bytes are not the instruction that their tag says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are too many to read.
    #[error("the instruction has {0} bytes; expected at most {MAX_DATA}")]
    TooLong(usize),
    /// An argument cannot be read.
    #[error("the arguments of {name} cannot be read: {reason}")]
    Arguments {
        /// The instruction.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// It has too few accounts.
    #[error("{name} has {found} accounts; expected at least {expected}")]
    Accounts {
        /// The instruction.
        name: &'static str,
        /// How many it has.
        found: usize,
        /// How many it was to have.
        expected: usize,
    },
}

static BY_TAG: LazyLock<HashMap<Tag, &'static Known>> = LazyLock::new(|| {
    KNOWN
        .iter()
        .map(|known| (instruction_tag(known.name), known))
        .collect()
});

/// Reads an instruction of the program.
///
/// # Errors
/// Where the tag is known and what is behind it is not what that instruction has.
pub fn decode(data: &[u8], accounts: &[Pubkey]) -> Result<Decoded, DecodeError> {
    if data.len() > MAX_DATA {
        return Err(DecodeError::TooLong(data.len()));
    }
    let known = data
        .split_first_chunk::<8>()
        .and_then(|(tag, rest)| BY_TAG.get(tag).map(|known| (*known, rest)));
    let Some((known, mut rest)) = known else {
        return Ok(plain(name_of(data), json!({ "data": hex(data) }), accounts));
    };
    let mut content = (known.read)(known.name, &mut rest, accounts)?;
    if !rest.is_empty() {
        let shown = hex(&rest[..rest.len().min(SHOWN)]);
        content.fields["trailing"] = json!({ "bytes": rest.len(), "begin": shown });
    }
    if accounts.len() < content.roles.len() {
        return Err(DecodeError::Accounts {
            name: known.name,
            found: accounts.len(),
            expected: content.roles.len(),
        });
    }
    let roles = content.roles.iter().copied();
    let roles = roles.chain(std::iter::repeat(REMAINING));
    Ok(Decoded {
        name: Cow::Borrowed(known.name),
        fields: content.fields,
        deed: content.deed,
        accounts: roles.zip(accounts.iter().copied()).collect(),
    })
}

/// As [`decode`], for a log that must name everything: an instruction that cannot be read did
/// something else, and its fields say why it cannot be read.
#[must_use]
pub fn describe(data: &[u8], accounts: &[Pubkey]) -> Decoded {
    decode(data, accounts).unwrap_or_else(|error| {
        let shown = &data[..data.len().min(MAX_DATA)];
        let fields = json!({ "error": error.to_string(), "data": hex(shown) });
        plain(name_of(data), fields, accounts)
    })
}

fn plain(name: Cow<'static, str>, fields: Value, accounts: &[Pubkey]) -> Decoded {
    Decoded {
        name,
        fields,
        deed: Deed::Other,
        accounts: accounts.iter().map(|key| (REMAINING, *key)).collect(),
    }
}

fn name_of(data: &[u8]) -> Cow<'static, str> {
    let tag = data.first_chunk::<8>();
    match tag.and_then(|tag| BY_TAG.get(tag)) {
        Some(known) => Cow::Borrowed(known.name),
        None => Cow::Owned(format!("unknown:{}", hex(&data[..data.len().min(8)]))),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
