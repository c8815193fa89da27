//! From a signed instruction to a finalized one.

use tokio::time::{Instant, sleep};
use twzrd_domain::chain::ChainError;

use super::plan::explain;
use super::{Admin, AdminError, Operation};
use crate::target::landing::{Outcome, landing, send};

/// Sends the same bytes, and looks, until the transaction is finalized, expires, or the deadline
/// passes. Answers the slot. A node that is away for a while is waited for; what it said last is
/// in the error.
pub(super) async fn settle(
    admin: &Admin,
    operation: &Operation,
    signature: &str,
    bytes: &[u8],
    last_valid: u64,
) -> Result<u64, AdminError> {
    let operation = operation.to_string();
    let signature = signature.to_owned();
    let until = Instant::now() + admin.config.deadline;
    loop {
        let sent = send(&admin.pool, &signature, bytes).await;
        let last = match landing(&admin.pool, &signature, last_valid).await {
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

fn pending(sent: Result<(), ChainError>) -> String {
    match sent {
        Ok(()) => "it is not finalized yet".to_owned(),
        Err(error) => format!("it is not finalized yet, and {error}"),
    }
}
