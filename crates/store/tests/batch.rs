//! Commits: exactly once, all or nothing, and what the rows come to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    HOUR, NEXT_HOUR, World, alias, an_hour, at, batch, hash, lines, name, named, presence, signal,
    sorted,
};
use sea_orm::EntityTrait;
use std::collections::BTreeMap;
use twzrd_domain::batch::{Batch, Change, Group, Groups, MinuteRow};
use twzrd_domain::epoch::{Epoch, Minute};
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::UserHash;
use twzrd_domain::ports::{
    BatchStore, Committed, Projection, ReportStore, SealStore, StoreError, SuppressionStore,
};
use twzrd_domain::signal::{SignalKind, SignalSums};
use twzrd_domain::weight::Arithmetic;
use twzrd_store::entity::{twitch_minute_stats, user_mapping, user_signals};

on_both!(
    a_fresh_store_stands_at_the_beginning,
    a_batch_that_was_committed_changes_nothing_the_second_time,
    a_batch_out_of_step_is_refused_and_leaves_nothing,
    a_batch_of_another_journal_is_refused_by_both_names,
    a_batch_that_fails_half_way_leaves_nothing,
    a_commit_that_is_dropped_leaves_nothing_or_all,
    the_earliest_sighting_stays,
    presence_counts_once_a_minute_and_the_rest_adds_up,
    chatters_of_a_minute_are_counted_again_over_all_of_its_epochs,
    the_first_name_and_the_first_alias_stay,
    the_ledger_adds_up_by_outcome,
    rows_of_a_sealed_epoch_are_refused,
    settings_wait_until_what_is_sealed_is_frozen,
    a_large_batch_is_written_whole,
    a_reopened_store_goes_on_where_it_stood,
    a_number_that_no_column_holds_is_refused_by_name,
);

async fn a_fresh_store_stands_at_the_beginning(world: World) {
    let projection = world.store.projection().await.unwrap();
    assert_eq!(projection, Projection::default());
    assert!(!world.store.is_freeze_pending().await.unwrap());
    assert_eq!(SealStore::offset(&world.store).await.unwrap(), 0);
    assert_eq!(world.store.arithmetic().await.unwrap(), None);
}

async fn a_batch_that_was_committed_changes_nothing_the_second_time(world: World) {
    let mut first = an_hour();
    (first.from, first.to) = (0, at(5));
    assert_eq!(
        world.store.commit(&first).await.unwrap(),
        Committed::Written
    );
    let signals = user_signals::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let ledger = world.store.ledger().await.unwrap();
    assert_eq!((signals.len(), ledger.counted), (6, 7));

    assert_eq!(world.store.commit(&first).await.unwrap(), Committed::Known);
    let mut earlier = first.clone();
    earlier.to = at(4);
    assert_eq!(
        world.store.commit(&earlier).await.unwrap(),
        Committed::Known
    );

    let again = user_signals::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    assert_eq!(again, signals);
    assert_eq!(world.store.ledger().await.unwrap(), ledger);
    assert_eq!(world.store.projection().await.unwrap().position, at(5));
}

async fn a_batch_out_of_step_is_refused_and_leaves_nothing(world: World) {
    let mut first = batch();
    first.to = at(5);
    world.store.commit(&first).await.unwrap();
    for from in [0, 4, 6] {
        let mut wrong = an_hour();
        (wrong.from, wrong.to) = (from, at(9));
        let error = world.store.commit(&wrong).await.unwrap_err();
        assert!(
            matches!(error, StoreError::OutOfStep { stands: 5, begins } if begins == from),
            "{error}"
        );
    }
    assert_eq!(world.number("SELECT count(*) FROM user_signals").await, 0);
    assert_eq!(BatchStore::offset(&world.store).await.unwrap(), 5);
}

