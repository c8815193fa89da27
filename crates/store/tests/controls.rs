//! Controls: opt-outs, wallets, settings, seals and gaps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    HOUR, NEXT_HOUR, World, an_hour, batch, hash, name, opt_out, presence, signal, sorted,
};
use sea_orm::EntityTrait;
use twzrd_domain::batch::{Batch, Change, Control};
use twzrd_domain::identity::{UserHash, Wallet};
use twzrd_domain::ports::Quarantined;
use twzrd_domain::ports::{
    IngestStore, ReportStore, SealStore, SuppressedPerson, SuppressionStore,
};
use twzrd_domain::record::{Bind, Gap};
use twzrd_domain::signal::SignalKind;
use twzrd_store::entity::{
    coverage_gap, epochs, quarantine, suppression_list, suppression_log, user_wallet_bindings,
};

on_both!(
    an_opt_out_removes_the_person_from_open_epochs_and_the_name_from_all,
    an_opt_out_by_id_finds_the_person_by_login,
    an_opt_out_in_the_batch_of_its_rows_removes_them,
    an_opt_out_of_a_stranger_is_only_noted,
    an_opt_in_takes_the_person_off_the_list_and_is_logged,
    the_best_wallet_is_the_verified_then_the_newest,
    the_first_seal_of_an_epoch_stands,
    gaps_are_kept_once_and_the_longest_of_one_begin_stays,
    a_quarantined_line_is_kept,
);

/// An open and a frozen hour with ada and bob in both, and trees over the frozen one.
async fn two_hours(world: &World) {
    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    world.build().await;
    let next = Batch {
        participants: vec![
            presence(NEXT_HOUR, "forsen", "ada", 10_900),
            presence(NEXT_HOUR, "forsen", "bob", 10_900),
            presence(NEXT_HOUR, "xqc", "ada", 10_900),
        ],
        signals: vec![
            signal(NEXT_HOUR, "forsen", 10_860, SignalKind::Presence, "ada", 1),
            signal(NEXT_HOUR, "forsen", 10_860, SignalKind::Presence, "bob", 1),
            signal(NEXT_HOUR, "xqc", 10_860, SignalKind::Message, "ada", 2),
        ],
        ..batch()
    };
    world.commit(sorted(next)).await;
}

async fn bind(world: &World, login: &str, wallet: u8, verified: bool, at: u64) {
    let bind = Bind {
        user: hash(login),
        wallet: Wallet([wallet; 32]),
        verified,
        source: format!("test-{at}"),
    };
    let controls = vec![Control {
        seq: 0,
        at,
        change: Change::Bind(bind),
    }];
    world
        .commit(Batch {
            controls,
            ..batch()
        })
        .await;
}

/// How many rows of each table carry the person, by hash or by name.
async fn traces(world: &World, login: &str) -> Vec<(&'static str, i64)> {
    let user = hash(login);
    let mut found = Vec::new();
    for (what, sql) in [
        (
            "open participations",
            format!(
                "SELECT count(*) FROM channel_participation WHERE epoch = 10800 AND user_hash = '{user}'"
            ),
        ),
        (
            "open signals",
            format!(
                "SELECT count(*) FROM user_signals WHERE epoch = 10800 AND user_hash = '{user}'"
            ),
        ),
        (
            "sealed participations",
            format!(
                "SELECT count(*) FROM channel_participation WHERE epoch = 7200 AND user_hash = '{user}'"
            ),
        ),
        (
            "sealed signals",
            format!(
                "SELECT count(*) FROM user_signals WHERE epoch = 7200 AND user_hash = '{user}'"
            ),
        ),
        (
            "names",
            format!(
                "SELECT count(*) FROM user_mapping WHERE user_hash = '{user}' OR username = '{login}'"
            ),
        ),
        (
            "aliases",
            format!("SELECT count(*) FROM user_alias WHERE user_hash = '{user}'"),
        ),
        (
            "sealed",
            format!("SELECT count(*) FROM sealed_participants WHERE user_hash = '{user}'"),
        ),
        (
            "sealed by name",
            format!("SELECT count(*) FROM sealed_participants WHERE username = '{login}'"),
        ),
        (
            "bindings",
            format!("SELECT count(*) FROM user_wallet_bindings WHERE user_hash = '{user}'"),
        ),
        (
            "bindings by name",
            format!("SELECT count(*) FROM user_wallet_bindings WHERE username = '{login}'"),
        ),
    ] {
        found.push((what, world.number(&sql).await));
    }
    found
}

