//! `twzrd demo`: the whole service against a chat server of its own, on a machine without network.
//!
//! What it runs is what `twzrd run` runs: sockets, journal, store, tree, gateway; but for the reload
//! and the admin routes, since its channels are those of its own chat server. At the end what is
//! still open is sealed, and one person's presence is proved and checked.
//!
//! With `--chaos` a [`storm`] of faults rages over it, and at the end it is compared with an
//! undisturbed replay, see [`parity`]. Faults are a matter of this module and those below it: what
//! `twzrd run` runs has no way to reach them.

mod accepted;
mod account;
mod closing;
pub mod parity;
mod prove;
mod scene;
mod settling;
mod storm;
mod strike;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use twzrd_actors::step::no_probe;
use twzrd_domain::ports::JournalFolder;
use twzrd_simulator::Simulator;

use self::scene::{LOGGED, brace, config, of_demo};
use self::settling::{Claimants, LocalChain};
use self::storm::{Place, Storm};
use self::strike::Tally;
use crate::cli;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::gateway::SettlementFacts;
use crate::live::beside::GatewayService;
use crate::live::{self, Assembly, Live};
use crate::settings::Settings;
use crate::signals::StopSignals;
use crate::status::{Client, ColorWhen, LiveView, PATIENCE, Style, can_redraw, size};
use crate::wiring::{DataFolder, Opened, gave_up};

/// How often the picture is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How long the service may take to read what the chat server has sent, at the end.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How long its collectors may take to bring that into the journal.
const COLLECT_WITHIN: Duration = Duration::from_secs(30);
/// How long the service may take to record what the wallets were paid.
const RECORD_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether that is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// In front of what stands below a line of the view.
const INDENT: &str = "  ";

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
    let (mut demo, mut settings) = shown?;
    let storm = args.chaos.then(|| demo.storm(args.seed));
    let ended = {
        let title = demo.title(folder, args);
        if !can_redraw() {
            say(&(title.join("\n") + "\n"))?;
        }
        let mut view = LiveView::on_stdout(style(), title, LINE_EVERY);
        let watched = demo.watch(&mut view, args.seconds, &mut signals, storm.as_ref());
        let ended = watched.await;
        let finished = view.finish();
        ended.and_then(|()| finished.or_fail(Code::Io))
    };
    let finish = async {
        let storm = match storm {
            Some(storm) => Some((demo.simulator.log(), storm.end().await)),
            None => None,
        };
        demo.end_claims().await;
        let settled = demo.settled();
        demo.stop().await;
        ended?;
        if let Some(settled) = settled {
            say(&format!("\n{settled}\n"))?;
        }
        settings.gateway.listen.set_port(0);
        closing::close(&settings, &folder.0, storm).await
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
    simulator: Arc<Simulator>,
    live: Live,
    gateway: SocketAddr,
    /// Those who claim on a local chain; none where there is no chain.
    claimants: Option<Claimants>,
    facts: Arc<dyn Fn() -> SettlementFacts + Send + Sync>,
}

