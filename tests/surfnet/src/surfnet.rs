//! The adapters of the chain on a real local validator: surfpool's JSON-RPC and WebSocket, in this
//! process and without a network.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activity;
mod memo;
mod program;
#[path = "../../../crates/localnet/tests/transcript/recorded.rs"]
#[allow(
    dead_code,
    reason = "what plays it on an SVM is for the tests of crates/localnet"
)]
mod recorded;
mod settlement;
mod validator;
