//! The service in this process, and the simulator that it listens to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twzrd::clock::SystemClock;
use twzrd::demo::parity::{Disturbed, Verdict, all_sealed};
use twzrd::live::beside::GatewayService;
use twzrd::live::{self, Assembly, Live};
use twzrd::settings::Settings;
use twzrd::settings::layers::{Flags, Layers};
use twzrd::wiring::{DataFolder, How, Opened, Running};
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::{Probe, no_probe};
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{JournalFolder, ReportStore, SealStore, SealedEpoch};
use twzrd_simulator::traffic::{Kind, Shares};
use twzrd_simulator::{Config, Limit, Rooms, Simulator};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = tokio::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never held: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a world is made of.
pub(crate) struct Plan {
    pub(crate) channels: u32,
    pub(crate) users: u32,
    pub(crate) channels_per_connection: u32,
    pub(crate) joins: u32,
    pub(crate) epoch_seconds: u32,
    /// More than five seconds: the traffic has lines that are that old. Without, epochs are sealed
    /// when the test asks for it.
    pub(crate) grace_seconds: Option<u32>,
    pub(crate) database_url: Option<String>,
    /// Whether lines may be lost with their socket. Then all that count have an id, by which it can
    /// be told whether they were accepted.
    pub(crate) uncertain: bool,
    /// More settings, as TOML.
    pub(crate) more: &'static str,
    pub(crate) probe: Arc<dyn Probe>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            channels: 40,
            users: 2_000,
            channels_per_connection: 10,
            joins: 2_000,
            epoch_seconds: 4,
            grace_seconds: Some(8),
            database_url: None,
            uncertain: false,
            more: "",
            probe: no_probe(),
        }
    }
}

/// The service and its network.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) live: Live,
    pub(crate) settings: Settings,
    pub(crate) gateway: String,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = simulator(&plan).await;
        let settings = settings(folder.path(), &plan, &simulator);
        let (live, gateway) = service(folder.path(), &settings, plan.probe).await;
        Self {
            simulator,
            live,
            settings,
            gateway,
            folder,
        }
    }

    /// Where the service keeps its data.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Waits until every channel is heard.
    pub(crate) async fn all_heard(&self) {
        until("all channels are heard", || async {
            let rooms = self.live.board.rooms();
            rooms.len() == self.settings.roster.len() && rooms.iter().all(|room| room.is_heard())
        })
        .await;
    }

    /// Waits until clients have read all, feeds are empty and the store has applied all.
    pub(crate) async fn settle(&self) {
        let read = self.simulator.acknowledged();
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("clients read on");
        until("feeds are empty", || async {
            let rooms = self.live.board.rooms();
            let server = self.live.board.server();
            rooms
                .iter()
                .chain([server])
                .all(|room| room.feed().depth().lines == 0)
        })
        .await;
        until("the store has applied the journal", || async {
            let offset = twzrd_domain::ports::BatchStore::offset(&self.live.running.store).await;
            offset.is_ok_and(|offset| offset >= self.live.running.folder.durable())
        })
        .await;
    }

    /// Stops the service and seals what is open, as the end of a replay does.
    async fn seal(&self) {
        let late = self.live.running.tree.stop().await.late;
        assert!(late.is_empty(), "{late:?}");
        let data = DataFolder::existing(&self.data()).unwrap();
        let opened = Opened::open(&data, &self.settings, true).await.unwrap();
        let how = How {
            seal_when: SealWhen::Asked,
            catch_up_on_stop: true,
            batch_linger: Duration::ZERO,
            ingest: None,
            chain: None,
            operations: Vec::new(),
            probe: no_probe(),
        };
        let running = Running::start(opened, &self.settings, how).await.unwrap();
        running.finish(true).await.unwrap();
        running.stop().await;
        running.store.close().await.unwrap();
    }

    /// Waits until every epoch is sealed and has its trees.
    pub(crate) async fn sealed(&self) -> Vec<SealedEpoch> {
        let store = &self.live.running.store;
        if self.settings.grace_seconds == 86_400 {
            self.seal().await;
        }
        until("every epoch is sealed", || async {
            let open = store.open_epochs().await.unwrap();
            let unfrozen = store.unfrozen().await.unwrap();
            let sealed = all_sealed(store).await.unwrap();
            open.is_empty()
                && unfrozen.is_empty()
                && sealed.iter().all(|one| one.claim_root.is_some())
        })
        .await;
        all_sealed(store).await.unwrap()
    }

    pub(crate) async fn ledger(&self) -> Counts {
        self.live.running.store.ledger().await.unwrap()
    }

    /// Holds the journal against what the simulator said, and all that is sealed against a replay
    /// of it.
    pub(crate) async fn verdict(&self) -> Verdict {
        assert!(!self.sealed().await.is_empty());
        let log = self.simulator.log();
        let disturbed = Disturbed {
            settings: &self.settings,
            log: &log,
            journal: &*self.live.running.folder,
            store: &self.live.running.store,
        };
        let scratch = tempfile::tempdir().unwrap();
        disturbed.compare(scratch.path()).await.unwrap()
    }

    /// Nothing differs, and the ledgers of both are the same where they can be.
    pub(crate) async fn equals_a_replay_of_the_log(&self) -> Counts {
        let verdict = self.verdict().await;
        assert!(verdict.is_equal(), "{verdict}");
        let (live, replayed) = (verdict.counts, verdict.undisturbed);
        assert_eq!(live, self.ledger().await, "nothing goes on");
        // On a slow machine a line may come behind its seal; the verdict knows which did.
        assert_eq!((live.late, replayed.late), (verdict.late, 0));
        // Of a line that may have been lost with its socket, only an event tells that it was not.
        let alike = |counts: &Counts| (counts.mirrored, counts.anonymous, counts.suppressed);
        if self.simulator.log().truth().possible.is_empty() {
            assert_eq!(alike(&live), alike(&replayed));
        }
        // An empty line is no line, and what the server says to a socket that is being closed may stay
        // unread.
        let said = |counts: &Counts| counts.received - counts.other;
        assert!(
            said(&live) >= said(&replayed),
            "every line is in the ledger: live {live:?}, replayed {replayed:?}"
        );
        live
    }

    pub(crate) fn no_limit_was_broken(&self) {
        let snapshot = self.simulator.snapshot();
        assert_eq!(
            (snapshot.join_violations, snapshot.login_violations),
            (0, 0)
        );
        assert_eq!(snapshot.room_limit_violations, 0);
    }

    /// Gets a path of the gateway.
    pub(crate) async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let answer = reqwest::get(format!("{}{path}", self.gateway))
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub(crate) async fn stop(self) {
        let late = self.live.running.tree.stop().await.late;
        assert!(late.is_empty(), "{late:?}");
        self.simulator.stop().await;
    }
}

