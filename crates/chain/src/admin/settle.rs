//! From a signed instruction to a finalized one.

use tokio::time::{Instant, sleep};
use twzrd_domain::chain::ChainError;

use super::plan::explain;
use super::{Admin, AdminError, Change, Field, Operation};
use crate::target::blockhash::Lifetime;
use crate::target::landing::{Outcome, landing, send};

/// Sends the same bytes, and looks, until the transaction is finalized, expires, or the deadline
/// passes. Answers the slot. A node that is away for a while is waited for; what it said last is
/// in the error.
pub(super) async fn settle(
    admin: &Admin,
    operation: &Operation,
    signature: &str,
    bytes: &[u8],
    lifetime: &Lifetime,
) -> Result<u64, AdminError> {
    let operation = operation.to_string();
    let signature = signature.to_owned();
    let (last_valid, since) = (lifetime.last_valid_block_height, Some(lifetime.slot));
    let until = Instant::now() + admin.config.deadline;
    loop {
        let sent = send(&admin.pool, &signature, bytes).await;
        let last = match landing(&admin.pool, &signature, last_valid, since).await {
            Ok(Outcome::Finalized { slot }) => return Ok(slot),
            Ok(Outcome::Failed { slot, error }) => {
                return Err(AdminError::Failed {
                    operation,
                    signature,
                    slot,
                    error: explain(admin, &error),
                });
            }
            Ok(Outcome::Expired { .. }) => {
                return Err(AdminError::Expired {
                    operation,
                    signature,
                });
            }
            Ok(Outcome::Pending) => pending(sent),
            Err(error) => error.to_string(),
        };
        if Instant::now() + admin.config.poll_interval >= until {
            return Err(AdminError::Unknown {
                operation,
                signature,
                last,
            });
        }
        sleep(admin.config.poll_interval).await;
    }
}

/// Reads the account behind a finalized transaction, and answers what changed. A node that is away
/// for a while is waited for.
pub(super) async fn verify(
    admin: &Admin,
    operation: &Operation,
    before: &[Field],
    signature: &str,
    slot: u64,
) -> Result<Vec<Change>, AdminError> {
    let until = Instant::now() + admin.config.deadline;
    loop {
        let error = match admin.verify(operation, before, signature, slot).await {
            Err(error @ (AdminError::Chain(_) | AdminError::Account { .. })) => error,
            end => return end,
        };
        let may_pass = matches!(&error, AdminError::Chain(error) if error.is_transient());
        if !may_pass || Instant::now() + admin.config.poll_interval >= until {
            return Err(AdminError::NotVerified {
                operation: operation.to_string(),
                signature: signature.to_owned(),
                slot,
                reason: error.to_string(),
            });
        }
        sleep(admin.config.poll_interval).await;
    }
}

fn pending(sent: Result<(), ChainError>) -> String {
    match sent {
        Ok(()) => "it is not finalized yet".to_owned(),
        Err(error) => format!("it is not finalized yet, and {error}"),
    }
}
