//! Roots in a store in memory, a chain in memory, and the two actors between them.
#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by the test files beside it"
)]

#[path = "../common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{CrashAt, intake_of, said, settings};
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::publisher::{
    Publisher, PublisherArgs, PublisherCounters, PublisherMsg, Publishing,
};
use twzrd_actors::step::{Probe, Step, no_probe};
use twzrd_actors::tree_builder::{TreeBuilder, TreeBuilderArgs};
use twzrd_domain::chain::{RootChain, SettlementRow, SettlementStore};
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::identity::{Channel, Name};
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{EpochMode, Policy, RootKind};
use twzrd_supervision::{
    Backoff, ChildRef, ChildSpec, Intensity, Options, SupervisorSpec, Tree, start,
};
use twzrd_testkit::fake::{FakeChain, MemoryStore, PausedClock, Settlement};

/// When the tests begin, in Unix milliseconds: after all their epochs.
pub const BEGIN: u64 = 1_000_000_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);

pub fn channel(number: usize) -> Channel {
    Name::parse(&format!("channel{number}")).unwrap()
}

pub struct World {
    pub store: MemoryStore,
    pub chain: FakeChain,
    pub clock: PausedClock,
    pub counters: Arc<PublisherCounters>,
    pub publishing: Publishing,
    /// Whether there is a chain to publish on.
    pub has_chain: bool,
    /// Whether a tree builder runs beside the publisher.
    pub builds_trees: bool,
    crash: Option<Arc<CrashAt>>,
    channels: usize,
    epochs: usize,
}

impl World {
    /// So many channels with two people each, in so many epochs, sealed and with their trees.
    pub async fn new(channels: usize, epochs: usize) -> Self {
        let world = Self::with(channels, &vec![2; epochs]).await;
        Self { channels, ..world }
    }

    /// One channel with so many people in each epoch.
    pub async fn with_counts(counts: &[usize]) -> Self {
        Self::with(1, counts).await
    }

    async fn with(channels: usize, counts: &[usize]) -> Self {
        let store = MemoryStore::default();
        let pipeline = common::World::start_on(
            store.clone(),
            twzrd_testkit::fake::MemoryJournal::new("journal"),
            SealWhen::Asked,
            no_probe(),
        )
        .await;
        pipeline.append(0, settings()).await;
        let mut id = 0;
        for (index, people) in counts.iter().enumerate() {
            let second = (index as u64 + 1) * 3600 + 60;
            for channel_number in 0..channels {
                let lines = (0..*people).map(|person| {
                    id += 1;
                    let (login, channel) = (
                        format!("person{person}"),
                        format!("channel{channel_number}"),
                    );
                    said(id, &login, &channel, second * 1000)
                });
                let lines: Vec<_> = lines.collect();
                pipeline.accept(intake_of(id, lines)).await;
            }
        }
        pipeline.settle().await;
        pipeline.finish(true).await;
        pipeline.tree.stop().await;
        let clock = PausedClock::at(BEGIN);
        clock.start();
        Self {
            store,
            chain: FakeChain::default(),
            clock,
            counters: Arc::default(),
            publishing: publishing(),
            has_chain: true,
            builds_trees: false,
            crash: None,
            channels,
            epochs: counts.len(),
        }
    }

    /// The publisher panics when it reaches a step for the n-th time.
    pub fn crash_at(&mut self, step: Step, nth: u32) {
        self.crash = Some(CrashAt::new(step, &[nth]));
    }

    /// How often the step of the crash was reached.
    pub fn crashes(&self) -> u32 {
        self.crash.as_ref().map_or(0, |crash| crash.count())
    }

    pub fn places(&self) -> Vec<(Epoch, Channel)> {
        let epochs = (0..self.epochs).map(|index| Epoch((index as u64 + 1) * 3600));
        epochs
            .flat_map(|epoch| (0..self.channels).map(move |number| (epoch, channel(number))))
            .collect()
    }

    /// The trees are not built yet.
    pub fn forget_trees(&mut self) {
        let mut state = self.store.state();
        state.trees.clear();
        state.settlement = Settlement::default();
        self.store = MemoryStore::with_state(state);
    }

    /// What stands in the publisher's way now.
    pub fn waits_for(&self) -> Option<String> {
        Some(self.counters.counts().waits_for?.reason)
    }

