//! Runs something that is no actor of its own under supervision: the gateway, the settings watcher,
//! the janitor.
//!
//! What is run works until it is asked to stop. If it ends before, or fails, or panics, the actor
//! crashes, and its supervisor starts it again. A crash loses what the service itself holds in
//! memory, and nothing else. Restart: permanent.

use std::sync::Arc;

use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Something that runs until it is asked to stop.
#[async_trait]
pub trait Service: Send + Sync {
    /// Works until `stop` is cancelled, then ends in good order.
    ///
    /// # Errors
    /// What keeps it from working.
    async fn run(&self, stop: CancellationToken) -> Result<(), ServiceError>;
}

/// Why a service cannot work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// What a service tells its actor.
pub enum ServiceMsg {
    /// It has ended; none where it panicked.
    Ended(Option<Result<(), ServiceError>>),
}

/// The actor. See the module.
pub struct ServiceActor;

/// The service at work.
pub struct State {
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Actor for ServiceActor {
    type Msg = ServiceMsg;
    type State = State;
    type Arguments = Arc<dyn Service>;

    async fn pre_start(
        &self,
        myself: ActorRef<ServiceMsg>,
        service: Arc<dyn Service>,
    ) -> Result<State, ActorProcessingErr> {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let mut last_word = LastWord {
            actor: myself,
            ended: None,
        };
        let token = stop.clone();
        task.spawn(async move {
            last_word.say(service.run(token).await);
        });
        Ok(State { stop, task })
    }

    async fn handle(
        &self,
        _: ActorRef<ServiceMsg>,
        ServiceMsg::Ended(ended): ServiceMsg,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match ended {
            Some(Ok(())) => Err("it ended without being asked to".into()),
            Some(Err(error)) => Err(error.into()),
            None => Err("it panicked".into()),
        }
    }

    async fn post_stop(
        &self,
        _: ActorRef<ServiceMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.stop.cancel();
        while state.task.join_next().await.is_some() {}
        Ok(())
    }
}

/// Tells the actor how the service ended, also where it panicked.
struct LastWord {
    actor: ActorRef<ServiceMsg>,
    ended: Option<Result<(), ServiceError>>,
}

impl LastWord {
    /// Says how it ended; without, it crashed.
    fn say(&mut self, ended: Result<(), ServiceError>) {
        self.ended = Some(ended);
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        // An actor that is gone has aborted its service.
        let _ = self.actor.cast(ServiceMsg::Ended(self.ended.take()));
    }
}