async fn an_opt_out_removes_the_person_from_open_epochs_and_the_name_from_all(world: World) {
    two_hours(&world).await;
    bind(&world, "ada", 9, true, 1000).await;
    // A row of the deployed system may carry the name.
    let sql = format!(
        "UPDATE user_wallet_bindings SET username = 'ada' WHERE user_hash = '{}'",
        hash("ada")
    );
    world.run(&sql).await;
    let bobs = traces(&world, "bob").await;
    let before = world
        .store
        .proof_material(HOUR, &name("forsen"))
        .await
        .unwrap()
        .unwrap();

    world
        .control(Change::Suppress(opt_out(vec![hash("ada")], "asked")))
        .await;

    let left = [
        ("open participations", 0),
        ("open signals", 0),
        ("sealed participations", 2),
        ("sealed signals", 5),
        ("names", 0),
        ("aliases", 0),
        ("sealed", 2),
        ("sealed by name", 0),
        ("bindings", 1),
        ("bindings by name", 0),
    ];
    assert_eq!(traces(&world, "ada").await, left);
    assert_eq!(traces(&world, "bob").await, bobs);
    let mut expected = before;
    let ada = expected
        .participants
        .iter_mut()
        .find(|p| p.user == hash("ada"));
    ada.unwrap().login = None;
    let after = world
        .store
        .proof_material(HOUR, &name("forsen"))
        .await
        .unwrap();
    assert_eq!(after, Some(expected));
    let person = SuppressedPerson {
        user: hash("ada"),
        requested_at: 9000,
        reason: Some("asked".to_owned()),
    };
    assert_eq!(world.store.suppressed().await.unwrap(), [person]);
    let list = suppression_list::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    assert_eq!(
        (list[0].username.as_ref(), list[0].created_at),
        (None, 9000)
    );
    let log = suppression_log::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let entry = (
        log[0].action.as_str(),
        log[0].user_hash.clone(),
        log[0].username.as_ref(),
    );
    assert_eq!(entry, ("opted_out", hash("ada").to_string(), None));
    assert_eq!(log.len(), 1);
}

async fn an_opt_out_by_id_finds_the_person_by_login(world: World) {
    two_hours(&world).await;
    let by_id = UserHash::of_twitch_id(1);
    world
        .control(Change::Suppress(opt_out(vec![by_id], "")))
        .await;
    let left = traces(&world, "ada").await;
    assert_eq!(left[0], ("open participations", 0));
    assert_eq!(left[1], ("open signals", 0));
    assert_eq!(left[4], ("names", 0));
    assert_eq!(left[5], ("aliases", 0));
    assert_eq!(left[7], ("sealed by name", 0));
    assert_eq!(traces(&world, "bob").await[0], ("open participations", 1));
    let list = world.store.suppressed().await.unwrap();
    let list: Vec<_> = list.iter().map(|p| (p.user, p.reason.as_deref())).collect();
    assert_eq!(list, [(by_id, None)]);
}

async fn an_opt_out_in_the_batch_of_its_rows_removes_them(world: World) {
    let both = vec![hash("ada"), UserHash::of_twitch_id(1)];
    let change = Change::Suppress(opt_out(both.clone(), "now"));
    let controls = vec![Control {
        seq: 1,
        at: 1,
        change,
    }];
    world
        .commit(Batch {
            controls,
            ..an_hour()
        })
        .await;
    let people = world
        .store
        .participants(HOUR, &[name("forsen"), name("xqc")])
        .await
        .unwrap();
    let people: Vec<Vec<_>> = people
        .iter()
        .map(|c| c.iter().map(|p| p.user).collect())
        .collect();
    assert_eq!(people, [vec![hash("bob")], vec![hash("cy")]]);
    let sql = format!(
        "SELECT count(*) FROM user_signals WHERE user_hash = '{}'",
        hash("ada")
    );
    assert_eq!(world.number(&sql).await, 0);
    let mut expected = both;
    expected.sort_unstable();
    assert_eq!(world.store.suppressed().await.unwrap().len(), 2);
    let listed: Vec<_> = world.store.suppressed().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|p| p.user).collect();
    assert_eq!(listed, expected);
}

async fn an_opt_out_of_a_stranger_is_only_noted(world: World) {
    two_hours(&world).await;
    let before = (traces(&world, "ada").await, traces(&world, "bob").await);
    let change = || Change::Suppress(opt_out(vec![hash("stranger")], "first"));
    world.control(change()).await;
    let again = Change::Suppress(opt_out(vec![hash("stranger"), hash("stranger")], "again"));
    let controls = vec![Control {
        seq: 9,
        at: 99_000_000,
        change: again,
    }];
    world
        .commit(Batch {
            controls,
            ..batch()
        })
        .await;
    assert_eq!(
        (traces(&world, "ada").await, traces(&world, "bob").await),
        before
    );
    let first = SuppressedPerson {
        user: hash("stranger"),
        requested_at: 9000,
        reason: Some("first".to_owned()),
    };
    assert_eq!(world.store.suppressed().await.unwrap(), [first]);
    assert_eq!(
        world.number("SELECT count(*) FROM suppression_log").await,
        2
    );
}

