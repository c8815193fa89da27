//! The pure core of twzrd.
//!
//! Everything here is a function of its arguments: no input or output, no clock, no async
//! runtime. What a stage decides is decided here; how it is read, stored or sent is behind the
//! traits in [`ports`]. The byte formats are those of the deployed system and are checked against
//! its vectors in `tests/golden.rs`.
//!
//! The way of an event: a line becomes an [`event::Event`] or an [`event::Outcome`]; both become
//! [`record::Record`]s of the journal; [`fold::Fold`] turns records into a [`batch::Batch`] for
//! the store; [`seal::freeze`] turns the participants of an epoch into leaves; and
//! [`merkle::MerkleTree`] turns leaves into a root and proofs.

pub mod batch;
pub mod budget;
pub mod chain;
pub mod chat;
pub mod coverage;
pub mod epoch;
pub mod event;
pub mod fold;
pub mod identity;
pub mod invariant;
pub mod leaf;
pub mod ledger;
pub mod memory;
pub mod merkle;
pub mod ports;
pub mod proof;
pub mod publication;
pub mod record;
pub mod roster;
pub mod seal;
pub mod settlement;
pub mod signal;
pub mod weight;
