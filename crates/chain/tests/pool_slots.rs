//! Which slots of nodes the pool believes, in paused time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "shared with other tests")]
mod pool_script;

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_script::{ABSURD, Mode, Node, balance, pool};
use serde_json::json;
use twzrd_chain::rpc::{Pool, chain_error};

#[tokio::test(start_paused = true)]
async fn one_node_of_three_that_tells_an_absurd_slot_is_not_believed() {
    let (a, b, c) = (Node::at(1000), Node::at(ABSURD), Node::at(1001));
    let pool = pool(&[&a, &b, &c]);
    for _ in 0..4 {
        assert!(["a", "c"].contains(&pool.pinned(0).await.unwrap().name()));
    }
    assert!(
        pool.status()[1]
            .last_error
            .as_ref()
            .unwrap()
            .contains("above that of all others")
    );
    assert_eq!(pool.status()[0].lag, Some(1));
}

/// Asks for a pinned node every second until there is one, and answers after how many seconds.
async fn pinned_after(pool: &Pool, at_most: u64) -> u64 {
    for seconds in 0..at_most {
        if pool.pinned(0).await.is_ok() {
            return seconds;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    panic!("none after {at_most} s: {:?}", pool.status());
}

#[tokio::test(start_paused = true)]
async fn an_absurd_slot_at_the_beginning_is_given_up_when_no_node_stands_near_it() {
    for many in 1..=3 {
        let nodes = [Node::at(1000), Node::at(1000), Node::at(1000)];
        let all: Vec<_> = nodes.iter().take(many).collect();
        nodes[0].slot.store(ABSURD, Ordering::SeqCst);
        if many == 3 {
            // It is cooling down, so that the other two stand alone against each other.
            nodes[2].set_probes(Mode::Broken);
        }
        let pool = pool(&all);
        assert_eq!(pool.pinned(0).await.unwrap().slot(), ABSURD, "{many}");
        nodes[0].slot.store(1001, Ordering::SeqCst);
        nodes[2].set_probes(Mode::Well);
        tokio::time::advance(Duration::from_secs(1)).await;
        let error = pool.pinned(0).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        let shown = &pool.status()[0];
        assert!(
            shown.last_error.as_ref().unwrap().contains("slots below"),
            "{shown:?}"
        );
        let seconds = pinned_after(&pool, 400).await;
        assert!((295..=305).contains(&seconds), "{many} nodes: {seconds} s");
        assert!(pool.status()[0].is_healthy, "{many}: {:?}", pool.status());
    }
}

#[tokio::test(start_paused = true)]
async fn an_absurd_slot_later_on_is_not_believed_and_stops_nobody() {
    for many in 1..=2 {
        let nodes = [Node::at(1000), Node::at(1000)];
        let pool = pool(&nodes.iter().take(many).collect::<Vec<_>>());
        pool.pinned(0).await.unwrap();
        nodes[0].slot.store(ABSURD, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(1)).await;
        let pinned = pool.pinned(0).await;
        assert_eq!(pinned.is_ok(), many == 2, "{pinned:?}");
        let shown = &pool.status()[0];
        assert!(
            shown
                .last_error
                .as_ref()
                .unwrap()
                .contains("expected at most 11"),
            "{shown:?}"
        );
        // In passing it counts no more.
        let _ = balance(&pool).await;
        nodes[0].slot.store(1001, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(pool.pinned(0).await.unwrap().slot() >= 1000);
        assert!(pool.status().iter().all(|node| node.lag < Some(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_was_set_up_anew_or_jumped_ahead_is_believed_after_minutes() {
    for (slot, before) in [(5, 1000), (5_000_000, 1000)] {
        let a = Node::at(before);
        let pool = pool(&[&a]);
        pool.pinned(0).await.unwrap();
        a.slot.store(slot, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(1)).await;
        let seconds = pinned_after(&pool, 400).await;
        assert!((295..=305).contains(&seconds), "{seconds} s");
        assert_eq!(pool.pinned(0).await.unwrap().slot(), slot);
    }
}

#[tokio::test(start_paused = true)]
async fn slots_that_were_made_while_nobody_asked_are_believed_at_once() {
    let (a, b) = (Node::at(1000), Node::at(1000));
    let pool = pool(&[&a, &b]);
    pool.pinned(0).await.unwrap();
    // A day at two and a half a second; b has stood still.
    tokio::time::advance(Duration::from_secs(86_400)).await;
    a.slot.store(217_000, Ordering::SeqCst);
    for _ in 0..4 {
        assert_eq!(pool.pinned(0).await.unwrap().name(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pinned_answer_of_an_absurd_slot_is_refused_and_not_remembered() {
    let a = Node::at(1000);
    let pool = pool(&[&a]);
    let pinned = pool.pinned(0).await.unwrap();
    for (said, text) in [
        (
            json!({"context": {"slot": ABSURD}, "value": 5}),
            "11000 at most",
        ),
        (
            json!({"context": {"slot": u64::MAX}, "value": 5}),
            "a slot that can be",
        ),
    ] {
        a.set(Mode::Says(said));
        let error = pinned.client.get_balance(&Default::default()).await;
        let error = chain_error("read", &error.unwrap_err());
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    a.set(Mode::Well);
    let read = pinned.client.get_balance(&Default::default()).await;
    assert_eq!(read.unwrap(), 5);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(pool.pinned(0).await.unwrap().slot(), 1000);
}
