//! What goes wrong between a node and whoever asks it, from one seeded plan.
//!
//! [`FaultySender`] plays it in the process, [`FaultyEvents`] on in-process notifications, and
//! [`FaultyProxy`] on real sockets in front of any node. Every strike is counted.

mod frames;
mod judge;
mod plan;
mod proxy;
mod sender;

pub use plan::{Fault, FaultPlan, Kind, Rule};
pub use proxy::FaultyProxy;
pub use sender::{FaultyEvents, FaultySender};
