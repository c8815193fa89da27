//! The whole tree in this process, on real parts, with something that can fail in front of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use tempfile::TempDir;
use twzrd::clock::SystemClock;
use twzrd_actors::board::{Board, Limits};
use twzrd_actors::channel_roster::ChannelRosterMsg;
use twzrd_actors::connection::Times;
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::gap_ledger::{GapLedgerMsg, GapQueue};
use twzrd_actors::step::Probe;
use twzrd_actors::tree::{self, Ingest, Parts, Plan, Refs};
use twzrd_domain::batch::Groups;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::ports::{
    BatchStore, Clock, JournalFolder, SealStore, SuppressionStore, TreeStore,
};
use twzrd_domain::record::{Append, Record, Seq};
use twzrd_domain::roster::{Listing, Roster};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::Folder;
use twzrd_journal::testing::FaultyStorage;
use twzrd_simulator::traffic::{Kind, Shares};
use twzrd_simulator::{Config, Limit, Rooms, Simulator};
use twzrd_store::{Store, StoreUrl, Timeouts};
use twzrd_supervision::{ChildRef, Options, Tree};
use twzrd_testkit::fake::FaultyStore;
use twzrd_testkit::postgres::Postgres;
use twzrd_testkit::proxy::{self, Proxy};
use twzrd_testkit::scenario::Scenario;
use twzrd_twitch::judge::TwitchJudge;
use twzrd_twitch::net::{self, TwitchNetwork};

use crate::saboteur::Saboteur;

/// How long anything may take before a run is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// How long an answer of an actor is waited for before the question is asked again.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often what is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

const EPOCH_SECONDS: u32 = 4;
/// Beyond this many bytes a segment is closed, so that a run has several of them.
const SEGMENT_BYTES: u64 = 300_000;
/// Short, so that a database that does not answer is called away within a scenario.
const TIMEOUTS: Timeouts = Timeouts {
    connection: Duration::from_secs(2),
    lock: Duration::from_millis(400),
    statement: Duration::from_secs(2),
};

const EPOCH_MS: u64 = 1_000 * EPOCH_SECONDS as u64;
const GRACE_MS: u64 = 2_000;
const BOTS: [&str; 2] = ["fossabot", "nightbot"];

const SHIPPED: &str = include_str!("../../supervision.toml");
/// Limits that a storm of kills does not reach; else the plan is the shipped one.
const NO_ESCALATION: &str = r"
    [supervisors.settlement]
    intensity = 100000
    [supervisors.root]
    intensity = 1000
    [supervisors.ingest]
    intensity = 100000
    [supervisors.collectors]
    intensity = 100000
    [supervisors.connections]
    intensity = 100000
    [children.collector]
    cool_down_restarts = 100000
    [children.connection]
    cool_down_restarts = 100000
";

/// The system's clock, and what it is off by.
#[derive(Clone, Default)]
pub(crate) struct JumpingClock(Arc<AtomicI64>);

