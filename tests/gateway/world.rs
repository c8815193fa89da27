//! A process made of stand-ins, and a gateway in front of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twzrd::admin::{Admin, ChannelEdit, Refused, Reloaded};
use twzrd::gateway::{
    AdminAccess, Gateway, Ingest, Limits, ServeError, SettlementFacts, SettlementView, Token, View,
};
use twzrd_actors::chain_listener::ListenerCounts;
use twzrd_actors::publisher::PublisherCounts;
use twzrd_actors::status::{
    ChannelState, ChannelStatus, ConnectionState, ConnectionStatus, IntakeCounts,
};
use twzrd_chain::rpc::{NodeStatus, Observed};
use twzrd_domain::batch::Group;
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::{Channel, Name, UserHash, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::ledger::Counts;
use twzrd_domain::merkle::MerkleTree;
use twzrd_domain::ports::BuiltTrees;
use twzrd_domain::roster::Listing;
use twzrd_domain::seal::{Participant, freeze};
use twzrd_domain::settlement::{RootKind, Target, Why};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::Health;
use twzrd_supervision::{ChildKind, ChildSnapshot, ChildState, Strategy, TreeSnapshot};
use twzrd_testkit::fake::{Fault, ManualClock, MemoryStore, State};

/// The hour that is sealed.
pub(crate) const HOUR: u64 = 1_760_000_400;
/// Now, half an hour after its end, in Unix milliseconds.
pub(crate) const NOW: u64 = (HOUR + 5400) * 1000;
/// The token of the admin routes.
pub(crate) const TOKEN: &str = "a-token-of-the-tests";

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// The stand-ins, to be changed while the gateway runs.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) clock: ManualClock,
    pub(crate) tree: Arc<Mutex<TreeSnapshot>>,
    pub(crate) journal: Arc<Mutex<Health>>,
    pub(crate) ingest: Arc<Mutex<Intake>>,
    pub(crate) admin: Arc<FakeAdmin>,
}

#[derive(Clone, Default)]
pub(crate) struct Intake {
    pub(crate) channels: Vec<ChannelStatus>,
    pub(crate) connections: Vec<ConnectionStatus>,
    pub(crate) counts: IntakeCounts,
}

struct Shared(Arc<Mutex<Intake>>);

impl Ingest for Shared {
    fn channels(&self) -> Vec<ChannelStatus> {
        self.0.lock().unwrap().channels.clone()
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        self.0.lock().unwrap().connections.clone()
    }

    fn intake(&self) -> IntakeCounts {
        self.0.lock().unwrap().counts
    }
}

/// Notes what it was asked, and refuses where a test says so.
#[derive(Default)]
pub(crate) struct FakeAdmin {
    pub(crate) edits: Mutex<Vec<ChannelEdit>>,
    pub(crate) refusal: Mutex<Option<Refused>>,
}

impl FakeAdmin {
    fn answer(&self) -> Result<Reloaded, Refused> {
        match self.refusal.lock().unwrap().clone() {
            Some(refused) => Err(refused),
            None => Ok(Reloaded {
                added: 1,
                unchanged: 2,
                added_channels: vec!["new".to_owned()],
                took_ms: 3,
                ..Reloaded::default()
            }),
        }
    }
}

#[async_trait]
impl Admin for FakeAdmin {
    async fn reload(&self) -> Result<Reloaded, Refused> {
        self.answer()
    }

