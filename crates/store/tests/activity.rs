//! What the chain listener records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod settlement_kit;

use settlement_kit::common::name;
use settlement_kit::{Bench, HOUR, NOW};
use twzrd_domain::chain::{
    Action, Activity, Deed, Followed, Known, Mark, Recorded, SettlementLogRow,
};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::Step;

on_all!(
    what_is_recorded_twice_is_there_once,
    a_claim_is_kept_with_whatever_numbers_it_has,
    the_slots_of_an_epoch_span_its_publications,
    a_publication_of_ours_that_no_row_tells_of_is_logged,
    a_publication_that_was_signed_here_keeps_its_row,
    what_the_publisher_found_and_the_listener_saw_is_one_row,
    the_same_root_in_another_epoch_is_another_root,
    a_publication_that_was_seen_before_its_root_was_built_is_found_again,
    of_which_slots_everything_is_known_is_kept,
    a_call_that_is_refused_writes_nothing,
);

fn claim(channel: Option<&str>, number: u64, index: u32, amount: u64) -> Deed {
    Deed::Claim {
        channel: channel.map(name),
        number,
        index,
        amount,
        claimer: "So11111111111111111111111111111111111111112".into(),
    }
}

fn publish(channel: Option<&str>, root: [u8; 32]) -> Deed {
    Deed::Publish {
        channel: channel.map(name),
        number: 2,
        root,
    }
}

fn recorded(slot: u64, signature: &str, deeds: Vec<(Deed, Option<Epoch>)>) -> Recorded {
    let actions = (0..).zip(&deeds).map(|(index, (deed, _))| Action {
        index,
        deed: deed.clone(),
        json: "{}".to_owned(),
    });
    Recorded {
        activity: Activity {
            mark: Mark {
                slot,
                signature: signature.into(),
            },
            block_time: Some(8000),
            actions: actions.collect(),
        },
        epochs: deeds.into_iter().map(|(_, epoch)| epoch).collect(),
    }
}

async fn record(bench: &Bench, all: &[Recorded]) {
    bench.store.record(all, None, NOW).await.unwrap();
}

async fn mark(bench: &Bench) -> Option<Mark> {
    bench.store.followed().await.unwrap().mark
}

/// The signature that reports show for forsen's root.
async fn shown_signature(bench: &Bench) -> Option<compact_str::CompactString> {
    let sealed = bench.store.sealed_after(None, 1).await.unwrap();
    assert_eq!(sealed[0].channel, name("forsen"));
    sealed[0].tx_signature.clone()
}

fn seen(signature: &str, slot: u64) -> SettlementLogRow {
    SettlementLogRow {
        signature: Some(signature.into()),
        status: "confirmed".to_owned(),
        target: "program".to_owned(),
        signed_at: None,
        slot: Some(slot),
        settled_at: None,
        error_message: None,
    }
}

async fn what_is_recorded_twice_is_there_once(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let root = bench.roots().await[0].root;
    assert_eq!(mark(&bench).await, None);
    record(&bench, &[]).await;
    assert_eq!(mark(&bench).await, None);
    let all = [
        recorded(5, "aaa", vec![(publish(Some("forsen"), root), Some(HOUR))]),
        recorded(
            7,
            "bbb",
            vec![
                (claim(Some("forsen"), 2, 0, 80), Some(HOUR)),
                (Deed::Other, None),
                (claim(Some("forsen"), 2, 1, 80), Some(HOUR)),
            ],
        ),
        recorded(7, "ccc", vec![]),
    ];
    record(&bench, &all).await;
    let state = async || {
        (
            bench.claims().await,
            bench.slots(HOUR).await,
            bench.row("forsen").await,
            mark(&bench).await,
        )
    };
    let first = state().await;
    let wallet = "So11111111111111111111111111111111111111112";
    let claims = [
        format!("bbb 0 [forsen] 7200 2 0 80 {wallet} 7 8000 settled"),
        format!("bbb 2 [forsen] 7200 2 1 80 {wallet} 7 8000 settled"),
    ];
    assert_eq!(first.0, claims);
    assert_eq!(first.1, "5 5");
    assert_eq!(first.2.log, [seen("aaa", 5)]);
    assert_eq!(first.3, Some(all[2].activity.mark.clone()));
    record(&bench, &all).await;
    assert_eq!(state().await, first);
    // Once more in pieces, and twice in one call.
    record(&bench, &all[1..]).await;
    let doubled = [&all[..], &all[..]].concat();
    record(&bench, &doubled).await;
    assert_eq!(state().await, first);
    let again = bench.reopened().await.followed().await.unwrap().mark;
    assert_eq!(again, first.3);
}

