//! The life of a root in the store, on its way to each of its ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod settlement_kit;

use settlement_kit::common::name;
use settlement_kit::{
    Bench, HOUR, NOW, because, change, finalized, signed, to_publish, transaction,
};
use twzrd_domain::chain::{InFlight, Order, SettlementLogRow, SettlementStore};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::{Reason, RootId, Target, Why};
use twzrd_testkit::fake::{Fault, FaultyStore};

on_all!(
    a_root_is_published_only_once_it_is_read_back,
    a_process_that_dies_between_any_two_calls_finds_what_is_in_flight,
    an_expired_try_leaves_its_row_and_the_next_has_its_own,
    a_newer_epoch_supersedes_and_publishes_nothing,
    a_refusal_after_signing_is_a_failed_row_with_its_reason,
    what_is_found_on_chain_has_a_row_without_signature,
    steps_before_signing_leave_no_row,
    of_two_writers_one_takes_the_step,
    of_two_transactions_over_one_root_one_is_kept,
    a_transaction_is_kept_whole_or_not_at_all,
    roots_of_one_transaction_part_on_the_way,
    an_illegal_step_is_refused_with_all_that_came_with_it,
    steps_of_one_root_are_taken_in_order,
    a_transaction_that_is_none_is_refused,
    numbers_and_texts_of_others_are_kept_within_bounds,
);

fn row(signature: Option<&str>, status: &str) -> SettlementLogRow {
    SettlementLogRow {
        signature: signature.map(Into::into),
        status: status.to_owned(),
        target: "program".to_owned(),
        signed_at: signature.map(|_| NOW),
        slot: None,
        settled_at: None,
        error_message: None,
    }
}

async fn a_root_is_published_only_once_it_is_read_back(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    assert_eq!(bench.in_flight().await, []);
    bench.sign("one", &roots).await;
    let now = bench.row("forsen").await;
    assert_eq!(now.publication, signed("one"));
    assert_eq!(now.log, [row(Some("one"), "pending_confirmation")]);
    assert_eq!(bench.published_at(HOUR, "forsen").await, None);
    assert_eq!(bench.due().await, []);

    assert_eq!(bench.step(&roots[0], Step::Finalize, Some(77)).await, 1);
    let now = bench.row("forsen").await;
    assert_eq!(now.publication, finalized("one"));
    let landed = SettlementLogRow {
        slot: Some(77),
        ..row(Some("one"), "pending_confirmation")
    };
    assert_eq!(now.log, [landed]);
    assert_eq!(now.settled_at, None);
    assert_eq!(bench.published_at(HOUR, "forsen").await, None);

    assert_eq!(bench.step(&roots[0], Step::ReadBack, Some(80)).await, 1);
    let now = bench.row("forsen").await;
    let settled = Publication::Settled {
        signature: Some("one".to_owned()),
    };
    assert_eq!(now.publication, settled);
    let confirmed = SettlementLogRow {
        slot: Some(77),
        settled_at: Some(20_005_000),
        ..row(Some("one"), "confirmed")
    };
    assert_eq!(now.log, [confirmed]);
    assert_eq!(now.settled_at, Some(NOW + 5000));
    assert_eq!(bench.published_at(HOUR, "forsen").await, Some(20_005));
    assert_eq!(
        (bench.in_flight().await, bench.due().await),
        (vec![], vec![])
    );
}

async fn a_process_that_dies_between_any_two_calls_finds_what_is_in_flight(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    let kept = transaction("one", &roots);
    let expected = |slot, states: [Publication; 2]| InFlight {
        transaction: kept.clone(),
        target: Target::Program,
        finalized_slot: slot,
        roots: roots.iter().cloned().zip(states).collect(),
    };
    assert_eq!(bench.reopened().await.in_flight().await.unwrap(), []);
    bench.sign("one", &roots).await;
    let found = bench.reopened().await.in_flight().await.unwrap();
    assert_eq!(found, [expected(None, [signed("one"), signed("one")])]);
    let finalize = roots
        .iter()
        .map(|root| change(root, signed("one"), Step::Finalize, Some(9)));
    let finalize: Vec<_> = finalize.collect();
    assert_eq!(bench.store.advance(&finalize, NOW).await.unwrap(), 2);
    let found = bench.reopened().await.in_flight().await.unwrap();
    let both = [finalized("one"), finalized("one")];
    assert_eq!(found, [expected(Some(9), both)]);
    // A call whose answer was lost comes again: nothing stands there any more.
    assert_eq!(bench.store.advance(&finalize, NOW).await.unwrap(), 0);
    let again = &bench.store;
    let again = again.keep_signed(&kept, Target::Program, &roots, NOW).await;
    assert!(!again.unwrap());
    for root in &roots {
        bench.step(root, Step::ReadBack, Some(12)).await;
    }
    assert_eq!(bench.reopened().await.in_flight().await.unwrap(), []);
    for channel in ["forsen", "xqc"] {
        assert_eq!(bench.row(channel).await.log.len(), 1, "{channel}");
    }
}

