//! A child whose messages do not matter.

use std::future::Future;
use std::pin::Pin;

use ractor::Message;

use crate::child_ref::{ChildRef, Incarnation};

/// Resolves to whether there was a further life, see [`Child::lives_again`].
pub type NextLife = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A child, whatever its messages are: what looks after many children, or strikes at one of them,
/// holds this instead of a [`ChildRef`].
pub trait Child: Send + Sync {
    /// The id that names the child in errors.
    fn id(&self) -> &str;

    /// The number of the life that runs now, if any; the first one is 1.
    fn life(&self) -> Option<u64>;

    /// Kills the life that runs now, if any, and gives its number. The actor is not asked and cleans
    /// nothing up: for its supervisor that is a crash.
    fn kill(&self) -> Option<u64>;

    /// Resolves to true once a life runs that began after the one of this number, and to false once
    /// nobody is left who could begin one.
    fn lives_again(&self, after: u64) -> NextLife;
}

impl<M: Message> Child for ChildRef<M> {
    fn id(&self) -> &str {
        ChildRef::id(self)
    }

    fn life(&self) -> Option<u64> {
        self.current().as_ref().map(Incarnation::number)
    }

    fn kill(&self) -> Option<u64> {
        let life = self.current()?;
        life.actor().kill();
        Some(life.number())
    }

    fn lives_again(&self, after: u64) -> NextLife {
        let mut lives = self.subscribe();
        Box::pin(async move {
            let next =
                |life: &Option<Incarnation<M>>| life.as_ref().is_some_and(|it| it.number() > after);
            lives.wait_for(next).await.is_ok()
        })
    }
}