async fn a_claim_is_kept_with_whatever_numbers_it_has(bench: Bench) {
    let most = u64::MAX;
    let mut all = recorded(
        9,
        "aaa",
        vec![
            (claim(None, most, u32::MAX, most), None),
            (claim(Some("forsen"), most, 0, 0), Some(Epoch(most))),
        ],
    );
    all.activity.block_time = None;
    record(&bench, &[all]).await;
    let wallet = "So11111111111111111111111111111111111111112";
    let expected = [
        format!("aaa 0 [] - {most} {} {most} {wallet} 9 - settled", u32::MAX),
        format!("aaa 1 [forsen] - {most} 0 0 {wallet} 9 - settled"),
    ];
    assert_eq!(bench.claims().await, expected);
}

async fn the_slots_of_an_epoch_span_its_publications(bench: Bench) {
    bench.hour(&["forsen"]).await;
    assert_eq!(bench.slots(HOUR).await, "- -");
    let other = Epoch(36_000);
    let one = |slot, signature, epoch| {
        recorded(
            slot,
            signature,
            vec![(publish(Some("xqc"), [7; 32]), epoch)],
        )
    };
    record(
        &bench,
        &[
            one(50, "aaa", Some(HOUR)),
            one(60, "bbb", Some(HOUR)),
            one(61, "ccc", Some(other)),
            one(70, "ddd", None),
            one(80, "eee", Some(Epoch(u64::MAX))),
            recorded(90, "fff", vec![(claim(None, 2, 0, 1), Some(HOUR))]),
        ],
    )
    .await;
    assert_eq!(bench.slots(HOUR).await, "50 60");
    assert_eq!(bench.slots(other).await, "");
    record(&bench, &[one(55, "ggg", Some(HOUR))]).await;
    assert_eq!(bench.slots(HOUR).await, "50 60");
    let nameless = recorded(99, "hhh", vec![(publish(None, [7; 32]), Some(HOUR))]);
    record(&bench, &[one(40, "iii", Some(HOUR)), nameless]).await;
    assert_eq!(bench.slots(HOUR).await, "40 99");
}

async fn a_publication_of_ours_that_no_row_tells_of_is_logged(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    let deeds = |root| vec![(publish(Some("forsen"), root), Some(HOUR))];
    let other = recorded(4, "aaa", deeds([9; 32]));
    let ours = recorded(5, "bbb", deeds(roots[0].root));
    record(&bench, &[other, ours]).await;
    assert_eq!(bench.row("forsen").await.log, [seen("bbb", 5)]);
    assert_eq!(bench.row("xqc").await.log, []);
    // It is not settled: that is the publisher's to find out.
    assert_eq!(bench.roots().await, roots);
    assert_eq!(bench.published_at(HOUR, "forsen").await, None);
    bench.step(&roots[0], Step::ReadBack, Some(8)).await;
    let read_back = SettlementLogRow {
        settled_at: Some(20_005_000),
        ..seen("bbb", 5)
    };
    assert_eq!(bench.row("forsen").await.log, [read_back]);
    assert_eq!(bench.published_at(HOUR, "forsen").await, Some(20_005));
}

async fn a_publication_that_was_signed_here_keeps_its_row(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots).await;
    let before = bench.row("forsen").await;
    let deeds = vec![(publish(Some("forsen"), roots[0].root), Some(HOUR))];
    let landed = recorded(5, "one", deeds);
    record(&bench, std::slice::from_ref(&landed)).await;
    assert_eq!(bench.row("forsen").await, before);
    bench.step(&roots[0], Step::Finalize, Some(5)).await;
    bench.step(&roots[0], Step::ReadBack, Some(6)).await;
    let before = bench.row("forsen").await;
    record(&bench, &[landed]).await;
    assert_eq!(bench.row("forsen").await, before);
    assert_eq!(before.log.len(), 1);
}

