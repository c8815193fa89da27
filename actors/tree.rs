//! Every child of the tree, on one screen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twzrd_domain::chat::{ChatNetwork, LineJudge};
use twzrd_domain::epoch::{EpochLength, UnixMs};
use twzrd_domain::identity::Login;
use twzrd_domain::ports::{
    BatchStore, Clock, IngestStore, JournalFolder, SealStore, SuppressionStore, TreeStore,
};
use twzrd_supervision::{
    Backoff, Child, ChildRef, ChildSpec, CoolDown, Intensity, Restart, Shutdown, Stall, Strategy,
    SupervisorSpec,
};

use crate::board::Board;
use crate::chain_listener::{ChainListener, ChainListenerArgs, ChainListenerMsg};
use crate::channel_roster::{ChannelRoster, ChannelRosterArgs, ChannelRosterMsg, Declare};
use crate::collector::Collecting;
use crate::connection::{ConnectionArgs, Times};
use crate::epoch_sealer::{EpochSealer, EpochSealerArgs, EpochSealerMsg, SealWhen};
use crate::gap_ledger::{GapLedger, GapLedgerArgs, GapLedgerMsg};
use crate::intake::Gate;
use crate::journal::{Journal, JournalArgs, JournalMsg};
use crate::participation_batcher::{
    ParticipationBatcher, ParticipationBatcherArgs, ParticipationBatcherMsg,
};
use crate::publisher::{Publisher, PublisherArgs, PublisherMsg};
use crate::service::{Service, ServiceActor};
use crate::step::Probe;
use crate::suppression_filter::{SuppressionFilter, SuppressionFilterArgs, SuppressionFilterMsg};
use crate::tree_builder::{TreeBuilder, TreeBuilderArgs, TreeBuilderMsg};

