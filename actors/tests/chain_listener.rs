//! The chain listener on a chain and a store in memory, in paused time.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::CrashAt;
use twzrd_actors::chain_listener::{
    ChainListener, ChainListenerArgs, ChainListenerMsg, ListenerCounters,
};
use twzrd_actors::step::{Probe, Step, no_probe};
use twzrd_domain::chain::{Activity, ActivityLog, ActivityStore, Deed, LogError, Mark};
use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::identity::Name;
use twzrd_domain::settlement::EpochMode;
use twzrd_supervision::{Backoff, ChildRef, ChildSpec, Intensity, Options, SupervisorSpec, start};
use twzrd_testkit::fake::{FakeChain, Fault, MemoryStore, PausedClock};

/// In the fourth hour of time.
const NOW: UnixMs = 4 * 3_600_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);

/// A log that knows what it holds, and may be away.
#[derive(Default)]
struct MemoryLog {
    lines: Mutex<Vec<(Mark, String)>>,
    failing: Mutex<u32>,
}

#[async_trait]
impl ActivityLog for MemoryLog {
    async fn append(&self, all: &[Activity], _: UnixMs) -> Result<(), LogError> {
        let mut failing = self.failing.lock().unwrap();
        if *failing > 0 {
            *failing -= 1;
            return Err(LogError("no space left".to_owned()));
        }
        let mut lines = self.lines.lock().unwrap();
        let last = lines.last().map(|(mark, _)| mark.clone());
        let known = all.iter().position(|it| Some(&it.mark) == last.as_ref());
        for activity in &all[known.map_or(0, |at| at + 1)..] {
            for action in &activity.actions {
                lines.push((activity.mark.clone(), action.json.clone()));
            }
        }
        Ok(())
    }
}

fn claim(number: u64, index: u32) -> Deed {
    Deed::Claim {
        channel: Some(Name::parse("tea").unwrap()),
        number,
        index,
        amount: u64::MAX - u64::from(index),
        claimer: "wallet".into(),
    }
}

struct World {
    store: MemoryStore,
    chain: FakeChain,
    log: Arc<MemoryLog>,
    counters: Arc<ListenerCounters>,
}

impl World {
    fn new() -> Self {
        Self {
            store: MemoryStore::default(),
            chain: FakeChain::default(),
            log: Arc::default(),
            counters: Arc::default(),
        }
    }

    /// Runs the listener while these claims are made, a few in each slot, until it has all of them.
    async fn follow(&self, claims: u32, probe: Arc<dyn Probe>) {
        self.follow_every(claims, probe, Duration::from_secs(1))
            .await;
    }

    async fn follow_every(&self, claims: u32, probe: Arc<dyn Probe>, poll: Duration) {
        let args = ChainListenerArgs {
            chain: Some(Arc::new(self.chain.clone())),
            store: Arc::new(self.store.clone()),
            log: Arc::clone(&self.log) as _,
            clock: Arc::new(PausedClock::at(NOW)),
            mode: EpochMode::Index,
            length: EpochLength::HOUR,
            poll,
            counters: Arc::clone(&self.counters),
            probe,
        };
        let listener = ChildRef::new("chain_listener");
        let child = ChildSpec::worker("chain_listener", &listener, move || {
            (ChainListener, args.clone())
        });
        let child = child.backoff(Backoff {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(100),
            jitter: 0.0,
            ..Backoff::default()
        });
        let spec = SupervisorSpec::new("root").intensity(Intensity {
            restarts: 1_000_000,
            period: Duration::from_secs(1),
        });
        let tree = start(spec.child(child), Options::default()).await.unwrap();
        for index in 0..claims {
            self.chain.happen(claim(2, index));
            if index % 7 == 0 {
                tokio::time::sleep(Duration::from_millis(900)).await;
            }
        }
        // All of it is finalized by then.
        tokio::time::sleep(Duration::from_secs(30)).await;
        while listener
            .call(ChainListenerMsg::CatchUp, ANSWER_WITHIN)
            .await
            .is_err()
        {
            let _ = listener.wait_running(ANSWER_WITHIN).await;
        }
        tree.stop().await;
    }

