//! From a line of Twitch chat to an event, or to the outcome that says why it is none.
//!
//! [`line::read`] judges one line; [`intake::IntakeBuilder`] gathers lines into what a collector
//! hands to the journal.

pub mod intake;
pub mod line;
