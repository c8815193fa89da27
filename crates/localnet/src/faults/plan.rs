//! The plan: rules, chance from a seed, and counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng};
use solana_sdk::hash::Hash;

use crate::ledger::Dropped;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is answered with an error and not passed on.
    RpcError {
        /// Its number.
        code: i64,
        /// Its text.
        message: String,
    },
    /// The call is not passed on, and nothing answers for so long; then it fails.
    Hang(Duration),
    /// The call is answered with an HTTP status, 429 or 503.
    Status(u16),
    /// The call is answered by a node that is so many blocks behind. Needs the node.
    Behind(u64),
    /// `sendTransaction` answers with the signature, and nothing is sent.
    NeverLands,
    /// `sendTransaction` is passed on, and the caller is told that it failed.
    LandsThoughFailed,
    /// `getLatestBlockhash` answers one that no chain knows.
    StaleBlockhash,
    /// One slot or height of the answer is this number instead: which one, where there are
    /// several, is chosen by the seed. An answer without any is passed on as it is.
    AbsurdNumber(u64),
    /// The chain goes on by so many empty blocks before the call is answered. Needs the node.
    SkipBlocks(u64),
    /// The last blocks are dropped before the call is answered, as many of them as are not
    /// finalized. Needs the node.
    Fork {
        /// How many blocks.
        blocks: u64,
        /// What becomes of their transactions.
        dropped: Dropped,
    },
    /// From this notification on the socket is silent, and stays open.
    SilentSocket,
    /// The notification is not delivered.
    LostNotification,
    /// The notification is delivered twice.
    DoubledNotification,
}

/// A fault without its figures, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is explained at the fault of its name")]
pub enum Kind {
    RpcError,
    Hang,
    Status,
    Behind,
    NeverLands,
    LandsThoughFailed,
    StaleBlockhash,
    AbsurdNumber,
    SkipBlocks,
    Fork,
    SilentSocket,
    LostNotification,
    DoubledNotification,
}

/// Where a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before a call, which then goes on: it changes the chain.
    Before,
    /// A call, which it answers or twists.
    Call,
    /// A notification.
    Notification,
}

impl Fault {
    /// What it is counted as.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::RpcError { .. } => Kind::RpcError,
            Self::Hang(_) => Kind::Hang,
            Self::Status(_) => Kind::Status,
            Self::Behind(_) => Kind::Behind,
            Self::NeverLands => Kind::NeverLands,
            Self::LandsThoughFailed => Kind::LandsThoughFailed,
            Self::StaleBlockhash => Kind::StaleBlockhash,
            Self::AbsurdNumber(_) => Kind::AbsurdNumber,
            Self::SkipBlocks(_) => Kind::SkipBlocks,
            Self::Fork { .. } => Kind::Fork,
            Self::SilentSocket => Kind::SilentSocket,
            Self::LostNotification => Kind::LostNotification,
            Self::DoubledNotification => Kind::DoubledNotification,
        }
    }

    const fn place(&self) -> Place {
        match self {
            Self::SkipBlocks(_) | Self::Fork { .. } => Place::Before,
            Self::SilentSocket | Self::LostNotification | Self::DoubledNotification => {
                Place::Notification
            }
            _ => Place::Call,
        }
    }

    const fn needs_node(&self) -> bool {
        matches!(
            self,
            Self::Behind(_) | Self::SkipBlocks(_) | Self::Fork { .. }
        )
    }

    /// The one method that it can strike; none for any.
    const fn only(&self) -> Option<&'static str> {
        match self {
            Self::NeverLands | Self::LandsThoughFailed => Some("sendTransaction"),
            Self::StaleBlockhash => Some("getLatestBlockhash"),
            _ => None,
        }
    }
}

/// A fault, and when it strikes.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    methods: Vec<String>,
    per_mille: u32,
    times: Option<u64>,
    after: u64,
}

impl Rule {
    /// A fault that strikes every call that it can.
    #[must_use]
    pub const fn new(fault: Fault) -> Self {
        Self {
            fault,
            methods: Vec::new(),
            per_mille: 1000,
            times: None,
            after: 0,
        }
    }

    /// Only these methods, or kinds of notifications (`logsNotification`).
    #[must_use]
    pub fn on(mut self, methods: &[&str]) -> Self {
        self.methods = methods.iter().map(|&method| method.to_owned()).collect();
        self
    }

    /// Only so many of a thousand.
    #[must_use]
    pub const fn chance(mut self, per_mille: u32) -> Self {
        self.per_mille = per_mille;
        self
    }

    /// At most so often.
    #[must_use]
    pub const fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Not the first so many that it could strike.
    #[must_use]
    pub const fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }
}

struct Armed {
    rule: Rule,
    seen: u64,
    struck: u64,
}

struct State {
    rng: ChaCha8Rng,
    rules: Vec<Armed>,
    strikes: BTreeMap<Kind, u64>,
}

/// Rules that strike by chance from a seed. Clones are handles of the same plan.
#[derive(Clone)]
pub struct FaultPlan(Arc<Mutex<State>>);

impl std::fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FaultPlan").field(&self.strikes()).finish()
    }
}

impl FaultPlan {
    /// A plan without rules.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: ChaCha8Rng::seed_from_u64(seed),
            rules: Vec::new(),
            strikes: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. Of rules that would strike the same call the first does.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(Armed {
            rule,
            seen: 0,
            struck: 0,
        });
    }

    /// Takes out every rule: from here on nothing goes wrong. Counts stay.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often a kind of fault has struck.
    #[must_use]
    pub fn struck(&self, kind: Kind) -> u64 {
        self.lock().strikes.get(&kind).copied().unwrap_or(0)
    }

    /// How often each kind of fault has struck.
    #[must_use]
    pub fn strikes(&self) -> BTreeMap<Kind, u64> {
        self.lock().strikes.clone()
    }

    /// The faults that strike a method or notification at a place: every one of [`Place::Before`],
    /// elsewhere at most one.
    pub(super) fn strike(&self, place: Place, method: &str, has_node: bool) -> Vec<Fault> {
        let mut state = self.lock();
        let State {
            rng,
            rules,
            strikes,
        } = &mut *state;
        let mut struck = Vec::new();
        for armed in rules {
            let fault = &armed.rule.fault;
            let fits = fault.place() == place
                && (has_node || !fault.needs_node())
                && fault.only().is_none_or(|only| only == method)
                && (armed.rule.methods.is_empty()
                    || armed.rule.methods.iter().any(|named| named == method));
            if !fits || armed.rule.times.is_some_and(|times| armed.struck >= times) {
                continue;
            }
            armed.seen += 1;
            if armed.seen <= armed.rule.after || rng.random_range(0..1000) >= armed.rule.per_mille {
                continue;
            }
            armed.struck += 1;
            *strikes.entry(fault.kind()).or_default() += 1;
            struck.push(fault.clone());
            if place != Place::Before {
                break;
            }
        }
        struck
    }

    /// A place among so many; there is at least one.
    pub(super) fn place(&self, places: usize) -> usize {
        self.lock().rng.random_range(0..places)
    }

    /// A blockhash that no chain knows.
    pub(super) fn unknown_hash(&self) -> Hash {
        Hash::new_from_array(self.lock().rng.random())
    }
}