async fn a_batch_of_another_journal_is_refused_by_both_names(world: World) {
    world.commit(batch()).await;
    let other = Batch {
        journal: "journal-2".into(),
        from: 1,
        to: at(2),
        ..Batch::default()
    };
    let error = world.store.commit(&other).await.unwrap_err();
    let StoreError::OtherJournal { expected, found } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (expected.as_str(), found.as_str()),
        ("journal-2", "journal-1")
    );
    let projection = world.store.projection().await.unwrap();
    assert_eq!(projection.journal.as_deref(), Some("journal-1"));
}

async fn a_batch_that_fails_half_way_leaves_nothing(world: World) {
    // The offset is the last to be written; all rows are there before it fails.
    let mut wrong = an_hour();
    wrong.to = at(1);
    wrong.to.byte = u64::MAX;
    let error = world.store.commit(&wrong).await.unwrap_err();
    assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
    for table in [
        "channel_participation",
        "user_signals",
        "ingest_ledger",
        "user_alias",
    ] {
        let rows = world.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(rows, 0, "{table}");
    }
    let projection = world.store.projection().await.unwrap();
    assert_eq!(projection, Projection::default());
    world.commit(an_hour()).await;
}

async fn a_commit_that_is_dropped_leaves_nothing_or_all(world: World) {
    // Polled ever further before it is dropped, as when an actor is killed in the middle.
    for polls in 1..40 {
        let mut next = an_hour();
        next.from = BatchStore::offset(&world.store).await.unwrap();
        next.to = at(next.from + 1);
        {
            let mut commit = world.store.commit(&next);
            for _ in 0..polls {
                let polled = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
                });
                if polled.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Waits for the connection, and so for whatever the dropped commit still had under way.
        let known = world.store.commit(&next).await.unwrap();
        assert!(matches!(known, Committed::Known | Committed::Written));
        let offset = BatchStore::offset(&world.store).await.unwrap();
        assert_eq!(offset, next.to.seq);
        let ledger = world.store.ledger().await.unwrap();
        assert_eq!(ledger.counted, 7 * offset, "after {polls} polls");
    }
}

async fn the_earliest_sighting_stays(world: World) {
    for first_seen in [7300, 7250, 7400] {
        let participants = vec![presence(HOUR, "forsen", "ada", first_seen)];
        world
            .commit(Batch {
                participants,
                ..batch()
            })
            .await;
    }
    let people = world
        .store
        .participants(HOUR, &[name("forsen")])
        .await
        .unwrap();
    assert_eq!(people[0].len(), 1);
    assert_eq!(people[0][0].first_seen, 7250);
}

async fn presence_counts_once_a_minute_and_the_rest_adds_up(world: World) {
    let participants = vec![presence(HOUR, "forsen", "ada", 7200)];
    for round in 1..=2u64 {
        let signals = SignalKind::ALL.map(|kind| signal(HOUR, "forsen", 7200, kind, "ada", round));
        let signals = signals.to_vec();
        let participants = participants.clone();
        world
            .commit(sorted(Batch {
                participants,
                signals,
                ..batch()
            }))
            .await;
    }
    let people = world
        .store
        .participants(HOUR, &[name("forsen")])
        .await
        .unwrap();
    let expected = SignalSums {
        presence: 1,
        message: 3,
        sub: 3,
        resub: 3,
        gift: 3,
        bits: 3,
        raid: 3,
    };
    assert_eq!(people[0][0].sums, Some(expected));
}

