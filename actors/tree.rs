//! Every child of the tree, on one screen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twzrd_domain::identity::Login;
use twzrd_domain::ports::{BatchStore, JournalFolder, SealStore, SuppressionStore, TreeStore};
use twzrd_supervision::{
    Backoff, ChildRef, ChildSpec, Intensity, Restart, Shutdown, Stall, Strategy, SupervisorSpec,
};

use crate::epoch_sealer::{EpochSealer, EpochSealerArgs, EpochSealerMsg, SealWhen};
use crate::intake::Gate;
use crate::journal::{Journal, JournalArgs, JournalMsg};
use crate::participation_batcher::{
    ParticipationBatcher, ParticipationBatcherArgs, ParticipationBatcherMsg,
};
use crate::step::Probe;
use crate::suppression_filter::{SuppressionFilter, SuppressionFilterArgs, SuppressionFilterMsg};
use crate::tree_builder::{TreeBuilder, TreeBuilderArgs, TreeBuilderMsg};

/// The supervisors and children that a plan must declare, parents before children.
pub const SUPERVISORS: [&str; 2] = ["root", "settlement"];
/// The children that a plan must declare, in the order of their start.
pub const CHILDREN: [&str; 5] = [
    "journal",
    "suppression_filter",
    "participation_batcher",
    "epoch_sealer",
    "tree_builder",
];

/// How the tree is supervised: what `supervision.toml` declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Each supervisor, by name.
    pub supervisors: BTreeMap<String, SupervisorPlan>,
    /// Each child, by name.
    pub children: BTreeMap<String, ChildPlan>,
}

/// How a supervisor treats its children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorPlan {
    /// What the exit of one child means for its siblings.
    pub strategy: Strategy,
    /// How many restarts it makes within the period before it gives up.
    pub intensity: u32,
    /// The period, in milliseconds.
    pub period_ms: u64,
}

/// How a child is kept running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildPlan {
    /// Whether it is started again once it has exited.
    pub restart: Restart,
    /// How long it may take to stop, in milliseconds.
    pub shutdown_ms: u64,
    /// The wait before the first restart of a row, in milliseconds.
    pub backoff_initial_ms: u64,
    /// The longest wait before a restart, in milliseconds.
    pub backoff_max_ms: u64,
    /// The part of a wait, from 0 to 1, that chance may take off it.
    pub backoff_jitter: f64,
    /// How long a handler may run before the child is shown as stalled, in milliseconds.
    pub stall_after_ms: u64,
}

/// What the tree is made of, besides the plan.
#[derive(Clone)]
pub struct Parts {
    /// The folder of the journal.
    pub folder: Arc<dyn JournalFolder>,
    /// The store, as each actor sees it.
    pub batches: Arc<dyn BatchStore>,
    /// The store, as the sealer sees it.
    pub seals: Arc<dyn SealStore>,
    /// The store, as the tree builder sees it.
    pub trees: Arc<dyn TreeStore>,
    /// The store, as the filter sees it.
    pub suppression: Arc<dyn SuppressionStore>,
    /// The listed bots.
    pub bots: Arc<HashSet<Login>>,
    /// When epochs are sealed.
    pub seal_when: SealWhen,
    /// How many records a batch takes in at most.
    pub batch_records: usize,
    /// Is told of every step of every actor.
    pub probe: Arc<dyn Probe>,
}

/// The children, as their siblings and the process reach them.
#[derive(Clone)]
pub struct Refs {
    /// The journal.
    pub journal: ChildRef<JournalMsg>,
    /// The suppression filter.
    pub filter: ChildRef<SuppressionFilterMsg>,
    /// The participation batcher.
    pub batcher: ChildRef<ParticipationBatcherMsg>,
    /// The epoch sealer.
    pub sealer: ChildRef<EpochSealerMsg>,
    /// The tree builder.
    pub trees: ChildRef<TreeBuilderMsg>,
}

impl Refs {
    /// The gate in front of the journal.
    #[must_use]
    pub fn gate(&self, patience: Option<Duration>) -> Gate {
        Gate {
            filter: self.filter.clone(),
            journal: self.journal.clone(),
            patience,
        }
    }
}