async fn an_expired_try_leaves_its_row_and_the_next_has_its_own(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots).await;
    bench.step(&roots[0], Step::Expire, None).await;
    assert_eq!(bench.in_flight().await, []);
    assert_eq!(bench.roots().await, roots);
    let expired = SettlementLogRow {
        error_message: Some(
            "expired: the block height passed 500, the last at which it can land".to_owned(),
        ),
        ..row(Some("one"), "failed")
    };
    let log = bench.row("forsen").await.log;
    assert_eq!(log, std::slice::from_ref(&expired));
    bench.sign("two", &roots).await;
    let flying = bench.in_flight().await;
    let flying: Vec<_> = flying.iter().map(|it| &it.transaction.signature).collect();
    assert_eq!(flying, ["two"]);
    // What was decided on the first try does not touch the second.
    let late = change(&roots[0], signed("one"), Step::Finalize, Some(3));
    assert_eq!(bench.store.advance(&[late], NOW).await.unwrap(), 0);
    let log = bench.row("forsen").await.log;
    assert_eq!(log, [expired, row(Some("two"), "pending_confirmation")]);
}

async fn a_newer_epoch_supersedes_and_publishes_nothing(bench: Bench) {
    bench.hour(&["forsen", "nmp", "xqc"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots[..1]).await;
    bench.sign("two", &roots[1..2]).await;
    bench.step(&roots[1], Step::Finalize, Some(4)).await;
    let newer = u64::MAX;
    for root in &roots {
        assert_eq!(bench.step(root, Step::FoundNewer(newer), Some(5)).await, 1);
    }
    let error = format!("superseded: epoch {newer} stands in its slot");
    let lost = |signature, slot| SettlementLogRow {
        slot,
        error_message: Some(error.clone()),
        ..row(Some(signature), "failed")
    };
    let logs = [vec![lost("one", None)], vec![lost("two", Some(4))], vec![]];
    for (channel, log) in ["forsen", "nmp", "xqc"].into_iter().zip(logs) {
        let now = bench.row(channel).await;
        assert_eq!(now.publication, Publication::Superseded { by: newer });
        assert_eq!((now.log, now.settled_at), (log, None), "{channel}");
        assert_eq!(bench.published_at(HOUR, channel).await, None);
    }
    assert_eq!(
        (bench.in_flight().await, bench.due().await),
        (vec![], vec![])
    );
}

async fn a_refusal_after_signing_is_a_failed_row_with_its_reason(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots).await;
    let refused = Step::Refuse(because(Why::ProgramRefused));
    bench.step(&roots[0], refused, Some(6)).await;
    let now = bench.row("forsen").await;
    let reason = because(Why::ProgramRefused);
    assert_eq!(now.publication, Publication::Failed { reason });
    let failed = SettlementLogRow {
        slot: Some(6),
        error_message: Some("program_refused: found this, expected that".to_owned()),
        ..row(Some("one"), "failed")
    };
    assert_eq!(now.log, [failed]);
    assert_eq!(bench.published_at(HOUR, "forsen").await, None);
    assert_eq!(
        (bench.in_flight().await, bench.due().await),
        (vec![], vec![])
    );
}

async fn what_is_found_on_chain_has_a_row_without_signature(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    assert_eq!(bench.step(&roots[0], Step::ReadBack, Some(8)).await, 1);
    let now = bench.row("forsen").await;
    assert_eq!(now.publication, Publication::Settled { signature: None });
    let found = SettlementLogRow {
        settled_at: Some(20_005_000),
        ..row(None, "confirmed")
    };
    assert_eq!(now.log, [found]);
    assert_eq!(bench.published_at(HOUR, "forsen").await, Some(20_005));
}

async fn steps_before_signing_leave_no_row(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    for why in [Why::Anomaly, Why::NoFunds] {
        assert_eq!(
            bench.step(&roots[0], Step::Hold(because(why)), None).await,
            1
        );
        let reason = because(why);
        let held = Publication::Held { reason };
        assert_eq!(bench.row("forsen").await.publication, held);
    }
    bench.step(&roots[0], Step::Release, None).await;
    assert_eq!(bench.row("forsen").await.publication, Publication::Planned);
    let refused = Step::Refuse(because(Why::TooLarge));
    bench.step(&roots[1], refused, None).await;
    for channel in ["forsen", "xqc"] {
        assert_eq!(bench.row(channel).await.log, []);
    }
}

