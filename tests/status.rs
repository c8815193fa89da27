//! `twzrd status`: the picture of a running process, and the command against whatever answers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "status/command.rs"]
mod command;
#[path = "status/fixtures.rs"]
mod fixtures;
#[path = "status/live.rs"]
mod live;
#[path = "status/picture.rs"]
mod picture;