    pub async fn row(&self, epoch: Epoch, channel: &Channel) -> SettlementRow {
        self.store.row(epoch, channel).await.unwrap().unwrap()
    }

    async fn start(&self) -> (Tree, ChildRef<PublisherMsg>) {
        let probe: Arc<dyn Probe> = match &self.crash {
            Some(crash) => Arc::clone(crash) as _,
            None => no_probe(),
        };
        let args = PublisherArgs {
            store: Arc::new(self.store.clone()),
            chain: self
                .has_chain
                .then(|| Arc::new(self.chain.clone()) as Arc<dyn RootChain>),
            clock: Arc::new(self.clock.clone()),
            publishing: Arc::new(self.publishing.clone()),
            counters: Arc::clone(&self.counters),
            probe,
        };
        let publisher = ChildRef::new("publisher");
        let trees = TreeBuilderArgs {
            store: Arc::new(self.store.clone()),
            publisher: publisher.clone(),
            probe: no_probe(),
        };
        let child = ChildSpec::worker("publisher", &publisher, move || (Publisher, args.clone()))
            .backoff(Backoff {
                initial: Duration::from_millis(1),
                max: Duration::from_millis(100),
                jitter: 0.0,
                ..Backoff::default()
            });
        let spec = SupervisorSpec::new("root").intensity(Intensity {
            restarts: 1_000_000,
            period: Duration::from_secs(1),
        });
        let mut spec = spec.child(child);
        if self.builds_trees {
            let builder = ChildRef::new("tree_builder");
            let trees = move || (TreeBuilder, trees.clone());
            spec = spec.child(ChildSpec::worker("tree_builder", &builder, trees));
        }
        let tree = start(spec, Options::default()).await.unwrap();
        (tree, publisher)
    }

    /// Runs the publisher for so long.
    pub async fn run_for(&self, time: Duration) {
        let (tree, _) = self.start().await;
        tokio::time::sleep(time).await;
        tree.stop().await;
    }

    /// Runs the publisher until every root is settled.
    pub async fn run_until_settled(&self) {
        let (tree, publisher) = self.start().await;
        for _ in 0..200 {
            if publisher
                .call(PublisherMsg::SettleAll, ANSWER_WITHIN)
                .await
                .is_err()
            {
                let _ = publisher.wait_running(ANSWER_WITHIN).await;
                continue;
            }
            if self.unsettled().await.is_empty() {
                tree.stop().await;
                return;
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        panic!("not settled: {:?}", self.unsettled().await);
    }

    async fn unsettled(&self) -> Vec<SettlementRow> {
        let rows = self.store.rows(None, None, 1000).await.unwrap();
        rows.into_iter()
            .filter(|row| !row.publication.is_published())
            .collect()
    }

    /// Every root is on chain once, in the order of its channel, and its log has one confirmed row.
    pub async fn assert_settled_once(&self, told: &str) {
        let published = self.chain.published();
        for (epoch, channel) in self.places() {
            let row = self.row(epoch, &channel).await;
            assert!(
                matches!(row.publication, Publication::Settled { .. }),
                "{told}: {row:?}"
            );
            let on_chain: Vec<_> = published
                .iter()
                .filter(|it| it.channel == channel && it.number == epoch.0)
                .collect();
            assert_eq!(on_chain.len(), 1, "{told}: {on_chain:?}");
            assert_eq!(on_chain[0].root, row.root, "{told}");
            let confirmed = row.log.iter().filter(|it| it.status == "confirmed").count();
            assert_eq!(confirmed, 1, "{told}: {row:?}");
        }
        assert_eq!(published.len(), self.places().len(), "{told}");
        for number in 0..self.channels {
            let of = published.iter().filter(|it| it.channel == channel(number));
            let numbers: Vec<u64> = of.map(|it| it.number).collect();
            assert!(numbers.is_sorted(), "{told}: {numbers:?}");
        }
    }
}

pub fn publishing() -> Publishing {
    Publishing {
        auto: true,
        kind: RootKind::Claim,
        mode: EpochMode::Parity,
        length: EpochLength::HOUR,
        policy: Policy {
            token_groups: Vec::new(),
            ghost_filter: true,
            live_window: None,
            anomaly: None,
        },
        per_tick: 100,
        interval: Duration::from_secs(10),
        poll: Duration::from_secs(1),
        resend: Duration::from_secs(2),
        judge_again: Duration::from_secs(3600),
        only: None,
    }
}
