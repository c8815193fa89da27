//! What tests and benches share: scenarios of faults, stand-ins for the ports, throw-away databases,
//! and a proxy with the faults of a network.
//!
//! For tests only. [`fake`] reads neither the clock nor the environment: what a test sees of it
//! follows from the order of its calls. Seeded traffic is in `twzrd-simulator`.

pub mod fake;
pub mod postgres;
pub mod proxy;
pub mod roots;
pub mod scenario;
