//! The service against a Twitch-dialect server on real sockets, with a real journal and a real
//! store: what was delivered is accepted, and what is accepted has the roots of a replay.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "live/conservation.rs"]
mod conservation;
#[path = "live/full.rs"]
mod full;
#[path = "live/kills.rs"]
mod kills;
#[path = "live/outage.rs"]
mod outage;
#[path = "live/parity.rs"]
mod parity;
#[path = "live/storm.rs"]
mod storm;
#[path = "live/world.rs"]
mod world;