async fn chatters_of_a_minute_are_counted_again_over_all_of_its_epochs(world: World) {
    use SignalKind::{Message, Presence};
    let (early, late) = (Epoch(7200), Epoch(7230));
    let minute = |epochs: &[Epoch], messages| MinuteRow {
        minute: Minute(7200),
        channel: name("forsen"),
        epochs: epochs.to_vec(),
        messages,
        gifts: 1,
        new_subs: 2,
        bits: 3,
    };
    let mut first = batch();
    first.signals = vec![
        signal(early, "forsen", 7200, Message, "ada", 1),
        signal(early, "forsen", 7200, Message, "bob", 1),
        signal(early, "forsen", 7200, Presence, "cy", 1),
        signal(early, "forsen", 7260, Message, "dee", 1),
        signal(early, "xqc", 7200, Message, "eve", 1),
    ];
    first.minutes = vec![minute(&[early], 2)];
    world.commit(sorted(first)).await;
    let mut second = batch();
    second.signals = vec![
        signal(late, "forsen", 7200, Message, "ada", 1),
        signal(late, "forsen", 7200, Message, "fay", 1),
    ];
    second.minutes = vec![minute(&[early, late], 5)];
    let quiet = MinuteRow {
        channel: name("quiet"),
        ..minute(&[late], 0)
    };
    second.minutes.push(quiet);
    world.commit(sorted(second)).await;

    let rows = twitch_minute_stats::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let row = |channel: &str, messages, more, unique_chatters| twitch_minute_stats::Model {
        minute_ts: 7200,
        channel: channel.to_owned(),
        messages,
        gifts: more,
        new_subs: 2 * more,
        bits: 3 * more,
        unique_chatters,
    };
    assert_eq!(rows, [row("forsen", 7, 2, 3), row("quiet", 0, 1, 0)]);
}

async fn the_first_name_and_the_first_alias_stay(world: World) {
    let (names, aliases) = (vec![named("ada")], vec![alias("ada", 1)]);
    world
        .commit(Batch {
            names,
            aliases,
            ..batch()
        })
        .await;
    let mut renamed = named("ada");
    (renamed.login, renamed.first_seen) = (name("ada2"), 1);
    let (names, aliases) = (vec![renamed], vec![alias("ada", 2)]);
    world
        .commit(Batch {
            names,
            aliases,
            ..batch()
        })
        .await;

    let rows = user_mapping::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let expected = user_mapping::Model {
        user_hash: hash("ada").to_string(),
        username: "ada".to_owned(),
        first_seen: 7200,
    };
    assert_eq!(rows, [expected]);
    let by_id = UserHash::of_twitch_id(1);
    assert_eq!(world.store.aliases(hash("ada")).await.unwrap(), [by_id]);
    assert_eq!(world.store.aliases(by_id).await.unwrap(), [hash("ada")]);
    let unknown = UserHash::of_twitch_id(2);
    assert_eq!(world.store.aliases(unknown).await.unwrap(), []);
}

async fn the_ledger_adds_up_by_outcome(world: World) {
    for _ in 0..2 {
        let ledger = (1..).zip(Outcome::ALL);
        let ledger = ledger.map(|(n, outcome)| lines(Epoch(3600 * n), "forsen", outcome, 1 << n));
        let mut ledger: Vec<_> = ledger.collect();
        ledger.insert(0, lines(Epoch::NONE, "", Outcome::Invalid, 1000));
        world.commit(Batch { ledger, ..batch() }).await;
    }
    let counts = world.store.ledger().await.unwrap();
    assert_eq!(
        counts.received,
        2000 + 2 * (2 + 4 + 8 + 16 + 32 + 64 + 128 + 256)
    );
    for (n, outcome) in (1..).zip(Outcome::ALL) {
        let more = if outcome == Outcome::Invalid { 2000 } else { 0 };
        assert_eq!(counts.of(outcome), (2 << n) + more, "{}", outcome.as_str());
    }
    assert_eq!(world.number("SELECT count(*) FROM ingest_ledger").await, 9);
}

async fn rows_of_a_sealed_epoch_are_refused(world: World) {
    world.commit(an_hour()).await;
    world.seal(HOUR).await;
    let mut late = Batch {
        participants: vec![presence(HOUR, "forsen", "dee", 7300)],
        ..batch()
    };
    (late.from, late.to) = (2, at(3));
    let error = world.store.commit(&late).await.unwrap_err();
    assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
    assert!(error.to_string().contains("sealed epoch 7200"), "{error}");
    let mut next = batch();
    next.participants = vec![presence(NEXT_HOUR, "forsen", "dee", 10_900)];
    world.commit(next).await;
}

