//! The store: SQLite and Postgres behind the ports of the domain, through sea-orm.
//!
//! One implementation serves both; where they differ is in [`connect`] (pools and files) and in
//! `sql.rs` (how many rows go into a statement). A commit, a freeze and a set of trees are one
//! transaction each. Nothing here tries again: errors say whether that may help.

pub mod connect;
pub mod entity;

mod activity;
mod batch;
mod bounded;
mod control;
mod error;
mod ingest;
mod participants;
mod report;
mod rows;
mod seal;
mod sealed;
mod settlement;
mod sql;
mod sums;
mod suppression;
mod tree;

pub use bounded::Bounded;
pub use connect::{Store, StoreUrl, Timeouts};
pub use error::OpenError;
