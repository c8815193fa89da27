//! The adapters of the chain on a real local validator: surfpool's JSON-RPC and WebSocket, in this
//! process and without a network.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activity;
mod memo;
mod program;
mod recorded;
mod settlement;
mod validator;