/// The supervisors and children that a plan must declare, parents before children.
pub const SUPERVISORS: [&str; 6] = [
    "root",
    "operations",
    "settlement",
    "ingest",
    "collectors",
    "connections",
];
/// The children that a plan must declare, in the order of their start. Of `collector` and
/// `connection` there are as many as are needed.
pub const CHILDREN: [&str; 14] = [
    "gateway",
    "settings_watcher",
    "janitor",
    "journal",
    "suppression_filter",
    "participation_batcher",
    "epoch_sealer",
    "tree_builder",
    "publisher",
    "chain_listener",
    "gap_ledger",
    "collector",
    "connection",
    "channel_roster",
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
    /// Restarts within the cool-down's period after which it rests, instead of taking its
    /// siblings along; none for no cool-down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down_restarts: Option<u32>,
    /// That period, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down_period_ms: Option<u64>,
    /// How long it rests, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down_pause_ms: Option<u64>,
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
    /// How long records are gathered for the next batch once the store holds all of them.
    pub batch_linger: Duration,
    /// Whether a stop waits until the store holds what the journal holds.
    pub catch_up_on_stop: bool,
    /// The ingest branch; none where lines come from elsewhere, as in a replay.
    pub ingest: Option<Ingest>,
    /// What publishes roots and follows the chain; none where nothing does, as in a replay.
    pub chain: Option<Chain>,
    /// The operations branch: what runs beside, by the name of its child.
    pub operations: Vec<(&'static str, Arc<dyn Service>)>,
    /// Is told of every step of every actor.
    pub probe: Arc<dyn Probe>,
}

/// What publishes roots and follows the chain.
#[derive(Clone)]
pub struct Chain {
    /// What the publisher needs.
    pub publisher: PublisherArgs,
    /// What the chain listener needs.
    pub listener: ChainListenerArgs,
}

/// What the ingest branch is made of.
#[derive(Clone)]
pub struct Ingest {
    /// What must outlive its actors.
    pub board: Arc<Board>,
    /// The gap ledger, which the board's queue of gaps tells of gaps.
    pub gap_ledger: ChildRef<GapLedgerMsg>,
    /// The channel roster, which a reload tells of channels.
    pub roster: ChildRef<ChannelRosterMsg>,
    /// The network.
    pub network: Arc<dyn ChatNetwork>,
    /// How long connections wait for what.
    pub times: Times,
    /// Judges lines.
    pub judge: Arc<dyn LineJudge>,
    /// The store, as the intake sees it.
    pub store: Arc<dyn IngestStore>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The epoch length in force.
    pub length: EpochLength,
    /// How long lines are gathered before a collector takes them.
    pub linger: Duration,
    /// How many lines a collector takes at once.
    pub batch_lines: usize,
    /// When the journal's last record was accepted before this process.
    pub last_record: Option<UnixMs>,
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
    /// The publisher; away where nothing publishes.
    pub publisher: ChildRef<PublisherMsg>,
    /// The chain listener; likewise.
    pub listener: ChildRef<ChainListenerMsg>,
    /// The gap ledger; away where there is no ingest branch.
    pub gap_ledger: ChildRef<GapLedgerMsg>,
    /// The channel roster; likewise.
    pub roster: ChildRef<ChannelRosterMsg>,
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

    /// Each child that is there once, in the order of its start.
    #[must_use]
    pub fn children(&self) -> [&dyn Child; 9] {
        [
            &self.journal,
            &self.filter,
            &self.batcher,
            &self.sealer,
            &self.trees,
            &self.publisher,
            &self.listener,
            &self.gap_ledger,
            &self.roster,
        ]
    }

    /// The child of this name, if it is one that is there once.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&dyn Child> {
        self.children().into_iter().find(|child| child.id() == name)
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
        publisher: ChildRef::new("publisher"),
        listener: ChildRef::new("chain_listener"),
        gap_ledger: match &parts.ingest {
            Some(ingest) => ingest.gap_ledger.clone(),
            None => ChildRef::new("gap_ledger"),
        },
        roster: match &parts.ingest {
            Some(ingest) => ingest.roster.clone(),
            None => ChildRef::new("channel_roster"),
        },
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
        batch_records: parts.batch_records, linger: parts.batch_linger, catch_up_on_stop: parts.catch_up_on_stop, probe: probe(),
    };
    let sealer = EpochSealerArgs {
        store: Arc::clone(&parts.seals), folder: folder(), journal: refs.journal.clone(),
        trees: refs.trees.clone(), when: parts.seal_when.clone(), probe: probe(),
    };
    let trees = TreeBuilderArgs { store: Arc::clone(&parts.trees), publisher: refs.publisher.clone(), probe: probe() };

    let settlement = supervisor(plan, "settlement")?
        .child(child(plan, "journal", |id| ChildSpec::worker(id, &refs.journal, move || (Journal, journal.clone())))?)
        .child(child(plan, "suppression_filter", |id| ChildSpec::worker(id, &refs.filter, move || (SuppressionFilter, filter.clone())))?)
        .child(child(plan, "participation_batcher", |id| ChildSpec::worker(id, &refs.batcher, move || (ParticipationBatcher, batcher.clone())))?)
        .child(child(plan, "epoch_sealer", |id| ChildSpec::worker(id, &refs.sealer, move || (EpochSealer, sealer.clone())))?)
        .child(child(plan, "tree_builder", |id| ChildSpec::worker(id, &refs.trees, move || (TreeBuilder, trees.clone())))?);
    let settlement = match &parts.chain {
        Some(Chain { publisher, listener }) => {
            let (publisher, listener) = (publisher.clone(), listener.clone());
            settlement
                .child(child(plan, "publisher", |id| ChildSpec::worker(id, &refs.publisher, move || (Publisher, publisher.clone())))?)
                .child(child(plan, "chain_listener", |id| ChildSpec::worker(id, &refs.listener, move || (ChainListener, listener.clone())))?)
        }
        None => settlement,
    };
    // It outlives the ingest branch at a stop, whose end is a gap for every channel.
    let settlement = match &parts.ingest {
        Some(ingest) => {
            let gaps = GapLedgerArgs { queue: Arc::clone(ingest.board.gaps()), gate: refs.gate(None), clock: Arc::clone(&ingest.clock), probe: probe() };
            settlement.child(child(plan, "gap_ledger", |id| ChildSpec::worker(id, &ingest.gap_ledger, move || (GapLedger, gaps.clone())))?)
        }
        None => settlement,
    };

    // Operations start first and stop last: who looks at a start or a stop sees all of it.
    let mut operations = supervisor(plan, "operations")?;
    for (name, service) in &parts.operations {
        let service = Arc::clone(service);
        operations = operations.child(child(plan, name, |id| ChildSpec::worker(id, &ChildRef::new(id), move || (ServiceActor, Arc::clone(&service))))?);
    }
    let mut root = supervisor(plan, "root")?;
    if !parts.operations.is_empty() { root = root.child(ChildSpec::supervisor(operations)); }
    root = root.child(ChildSpec::supervisor(settlement));
    if let Some(ingest) = &parts.ingest { root = root.child(ChildSpec::supervisor(branch(plan, parts, ingest, &refs)?)); }
    Ok((root, refs))
}

