//! `which_children`: the tree as it is now, read without asking anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use tokio::time::Instant;

use crate::birth::Seq;
use crate::exit::ExitReason;
use crate::spec::{ChildSpec, Restart, Stall, Strategy};
use crate::supervisor_ref::SupervisorRef;
use crate::vitals::{ChildState, Handler, Vitals, millis};

/// Whether a child works or supervises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// An actor.
    Worker,
    /// A supervisor with children of its own.
    Supervisor,
}

/// The depth of a child's own queue, as it has published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Feed {
    /// Items that wait.
    pub depth: u64,
    /// Items that may wait at most.
    pub bound: u64,
}

/// The handler now running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RunningHandler {
    /// Which function of the actor it is.
    pub handler: Handler,
    /// For how long it has been running, in milliseconds.
    pub running_ms: u64,
}

/// Something that a child waits for, see [`crate::waiting_for`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitingFor {
    /// The name that the actor gave it.
    pub what: String,
    /// For how long it has been waiting, in milliseconds.
    pub waiting_ms: u64,
}

/// One child and all below it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChildSnapshot {
    /// Id among its siblings.
    pub id: String,
    /// Ids from the root to this child, joined by `/`.
    pub path: String,
    /// Worker or supervisor.
    pub kind: ChildKind,
    /// Restart class.
    pub restart: Restart,
    /// The strategy of a supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What it is doing now.
    pub state: ChildState,
    /// How many times it was started again, successful or not.
    pub restarts: u64,
    /// Why it last ended.
    pub last_exit: Option<ExitReason>,
    /// For how long it has been running, in milliseconds; absent if it is not.
    pub uptime_ms: Option<u64>,
    /// In how many milliseconds it is tried again, if it waits for that.
    pub retry_in_ms: Option<u64>,
    /// Messages that wait in its mailbox, see [`crate::ChildRef::mailbox_depth`].
    pub mailbox_depth: u64,
    /// Its own queue, if it publishes one.
    pub feed: Option<Feed>,
    /// Messages handled, over all incarnations.
    pub handled: u64,
    /// Messages handled a second, over the last five whole seconds.
    pub handled_per_second: f64,
    /// The handler now running, if any.
    pub handler: Option<RunningHandler>,
    /// What it waits for now, oldest first.
    pub waiting_for: Vec<WaitingFor>,
    /// The children of a supervisor, in start order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildSnapshot>,
}

impl ChildSnapshot {
    /// A permanent child that has not started yet, with this path.
    #[must_use]
    pub fn starting(path: &str, kind: ChildKind) -> Self {
        Self {
            id: path.rsplit('/').next().unwrap_or_default().to_owned(),
            path: path.to_owned(),
            kind,
            restart: Restart::Permanent,
            strategy: None,
            state: ChildState::Starting,
            restarts: 0,
            last_exit: None,
            uptime_ms: None,
            retry_in_ms: None,
            mailbox_depth: 0,
            feed: None,
            handled: 0,
            handled_per_second: 0.0,
            handler: None,
            waiting_for: Vec::new(),
            children: Vec::new(),
        }
    }
}

/// A whole tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreeSnapshot {
    /// The root supervisor and all below it.
    pub root: ChildSnapshot,
}

impl TreeSnapshot {
    /// The child at `path`, which begins with the id of the root.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&ChildSnapshot> {
        let mut ids = path.split('/');
        let mut found = Some(&self.root).filter(|root| ids.next() == Some(root.id.as_str()))?;
        for id in ids {
            found = found.children.iter().find(|child| child.id == id)?;
        }
        Some(found)
    }

    /// Every child of the tree, the root first, parents before their children.
    #[must_use]
    pub fn all(&self) -> Vec<&ChildSnapshot> {
        let mut all = vec![&self.root];
        let mut next = 0;
        while let Some(child) = all.get(next).copied() {
            all.extend(&child.children);
            next += 1;
        }
        all
    }
}

