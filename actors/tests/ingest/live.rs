//! The ingest branch on stand-ins.
#![allow(unreachable_pub, reason = "shared by the tests of one file")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use twzrd_actors::board::{Board, Limits};
use twzrd_actors::channel_roster::ChannelRosterMsg;
use twzrd_actors::connection::Times;
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::gap_ledger::GapQueue;
use twzrd_actors::step::{Probe, Step, no_probe};
use twzrd_actors::tree::Ingest;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::Channel;
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{JournalFolder, ReportStore};
use twzrd_domain::roster::{Listing, Roster, RosterDiff};
use twzrd_supervision::ChildRef;
pub use twzrd_testkit::fake::FakeNetwork;
use twzrd_testkit::fake::{FakeJudge, ManualClock, MemoryJournal, MemoryStore};

use crate::common::{ANSWER_WITHIN, CrashAt, World, settings};

/// Joins in ten seconds.
pub const JOINS: usize = 20;

pub struct Live {
    pub world: World,
    pub board: Arc<Board>,
    pub network: FakeNetwork,
    pub clock: ManualClock,
    said: AtomicU64,
}

pub fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("channel_{n}")).collect()
}

fn roster(names: &[String]) -> Arc<Roster> {
    let listing = Listing {
        group: "main".into(),
        token_group: "MILO".into(),
        category: "default".into(),
    };
    let of: BTreeMap<_, _> = names
        .iter()
        .map(|name| (channel(name), listing.clone()))
        .collect();
    Arc::new(Roster::new(of))
}

/// Waits until something holds; it is looked at in steps of time that costs nothing.
pub async fn at_least<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    for _ in 0..100_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never held");
}

impl Live {
    pub async fn start(names: &[String]) -> Self {
        Self::begin(names, |_| {}, no_probe()).await
    }

    pub async fn start_crashing(
        names: &[String],
        step: Step,
        times: &[u32],
    ) -> (Self, Arc<CrashAt>) {
        let probe = CrashAt::new(step, times);
        (Self::begin(names, |_| {}, probe.clone()).await, probe)
    }

    pub async fn start_refusing(names: &[String], refused: &str, silent: &str) -> Self {
        let prepare = |network: &FakeNetwork| {
            network.refuse(&channel(refused), "suspended");
            network.ignore(&channel(silent));
        };
        Self::begin(names, prepare, no_probe()).await
    }

    async fn begin(
        names: &[String],
        prepare: impl FnOnce(&FakeNetwork),
        probe: Arc<dyn Probe>,
    ) -> Self {
        let (store, journal) = (MemoryStore::default(), MemoryJournal::new("journal"));
        let clock = ManualClock::at(7_200_000);
        let network = FakeNetwork::new(clock.clone());
        prepare(&network);
        let live = Self::on(names, (store, journal), (None, clock), network, probe).await;
        live.world.append(0, settings()).await;
        live
    }

    /// Another process on the same store and journal.
    pub async fn again(
        names: &[String],
        store: MemoryStore,
        journal: MemoryJournal,
        last_record: Option<u64>,
        now: u64,
    ) -> Self {
        let clock = ManualClock::at(now);
        let network = FakeNetwork::new(clock.clone());
        Self::on(
            names,
            (store, journal),
            (last_record, clock),
            network,
            no_probe(),
        )
        .await
    }

