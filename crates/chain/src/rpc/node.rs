//! How each node of a pool stands.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::{Endpoint, plain};

/// A node that tells a slot so far above all others is not believed, where two others agree.
pub(super) const MAX_LEAD: u64 = 10_000;

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name. No credentials.
    pub name: String,
    /// True where it is neither cooling nor behind.
    pub is_healthy: bool,
    /// For how long it is not asked; none where it is.
    pub cooling: Option<Duration>,
    /// The highest finalized slot that it told; none before the first.
    pub slot: Option<u64>,
    /// How far that is below the highest that is known.
    pub lag: Option<u64>,
    /// How many calls it failed.
    pub errors: u64,
    /// How it failed last.
    pub last_error: Option<String>,
}

/// The nodes of a pool.
pub(super) struct Nodes {
    all: Vec<Node>,
    /// The highest finalized slot that was told.
    highest: Mutex<u64>,
}

/// A node.
pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    cooling_until: Option<Instant>,
    slot: Option<u64>,
    errors: u64,
    last_error: Option<String>,
}

impl Nodes {
    pub(super) fn new(mut endpoints: Vec<Endpoint>) -> Self {
        let names: Vec<String> = endpoints.iter().map(|e| e.name.clone()).collect();
        for (at, endpoint) in endpoints.iter_mut().enumerate() {
            let same = names[..at].iter().filter(|name| **name == endpoint.name);
            let same = same.count();
            if same > 0 {
                endpoint.name = format!("{}#{}", endpoint.name, same + 1);
            }
        }
        let node = |endpoint| Node {
            endpoint,
            standing: Mutex::default(),
        };
        Self {
            all: endpoints.into_iter().map(node).collect(),
            highest: Mutex::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, node: usize) -> &Node {
        &self.all[node]
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|node| node.endpoint.name.as_str())
    }

    /// The highest finalized slot that any node told; 0 before the first.
    pub(super) fn highest(&self) -> u64 {
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node told a finalized slot in passing.
    pub(super) fn take_slot(&self, node: usize, slot: u64) {
        let mut standing = self.all[node].lock();
        standing.slot = standing.slot.max(Some(slot));
        drop(standing);
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if self.all.len() == 1 || slot <= highest.saturating_add(MAX_LEAD) {
            *highest = slot.max(*highest);
        }
    }

    /// Takes the slots of nodes that were asked at the same time. One that leads all others by
    /// more than [`MAX_LEAD`] is ill, where there are two others; which, and above what, is
    /// answered.
    pub(super) fn take_slots(&self, told: &[(usize, u64)]) -> Option<(usize, u64)> {
        let mut sorted = told.to_vec();
        sorted.sort_by_key(|(_, slot)| std::cmp::Reverse(*slot));
        let mut liar = None;
        if let [(node, slot), (_, next), _, ..] = sorted[..]
            && slot > next.saturating_add(MAX_LEAD)
        {
            liar = Some((node, next));
            sorted.remove(0);
        }
        for (node, slot) in &sorted {
            // What a node tells now counts, also where it told more before.
            self.all[*node].lock().slot = Some(*slot);
        }
        if let Some((_, slot)) = sorted.first() {
            let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
            *highest = (*highest).max(*slot);
        }
        liar
    }

    /// A node was asked for its slot and told none: what it told before says nothing now.
    pub(super) fn forget_slot(&self, node: usize) {
        self.all[node].lock().slot = None;
    }

    /// The nodes in the order in which a call asks them.
    pub(super) fn order(&self, turn: usize, allowed_lag: u64) -> Vec<usize> {
        let floor = self.highest().saturating_sub(allowed_lag);
        let now = Instant::now();
        let start = turn % self.all.len();
        let mut healthy = Vec::with_capacity(self.all.len());
        let mut behind = Vec::new();
        for node in (start..self.all.len()).chain(0..start) {
            let standing = self.all[node].lock();
            if standing.is_cooling(now) {
                continue;
            }
            match standing.slot {
                Some(slot) if slot < floor => behind.push((slot, node)),
                _ => healthy.push(node),
            }
        }
        behind.sort_by_key(|(slot, _)| std::cmp::Reverse(*slot));
        healthy.extend(behind.into_iter().map(|(_, node)| node));
        if healthy.is_empty() {
            healthy.push(self.soonest());
        }
        healthy
    }

    /// The nodes that are not cooling; where all are, the one that is ready soonest.
    pub(super) fn ready(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut ready: Vec<usize> = (0..self.all.len())
            .filter(|node| !self.all[*node].lock().is_cooling(now))
            .collect();
        if ready.is_empty() {
            ready.push(self.soonest());
        }
        ready
    }

    fn soonest(&self) -> usize {
        (0..self.all.len())
            .min_by_key(|node| self.all[*node].lock().cooling_until)
            .unwrap_or(0)
    }

    pub(super) fn status(&self, allowed_lag: u64) -> Vec<NodeStatus> {
        let (highest, now) = (self.highest(), Instant::now());
        let status = |node: &Node| {
            let standing = node.lock();
            let lag = standing.slot.map(|slot| highest.saturating_sub(slot));
            let cooling = standing
                .cooling_until
                .map(|until| until.saturating_duration_since(now))
                .filter(|left| !left.is_zero());
            NodeStatus {
                name: node.endpoint.name.clone(),
                is_healthy: cooling.is_none() && lag.is_none_or(|lag| lag <= allowed_lag),
                cooling,
                slot: standing.slot,
                lag,
                errors: standing.errors,
                last_error: standing.last_error.clone(),
            }
        };
        self.all.iter().map(status).collect()
    }
}

impl Node {
    /// It answered: what cooled it is over.
    pub(super) fn answered(&self) {
        self.lock().cooling_until = None;
    }

    /// It could not answer a call, and is not ill for that.
    pub(super) fn passed(&self, error: &str) {
        let mut standing = self.lock();
        standing.errors += 1;
        standing.last_error = Some(plain(error));
    }

    /// It is ill, and cools down.
    pub(super) fn failed(&self, error: &str, cool_down: Duration) {
        self.passed(error);
        let mut standing = self.lock();
        if !standing.is_cooling(Instant::now()) {
            tracing::warn!(node = %self.endpoint.name, error = %plain(error), "node cools down");
        }
        standing.cooling_until = Instant::now().checked_add(cool_down);
    }

    /// The finalized slot that it told last.
    pub(super) fn slot(&self) -> Option<u64> {
        self.lock().slot
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn is_cooling(&self, now: Instant) -> bool {
        self.cooling_until.is_some_and(|until| now < until)
    }
}