async fn of_two_writers_one_takes_the_step(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots).await;
    let other = bench.reopened().await;
    let expire = [change(&roots[0], signed("one"), Step::Expire, None)];
    let finalize = [change(&roots[0], signed("one"), Step::Finalize, Some(1))];
    let (a, b) = tokio::join!(
        bench.store.advance(&expire, NOW),
        other.advance(&finalize, NOW)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a + b, 1);
    let now = bench.row("forsen").await;
    let (publication, status) = if a == 1 {
        (Publication::Planned, "failed")
    } else {
        (finalized("one"), "pending_confirmation")
    };
    assert_eq!(now.publication, publication);
    assert_eq!((now.log.len(), now.log[0].status.as_str()), (1, status));
}

async fn of_two_transactions_over_one_root_one_is_kept(bench: Bench) {
    bench.hour(&["forsen", "nmp", "xqc"]).await;
    let roots = bench.roots().await;
    let other = bench.reopened().await;
    let (first, second) = (&roots[..2], &roots[1..]);
    let one = transaction("one", first);
    let two = transaction("two", second);
    let (a, b) = tokio::join!(
        bench.store.keep_signed(&one, Target::Program, first, NOW),
        other.keep_signed(&two, Target::Program, second, NOW)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(a != b, "{a} {b}");
    let kept = if a { (one, first) } else { (two, second) };
    let flying = bench.in_flight().await;
    assert_eq!(flying.len(), 1);
    assert_eq!(flying[0].transaction, kept.0);
    let free = if a { &roots[2] } else { &roots[0] };
    assert_eq!(bench.roots().await, std::slice::from_ref(free));
    let logs = ["forsen", "nmp", "xqc"].map(|channel| bench.row(channel));
    let mut rows = 0;
    for log in logs {
        rows += log.await.log.len();
    }
    assert_eq!(rows, 2);
}

async fn a_transaction_is_kept_whole_or_not_at_all(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    bench
        .step(&roots[1], Step::Hold(because(Why::Paused)), None)
        .await;
    let before = (bench.row("forsen").await, bench.row("xqc").await);
    let one = transaction("one", &roots);
    let store = &bench.store;
    let kept = store.keep_signed(&one, Target::Program, &roots, NOW).await;
    assert!(!kept.unwrap());
    assert_eq!((bench.row("forsen").await, bench.row("xqc").await), before);
    assert_eq!(bench.in_flight().await, []);
    // Nothing of it was left, so the same transaction can be kept later.
    bench.step(&roots[1], Step::Release, None).await;
    bench.sign("one", &roots).await;
    assert_eq!(bench.in_flight().await[0].transaction, one);
}

async fn roots_of_one_transaction_part_on_the_way(bench: Bench) {
    bench.hour(&["forsen", "nmp", "xqc"]).await;
    let mut roots = bench.roots().await;
    // The order of the instructions is that of the transaction, not that of the store.
    roots.reverse();
    bench.sign("one", &roots).await;
    for root in &roots {
        bench.step(root, Step::Finalize, Some(3)).await;
    }
    bench.step(&roots[0], Step::ReadBack, Some(4)).await;
    bench.step(&roots[2], Step::FoundNewer(9), Some(4)).await;
    let flying = bench.in_flight().await;
    let left = InFlight {
        transaction: transaction("one", &roots),
        target: Target::Program,
        finalized_slot: Some(3),
        roots: vec![(roots[1].clone(), finalized("one"))],
    };
    assert_eq!(flying, [left]);
    let published = [
        bench.published_at(HOUR, "forsen").await,
        bench.published_at(HOUR, "nmp").await,
        bench.published_at(HOUR, "xqc").await,
    ];
    assert_eq!(published, [None, None, Some(20_005)]);
}

async fn an_illegal_step_is_refused_with_all_that_came_with_it(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots).await;
    let good = change(&roots[0], signed("one"), Step::Finalize, Some(1));
    let before = bench.in_flight().await;
    for step in [
        Step::ReadBack,
        Step::Release,
        Step::Hold(because(Why::Paused)),
        Step::Sign {
            signature: "two".to_owned(),
            last_valid_block_height: 1,
        },
    ] {
        let bad = change(&roots[1], signed("one"), step, None);
        let error = bench.store.advance(&[good.clone(), bad], NOW).await;
        assert!(!error.unwrap_err().is_transient());
        assert_eq!(bench.in_flight().await, before);
        assert_eq!(bench.row("forsen").await.log[0].slot, None);
    }
}

