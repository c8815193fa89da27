//! One child as its supervisor keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::ActorCell;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::ChildError;
use crate::exit::{ExitReason, LateStop, StopReport};
use crate::intensity::Window;
use crate::snapshot::Node;
use crate::spec::{Body, ChildSpec, Restart};
use crate::supervisor_ref::Reply;
use crate::vitals::{ChildState, Pulse, Vitals};

/// Where a child is between a start and a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not running, and nobody is about to start it.
    Down,
    /// Waits for its turn in an ordered start.
    Pending,
    /// Its start is under way.
    Starting,
    Running,
    /// Asked to stop; its timer is the deadline.
    Stopping,
    /// Killed; its timer is the grace after which it counts as abandoned.
    Killing,
    /// Its timer is the time of its restart.
    BackingOff,
    /// Its timer is the end of its cool-down.
    CoolingDown,
}

/// How a supervisor reaches the incarnation now running.
pub(super) enum Link {
    Worker(ActorCell),
    Supervisor {
        stop: Option<oneshot::Sender<()>>,
        task: AbortHandle,
    },
}

impl Link {
    pub(super) fn stop(&mut self) {
        match self {
            Self::Worker(actor) => actor.stop(None),
            Self::Supervisor { stop, .. } => {
                if let Some(stop) = stop.take() {
                    // It has ended by itself if it does not listen any more.
                    let _ = stop.send(());
                }
            }
        }
    }

    pub(super) fn kill(&self) {
        match self {
            Self::Worker(actor) => actor.kill(),
            Self::Supervisor { task, .. } => task.abort(),
        }
    }
}

/// The right to run what a `ChildRef` or a `SupervisorRef` stands for; given back on drop.
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    pub(crate) fn of(body: &Body) -> Option<Self> {
        let flag = match body {
            Body::Worker(worker) => worker.claimed(),
            Body::Supervisor(spec) => spec.supervisor_ref.claimed(),
        };
        let was_free = !flag.swap(true, Ordering::AcqRel);
        was_free.then(|| Self(Arc::clone(flag)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) node: Arc<Node>,
    pub(super) phase: Phase,
    pub(super) timer: Option<Instant>,
    /// Number of the incarnation that events are taken from; 0 if from none.
    pub(super) incarnation: u64,
    pub(super) link: Option<Link>,
    pub(super) pulse: Option<Arc<Pulse>>,
    pub(super) running_since: Option<Instant>,
    /// Whether it has run since its supervisor started.
    pub(super) has_run: bool,
    /// Whether it has been launched since its supervisor started, successfully or not.
    pub(super) launched: bool,
    /// Stopped by hand: it stays down also when its siblings are restarted.
    pub(super) terminated: bool,
    /// Failures in a row, for the backoff.
    pub(super) failures: u32,
    /// The restarts of a child that has a limit of its own.
    pub(super) window: Option<Window>,
    /// Whether this incarnation was killed for its own slowness, to start or to handle.
    pub(super) kill_cause: Option<String>,
    pub(super) shown_stalled: bool,
    pub(super) late: Vec<LateStop>,
    pub(super) starters: Vec<Reply<()>>,
    pub(super) stoppers: Vec<Reply<StopReport>>,
    _claim: Claim,
}

impl Child {
    pub(super) fn new(spec: ChildSpec, parent_path: &str, claim: Claim) -> Self {
        let path: Arc<str> = format!("{parent_path}/{}", spec.id).into();
        let node = match &spec.body {
            Body::Worker(worker) => Node {
                vitals: Arc::clone(worker.vitals()),
                ..Node::new(&spec, path)
            },
            Body::Supervisor(below) => Node {
                stall: None,
                supervisor: Some((below.strategy, below.supervisor_ref.clone())),
                ..Node::new(&spec, path)
            },
        };
        let mut child = Self {
            window: spec.cool_down.map(|cool_down| Window::new(cool_down.limit)),
            spec,
            node: Arc::new(node),
            phase: Phase::Pending,
            timer: None,
            incarnation: 0,
            link: None,
            pulse: None,
            running_since: None,
            has_run: false,
            launched: false,
            terminated: false,
            failures: 0,
            kill_cause: None,
            shown_stalled: false,
            late: Vec::new(),
            starters: Vec::new(),
            stoppers: Vec::new(),
            _claim: claim,
        };
        child.set_phase(Phase::Pending);
        child
    }

    pub(super) fn path(&self) -> &Arc<str> {
        &self.node.path
    }

    pub(super) fn vitals(&self) -> &Arc<Vitals> {
        &self.node.vitals
    }

    pub(super) fn is_live(&self) -> bool {
        self.incarnation != 0
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.spec.restart == Restart::Temporary
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.node.vitals.set_state(match phase {
            Phase::Down => ChildState::Stopped,
            Phase::Pending | Phase::Starting if !self.has_run => ChildState::Starting,
            Phase::Pending | Phase::Starting | Phase::BackingOff => ChildState::Restarting,
            Phase::Running => ChildState::Running,
            Phase::Stopping | Phase::Killing => ChildState::Stopping,
            Phase::CoolingDown => ChildState::CoolingDown,
        });
        let mut moments = self.node.vitals.moments();
        moments.retry_at = match phase {
            Phase::BackingOff | Phase::CoolingDown => self.timer,
            _ => None,
        };
    }

    pub(super) fn kill(&self) {
        if let Some(link) = &self.link {
            link.kill();
        }
    }

    /// Closes the books of an incarnation that has ended or was cut off.
    pub(super) fn end_incarnation(&mut self, reason: ExitReason) {
        if let Body::Worker(worker) = &self.spec.body {
            worker.retract(self.incarnation);
        }
        self.incarnation = 0;
        self.link = None;
        self.pulse = None;
        self.shown_stalled = false;
        let mut moments = self.node.vitals.moments();
        moments.running_since = None;
        moments.pulse = None;
        moments.last_exit = Some(reason);
    }

    /// Tells those who wait for its start how that ended.
    pub(super) fn answer_starters(&mut self, answer: &Result<(), ChildError>) {
        for starter in self.starters.drain(..) {
            // The caller may have stopped waiting.
            let _ = starter.send(answer.clone());
        }
    }
}