/// One child as its supervisor shows it.
pub(crate) struct Node {
    pub(crate) id: Arc<str>,
    pub(crate) path: Arc<str>,
    pub(crate) restart: Restart,
    pub(crate) stall: Option<Stall>,
    pub(crate) vitals: Arc<Vitals>,
    /// Strategy and children, if it is a supervisor.
    pub(crate) supervisor: Option<(Strategy, SupervisorRef)>,
}

impl Node {
    pub(crate) fn new(spec: &ChildSpec, path: Arc<str>) -> Self {
        Self {
            id: Arc::clone(&spec.id),
            path,
            restart: spec.restart,
            stall: spec.stall,
            vitals: Arc::new(Vitals::new()),
            supervisor: None,
        }
    }

    /// The state that is shown: the supervisor's view, or stalled.
    pub(crate) fn state(&self, now: Instant) -> ChildState {
        let state = self.vitals.state();
        let (Some(stall), ChildState::Running | ChildState::Starting | ChildState::Restarting) =
            (self.stall, state)
        else {
            return state;
        };
        let pulse = self.vitals.moments().pulse.clone();
        let running = pulse.and_then(|pulse| pulse.handler(now));
        match running {
            Some((_, time)) if time > stall.after => ChildState::Stalled,
            _ => state,
        }
    }

    pub(crate) fn snapshot(&self, now: Instant) -> ChildSnapshot {
        let (uptime_ms, retry_in_ms, last_exit, pulse) = {
            let moments = self.vitals.moments();
            (
                moments
                    .running_since
                    .map(|since| millis(now.saturating_duration_since(since))),
                moments
                    .retry_at
                    .map(|at| millis(at.saturating_duration_since(now))),
                moments.last_exit.clone(),
                moments.pulse.clone(),
            )
        };
        let handler = pulse.as_ref().and_then(|pulse| pulse.handler(now));
        let waits = pulse.as_ref().map(|pulse| pulse.waits());
        ChildSnapshot {
            id: self.id.to_string(),
            path: self.path.to_string(),
            kind: match self.supervisor {
                None => ChildKind::Worker,
                Some(_) => ChildKind::Supervisor,
            },
            restart: self.restart,
            strategy: self.supervisor.as_ref().map(|(strategy, _)| *strategy),
            state: self.state(now),
            restarts: self.vitals.restarts(),
            last_exit,
            uptime_ms,
            retry_in_ms,
            mailbox_depth: pulse.as_ref().map_or(0, |pulse| pulse.depth()),
            feed: self
                .vitals
                .feed()
                .map(|(depth, bound)| Feed { depth, bound }),
            handled: self.vitals.handled(),
            handled_per_second: self.vitals.handled_per_second(),
            handler: handler.map(|(handler, time)| RunningHandler {
                handler,
                running_ms: millis(time),
            }),
            waiting_for: waits
                .into_iter()
                .flatten()
                .map(|wait| WaitingFor {
                    what: wait.what.to_string(),
                    waiting_ms: millis(now.saturating_duration_since(wait.since)),
                })
                .collect(),
            children: self
                .supervisor
                .as_ref()
                .map_or_else(Vec::new, |(_, below)| below.board().snapshot(now)),
        }
    }
}

/// The children of one supervisor, written by it and read by anybody.
#[derive(Default)]
pub(crate) struct Board {
    nodes: RwLock<BTreeMap<Seq, Arc<Node>>>,
}

impl Board {
    pub(crate) fn insert(&self, seq: Seq, node: Arc<Node>) {
        self.write().insert(seq, node);
    }

    pub(crate) fn remove(&self, seq: Seq) {
        self.write().remove(&seq);
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.values().find(|node| &*node.id == id).cloned()
    }

    pub(crate) fn clear(&self) {
        self.write().clear();
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Vec<ChildSnapshot> {
        // The list is copied first, so that the supervisor never waits for a reader.
        let nodes: Vec<_> = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.values().cloned().collect()
        };
        nodes.iter().map(|node| node.snapshot(now)).collect()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Seq, Arc<Node>>> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}
