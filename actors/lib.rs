//! The actors of twzrd, one file each, and [`tree`], which lists every one on one screen.
//!
//! They name the ports of the domain, never what implements them: this package builds no database
//! driver, no IRC client and no chain client.

pub mod epoch_sealer;
pub mod intake;
pub mod journal;
pub mod participation_batcher;
pub mod step;
pub mod suppression_filter;
pub mod tree;
pub mod tree_builder;
mod weather;
