//! The walk over the program's transactions, against a scripted node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "activity_walk/node.rs"]
mod node;

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use node::{NoSubscriber, Node, activity, after, known, mark, marks};
use serde_json::{Value, json};
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::RpcRequest;
use twzrd_chain::activity::ProgramActivity;
use twzrd_chain::program::Program;
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_domain::chain::{ChainActivity, Followed, Found, Mark};

#[tokio::test(start_paused = true)]
async fn a_gap_of_thousands_comes_piece_by_piece_the_oldest_first_and_without_a_hole() {
    for last in [None, Some(mark(99))] {
        let node = Node::knows(marks(0, 5500));
        let activity = activity(&[&node]);
        let mut found: Vec<Mark> = last.iter().cloned().collect();
        let mut rounds = 0;
        loop {
            let piece = after(&activity, found.last(), 700).await.unwrap();
            assert!(piece.len() <= 700);
            found.extend(piece.iter().cloned());
            rounds += 1;
            if piece.len() < 700 {
                break;
            }
        }
        let from = if last.is_some() { 99 } else { 0 };
        assert_eq!(found, marks(from, 5500));
        assert_eq!(rounds, 8, "only the last piece is short");
        let asked = node.asked.load(Ordering::SeqCst);
        assert!(
            asked < 45,
            "{asked} calls: the gap is not walked again for each piece"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_lists_and_is_not_finalized_comes_once_it_is() {
    for many in [50, 2500] {
        let node = Node::knows(marks(0, many));
        node.finalized.store(1005, Ordering::SeqCst);
        let activity = activity(&[&node]);
        let mut found = Vec::new();
        // A page of which nothing is finalized shows nothing of what is below it.
        let first = after(&activity, None, 5000).await.unwrap();
        assert!(first.len() <= 18, "{}", first.len());
        found.extend(first);
        node.finalized.store(u64::MAX, Ordering::SeqCst);
        found.extend(after(&activity, found.last(), 5000).await.unwrap());
        assert_eq!(found, marks(0, many));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_in_the_slot_of_a_page_end_is_gone_on_from_all_the_same() {
    // The first page ends with 4500, whose slot also holds 4501 and 4502.
    for last in [4500, 4501, 4502] {
        let node = Node::knows(marks(0, 5500));
        let activity = activity(&[&node]);
        let limit = usize::try_from(last).unwrap() + 1;
        assert_eq!(
            after(&activity, None, limit).await.unwrap(),
            marks(0, last + 1)
        );
        let rest = after(&activity, Some(&mark(last)), 5000).await.unwrap();
        assert_eq!(rest, marks(last + 1, 5500));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_new_while_a_gap_is_filled_comes_in_its_place() {
    let node = Node::knows(marks(0, 3000));
    let activity = activity(&[&node]);
    let mut found = after(&activity, None, 1000).await.unwrap();
    node.known.lock().unwrap().extend(marks(3000, 4200));
    node.slot.store(mark(4199).slot, Ordering::SeqCst);
    loop {
        let piece = after(&activity, found.last(), 1000).await.unwrap();
        if piece.is_empty() {
            break;
        }
        found.extend(piece);
    }
    assert_eq!(found, marks(0, 4200));
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_nothing_and_costs_one_call() {
    let node = Node::knows(marks(0, 10));
    let activity = activity(&[&node]);
    let followed = Followed {
        mark: Some(mark(9)),
        known: known(0, 900),
    };
    let nothing = Found::default();
    assert_eq!(activity.after(&followed, 100).await.unwrap(), nothing);
    assert_eq!(node.asked.load(Ordering::SeqCst), 1);
    assert_eq!(after(&activity, Some(&mark(9)), 0).await.unwrap(), []);
    let empty = Node::knows(Vec::new());
    assert_eq!(
        after(&self::activity(&[&empty]), None, 100).await.unwrap(),
        []
    );
    let one = Node::knows(marks(0, 1));
    assert_eq!(
        after(&self::activity(&[&one]), None, 100).await.unwrap(),
        marks(0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_shorter_than_they_could_be_do_not_end_the_walk() {
    for last in [None, Some(mark(4))] {
        let node = Node {
            page: 7,
            ..Node::knows(marks(0, 40))
        };
        let activity = activity(&[&node]);
        let from = if last.is_some() { 5 } else { 0 };
        let found = after(&activity, last.as_ref(), 1000).await.unwrap();
        assert_eq!(found, marks(from, 40));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_the_mark_is_passed_over() {
    let (behind, good) = (Node::knows(marks(0, 10)), Node::knows(marks(0, 100)));
    let activity = activity(&[&behind, &good]);
    for _ in 0..3 {
        let found = after(&activity, Some(&mark(89)), 100).await.unwrap();
        assert_eq!(found, marks(90, 100));
    }
    let error = after(&self::activity(&[&behind]), Some(&mark(89)), 100)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("-32016"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_old_history_makes_no_hole() {
    // It knows from 50 on, and the mark is 20: what it answers looks whole.
    let pruned = Node::knows(marks(50, 100));
    let error = after(&activity(&[&pruned]), Some(&mark(20)), 1000)
        .await
        .unwrap_err();
    assert!(error.is_transient());
    let expected = format!("expected the mark {}", mark(20).signature);
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_with_the_whole_history_is_found_beside_one_that_lost_it() {
    let (full, pruned) = (Node::knows(marks(0, 3000)), Node::pruned(2950, 3000));
    for nodes in [[&full, &pruned], [&pruned, &full]] {
        let activity = activity(&nodes);
        let mut found = marks(0, 21);
        while found.len() < 3000 {
            found.extend(after(&activity, found.last(), 700).await.unwrap());
        }
        assert_eq!(found, marks(0, 3000));
    }
    let asked = full.asked.load(Ordering::SeqCst) + pruned.asked.load(Ordering::SeqCst);
    assert!(
        asked < 60,
        "{asked} calls: the one that knows is asked first"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_the_mark_is_believed_where_all_it_lost_is_known() {
    let pruned = Node::pruned(50, 100);
    let begin = mark(50).slot;
    let followed = |to| Followed {
        mark: Some(mark(20)),
        known: known(7, to),
    };
    let found = activity(&[&pruned]).after(&followed(begin), 1000).await;
    let found = found.unwrap();
    assert_eq!(found.marks, marks(50, 100));
    assert_eq!(found.known, known(7, begin));
    // A block was lost of which nothing is known, or may have been.
    let unknown = Node {
        first: None,
        ..pruned.clone()
    };
    for (node, to) in [(&pruned, begin - 1), (&unknown, begin)] {
        let error = activity(&[node]).after(&followed(to), 1000).await;
        let error = error.unwrap_err();
        let expected = format!("begins at slot {to} or before");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn from_which_slot_on_everything_is_known_is_told() {
    let first = Followed::default();
    for (node, from) in [
        (Node::knows(marks(0, 3000)), 0),
        (Node::pruned(600, 3000), mark(600).slot),
        (
            Node {
                first: None,
                ..Node::pruned(600, 3000)
            },
            mark(600).slot,
        ),
    ] {
        let activity = activity(&[&node]);
        let last = node.slot.load(Ordering::SeqCst);
        let whole = activity.after(&first, 5000).await.unwrap();
        assert_eq!(whole.known, known(from, last - 150));
        // There is more, maybe in the slot of the last.
        let part = activity.after(&first, 10).await.unwrap();
        assert_eq!(part.known, known(from, part.marks[9].slot - 1));
        let followed = Followed {
            mark: part.marks.last().cloned(),
            known: part.known,
        };
        let rest = activity.after(&followed, 5000).await.unwrap();
        assert_eq!(rest.known, whole.known);
        assert_eq!([part.marks, rest.marks].concat(), whole.marks);
    }
}

#[tokio::test(start_paused = true)]
async fn that_nothing_happened_is_known_after_a_while_and_only_where_it_is_proven() {
    let followed = Followed {
        mark: Some(mark(9)),
        known: known(0, 1003),
    };
    let later = 11_000;
    let full = Node::knows(marks(0, 10));
    let pruned = Node {
        first: Some(1003),
        ..Node::knows(Vec::new())
    };
    let lost = Node {
        first: Some(1004),
        ..Node::knows(Vec::new())
    };
    let news = known(0, later - 150);
    for (node, expected) in [(full, news), (pruned, news), (lost, None)] {
        node.slot.store(1100, Ordering::SeqCst);
        let activity = activity(&[&node]);
        let soon = activity.after(&followed, 10).await.unwrap();
        assert_eq!(soon, Found::default());
        node.slot.store(later, Ordering::SeqCst);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let found = activity.after(&followed, 10).await.unwrap();
        assert_eq!((found.marks, found.known), (Vec::new(), expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_from_a_node_that_does_not_know_where_to_go_on_is_not_taken_for_the_end() {
    for last in [None, Some(mark(3))] {
        // The pages behind the first come from a node that knows only old ones.
        let node = Node::twisted(marks(0, 3000), |config, page| {
            if !config["before"].is_null() {
                page.clear();
            }
        });
        let error = after(&activity(&[&node]), last.as_ref(), 100)
            .await
            .unwrap_err();
        assert!(
            error.is_transient() && error.to_string().contains("expected"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_contradicts_itself_is_refused_by_what_is_wrong() {
    type Wrong = (&'static str, fn(&Value, &mut Vec<Mark>));
    let wrong: [Wrong; 6] = [
        ("expected descending slots", |_, page| page.reverse()),
        ("twice", |_, page| page[1] = page[0].clone()),
        ("that of the mark", |_, page| page[39].slot = 7),
        ("the mark", |_, page| page.push(mark(9))),
        ("what is no signature", |_, page| {
            page[3].signature = "0OIl".into();
        }),
        ("a page of 1001", |_, page| *page = marks(0, 1001)),
    ];
    for (expected, twist) in wrong {
        let node = Node::twisted(marks(0, 50), twist);
        let error = after(&activity(&[&node]), Some(&mark(9)), 100)
            .await
            .unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_type_is_an_error() {
    struct Odd(Value);
    #[async_trait]
    impl RpcSender for Odd {
        async fn send(&self, request: RpcRequest, _: Value) -> client_error::Result<Value> {
            Ok(match request {
                RpcRequest::GetSlot => json!(10),
                _ => self.0.clone(),
            })
        }
        fn get_transport_stats(&self) -> RpcTransportStats {
            RpcTransportStats::default()
        }
        fn url(&self) -> String {
            String::new()
        }
    }
    let wrong = [
        Value::Null,
        json!({}),
        json!([1]),
        json!([{"signature": 5, "slot": 1}]),
        json!([{"signature": "x", "slot": -1}]),
        json!([{"slot": 1}]),
    ];
    for value in wrong {
        let endpoint = Endpoint::new("odd", Box::new(Odd(value.clone())));
        let pool = Pool::new(vec![endpoint], PoolConfig::default()).unwrap();
        let activity = ProgramActivity::new(pool, Program::default(), Box::new(NoSubscriber));
        let error = after(&activity, None, 10).await.unwrap_err();
        assert!(error.is_transient(), "{value}: {error}");
    }
}
