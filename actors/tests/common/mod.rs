//! A tree on stand-ins, and people who talk.
#![allow(unreachable_pub, reason = "shared by the test files beside it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twzrd_actors::epoch_sealer::{EpochSealerMsg, SealWhen};
use twzrd_actors::step::{Probe, Step, no_probe};
use twzrd_actors::suppression_filter::{ListChange, SuppressionFilterMsg};
use twzrd_actors::tree::{
    self, CHILDREN, ChildPlan, Ingest, Parts, Plan, Refs, SUPERVISORS, SupervisorPlan,
};
use twzrd_actors::tree_builder::TreeBuilderMsg;
use twzrd_domain::event::{Action, Event, MessageId, Outcome};
use twzrd_domain::identity::{Name, UserHash};
use twzrd_domain::record::{Append, Candidate, Intake, Progress, Record, TallyCount};
use twzrd_domain::weight::Arithmetic;
use twzrd_supervision::{Options, Restart, Strategy, Tree};
use twzrd_testkit::fake::{MemoryJournal, MemoryStore};

pub const ANSWER_WITHIN: Duration = Duration::from_secs(3600);

/// A plan under which a crash is restarted almost at once, as often as a test likes.
pub fn plan() -> Plan {
    let supervisor = SupervisorPlan {
        strategy: Strategy::OneForOne,
        intensity: 1_000_000,
        period_ms: 1000,
    };
    let child = ChildPlan {
        restart: Restart::Permanent,
        shutdown_ms: 5000,
        backoff_initial_ms: 1,
        backoff_max_ms: 100,
        backoff_jitter: 0.0,
        stall_after_ms: 60_000,
        cool_down_restarts: None,
        cool_down_period_ms: None,
        cool_down_pause_ms: None,
    };
    let named = |name: &&str| (*name).to_owned();
    let strategy = |name: &str| match name {
        "ingest" => Strategy::RestForOne,
        _ => Strategy::OneForOne,
    };
    let declared = |name: &&str| SupervisorPlan {
        strategy: strategy(name),
        ..supervisor.clone()
    };
    Plan {
        supervisors: SUPERVISORS
            .iter()
            .map(|n| (named(n), declared(n)))
            .collect(),
        children: CHILDREN
            .iter()
            .map(|n| (named(n), child.clone()))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// A tree on stand-ins.
pub struct World {
    pub store: MemoryStore,
    pub journal: MemoryJournal,
    pub tree: Tree,
    pub refs: Refs,
}

impl World {
    pub async fn start(seal_when: SealWhen, probe: Arc<dyn Probe>) -> Self {
        Self::start_on(
            MemoryStore::default(),
            MemoryJournal::new("journal"),
            seal_when,
            probe,
        )
        .await
    }

    pub async fn quiet() -> Self {
        Self::start(SealWhen::Asked, no_probe()).await
    }

    pub async fn start_on(
        store: MemoryStore,
        journal: MemoryJournal,
        seal_when: SealWhen,
        probe: Arc<dyn Probe>,
    ) -> Self {
        Self::start_with(store, journal, seal_when, None, probe).await
    }

    pub async fn start_with(
        store: MemoryStore,
        journal: MemoryJournal,
        seal_when: SealWhen,
        ingest: Option<Ingest>,
        probe: Arc<dyn Probe>,
    ) -> Self {
        let parts = Parts {
            folder: Arc::new(journal.clone()),
            batches: Arc::new(store.clone()),
            seals: Arc::new(store.clone()),
            trees: Arc::new(store.clone()),
            suppression: Arc::new(store.clone()),
            bots: Arc::new(HashSet::from([Name::parse("nightbot").unwrap()])),
            seal_when,
            batch_records: 97,
            batch_linger: Duration::ZERO,
            catch_up_on_stop: true,
            ingest,
            chain: None,
            operations: Vec::new(),
            probe,
        };
        let (spec, refs) = tree::build(&plan(), &parts).unwrap();
        let tree = twzrd_supervision::start(spec, Options::default())
            .await
            .unwrap();
        Self {
            store,
            journal,
            tree,
            refs,
        }
    }

    pub async fn accept(&self, intake: Intake) {
        self.refs.gate(None).accept(intake).await.unwrap();
    }

    pub async fn append(&self, at: u64, record: Record) {
        let append = Append::Records {
            progress: None,
            records: vec![(at, record)],
        };
        self.refs.gate(None).append(append).await.unwrap();
    }

    pub async fn opt_out(&self, login: &str, at: u64) {
        let hashes = vec![UserHash::of_login(&Name::parse(login).unwrap())];
        loop {
            let change = ListChange {
                suppress: true,
                hashes: hashes.clone(),
                reason: String::new(),
                at,
            };
            let ask = |reply| SuppressionFilterMsg::Change(change, reply);
            if let Ok(Ok(_)) = self.refs.filter.call(ask, ANSWER_WITHIN).await {
                return;
            }
            let _ = self.refs.filter.wait_running(ANSWER_WITHIN).await;
        }
    }

    /// Waits until the store has applied all that the journal holds.
    pub async fn settle(&self) {
        use twzrd_domain::ports::{BatchStore, JournalFolder};
        while BatchStore::offset(&self.store).await.unwrap() < self.journal.durable() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until everything is applied, frozen and built.
    pub async fn finish(&self, seal_open: bool) {
        let ask = |reply| EpochSealerMsg::Finish { seal_open, reply };
        while self.refs.sealer.call(ask, ANSWER_WITHIN).await.is_err() {
            let _ = self.refs.sealer.wait_running(ANSWER_WITHIN).await;
        }
        while self
            .refs
            .trees
            .call(TreeBuilderMsg::BuildAll, ANSWER_WITHIN)
            .await
            .is_err()
        {
            let _ = self.refs.trees.wait_running(ANSWER_WITHIN).await;
        }
    }
}

/// A message.
pub fn said(id: u64, login: &str, channel: &str, ts: u64) -> Candidate {
    Candidate::Event(Event {
        id: MessageId::parse(&format!("message-{id}")),
        channel: Name::parse(channel).unwrap(),
        ts,
        login: Name::parse(login).unwrap(),
        user_id: Some(1000 + login.len() as u64),
        action: Action::Message {
            bits: u32::from(id.is_multiple_of(7)) * 100,
        },
        text: None,
    })
}

/// What one append takes in; `number` is how far its source has come.
pub fn intake_of(number: u64, candidates: Vec<Candidate>) -> Intake {
    let other = TallyCount {
        epoch: twzrd_domain::epoch::Epoch::NONE,
        channel: Name::none(),
        outcome: Outcome::Other,
        lines: 1,
    };
    Intake {
        progress: Some(Progress {
            source: "feed".into(),
            upto: number,
            digest: "".into(),
        }),
        at: number,
        lines: candidates.len() as u64 + 1,
        candidates,
        tally: vec![other],
    }
}

/// The settings that the tests run under.
pub fn settings() -> Record {
    Record::Settings(Arithmetic::default())
}

/// Panics when a step is reached for the n-th time, for some n.
pub struct CrashAt {
    step: Step,
    times: Vec<u32>,
    reached: Mutex<HashMap<Step, u32>>,
}

impl CrashAt {
    pub fn new(step: Step, times: &[u32]) -> Arc<Self> {
        Arc::new(Self {
            step,
            times: times.to_vec(),
            reached: Mutex::default(),
        })
    }

    /// How often the step was reached.
    pub fn count(&self) -> u32 {
        *self
            .reached
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .get(&self.step)
            .unwrap_or(&0)
    }
}

impl Probe for CrashAt {
    fn reached(&self, step: Step) {
        let times = {
            let mut reached = self.reached.lock().unwrap_or_else(|e| e.into_inner());
            let times = reached.entry(step).or_default();
            *times += 1;
            *times
        };
        if step == self.step && self.times.contains(&times) {
            std::panic::panic_any(format!("injected at {step}"));
        }
    }
}
