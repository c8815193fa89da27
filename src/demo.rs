//! `twzrd demo`: the whole service against a chat server of its own, on a machine without network.
//!
//! What it runs is what `twzrd run` runs: sockets, journal, store, tree, gateway; but for the reload
//! and the admin routes, since its channels are those of its own chat server. At the end what is still open is sealed, and one person's presence is proved and checked.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::no_probe;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{ReportStore, SealedEpoch};
use twzrd_domain::proof::prove;
use twzrd_domain::roster::{Listing, Roster};
use twzrd_simulator::{Config, Limit, Rooms, Simulator};

use crate::cli;
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::live::beside::GatewayService;
use crate::live::{self, Assembly, Live};
use crate::report;
use crate::settings::Settings;
use crate::signals::StopSignals;
use crate::status::{Client, ColorWhen, LiveView, PATIENCE, Style, can_redraw};
use crate::wiring::{DataFolder, How, Opened, Running, gave_up};

/// How long after its end an epoch is sealed, in seconds. The traffic has lines that are five
/// seconds old, and some of them are late.
const GRACE_SECONDS: u32 = 4;
/// How often the picture is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How long the service may take to read what the chat server has sent, at the end.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Where a demo keeps its data.
pub struct DemoFolder(PathBuf);

impl DemoFolder {
    /// The folder that was given, or a new one among the temporary ones. It stays: what was
    /// proved in it can be looked at.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn of(given: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = given else {
            let folder = tempfile::Builder::new().prefix("twzrd-demo-").tempdir();
            return Ok(Self(folder.or_fail(Code::CannotCreate)?.keep()));
        };
        DataFolder::create(&path)?;
        Ok(Self(path))
    }

    /// Where the log goes: the terminal is taken by the picture.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("demo.log")
    }
}

/// Runs the demo to its end.
///
/// # Errors
/// Where a folder or an address cannot be had, or the tree gives up.
pub async fn run(
    settings: &Settings,
    folder: &DemoFolder,
    args: &cli::Demo,
) -> Result<Code, Failure> {
    let mut signals = StopSignals::listen()?;
    let shown = tokio::select! {
        shown = show(settings, folder, args) => shown,
        _ = signals.next() => return Ok(Code::Interrupted),
    };
    let (demo, mut settings) = shown?;
    let ended = {
        let title = demo.title(folder, args);
        if !can_redraw() {
            say(&(title.join("\n") + "\n"))?;
        }
        let mut view = LiveView::on_stdout(style(), title, LINE_EVERY);
        let ended = demo.watch(&mut view, args.seconds, &mut signals).await;
        let finished = view.finish();
        ended.and_then(|()| finished.or_fail(Code::Io))
    };
    let finish = async {
        demo.stop().await;
        ended?;
        say("\nSealing what is open …\n")?;
        settings.gateway.listen.set_port(0);
        seal_and_prove(&settings, &folder.0).await
    };
    tokio::select! {
        done = finish => done,
        _ = signals.next() => Ok(Code::Interrupted),
    }
}

fn style() -> Style {
    Style {
        color: ColorWhen::Auto.on_stdout(),
        all: false,
    }
}

/// The service, and the chat server that it listens to.
struct Demo {
    simulator: Simulator,
    live: Live,
    gateway: SocketAddr,
}

async fn show(
    settings: &Settings,
    folder: &DemoFolder,
    args: &cli::Demo,
) -> Result<(Demo, Settings), Failure> {
    let limit = Limit {
        most: settings.twitch.joins_per_period,
        within: Duration::from_millis(settings.twitch.join_period_ms),
    };
    let config = Config {
        seed: args.seed,
        rooms: Rooms::Numbered(args.channels),
        users: args.channels.saturating_mul(20),
        lines_per_second: args.lines_per_second,
        join_limit: limit,
        ..Config::new(Arc::new(SystemClock))
    };
    let simulator = Simulator::start(config).await.or_fail(Code::Unavailable)?;
    let settings = of_demo(settings, &simulator, &folder.0)?;
    let data = DataFolder::create(&folder.0)?;
    let opened = Opened::open(&data, &settings, true).await?;
    let network = live::network(&settings)?;
    let mut assembly = Assembly::new(opened, &settings, network).await?;
    let gateway = bind(&assembly, &settings).await?;
    let address = gateway.address();
    assembly.beside("gateway", Arc::new(gateway));
    let demo = Demo {
        simulator,
        live: assembly.start(&settings, no_probe()).await?,
        gateway: address,
    };
    Ok((demo, settings))
}

/// The address of the settings, or another port where that one is taken.
async fn bind(assembly: &Assembly, settings: &Settings) -> Result<GatewayService, Failure> {
    match GatewayService::bind(assembly, settings, None).await {
        Ok(gateway) => Ok(gateway),
        Err(_) => {
            let mut settings = settings.clone();
            settings.gateway.listen.set_port(0);
            GatewayService::bind(assembly, &settings, None).await
        }
    }
}

/// The settings of the demo: those of the service, but for where it listens and stores, and for
/// how long an epoch is.
fn of_demo(given: &Settings, simulator: &Simulator, folder: &Path) -> Result<Settings, Failure> {
    const SECONDS: u32 = 20;
    let mut settings = given.clone();
    let address = simulator.address();
    settings.twitch.host = address.ip().to_string();
    settings.twitch.port = address.port();
    settings.twitch.tls = false;
    // A real token is not for a server of play.
    settings.twitch_login = None;
    settings.admin_token = None;
    settings.database_url = None;
    settings.data_folder = folder.to_owned();
    settings.arithmetic.epoch_seconds = EpochLength::new(SECONDS).or_fail(Code::Config)?;
    settings.grace_seconds = GRACE_SECONDS;
    let listing = Listing {
        group: "demo".into(),
        token_group: "MILO".into(),
        category: "demo".into(),
    };
    let rooms = simulator.rooms();
    let rooms = rooms.iter().map(|room| Channel::parse(room));
    let channels = rooms.map(|room| room.map(|room| (room, listing.clone())));
    let roster = Roster::new(channels.collect::<Result<_, _>>().or_fail(Code::Config)?);
    settings.groups = roster.groups();
    settings.roster = Arc::new(roster);
    Ok(settings)
}

