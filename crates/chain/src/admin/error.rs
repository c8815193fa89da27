//! Why an operator's instruction did not come to its end.

use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::ChainError;

/// Why an operator's instruction did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What is asked makes no sense.
    #[error("{operation}: {reason}")]
    Senseless {
        /// What was to be done.
        operation: String,
        /// Why it makes none.
        reason: &'static str,
    },
    /// An account is not what it must be.
    #[error("{address} cannot be read: {reason}")]
    Account {
        /// Which.
        address: Pubkey,
        /// What was found and what was expected.
        reason: String,
    },
    /// The program refuses it. Nothing was signed.
    #[error("the program refuses {operation}: {error}")]
    Refused {
        /// What was to be done.
        operation: String,
        /// Its error, by number and name.
        error: String,
        /// What it logged.
        logs: Vec<String>,
    },
    /// The transaction is finalized and failed. Nothing changed.
    #[error("{operation} failed in slot {slot}, transaction {signature}: {error}")]
    Failed {
        /// What was to be done.
        operation: String,
        /// The transaction.
        signature: String,
        /// The slot in which it was finalized.
        slot: u64,
        /// Its error, by number and name.
        error: String,
    },
    /// The transaction can no longer land. Nothing changed.
    #[error("{operation} expired, transaction {signature}: it never landed; give it again")]
    Expired {
        /// What was to be done.
        operation: String,
        /// The transaction.
        signature: String,
    },
    /// The deadline passed. The transaction can still land.
    #[error(
        "the end of {operation} is not known, transaction {signature}: it can still land; look with `show`, or give it again; last seen: {last}"
    )]
    Unknown {
        /// What was to be done.
        operation: String,
        /// The transaction.
        signature: String,
        /// What the last look said.
        last: String,
    },
    /// It is finalized and did not fail, and the account could not be read.
    #[error(
        "{operation} is finalized in slot {slot}, transaction {signature}, and not verified: look with `show`; {reason}"
    )]
    NotVerified {
        /// What was done.
        operation: String,
        /// The transaction.
        signature: String,
        /// The slot in which it was finalized.
        slot: u64,
        /// Why the account could not be read.
        reason: String,
    },
    /// It is finalized, and the account holds something else.
    #[error(
        "{address} does not hold what {operation} asked, though transaction {signature} is finalized; found {found}"
    )]
    NotHeld {
        /// What was to be done.
        operation: String,
        /// The transaction.
        signature: String,
        /// The account.
        address: Pubkey,
        /// What it holds.
        found: String,
    },
}