    async fn edit(&self, edit: ChannelEdit) -> Result<Reloaded, Refused> {
        self.edits.lock().unwrap().push(edit);
        self.answer()
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn child(path: &str, state: ChildState) -> ChildSnapshot {
    ChildSnapshot {
        state,
        uptime_ms: Some(1000),
        ..ChildSnapshot::starting(path, ChildKind::Worker)
    }
}

pub(crate) fn supervisor(path: &str, children: Vec<ChildSnapshot>) -> ChildSnapshot {
    ChildSnapshot {
        kind: ChildKind::Supervisor,
        strategy: Some(Strategy::OneForOne),
        children,
        ..child(path, ChildState::Running)
    }
}

pub(crate) fn heard(channel: &str) -> ChannelStatus {
    ChannelStatus {
        channel: name(channel),
        listing: Listing {
            group: "main".into(),
            token_group: "CLS".into(),
            category: "music".into(),
        },
        state: ChannelState::Heard,
        reason: None,
        since: NOW - 1000,
        retry_at: None,
        connection: Some(1),
        lines: 7,
        last_line: Some(NOW - 5),
        feed_lines: 2,
        feed_bytes: 300,
        feed_bound: 65_536,
    }
}

pub(crate) fn connected(number: u32) -> ConnectionStatus {
    ConnectionStatus {
        number,
        state: ConnectionState::Connected,
        reason: None,
        since: NOW - 1000,
        channels: 2,
        heard: 2,
        blocked_by: None,
    }
}

/// A store in which an hour of these channels is sealed and has its trees.
pub(crate) fn sealed(channels: &[(&str, &[&str])]) -> State {
    let mut state = State::default();
    for (channel, people) in channels {
        seal(&mut state, Epoch(HOUR), &name(channel), people);
    }
    let mut counts = Counts::default();
    for (n, outcome) in Outcome::ALL.into_iter().enumerate() {
        counts.book(outcome, n as u64 + 1);
    }
    state.ledger.insert((Epoch(HOUR), name("tea")), counts);
    state.position.seq = 90;
    state
}

pub(crate) fn seal(state: &mut State, epoch: Epoch, channel: &Channel, people: &[&str]) {
    let participant = |(at, login): (usize, &&str)| Participant {
        user: UserHash::of_login(&name(login)),
        first_seen: epoch.0 + at as u64,
        login: Some(name(login)),
        wallet: Wallet::UNBOUND,
        sums: None,
        group: Group::default(),
    };
    let people = people.iter().enumerate().map(participant).collect();
    let frozen = freeze(epoch, channel, NOW, &Arithmetic::default(), people);
    let frozen = frozen.unwrap().unwrap();
    let presence = |user| leaf::participation(user, channel, epoch);
    let users = frozen.participants.iter().map(|p| presence(p.user));
    let participation = MerkleTree::new(users.collect()).unwrap();
    let claims = frozen.participants.iter().map(|p| p.claim_leaf);
    let claims = MerkleTree::new(claims.collect()).unwrap();
    let trees = BuiltTrees {
        epoch,
        channel: channel.clone(),
        participants: frozen.participants.len() as u64,
        participation_root: participation.root(),
        claim_levels: claims.levels(),
        built_at: NOW,
    };
    state.sealed.insert(epoch, NOW);
    state.frozen_epochs.insert(epoch, NOW);
    let key = (epoch, channel.clone());
    state.frozen.insert(key.clone(), frozen);
    state.trees.insert(key, trees);
}

impl World {
    /// A process that is well: two channels are heard, and an hour of them is sealed.
    pub(crate) fn new() -> Self {
        let state = sealed(&[("go", &["erin"]), ("tea", &["alice", "bob", "carol"])]);
        Self::with(state)
    }

    pub(crate) fn with(state: State) -> Self {
        let workers = ["journal", "suppression_filter", "participation_batcher"];
        let worker = |id| child(&format!("root/settlement/{id}"), ChildState::Running);
        let settlement = supervisor("root/settlement", workers.map(worker).into());
        let root = supervisor("root", vec![settlement]);
        let journal = Health {
            state: twzrd_journal::State::Ok,
            counters: twzrd_journal::Counters::default(),
            durable: 100,
        };
        let intake = Intake {
            channels: vec![heard("tea"), heard("go")],
            connections: vec![connected(1)],
            counts: IntakeCounts::default(),
        };
        Self {
            store: MemoryStore::with_state(state),
            clock: ManualClock::at(NOW),
            tree: Arc::new(Mutex::new(TreeSnapshot { root })),
            journal: Arc::new(Mutex::new(journal)),
            ingest: Arc::new(Mutex::new(intake)),
            admin: Arc::default(),
        }
    }

    pub(crate) fn view(&self) -> View {
        let (tree, journal) = (Arc::clone(&self.tree), Arc::clone(&self.journal));
        View {
            version: "1.2.3",
            epoch_length: EpochLength::HOUR,
            clock: Arc::new(self.clock.clone()),
            tree: Arc::new(move || tree.lock().unwrap().clone()),
            dynamic: vec!["root/ingest/collectors".to_owned()],
            journal: Arc::new(move || journal.lock().unwrap().clone()),
            store: Arc::new(self.store.clone()),
            probe: Arc::new(self.store.clone()),
            ingest: Arc::new(Shared(Arc::clone(&self.ingest))),
            settlement: SettlementView {
                store: Arc::new(self.store.clone()),
                root: RootKind::Claim,
                facts: Arc::new(publishing),
            },
            lag_bound: 1000,
            admin: None,
        }
    }

    pub(crate) fn view_with_admin(&self) -> View {
        let token = Token::new(TOKEN).unwrap();
        let admin = self.admin.clone();
        View {
            admin: Some(AdminAccess { token, admin }),
            ..self.view()
        }
    }

    /// Makes the store go away, or come back.
    pub(crate) fn set_store_away(&self, is_away: bool) {
        self.store.faults().clear();
        if is_away {
            self.store.faults().hook(|_| Some(Fault::Transient));
        }
    }
}

/// A publisher and a listener that did something of everything.
pub(crate) fn publishing() -> SettlementFacts {
    let name = |text: &str| Name::parse(text).unwrap();
    SettlementFacts {
        target: Target::Program,
        auto_publish: true,
        signer: Some("signer".to_owned()),
        signer_lamports: Some(1_500_000_000),
        claims_open_seconds: Some(36_000),
        publisher: PublisherCounts {
            settled: [(name("tea"), 3), (Name::none(), 4)].into(),
            skipped: [(Why::Paused, 2)].into(),
            failed: [("expired", 1)].into(),
            ..PublisherCounts::default()
        },
        listener: ListenerCounts {
            slot: 999,
            looked: Some(NOW - 500),
            known_from: Some(12),
            ..ListenerCounts::default()
        },
        nodes: vec![NodeStatus {
            name: "http://node.example".to_owned(),
            is_healthy: true,
            cooling: None,
            slot: Some(1000),
            lag: Some(2),
            errors: 5,
            last_error: Some("it is behind".to_owned()),
        }],
        calls: vec![Observed {
            method: "getBalance",
            status: twzrd_chain::rpc::Status::Ok,
            count: 3,
            total: Duration::from_millis(1700),
            buckets: [1, 0, 1, 1, 0, 0, 0],
        }],
    }
}

/// Bounds that do not keep a test waiting.
pub(crate) fn limits() -> Limits {
    Limits {
        probe_interval: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// A gateway that serves until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: JoinSet<Result<(), ServeError>>,
    pub(crate) client: reqwest::Client,
}

pub(crate) async fn serve(view: View, limits: Limits) -> Served {
    let bound = Gateway::bind("127.0.0.1:0".parse().unwrap(), limits).await;
    let bound = bound.unwrap();
    let (address, stop) = (bound.address(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(bound.serve(view, stop.clone()));
    Served {
        address,
        stop,
        tasks,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let got = Self {
            status,
            headers,
            text,
        };
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        if status >= 400 {
            got.assert_problem();
        }
        got
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn assert_problem(&self) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["type"], format!("urn:twzrd:problem:{code}"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        let retry = if self.status == 503 { "1" } else { "" };
        assert_eq!(self.header("retry-after"), retry);
    }

    /// Status and code of a problem, for comparison.
    pub(crate) fn problem(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or("").to_owned();
        (self.status, code)
    }
}

impl Served {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        Got::of(self.client.get(self.url(path))).await
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn get_until(&self, path: &str, wanted: impl Fn(&Got) -> bool) -> Got {
        let asked = async {
            loop {
                let got = self.get(path).await;
                if wanted(&got) {
                    return got;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        asked.unwrap_or_else(|_| panic!("{path} never answered as wanted"))
    }

    /// Waits until the gateway has seen that the store is away, or back.
    pub(crate) async fn wait_database(&self, status: &str) {
        self.get_until("/health", |got| got.json()["database"]["status"] == status)
            .await;
    }
}
