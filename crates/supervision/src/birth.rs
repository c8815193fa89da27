//! How one incarnation reports to its supervisor: that it runs, and, once, how it ended.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::exit::{Exit, ExitReason};
use crate::vitals::{ChildState, Vitals, lock};

/// Position of a child in the start order of its supervisor.
pub(crate) type Seq = u64;

/// What a supervisor hears of its children.
///
/// The queue that carries these needs no bound of its own: an incarnation sends two at most.
#[derive(Debug)]
pub(crate) enum Event {
    Started {
        seq: Seq,
        incarnation: u64,
    },
    Exited {
        seq: Seq,
        incarnation: u64,
        exit: Exit,
    },
}

/// What is known about a tree from outside of it.
#[derive(Clone, Debug)]
pub(crate) enum RootState {
    Starting,
    Running,
    Ended(Exit),
}

pub(crate) enum Sink {
    Parent {
        events: mpsc::UnboundedSender<Event>,
        seq: Seq,
        incarnation: u64,
    },
    Root {
        state: watch::Sender<RootState>,
        vitals: Arc<Vitals>,
    },
}

/// Sends the exit when it is dropped, so that no end of a task, not even its abortion, goes
/// unreported.
///
/// It is shared by all that an incarnation owns: the exit is reported only after the state
/// of the actor has been dropped, and a replacement finds what it held (a file lock, say)
/// free.
pub(crate) struct Reporter {
    path: Arc<str>,
    sink: Sink,
    outcome: Mutex<Option<Exit>>,
}

impl Reporter {
    pub(crate) fn new(path: Arc<str>, sink: Sink) -> Self {
        Self {
            path,
            sink,
            outcome: Mutex::new(None),
        }
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Tells the supervisor that the start has succeeded.
    pub(crate) fn started(&self) {
        match &self.sink {
            Sink::Parent {
                events,
                seq,
                incarnation,
            } => {
                // A supervisor that is gone has no need to know.
                let _ = events.send(Event::Started {
                    seq: *seq,
                    incarnation: *incarnation,
                });
            }
            Sink::Root { state, vitals } => {
                vitals.set_state(ChildState::Running);
                vitals.moments().running_since = Some(Instant::now());
                state.send_replace(RootState::Running);
            }
        }
    }

    /// Shows the root as stopping; for any other child its supervisor does.
    pub(crate) fn stopping(&self) {
        if let Sink::Root { vitals, .. } = &self.sink {
            vitals.set_state(ChildState::Stopping);
        }
    }

    /// Notes how the incarnation ends; the first note stands.
    pub(crate) fn note(&self, exit: impl Into<Exit>) {
        lock(&self.outcome).get_or_insert_with(|| exit.into());
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        // Only a kill leaves no note.
        let exit = lock(&self.outcome)
            .take()
            .unwrap_or_else(|| ExitReason::Killed.into());
        match &self.sink {
            Sink::Parent {
                events,
                seq,
                incarnation,
            } => {
                let _ = events.send(Event::Exited {
                    seq: *seq,
                    incarnation: *incarnation,
                    exit,
                });
            }
            Sink::Root { state, vitals } => {
                vitals.set_state(ChildState::Stopped);
                let mut moments = vitals.moments();
                moments.running_since = None;
                moments.last_exit = Some(exit.reason.clone());
                drop(moments);
                state.send_replace(RootState::Ended(exit));
            }
        }
    }
}
