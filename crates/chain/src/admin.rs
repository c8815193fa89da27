//! The operator's instructions, each simulated first and verified afterwards.
//!
//! [`show`] reads and signs nothing. [`Admin::plan`] builds an instruction and simulates it:
//! what the program logs, and what it would change in the account. [`Admin::execute`] plans, signs
//! once, sends the same bytes until they are finalized, expire, or the deadline passes, and then
//! reads the account, for as long again where nodes are away, and compares. Each instruction sets a value and is the same done twice, so
//! that one whose end is not known may be given again.

mod error;
mod fields;
mod operation;
mod plan;
mod settle;

use std::time::Duration;

use solana_commitment_config::CommitmentConfig;
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::identity::Channel;

use crate::keys::Signer;
use crate::program::Program;
use crate::rpc::Pool;
use crate::target::TargetConfig;
use crate::target::accounts::{Found, read_accounts};

pub use error::AdminError;
pub use fields::{Change, Field, Shown};
pub use operation::Operation;
pub use plan::Plan;

/// How the operator's transactions are made and followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Fees and units, and the layout of a new account.
    pub transactions: TargetConfig,
    /// How long to wait for the end of a transaction.
    pub deadline: Duration,
    /// How long between two looks at it. It is sent again before each.
    pub poll_interval: Duration,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            transactions: TargetConfig::default(),
            deadline: Duration::from_secs(120),
            poll_interval: Duration::from_secs(2),
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The transaction's signature; none where the account held it already.
    pub signature: Option<String>,
    /// The slot in which it was finalized.
    pub slot: Option<u64>,
    /// What changed in the account, as it was read back.
    pub changes: Vec<Change>,
}

/// The operator, with a key.
#[derive(Clone, Debug)]
pub struct Admin {
    pool: Pool,
    program: Program,
    signer: Signer,
    config: AdminConfig,
}

/// Reads the protocol's account, and that of a channel where one is named, at a finalized slot.
///
/// # Errors
/// Where no node answers, or an account cannot be read.
pub async fn show(
    pool: &Pool,
    program: &Program,
    channel: Option<&Channel>,
) -> Result<Vec<Shown>, AdminError> {
    let mut keys = vec![program.protocol_state().0];
    keys.extend(channel.map(|channel| program.channel_state(channel).0));
    let found = read(pool, &keys, 0).await?;
    let mut shown = Vec::with_capacity(keys.len());
    for (at, (address, account)) in keys.iter().zip(&found).enumerate() {
        let fields = match at {
            0 => fields::protocol(program, address, account.as_ref())?,
            _ => fields::channel(program, address, account.as_ref())?,
        };
        shown.push(Shown {
            what: if at == 0 { "protocol" } else { "channel" },
            address: *address,
            fields,
        });
    }
    Ok(shown)
}

impl Admin {
    /// An operator who signs with this key.
    #[must_use]
    pub const fn new(pool: Pool, program: Program, signer: Signer, config: AdminConfig) -> Self {
        Self {
            pool,
            program,
            signer,
            config,
        }
    }

    /// Builds and simulates. Nothing is signed. What the program refuses is part of the plan.
    ///
    /// # Errors
    /// Where no node answers, or the account cannot be read.
    pub async fn plan(&self, operation: &Operation) -> Result<Plan, AdminError> {
        operation.check()?;
        Ok(plan::draw(self, operation).await?.plan)
    }

    /// Does it, waits until it is finalized, and verifies that the account holds it. Where the
    /// account holds it already, nothing is sent.
    ///
    /// # Errors
    /// Where the program refuses it, it does not come to an end in time, or the account holds
    /// something else afterwards.
    pub async fn execute(&self, operation: &Operation) -> Result<Done, AdminError> {
        operation.check()?;
        let drawn = plan::draw(self, operation).await?;
        if drawn.plan.is_held {
            return Ok(Done {
                signature: None,
                slot: None,
                changes: Vec::new(),
            });
        }
        if let Some(error) = drawn.plan.refused {
            return Err(AdminError::Refused {
                operation: operation.to_string(),
                error,
                logs: drawn.plan.logs,
            });
        }
        let (signature, bytes) = drawn.sign(&self.signer)?;
        let slot = settle::settle(self, operation, &signature, &bytes, &drawn.lifetime).await?;
        let before = &drawn.plan.before;
        let changes = settle::verify(self, operation, before, &signature, slot).await?;
        Ok(Done {
            signature: Some(signature),
            slot: Some(slot),
            changes,
        })
    }

    async fn verify(
        &self,
        operation: &Operation,
        before: &[Field],
        signature: &str,
        slot: u64,
    ) -> Result<Vec<Change>, AdminError> {
        let address = operation.account(&self.program);
        let found = read(&self.pool, &[address], slot).await?;
        let account = found.first().and_then(Option::as_ref);
        let after = operation.fields(&self.program, account)?;
        if !operation.is_held(&self.program, account)? {
            return Err(AdminError::NotHeld {
                operation: operation.to_string(),
                signature: signature.to_owned(),
                address,
                found: fields::line(&after),
            });
        }
        Ok(fields::changes(before, &after))
    }
}

/// Reads accounts at a finalized slot that is not before `slot`.
async fn read(pool: &Pool, keys: &[Pubkey], slot: u64) -> Result<Vec<Option<Found>>, AdminError> {
    let node = pool.pinned(slot).await?;
    let not_before = node.slot().max(slot);
    let finalized = CommitmentConfig::finalized();
    Ok(read_accounts(&node.client, keys, finalized, not_before).await?)
}
