//! What tests and benches share: stand-ins for the ports, seeded Twitch traffic, and throw-away
//! databases.
//!
//! For tests only. [`fake`] and [`traffic`] read neither the clock nor the environment: what a test
//! sees of them follows from its seed and from the order of its calls.

pub mod fake;
pub mod postgres;
pub mod traffic;