async fn settings_wait_until_what_is_sealed_is_frozen(world: World) {
    world.commit(an_hour()).await;
    world.seal(HOUR).await;
    let settings = Arithmetic {
        reward_per_weight: 7,
        ..Arithmetic::default()
    };
    let change = Change::Settings(settings.clone());
    let (seq, at_ms) = (3, 1);
    let control = twzrd_domain::batch::Control {
        seq,
        at: at_ms,
        change,
    };
    let early = Batch {
        from: 2,
        to: at(3),
        controls: vec![control.clone()],
        ..batch()
    };
    assert!(world.store.is_freeze_pending().await.unwrap());
    let error = world.store.commit(&early).await.unwrap_err();
    assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
    assert_eq!(world.store.arithmetic().await.unwrap(), None);

    let frozen = world.frozen(HOUR).await;
    world.store.freeze(&frozen).await.unwrap();
    world.store.finish_freeze(HOUR, 1).await.unwrap();
    assert!(!world.store.is_freeze_pending().await.unwrap());
    assert_eq!(
        world.store.commit(&early).await.unwrap(),
        Committed::Written
    );
    assert_eq!(world.store.arithmetic().await.unwrap(), Some(settings));
}

async fn a_large_batch_is_written_whole(world: World) {
    // Across the chunks of both databases, with a remainder of every size.
    let mut large = batch();
    let people = 21_077u64;
    for n in 0..people {
        let login = format!("user{n}");
        large
            .participants
            .push(presence(HOUR, "forsen", &login, 7200 + n % 50));
        large
            .signals
            .push(signal(HOUR, "forsen", 7200, SignalKind::Message, &login, n));
        large.names.push(named(&login));
    }
    world.commit(sorted(large)).await;
    let people_found = world
        .store
        .participants(HOUR, &[name("forsen")])
        .await
        .unwrap();
    assert_eq!(people_found[0].len() as u64, people);
    let order = |p: &twzrd_domain::seal::Participant| (p.first_seen, p.user);
    assert!(people_found[0].is_sorted_by_key(order));
    let messages = people_found[0].iter().map(|p| p.sums.unwrap().message);
    assert_eq!(messages.sum::<u64>(), people * (people - 1) / 2);
    assert!(people_found[0].iter().all(|p| p.login.is_some()));
}

async fn a_reopened_store_goes_on_where_it_stood(world: World) {
    world.control(Change::Settings(Arithmetic::default())).await;
    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    let person = common::opt_out(vec![hash("bob")], "");
    world.control(Change::Suppress(person)).await;
    let before = world.store.projection().await.unwrap();
    let expected = Projection {
        position: at(4),
        journal: Some("journal-1".into()),
        arithmetic: Some(Arithmetic::default()),
        sealed: vec![HOUR],
        suppressed: vec![hash("bob")],
    };
    assert_eq!(before, expected);
    world.store.close().await.unwrap();
    let group = Group {
        token_group: "CLS".into(),
        category: "music".into(),
    };
    let groups = Groups::new(BTreeMap::from([(name("forsen"), group)]));
    let again = world.reopen(groups).await;
    assert_eq!(again.projection().await.unwrap(), expected);
}

async fn a_number_that_no_column_holds_is_refused_by_name(world: World) {
    let wrong = Batch {
        to: at(1),
        participants: vec![presence(HOUR, "forsen", "ada", u64::MAX)],
        ..batch()
    };
    let error = world.store.commit(&wrong).await.unwrap_err();
    let StoreError::Permanent { source, .. } = error else {
        panic!("{error}");
    };
    let expected = "18446744073709551615 does not fit in channel_participation.first_seen; \
                    expected at most 9223372036854775807";
    assert_eq!(source.to_string(), expected);
}