async fn an_opt_in_takes_the_person_off_the_list_and_is_logged(world: World) {
    let hashes = vec![hash("ada"), UserHash::of_twitch_id(1)];
    world
        .control(Change::Suppress(opt_out(hashes.clone(), "")))
        .await;
    world.control(Change::Unsuppress(opt_out(hashes, ""))).await;
    assert_eq!(world.store.suppressed().await.unwrap(), []);
    let log = world
        .texts("SELECT action FROM suppression_log ORDER BY id")
        .await;
    let log: Vec<_> = log.iter().flatten().map(String::as_str).collect();
    assert_eq!(log, ["opted_out", "opted_out", "opted_in", "opted_in"]);
}

async fn the_best_wallet_is_the_verified_then_the_newest(world: World) {
    world.commit(an_hour()).await;
    let best = async || {
        let people = world
            .store
            .participants(HOUR, &[name("forsen")])
            .await
            .unwrap();
        let ada = people[0].iter().find(|p| p.user == hash("ada")).unwrap();
        let bob = people[0].iter().find(|p| p.user == hash("bob")).unwrap();
        assert_eq!(bob.wallet, Wallet::UNBOUND);
        ada.wallet.0[0]
    };
    assert_eq!(best().await, 0);
    bind(&world, "ada", 5, false, 10_000).await;
    assert_eq!(best().await, 5);
    bind(&world, "ada", 6, false, 20_000).await;
    assert_eq!(best().await, 6);
    bind(&world, "ada", 4, true, 1000).await;
    assert_eq!(best().await, 4);
    bind(&world, "ada", 3, true, 1000).await;
    assert_eq!(best().await, 3);
    bind(&world, "ada", 5, true, 30_000).await;
    assert_eq!(best().await, 5);

    let rows = user_wallet_bindings::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let five = rows
        .iter()
        .find(|row| row.wallet.starts_with("05"))
        .unwrap();
    let found = (
        five.verified,
        five.source.as_str(),
        five.created_at,
        five.updated_at,
    );
    assert_eq!((rows.len(), found), (4, (true, "test-30000", 10, 30)));
}

async fn the_first_seal_of_an_epoch_stands(world: World) {
    for at in [5000, 6000] {
        let change = Change::Seal(HOUR);
        let controls = vec![Control {
            seq: at / 1000,
            at,
            change,
        }];
        world
            .commit(Batch {
                controls,
                ..batch()
            })
            .await;
    }
    let rows = epochs::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let expected = epochs::Model {
        epoch: 7200,
        start_slot: None,
        end_slot: None,
        finalized_at: None,
        seal_seq: 5,
        sealed_at: 5000,
        frozen_at: None,
    };
    assert_eq!(rows, [expected]);
    assert_eq!(world.store.unfrozen().await.unwrap(), [(HOUR, 5000)]);
}

async fn gaps_are_kept_once_and_the_longest_of_one_begin_stays(world: World) {
    let gap = |seq, channel: &str, from, until| Control {
        seq,
        at: until,
        change: Change::Gap(Gap {
            channel: name(channel),
            from,
            until,
            reason: format!("reason-{seq}"),
        }),
    };
    let controls = vec![
        gap(1, "xqc", 7_200_000, 7_201_000),
        gap(2, "forsen", 7_200_000, 7_202_000),
        gap(3, "forsen", 7_200_000, 7_201_000),
        gap(4, "forsen", 7_201_000, 7_203_000),
    ];
    world
        .commit(Batch {
            controls,
            ..batch()
        })
        .await;
    let controls = vec![
        gap(5, "xqc", 7_200_000, 7_204_000),
        gap(6, "forsen", 7_200_000, 7_200_500),
    ];
    world
        .commit(Batch {
            controls,
            ..batch()
        })
        .await;
    let rows = coverage_gap::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.channel.as_str(),
                row.from_ms,
                row.until_ms,
                row.reason.as_str(),
            )
        })
        .collect();
    let expected = [
        ("forsen", 7_200_000, 7_202_000, "reason-2"),
        ("forsen", 7_201_000, 7_203_000, "reason-4"),
        ("xqc", 7_200_000, 7_204_000, "reason-5"),
    ];
    assert_eq!(rows, expected);

    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    let sealed = world.store.sealed_after(None, 10).await.unwrap();
    let gaps: Vec<_> = sealed
        .iter()
        .map(|s| (s.channel.as_str(), s.gap_ms))
        .collect();
    assert_eq!(gaps, [("forsen", 3000), ("xqc", 4000)]);
}

async fn a_quarantined_line_is_kept(world: World) {
    let line = Quarantined {
        channel: name("forsen"),
        line: "@bad\0 :line".to_owned(),
        error: "it crashed".to_owned(),
        crashes: 3,
        at: 1234,
    };
    world.store.quarantine(&line).await.unwrap();
    world.store.quarantine(&line).await.unwrap();
    let rows = quarantine::Entity::find()
        .all(world.store.reader())
        .await
        .unwrap();
    let expected = |id| quarantine::Model {
        id,
        channel: "forsen".to_owned(),
        line: "@bad\u{fffd} :line".to_owned(),
        error: "it crashed".to_owned(),
        crashes: 3,
        created_at: 1234,
    };
    assert_eq!(rows, [expected(1), expected(2)]);
}
