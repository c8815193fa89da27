//! What is due, with the facts that the policy asks about, what operators order, and reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod settlement_kit;

use settlement_kit::common::{hash, name, opt_out};
use settlement_kit::{Bench, HOUR, NOW, because, change, signed};
use twzrd_domain::batch::Change as Told;
use twzrd_domain::chain::{DUE_OF_A_CHANNEL, Order, Tally};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::{Earlier, Policy, RootId, Why};

on_all!(
    what_is_due_comes_by_epoch_and_channel_up_to_the_limit,
    a_channel_with_many_roots_keeps_no_other_waiting,
    a_candidate_has_all_that_the_policy_asks_about,
    a_name_that_was_taken_out_does_not_count,
    earlier_epochs_are_the_latest_of_the_channel,
    a_channel_was_live_where_a_window_overlaps_the_epoch,
    the_length_of_the_epoch_is_that_in_force,
    a_held_root_is_due_again_in_its_time,
    what_the_policy_holds_back_waits_for_its_time_or_an_operator,
    a_released_root_stays_released,
    an_operator_tries_again_what_failed,
    an_order_that_means_nothing_changes_nothing,
    tallies_and_pages_tell_every_root_once,
);

async fn what_is_due_comes_by_epoch_and_channel_up_to_the_limit(bench: Bench) {
    let later = Epoch(10_800);
    let people: &[&str] = &["ada"];
    bench
        .epoch(later, &[("aaa", people), ("zzz", people)])
        .await;
    bench
        .epoch(HOUR, &[("forsen", people), ("xqc", people)])
        .await;
    let keys = |due: Vec<twzrd_domain::settlement::Candidate>| -> Vec<(u64, String)> {
        let key = |it: &twzrd_domain::settlement::Candidate| (it.epoch.0, it.channel.to_string());
        due.iter().map(key).collect()
    };
    let all = [
        (7200, "forsen"),
        (7200, "xqc"),
        (10_800, "aaa"),
        (10_800, "zzz"),
    ];
    let all = all.map(|(epoch, channel)| (epoch, channel.to_owned()));
    assert_eq!(keys(bench.due().await), all);
    // What is held and due takes no place of what is planned.
    let roots = bench.roots().await;
    for root in [&roots[0], &roots[2]] {
        let hold = Step::Hold(because(Why::NoFunds));
        let mut hold = change(root, Publication::Planned, hold, None);
        hold.look_again = 0;
        bench.store.advance(&[hold], NOW).await.unwrap();
    }
    let of = |places: &[usize]| places.iter().map(|at| all[*at].clone()).collect::<Vec<_>>();
    for (limit, places) in [
        (0, [].as_slice()),
        (1, &[1]),
        (2, &[1, 3]),
        (3, &[0, 1, 3]),
        (4, &[0, 1, 2, 3]),
        (5, &[0, 1, 2, 3]),
    ] {
        let due = bench.store.due(NOW, limit).await.unwrap();
        assert_eq!(keys(due), of(places), "{limit}");
    }
    let most = bench.store.due(u64::MAX, u64::MAX).await.unwrap();
    assert_eq!(keys(most), all);
}

async fn a_candidate_has_all_that_the_policy_asks_about(bench: Bench) {
    bench
        .epoch(
            HOUR,
            &[("forsen", &["ada", "bob", "_cy"]), ("xqc", &["_cy"])],
        )
        .await;
    let due = bench.due().await;
    let [forsen, xqc] = due.as_slice() else {
        panic!("{due:?}");
    };
    assert_eq!((forsen.count, forsen.named), (3, 2));
    assert_eq!((xqc.count, xqc.named), (1, 0));
    assert_eq!((&*forsen.token_group, &*xqc.token_group), ("CLS", "MILO"));
    assert_eq!(forsen.publication, Publication::Planned);
    assert!(!forsen.is_released && !forsen.was_live);
    assert_eq!(forsen.earlier, Earlier::default());
    assert_ne!(forsen.claim_root, forsen.participation_root);
    let row = bench.row("forsen").await;
    assert_eq!((row.id, row.root), (forsen.id, forsen.claim_root));
    assert_eq!((row.count, row.log), (3, vec![]));
    for one in &due {
        let found = bench.store.candidate(HOUR, &one.channel).await.unwrap();
        assert_eq!(found.as_ref(), Some(one));
    }
    let none = bench.store.candidate(Epoch(0), &name("xqc")).await.unwrap();
    assert_eq!(none, None);
}

async fn a_name_that_was_taken_out_does_not_count(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let named = bench.due().await[0].named;
    bench
        .tell(Told::Suppress(opt_out(vec![hash("ada")], "asked")))
        .await;
    let due = bench.due().await;
    assert_eq!((named, due[0].named, due[0].count), (2, 1, 2));
}

