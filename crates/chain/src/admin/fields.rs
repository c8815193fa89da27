//! Accounts as people read them.

use std::fmt;

use solana_sdk::pubkey::Pubkey;
use twzrd_domain::identity::Node;

use super::AdminError;
use crate::program::Program;
use crate::program::account::{ChannelState, ProtocolState};
use crate::target::accounts::Found;
use crate::target::standing::is_unused;

/// A field of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `protocol` or `channel`.
    pub what: &'static str,
    /// Its address.
    pub address: Pubkey,
    /// Its fields; none where there is no account.
    pub fields: Vec<Field>,
}

/// A field that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// The value before; none where the account was made.
    pub before: Option<String>,
    /// The value after; none where the account is gone.
    pub after: Option<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.address)?;
        if self.fields.is_empty() {
            return f.write_str(": no account");
        }
        for field in &self.fields {
            write!(f, "\n  {}: {}", field.name, field.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(
            f,
            "{}: {} -> {}",
            self.name,
            shown(&self.before),
            shown(&self.after)
        )
    }
}

/// The protocol's account, or none.
pub(super) fn protocol_state(
    program: &Program,
    address: &Pubkey,
    account: Option<&Found>,
) -> Result<Option<ProtocolState>, AdminError> {
    let Some(account) = owned(program, address, account)? else {
        return Ok(None);
    };
    let state = ProtocolState::decode(&account.data);
    state.map(Some).map_err(|error| wrong(address, &error))
}

/// A channel's account, or none.
pub(super) fn channel_state(
    program: &Program,
    address: &Pubkey,
    account: Option<&Found>,
) -> Result<Option<ChannelState>, AdminError> {
    let Some(account) = owned(program, address, account)? else {
        return Ok(None);
    };
    let state = ChannelState::decode(&account.data);
    state.map(Some).map_err(|error| wrong(address, &error))
}

/// The fields of the protocol's account.
pub(super) fn protocol(
    program: &Program,
    address: &Pubkey,
    account: Option<&Found>,
) -> Result<Vec<Field>, AdminError> {
    let Some(state) = protocol_state(program, address, account)? else {
        return Ok(Vec::new());
    };
    Ok(vec![
        field("initialized", state.is_initialized),
        field("version", state.version),
        field("admin", state.admin),
        field("publisher", state.publisher),
        field("treasury", state.treasury),
        field("mint", state.mint),
        field("paused", state.paused),
        field("require_receipt", state.require_receipt),
        field("bump", state.bump),
    ])
}

/// The fields of a channel's account: of the slots those that hold an epoch.
pub(super) fn channel(
    program: &Program,
    address: &Pubkey,
    account: Option<&Found>,
) -> Result<Vec<Field>, AdminError> {
    let Some(state) = channel_state(program, address, account)? else {
        return Ok(Vec::new());
    };
    let mut fields = vec![
        field("layout", state.layout),
        field("version", state.version),
        field("bump", state.bump),
        field("mint", state.mint),
        field("subject", Node(state.subject)),
        field("latest", state.latest),
    ];
    let used = state
        .slots
        .iter()
        .enumerate()
        .filter(|(_, it)| it.epoch != 0);
    fields.extend(used.map(|(place, slot)| Field {
        name: format!("slot {place}"),
        value: format!(
            "epoch {}, root {}, {} claims",
            slot.epoch,
            Node(slot.root),
            slot.claim_count
        ),
    }));
    Ok(fields)
}

/// What is different. Order of the fields as they are after.
pub(super) fn changes(before: &[Field], after: &[Field]) -> Vec<Change> {
    let value = |fields: &[Field], name: &str| {
        let found = fields.iter().find(|field| field.name == name);
        found.map(|field| field.value.clone())
    };
    let gone = before.iter().filter(|it| value(after, &it.name).is_none());
    let names = after.iter().chain(gone).map(|field| &field.name);
    names
        .map(|name| Change {
            name: name.clone(),
            before: value(before, name),
            after: value(after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

/// All fields in one line.
pub(super) fn line(fields: &[Field]) -> String {
    if fields.is_empty() {
        return "no account".to_owned();
    }
    let fields = fields.iter().map(|it| format!("{} {}", it.name, it.value));
    fields.collect::<Vec<_>>().join(", ")
}

fn field(name: &str, value: impl fmt::Display) -> Field {
    Field {
        name: name.to_owned(),
        value: value.to_string(),
    }
}

fn owned<'a>(
    program: &Program,
    address: &Pubkey,
    account: Option<&'a Found>,
) -> Result<Option<&'a Found>, AdminError> {
    match account.filter(|it| !is_unused(it)) {
        Some(account) if account.owner != program.id => Err(AdminError::Account {
            address: *address,
            reason: format!("it belongs to {}; expected {}", account.owner, program.id),
        }),
        account => Ok(account),
    }
}

fn wrong(address: &Pubkey, error: &impl fmt::Display) -> AdminError {
    AdminError::Account {
        address: *address,
        reason: error.to_string(),
    }
}