impl JumpingClock {
    pub(crate) fn jump(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> u64 {
        SystemClock
            .now()
            .saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

/// Which database a run is on.
pub(crate) enum Database {
    Sqlite,
    Postgres {
        postgres: Arc<Postgres>,
        proxy: Proxy,
    },
}

/// Everything that a run is made of.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    /// In front of the simulator.
    pub(crate) sockets: Proxy,
    pub(crate) clock: JumpingClock,
    pub(crate) disk: FaultyStorage,
    pub(crate) folder: Folder,
    pub(crate) database: Database,
    pub(crate) store: FaultyStore<Store>,
    /// The same database, with nothing in between.
    pub(crate) eye: Store,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) groups: Groups,
    pub(crate) board: Arc<Board>,
    pub(crate) tree: Tree,
    pub(crate) refs: Refs,
    pub(crate) saboteur: Arc<Saboteur>,
    /// The channels that are wanted.
    pub(crate) wanted: Mutex<BTreeSet<Channel>>,
    pub(crate) home: TempDir,
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Waits until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    while !holds().await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl World {
    /// Starts all of it; nobody says anything yet.
    pub(crate) async fn start(scenario: &Scenario, is_postgres: bool) -> Result<Self, String> {
        let home = tempfile::tempdir().map_err(told)?;
        let (clock, network_clock) = (JumpingClock::default(), JumpingClock::default());
        let config = simulated(scenario, &network_clock);
        let simulator = Simulator::start(config).await.map_err(told)?;
        let config = proxy::Config::bytes(simulator.address().to_string());
        let sockets = Proxy::start(config).map_err(told)?;
        let arithmetic = arithmetic()?;
        let names = simulator.rooms();
        let names = names.iter().map(|name| Channel::parse(name));
        let wanted: BTreeSet<_> = names.collect::<Result<_, _>>().map_err(told)?;
        let (database, behind, direct) = database(home.path(), is_postgres)?;
        let groups = roster(&wanted).groups();
        let store = Store::connect(&behind, groups.clone(), 6, TIMEOUTS).await;
        let store = FaultyStore::new(store.map_err(told)?);
        let eye = Store::connect(&direct, groups.clone(), 2, TIMEOUTS).await;
        let eye = eye.map_err(told)?;
        let disk = FaultyStorage::default();
        let mut config = twzrd_journal::Config::new(journal(home.path()), Arc::new(clock.clone()));
        config.segment_bytes = SEGMENT_BYTES;
        let folder = Folder::with_storage(config, Arc::new(disk.clone()));
        let saboteur = Arc::new(Saboteur::default());
        let ingest = ingest(&store, &clock, &sockets, &arithmetic)?;
        let board = Arc::clone(&ingest.board);
        let seal_when = SealWhen::AfterGrace {
            clock: Arc::new(clock.clone()),
            grace_ms: GRACE_MS,
        };
        let probe = Arc::clone(&saboteur) as Arc<dyn Probe>;
        let parts = parts(&folder, &store, &arithmetic, seal_when, Some(ingest), probe);
        let (tree, refs) = start(&parts).await?;
        let world = Self {
            wanted: Mutex::new(wanted),
            tree,
            simulator,
            sockets,
            clock,
            disk,
            folder,
            database,
            store,
            eye,
            arithmetic,
            groups,
            board,
            refs,
            saboteur,
            home,
        };
        world
            .append(Record::Settings(world.arithmetic.clone()))
            .await?;
        world.apply_wanted().await;
        world.all_heard().await;
        // The scenario begins with an epoch.
        let length = EPOCH_MS;
        let ahead = i64::try_from(length - world.clock.now() % length).map_err(told)?;
        for clock in [&world.clock, &network_clock] {
            clock.jump(ahead);
        }
        Ok(world)
    }

    /// Appends a record, however long that takes.
    pub(crate) async fn append(&self, record: Record) -> Result<(), String> {
        let append = Append::Records {
            progress: None,
            records: vec![(self.clock.now(), record)],
        };
        let appended = self.refs.gate(None).append(append).await;
        appended.map(drop).map_err(told)
    }

    pub(crate) fn wanted(&self) -> BTreeSet<Channel> {
        self.wanted.lock().unwrap().clone()
    }

    /// Hands the list of channels to the roster, until it has taken it.
    pub(crate) async fn apply_wanted(&self) {
        let roster_ref = &self.refs.roster;
        let ask = |reply| ChannelRosterMsg::Want(roster(&self.wanted()), reply);
        while roster_ref.call(ask, ANSWER_WITHIN).await.is_err() {
            let _ = roster_ref.wait_running(ANSWER_WITHIN).await;
        }
    }

    /// True where every channel that is wanted is heard, and no other is there.
    pub(crate) fn is_heard(&self) -> bool {
        let (wanted, rooms) = (self.wanted(), self.board.rooms());
        let holds = |room: &Arc<_>| -> bool {
            let room: &twzrd_actors::room::Room = room;
            room.is_heard() && wanted.contains(room.channel())
        };
        rooms.len() == wanted.len() && rooms.iter().all(holds)
    }

    pub(crate) async fn all_heard(&self) {
        until(async || self.is_heard()).await;
    }

    /// Where the store stands.
    pub(crate) async fn offset(&self) -> Result<Seq, String> {
        patiently(async || BatchStore::offset(&self.eye).await).await
    }

    /// Waits until the store goes on from where it stands now.
    pub(crate) async fn store_moves(&self) -> Result<(), String> {
        let stood = self.offset().await?;
        while self.offset().await? == stood {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until the journal takes something more.
    pub(crate) async fn journal_moves(&self) {
        self.folder.wait_durable(self.folder.durable()).await;
    }

    /// The proxy in front of the database, where there is one.
    pub(crate) fn database_proxy(&self) -> Option<&proxy::Handle> {
        match &self.database {
            Database::Sqlite => None,
            Database::Postgres { proxy, .. } => Some(proxy.handle()),
        }
    }

    /// The file of the database, unless it is Postgres.
    pub(crate) fn sqlite(&self) -> std::path::PathBuf {
        sqlite(self.home.path())
    }

    /// Ends all weather.
    pub(crate) async fn clear(&self) -> Result<(), String> {
        self.saboteur.disarm();
        self.disk.heal();
        self.disk.release_syncs();
        self.store.faults().clear();
        self.sockets.handle().clear().await.map_err(told)?;
        if let Some(proxy) = self.database_proxy() {
            proxy.clear().await.map_err(told)?;
        }
        Ok(())
    }
}

/// Asks the database again while it is only busy.
pub(crate) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, twzrd_domain::ports::StoreError>>,
{
    loop {
        match ask().await {
            Err(error) if error.is_transient() => tokio::time::sleep(LOOK_EVERY).await,
            answer => return answer.map_err(told),
        }
    }
}

pub(crate) fn journal(home: &Path) -> std::path::PathBuf {
    home.join("journal")
}

fn sqlite(home: &Path) -> std::path::PathBuf {
    home.join("disturbed").join("twzrd.sqlite")
}

/// Lines with ids, so that it can be told of each whether it was accepted; and a PING so often that
/// little is ever uncertain.
fn simulated(scenario: &Scenario, clock: &JumpingClock) -> Config {
    let traffic = scenario.traffic();
    let limit = Limit {
        most: 100_000,
        within: Duration::from_secs(10),
    };
    let shares = Shares::default()
        .with(Kind::WithoutId, 0)
        .with(Kind::WithoutTime, 0)
        .with(Kind::Junk, 0);
    Config {
        seed: scenario.seed(),
        rooms: Rooms::Numbered(traffic.channels),
        users: traffic.people,
        shares,
        join_limit: limit,
        login_limit: limit,
        ping_every: Some(Duration::from_millis(250)),
        pong_within: Duration::from_secs(4),
        keep_log: true,
        ..Config::new(Arc::new(clock.clone()))
    }
}

fn arithmetic() -> Result<Arithmetic, String> {
    let bots = BOTS.iter().map(|bot| Login::parse(bot));
    Ok(Arithmetic {
        epoch_seconds: EpochLength::new(EPOCH_SECONDS).map_err(told)?,
        bots: bots.collect::<Result<_, _>>().map_err(told)?,
        ..Arithmetic::default()
    })
}

fn plan() -> Result<Plan, String> {
    let declared = Figment::from(Toml::string(SHIPPED)).merge(Toml::string(NO_ESCALATION));
    Ok(Plan {
        supervisors: declared.extract_inner("supervisors").map_err(told)?,
        children: declared.extract_inner("children").map_err(told)?,
    })
}

/// What a tree is made of, whatever store it has.
pub(crate) fn parts<S>(
    folder: &Folder,
    store: &S,
    arithmetic: &Arithmetic,
    seal_when: SealWhen,
    ingest: Option<Ingest>,
    probe: Arc<dyn Probe>,
) -> Parts
where
    S: BatchStore + SealStore + TreeStore + SuppressionStore + Clone + 'static,
{
    Parts {
        folder: Arc::new(folder.clone()),
        batches: Arc::new(store.clone()),
        seals: Arc::new(store.clone()),
        trees: Arc::new(store.clone()),
        suppression: Arc::new(store.clone()),
        bots: Arc::new(arithmetic.bots.iter().cloned().collect()),
        seal_when,
        batch_records: 500,
        batch_linger: Duration::from_millis(40),
        catch_up_on_stop: true,
        ingest,
        chain: None,
        operations: Vec::new(),
        probe,
    }
}

/// Starts a tree under the plan.
pub(crate) async fn start(parts: &Parts) -> Result<(Tree, Refs), String> {
    let (spec, refs) = tree::build(&plan()?, parts).map_err(told)?;
    let tree = twzrd_supervision::start(spec, Options::default()).await;
    Ok((tree.map_err(told)?, refs))
}

/// The database, its address for the store, and its address with nothing in between.
fn database(home: &Path, is_postgres: bool) -> Result<(Database, StoreUrl, StoreUrl), String> {
    if !is_postgres {
        let url = StoreUrl::Sqlite(sqlite(home));
        return Ok((Database::Sqlite, url.clone(), url));
    }
    let postgres = Arc::new(Postgres::start().map_err(told)?);
    let (proxy, url) = Proxy::before_postgres(&postgres.url()).map_err(told)?;
    let direct = StoreUrl::Postgres(postgres.url());
    let database = Database::Postgres { postgres, proxy };
    Ok((database, StoreUrl::Postgres(url), direct))
}

fn board(clock: &JumpingClock, gap_ledger: ChildRef<GapLedgerMsg>) -> Arc<Board> {
    let limits = Limits {
        channels_per_connection: 3,
        joins: 10_000,
        join_period_ms: 10_000,
        logins: 10_000,
        login_period_ms: 10_000,
        feed_bytes: 32 * 1024,
        all_feeds_bytes: 128 * 1024,
    };
    let gaps = Arc::new(GapQueue::new(gap_ledger));
    Arc::new(Board::new(
        Arc::new(clock.clone()),
        limits,
        "run".into(),
        gaps,
    ))
}

fn ingest(
    store: &FaultyStore<Store>,
    clock: &JumpingClock,
    sockets: &Proxy,
    arithmetic: &Arithmetic,
) -> Result<Ingest, String> {
    let ms = Duration::from_millis;
    let address = sockets.address();
    let mut network = net::Config::new(
        address.ip().to_string(),
        address.port(),
        Arc::new(clock.clone()),
    );
    network.tls = false;
    network.connect_timeout = ms(1_500);
    let gap_ledger = ChildRef::new("gap_ledger");
    Ok(Ingest {
        board: board(clock, gap_ledger.clone()),
        gap_ledger,
        roster: ChildRef::new("channel_roster"),
        network: Arc::new(TwitchNetwork::new(network).map_err(told)?),
        times: Times {
            reconnect_initial: ms(50),
            reconnect_max: ms(500),
            ping_after: ms(1_500),
            pong_within: ms(1_000),
            join_within: ms(1_500),
            refused_initial: ms(200),
            refused_max: ms(1_000),
            handover_within: ms(3_000),
        },
        judge: Arc::new(TwitchJudge { keep_text: false }),
        store: Arc::new(store.clone()),
        clock: Arc::new(clock.clone()),
        length: arithmetic.epoch_seconds,
        linger: ms(40),
        batch_lines: 200,
        last_record: None,
    })
}

pub(crate) fn roster(wanted: &BTreeSet<Channel>) -> Arc<Roster> {
    let listing = Listing {
        group: "all".into(),
        token_group: "MILO".into(),
        category: "default".into(),
    };
    let of = wanted.iter().map(|name| (name.clone(), listing.clone()));
    Arc::new(Roster::new(of.collect::<BTreeMap<_, _>>()))
}
