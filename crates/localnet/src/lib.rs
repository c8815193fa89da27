//! A Solana node of one process for tests and demos.
//!
//! [`model`] is the on-chain program as a native program of a real SVM; [`ledger`] the chain of
//! blocks around it, with commitment levels and forks; [`Node`] answers JSON-RPC and WebSocket, in
//! the process or on sockets; [`faults`] stands between a node and whoever asks it; [`scene`] is a
//! world to begin with.

pub mod events;
pub mod faults;
pub mod ledger;
pub mod model;
pub mod rpc;
pub mod scene;
pub mod seed;

mod node;
mod serve;

pub use ledger::{Commitment, Counts, Dropped, ForkError, NodeConfig};
pub use node::{Node, NodeSender};
pub use serve::Served;
