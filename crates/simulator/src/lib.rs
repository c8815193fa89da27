//! A Twitch chat server on a socket of its own: Twitch's dialect, seeded traffic, faults on
//! command, and a log of what was delivered.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use twzrd_domain::ports::Clock;
//! use twzrd_simulator::{Config, Cut, Simulator, Target};
//!
//! # async fn run(clock: Arc<dyn Clock>) -> std::io::Result<()> {
//! let simulator = Simulator::start(Config {
//!     lines_per_second: 1_600,
//!     keep_log: true,
//!     ..Config::new(clock)
//! })
//! .await?;
//! // Clients connect to `simulator.address()` and log in as `justinfan1`.
//! simulator.cut(Target::Socket(3), Cut::Reset);
//! simulator.acknowledged().await;
//! let truth = simulator.log().truth();
//! println!("a client has {} lines for certain", truth.certain.len());
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does as Twitch does
//! - `CAP LS`, `CAP REQ` (ACK, or NAK where a name is unknown), `PASS`, `NICK`, welcome,
//!   `GLOBALUSERSTATE` for whoever is not anonymous. Without a capability its lines, or the tags,
//!   are not sent.
//! - `justinfan` and digits log in without a PASS. Whoever else has none, or one without
//!   `oauth:`, is told `Improperly formatted auth`; a wrong token is told `Login authentication
//!   failed`. Then the socket is closed.
//! - `JOIN` is answered by its echo, 353, 366 and `ROOMSTATE` (and `USERSTATE` for an account). A
//!   room that does not exist, one that is joined already, and one beyond those that a socket may
//!   join get no answer; a suspended room and one that bans, a notice.
//! - Too many joins or logins in a time end the socket at once, see [`Limit`]. The window is that
//!   of the account, or of the address where there is none, over all of its sockets, and slides:
//!   whoever joins 20 rooms in a burst has to leave a full 10 seconds, as seen by the server,
//!   between the first of a burst and the 21st after it.
//! - `PING` is answered; the server's own PING has to be answered in time. PINGs are also part of
//!   the traffic, and count like the server's own.
//! - Commands in chat are taken without a word, unknown ones are answered by 421.
//!
//! # What is random
//! Everything follows from the seed: the lines, their order, their ids, and what faults draw. The
//! times in lines come from the clock, and so does how many lines a second has.
//!
//! # What is guaranteed
//! [`log`] says what is known of a line once it was sent, and how that depends on how its socket
//! ended. In the default mode, [`Config::backpressure`], no line is lost but by a cut.

mod client;
mod commands;
mod config;
mod counters;
mod dialect;
mod fault;
mod garbage;
mod hall;
mod limits;
pub mod log;
mod outbox;
mod parcel;
mod rooms;
mod server;
mod session;
mod shared;
mod simulator;
mod socket;
pub mod traffic;

pub use config::{Account, Config, Rooms};
pub use counters::{Reason, Snapshot, SocketState};
pub use fault::{Cut, Garbage, Pace, Refusal, RoomState, Target};
pub use limits::Limit;
pub use log::{Delivery, Fate, Line, Log, Source, Truth};
pub use simulator::Simulator;
