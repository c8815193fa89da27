//! The actors of twzrd, one file each, and [`tree`], which lists every one on one screen.
//!
//! They name the ports of the domain, never what implements them: this package builds no database
//! driver, no IRC client and no chain client.

pub mod board;
pub mod chain_listener;
pub mod channel_roster;
mod children;
pub mod collector;
pub mod connection;
pub mod epoch_sealer;
pub mod feed;
pub mod gap_ledger;
pub mod intake;
pub mod journal;
mod later;
mod offload;
pub mod participation_batcher;
pub mod publisher;
pub mod reason;
pub mod room;
pub mod service;
mod session;
pub mod status;
pub mod step;
pub mod suppression_filter;
pub mod tree;
pub mod tree_builder;
pub mod weather;
