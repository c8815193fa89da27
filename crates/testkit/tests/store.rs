//! The store in memory keeps the promises of its ports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use twzrd_domain::batch::{
    AliasRow, Batch, Change, Control, Group, Groups, LedgerRow, MinuteRow, NameRow, ParticipantRow,
    Position, SignalRow,
};
use twzrd_domain::epoch::{Epoch, Minute};
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::{Channel, Name, UserHash, Wallet};
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{
    BatchStore, BuiltTrees, Committed, ReportStore, SealStore, StoreError, SuppressionStore,
    TreeStore, Unbuilt,
};
use twzrd_domain::record::{Bind, Gap, Suppress};
use twzrd_domain::seal::freeze;
use twzrd_domain::signal::{SignalKind, SignalSums};
use twzrd_domain::weight::Arithmetic;
use twzrd_testkit::fake::{Bound, Fault, MemoryStore, Name as Named, Opted};

const EPOCH: Epoch = Epoch(7200);
const NEXT: Epoch = Epoch(10_800);
const MINUTE: Minute = Minute(7260);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn hash(login: &str) -> UserHash {
    UserHash::of_login(&name(login))
}

fn channel() -> Channel {
    name("channel_0001")
}

/// A batch of one record behind `from`.
fn batch(from: u64) -> Batch {
    Batch {
        journal: "j".into(),
        from,
        to: Position {
            seq: from + 1,
            ..Position::default()
        },
        ..Batch::default()
    }
}

fn controls(from: u64, changes: Vec<Change>) -> Batch {
    let control = |(n, change)| Control {
        seq: from + n,
        at: 9_000_500,
        change,
    };
    Batch {
        controls: (1..).zip(changes).map(control).collect(),
        ..batch(from)
    }
}

/// People who are in the channel, with a message each and their name, by login and second.
fn heard(from: u64, epoch: Epoch, people: &[(&str, u64)]) -> Batch {
    let mut rows = batch(from);
    for &(login, first_seen) in people {
        let (user, channel) = (hash(login), channel());
        rows.participants.push(ParticipantRow {
            epoch,
            channel: channel.clone(),
            user,
            first_seen,
        });
        let minute = Minute::of(first_seen * 1000);
        let signal = |kind, value| SignalRow {
            epoch,
            channel: channel.clone(),
            minute,
            kind,
            user,
            value,
        };
        rows.signals.push(signal(SignalKind::Message, 2));
        rows.signals.push(signal(SignalKind::Presence, 1));
        rows.names.push(NameRow {
            user,
            login: name(login),
            first_seen,
        });
    }
    rows.participants.sort_by_key(|row| row.user);
    rows.names.sort_by_key(|row| row.user);
    rows.signals
        .sort_by_key(|row| (row.minute, row.kind.as_str(), row.user));
    let mut counts = Counts::default();
    counts.book(Outcome::Counted, 2 * people.len() as u64);
    rows.ledger.push(LedgerRow {
        epoch,
        channel: channel(),
        counts,
    });
    rows
}

async fn written(store: &MemoryStore, batch: Batch) {
    assert_eq!(store.commit(&batch).await.unwrap(), Committed::Written);
}

