//! What goes wrong, and when: by count, by name of the operation, or as a hook decides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use twzrd_domain::ports::StoreError;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and trying again may help.
    Transient,
    /// Nothing happens, and trying again does not help.
    Permanent,
    /// It takes effect, but the caller is told of a transient failure: the answer was lost on the
    /// way. Whoever tries again must not do it twice.
    AnswerLost,
}

/// The source of an error that a test asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the test asked for a failure ({0:?})")]
pub struct Injected(pub Fault);

type Hook = Box<dyn FnMut(&'static str) -> Option<Fault> + Send>;

/// The next so many operations that fail.
struct Order {
    operation: Option<&'static str>,
    left: u64,
    fault: Fault,
}

#[derive(Default)]
struct Plan {
    orders: VecDeque<Order>,
    hook: Option<Hook>,
    calls: BTreeMap<&'static str, u64>,
    struck: u64,
}

/// The faults of a fake. Clones share them.
///
/// An operation is named after the method of the port, for example `"commit"`.
#[derive(Clone, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    held: Arc<Held>,
}

/// Operations that are held go on in the order in which they came.
#[derive(Default)]
struct Held {
    is_held: AtomicBool,
    released: Notify,
}

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `n` operations fail, whatever they are.
    pub fn fail_next(&self, n: u64, fault: Fault) {
        self.order(None, n, fault);
    }

    /// The next `n` calls of one operation fail.
    pub fn fail_next_of(&self, operation: &'static str, n: u64, fault: Fault) {
        self.order(Some(operation), n, fault);
    }

    fn order(&self, operation: Option<&'static str>, left: u64, fault: Fault) {
        self.plan().orders.push_back(Order {
            operation,
            left,
            fault,
        });
    }

    /// Asks `hook` at each operation, before what was ordered by count; the one before it is gone.
    ///
    /// The hook runs under the lock of the plan: it must not call this object.
    pub fn hook(&self, hook: impl FnMut(&'static str) -> Option<Fault> + Send + 'static) {
        self.plan().hook = Some(Box::new(hook));
    }

    /// Nothing fails any more, and nothing is held.
    pub fn clear(&self) {
        let mut plan = self.plan();
        plan.orders.clear();
        plan.hook = None;
        drop(plan);
        self.release();
    }

    /// From now on every operation waits, without having done anything, until [`Self::release`].
    pub fn hold(&self) {
        self.held.is_held.store(true, Ordering::SeqCst);
    }

    /// Lets what waits go on.
    pub fn release(&self) {
        self.held.is_held.store(false, Ordering::SeqCst);
        self.held.released.notify_waiters();
    }

    /// How often an operation was called, with those that failed; not those that still wait.
    #[must_use]
    pub fn calls(&self, operation: &str) -> u64 {
        self.plan().calls.get(operation).copied().unwrap_or(0)
    }

    /// How many operations failed because a test wanted it.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.plan().struck
    }

    /// Does an operation, or fails as the test says. Waits first while operations are held. `told`
    /// says what the caller is told of a failure.
    pub(crate) async fn run<T, E>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, E>> + Send,
        told: impl FnOnce(&'static str, Fault) -> E + Send,
    ) -> Result<T, E> {
        let fault = match self.before(operation).await {
            None => return work.await,
            Some(fault) => fault,
        };
        if fault == Fault::AnswerLost {
            work.await?;
        }
        Err(told(operation, fault))
    }

    async fn before(&self, operation: &'static str) -> Option<Fault> {
        loop {
            let released = self.held.released.notified();
            let mut released = std::pin::pin!(released);
            released.as_mut().enable();
            if !self.held.is_held.load(Ordering::SeqCst) {
                return self.decide(operation);
            }
            released.await;
        }
    }

    fn decide(&self, operation: &'static str) -> Option<Fault> {
        let mut plan = self.plan();
        *plan.calls.entry(operation).or_default() += 1;
        let mut fault = plan.hook.as_mut().and_then(|hook| hook(operation));
        if fault.is_none() {
            plan.orders.retain(|order| order.left > 0);
            let mine = |order: &&mut Order| order.operation.is_none_or(|name| name == operation);
            if let Some(order) = plan.orders.iter_mut().find(mine) {
                order.left -= 1;
                fault = Some(order.fault);
            }
        }
        plan.struck += u64::from(fault.is_some());
        fault
    }
}

/// A failure as a store tells it.
pub(crate) fn store_error(doing: &'static str, fault: Fault) -> StoreError {
    let source = Box::new(Injected(fault));
    match fault {
        Fault::Permanent => StoreError::Permanent { doing, source },
        Fault::Transient | Fault::AnswerLost => StoreError::Transient { doing, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_operations_fail_as_were_ordered() {
        let faults = Faults::default();
        faults.fail_next_of("commit", 1, Fault::AnswerLost);
        faults.fail_next(2, Fault::Transient);
        let mut seen = Vec::new();
        for operation in ["offset", "commit", "offset", "commit", "offset"] {
            seen.push(faults.before(operation).await);
        }
        let expected = [
            Some(Fault::Transient),
            Some(Fault::AnswerLost),
            Some(Fault::Transient),
            None,
            None,
        ];
        assert_eq!(seen, expected);
        assert_eq!(
            (
                faults.calls("offset"),
                faults.calls("commit"),
                faults.struck()
            ),
            (3, 2, 3)
        );
    }

    #[tokio::test]
    async fn a_hook_decides_by_name() {
        let faults = Faults::default();
        faults.hook(|operation| (operation == "freeze").then_some(Fault::Permanent));
        assert_eq!(faults.before("freeze").await, Some(Fault::Permanent));
        assert_eq!(faults.before("offset").await, None);
        faults.clear();
        assert_eq!(faults.before("freeze").await, None);
    }

    #[tokio::test]
    async fn what_is_held_waits_until_it_is_released() {
        let faults = Faults::default();
        faults.hold();
        let waiting = faults.before("offset");
        tokio::pin!(waiting);
        let early = tokio::select! {
            biased;
            _ = &mut waiting => true,
            () = std::future::ready(()) => false,
        };
        assert!(!early);
        assert_eq!(faults.calls("offset"), 0);
        faults.release();
        assert_eq!(waiting.await, None);
    }
}
