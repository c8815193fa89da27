//! Solana behind the domain's ports.
//!
//! [`program`] is the interface of the on-chain program, byte for byte; [`rpc`] a pool of nodes;
//! [`target`] publishes roots by the program or by memo; [`activity`] follows what the program
//! does; [`keys`] holds the key that signs; [`admin`] are the operator's instructions.

pub mod activity;
pub mod admin;
pub mod keys;
pub mod program;
pub mod rpc;
pub mod target;