async fn earlier_epochs_are_the_latest_of_the_channel(bench: Bench) {
    let most = u64::from(Policy::EARLIER_EPOCHS);
    // The first of them has three people, and is out of reach of the last.
    bench
        .epoch(Epoch(3600), &[("forsen", &["ada", "bob", "cy"])])
        .await;
    let both: &[(&str, &[&str])] = &[("nmp", &["ada"]), ("xqc", &["ada", "bob"])];
    bench.epoch(Epoch(7200), both).await;
    for at in 3..=most {
        bench.epoch(Epoch(at * 3600), &both[..1]).await;
    }
    let last = Epoch((most + 1) * 3600);
    bench
        .epoch(last, &[("forsen", &["ada"]), ("nmp", &["ada"])])
        .await;
    let past = Epoch((most + 2) * 3600);
    bench.epoch(past, &[("nmp", &["ada", "bob"])]).await;
    let after = Epoch((most + 3) * 3600);
    bench.epoch(after, &[("nmp", &["ada"])]).await;
    let earlier = async |epoch, channel: &str| {
        let found = bench.store.candidate(epoch, &name(channel)).await.unwrap();
        let earlier = found.unwrap().earlier;
        (u64::from(earlier.epochs), earlier.participants)
    };
    assert_eq!(earlier(last, "forsen").await, (1, 3));
    assert_eq!(earlier(Epoch(7200), "xqc").await, (0, 0));
    assert_eq!(earlier(last, "nmp").await, (most - 1, most - 1));
    assert_eq!(earlier(past, "nmp").await, (most, most));
    assert_eq!(earlier(after, "nmp").await, (most, most + 1));
}

async fn a_channel_was_live_where_a_window_overlaps_the_epoch(bench: Bench) {
    let channels = ["a0", "b0", "c0", "d0", "e0", "f0", "g0"];
    bench.hour(&channels).await;
    bench.live("a0", 7000, Some(7200)).await;
    bench.live("b0", 7000, Some(7201)).await;
    bench.live("c0", 10_799, None).await;
    bench.live("d0", 10_800, None).await;
    bench.live("e0", 10, Some(20)).await;
    bench.live("e0", 8000, Some(8001)).await;
    bench.live("f0", 1, None).await;
    let live: Vec<bool> = bench.due().await.iter().map(|one| one.was_live).collect();
    assert_eq!(live, [false, true, true, false, true, true, false]);
}

async fn a_channel_with_many_roots_keeps_no_other_waiting(bench: Bench) {
    let people: &[&str] = &["ada"];
    let more = DUE_OF_A_CHANNEL as u64 + 3;
    for number in 1..=more {
        bench
            .epoch(Epoch(number * 3600), &[("forsen", people)])
            .await;
    }
    let last = Epoch((more + 1) * 3600);
    bench.epoch(last, &[("xqc", people)]).await;
    let due = bench.store.due(NOW, 2).await.unwrap();
    let found: Vec<_> = due
        .iter()
        .map(|it| (it.epoch, it.channel.as_str()))
        .collect();
    assert_eq!(found, [(Epoch(3600), "forsen"), (last, "xqc")]);
    let due = bench.store.due(NOW, 1000).await.unwrap();
    assert_eq!(due.len(), DUE_OF_A_CHANNEL + 1);
    assert_eq!(
        due[DUE_OF_A_CHANNEL - 1].epoch,
        Epoch(DUE_OF_A_CHANNEL as u64 * 3600)
    );
}

async fn the_length_of_the_epoch_is_that_in_force(bench: Bench) {
    bench.hour(&["forsen"]).await;
    bench.live("forsen", 7260, None).await;
    assert!(bench.due().await[0].was_live);
    let length = twzrd_domain::epoch::EpochLength::new(60).unwrap();
    let arithmetic = twzrd_domain::weight::Arithmetic {
        epoch_seconds: length,
        ..Default::default()
    };
    bench.tell(Told::Settings(arithmetic)).await;
    assert!(!bench.due().await[0].was_live);
}

async fn a_held_root_is_due_again_in_its_time(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    let hold = Step::Hold(because(Why::Paused));
    bench.step(&roots[0], hold, None).await;
    let at = NOW + 60_000;
    assert_eq!(bench.store.due(at - 1, 9).await.unwrap(), []);
    let due = bench.store.due(at, 9).await.unwrap();
    let reason = because(Why::Paused);
    assert_eq!(due[0].publication, Publication::Held { reason });
}

async fn what_the_policy_holds_back_waits_for_its_time_or_an_operator(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    for why in Why::ALL.into_iter().filter(|why| why.is_policy()) {
        bench.step(&roots[0], Step::Hold(because(why)), None).await;
        assert_eq!(bench.store.due(NOW + 59_999, 9).await.unwrap(), [], "{why}");
        let due = bench.store.due(NOW + 60_000, 9).await.unwrap();
        assert_eq!(due.len(), 1, "{why}");
    }
    let order = bench.store.order(roots[0].id, Order::Release, NOW).await;
    assert!(order.unwrap());
    let due = bench.due().await;
    assert_eq!(due[0].publication, Publication::Planned);
    assert!(due[0].is_released);
    assert!(bench.row("forsen").await.is_released);
}