    async fn on(
        names: &[String],
        (store, journal): (MemoryStore, MemoryJournal),
        (last_record, clock): (Option<u64>, ManualClock),
        network: FakeNetwork,
        probe: Arc<dyn Probe>,
    ) -> Self {
        let gap_ledger = ChildRef::new("gap_ledger");
        let limits = Limits {
            channels_per_connection: 3,
            joins: JOINS,
            join_period_ms: 10_000,
            logins: 20,
            login_period_ms: 10_000,
            feed_bytes: 2_000,
            all_feeds_bytes: 100_000,
        };
        let run = journal.durable().to_string().into();
        let gaps = Arc::new(GapQueue::new(gap_ledger.clone()));
        let board = Arc::new(Board::new(Arc::new(clock.clone()), limits, run, gaps));
        board.want(roster(names));
        let ms = Duration::from_millis;
        let ingest = Ingest {
            board: Arc::clone(&board),
            gap_ledger,
            roster: ChildRef::new("channel_roster"),
            network: Arc::new(network.clone()),
            times: Times {
                reconnect_initial: ms(1_000),
                reconnect_max: ms(60_000),
                ping_after: ms(60_000),
                pong_within: ms(10_000),
                join_within: ms(15_000),
                refused_initial: ms(60_000),
                refused_max: ms(600_000),
                handover_within: ms(30_000),
            },
            judge: Arc::new(FakeJudge),
            store: Arc::new(store.clone()),
            clock: Arc::new(clock.clone()),
            length: EpochLength::HOUR,
            linger: ms(20),
            batch_lines: 25,
            last_record,
        };
        let world = World::start_with(store, journal, SealWhen::Asked, Some(ingest), probe).await;
        Self {
            world,
            board,
            network,
            clock,
            said: AtomicU64::new(0),
        }
    }

    /// Says so many lines in every channel, each with an id of its own. The answer is how many
    /// were said where somebody heard them.
    pub fn say_everywhere(&self, lines: usize) -> u64 {
        let mut heard = 0;
        for room in self.board.rooms() {
            for _ in 0..lines {
                let id = self.said.fetch_add(1, Ordering::Relaxed);
                let line = format!("user_{} id-{id}", id % 50);
                heard += u64::from(self.network.say(room.channel(), &line) > 0);
            }
        }
        heard
    }

    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        at_least(|| std::future::ready(holds(self))).await;
    }

    /// Waits until every wanted channel is heard.
    pub async fn all_heard(&self) {
        self.until(|live| {
            let wanted = live.board.wanted();
            wanted
                .iter()
                .all(|(name, _)| live.board.room(name).is_some_and(|room| room.is_heard()))
        })
        .await;
    }

    /// Waits until the ledger knows of so many lines, and no more come.
    pub async fn settled(&self, lines: u64) -> Counts {
        let ledger = self.settled_at_least(lines).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(ledger.received >= lines);
        self.world.store.ledger().await.unwrap()
    }

    pub async fn settled_at_least(&self, lines: u64) -> Counts {
        at_least(|| async {
            let ledger = self.world.store.ledger().await.unwrap();
            let feeds = self
                .board
                .rooms()
                .iter()
                .all(|room| room.feed().depth().lines == 0);
            feeds && ledger.counted + ledger.invalid >= lines
        })
        .await;
        self.world.store.ledger().await.unwrap()
    }

    pub async fn want(&self, names: &[String]) -> RosterDiff {
        loop {
            let wanted = roster(names);
            let ask = |reply| ChannelRosterMsg::Want(wanted, reply);
            match self.world.refs.roster.call(ask, ANSWER_WITHIN).await {
                Ok(diff) => return diff,
                Err(_) => {
                    let _ = self.world.refs.roster.wait_running(ANSWER_WITHIN).await;
                }
            }
        }
    }

    /// The gaps of a channel that the store knows, by begin.
    pub async fn gaps(&self, name: &str) -> Vec<(u64, u64)> {
        let name = channel(name);
        at_least(|| async { self.board.gaps().depth().0 == 0 }).await;
        self.world.settle().await;
        let state = self.world.store.state();
        let gaps = state.gaps.values().filter(|gap| gap.channel == name);
        gaps.map(|gap| (gap.from, gap.until)).collect()
    }

    pub fn restarts(&self, path: &str) -> u64 {
        let snapshot = self.world.tree.which_children();
        snapshot.find(path).map_or(u64::MAX, |child| child.restarts)
    }

    /// Each dynamic child with how often it was started again.
    pub fn lives(&self) -> BTreeSet<(String, u64)> {
        let snapshot = self.world.tree.which_children();
        let all = snapshot.all().into_iter();
        all.filter(|child| child.path.starts_with("root/ingest/co") && child.children.is_empty())
            .map(|child| (child.path.clone(), child.restarts))
            .collect()
    }
}
