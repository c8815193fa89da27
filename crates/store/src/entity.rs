//! The tables as sea-orm entities, for whoever reads or writes single rows.
//!
//! Bulk writes go through statements of their own. That these entities are the tables which the
//! migrations make is checked in `tests/schema.rs`.

mod intake;
mod people;
mod sealing;

pub use intake::*;
pub use people::*;
pub use sealing::*;
