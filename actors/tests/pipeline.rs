//! The way of an event through all actors, on stand-ins for the ports.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with the other test files")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{CrashAt, World, intake_of, said, settings};
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::{Step, no_probe};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Name, UserHash, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::ports::{ReportStore, SuppressionStore};
use twzrd_domain::proof;
use twzrd_domain::record::{Append, Record};
use twzrd_testkit::fake::{Fault, ManualClock, MemoryJournal, MemoryStore};

const HOUR_MS: u64 = 3_600_000;

async fn run(probe: Arc<CrashAt>) -> World {
    let world = World::start(SealWhen::Asked, probe).await;
    story(&world).await;
    world
}

/// Five hours of five people in two channels, with an opt-out, a bot, duplicates and a late line.
async fn story(world: &World) {
    world.append(0, settings()).await;
    let people = ["alice", "bob", "carol", "nightbot", "dave"];
    for hour in 1..=5u64 {
        let mut candidates: Vec<_> = (0..40u64)
            .map(|n| {
                let id = hour * 1000 + n % 37;
                let login = people[(n % 5) as usize];
                let channel = if n % 3 == 0 { "forsen" } else { "pajlada" };
                said(id, login, channel, hour * HOUR_MS + n * 17_000)
            })
            .collect();
        if hour == 4 {
            candidates.push(said(9, "carol", "forsen", HOUR_MS + 1));
        }
        world.accept(intake_of(hour, candidates)).await;
        if hour == 2 {
            world.finish(true).await;
            world.opt_out("bob", hour * HOUR_MS).await;
        }
    }
    world.finish(true).await;
}

#[tokio::test(start_paused = true)]
async fn lines_become_sealed_epochs_with_roots_that_prove_presence() {
    let world = World::quiet().await;
    story(&world).await;
    let sealed = world.store.sealed_after(None, 100).await.unwrap();
    let keys: Vec<_> = sealed
        .iter()
        .map(|s| (s.epoch.0, s.channel.as_str()))
        .collect();
    let expected: Vec<_> = (1..=5u64)
        .flat_map(|h| [(h * 3600, "forsen"), (h * 3600, "pajlada")])
        .collect();
    assert_eq!(keys, expected);
    // alice, bob, carol and dave before the opt-out; bob is gone after it; nightbot never was.
    let counts: Vec<u64> = sealed.iter().map(|s| s.participants).collect();
    assert_eq!(counts, [4, 4, 4, 4, 3, 3, 3, 3, 3, 3]);
    for epoch in &sealed {
        let material = world
            .store
            .proof_material(epoch.epoch, &epoch.channel)
            .await
            .unwrap()
            .unwrap();
        let carol = Name::parse("carol").unwrap();
        proof::prove(&material, &carol).unwrap().verify().unwrap();
    }
    let ledger = world.store.ledger().await.unwrap();
    assert_eq!(ledger.received, 5 * 41 + 1);
    assert_eq!(ledger.outcomes(), ledger.received);
    assert_eq!((ledger.late, ledger.duplicate, ledger.other), (1, 15, 5));
    assert_eq!(ledger.suppressed, 5 * 8 + 3 * 8 - suppressed_duplicates());
}