pub(crate) async fn simulator(plan: &Plan) -> Simulator {
    let limit = Limit {
        most: plan.joins,
        within: Duration::from_secs(10),
    };
    // A line without a time has the time of its receipt here, and none in a replay.
    let mut shares = Shares::default().with(Kind::WithoutTime, 0);
    if plan.uncertain {
        shares = shares.with(Kind::WithoutId, 0).with(Kind::Junk, 0);
    }
    let config = Config {
        rooms: Rooms::Numbered(plan.channels),
        users: plan.users,
        shares,
        join_limit: limit,
        keep_log: true,
        ..Config::new(Arc::new(SystemClock))
    };
    Simulator::start(config).await.unwrap()
}

pub(crate) fn settings(folder: &Path, plan: &Plan, simulator: &Simulator) -> Settings {
    let names: Vec<String> = simulator
        .rooms()
        .iter()
        .map(|room| format!("{room:?}"))
        .collect();
    let address = simulator.address();
    let text = format!(
        r#"
        [epoch]
        seconds = {seconds}
        grace_seconds = {grace}
        [twitch]
        host = "{host}"
        port = {port}
        tls = false
        channels_per_connection = {per_connection}
        joins_per_period = {joins}
        reconnect_initial_ms = 100
        reconnect_max_ms = 2000
        [collector]
        linger_ms = 100
        [gateway]
        listen = "127.0.0.1:0"
        [suppression]
        bots = ["nightbot", "fossabot"]
        {more}
        [[channel_groups]]
        name = "all"
        token_group = "MILO"
        category = "default"
        channels = [{names}]
        "#,
        seconds = plan.epoch_seconds,
        grace = plan.grace_seconds.unwrap_or(86_400),
        host = address.ip(),
        port = address.port(),
        per_connection = plan.channels_per_connection,
        joins = plan.joins,
        more = plan.more,
        names = names.join(", "),
    );
    let path = folder.join("supervision.toml");
    std::fs::write(&path, text).unwrap();
    let mut flags = Flags {
        file: Some(path),
        values: Vec::new(),
    };
    if let Some(url) = &plan.database_url {
        flags.values.push(("store.url", url.clone().into()));
    }
    Layers::read(&flags)
        .and_then(|layers| layers.settings())
        .unwrap()
}

pub(crate) async fn service(
    folder: &Path,
    settings: &Settings,
    probe: Arc<dyn Probe>,
) -> (Live, String) {
    let data = DataFolder::create(&folder.join("data")).unwrap();
    let opened = Opened::open(&data, settings, true).await.unwrap();
    let network = live::network(settings).unwrap();
    let mut assembly = Assembly::new(opened, settings, network).await.unwrap();
    let gateway = GatewayService::bind(&assembly, settings, None)
        .await
        .unwrap();
    let url = format!("http://{}", gateway.address());
    assembly.beside("gateway", Arc::new(gateway));
    (assembly.start(settings, probe).await.unwrap(), url)
}
