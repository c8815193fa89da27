//! What is to run and how it is to be kept running: child specs and supervisor specs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use serde::{Deserialize, Serialize};

use crate::child_ref::ChildRef;
use crate::instrumented::{Launch, WorkerBody};
use crate::supervisor_ref::SupervisorRef;

/// Whether a child that has exited is started again. The words are those of OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always restarted, also after a normal stop.
    #[default]
    Permanent,
    /// Restarted only after an abnormal exit; a normal stop leaves it stopped.
    Transient,
    /// Never restarted; its spec is forgotten when it exits.
    Temporary,
}

/// What the exit of one child means for its siblings. The words are those of OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Only the child that exited is restarted.
    #[default]
    OneForOne,
    /// All other children are stopped in reverse order, then all are started in order.
    OneForAll,
    /// The children started after the one that exited are stopped in reverse order; then
    /// it and they are started in order.
    RestForOne,
}

/// How many restarts a supervisor makes within a period before it gives up.
///
/// `restarts` restarts within `period` are made; the next one within it is refused. Zero
/// restarts means that the first exit that asks for a restart is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intensity {
    /// Restarts that are made within the period.
    pub restarts: u32,
    /// The sliding period over which restarts are counted.
    pub period: Duration,
}

impl Default for Intensity {
    /// OTP's default: one restart within five seconds.
    fn default() -> Self {
        Self {
            restarts: 1,
            period: Duration::from_secs(5),
        }
    }
}

/// The wait before a restart: doubled at each failure in a row, with jitter.
///
/// Not part of OTP, which restarts at once. The wait before restart `n` of a row is
/// `initial * 2^(n-1)`, at most `max`, less a random part of up to `jitter` of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// Wait before the first restart of a row, before jitter.
    pub initial: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
    /// The part of a wait, from 0 to 1, that chance may take off it.
    pub jitter: f64,
    /// A child that has run this long starts a new row at its next failure.
    pub reset_after: Duration,
}

impl Backoff {
    /// No wait: restart at once, as OTP does.
    pub const NONE: Self = Self {
        initial: Duration::ZERO,
        max: Duration::ZERO,
        jitter: 0.0,
        reset_after: Duration::ZERO,
    };
}

impl Default for Backoff {
    fn default() -> Self {
        Self::NONE
    }
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// Asked to stop; killed, and reported as late, when it has not stopped within this time.
    Deadline(Duration),
    /// Asked to stop, and waited for without limit. Meant for supervisors, whose stop is
    /// bounded by the deadlines of their children.
    Infinity,
    /// Killed at once, without its `post_stop`.
    BrutalKill,
}

/// When a child that works on one message for long is shown as stalled.
///
/// Apart from exit detection: a slow child has not failed. It is killed (and then restarted
/// as its spec says) only if `kill` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// A handler that runs longer than this is shown as stalled.
    pub after: Duration,
    /// Whether a stalled child is killed.
    pub kill: bool,
}

/// A limit of its own for one child, with a pause instead of an escalation.
///
/// Not part of OTP. The failures of a child with a cool-down are counted against its own
/// limit and never against the supervisor's: beyond the limit it stays down for `pause` and
/// is then retried with an empty count. Only under [`Strategy::OneForOne`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoolDown {
    /// Restarts of this child that are made before it has to cool down.
    pub limit: Intensity,
    /// How long it stays down.
    pub pause: Duration,
}

#[derive(Clone)]
pub(crate) enum Body {
    Worker(Arc<dyn Launch>),
    Supervisor(Arc<SupervisorSpec>),
}

/// What a child is and how it is kept running. Cheap to clone.
///
/// A worker is [`Restart::Permanent`], has five seconds to stop and sixty to start, restarts
/// without backoff and is shown as stalled after ten seconds, unless told otherwise.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) id: Arc<str>,
    pub(crate) body: Body,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) backoff: Backoff,
    pub(crate) stall: Option<Stall>,
    pub(crate) cool_down: Option<CoolDown>,
    pub(crate) start_deadline: Option<Duration>,
}

impl ChildSpec {
    /// A ractor actor, reachable through `child_ref`.
    ///
    /// `make` is called at every start and restart, in the task of the child, for a fresh
    /// actor and its arguments. Its panic is a failure to start, like one in `pre_start`.
    pub fn worker<A: Actor>(
        id: impl Into<Arc<str>>,
        child_ref: &ChildRef<A::Msg>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            body: Body::Worker(Arc::new(WorkerBody::new(child_ref, make))),
            restart: Restart::Permanent,
            shutdown: Shutdown::Deadline(Duration::from_secs(5)),
            backoff: Backoff::NONE,
            stall: Some(Stall {
                after: Duration::from_secs(10),
                kill: false,
            }),
            cool_down: None,
            start_deadline: Some(Duration::from_secs(60)),
        }
    }

    /// A supervisor with children of its own; its id is that of `spec`.
    #[must_use]
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        Self {
            id: Arc::clone(&spec.id),
            body: Body::Supervisor(Arc::new(spec)),
            restart: Restart::Permanent,
            shutdown: Shutdown::Infinity,
            backoff: Backoff::NONE,
            stall: None,
            cool_down: None,
            start_deadline: None,
        }
    }

    /// The id, unique among the children of one supervisor.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets the restart class.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how the child is stopped.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets the wait before restarts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets stall detection; `None` turns it off. Without effect on a supervisor.
    #[must_use]
    pub fn stall(mut self, stall: impl Into<Option<Stall>>) -> Self {
        self.stall = stall.into();
        self
    }

    /// Gives the child a limit of its own and a pause instead of an escalation.
    #[must_use]
    pub fn cool_down(mut self, cool_down: impl Into<Option<CoolDown>>) -> Self {
        self.cool_down = cool_down.into();
        self
    }

    /// Sets how long a start may take before it counts as failed; `None` for no limit.
    #[must_use]
    pub fn start_deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.start_deadline = deadline.into();
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .field("backoff", &self.backoff)
            .field("stall", &self.stall)
            .field("cool_down", &self.cool_down)
            .field("start_deadline", &self.start_deadline)
            .finish_non_exhaustive()
    }
}

/// A supervisor: its strategy, its limit and its first children, in start order.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    pub(crate) id: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) stop_together: bool,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) supervisor_ref: SupervisorRef,
}

impl SupervisorSpec {
    /// A supervisor without children, one_for_one, one restart within five seconds.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        let id = id.into();
        Self {
            supervisor_ref: SupervisorRef::new(Arc::clone(&id)),
            id,
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            stop_together: false,
            children: Vec::new(),
        }
    }

    /// Sets the strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets how many restarts are made within a period before the supervisor gives up.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Adds a child after those already there.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Adds children after those already there.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = ChildSpec>) -> Self {
        self.children.extend(children);
        self
    }

    /// Stops the children all at once instead of one after the other, when the supervisor
    /// stops: what OTP does for `simple_one_for_one`. For many children of one kind that do
    /// not know each other.
    #[must_use]
    pub fn stop_together(mut self) -> Self {
        self.stop_together = true;
        self
    }

    /// The handle for starting and stopping children at run time. It may be taken and handed
    /// out before the tree starts, and stays valid over restarts of the supervisor.
    #[must_use]
    pub fn supervisor_ref(&self) -> SupervisorRef {
        self.supervisor_ref.clone()
    }

    /// The id, unique among the children of its supervisor.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}
