//! The gateway over a real socket, in front of a process made of stand-ins.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/answers.rs"]
mod answers;
#[path = "gateway/away.rs"]
mod away;
#[path = "gateway/bounds.rs"]
mod bounds;
#[path = "gateway/document.rs"]
mod document;
#[path = "gateway/hostile.rs"]
mod hostile;
#[path = "gateway/metrics.rs"]
mod metrics;
#[path = "gateway/state.rs"]
mod state;
#[path = "gateway/world.rs"]
mod world;
