//! Settlement as processes see it: the real binary, a real SVM behind JSON-RPC and WebSocket, and
//! real tables.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::disallowed_methods,
    reason = "processes live in the time of the system"
)]

mod support;

#[path = "settlement/chain.rs"]
mod chain;
#[path = "settlement/commands.rs"]
mod commands;
#[path = "settlement/demo.rs"]
mod demo;
#[path = "settlement/kills.rs"]
mod kills;
#[path = "settlement/publish.rs"]
mod publish;