impl Demo {
    fn title(&self, folder: &DemoFolder, args: &cli::Demo) -> Vec<String> {
        let base = format!("http://{}", self.gateway);
        let end = match args.seconds {
            Some(seconds) => format!("ends by itself after {seconds} s, or with Ctrl-C"),
            None => "Ctrl-C ends it".to_owned(),
        };
        vec![
            format!(
                "twzrd demo: {} channels of a chat server of its own, epochs of 20 s; {end}",
                args.channels
            ),
            format!("  {base}/health  {base}/ready  {base}/actors  {base}/metrics"),
            format!("  {base}/api/v1/epochs  {base}/api/v1/ledger  {base}/api/v1/channels"),
            format!(
                "  data {}  log {}",
                folder.0.display(),
                folder.log().display()
            ),
            String::new(),
        ]
    }

    /// Draws until it is time to end.
    async fn watch(
        &self,
        view: &mut LiveView,
        seconds: Option<u64>,
        signals: &mut StopSignals,
    ) -> Result<(), Failure> {
        let client = Client::new(&self.gateway.to_string(), PATIENCE).or_fail(Code::Software)?;
        let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut ticks = tokio::time::interval(DRAW_EVERY);
        let mut answered = Instant::now();
        loop {
            tokio::select! {
                _ = signals.next() => return Ok(()),
                reason = self.live.running.tree.exited() => return Err(gave_up(&reason)),
                _ = ticks.tick() => {}
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
            let asked = client.ask().await;
            if asked.is_ok() {
                answered = Instant::now();
            }
            // A terminal that is held up holds up nothing else.
            let drawn = tokio::task::block_in_place(|| match &asked {
                Ok(shown) => view.draw(shown, &[]),
                Err(why) => view.draw_absence(why, answered.elapsed(), &[]),
            });
            match drawn {
                // Who looks no longer at a pipe wants no more of it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                drawn => drawn.or_fail(Code::Io)?,
            }
        }
    }

    /// Stops the chat server once all that it said has been read, and then the service, in order.
    async fn stop(&self) {
        // A service that does not read on is stopped all the same.
        let _ = tokio::time::timeout(READ_WITHIN, self.simulator.acknowledged()).await;
        self.live.running.stop().await;
        // The store is opened again at once; what it could not close shows there.
        let _ = self.live.running.store.close().await;
        self.simulator.stop().await;
    }
}

/// Seals what is open, as a replay does at the end of its input, then prints what came of it.
async fn seal_and_prove(settings: &Settings, folder: &Path) -> Result<Code, Failure> {
    let data = DataFolder::existing(folder)?;
    let opened = Opened::open(&data, settings, true).await?;
    let how = How {
        seal_when: SealWhen::Asked,
        catch_up_on_stop: true,
        batch_linger: Duration::ZERO,
        ingest: None,
        operations: Vec::new(),
        probe: no_probe(),
    };
    let running = Running::start(opened, settings, how).await?;
    running.finish(true).await?;
    running.stop().await;
    let store = &running.store;
    let mut out = BufWriter::new(io::stdout());
    let printed = report::table(store, settings.arithmetic.epoch_seconds, &mut out).await;
    drop(out);
    let done = match printed {
        Ok(()) => prove_one(store, folder).await,
        Err(failure) => Err(failure),
    };
    store.close().await?;
    done.map(|()| Code::Ok)
}

/// Proves the presence of one person in the largest crowd, checks it, and says how to do so.
async fn prove_one(store: &twzrd_store::Store, folder: &Path) -> Result<(), Failure> {
    let Some(largest) = largest_crowd(store).await? else {
        return say("\nNobody took part: there is nothing to prove.\n");
    };
    let (epoch, channel) = (largest.epoch, &largest.channel);
    let material = store.proof_material(epoch, channel).await?;
    let login = material.as_ref().and_then(|material| {
        let mut logins = material
            .participants
            .iter()
            .filter_map(|one| one.login.as_ref());
        logins.next()
    });
    let (Some(material), Some(login)) = (&material, login) else {
        return Err(fail(Code::Software, "the largest crowd has no proof"));
    };
    let proof = prove(material, login).or_fail(Code::Software)?;
    proof.verify().or_fail(Code::Software)?;
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "twzrd".to_owned());
    let folder = folder.display();
    say(&format!(
        "\nProved and checked: {login} took part in {channel} in epoch {epoch}, as {} of {}.\n\
         Do it yourself:\n  \
         {program} proof --data {folder} --epoch {epoch} --channel {channel} --user {login} | {program} verify\n\
         The data stays in {folder} until you remove it.\n",
        proof.index + 1,
        proof.participants,
    ))
}

async fn largest_crowd(store: &twzrd_store::Store) -> Result<Option<SealedEpoch>, Failure> {
    const PAGE: u64 = 1000;
    let mut largest: Option<SealedEpoch> = None;
    let mut after = None;
    loop {
        let page = store.sealed_after(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(largest);
        };
        after = Some((last.epoch, last.channel.clone()));
        let size = |one: &SealedEpoch| one.participants;
        largest = largest.into_iter().chain(page).max_by_key(size);
    }
}

/// Prints to standard output; a reader that has gone is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match said {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.or_fail(Code::Io),
    }
}
