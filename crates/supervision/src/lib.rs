//! Supervision trees with the semantics of Erlang/OTP for [ractor] actors.
//!
//! An actor that meets a bug should crash, alone and visibly, and be back at once with fresh
//! state. This crate sees to that: it starts actors in order, notices how each of them ends,
//! restarts what its spec says in the way its spec says, gives up and fails upwards when that
//! does not help, and stops everything in order. The actors are ordinary [`ractor::Actor`]s.
//!
//! # A tree
//!
//! ```
//! use std::time::Duration;
//!
//! use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
//! use twzrd_supervision::{
//!     ChildRef, ChildSpec, Intensity, Options, Strategy, SupervisorSpec, start,
//! };
//!
//! struct Counter;
//!
//! enum CounterMsg {
//!     Add(u64),
//!     Sum(RpcReplyPort<u64>),
//! }
//!
//! impl Actor for Counter {
//!     type Msg = CounterMsg;
//!     type State = u64;
//!     type Arguments = u64;
//!
//!     async fn pre_start(&self, _: ActorRef<CounterMsg>, first: u64)
//!     -> Result<u64, ActorProcessingErr> {
//!         Ok(first)
//!     }
//!
//!     async fn handle(&self, _: ActorRef<CounterMsg>, message: CounterMsg, sum: &mut u64)
//!     -> Result<(), ActorProcessingErr> {
//!         match message {
//!             CounterMsg::Add(0) => return Err("nothing to add".into()), // a crash
//!             CounterMsg::Add(n) => *sum += n,
//!             CounterMsg::Sum(reply) => drop(reply.send(*sum)),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let second = Duration::from_secs(1);
//! let counter = ChildRef::new("counter"); // hand clones of it to the siblings
//! let spec = SupervisorSpec::new("root")
//!     .strategy(Strategy::OneForOne)
//!     .intensity(Intensity { restarts: 3, period: second })
//!     .child(ChildSpec::worker("counter", &counter, || (Counter, 40)));
//! let tree = start(spec, Options::default()).await?;
//!
//! counter.cast(CounterMsg::Add(2))?;
//! assert_eq!(counter.call(CounterMsg::Sum, second).await?, 42);
//!
//! counter.cast(CounterMsg::Add(0))?; // crashes, and is started again with its arguments
//! let mut lives = counter.subscribe();
//! lives.wait_for(|now| now.as_ref().is_some_and(|life| life.number() == 2)).await?;
//! assert_eq!(counter.call(CounterMsg::Sum, second).await?, 40);
//!
//! assert_eq!(tree.which_children().find("root/counter").map(|child| child.restarts), Some(1));
//! assert!(tree.stop().await.late.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! A larger one is in `examples/bakery.rs`.
//!
//! # What is as in OTP
//!
//! - The three strategies ([`Strategy`]), the three restart classes ([`Restart`]), intensity
//!   within a sliding period ([`Intensity`]). A supervisor that is asked for one restart too
//!   many stops its children in reverse order and fails towards its own supervisor; a root that
//!   gives up ends the tree with a reason ([`Tree::exited`]).
//! - Children start in order, each after the `pre_start` of the one before it succeeded. If one
//!   fails at the first start, those before it are stopped in reverse and the error names it.
//!   A failed start during a *restart* counts as a failed restart and is tried again.
//! - Children stop in reverse order, each within its deadline ([`Shutdown`]).
//! - Children may come and go at run time ([`SupervisorRef`]). Dynamic ones are lost when their
//!   supervisor is restarted.
//! - In a group restart, temporary children are dropped and finished transient ones come back.
//!
//! # What is added
//!
//! - **Backoff** ([`Backoff`]): a doubling, jittered wait before restarts; the randomness is
//!   seeded ([`Options::seed`]). A group waits for the child that failed. Mind that waits as
//!   long as the period of an intensity keep it from ever being exceeded.
//! - **Cool-down** ([`CoolDown`]): one child with a limit of its own, which rests beyond it
//!   instead of taking its siblings along.
//! - **Stall detection** ([`Stall`]): a handler that runs for long is shown, and killed only if
//!   asked for. A slow child has not failed.
//! - **Start deadline** ([`ChildSpec::start_deadline`]): a start that hangs fails.
//! - **Who was late** ([`StopReport`]): a stop names every child that had to be killed or, if
//!   its handler blocks a thread, abandoned.
//! - **Introspection** ([`Tree::which_children`]): the whole tree at any moment, from shared
//!   figures and without asking anybody; with [`waiting_for`] an actor says what it waits for.
//!
//! # What differs
//!
//! - A child terminated by hand stays down when its group is restarted; OTP would start it.
//! - No restart blocks the supervisor: while one child waits, starts or stops, others are
//!   restarted and commands are answered.
//! - A second crash during a group restart extends that restart instead of queueing up.
//!
//! # What ractor gives and takes
//!
//! - A mailbox is unbounded and dies with its actor. A message that was accepted may be lost in
//!   a crash, and a request ends with [`RefError::Dropped`]. Whatever must not be lost belongs
//!   in a place that outlives the actor.
//! - A stop skips the queue and runs `post_stop`; a crash or a kill does not run it.
//! - A kill takes effect when the handler yields. One that blocks its thread (or the thread of
//!   its supervisor, on a runtime with one thread) cannot be interrupted by anybody. It is cut
//!   off: its [`ChildRef`] leads to the replacement, and it dies at its next yield.
//! - A replacement starts only after its predecessor, with all of its state, has been dropped,
//!   so that it finds files and ports free. Only one that was cut off may still hold them.
//!
//! # How it is made
//!
//! A supervisor is a task of its own that waits for exits, commands and timers alike and never
//! for a child. Every worker is wrapped by an actor with the same message type, which counts
//! messages, times handlers, catches panics and reports the end of the incarnation when the last
//! of it is dropped. Nothing is registered by name: a child is identified by its path, such as
//! `root/settlement/journal`, and many trees may live in one process.
//!
//! Every start, exit, restart, escalation and late stop is one [`tracing`] event.

mod birth;
mod check;
mod child;
mod child_ref;
mod context;
mod error;
mod exit;
mod instrumented;
mod intensity;
mod snapshot;
mod spec;
mod supervisor;
mod supervisor_ref;
mod tree;
mod vitals;

pub use child::{Child, NextLife};
pub use child_ref::{ChildRef, FeedGauge, Incarnation};
pub use context::{WaitGuard, set_feed, waiting_for};
pub use error::{ChildError, RefError, SpecError, StartError};
pub use exit::{ExitReason, LateOutcome, LateStop, StopReport};
pub use snapshot::{ChildKind, ChildSnapshot, Feed, RunningHandler, TreeSnapshot, WaitingFor};
pub use spec::{
    Backoff, ChildSpec, CoolDown, Intensity, Restart, Shutdown, Stall, Strategy, SupervisorSpec,
};
pub use supervisor_ref::SupervisorRef;
pub use tree::{Options, Tree, start};
pub use vitals::{ChildState, Handler};
