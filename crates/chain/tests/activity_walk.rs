//! The walk over the program's transactions, against a scripted node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::request::{RpcError, RpcRequest, RpcResponseErrorData};
use solana_sdk::signature::Signature;
use twzrd_chain::activity::{PAGE, ProgramActivity, Subscriber};
use twzrd_chain::program::Program;
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_domain::chain::{ChainActivity, ChainError, Mark, Subscription};

/// A chain with a transaction for each number; three in each slot.
fn mark(number: u64) -> Mark {
    let mut bytes = [7; 64];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Mark {
        slot: 1000 + number / 3,
        signature: Signature::from(bytes).to_string().into(),
    }
}

fn marks(from: u64, to: u64) -> Vec<Mark> {
    (from..to).map(mark).collect()
}

type Twist = Arc<dyn Fn(&Value, &mut Vec<Mark>) + Send + Sync>;

/// A node that knows transactions, oldest first.
#[derive(Clone)]
struct Node {
    known: Arc<Mutex<Vec<Mark>>>,
    slot: Arc<AtomicU64>,
    page: usize,
    twist: Twist,
    asked: Arc<AtomicUsize>,
    /// What is above this slot is listed, and not finalized.
    finalized: Arc<AtomicU64>,
}

impl Node {
    fn knows(known: Vec<Mark>) -> Self {
        let slot = known.last().map_or(1000, |mark| mark.slot);
        Self {
            known: Arc::new(Mutex::new(known)),
            slot: Arc::new(AtomicU64::new(slot)),
            page: PAGE,
            twist: Arc::new(|_, _| {}),
            asked: Arc::default(),
            finalized: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    fn status(&self, mark: &Mark) -> &'static str {
        match mark.slot > self.finalized.load(Ordering::SeqCst) {
            true => "confirmed",
            false => "finalized",
        }
    }

    fn twisted(
        known: Vec<Mark>,
        twist: impl Fn(&Value, &mut Vec<Mark>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            twist: Arc::new(twist),
            ..Self::knows(known)
        }
    }

    fn page(&self, config: &Value) -> Vec<Mark> {
        let known = self.known.lock().unwrap();
        let is = |key: &str| {
            let wanted = config[key].as_str().map(str::to_owned);
            move |mark: &&Mark| Some(mark.signature.as_str()) == wanted.as_deref()
        };
        let mut newest_first = known.iter().rev();
        // As a real node: what it does not know to go on from has nothing before it.
        if !config["before"].is_null() && !newest_first.any(|mark| is("before")(&mark)) {
            return Vec::new();
        }
        let limit = usize::try_from(config["limit"].as_u64().unwrap()).unwrap();
        let is_until = is("until");
        newest_first
            .take_while(|mark| !is_until(mark))
            .take(limit.min(self.page))
            .cloned()
            .collect()
    }
}

#[async_trait]
impl RpcSender for Node {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        let slot = self.slot.load(Ordering::SeqCst);
        if request == RpcRequest::GetSlot {
            return Ok(json!(slot));
        }
        assert_eq!(request, RpcRequest::GetSignaturesForAddress);
        assert_eq!(params[0], Program::default().id.to_string());
        let config = &params[1];
        assert_eq!(config["commitment"], "finalized");
        self.asked.fetch_add(1, Ordering::SeqCst);
        if config["minContextSlot"]
            .as_u64()
            .is_some_and(|wanted| wanted > slot)
        {
            return Err(RpcError::RpcResponseError {
                code: -32016,
                message: "Minimum context slot has not been reached".to_owned(),
                data: RpcResponseErrorData::Empty,
            }
            .into());
        }
        let mut page = self.page(config);
        (self.twist)(config, &mut page);
        let entry = |mark: &Mark| {
            json!({"signature": mark.signature, "slot": mark.slot, "err": null, "memo": null,
                   "blockTime": 1, "confirmationStatus": self.status(mark)})
        };
        Ok(page.iter().map(entry).collect())
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        String::new()
    }
}

struct NoSubscriber;

