//! Where roots are published: the program or the memo program, behind
//! [`twzrd_domain::chain::RootChain`].
//!
//! Both build, send and follow a transaction in the same way; they differ in the instruction of a
//! root, in what an error of it means, and in where a root is found again: in the channel's
//! account, or in the transaction itself.

pub(crate) mod accounts;
pub(crate) mod blockhash;
pub(crate) mod compose;
pub(crate) mod cost;
mod funds;
pub(crate) mod landing;
pub(crate) mod logs;
mod memo;
mod program;
mod refusal;
pub(crate) mod standing;

use twzrd_domain::settlement::RootKind;

use crate::program::account::Layout;

use accounts::{Found, read_accounts};
pub use memo::MemoTarget;
pub use program::ProgramTarget;

/// No transaction may be longer, in bytes.
pub const MAX_TRANSACTION_BYTES: usize = 1232;

/// No transaction may ask for more compute units.
pub const MAX_UNITS: u32 = 1_400_000;

/// How transactions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Which of a channel's two roots is published. A participation root is refused by the
    /// program, whose claim pays.
    pub kind: RootKind,
    /// The layout of an account that the program makes, or that `initialize_channel` has to make
    /// first: it says how many participants there may be while there is no account.
    pub new_layout: Layout,
    /// The most compute units of a transaction, at most [`MAX_UNITS`].
    pub max_units: u32,
    /// By how many hundredths the limit is above what the simulation used.
    pub units_margin_percent: u32,
    /// Which percentile of the recent priority fees is paid, 0 to 100.
    pub fee_percentile: u8,
    /// The least price of a compute unit, in millionths of a lamport.
    pub min_fee_micro_lamports: u64,
    /// The highest price of a compute unit, in millionths of a lamport.
    pub max_fee_micro_lamports: u64,
    /// The most roots in one transaction, whatever still fits; at least 1.
    pub max_roots: usize,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            kind: RootKind::Claim,
            new_layout: Layout::default(),
            max_units: MAX_UNITS,
            units_margin_percent: 20,
            fee_percentile: 75,
            min_fee_micro_lamports: 0,
            max_fee_micro_lamports: 50_000,
            max_roots: 64,
        }
    }
}
