//! What keeps one root, one channel or one moment from holding up the others, on three stores.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod settlement_kit;

use settlement_kit::common::name;
use settlement_kit::{Bench, HOUR, NOW, because, change, signed, transaction};
use twzrd_domain::chain::{LOOK_AGAIN_WITHIN_MS, REPORTED_TRIES};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::{Target, Why};

on_all!(
    of_two_roots_of_a_channel_one_is_in_flight,
    what_is_held_is_due_behind_what_is_planned_and_in_turns,
    a_time_that_no_hold_sets_holds_nothing_back,
    a_root_reports_its_last_tries_and_no_more,
    a_transaction_comes_back_with_its_target_and_its_slot,
);

const LATER: Epoch = Epoch(10_800);

async fn of_two_roots_of_a_channel_one_is_in_flight(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    bench
        .epoch(LATER, &[("forsen", &["ada"]), ("nmp", &["ada"])])
        .await;
    let roots = bench.roots().await;
    let [old, xqc, new, nmp] = roots.as_slice() else {
        panic!("{roots:?}");
    };
    let (first, second) = ([old.clone(), xqc.clone()], [new.clone(), nmp.clone()]);
    let (one, two) = (transaction("one", &first), transaction("two", &second));
    let other = bench.reopened().await;
    let (a, b) = tokio::join!(
        bench.store.keep_signed(&one, Target::Program, &first, NOW),
        other.keep_signed(&two, Target::Program, &second, NOW)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(a != b, "{a} {b}");
    assert_eq!(bench.in_flight().await.len(), 1);
    // The other goes once that has come to its end, and not while it is finalized only.
    let (kept, root, next, given) = if a {
        ("one", old, &two, &second)
    } else {
        ("two", new, &one, &first)
    };
    bench.step(root, Step::Finalize, Some(3)).await;
    let store = &bench.store;
    let early = store.keep_signed(next, Target::Program, given, NOW).await;
    assert!(!early.unwrap(), "behind {kept}");
    bench.step(root, Step::ReadBack, Some(4)).await;
    let then = store.keep_signed(next, Target::Program, given, NOW).await;
    assert!(then.unwrap());
}

async fn what_is_held_is_due_behind_what_is_planned_and_in_turns(bench: Bench) {
    let channels = ["aa", "bb", "cc", "dd"];
    bench.hour(&channels).await;
    bench.epoch(LATER, &[("dd", &["ada"])]).await;
    let roots = bench.roots().await;
    for (root, looked) in roots.iter().zip([3, 1, 2]) {
        let hold = Step::Hold(because(Why::ChannelMissing));
        let mut hold = change(root, Publication::Planned, hold, None);
        hold.look_again = looked;
        bench.store.advance(&[hold], NOW).await.unwrap();
    }
    for (limit, expected) in [
        (1, ["dd"].as_slice()),
        (2, &["bb", "dd"]),
        (3, &["bb", "cc", "dd"]),
        (4, &["aa", "bb", "cc", "dd"]),
    ] {
        let due = bench.store.due(NOW, limit).await.unwrap();
        let found: Vec<&str> = due.iter().map(|it| it.channel.as_str()).collect();
        assert_eq!(found, expected);
    }
}

async fn a_time_that_no_hold_sets_holds_nothing_back(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    let farthest = NOW + LOOK_AGAIN_WITHIN_MS;
    for (root, again) in roots.iter().zip([farthest, farthest + 1]) {
        let hold = Step::Hold(because(Why::Anomaly));
        let mut hold = change(root, Publication::Planned, hold, None);
        hold.look_again = again;
        bench.store.advance(&[hold], NOW).await.unwrap();
    }
    let due = bench.due().await;
    let found: Vec<&str> = due.iter().map(|it| it.channel.as_str()).collect();
    assert_eq!(found, ["xqc"]);
}

async fn a_root_reports_its_last_tries_and_no_more(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    let tries = REPORTED_TRIES + 2;
    for number in 0..tries {
        bench.sign(&format!("try{number}"), &roots[..1]).await;
        bench.step(&roots[0], Step::Expire, None).await;
    }
    bench.sign("xqc", &roots[1..]).await;
    let rows = bench.store.rows(None, None, 9).await.unwrap();
    let signatures = |at: usize| rows[at].log.iter().filter_map(|row| row.signature.clone());
    let expected: Vec<String> = (2..tries).map(|number| format!("try{number}")).collect();
    assert_eq!(signatures(0).collect::<Vec<_>>(), expected);
    assert_eq!(signatures(1).collect::<Vec<_>>(), ["xqc"]);
    assert_eq!(bench.row("forsen").await, rows[0]);
}

async fn a_transaction_comes_back_with_its_target_and_its_slot(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    let mut known = transaction("known", &roots[..1]);
    known.signed_in_slot = Some(1_234_567);
    let mut unknown = transaction("unknown", &roots[1..]);
    unknown.signed_in_slot = None;
    let store = &bench.store;
    for (transaction, target, roots) in [
        (&known, Target::Memo, &roots[..1]),
        (&unknown, Target::Program, &roots[1..]),
    ] {
        let kept = store.keep_signed(transaction, target, roots, NOW).await;
        assert!(kept.unwrap());
    }
    let flying = bench.reopened().await.in_flight().await.unwrap();
    let found: Vec<_> = flying
        .iter()
        .map(|it| (&it.transaction, it.target))
        .collect();
    assert_eq!(found, [(&known, Target::Memo), (&unknown, Target::Program)]);
    let row = store.row(HOUR, &name("forsen")).await.unwrap().unwrap();
    assert_eq!(row.publication, signed("known"));
}
