//! The actor around every worker: counts, times, catches panics and reports.

use std::any::Any;
use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::FutureExt;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent};

use crate::birth::Reporter;
use crate::child_ref::{ChildRef, Incarnation};
use crate::context::{CURRENT, Context};
use crate::exit::ExitReason;
use crate::vitals::{Handler, Pulse, Vitals};

/// A worker without its types, as a child spec holds it.
pub(crate) trait Launch: Send + Sync {
    /// Starts an incarnation without waiting for it; `None` if ractor refuses to.
    fn launch(&self, pulse: Arc<Pulse>, reporter: Reporter) -> Option<ActorCell>;
    fn vitals(&self) -> &Arc<Vitals>;
    /// Whether some supervisor has this worker among its children.
    fn claimed(&self) -> &Arc<AtomicBool>;
    /// Makes messages to this incarnation fail from now on.
    fn retract(&self, incarnation: u64);
}

type Make<A> = dyn Fn() -> (A, <A as Actor>::Arguments) + Send + Sync;

pub(crate) struct WorkerBody<A: Actor> {
    child_ref: ChildRef<A::Msg>,
    make: Arc<Make<A>>,
}

impl<A: Actor> WorkerBody<A> {
    pub(crate) fn new(
        child_ref: &ChildRef<A::Msg>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        Self {
            child_ref: child_ref.clone(),
            make: Arc::new(make),
        }
    }
}

impl<A: Actor> Launch for WorkerBody<A> {
    fn launch(&self, pulse: Arc<Pulse>, reporter: Reporter) -> Option<ActorCell> {
        let actor = Instrumented {
            child_ref: self.child_ref.clone(),
            make: Arc::clone(&self.make),
            context: Context {
                vitals: Arc::clone(self.child_ref.vitals()),
                pulse,
            },
            reporter: Arc::new(reporter),
        };
        // No name: identity is the path in the tree, and several trees may share a process.
        // The join handle is let go of: the reporter tells how the task ended.
        let (actor_ref, _start) = ActorRuntime::spawn_instant(None, actor, ()).ok()?;
        Some(actor_ref.get_cell())
    }

    fn vitals(&self) -> &Arc<Vitals> {
        self.child_ref.vitals()
    }

    fn claimed(&self) -> &Arc<AtomicBool> {
        self.child_ref.claimed()
    }

    fn retract(&self, incarnation: u64) {
        self.child_ref.retract(incarnation);
    }
}

/// How a function of the wrapped actor failed.
enum Failure {
    Error(ActorProcessingErr),
    Panic(String),
}

/// The message of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        "a panic without a text".to_owned()
    }
}

impl Failure {
    fn text(&self) -> String {
        match self {
            Self::Error(error) => with_sources(error.as_ref()),
            Self::Panic(text) => text.clone(),
        }
    }

    fn exit_reason(&self) -> ExitReason {
        let text = self.text();
        match self {
            Self::Error(_) => ExitReason::Error { text },
            Self::Panic(_) => ExitReason::Panic { text },
        }
    }

    fn into_error(self) -> ActorProcessingErr {
        match self {
            Self::Error(error) => error,
            Self::Panic(text) => text.into(),
        }
    }
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat the text of their source.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

pub(crate) struct Instrumented<A: Actor> {
    child_ref: ChildRef<A::Msg>,
    make: Arc<Make<A>>,
    context: Context,
    reporter: Arc<Reporter>,
}

pub(crate) struct Wrapped<A: Actor> {
    actor: A,
    state: A::State,
    /// Fields are dropped in their order: as the last one it lets the exit be reported only
    /// when the actor and its state are gone, whoever drops them and even if that panics.
    _reporter: Arc<Reporter>,
}

impl<A: Actor> Instrumented<A> {
    /// Runs a function of the wrapped actor: timed, in its context, its panic caught.
    async fn observe<T>(
        &self,
        handler: Handler,
        work: impl Future<Output = Result<T, ActorProcessingErr>>,
    ) -> Result<T, Failure> {
        let _entered = self.context.pulse.enter(&self.context.vitals, handler);
        let work = CURRENT.scope(self.context.clone(), work);
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::Error(error)),
            Err(payload) => Err(Failure::Panic(panic_text(payload.as_ref()))),
        }
    }

    /// Notes a failure, so that ractor ends the incarnation; passes a success on.
    fn settle(&self, outcome: Result<(), Failure>) -> Result<(), ActorProcessingErr> {
        let Err(failure) = outcome else { return Ok(()) };
        self.child_ref.retract(self.context.pulse.number());
        self.reporter.note(failure.exit_reason());
        Err(failure.into_error())
    }
}

impl<A: Actor> Actor for Instrumented<A> {
    type Msg = A::Msg;
    type State = Wrapped<A>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let start = async {
            let (actor, arguments) = (self.make)();
            let state = actor.pre_start(myself.clone(), arguments).await?;
            Ok((actor, state))
        };
        match self.observe(Handler::PreStart, start).await {
            Ok((actor, state)) => {
                let pulse = Arc::clone(&self.context.pulse);
                self.child_ref.publish(Incarnation::new(myself, pulse));
                self.reporter.started();
                Ok(Wrapped {
                    actor,
                    state,
                    _reporter: Arc::clone(&self.reporter),
                })
            }
            Err(failure) => {
                self.reporter.note(ExitReason::StartFailed {
                    child: self.reporter.path().to_string(),
                    text: failure.exit_reason().to_string(),
                });
                Err(failure.into_error())
            }
        }
    }

    async fn post_start(
        &self,
        myself: ActorRef<A::Msg>,
        wrapped: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Wrapped { actor, state, .. } = wrapped;
        let work = actor.post_start(myself, state);
        let outcome = self.observe(Handler::PostStart, work).await;
        self.settle(outcome)
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        wrapped: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        self.context.pulse.count_taken();
        let Wrapped { actor, state, .. } = wrapped;
        let work = actor.handle(myself, message, state);
        let outcome = self.observe(Handler::Message, work).await;
        self.settle(outcome)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        wrapped: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Wrapped { actor, state, .. } = wrapped;
        let work = actor.handle_supervisor_evt(myself, event, state);
        let outcome = self.observe(Handler::SupervisorEvent, work).await;
        self.settle(outcome)
    }

    async fn post_stop(
        &self,
        myself: ActorRef<A::Msg>,
        wrapped: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        self.child_ref.retract(self.context.pulse.number());
        let Wrapped { actor, state, .. } = wrapped;
        let work = actor.post_stop(myself, state);
        let outcome = self.observe(Handler::PostStop, work).await;
        self.settle(outcome)?;
        self.reporter.note(ExitReason::Normal);
        Ok(())
    }
}

impl<A: Actor> Drop for Instrumented<A> {
    fn drop(&mut self) {
        // A kill passes by all of the above, and an incarnation that was cut off while its start
        // blocked a thread publishes itself when that start ends at last.
        self.child_ref.retract(self.context.pulse.number());
    }
}
