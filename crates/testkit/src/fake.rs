//! The ports of the domain in memory, with exactly the semantics that the ports ask for.
//!
//! [`MemoryStore`] and [`MemoryJournal`] fail where a test says so ([`Faults`]), and are stricter
//! than a database could be: a caller that breaks an obligation of a port is refused for good, so
//! that its test fails. [`FaultyStore`] has the same faults befall a real store.

mod chain;
mod clock;
mod faults;
mod faulty_store;
mod journal;
mod judge;
mod network;
mod settlement;
mod state;
mod store;

pub use chain::{FakeChain, OnChain, Sending};
pub use clock::{ManualClock, PausedClock};
pub use faults::{Fault, Faults, Injected};
pub use faulty_store::FaultyStore;
pub use journal::{DEFAULT_APPEND_LIMIT, MemoryJournal};
pub use judge::{FakeJudge, POISON};
pub use network::{Asked, Delivery, FakeNetwork, Fate};
pub use settlement::{ClaimRow, Kept, RootState, Settlement};
pub use state::{Bound, MinuteStats, Name, Opted, Refused, Seen, State};
pub use store::MemoryStore;
