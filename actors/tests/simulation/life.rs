//! One process: the tree and the runtime on which it lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::prelude::*;
use rand::rngs::ChaCha8Rng;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use twzrd_actors::board::{Board, Limits};
use twzrd_actors::channel_roster::ChannelRosterMsg;
use twzrd_actors::connection::Times;
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::gap_ledger::GapQueue;
use twzrd_actors::suppression_filter::{ListChange, SuppressionFilterMsg};
use twzrd_actors::tree::{Ingest, Refs};
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::{Channel, Name, UserHash};
use twzrd_domain::ports::{Clock, JournalFolder};
use twzrd_domain::record::{Append, Record};
use twzrd_domain::roster::{Listing, Roster};
use twzrd_supervision::{Child, ChildRef, Tree};
use twzrd_testkit::fake::FakeJudge;

use crate::common::{ANSWER_WITHIN, World};
use crate::lasting::Lasting;

pub(crate) const EPOCH_SECONDS: u32 = 60;
const GRACE_MS: u64 = 20_000;

/// One process.
pub(crate) struct Life {
    pub(crate) runtime: Runtime,
    pub(crate) tree: Arc<Tree>,
    pub(crate) refs: Refs,
    pub(crate) board: Arc<Board>,
    pub(crate) errands: JoinSet<()>,
    /// What the time of this runtime was when the scenario's was that.
    pub(crate) origin: (Instant, Duration),
}

impl Life {
    pub(crate) fn begin(lasting: &Lasting, at: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (tree, refs, board, origin) = runtime.block_on(async {
            lasting.clock.start();
            let ingest = ingest(lasting);
            let board = Arc::clone(&ingest.board);
            let seal_when = SealWhen::AfterGrace {
                clock: Arc::clone(&ingest.clock),
                grace_ms: GRACE_MS,
            };
            let origin = (Instant::now(), at);
            let (store, journal) = (lasting.store.clone(), lasting.journal.clone());
            let probe = Arc::clone(&lasting.saboteur);
            let world = World::start_with(store, journal, seal_when, Some(ingest), probe).await;
            (Arc::new(world.tree), world.refs, board, origin)
        });
        Self {
            runtime,
            tree,
            refs,
            board,
            errands: JoinSet::new(),
            origin,
        }
    }

    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.origin.0 + at.saturating_sub(self.origin.1)
    }

    /// The scenario's time.
    pub(crate) fn time(&self) -> Duration {
        let passed = self.runtime.block_on(async { self.origin.0.elapsed() });
        self.origin.1 + passed
    }

    fn send(&mut self, errand: impl Future<Output = ()> + Send + 'static) {
        let _inside = self.runtime.enter();
        self.errands.spawn(errand);
    }

    pub(crate) fn append(&mut self, at: u64, record: Record) {
        let gate = self.refs.gate(None);
        self.send(async move {
            let append = Append::Records {
                progress: None,
                records: vec![(at, record)],
            };
            // With all its patience it answers only once it is done, or the process ends.
            gate.append(append).await.unwrap();
        });
    }

    pub(crate) fn list(&mut self, login: &str, suppress: bool, at: u64) {
        let filter = self.refs.filter.clone();
        let hashes = vec![UserHash::of_login(&Name::parse(login).unwrap())];
        self.send(async move {
            loop {
                let change = ListChange {
                    suppress,
                    hashes: hashes.clone(),
                    reason: String::new(),
                    at,
                };
                let ask = |reply| SuppressionFilterMsg::Change(change, reply);
                if let Ok(Ok(_)) = filter.call(ask, ANSWER_WITHIN).await {
                    return;
                }
                let _ = filter.wait_running(ANSWER_WITHIN).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    pub(crate) fn want(&mut self, wanted: &BTreeSet<Channel>) {
        let (roster_ref, wanted) = (self.refs.roster.clone(), roster(wanted));
        self.send(async move {
            let ask = |reply| ChannelRosterMsg::Want(Arc::clone(&wanted), reply);
            while roster_ref.call(ask, ANSWER_WITHIN).await.is_err() {
                let _ = roster_ref.wait_running(ANSWER_WITHIN).await;
            }
        });
    }

    pub(crate) fn restart(&mut self, supervisor: &'static str) {
        let root = self.tree.root();
        self.send(async move {
            // Another one may have begun, or ended, the same restart.
            let _ = root.terminate_child(supervisor).await;
            let _ = root.restart_child(supervisor).await;
        });
    }

    pub(crate) fn kill(&self, actor: &str, random: &mut ChaCha8Rng) -> bool {
        let life = match actor {
            "collector" => {
                let rooms = self.board.rooms();
                rooms
                    .choose(random)
                    .and_then(|room| room.collector().kill())
            }
            "connection" => {
                let links = self.board.links();
                links.choose(random).and_then(|link| link.child().kill())
            }
            name => self.refs.child(name).unwrap().kill(),
        };
        life.is_some()
    }
}

fn roster(wanted: &BTreeSet<Channel>) -> Arc<Roster> {
    let listing = Listing {
        group: "main".into(),
        token_group: "MILO".into(),
        category: "default".into(),
    };
    let of = wanted.iter().map(|name| (name.clone(), listing.clone()));
    Arc::new(Roster::new(of.collect()))
}

fn ingest(lasting: &Lasting) -> Ingest {
    let gap_ledger = ChildRef::new("gap_ledger");
    let limits = Limits {
        channels_per_connection: 3,
        joins: 20,
        join_period_ms: 10_000,
        logins: 20,
        login_period_ms: 10_000,
        feed_bytes: 1_500,
        all_feeds_bytes: 6_000,
    };
    let run = lasting.journal.durable().to_string().into();
    let gaps = Arc::new(GapQueue::new(gap_ledger.clone()));
    let clock: Arc<dyn Clock> = Arc::new(lasting.clock.clone());
    let board = Arc::new(Board::new(Arc::clone(&clock), limits, run, gaps));
    let last_record = lasting
        .journal
        .look_at(|entries| entries.last().map(|entry| entry.at));
    if let Some(last) = last_record {
        board.spend_budgets(clock.now().saturating_sub(last));
    }
    board.want(roster(&lasting.wanted));
    let ms = Duration::from_millis;
    Ingest {
        board,
        gap_ledger,
        roster: ChildRef::new("channel_roster"),
        network: Arc::new(lasting.network.clone()),
        times: Times {
            reconnect_initial: ms(1_000),
            reconnect_max: ms(10_000),
            ping_after: ms(30_000),
            pong_within: ms(10_000),
            join_within: ms(15_000),
            refused_initial: ms(20_000),
            refused_max: ms(60_000),
            handover_within: ms(30_000),
        },
        judge: Arc::new(FakeJudge),
        store: Arc::new(lasting.store.clone()),
        clock,
        length: EpochLength::new(EPOCH_SECONDS).unwrap(),
        linger: ms(20),
        batch_lines: 25,
        last_record,
    }
}