async fn what_the_publisher_found_and_the_listener_saw_is_one_row(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    bench.step(&roots[0], Step::ReadBack, Some(8)).await;
    assert_eq!(shown_signature(&bench).await, None);
    let deeds = || vec![(publish(Some("forsen"), roots[0].root), Some(HOUR))];
    let expected = SettlementLogRow {
        settled_at: Some(20_005_000),
        ..seen("aaa", 5)
    };
    for _ in 0..2 {
        record(&bench, &[recorded(5, "aaa", deeds())]).await;
        let log = bench.row("forsen").await.log;
        assert_eq!(log, std::slice::from_ref(&expected));
        assert_eq!(shown_signature(&bench).await.as_deref(), Some("aaa"));
    }
}

async fn the_same_root_in_another_epoch_is_another_root(bench: Bench) {
    // The claim leaf does not name its epoch: the same people give the same root again.
    let next = Epoch(10_800);
    bench.epoch(HOUR, &[("forsen", &["ada"])]).await;
    bench.epoch(next, &[("forsen", &["ada"])]).await;
    let roots = bench.roots().await;
    assert_eq!(roots[0].root, roots[1].root);
    let deeds = vec![(publish(Some("forsen"), roots[1].root), Some(next))];
    record(&bench, &[recorded(5, "aaa", deeds)]).await;
    assert_eq!(bench.row("forsen").await.log, []);
    let later = bench.store.row(next, &name("forsen")).await.unwrap();
    assert_eq!(later.unwrap().log, [seen("aaa", 5)]);
}

async fn a_publication_that_was_seen_before_its_root_was_built_is_found_again(bench: Bench) {
    // What the roots will be: a journal that is read again gives the same.
    let built = Bench::memory();
    built.hour(&["forsen", "xqc"]).await;
    let root = built.roots().await[0].root;
    let deeds = |channel, root| vec![(publish(channel, root), Some(HOUR))];
    let all = [
        recorded(5, "aaa", deeds(Some("forsen"), root)),
        recorded(6, "bbb", deeds(Some("forsen"), [9; 32])),
        recorded(7, "ccc", deeds(Some("forsen"), root)),
        recorded(8, "ddd", deeds(None, root)),
    ];
    record(&bench, &all).await;
    record(&bench, &all).await;
    assert_eq!(bench.slots(HOUR).await, "");
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    assert_eq!(roots[0].root, root);
    assert_eq!(
        bench.row("forsen").await.log,
        [seen("aaa", 5), seen("ccc", 7)]
    );
    assert_eq!(bench.row("xqc").await.log, []);
    assert_eq!(bench.slots(HOUR).await, "5 8");
    bench.step(&roots[0], Step::ReadBack, Some(9)).await;
    assert_eq!(shown_signature(&bench).await.as_deref(), Some("aaa"));
}

async fn of_which_slots_everything_is_known_is_kept(bench: Bench) {
    let followed = async |bench: &Bench| bench.store.followed().await.unwrap();
    assert_eq!(followed(&bench).await, Followed::default());
    let known = |from, to| Some(Known { from, to });
    bench.store.record(&[], known(3, 7), NOW).await.unwrap();
    let mut expected = Followed {
        mark: None,
        known: known(3, 7),
    };
    assert_eq!(followed(&bench).await, expected);
    let one = recorded(9, "aaa", vec![]);
    bench
        .store
        .record(std::slice::from_ref(&one), known(3, 8), NOW)
        .await
        .unwrap();
    expected = Followed {
        mark: Some(one.activity.mark),
        known: known(3, 8),
    };
    assert_eq!(followed(&bench).await, expected);
    record(&bench, &[]).await;
    assert_eq!(bench.reopened().await.followed().await.unwrap(), expected);
}

async fn a_call_that_is_refused_writes_nothing(bench: Bench) {
    let good = recorded(5, "aaa", vec![(claim(None, 1, 0, 1), None)]);
    let mut short = recorded(6, "bbb", vec![(claim(None, 1, 1, 1), None)]);
    short.epochs.clear();
    let far = recorded(u64::MAX, "ccc", vec![(claim(None, 1, 2, 1), None)]);
    for bad in [short, far] {
        let refused = bench.store.record(&[good.clone(), bad], None, NOW).await;
        assert!(!refused.unwrap_err().is_transient());
        assert_eq!(bench.claims().await, [] as [String; 0]);
        assert_eq!(mark(&bench).await, None);
    }
}
