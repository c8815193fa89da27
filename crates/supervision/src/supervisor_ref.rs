//! A handle to a supervisor: dynamic children and a view of all children.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::ChildError;
use crate::exit::StopReport;
use crate::snapshot::{Board, ChildSnapshot};
use crate::spec::ChildSpec;
use crate::vitals::lock;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, ChildError>>;

/// What a supervisor can be asked.
pub(crate) enum Command {
    Start(Box<ChildSpec>, Reply<()>),
    Terminate(String, Reply<StopReport>),
    Restart(String, Reply<()>),
    Delete(String, Reply<()>),
}

struct Inner {
    id: Arc<str>,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    board: Board,
    claimed: Arc<AtomicBool>,
}

/// A handle to a supervisor that outlives its incarnations. Cheap to clone.
///
/// Dynamic children live as long as the incarnation of their supervisor: after a restart it
/// has the children of its spec again, as in OTP.
#[derive(Clone)]
pub struct SupervisorRef {
    inner: Arc<Inner>,
}

impl fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorRef")
            .field("id", &self.inner.id)
            .finish_non_exhaustive()
    }
}

impl SupervisorRef {
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            inner: Arc::new(Inner {
                id,
                commands: Mutex::new(None),
                board: Board::default(),
                claimed: Arc::default(),
            }),
        }
    }

    /// Adds a child after all others and starts it; answers when it runs.
    ///
    /// While the supervisor restarts a group of children, the new one waits for its turn.
    ///
    /// # Errors
    /// [`ChildError::AlreadyPresent`], [`ChildError::InvalidSpec`],
    /// [`ChildError::StartFailed`] (the child is then forgotten), or
    /// [`ChildError::SupervisorAway`].
    pub async fn start_child(&self, spec: ChildSpec) -> Result<(), ChildError> {
        self.ask(|reply| Command::Start(Box::new(spec), reply))
            .await
    }

    /// Stops a child for good, also one that waits for its restart; answers when it has
    /// stopped, and says if it was late. The spec stays, unless the child is temporary.
    ///
    /// It also stays down when its siblings are restarted, where OTP would start it again.
    ///
    /// # Errors
    /// [`ChildError::NotFound`] or [`ChildError::SupervisorAway`].
    pub async fn terminate_child(&self, id: &str) -> Result<StopReport, ChildError> {
        self.ask(|reply| Command::Terminate(id.to_owned(), reply))
            .await
    }

    /// Starts a stopped child from its spec; answers when it runs.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::Running`], [`ChildError::Restarting`],
    /// [`ChildError::StartFailed`] (the child then stays stopped), or
    /// [`ChildError::SupervisorAway`].
    pub async fn restart_child(&self, id: &str) -> Result<(), ChildError> {
        self.ask(|reply| Command::Restart(id.to_owned(), reply))
            .await
    }

    /// Forgets a stopped child.
    ///
    /// # Errors
    /// [`ChildError::NotFound`], [`ChildError::Running`], [`ChildError::Restarting`], or
    /// [`ChildError::SupervisorAway`].
    pub async fn delete_child(&self, id: &str) -> Result<(), ChildError> {
        self.ask(|reply| Command::Delete(id.to_owned(), reply))
            .await
    }

    /// The children as they are now, in start order. Reads shared figures and asks nobody,
    /// so it answers also while a child hangs.
    #[must_use]
    pub fn which_children(&self) -> Vec<ChildSnapshot> {
        self.inner.board.snapshot(Instant::now())
    }

    /// The id of the supervisor.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    pub(crate) fn board(&self) -> &Board {
        &self.inner.board
    }

    /// Whether some supervisor runs with this reference.
    pub(crate) fn claimed(&self) -> &Arc<AtomicBool> {
        &self.inner.claimed
    }

    pub(crate) fn attach(&self, commands: mpsc::Sender<Command>) {
        *lock(&self.inner.commands) = Some(commands);
    }

    pub(crate) fn detach(&self) {
        *lock(&self.inner.commands) = None;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ChildError> {
        let away = || ChildError::SupervisorAway {
            supervisor: self.inner.id.to_string(),
        };
        let commands = lock(&self.inner.commands).clone().ok_or_else(away)?;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| away())?;
        answer.await.map_err(|_| away())?
    }
}
