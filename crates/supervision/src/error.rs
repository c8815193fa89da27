//! The errors that callers see.

use std::sync::Arc;

use crate::exit::ExitReason;

/// Why a [`crate::ChildRef`] could not deliver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// The child is not running now; it may come back. Nothing was sent.
    #[error("`{child}` is not running now")]
    Away {
        /// Id of the child.
        child: Arc<str>,
    },
    /// The child did not answer, or did not start, in time. A request may still be handled.
    #[error("`{child}` did not answer in time")]
    Timeout {
        /// Id of the child.
        child: Arc<str>,
    },
    /// The child took the request and ended, or let go of the reply port, without an answer.
    #[error("`{child}` dropped the request without an answer")]
    Dropped {
        /// Id of the child.
        child: Arc<str>,
    },
}

/// A spec that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {problem}; expected {expected}")]
pub struct SpecError {
    /// Path of the child with that spec.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub expected: &'static str,
}

/// Why a tree did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A spec cannot be honoured. Nothing was started.
    #[error(transparent)]
    InvalidSpec(#[from] SpecError),
    /// A child failed to start; those started before it have been stopped in reverse order.
    #[error("`{child}` failed to start: {text}")]
    ChildFailed {
        /// Path of that child.
        child: String,
        /// What went wrong there.
        text: String,
    },
    /// The tree ended before all of it had started, for another reason.
    #[error("the tree ended while it was starting: {reason}")]
    Ended {
        /// That reason.
        reason: ExitReason,
    },
}

/// Why a supervisor refused or failed to do what it was asked about a child.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// A child of that id is already there; the one there is untouched.
    #[error("`{path}` is already there; expected an id that no sibling has")]
    AlreadyPresent {
        /// Path of the child.
        path: String,
    },
    /// No child of that id.
    #[error("no child `{path}`")]
    NotFound {
        /// Path that was asked for.
        path: String,
    },
    /// The child is running (or stopping); expected a stopped one.
    #[error("`{path}` is running; expected a stopped child")]
    Running {
        /// Path of the child.
        path: String,
    },
    /// The child is about to be started; expected a stopped one.
    #[error("`{path}` is restarting; expected a stopped child")]
    Restarting {
        /// Path of the child.
        path: String,
    },
    /// The spec cannot be honoured.
    #[error(transparent)]
    InvalidSpec(#[from] SpecError),
    /// The child failed to start. A new child is forgotten, a restarted one stays stopped.
    #[error("{reason}")]
    StartFailed {
        /// Why.
        reason: ExitReason,
    },
    /// The supervisor is not running, or is stopping; it may come back.
    #[error("supervisor `{supervisor}` is not running now")]
    SupervisorAway {
        /// Id or path of the supervisor.
        supervisor: String,
    },
}