/// The ingest branch. Its group is rest_for_one: what stands behind a child is filled by it.
#[rustfmt::skip]
fn branch(plan: &Plan, parts: &Parts, ingest: &Ingest, refs: &Refs) -> Result<SupervisorSpec, Undeclared> {
    let probe = || Arc::clone(&parts.probe);
    let board = || Arc::clone(&ingest.board);
    let collectors = supervisor(plan, "collectors")?.stop_together();
    let connections = supervisor(plan, "connections")?.stop_together();
    let collecting = Collecting {
        judge: Arc::clone(&ingest.judge), gate: refs.gate(None), store: Arc::clone(&ingest.store), length: ingest.length,
        linger: ingest.linger, batch_lines: ingest.batch_lines, counters: Arc::clone(ingest.board.counters()), probe: probe(),
    };
    let connecting = {
        let (ingest, probe) = (ingest.clone(), probe());
        move |link| ConnectionArgs { link, board: Arc::clone(&ingest.board), network: Arc::clone(&ingest.network), times: ingest.times, probe: Arc::clone(&probe) }
    };
    let roster = ChannelRosterArgs {
        board: board(), collectors: collectors.supervisor_ref(), collecting: Arc::new(collecting), declare_collector: declare(plan, "collector")?,
        connections: connections.supervisor_ref(), connecting: Arc::new(connecting), declare_connection: declare(plan, "connection")?,
        store: Arc::clone(&ingest.store), folder: Arc::clone(&parts.folder), last_record: ingest.last_record, length: ingest.length, probe: probe(),
    };
    Ok(supervisor(plan, "ingest")?
        .child(ChildSpec::supervisor(collectors))
        .child(ChildSpec::supervisor(connections))
        .child(child(plan, "channel_roster", |id| ChildSpec::worker(id, &refs.roster, move || (ChannelRoster, roster.clone())))?))
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
    let declare = declare(plan, name)?;
    Ok(declare(make(name)))
}

/// What the plan says of a child, to be put onto a spec.
fn declare(plan: &Plan, name: &'static str) -> Result<Declare, Undeclared> {
    let section = "children";
    let declared = plan.children.get(name);
    let declared = declared.ok_or(Undeclared { section, name })?.clone();
    Ok(Arc::new(move |spec| declared.put_onto(spec)))
}

impl ChildPlan {
    fn put_onto(&self, spec: ChildSpec) -> ChildSpec {
        let ms = Duration::from_millis;
        let cool_down = self.cool_down_restarts.map(|restarts| CoolDown {
            limit: Intensity {
                restarts,
                period: ms(self.cool_down_period_ms.unwrap_or(60_000)),
            },
            pause: ms(self.cool_down_pause_ms.unwrap_or(60_000)),
        });
        spec.restart(self.restart)
            .shutdown(Shutdown::Deadline(ms(self.shutdown_ms)))
            .backoff(Backoff {
                initial: ms(self.backoff_initial_ms),
                max: ms(self.backoff_max_ms),
                jitter: self.backoff_jitter,
                ..Backoff::default()
            })
            .stall(Stall {
                after: ms(self.stall_after_ms),
                kill: false,
            })
            .cool_down(cool_down)
    }
}
