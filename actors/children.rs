//! Children that come and go: starts and forgets them, whatever somebody before left half done.

use ractor::ActorProcessingErr;
use tracing::warn;
use twzrd_supervision::{ChildError, ChildSnapshot, ChildSpec, ChildState, SupervisorRef};

/// The ids of some children.
pub(crate) fn ids(
    supervisor: &SupervisorRef,
    which: impl Fn(&ChildSnapshot) -> bool,
) -> Vec<String> {
    let children = supervisor.which_children().into_iter();
    children.filter(which).map(|child| child.id).collect()
}

/// True where a child runs, or is about to.
pub(crate) fn stays(child: &ChildSnapshot) -> bool {
    !matches!(child.state, ChildState::Stopping | ChildState::Stopped)
}

/// Starts a child that may be there already.
pub(crate) async fn begin(
    supervisor: &SupervisorRef,
    spec: ChildSpec,
) -> Result<(), ActorProcessingErr> {
    let id = spec.id().to_owned();
    match supervisor.start_child(spec).await {
        Ok(()) | Err(ChildError::AlreadyPresent { .. }) => Ok(()),
        Err(error) => {
            warn!(child = id, %error, "could not be started");
            Err(error.into())
        }
    }
}

/// Stops a child and forgets it; it may be gone already.
pub(crate) async fn forget(supervisor: &SupervisorRef, id: &str) -> Result<(), ActorProcessingErr> {
    match supervisor.terminate_child(id).await {
        Ok(report) => {
            for late in report.late {
                warn!(child = %late.path, outcome = ?late.outcome, "stopped late");
            }
        }
        Err(ChildError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    match supervisor.delete_child(id).await {
        Ok(()) | Err(ChildError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