#[async_trait]
impl Subscriber for NoSubscriber {
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        panic!("not asked for here")
    }
}

fn activity(nodes: &[&Node]) -> ProgramActivity {
    let endpoints = nodes
        .iter()
        .zip(["a", "b", "c"])
        .map(|(node, name)| Endpoint::new(name, Box::new((*node).clone())));
    // Nodes that are behind stay in the turn here.
    let config = PoolConfig {
        allowed_lag: 1_000_000,
        ..PoolConfig::default()
    };
    let pool = Pool::new(endpoints.collect(), config).unwrap();
    ProgramActivity::new(pool, Program::default(), Box::new(NoSubscriber))
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_thousands_comes_piece_by_piece_the_oldest_first_and_without_a_hole() {
    for last in [None, Some(mark(99))] {
        let node = Node::knows(marks(0, 5500));
        let activity = activity(&[&node]);
        let mut found: Vec<Mark> = last.iter().cloned().collect();
        let mut rounds = 0;
        loop {
            let piece = activity.after(found.last(), 700).await.unwrap();
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
        let first = activity.after(None, 5000).await.unwrap();
        assert!(first.len() <= 18, "{}", first.len());
        found.extend(first);
        node.finalized.store(u64::MAX, Ordering::SeqCst);
        found.extend(activity.after(found.last(), 5000).await.unwrap());
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
            activity.after(None, limit).await.unwrap(),
            marks(0, last + 1)
        );
        let rest = activity.after(Some(&mark(last)), 5000).await.unwrap();
        assert_eq!(rest, marks(last + 1, 5500));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_new_while_a_gap_is_filled_comes_in_its_place() {
    let node = Node::knows(marks(0, 3000));
    let activity = activity(&[&node]);
    let mut found = activity.after(None, 1000).await.unwrap();
    node.known.lock().unwrap().extend(marks(3000, 4200));
    node.slot.store(mark(4199).slot, Ordering::SeqCst);
    loop {
        let piece = activity.after(found.last(), 1000).await.unwrap();
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
    assert_eq!(activity.after(Some(&mark(9)), 100).await.unwrap(), []);
    assert_eq!(node.asked.load(Ordering::SeqCst), 1);
    assert_eq!(activity.after(Some(&mark(9)), 0).await.unwrap(), []);
    let empty = Node::knows(Vec::new());
    assert_eq!(
        self::activity(&[&empty]).after(None, 100).await.unwrap(),
        []
    );
    let one = Node::knows(marks(0, 1));
    assert_eq!(
        self::activity(&[&one]).after(None, 100).await.unwrap(),
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
        let found = activity.after(last.as_ref(), 1000).await.unwrap();
        assert_eq!(found, marks(from, 40));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_the_mark_is_passed_over() {
    let (behind, good) = (Node::knows(marks(0, 10)), Node::knows(marks(0, 100)));
    let activity = activity(&[&behind, &good]);
    for _ in 0..3 {
        let found = activity.after(Some(&mark(89)), 100).await.unwrap();
        assert_eq!(found, marks(90, 100));
    }
    let error = self::activity(&[&behind])
        .after(Some(&mark(89)), 100)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("-32016"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_old_history_makes_no_hole() {
    // It knows from 50 on, and the mark is 20: what it answers looks whole.
    let pruned = Node::knows(marks(50, 100));
    let error = activity(&[&pruned])
        .after(Some(&mark(20)), 1000)
        .await
        .unwrap_err();
    assert!(error.is_transient());
    let expected = format!("expected the mark {}", mark(20).signature);
    assert!(error.to_string().contains(&expected), "{error}");
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
        let error = activity(&[&node])
            .after(last.as_ref(), 100)
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
        let error = activity(&[&node])
            .after(Some(&mark(9)), 100)
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
        async fn send(&self, _: RpcRequest, _: Value) -> client_error::Result<Value> {
            Ok(self.0.clone())
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
        let error = activity.after(None, 10).await.unwrap_err();
        assert!(error.is_transient(), "{value}: {error}");
    }
}
