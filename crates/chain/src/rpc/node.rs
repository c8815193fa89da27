//! How each node of a pool stands.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::{Endpoint, plain};

/// A slot so far above what is known is not believed, nor one so far above all others where two
/// others agree.
pub(super) const MAX_LEAD: u64 = 10_000;

/// So many slots more are believed for each second in which nothing higher was told. A cluster
/// makes half as many.
const SLOTS_A_SECOND: u64 = 5;

/// What is known is given up where no node has stood near it for so long: it was a lie, or the
/// chain was set up anew.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(300);

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name. No credentials.
    pub name: String,
    /// True where it is neither cooling nor behind, and told its network if others were asked.
    pub is_healthy: bool,
    /// For how long it is not asked; none where it is.
    pub cooling: Option<Duration>,
    /// The highest finalized slot that it told; none before the first.
    pub slot: Option<u64>,
    /// How far that is below the highest that is known.
    pub lag: Option<u64>,
    /// How many calls it failed.
    pub errors: u64,
    /// How it failed last; of one that is only behind, how far.
    pub last_error: Option<String>,
}

/// The nodes of a pool.
pub(super) struct Nodes {
    all: Vec<Node>,
    allowed_lag: u64,
    highest: Mutex<Highest>,
}

/// The highest finalized slot that was told and believed.
#[derive(Default)]
struct Highest {
    slot: u64,
    /// When it rose; none before the first slot.
    rose: Option<Instant>,
    /// Since when nodes tell slots, and none stands near it.
    doubted: Option<Instant>,
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
    /// The hash of its genesis; none before it told one.
    genesis: Option<String>,
    errors: u64,
    last_error: Option<String>,
}

