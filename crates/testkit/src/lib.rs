//! What tests and benches share: stand-ins for the ports, and throw-away databases.
//!
//! For tests only. [`fake`] reads neither the clock nor the environment: what a test sees of it
//! follows from the order of its calls. Seeded traffic is in `twzrd-simulator`.

pub mod fake;
pub mod postgres;
