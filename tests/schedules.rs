//! Seeded schedules of faults over the publisher and the chain listener: the real actors and the
//! real adapters on a real SVM with the program's model, in paused time and without sockets.
//!
//! `TWZRD_CHAOS_SEED` plays one schedule, `TWZRD_CHAOS_SCHEDULES` so many from `TWZRD_CHAOS_FROM`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

#[path = "schedules/faults.rs"]
mod faults;
#[path = "schedules/listener.rs"]
mod listener;
#[path = "schedules/publisher.rs"]
mod publisher;
#[path = "schedules/seeds.rs"]
mod seeds;
#[path = "schedules/watched.rs"]
mod watched;
#[path = "schedules/world.rs"]
mod world;
