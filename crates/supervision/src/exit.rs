//! Why a child ended, and what a stop found.

use std::fmt;

use serde::Serialize;

/// Why a child (or the whole tree) is no longer running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExitReason {
    /// It stopped by itself or was asked to stop.
    Normal,
    /// A handler returned an error.
    Error {
        /// The error and its sources.
        text: String,
    },
    /// A handler panicked.
    Panic {
        /// The message of the panic.
        text: String,
    },
    /// It was killed.
    Killed,
    /// It never ran: its start failed.
    StartFailed {
        /// Path of the child that could not start, which may be a descendant.
        child: String,
        /// What went wrong there.
        text: String,
    },
    /// A supervisor whose children asked for more restarts than its intensity allows.
    GaveUp {
        /// Path of the child whose exit was one too many.
        child: String,
        /// Restarts that the supervisor allows within its period.
        restarts: u32,
        /// The period in milliseconds.
        period_ms: u64,
        /// The last exit of that child.
        text: String,
    },
}

impl ExitReason {
    /// Whether a transient child is restarted after it.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => write!(f, "normal"),
            Self::Error { text } => write!(f, "error: {text}"),
            Self::Panic { text } => write!(f, "panic: {text}"),
            Self::Killed => write!(f, "killed"),
            Self::StartFailed { child, text } => write!(f, "`{child}` failed to start: {text}"),
            Self::GaveUp {
                child,
                restarts,
                period_ms,
                text,
            } => write!(
                f,
                "gave up: `{child}` asked for more than {restarts} restarts within \
                 {period_ms} ms, last exit: {text}"
            ),
        }
    }
}

/// What a stop found: who was late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StopReport {
    /// The children that had not stopped within their deadline, in the order of the stop.
    pub late: Vec<LateStop>,
}

/// A child that had not stopped within its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LateStop {
    /// Path of the child.
    pub path: String,
    /// What became of it.
    pub outcome: LateOutcome,
}

/// What became of a child that was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LateOutcome {
    /// The kill ended it.
    Killed,
    /// Not even the kill ended it in time: its handler blocks a thread. It is cut off, and
    /// dies when that handler yields.
    Abandoned,
}

/// How one incarnation ended, as its supervisor hears of it.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) reason: ExitReason,
    /// The descendants that were late, if a supervisor ended.
    pub(crate) late: Vec<LateStop>,
}

impl From<ExitReason> for Exit {
    fn from(reason: ExitReason) -> Self {
        Self {
            reason,
            late: Vec::new(),
        }
    }
}
