//! A timer of which there is one.

use std::time::Duration;

use ractor::{ActorRef, Message, MessagingErr};
use tokio::task::JoinHandle;

/// A message that an actor sends to itself after a while. A later one takes the place of the one
/// before, so that however often an actor looks, one timer waits for it.
pub(crate) struct Later<M: Message>(Option<JoinHandle<Result<(), MessagingErr<M>>>>);

impl<M: Message> Later<M> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    pub(crate) fn send(
        &mut self,
        to: &ActorRef<M>,
        after: Duration,
        message: impl FnOnce() -> M + Send + 'static,
    ) {
        self.cancel();
        self.0 = Some(to.send_after(after, message));
    }

    fn cancel(&mut self) {
        if let Some(before) = self.0.take() {
            before.abort();
        }
    }
}

impl<M: Message> Drop for Later<M> {
    fn drop(&mut self) {
        self.cancel();
    }
}