/// Of the lines of nightbot (and later bob) some carry an id that was there before: places 37 to
/// 39 repeat places 0 to 2, and place 38 is nightbot's, 37 is carol's, 39 is dave's.
fn suppressed_duplicates() -> u64 {
    5
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_changes_nothing() {
    let undisturbed = World::quiet().await;
    story(&undisturbed).await;
    for step in Step::SETTLEMENT {
        let probe = CrashAt::new(step, &[1, 2, 4]);
        let world = run(Arc::clone(&probe)).await;
        assert!(
            probe.count() >= 2,
            "{step} was reached {} times",
            probe.count()
        );
        assert!(
            world.store.state().comparable() == undisturbed.store.state().comparable(),
            "a crash at {step} changed the store"
        );
        world.tree.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_again_and_again_changes_nothing() {
    let undisturbed = World::quiet().await;
    story(&undisturbed).await;
    let store = MemoryStore::default();
    // Three operations of ten fail, in an order that a fixed seed gives.
    let mut random = 0x2545_f491_4f6c_dd1du64;
    store.faults().hook(move |_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % 10 < 3).then_some(Fault::Transient)
    });
    let journal = MemoryJournal::new("journal");
    let world = World::start_on(store, journal, SealWhen::Asked, no_probe()).await;
    let told = tokio::time::timeout(Duration::from_secs(36_000), story(&world));
    told.await.expect("weather never stops the work");
    world.store.faults().clear();
    assert!(world.store.state().comparable() == undisturbed.store.state().comparable());
    let settlement = &world.tree.which_children();
    assert!(
        serde_json::to_string(settlement)
            .unwrap()
            .contains("\"restarts\":0"),
        "weather is no crash"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_while_the_suppression_list_cannot_be_read() {
    let store = MemoryStore::default();
    store
        .faults()
        .hook(|operation| (operation == "suppressed").then_some(Fault::Transient));
    let journal = MemoryJournal::new("journal");
    let world = World::start_on(store, journal, SealWhen::Asked, no_probe()).await;
    let offered = world.accept(intake_of(1, vec![said(1, "alice", "forsen", HOUR_MS)]));
    let waited = tokio::time::timeout(Duration::from_secs(600), offered).await;
    assert!(waited.is_err(), "the gate waits");
    assert!(world.journal.entries().is_empty());
    world.store.faults().clear();
    world
        .accept(intake_of(1, vec![said(1, "alice", "forsen", HOUR_MS)]))
        .await;
    assert_eq!(world.journal.entries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_is_sealed_when_its_grace_is_over_and_not_before() {
    let clock = ManualClock::at(2 * HOUR_MS - 1);
    let when = SealWhen::AfterGrace {
        clock: Arc::new(clock.clone()),
        grace_ms: 300_000,
    };
    let world = World::start(when, no_probe()).await;
    world
        .accept(intake_of(1, vec![said(1, "alice", "forsen", HOUR_MS)]))
        .await;
    for now in [2 * HOUR_MS, 2 * HOUR_MS + 299_999] {
        clock.set(now);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(
            world.store.sealed_after(None, 9).await.unwrap().is_empty(),
            "at {now}"
        );
    }
    clock.set(2 * HOUR_MS + 300_000);
    tokio::time::timeout(Duration::from_secs(60), async {
        while world
            .store
            .sealed_after(None, 9)
            .await
            .unwrap()
            .first()
            .is_none_or(|s| s.claim_root.is_none())
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("sealed and built within a minute");
    let seals = world
        .journal
        .entries()
        .into_iter()
        .filter(|e| matches!(e.record, Record::Seal(_)));
    assert_eq!(
        seals.map(|e| e.at).collect::<Vec<_>>(),
        [2 * HOUR_MS + 300_000]
    );
}

// Found by the demo with chaos: at 1,500 lines a second no epoch was sealed before the lines ended.
#[tokio::test(start_paused = true)]
async fn an_epoch_is_sealed_while_lines_come_in_all_the_time() {
    let clock = ManualClock::at(2 * HOUR_MS + 600_000);
    let when = SealWhen::AfterGrace {
        clock: Arc::new(clock),
        grace_ms: 300_000,
    };
    let store = MemoryStore::default();
    let journal = MemoryJournal::new("journal");
    let world = World::start_on(store.clone(), journal.clone(), when, no_probe()).await;
    world.append(0, settings()).await;
    world
        .accept(intake_of(1, vec![said(1, "alice", "forsen", HOUR_MS)]))
        .await;
    // Each batch is tried again after a while in which more was said, so the store is always behind.
    let mut tries = 0;
    store.faults().hook(move |operation| {
        tries += u32::from(operation == "commit");
        (operation == "commit" && tries % 2 == 1).then_some(Fault::Transient)
    });
    let talk = async {
        for number in 2.. {
            let line = said(number, "bob", "forsen", 2 * HOUR_MS + number);
            world.accept(intake_of(number, vec![line])).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let sealed = async {
        while !store.look_at(|state| state.frozen_epochs.contains_key(&Epoch(3600))) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        biased;
        () = sealed => {}
        () = talk => unreachable!("they talk for ever"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("nothing was sealed in a minute"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_opt_out_right_behind_a_seal_does_not_reach_into_it() {
    let world = World::quiet().await;
    world.append(0, settings()).await;
    world
        .accept(intake_of(1, vec![said(1, "alice", "forsen", HOUR_MS)]))
        .await;
    let alice = UserHash::of_login(&Name::parse("alice").unwrap());
    // One append: the batcher meets the opt-out before the sealer can have frozen the epoch.
    let seal = Record::Seal(twzrd_domain::record::Seal { epoch: Epoch(3600) });
    let out = Record::Suppress(twzrd_domain::record::Suppress {
        hashes: vec![alice],
        reason: "asked".to_owned(),
    });
    let records = vec![(7_200_000, seal), (7_200_001, out)];
    let both = Append::Records {
        progress: None,
        records,
    };
    world.refs.gate(None).append(both).await.unwrap();
    world.finish(false).await;
    let forsen = Name::parse("forsen").unwrap();
    let material = world
        .store
        .proof_material(Epoch(3600), &forsen)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(material.participants.len(), 1);
    assert_eq!(
        material.participants[0].login, None,
        "the name is gone from the table"
    );
    let amount = material.participants[0].amount;
    let leaf = leaf::claim(Wallet::UNBOUND, 0, amount, "twitch:forsen:alice");
    assert_eq!(
        material.participants[0].claim_leaf, leaf,
        "the root holds it still"
    );
    assert_eq!(world.store.suppressed().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tree_stops_in_time() {
    let world = World::quiet().await;
    story(&world).await;
    assert_eq!(world.tree.stop().await.late, []);
}
