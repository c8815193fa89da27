//! What code inside a handler can say about the actor it runs in.

use std::sync::Arc;

use crate::vitals::{Pulse, Vitals};

#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) pulse: Arc<Pulse>,
}

tokio::task_local! {
    pub(crate) static CURRENT: Context;
}

/// Shows the actor as waiting for `what` until the guard is dropped.
///
/// Works in every function of a supervised actor, `pre_start` included, and in what it calls
/// and awaits; elsewhere (in another task, say) it does nothing. At most 16 waits of an actor
/// are shown at a time.
///
/// ```
/// # async fn flush() {}
/// # async fn handler() {
/// let _waiting = twzrd_supervision::waiting_for("store");
/// flush().await;
/// # }
/// ```
#[must_use = "the actor is shown as waiting until the guard is dropped"]
pub fn waiting_for(what: impl Into<Arc<str>>) -> WaitGuard {
    let shown = CURRENT
        .try_with(|context| Arc::clone(&context.pulse))
        .ok()
        .and_then(|pulse| {
            let token = pulse.add_wait(what.into())?;
            Some((pulse, token))
        });
    WaitGuard { shown }
}

/// Ends what [`waiting_for`] began.
pub struct WaitGuard {
    shown: Option<(Arc<Pulse>, u64)>,
}

impl std::fmt::Debug for WaitGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitGuard")
            .field("shown", &self.shown.is_some())
            .finish()
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        if let Some((pulse, token)) = self.shown.take() {
            pulse.remove_wait(token);
        }
    }
}

/// Publishes the depth and the bound of the actor's own queue, from inside its handlers.
///
/// From outside, [`crate::ChildRef::feed_gauge`] does the same. A bound of 0 takes the feed
/// off the display.
pub fn set_feed(depth: u64, bound: u64) {
    // Outside of a supervised actor there is nothing to publish to.
    let _ = CURRENT.try_with(|context| context.vitals.set_feed(depth, bound));
}