/// Freezes what is sealed, as the sealer would.
async fn freeze_all(store: &MemoryStore) {
    let arithmetic = SealStore::arithmetic(store).await.unwrap();
    let arithmetic = arithmetic.unwrap_or_default();
    for (epoch, at) in store.unfrozen().await.unwrap() {
        for (channel, people) in store.channels_to_freeze(epoch).await.unwrap() {
            let channels = std::slice::from_ref(&channel);
            let participants = store.participants(epoch, channels).await.unwrap().remove(0);
            assert_eq!(participants.len() as u64, people);
            let frozen = freeze(epoch, &channel, at, &arithmetic, participants).unwrap();
            store.freeze(&[frozen.unwrap()]).await.unwrap();
        }
        store.finish_freeze(epoch, at).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_is_written_once_and_only_where_the_store_stands() {
    let store = MemoryStore::default();
    let first = heard(0, EPOCH, &[("user_a", 7260)]);
    written(&store, first.clone()).await;
    let after = store.state();
    assert_eq!(store.commit(&first).await.unwrap(), Committed::Known);
    let ahead = store.commit(&batch(2)).await.unwrap_err();
    assert!(matches!(
        ahead,
        StoreError::OutOfStep {
            stands: 1,
            begins: 2
        }
    ));
    let other = Batch {
        journal: "k".into(),
        ..batch(1)
    };
    let other = store.commit(&other).await.unwrap_err();
    assert!(matches!(other, StoreError::OtherJournal { .. }));
    assert_eq!(store.state(), after);
    let projection = store.projection().await.unwrap();
    assert_eq!(projection.position.seq, 1);
    assert_eq!(projection.journal.as_deref(), Some("j"));
}

#[tokio::test]
async fn an_answer_that_was_lost_does_not_write_twice() {
    let store = MemoryStore::default();
    let first = heard(0, EPOCH, &[("user_a", 7260)]);
    store.fail_next(1, Fault::AnswerLost);
    assert!(store.commit(&first).await.unwrap_err().is_transient());
    let after = store.state();
    assert_eq!(store.commit(&first).await.unwrap(), Committed::Known);
    assert_eq!(store.state(), after);
    store.fail_next(1, Fault::Permanent);
    let refused = store.commit(&batch(1)).await.unwrap_err();
    assert!(!refused.is_transient());
    assert_eq!(store.state(), after);
}

#[tokio::test]
async fn rows_that_are_there_take_the_least_the_sum_or_stay() {
    let groups = Groups::new(BTreeMap::from([(
        channel(),
        Group {
            token_group: "GRIZ".into(),
            category: "music".into(),
        },
    )]));
    let store = MemoryStore::new(groups);
    let alias = |from, id, rows: Batch| Batch {
        from,
        aliases: vec![AliasRow {
            user: hash("user_a"),
            by_id: UserHash::of_twitch_id(id),
            first_seen: 7260 + id,
        }],
        ..rows
    };
    let rows = heard(0, EPOCH, &[("user_a", 7330)]);
    written(&store, alias(0, 1, rows)).await;
    let rows = heard(1, EPOCH, &[("user_a", 7261)]);
    written(&store, alias(1, 2, rows)).await;
    let rows = heard(2, EPOCH, &[("user_a", 7350)]);
    written(&store, rows).await;

    let state = store.state();
    let people = store.participants(EPOCH, &[channel()]).await.unwrap();
    assert_eq!(people[0].len(), 1);
    assert_eq!(people[0][0].first_seen, 7261, "the least");
    assert_eq!(people[0][0].group.token_group, "GRIZ");
    let sums = SignalSums {
        presence: 2,
        message: 6,
        ..SignalSums::default()
    };
    assert_eq!(people[0][0].sums, Some(sums), "minutes 7260 and 7320");
    let first = Named {
        login: name("user_a"),
        first_seen: 7330,
    };
    assert_eq!(
        state.names[&hash("user_a")],
        first,
        "the first in the journal"
    );
    let pair = (UserHash::of_twitch_id(1), 7261);
    assert_eq!(state.aliases[&hash("user_a")], pair);
    assert_eq!(state.ledger[&(EPOCH, channel())].counted, 6);
}

#[tokio::test]
async fn distinct_people_of_a_minute_are_counted_over_its_epochs() {
    let store = MemoryStore::default();
    let minute = |rows: Batch| Batch {
        minutes: vec![MinuteRow {
            minute: MINUTE,
            channel: channel(),
            epochs: vec![EPOCH, NEXT],
            messages: 2,
            gifts: 1,
            new_subs: 3,
            bits: 50,
        }],
        ..rows
    };
    written(
        &store,
        minute(heard(0, EPOCH, &[("user_a", 7260), ("user_b", 7261)])),
    )
    .await;
    written(
        &store,
        minute(heard(1, NEXT, &[("user_b", 7262), ("user_c", 7263)])),
    )
    .await;
    let stats = store.state().minutes[&(MINUTE, channel())];
    assert_eq!(stats.unique_chatters, 3);
    let sums = (stats.messages, stats.gifts, stats.new_subs, stats.bits);
    assert_eq!(sums, (4, 2, 6, 100));
}

#[tokio::test]
async fn participants_come_in_sealed_order() {
    let store = MemoryStore::default();
    let people = [("user_a", 7300), ("user_b", 7260), ("user_c", 7300)];
    written(&store, heard(0, EPOCH, &people)).await;
    let people = store.participants(EPOCH, &[name("empty"), channel()]).await;
    let people = people.unwrap();
    assert!(people[0].is_empty());
    let order: Vec<_> = people[1].iter().map(|p| p.user).collect();
    let mut last = [hash("user_a"), hash("user_c")];
    last.sort();
    assert_eq!(order, [hash("user_b"), last[0], last[1]]);
}

#[tokio::test]
async fn an_opt_out_by_id_removes_the_person_from_all_that_is_not_sealed() {
    let store = MemoryStore::default();
    let id = UserHash::of_twitch_id(77);
    let mut first = heard(0, EPOCH, &[("user_a", 7260), ("user_b", 7261)]);
    first.aliases = vec![AliasRow {
        user: hash("user_a"),
        by_id: id,
        first_seen: 7260,
    }];
    written(&store, first).await;
    let wallet = Wallet([7; 32]);
    let bind = |wallet, verified| {
        Change::Bind(Bind {
            user: hash("user_a"),
            wallet,
            verified,
            source: "operator".into(),
        })
    };
    let both = vec![bind(wallet, true), bind(Wallet([9; 32]), false)];
    written(&store, controls(1, both)).await;
    let bound = Bound {
        verified: true,
        source: "operator".into(),
        at: 9_000_500,
    };
    let key = (hash("user_a"), wallet.to_string());
    assert_eq!(store.state().bindings[&key], bound);
    assert_eq!(store.aliases(id).await.unwrap(), [hash("user_a")]);
    assert_eq!(store.aliases(hash("user_a")).await.unwrap(), [id]);
    written(&store, controls(2, vec![Change::Seal(EPOCH)])).await;
    freeze_all(&store).await;
    let frozen = store.state().frozen[&(EPOCH, channel())].clone();
    let claimer = frozen.participants[0].claimer;
    assert_eq!(
        claimer, wallet,
        "a verified wallet before one that was bound later"
    );
    written(
        &store,
        heard(3, NEXT, &[("user_a", 10_800), ("user_b", 10_801)]),
    )
    .await;

    let person = Suppress {
        hashes: vec![id],
        reason: "asked".into(),
    };
    written(&store, controls(4, vec![Change::Suppress(person.clone())])).await;
    let state = store.state();
    let left: Vec<_> = state
        .participants
        .keys()
        .map(|(e, _, u)| (*e, *u))
        .collect();
    let mut sealed = [(EPOCH, hash("user_a")), (EPOCH, hash("user_b"))];
    sealed.sort();
    assert_eq!(left, [sealed[0], sealed[1], (NEXT, hash("user_b"))]);
    assert!(
        state
            .signals
            .keys()
            .all(|k| k.0 == EPOCH || k.4 == hash("user_b"))
    );
    assert_eq!(state.names.keys().collect::<Vec<_>>(), [&hash("user_b")]);
    assert!(state.aliases.is_empty());
    assert_eq!(state.bindings.len(), 2, "they hold no name");
    let mut nameless = frozen;
    nameless.participants[0].login = None;
    assert_eq!(
        state.frozen[&(EPOCH, channel())],
        nameless,
        "only the name goes"
    );
    let opted = Opted {
        requested_at: 9000,
        reason: Some("asked".into()),
    };
    assert_eq!(state.suppressed, BTreeMap::from([(id, opted)]));
    assert_eq!(store.projection().await.unwrap().suppressed, [id]);

    written(&store, controls(5, vec![Change::Unsuppress(person)])).await;
    assert!(store.suppressed().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_freezing_reads_does_not_change_before_sealed_epochs_are_frozen() {
    let store = MemoryStore::default();
    written(&store, heard(0, EPOCH, &[("user_a", 7260)])).await;
    assert_eq!(store.open_epochs().await.unwrap(), [EPOCH]);
    written(&store, controls(1, vec![Change::Seal(EPOCH)])).await;
    assert!(store.open_epochs().await.unwrap().is_empty());
    assert!(store.is_freeze_pending().await.unwrap());
    assert_eq!(store.unfrozen().await.unwrap(), [(EPOCH, 9_000_500)]);
    let settings = controls(2, vec![Change::Settings(Arithmetic::default())]);
    let early = store.commit(&settings).await.unwrap_err();
    assert!(!early.is_transient(), "{early}");
    let late = heard(2, EPOCH, &[("user_a", 7260)]);
    let late = store.commit(&late).await.unwrap_err();
    assert!(!late.is_transient(), "{late}");
    let unfrozen = store.finish_freeze(EPOCH, 5).await.unwrap_err();
    assert!(!unfrozen.is_transient(), "{unfrozen}");
    freeze_all(&store).await;
    assert!(!store.is_freeze_pending().await.unwrap());
    written(&store, settings).await;
    assert_eq!(SealStore::offset(&store).await.unwrap(), 3);
}

#[tokio::test]
async fn trees_are_written_once_and_finalize_their_epoch() {
    let store = MemoryStore::default();
    written(&store, heard(0, EPOCH, &[("user_a", 7260)])).await;
    written(&store, controls(1, vec![Change::Seal(EPOCH)])).await;
    freeze_all(&store).await;
    let unbuilt = store.unbuilt(9).await.unwrap();
    let expected = Unbuilt {
        epoch: EPOCH,
        channel: channel(),
        participants: 1,
    };
    assert_eq!(unbuilt, [expected]);
    let leaves = store.sealed_leaves(&unbuilt).await.unwrap().remove(0);
    assert_eq!(leaves.users, [hash("user_a")]);
    let trees = BuiltTrees {
        epoch: EPOCH,
        channel: channel(),
        participants: 1,
        participation_root: [1; 32],
        claim_levels: vec![leaves.claim_leaves.clone()],
        built_at: leaves.sealed_at,
    };
    assert_eq!(store.proof_material(EPOCH, &channel()).await.unwrap(), None);
    assert!(store.state().finalized().is_empty());
    store
        .write_trees(std::slice::from_ref(&trees))
        .await
        .unwrap();
    assert!(store.unbuilt(9).await.unwrap().is_empty());
    assert_eq!(
        store.state().finalized().into_iter().collect::<Vec<_>>(),
        [EPOCH]
    );
    let other = BuiltTrees {
        participation_root: [2; 32],
        ..trees
    };
    store.write_trees(&[other]).await.unwrap();
    let material = store.proof_material(EPOCH, &channel()).await.unwrap();
    let material = material.unwrap();
    assert_eq!(material.participation_root, [1; 32], "the first stays");
    assert_eq!(material.claim_root, leaves.claim_leaves[0]);
}

#[tokio::test]
async fn a_sealed_epoch_is_reported_with_the_time_in_which_it_was_not_heard() {
    let store = MemoryStore::default();
    written(&store, heard(0, EPOCH, &[("user_a", 7260)])).await;
    let gap = |channel: Channel, from, until| {
        Change::Gap(Gap {
            channel,
            from,
            until,
            reason: "cut".into(),
        })
    };
    let gaps = vec![
        gap(channel(), 7_100_000, 7_201_000),
        gap(channel(), 7_300_000, 7_305_000),
        gap(channel(), 7_302_000, 7_306_000),
        gap(channel(), 10_799_000, 10_900_000),
        gap(name("elsewhere"), 7_400_000, 7_500_000),
        Change::Seal(EPOCH),
    ];
    written(&store, controls(1, gaps)).await;
    freeze_all(&store).await;
    let reported = store.sealed_after(None, 9).await.unwrap();
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0].gap_ms, 1000 + 6000 + 1000);
    assert_eq!(
        (reported[0].participants, reported[0].claim_root),
        (1, None)
    );
    let behind = Some((EPOCH, channel()));
    assert!(store.sealed_after(behind, 9).await.unwrap().is_empty());
    assert_eq!(ReportStore::ledger(&store).await.unwrap().received, 2);
}

#[tokio::test]
async fn a_dump_leaves_out_what_two_runs_over_the_same_lines_may_disagree_on() {
    let (one, two) = (MemoryStore::default(), MemoryStore::default());
    let people: [(&str, u64); 1] = [("user_a", 7260)];
    written(&one, heard(0, EPOCH, &people)).await;
    written(&one, controls(1, vec![Change::Seal(EPOCH)])).await;
    written(&two, batch(0)).await;
    written(&two, heard(1, EPOCH, &people)).await;
    let mut seal = controls(2, vec![Change::Seal(EPOCH)]);
    seal.controls[0].at += 1;
    written(&two, seal).await;
    for store in [&one, &two] {
        freeze_all(store).await;
    }
    assert_ne!(one.state(), two.state());
    assert_eq!(one.dump(), two.dump());
    written(&two, heard(3, NEXT, &[("user_b", 10_800)])).await;
    assert_ne!(one.dump(), two.dump());
}
