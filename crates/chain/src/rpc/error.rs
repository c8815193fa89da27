//! Errors of the client as the domain's.

use solana_rpc_client_api::client_error::{Error, ErrorKind, TransactionError};
use twzrd_domain::chain::ChainError;

use super::call::text;
use super::endpoint::plain;
use super::verdict::Verdict;

/// An error of a client over a pool. It is permanent only where the chain or the node answered
/// that the call itself is wrong.
#[must_use]
pub fn chain_error(doing: &'static str, error: &Error) -> ChainError {
    let reason = plain(&match error.request() {
        Some(request) => format!("{request}: {}", text(error)),
        None => text(error),
    });
    if is_permanent(error) {
        ChainError::Permanent { doing, reason }
    } else {
        ChainError::Transient { doing, reason }
    }
}

fn is_permanent(error: &Error) -> bool {
    match error.get_transaction_error() {
        Some(
            // A node that is behind does not know the blockhash yet; the rest is the weather of
            // the moment.
            TransactionError::BlockhashNotFound
            | TransactionError::AccountInUse
            | TransactionError::WouldExceedMaxBlockCostLimit
            | TransactionError::WouldExceedMaxAccountCostLimit
            | TransactionError::WouldExceedMaxVoteCostLimit
            | TransactionError::WouldExceedAccountDataBlockLimit
            | TransactionError::TooManyAccountLocks
            | TransactionError::ClusterMaintenance
            | TransactionError::ResanitizationNeeded,
        ) => false,
        Some(_) => true,
        None => match error.kind() {
            ErrorKind::RpcError(solana_rpc_client_api::request::RpcError::RpcResponseError {
                ..
            })
            | ErrorKind::SigningError(_) => Verdict::of(error) == Verdict::Answer,
            _ => false,
        },
    }
}
