//! The commands of settlement.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Data;

/// Publish roots now, or show what it would do and cost.
#[derive(Debug, Args)]
pub struct Publish {
    /// Simulate on the node, and print what each root would do and cost. Nothing is sent.
    #[arg(long, required_unless_present = "epoch")]
    pub dry_run: bool,
    /// The epoch, by the Unix second of its start.
    #[arg(long, value_name = "E", requires = "channel")]
    pub epoch: Option<u64>,
    /// The channel.
    #[arg(long, value_name = "C", requires = "epoch")]
    pub channel: Option<String>,
    /// Publish it also where older roots of the channel are open that take its slot: they can never
    /// be published behind it, and their claims are lost.
    #[arg(long, requires = "epoch")]
    pub over_older: bool,
    /// Give up after so many seconds. What is signed by then is brought to its end by the service.
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// Show where roots stand, or let one go on.
#[derive(Debug, Subcommand)]
pub enum Settlement {
    /// List roots, by epoch and channel.
    List(SettlementList),
    /// Show one root, and everything that was tried.
    Show(OneRoot),
    /// Let a root that is held pass the policy.
    Release(OneRoot),
    /// Try a root again that failed or is held.
    Retry(OneRoot),
}

/// A list of roots.
#[derive(Debug, Args)]
pub struct SettlementList {
    /// Only roots of this state.
    #[arg(long, value_name = "STATE", value_parser = ["planned", "held", "signed", "finalized", "settled", "superseded", "failed"])]
    pub state: Option<String>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub limit: u64,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// One root.
#[derive(Debug, Args)]
pub struct OneRoot {
    /// The epoch, by the Unix second of its start.
    #[arg(long, value_name = "E")]
    pub epoch: u64,
    /// The channel.
    #[arg(long, value_name = "C")]
    pub channel: String,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// What the protocol's admin does. Each is simulated first, and read back afterwards.
#[derive(Debug, Args)]
pub struct Admin {
    /// The file of the admin's key [default: the key of the settings].
    #[arg(long, value_name = "FILE", global = true)]
    pub keypair: Option<PathBuf>,
    /// Simulate, and print the logs and the account's change. Nothing is sent.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// What to do.
    #[command(subcommand)]
    pub what: AdminWhat,
}

/// What the admin does.
#[derive(Debug, Subcommand)]
pub enum AdminWhat {
    /// Show the protocol's account, and a channel's where one is given.
    Show {
        /// The channel.
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
    },
    /// Pause the program, or let it go on.
    SetPaused {
        /// true or false.
        #[arg(value_name = "BOOL", action = clap::ArgAction::Set)]
        value: bool,
    },
    /// Ask claims for a receipt, or not.
    SetPolicy {
        /// true or false.
        #[arg(value_name = "BOOL", action = clap::ArgAction::Set)]
        require_receipt: bool,
    },
    /// Change who publishes.
    UpdatePublisher {
        /// The address, in base58.
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// Change who is the admin. The present one can do nothing afterwards.
    UpdateAdmin {
        /// The address, in base58.
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// Make a channel's account.
    InitializeChannel {
        /// The channel.
        #[arg(value_name = "CHANNEL")]
        channel: String,
    },
}
