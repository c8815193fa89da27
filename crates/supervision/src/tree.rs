//! The whole tree: start, watch, stop.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::birth::{Reporter, RootState, Sink};
use crate::check;
use crate::error::{SpecError, StartError};
use crate::exit::{ExitReason, StopReport};
use crate::snapshot::{Node, TreeSnapshot};
use crate::spec::{Body, ChildSpec, SupervisorSpec};
use crate::supervisor::{self, Claim};
use crate::supervisor_ref::SupervisorRef;
use crate::vitals::lock;

/// What holds for a whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Seed of the jitter: the same seed gives the same waits.
    pub seed: u64,
    /// How long a killed child may take to end before it counts as abandoned. Only one whose
    /// handler blocks its thread takes longer than an instant.
    pub kill_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            kill_grace: Duration::from_secs(1),
        }
    }
}

/// A running tree. Dropping it kills all of it at once; [`Tree::stop`] is the orderly way.
pub struct Tree {
    node: Node,
    root: SupervisorRef,
    state: watch::Receiver<RootState>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    task: AbortHandle,
}

/// Starts a tree: every child in order, each after the start of the one before it succeeded.
///
/// # Errors
/// [`StartError::InvalidSpec`] before anything is started; [`StartError::ChildFailed`] if a
/// child fails at its first start, after those already started have been stopped in reverse.
pub async fn start(spec: SupervisorSpec, options: Options) -> Result<Tree, StartError> {
    check::id(&spec.id, &spec.id)?;
    check::supervisor(&spec, &spec.id)?;
    let root = spec.supervisor_ref();
    // The root is a child without a supervisor; nothing restarts it.
    let spec = ChildSpec::supervisor(spec);
    let Body::Supervisor(below) = &spec.body else {
        return Err(unclaimed(&spec).into());
    };
    let claim = Claim::of(&spec.body).ok_or_else(|| unclaimed(&spec))?;
    let node = Node {
        supervisor: Some((below.strategy, root.clone())),
        ..Node::new(&spec, Arc::clone(&spec.id))
    };
    let (sender, state) = watch::channel(RootState::Starting);
    let sink = Sink::Root {
        state: sender,
        vitals: Arc::clone(&node.vitals),
    };
    let reporter = Reporter::new(Arc::clone(&spec.id), sink);
    let (stop, task) = supervisor::spawn(below, Some(claim), options, reporter);
    let tree = Tree {
        node,
        root,
        state,
        stop: Mutex::new(Some(stop)),
        task,
    };
    tree.wait_started().await?;
    Ok(tree)
}

fn unclaimed(spec: &ChildSpec) -> SpecError {
    SpecError {
        path: spec.id.to_string(),
        problem: "this spec is already running as a tree".to_owned(),
        expected: "a spec of its own for each tree",
    }
}

impl Tree {
    /// The tree as it is now. Reads shared figures and asks nobody, so it answers also while
    /// children hang, restart or stop.
    #[must_use]
    pub fn which_children(&self) -> TreeSnapshot {
        TreeSnapshot {
            root: self.node.snapshot(Instant::now()),
        }
    }

    /// The root supervisor.
    #[must_use]
    pub fn root(&self) -> SupervisorRef {
        self.root.clone()
    }

    /// The supervisor at `path`, such as `root/ingest`.
    #[must_use]
    pub fn supervisor(&self, path: &str) -> Option<SupervisorRef> {
        let mut ids = path.split('/');
        if ids.next() != Some(self.root.id()) {
            return None;
        }
        ids.try_fold(self.root.clone(), |above, id| {
            let node = above.board().find(id)?;
            node.supervisor.as_ref().map(|(_, below)| below.clone())
        })
    }

    /// Stops everything in reverse order of start, each child within its own deadline, and
    /// says who was late. A second call waits for the same stop and gives the same report.
    pub async fn stop(&self) -> StopReport {
        if let Some(stop) = lock(&self.stop).take() {
            // A root that has ended by itself does not listen any more.
            let _ = stop.send(());
        }
        let (_, late) = self.end().await;
        StopReport { late }
    }

    /// Waits until the tree has ended, be it stopped or given up, and says why.
    pub async fn exited(&self) -> ExitReason {
        self.end().await.0
    }

    async fn end(&self) -> (ExitReason, Vec<crate::exit::LateStop>) {
        let mut state = self.state.clone();
        loop {
            if let RootState::Ended(exit) = &*state.borrow_and_update() {
                return (exit.reason.clone(), exit.late.clone());
            }
            if state.changed().await.is_err() {
                // Cannot happen before `Ended`, which the sender sends when it is dropped.
                return (ExitReason::Killed, Vec::new());
            }
        }
    }

    async fn wait_started(&self) -> Result<(), StartError> {
        let mut state = self.state.clone();
        let left = state
            .wait_for(|state| !matches!(state, RootState::Starting))
            .await
            .map(|state| state.clone());
        let reason = match left {
            Ok(RootState::Ended(exit)) => exit.reason,
            Ok(RootState::Starting | RootState::Running) => return Ok(()),
            Err(_) => ExitReason::Killed,
        };
        Err(match reason {
            ExitReason::StartFailed { child, text } => StartError::ChildFailed { child, text },
            reason => StartError::Ended { reason },
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("root", &self.node.id)
            .finish_non_exhaustive()
    }
}