impl Nodes {
    pub(super) fn new(mut endpoints: Vec<Endpoint>, allowed_lag: u64) -> Self {
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
            allowed_lag,
            highest: Mutex::default(),
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

    /// The finalized slot below which a node is behind; 0 before any was told.
    pub(super) fn floor(&self) -> u64 {
        self.highest().slot.saturating_sub(self.allowed_lag)
    }

    fn highest(&self) -> MutexGuard<'_, Highest> {
        self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node told a finalized slot in passing. One that cannot be is as good as none: the next
    /// round asks all.
    pub(super) fn take_slot(&self, node: usize, slot: u64) {
        let mut highest = self.highest();
        let is_first = highest.rose.is_none();
        if (is_first && self.all.len() > 1) || !highest.take(slot, self.allowed_lag) {
            return;
        }
        drop(highest);
        let mut standing = self.all[node].lock();
        standing.slot = standing.slot.max(Some(slot));
    }

    /// Takes the slots of nodes that were asked at the same time, and answers which of them are
    /// not believed, and why: one that leads all others by more than [`MAX_LEAD`], where there are
    /// two others, and one that is too far above what is known.
    pub(super) fn take_slots(&self, told: &[(usize, u64)]) -> Vec<(usize, String)> {
        let mut sorted = told.to_vec();
        sorted.sort_by_key(|(_, slot)| std::cmp::Reverse(*slot));
        let mut refused = Vec::new();
        if let [(node, slot), (_, next), _, ..] = sorted[..]
            && slot > next.saturating_add(MAX_LEAD)
        {
            refused.push((
                node,
                format!(
                    "slot {slot}, more than {MAX_LEAD} above that of all others; expected one near {next}"
                ),
            ));
            sorted.remove(0);
        }
        let mut highest = self.highest();
        if let Some((_, most)) = sorted.first() {
            highest.doubt(*most, self.allowed_lag);
        }
        // The highest comes first: of two that differ, the later one is believed.
        for (node, slot) in sorted {
            let is_believed = highest.take(slot, self.allowed_lag);
            // What a node tells now counts, also where it told more before.
            self.all[node].lock().slot = is_believed.then_some(slot);
            if !is_believed {
                let most = highest.most();
                refused.push((node, format!("slot {slot}; expected at most {most}")));
            }
        }
        for (node, _) in &refused {
            self.all[*node].lock().slot = None;
        }
        refused
    }

    /// A node was asked for its slot and told none: what it told before says nothing now.
    pub(super) fn forget_slot(&self, node: usize) {
        self.all[node].lock().slot = None;
    }

    /// The nodes in the order in which a call asks them.
    pub(super) fn order(&self, turn: usize) -> Vec<usize> {
        let floor = self.floor();
        let vetted = self.is_vetted();
        let now = Instant::now();
        let start = turn % self.all.len();
        let mut healthy = Vec::with_capacity(self.all.len());
        let mut behind = Vec::new();
        for node in (start..self.all.len()).chain(0..start) {
            let standing = self.all[node].lock();
            if standing.is_cooling(now) || (vetted && standing.genesis.is_none()) {
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
        let vetted = self.is_vetted();
        let is_ready = |node: &usize| {
            let standing = self.all[*node].lock();
            !standing.is_cooling(now) && (!vetted || standing.genesis.is_some())
        };
        let mut ready: Vec<usize> = (0..self.all.len()).filter(is_ready).collect();
        if ready.is_empty() {
            ready.push(self.soonest());
        }
        ready
    }

    fn soonest(&self) -> usize {
        let vetted = self.is_vetted();
        (0..self.all.len())
            .filter(|node| !vetted || self.all[*node].lock().genesis.is_some())
            .min_by_key(|node| self.all[*node].lock().cooling_until)
            .unwrap_or(0)
    }

    /// True where the network of a node is known: from there on none is asked whose own is not.
    pub(super) fn is_vetted(&self) -> bool {
        self.all.iter().any(|node| node.lock().genesis.is_some())
    }

    /// The genesis of each node, in their order; none where it is not known.
    pub(super) fn geneses(&self) -> Vec<Option<String>> {
        let genesis = |node: &Node| node.lock().genesis.clone();
        self.all.iter().map(genesis).collect()
    }

    /// The nodes whose genesis is not known and that may be asked for it.
    pub(super) fn unknown(&self) -> Vec<usize> {
        let now = Instant::now();
        let (mut unknown, mut cooling) = (Vec::new(), Vec::new());
        for node in 0..self.all.len() {
            let standing = self.all[node].lock();
            match standing.genesis {
                Some(_) => {}
                None if standing.is_cooling(now) => cooling.push(node),
                None => unknown.push(node),
            }
        }
        // Where nothing is known, nothing else can be done.
        if unknown.is_empty() && !self.is_vetted() {
            return cooling;
        }
        unknown
    }

    pub(super) fn status(&self) -> Vec<NodeStatus> {
        let (highest, now) = (self.highest().slot, Instant::now());
        let vetted = self.is_vetted();
        let status = |node: &Node| {
            let standing = node.lock();
            let lag = standing.slot.map(|slot| highest.saturating_sub(slot));
            let cooling = standing
                .cooling_until
                .map(|until| until.saturating_duration_since(now))
                .filter(|left| !left.is_zero());
            let behind = lag.filter(|lag| *lag > self.allowed_lag);
            let is_only_behind = behind.filter(|_| cooling.is_none());
            let last_error = match is_only_behind {
                Some(lag) => Some(format!(
                    "{lag} slots below {highest}; expected at most {}",
                    self.allowed_lag
                )),
                None => standing.last_error.clone(),
            };
            NodeStatus {
                name: node.endpoint.name.clone(),
                is_healthy: cooling.is_none()
                    && behind.is_none()
                    && (!vetted || standing.genesis.is_some()),
                cooling,
                slot: standing.slot,
                lag,
                errors: standing.errors,
                last_error,
            }
        };
        self.all.iter().map(status).collect()
    }
}

impl Highest {
    /// The highest slot that is believed now.
    fn most(&self) -> u64 {
        self.rose.map_or(u64::MAX, |rose| {
            let made = rose.elapsed().as_secs().saturating_mul(SLOTS_A_SECOND);
            self.slot.saturating_add(MAX_LEAD).saturating_add(made)
        })
    }

    /// Takes a slot; answers false where it is not believed.
    fn take(&mut self, slot: u64, allowed_lag: u64) -> bool {
        if slot > self.most() {
            return false;
        }
        if slot.saturating_add(allowed_lag) >= self.slot {
            self.doubted = None;
        }
        if slot > self.slot || self.rose.is_none() {
            self.slot = slot;
            self.rose = Some(Instant::now());
        }
        true
    }

    /// Nodes told their slots, `most` the highest of them. Where none of them has stood near the
    /// highest slot for long, that is believed instead.
    fn doubt(&mut self, most: u64, allowed_lag: u64) {
        let is_near = most.saturating_add(allowed_lag) >= self.slot && most <= self.most();
        if self.rose.is_none() || is_near {
            return;
        }
        let now = Instant::now();
        if now.duration_since(*self.doubted.get_or_insert(now)) < GIVEN_UP_AFTER {
            return;
        }
        tracing::warn!(
            was = self.slot,
            is = most,
            "for long no node has told a finalized slot near the highest one: it is given up"
        );
        *self = Self {
            slot: most,
            rose: Some(now),
            doubted: None,
        };
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

    /// It told the hash of its genesis, which is the same for ever.
    pub(super) fn is_of(&self, genesis: String) {
        self.lock().genesis = Some(genesis);
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