async fn show(
    settings: &Settings,
    folder: &DemoFolder,
    args: &cli::Demo,
) -> Result<(Demo, Settings), Failure> {
    let mut settings = settings.clone();
    if args.chaos {
        brace(&mut settings, args.channels);
    }
    let simulator = Simulator::start(config(&settings, args));
    let simulator = simulator.await.or_fail(Code::Unavailable)?;
    let mut settings = of_demo(&settings, &simulator, &folder.0)?;
    let chain = args.solana.as_deref().map(LocalChain::read).transpose()?;
    if let Some(chain) = &chain {
        chain.put_into(&mut settings);
    }
    let data = DataFolder::create(&folder.0)?;
    let opened = Opened::open(&data, &settings, true).await?;
    if args.chaos && opened.folder.durable() > 0 {
        let folder = folder.0.display();
        let text = format!(
            "{folder} holds a journal already; expected an empty folder with --chaos, since every record in it is compared"
        );
        return Err(fail(Code::Usage, text));
    }
    let network = live::network(&settings)?;
    let mut assembly = Assembly::new(opened, &settings, network).await?;
    let gateway = bind(&assembly, &settings).await?;
    let address = gateway.address();
    assembly.beside("gateway", Arc::new(gateway));
    let facts = Arc::clone(&assembly.settlement.facts);
    let live = assembly.start(&settings, no_probe()).await?;
    let claimants = match &chain {
        Some(chain) => {
            chain.bind(&live.running).await?;
            let length = settings.arithmetic.epoch_seconds;
            Some(chain.claim(&address.to_string(), length)?)
        }
        None => None,
    };
    let demo = Demo {
        simulator: Arc::new(simulator),
        live,
        gateway: address,
        claimants,
        facts,
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

impl Demo {
    fn title(&self, folder: &DemoFolder, args: &cli::Demo) -> Vec<String> {
        let base = format!("http://{}", self.gateway);
        let chaos = match args.chaos {
            true => format!(", and a storm from seed {}", args.seed),
            false => String::new(),
        };
        let end = match args.seconds {
            Some(seconds) => format!("ends by itself after {seconds} s, or with Ctrl-C"),
            None => "Ctrl-C ends it".to_owned(),
        };
        vec![
            format!(
                "twzrd demo: {} channels of a chat server of its own, epochs of 20 s{chaos}; {end}",
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
        storm: Option<&Storm>,
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
            if storm.is_some() && self.simulator.snapshot().lines_delivered > LOGGED / 10 * 9 {
                tracing::info!("the chat server's log is nearly full; the demo ends");
                return Ok(());
            }
            let mut told = storm.map(|storm| told(&storm.tally())).unwrap_or_default();
            let indent = if can_redraw() { INDENT } else { "" };
            told.extend(self.settled().map(|settled| format!("{indent}{settled}")));
            let asked = client.ask().await;
            if asked.is_ok() {
                answered = Instant::now();
            }
            // A terminal that is held up holds up nothing else.
            let drawn = tokio::task::block_in_place(|| match &asked {
                Ok(shown) => view.draw(shown, &told),
                Err(why) => view.draw_absence(why, answered.elapsed(), &told),
            });
            match drawn {
                // Who looks no longer at a pipe wants no more of it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                drawn => drawn.or_fail(Code::Io)?,
            }
        }
    }

    /// What was published and claimed; none where there is no chain.
    fn settled(&self) -> Option<String> {
        let claimed = self.claimants.as_ref()?.tally();
        let facts = (self.facts)();
        let settled: u64 = facts.publisher.settled.values().sum();
        Some(format!(
            "on chain: {settled} roots settled by {} transactions; {} claims sent, {} refused, {} paid and recorded",
            facts.publisher.transactions, claimed.sent, claimed.refused, facts.listener.claims
        ))
    }

    /// Has the wallets claim no more, and waits until all that they were paid is recorded.
    async fn end_claims(&mut self) {
        let Some(claimants) = &mut self.claimants else {
            return;
        };
        claimants.end().await;
        let sent = claimants.tally().sent;
        let recorded = async {
            while (self.facts)().listener.claims < sent {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(RECORD_WITHIN, recorded).await.is_err() {
            tracing::warn!(sent, "not all claims that were sent were recorded in time");
        }
    }

    fn storm(&self, seed: u64) -> Storm {
        let place = Place {
            refs: self.live.running.refs.clone(),
            board: Arc::clone(&self.live.board),
            simulator: Arc::clone(&self.simulator),
            channels: self.simulator.rooms().len(),
        };
        Storm::begin(place, seed)
    }

    /// Stops the chat server once all that it said has been read, and then the service, in order.
    async fn stop(&self) {
        // A service that does not read on is stopped all the same.
        let _ = tokio::time::timeout(READ_WITHIN, self.simulator.acknowledged()).await;
        let _ = tokio::time::timeout(COLLECT_WITHIN, self.collected()).await;
        self.live.running.stop().await;
        // The store is opened again at once; what it could not close shows there.
        let _ = self.live.running.store.close().await;
        self.simulator.stop().await;
    }

    /// Waits until what was read is in the journal.
    async fn collected(&self) {
        let waits = || {
            let rooms = self.live.board.rooms();
            let server = self.live.board.server();
            let mut feeds = rooms.iter().chain([server]).map(|room| room.feed());
            feeds.any(|feed| feed.depth().lines > 0)
        };
        while waits() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What the view says of a storm: on a terminal, below the title; elsewhere in one line.
fn told(tally: &Tally) -> Vec<String> {
    if !can_redraw() {
        return vec![tally.latest()];
    }
    let (width, _) = size();
    let kinds = tally.by_kind(width.saturating_sub(INDENT.len()));
    let kinds = kinds.into_iter().map(|kinds| format!("{INDENT}{kinds}"));
    std::iter::once(tally.latest()).chain(kinds).collect()
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
