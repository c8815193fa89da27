//! Twitch chat: the network itself, and what its lines come to.
//!
//! [`net`] opens sockets and gives their lines; [`line::read`] judges one line;
//! [`intake::IntakeBuilder`] gathers lines into what a collector hands to the journal, and
//! [`judge::TwitchJudge`] is that behind the domain's port.

pub mod intake;
pub mod judge;
pub mod line;
pub mod net;