    /// The store and the log hold every claim once, in order.
    async fn assert_holds(&self, claims: u32, told: &str) {
        let rows = self.store.look_at(|state| state.settlement.claims.clone());
        let mut found: Vec<u32> = rows.values().map(|row| row.index).collect();
        found.sort_unstable();
        assert_eq!(found, (0..claims).collect::<Vec<_>>(), "{told}");
        assert!(
            rows.values().all(|row| row.epoch == Some(Epoch(7200))),
            "{told}"
        );
        let lines = self.log.lines.lock().unwrap().clone();
        let logged: Vec<_> = lines
            .iter()
            .map(|(mark, _)| mark.signature.as_str())
            .collect();
        let expected: Vec<_> = (0..claims).map(|index| format!("deed-{index}")).collect();
        assert_eq!(logged, expected, "{told}");
        let slots: Vec<u64> = lines.iter().map(|(mark, _)| mark.slot).collect();
        assert!(slots.is_sorted(), "{told}");
        let mark = self.store.followed().await.unwrap().mark.unwrap();
        assert_eq!(mark.signature, format!("deed-{}", claims - 1), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_claim_is_recorded_once_and_in_order() {
    let world = World::new();
    world.follow(500, no_probe()).await;
    world.assert_holds(500, "undisturbed").await;
    let counts = world.counters.counts();
    assert_eq!(
        (counts.transactions, counts.claims, counts.publications),
        (500, 500, 0)
    );
    world.follow(0, no_probe()).await;
    world.assert_holds(500, "by the next process").await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_loses_and_doubles_nothing() {
    for step in [
        Step::LISTENER_READ,
        Step::LISTENER_LOGGED,
        Step::LISTENER_RECORDED,
    ] {
        let world = World::new();
        let crash = CrashAt::new(step, &[1, 2, 5]);
        world.follow(200, Arc::clone(&crash) as _).await;
        assert!(
            crash.count() >= 5,
            "{step} was reached {} times",
            crash.count()
        );
        world.assert_holds(200, step.name()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_a_store_and_a_log_that_are_away_are_waited_for() {
    let world = World::new();
    world.chain.fail_next(30);
    *world.log.failing.lock().unwrap() = 10;
    world.store.fail_next(10, Fault::Transient);
    world.follow(100, no_probe()).await;
    world.assert_holds(100, "after the weather").await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_fails_now_and_then_is_followed_to_the_end() {
    let world = World::new();
    world.chain.fail_every(50);
    for index in 0..500 {
        world.chain.happen(claim(2, index));
    }
    world.follow(0, no_probe()).await;
    world.assert_holds(500, "by pieces").await;
    let counts = world.counters.counts();
    assert_eq!((counts.transactions, counts.claims), (500, 500));
    assert_eq!(counts.waits_for, None);
    assert_eq!((counts.looked, counts.known_from), (Some(NOW), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn what_it_waits_for_is_shown_until_all_is_well() {
    let world = World::new();
    world.chain.happen(claim(2, 0));
    world.chain.fail_next(u32::MAX);
    let counters = Arc::clone(&world.counters);
    let followed = world.follow(0, no_probe());
    tokio::pin!(followed);
    let away = tokio::time::timeout(Duration::from_secs(300), &mut followed).await;
    assert!(away.is_err(), "nobody is told that all is recorded");
    let waiting = counters.counts().waits_for.unwrap();
    assert_eq!(waiting.since, NOW);
    assert!(waiting.reason.contains("the test says so"), "{waiting:?}");
    assert_eq!(counters.counts().looked, None);
    world.chain.fail_next(0);
    followed.await;
    assert_eq!(counters.counts().waits_for, None);
    assert_eq!(counters.counts().looked, Some(NOW));
    world.assert_holds(1, "once it is back").await;
}

#[tokio::test(start_paused = true)]
async fn long_lines_end_a_batch_and_lose_nothing() {
    let world = World::new();
    world.chain.pad_lines(4 << 20);
    for index in 0..12 {
        world.chain.happen(claim(2, index));
    }
    let crash = CrashAt::new(Step::LISTENER_RECORDED, &[u32::MAX]);
    world.follow(0, Arc::clone(&crash) as _).await;
    world.assert_holds(12, "in batches").await;
    assert_eq!(crash.count(), 3, "five lines a batch");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_subscription_is_left_alone_for_longer_and_longer() {
    let world = World::new();
    world.chain.end_subscriptions();
    let poll = Duration::from_secs(10);
    // It follows for thirty seconds twice.
    for _ in 0..2 {
        world.follow_every(0, no_probe(), poll).await;
    }
    let subscriptions = world.chain.subscriptions();
    assert!((10..40).contains(&subscriptions), "{subscriptions}");
}

#[tokio::test(start_paused = true)]
async fn a_number_of_the_other_mode_is_of_no_epoch() {
    let world = World::new();
    // The epoch itself, where its index is expected: two hundred thousand years from now.
    world.chain.happen(claim(1_761_854_400, 0));
    world.chain.happen(claim(4, 1));
    world.chain.happen(claim(5, 2));
    world.follow(0, no_probe()).await;
    let rows = world.store.look_at(|state| state.settlement.claims.clone());
    let epochs: Vec<_> = rows.values().map(|row| row.epoch).collect();
    assert_eq!(epochs, [None, Some(Epoch(14_400)), None]);
}