/// The plan lacks a supervisor or a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("supervision.toml declares no [{section}.{name}]")]
pub struct Undeclared {
    /// `supervisors` or `children`.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// Every child of the tree. The order is that of the start; the stop is in reverse.
///
/// # Errors
/// Where the plan declares no such supervisor or child.
#[rustfmt::skip]
pub fn build(plan: &Plan, parts: &Parts) -> Result<(SupervisorSpec, Refs), Undeclared> {
    let refs = Refs {
        journal: ChildRef::new("journal"),
        filter: ChildRef::new("suppression_filter"),
        batcher: ChildRef::new("participation_batcher"),
        sealer: ChildRef::new("epoch_sealer"),
        trees: ChildRef::new("tree_builder"),
    };
    let probe = || Arc::clone(&parts.probe);
    let folder = || Arc::clone(&parts.folder);

    let journal = JournalArgs { folder: folder(), probe: probe() };
    let filter = SuppressionFilterArgs {
        store: Arc::clone(&parts.suppression), offsets: Arc::clone(&parts.batches), folder: folder(),
        journal: refs.journal.clone(), bots: Arc::clone(&parts.bots), probe: probe(),
    };
    let batcher = ParticipationBatcherArgs {
        folder: folder(), store: Arc::clone(&parts.batches), sealer: refs.sealer.clone(),
        batch_records: parts.batch_records, probe: probe(),
    };
    let sealer = EpochSealerArgs {
        store: Arc::clone(&parts.seals), folder: folder(), journal: refs.journal.clone(),
        trees: refs.trees.clone(), when: parts.seal_when.clone(), probe: probe(),
    };
    let trees = TreeBuilderArgs { store: Arc::clone(&parts.trees), probe: probe() };

    let settlement = supervisor(plan, "settlement")?
        .child(child(plan, "journal", |id| ChildSpec::worker(id, &refs.journal, move || (Journal, journal.clone())))?)
        .child(child(plan, "suppression_filter", |id| ChildSpec::worker(id, &refs.filter, move || (SuppressionFilter, filter.clone())))?)
        .child(child(plan, "participation_batcher", |id| ChildSpec::worker(id, &refs.batcher, move || (ParticipationBatcher, batcher.clone())))?)
        .child(child(plan, "epoch_sealer", |id| ChildSpec::worker(id, &refs.sealer, move || (EpochSealer, sealer.clone())))?)
        .child(child(plan, "tree_builder", |id| ChildSpec::worker(id, &refs.trees, move || (TreeBuilder, trees.clone())))?);
    let root = supervisor(plan, "root")?.child(ChildSpec::supervisor(settlement));
    Ok((root, refs))
}

fn supervisor(plan: &Plan, name: &'static str) -> Result<SupervisorSpec, Undeclared> {
    let section = "supervisors";
    let declared = plan
        .supervisors
        .get(name)
        .ok_or(Undeclared { section, name })?;
    let period = Duration::from_millis(declared.period_ms);
    Ok(SupervisorSpec::new(name)
        .strategy(declared.strategy)
        .intensity(Intensity {
            restarts: declared.intensity,
            period,
        }))
}

fn child(
    plan: &Plan,
    name: &'static str,
    make: impl FnOnce(&'static str) -> ChildSpec,
) -> Result<ChildSpec, Undeclared> {
    let section = "children";
    let declared = plan
        .children
        .get(name)
        .ok_or(Undeclared { section, name })?;
    let ms = Duration::from_millis;
    Ok(make(name)
        .restart(declared.restart)
        .shutdown(Shutdown::Deadline(ms(declared.shutdown_ms)))
        .backoff(Backoff {
            initial: ms(declared.backoff_initial_ms),
            max: ms(declared.backoff_max_ms),
            jitter: declared.backoff_jitter,
            ..Backoff::default()
        })
        .stall(Stall {
            after: ms(declared.stall_after_ms),
            kill: false,
        }))
}
