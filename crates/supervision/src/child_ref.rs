//! A handle to a child that outlives its incarnations.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ractor::{ActorRef, Message, RpcReplyPort};
use tokio::sync::{Notify, oneshot, watch};

use crate::error::RefError;
use crate::vitals::{Pulse, Vitals};

/// One life of a child, from a start to the exit that ends it.
pub struct Incarnation<M> {
    actor: ActorRef<M>,
    pulse: Arc<Pulse>,
}

impl<M> Incarnation<M> {
    pub(crate) fn new(actor: ActorRef<M>, pulse: Arc<Pulse>) -> Self {
        Self { actor, pulse }
    }

    /// The first life of a child is number 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.pulse.number()
    }

    /// The actor itself. Messages sent through it are not counted into the mailbox depth.
    #[must_use]
    pub fn actor(&self) -> &ActorRef<M> {
        &self.actor
    }
}

impl<M> Clone for Incarnation<M> {
    fn clone(&self) -> Self {
        Self {
            actor: self.actor.clone(),
            pulse: Arc::clone(&self.pulse),
        }
    }
}

impl<M> fmt::Debug for Incarnation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incarnation")
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}

struct Inner<M> {
    id: Arc<str>,
    current: watch::Sender<Option<Incarnation<M>>>,
    /// Told at each start.
    started: Notify,
    vitals: Arc<Vitals>,
    claimed: Arc<AtomicBool>,
}

/// A handle to a child, made before the tree starts and filled at each (re)start.
///
/// Cheap to clone; siblings hold it instead of an `ActorRef`, which would die with the
/// incarnation. It belongs to one [`crate::ChildSpec`] in one running tree.
///
/// A message that was accepted may still be lost: ractor's mailbox dies with the actor.
pub struct ChildRef<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for ChildRef<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M> fmt::Debug for ChildRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildRef")
            .field("id", &self.inner.id)
            .field("current", &*self.inner.current.borrow())
            .finish_non_exhaustive()
    }
}

impl<M: Message> ChildRef<M> {
    /// A handle that is away until a child is started with it. `id` names it in errors.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                id: id.into(),
                current: watch::Sender::new(None),
                started: Notify::new(),
                vitals: Arc::new(Vitals::new()),
                claimed: Arc::default(),
            }),
        }
    }

    /// The id that names the child in errors.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Sends a message without waiting for anything.
    ///
    /// # Errors
    /// [`RefError::Away`] if the child is not running now; the message is dropped.
    pub fn cast(&self, message: M) -> Result<(), RefError> {
        let current = self.inner.current.borrow().clone();
        let incarnation = current.ok_or_else(|| self.away())?;
        // Counted before it is sent, so that it cannot be counted out first.
        incarnation.pulse.count_sent();
        incarnation.actor.send_message(message).map_err(|_| {
            incarnation.pulse.count_not_sent();
            self.away()
        })
    }

    /// Sends a request and waits for the answer, at most `timeout`.
    ///
    /// # Errors
    /// [`RefError::Away`] if the child is not running now, [`RefError::Timeout`] if it has
    /// not answered in time, [`RefError::Dropped`] if it ended, or let go of the reply port,
    /// without an answer.
    pub async fn call<R: Send + 'static>(
        &self,
        request: impl FnOnce(RpcReplyPort<R>) -> M,
        timeout: Duration,
    ) -> Result<R, RefError> {
        let (reply, answer) = oneshot::channel();
        self.cast(request(RpcReplyPort::from((reply, timeout))))?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(RefError::Dropped {
                child: Arc::clone(&self.inner.id),
            }),
            Err(_) => Err(self.timeout()),
        }
    }

    /// Waits until the child runs, at most `timeout`.
    ///
    /// # Errors
    /// [`RefError::Timeout`] if it did not run in time.
    pub async fn wait_running(&self, timeout: Duration) -> Result<(), RefError> {
        let running = async {
            loop {
                // Whoever has waited longest goes first, which a watch channel does not promise.
                let started = self.inner.started.notified();
                let mut started = std::pin::pin!(started);
                started.as_mut().enable();
                if self.is_running() {
                    return;
                }
                started.await;
            }
        };
        let waited = tokio::time::timeout(timeout, running).await;
        waited.map_err(|_| self.timeout())
    }

    /// The incarnation now running, if any, and every change of it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Incarnation<M>>> {
        self.inner.current.subscribe()
    }

    /// The incarnation now running, if any.
    #[must_use]
    pub fn current(&self) -> Option<Incarnation<M>> {
        self.inner.current.borrow().clone()
    }

    /// Whether the child runs now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inner.current.borrow().is_some()
    }

    /// Messages sent through this handle (and its clones) that the child has not yet taken.
    ///
    /// Messages that came by the raw reference, such as the actor's own timers, are not
    /// seen; what they distort is put right when the mailbox is next empty.
    #[must_use]
    pub fn mailbox_depth(&self) -> u64 {
        self.inner
            .current
            .borrow()
            .as_ref()
            .map_or(0, |incarnation| incarnation.pulse.depth())
    }

    /// Where the bounded feed of this child publishes its depth, also from outside the actor.
    #[must_use]
    pub fn feed_gauge(&self) -> FeedGauge {
        FeedGauge {
            vitals: Arc::clone(&self.inner.vitals),
        }
    }

    pub(crate) fn vitals(&self) -> &Arc<Vitals> {
        &self.inner.vitals
    }

    pub(crate) fn claimed(&self) -> &Arc<AtomicBool> {
        &self.inner.claimed
    }

    pub(crate) fn publish(&self, incarnation: Incarnation<M>) {
        let is_newest = self.inner.current.send_if_modified(|current| {
            // An incarnation that was cut off while it started must not displace its
            // successor.
            let newest = current
                .as_ref()
                .is_none_or(|there| there.number() < incarnation.number());
            if newest {
                *current = Some(incarnation);
            }
            newest
        });
        if is_newest {
            self.inner.started.notify_waiters();
        }
    }

    /// Takes the incarnation away, unless another one has taken its place.
    pub(crate) fn retract(&self, number: u64) {
        self.inner.current.send_if_modified(|current| {
            let ours = current
                .as_ref()
                .is_some_and(|there| there.number() == number);
            if ours {
                *current = None;
            }
            ours
        });
    }

    fn away(&self) -> RefError {
        RefError::Away {
            child: Arc::clone(&self.inner.id),
        }
    }

    fn timeout(&self) -> RefError {
        RefError::Timeout {
            child: Arc::clone(&self.inner.id),
        }
    }
}

/// Where the depth and the bound of a child's own queue are published for introspection.
#[derive(Clone)]
pub struct FeedGauge {
    vitals: Arc<Vitals>,
}

impl FeedGauge {
    /// Publishes how many items wait and how many may wait at most; a bound of 0 takes the
    /// feed off the display.
    pub fn set(&self, depth: u64, bound: u64) {
        self.vitals.set_feed(depth, bound);
    }
}

impl fmt::Debug for FeedGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeedGauge")
            .field(&self.vitals.feed())
            .finish()
    }
}