async fn a_released_root_stays_released(bench: Bench) {
    bench.hour(&["forsen"]).await;
    let roots = bench.roots().await;
    let hold = Step::Hold(because(Why::Anomaly));
    bench.step(&roots[0], hold.clone(), None).await;
    bench
        .store
        .order(roots[0].id, Order::Release, NOW)
        .await
        .unwrap();
    bench.sign("one", &roots).await;
    bench.step(&roots[0], Step::Expire, None).await;
    assert!(bench.due().await[0].is_released);
    // Held once more, by whatever, it comes with time.
    bench.step(&roots[0], hold, None).await;
    let due = bench.store.due(NOW + 60_000, 9).await.unwrap();
    assert!(due[0].is_released);
    let retry = bench.store.order(roots[0].id, Order::Retry, NOW).await;
    assert!(retry.unwrap());
    assert!(bench.due().await[0].is_released);
}

async fn an_operator_tries_again_what_failed(bench: Bench) {
    bench.hour(&["forsen", "xqc"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots[..1]).await;
    let refuse = || Step::Refuse(because(Why::ProgramRefused));
    bench.step(&roots[0], refuse(), None).await;
    let hold = Step::Hold(because(Why::Paused));
    bench.step(&roots[1], hold, None).await;
    assert_eq!(bench.store.due(NOW, 9).await.unwrap(), []);
    for root in &roots {
        let order = bench.store.order(root.id, Order::Retry, NOW).await;
        assert!(order.unwrap());
    }
    let due = bench.due().await;
    assert_eq!(due.len(), 2);
    for one in &due {
        let stands = (&one.publication, one.is_released);
        assert_eq!(stands, (&Publication::Planned, false));
    }
    bench.sign("two", &roots[..1]).await;
    let log = bench.row("forsen").await.log;
    let statuses: Vec<&str> = log.iter().map(|row| row.status.as_str()).collect();
    assert_eq!(statuses, ["failed", "pending_confirmation"]);
}

async fn an_order_that_means_nothing_changes_nothing(bench: Bench) {
    bench.hour(&["forsen", "nmp", "xqc"]).await;
    let roots = bench.roots().await;
    bench.sign("one", &roots[1..2]).await;
    let refuse = Step::Refuse(because(Why::TooLarge));
    bench.step(&roots[2], refuse, None).await;
    let rows = async || bench.store.rows(None, None, 9).await.unwrap();
    let before = rows().await;
    let orders = [
        (roots[0].id, Order::Release),
        (roots[0].id, Order::Retry),
        (roots[1].id, Order::Release),
        (roots[1].id, Order::Retry),
        (roots[2].id, Order::Release),
        (RootId(999), Order::Retry),
    ];
    for (root, order) in orders {
        let done = bench.store.order(root, order, NOW).await.unwrap();
        assert!(!done, "{root} {order:?}");
    }
    assert_eq!(rows().await, before);
}

async fn tallies_and_pages_tell_every_root_once(bench: Bench) {
    let later = Epoch(10_800);
    bench.hour(&["forsen", "nmp", "xqc"]).await;
    bench
        .epoch(later, &[("forsen", &["ada"]), ("nmp", &["ada"])])
        .await;
    let roots = bench.roots().await;
    bench.sign("one", &roots[..2]).await;
    for (at, why) in [(2, Why::Anomaly), (3, Why::NoFunds)] {
        bench.step(&roots[at], Step::Hold(because(why)), None).await;
    }
    bench.step(&roots[4], Step::ReadBack, None).await;
    let tally = |state: &str, why: &str, roots, oldest| Tally {
        state: state.to_owned(),
        why: why.to_owned(),
        roots,
        oldest,
    };
    let expected = [
        tally("held", "anomaly", 1, HOUR),
        tally("held", "no_funds", 1, later),
        tally("settled", "", 1, later),
        tally("signed", "", 2, HOUR),
    ];
    assert_eq!(bench.store.tallies().await.unwrap(), expected);
    let all = bench.store.rows(None, None, 100).await.unwrap();
    let ids: Vec<RootId> = all.iter().map(|row| row.id).collect();
    let known: Vec<RootId> = roots.iter().map(|root| root.id).collect();
    assert_eq!(ids, known);
    assert_eq!(all[0].publication, signed("one"));
    assert_eq!(all[0].log.len(), 1);
    let mut paged = Vec::new();
    while paged.len() < all.len() {
        let last: Option<&twzrd_domain::chain::SettlementRow> = paged.last();
        let after = last.map(|row| (row.epoch, row.channel.clone()));
        let page = bench.store.rows(None, after, 2).await.unwrap();
        assert!(!page.is_empty() && page.len() <= 2);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    for (state, rows) in [
        ("signed", &all[..2]),
        ("held", &all[2..4]),
        ("settled", &all[4..]),
        ("planned", &[]),
        ("failed", &[]),
        ("superseded", &[]),
        ("finalized", &[]),
    ] {
        let found = bench.store.rows(Some(state), None, 100).await.unwrap();
        assert_eq!(found, rows, "{state}");
    }
    let wrong = bench.store.rows(Some("published"), None, 1).await;
    assert!(!wrong.unwrap_err().is_transient());
}