async fn steps_of_one_root_are_taken_in_order(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots[..1]).await;
    let unknown = RootId(999);
    let mut lost = change(&roots[1], Publication::Planned, Step::ReadBack, None);
    lost.root = unknown;
    let changes = [
        change(&roots[0], signed("one"), Step::Finalize, Some(1)),
        lost,
        change(&roots[0], signed("one"), Step::Expire, None),
        change(&roots[0], finalized("one"), Step::ReadBack, Some(2)),
    ];
    assert_eq!(bench.store.advance(&changes, NOW).await.unwrap(), 2);
    let now = bench.row("forsen").await;
    assert!(now.publication.is_published());
    let confirmed = SettlementLogRow {
        slot: Some(1),
        settled_at: Some(20_000_000),
        ..row(Some("one"), "confirmed")
    };
    assert_eq!(now.log, [confirmed]);
    assert_eq!(bench.store.advance(&[], NOW).await.unwrap(), 0);
}

async fn a_transaction_that_is_none_is_refused(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    let one = || transaction("one", &roots);
    let mut nothing = one();
    nothing.bytes.clear();
    let mut other = one();
    other.roots.reverse();
    let twice = [roots[0].clone(), roots[0].clone()];
    let mut elsewhere = roots.clone();
    elsewhere[1].channel = name("nmp");
    let mut unknown = roots.clone();
    unknown[1].id = RootId(999);
    let all = [
        (nothing, Target::Program, roots.clone()),
        (other, Target::Program, roots.clone()),
        (one(), Target::None, roots.clone()),
        (transaction("", &roots), Target::Memo, roots.clone()),
        (transaction("one", &[]), Target::Memo, vec![]),
        (transaction("one", &twice), Target::Memo, twice.to_vec()),
        (one(), Target::Program, elsewhere),
        (transaction("one", &unknown), Target::Program, unknown),
    ];
    for (transaction, target, given) in all {
        let kept = &bench.store;
        let kept = kept.keep_signed(&transaction, target, &given, NOW).await;
        assert!(!kept.unwrap_err().is_transient(), "{transaction:?}");
        assert_eq!(bench.in_flight().await, []);
    }
    bench.sign("one", &roots[..1]).await;
    // One signature is one transaction.
    let again = transaction("one", &roots[1..]);
    let again = &bench
        .store
        .keep_signed(&again, Target::Program, &roots[1..], NOW)
        .await;
    assert!(again.as_ref().is_err_and(|error| !error.is_transient()));
    assert_eq!(bench.row("xqc").await.log, []);
}

async fn numbers_and_texts_of_others_are_kept_within_bounds(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let mut roots = bench.roots().await;
    roots[0].number = u64::MAX;
    roots[0].root = [0xab; 32];
    bench.sign("one", &roots[..1]).await;
    assert_eq!(bench.in_flight().await[0].roots[0].0, roots[0]);
    let text = format!("a\0b{}", "é".repeat(5000));
    let refuse = Step::Refuse(Reason::new(Why::ProgramRefused, text.clone()));
    bench.step(&roots[0], refuse, None).await;
    let Publication::Failed { reason } = bench.row("forsen").await.publication else {
        panic!("it is failed");
    };
    let expected: String = text.replace('\0', "\u{fffd}").chars().take(2000).collect();
    assert_eq!(reason, Reason::new(Why::ProgramRefused, expected));
    let refused = bench.store.order(roots[0].id, Order::Retry, NOW).await;
    assert!(refused.unwrap());
    let hold = Step::Hold(Reason::new(Why::Paused, ""));
    bench.step(&roots[1], hold, None).await;
    let held = bench.row("xqc").await.publication;
    let reason = Reason::new(Why::Paused, "");
    assert_eq!(held, Publication::Held { reason });
    let nowhere = bench.store.row(Epoch(1), &name("xqc")).await.unwrap();
    assert_eq!(nowhere, None);
    let candidate = bench.store.candidate(HOUR, &name("forsen")).await.unwrap();
    let again = to_publish(&candidate.unwrap());
    assert_ne!(again, roots[0]);
    assert_eq!(again.id, roots[0].id);
}

#[tokio::test]
async fn a_lost_answer_is_found_in_flight_and_a_failure_did_nothing() {
    let bench = Bench::memory();
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    let store = FaultyStore::new(bench.memory_store());
    let one = transaction("one", &roots);
    store
        .faults()
        .fail_next_of("keep_signed", 1, Fault::AnswerLost);
    let lost = store.keep_signed(&one, Target::Memo, &roots, NOW).await;
    assert!(lost.unwrap_err().is_transient());
    let flying = store.in_flight().await.unwrap();
    assert_eq!(
        (&flying[0].transaction, flying[0].target),
        (&one, Target::Memo)
    );
    assert_eq!(bench.row("forsen").await.log[0].target, "memo");
    store.faults().fail_next_of("advance", 1, Fault::Transient);
    let finalize = [change(&roots[0], signed("one"), Step::Finalize, Some(1))];
    let away = store.advance(&finalize, NOW).await;
    assert!(away.unwrap_err().is_transient());
    assert_eq!(store.in_flight().await.unwrap(), flying);
    assert_eq!(store.advance(&finalize, NOW).await.unwrap(), 1);
}
