//! The pool over scripted nodes, in paused time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "shared with other tests")]
mod pool_script;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_script::{Mode, Node, Sender, balance, calls, pool};
use serde_json::{Value, json};
use solana_rpc_client_api::client_error::ErrorKind;
use solana_rpc_client_api::request::RpcError;
use solana_sdk::hash::Hash;
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig, PoolError, Status, chain_error};
use twzrd_domain::chain::ChainError;

fn count(pool: &Pool, method: &str, status: Status) -> u64 {
    let all = pool.observe();
    let mut of = all
        .iter()
        .filter(|o| o.method == method && o.status == status);
    of.next().map_or(0, |observed| observed.count)
}

#[tokio::test(start_paused = true)]
async fn calls_take_the_healthy_nodes_in_turn() {
    let (a, b, c) = (Node::at(100), Node::at(100), Node::at(100));
    let pool = pool(&[&a, &b, &c]);
    for _ in 0..9 {
        assert_eq!(balance(&pool).await.unwrap(), 5);
    }
    assert_eq!(calls(&[&a, &b, &c]), [3, 3, 3]);
    assert_eq!(count(&pool, "getBalance", Status::Ok), 9);
    assert!(pool.status().iter().all(|node| node.is_healthy));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_is_passed_over_until_it_has_cooled_down() {
    let ill = [
        (Mode::Code(-32005), Status::Behind),
        (Mode::Code(-32603), Status::Error),
        (Mode::Code(429), Status::RateLimited),
        (Mode::Broken, Status::Error),
        (Mode::Hang, Status::Timeout),
        (Mode::Says(json!("<html>")), Status::Error),
        (Mode::Says(Value::Null), Status::Error),
    ];
    for (mode, status) in ill {
        let (a, b) = (Node::at(100), Node::at(100));
        a.set(mode.clone());
        let pool = pool(&[&a, &b]);
        for _ in 0..6 {
            assert_eq!(balance(&pool).await.unwrap(), 5, "{mode:?}");
        }
        assert_eq!(calls(&[&a, &b]), [1, 6], "{mode:?}");
        assert_eq!(count(&pool, "getBalance", status), 1, "{mode:?}");
        let shown = &pool.status()[0];
        assert!(!shown.is_healthy && shown.cooling.is_some(), "{shown:?}");
        assert_eq!(shown.errors, 1);
        assert!(shown.last_error.as_ref().unwrap().contains("getBalance"));

        a.set(Mode::Well);
        tokio::time::advance(Duration::from_secs(61)).await;
        for _ in 0..4 {
            balance(&pool).await.unwrap();
        }
        assert_eq!(calls(&[&a, &b]), [3, 8], "{mode:?}");
        assert!(pool.status()[0].is_healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_the_call_itself_ends_it_and_cools_nothing() {
    for code in [-32002, -32602, -32003] {
        let (a, b) = (Node::at(100), Node::at(100));
        a.set(Mode::Code(code));
        b.set(Mode::Code(code));
        let pool = pool(&[&a, &b]);
        let error = balance(&pool).await.unwrap_err();
        assert_eq!(a.calls() + b.calls(), 1, "{code}");
        assert!(pool.status().iter().all(|node| node.is_healthy));
        let error = chain_error("read a balance", &error);
        assert!(matches!(error, ChainError::Permanent { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_asks_each_node_at_most_once_and_then_fails_with_the_last_error() {
    let (a, b) = (Node::at(100), Node::at(100));
    a.set(Mode::Code(-32016));
    b.set(Mode::Code(-32016));
    let pool = pool(&[&a, &b]);
    let error = balance(&pool).await.unwrap_err();
    assert_eq!(calls(&[&a, &b]), [1, 1]);
    assert!(pool.status().iter().all(|node| node.cooling.is_none()));
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            ErrorKind::RpcError(RpcError::RpcResponseError { code: -32016, .. })
        ),
        "{kind:?}"
    );
    let error = chain_error("read a balance", &error);
    assert!(error.is_transient());
    assert!(error.to_string().contains("b: said so"), "{error}");
    assert_eq!(count(&pool, "getBalance", Status::Behind), 2);
}

#[tokio::test(start_paused = true)]
async fn where_all_are_cooling_the_one_that_is_ready_soonest_is_asked() {
    let (a, b) = (Node::at(100), Node::at(100));
    a.set(Mode::Broken);
    b.set(Mode::Hang);
    let pool = pool(&[&a, &b]);
    assert!(
        balance(&pool).await.is_err(),
        "a first, b three seconds later"
    );
    assert!(pool.status().iter().all(|node| node.cooling.is_some()));
    a.set(Mode::Well);
    b.set(Mode::Well);
    assert_eq!(balance(&pool).await.unwrap(), 5);
    assert_eq!(calls(&[&a, &b]), [2, 1]);
    assert!(pool.status()[0].is_healthy, "it answered");
    assert!(!pool.status()[1].is_healthy);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_is_asked_only_where_no_other_answers() {
    let (a, b) = (Node::at(1000), Node::at(900));
    let pool = pool(&[&a, &b]);
    for _ in 0..4 {
        balance(&pool).await.unwrap();
    }
    assert_eq!(calls(&[&a, &b]), [4, 0]);
    let shown = &pool.status()[1];
    assert_eq!(
        (shown.is_healthy, shown.lag, shown.slot),
        (false, Some(100), Some(900))
    );
    a.set(Mode::Broken);
    assert_eq!(balance(&pool).await.unwrap(), 5);
    assert_eq!(calls(&[&a, &b]), [5, 1]);
    b.slot.store(960, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(6)).await;
    balance(&pool).await.unwrap();
    assert!(pool.status()[1].is_healthy, "forty slots are allowed");
}

#[tokio::test(start_paused = true)]
async fn slots_are_asked_for_now_and_then_and_a_silent_node_holds_a_call_up_only_once() {
    let (a, b) = (Node::at(100), Node::at(100));
    b.set_probes(Mode::Hang);
    let pool = pool(&[&a, &b]);
    let began = tokio::time::Instant::now();
    for _ in 0..50 {
        balance(&pool).await.unwrap();
    }
    assert_eq!(
        began.elapsed(),
        Duration::from_secs(2),
        "the probe's own deadline"
    );
    assert_eq!((a.probed(), b.probed()), (1, 1));
    tokio::time::advance(Duration::from_secs(6)).await;
    balance(&pool).await.unwrap();
    assert_eq!((a.probed(), b.probed()), (2, 1), "b is cooling down");
}

#[tokio::test(start_paused = true)]
async fn a_pinned_node_is_not_behind_what_was_asked_nor_what_any_node_told() {
    let (a, b, c) = (Node::at(1000), Node::at(900), Node::at(990));
    let pool = pool(&[&a, &b, &c]);
    for _ in 0..6 {
        let pinned = pool.pinned(0).await.unwrap();
        assert!(["a", "c"].contains(&pinned.name()), "{pinned:?}");
    }
    for _ in 0..6 {
        assert_eq!(pool.pinned(995).await.unwrap().name(), "a");
    }
    let error = pool.pinned(1001).await.unwrap_err();
    assert!(error.is_transient());
    for part in ["1001", "a at 1000", "b at 900", "c at 990"] {
        assert!(error.to_string().contains(part), "{error}");
    }

    // The node ahead is away: what it told still counts.
    a.set_probes(Mode::Broken);
    c.set_probes(Mode::Broken);
    tokio::time::advance(Duration::from_secs(1)).await;
    let error = pool.pinned(0).await.unwrap_err();
    assert!(error.to_string().contains("cooling down"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_was_told_long_ago_does_not_pin_a_node() {
    let (a, b) = (Node::at(1000), Node::at(1000));
    let pool = pool(&[&a, &b]);
    pool.pinned(0).await.unwrap();
    // The second machine behind a's URL is far behind; b goes on.
    a.slot.store(500, Ordering::SeqCst);
    b.slot.store(1001, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..4 {
        assert_eq!(pool.pinned(0).await.unwrap().name(), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_no_longer_tells_its_slot_is_not_pinned_by_an_old_one() {
    let (a, b) = (Node::at(1000), Node::at(1000));
    let pool = pool(&[&a, &b]);
    pool.pinned(0).await.unwrap();
    a.set_probes(Mode::Code(-32601));
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..4 {
        assert_eq!(pool.pinned(0).await.unwrap().name(), "b");
    }
    assert!(pool.status()[0].is_healthy, "it still answers other calls");
}

#[tokio::test(start_paused = true)]
async fn a_pinned_client_passes_nothing_on_and_refuses_answers_from_before() {
    let (a, b) = (Node::at(1000), Node::at(900));
    let pool = pool(&[&a, &b]);
    let pinned = pool.pinned(950).await.unwrap();
    assert_eq!((pinned.name(), pinned.slot()), ("a", 1000));
    let ask = || async { pinned.client.get_balance(&Default::default()).await };
    assert_eq!(ask().await.unwrap(), 5);
    // What was told once is not gone back behind.
    a.slot.store(1010, Ordering::SeqCst);
    assert_eq!(ask().await.unwrap(), 5);
    a.slot.store(1009, Ordering::SeqCst);
    let error = ask().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("slot 1009; expected one of slot 1010"),
        "{error}"
    );
    assert!(chain_error("read", &error).is_transient());
    a.set(Mode::Broken);
    assert!(ask().await.is_err());
    assert_eq!(b.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_node_that_failed_can_be_pinned_as_soon_as_it_answers() {
    let a = Node::at(1000);
    a.set_probes(Mode::Broken);
    let pool = pool(&[&a]);
    assert!(pool.pinned(0).await.is_err());
    a.set_probes(Mode::Well);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(pool.pinned(1000).await.unwrap().slot(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_server_error_of_its_own_number_is_passed_on() {
    for code in [-32000, -32051] {
        let (a, b) = (Node::at(100), Node::at(100));
        a.set(Mode::Code(code));
        let pool = pool(&[&a, &b]);
        for _ in 0..4 {
            assert_eq!(balance(&pool).await.unwrap(), 5, "{code}");
        }
        assert!(pool.status().iter().all(|node| node.cooling.is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_network_is_not_known_is_not_asked_once_that_of_another_is() {
    let genesis = |byte: u8| Mode::Says(json!(Hash::new_from_array([byte; 32]).to_string()));
    let (a, b) = (Node::at(1000), Node::at(1000));
    a.set(genesis(1));
    b.set(Mode::Code(-32601));
    let pool = pool(&[&a, &b]);
    let networks = pool.networks().await;
    let hash = |byte: u8| Some(Hash::new_from_array([byte; 32]).to_string());
    assert_eq!(networks[0].genesis, hash(1));
    assert_eq!(networks[1].genesis, None);
    a.set(Mode::Well);
    let before = calls(&[&a, &b]);
    for _ in 0..4 {
        balance(&pool).await.unwrap();
        assert_eq!(pool.pinned(0).await.unwrap().name(), "a");
    }
    assert_eq!(a.calls() - before[0], 4);
    assert!(!pool.status()[1].is_healthy);
    // A network that is known is not asked for again; the other one is, with the slots.
    b.set(genesis(2));
    tokio::time::advance(Duration::from_secs(6)).await;
    pool.pinned(0).await.unwrap();
    b.set(Mode::Well);
    let networks = pool.networks().await;
    assert_eq!(networks[1].genesis, hash(2));
    assert_eq!(a.calls() - before[0], 4);
    assert!(pool.status()[1].is_healthy);
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_same_time_share_one_round_of_probes() {
    let (a, b) = (Node::at(100), Node::at(100));
    b.set_probes(Mode::Hang);
    let pool = pool(&[&a, &b]);
    let all = futures::future::join_all((0..20).map(|_| balance(&pool))).await;
    assert!(all.into_iter().all(|balance| balance.is_ok()));
    assert_eq!((a.probed(), b.probed()), (1, 1));

    // One that is cancelled while it asks leaves nobody waiting.
    b.set_probes(Mode::Well);
    a.set_probes(Mode::Hang);
    tokio::time::advance(Duration::from_secs(6)).await;
    let cancelled = tokio::time::timeout(Duration::from_millis(10), balance(&pool)).await;
    assert!(cancelled.is_err());
    assert_eq!(balance(&pool).await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_pool_wants_some_endpoints_and_not_too_many_and_tells_the_same_names_apart() {
    let node = Node::at(1);
    let endpoints = |n: usize| -> Vec<Endpoint> {
        let endpoint = |_| Endpoint::new("https://host", Box::new(Sender(Arc::clone(&node))));
        (0..n).map(endpoint).collect()
    };
    let config = PoolConfig::default();
    assert_eq!(
        Pool::new(endpoints(0), config).unwrap_err(),
        PoolError::None
    );
    assert_eq!(
        Pool::new(endpoints(17), config).unwrap_err(),
        PoolError::TooMany(17)
    );
    let pool = Pool::new(endpoints(3), config).unwrap();
    let names: Vec<String> = pool.status().into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["https://host", "https://host#2", "https://host#3"]);
}
