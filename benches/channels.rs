//! 100,000 channels in one process, against a chat server in another: memory and processor time a
//! channel, and the time to join them against the floor that the join budget sets.
//!
//! `cargo bench --bench channels -- [CHANNELS]`. The server is this program once more.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints, and measures with the system's clock"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use twzrd::clock::SystemClock;
use twzrd::live::{self, Assembly, Live};
use twzrd::settings::layers::{Flags, Layers};
use twzrd::wiring::{DataFolder, Opened};
use twzrd_actors::step::no_probe;
use twzrd_domain::ports::ReportStore;
use twzrd_simulator::{Config, Limit, Rooms, Simulator};

const CHANNELS: u32 = 100_000;
const PER_CONNECTION: u32 = 90;
/// A large bot's limit is 2,000 in ten seconds; ten times that, so that the bench ends.
const JOINS: u32 = 20_000;
const PERIOD: Duration = Duration::from_secs(10);
/// What the budget counts beyond the period.
const MARGIN: f64 = 1.05;
const LOOK: Duration = Duration::from_secs(20);

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match args.next().as_deref() {
        Some("--serve") => runtime.block_on(serve(args.next().unwrap().parse().unwrap())),
        Some(channels) => runtime.block_on(measure(channels.parse().unwrap())),
        None => runtime.block_on(measure(CHANNELS)),
    }
}

/// The chat server; a line on standard input sets its rate, the end of it ends the server.
async fn serve(channels: u32) {
    let limit = |most| Limit {
        most,
        within: PERIOD,
    };
    let config = Config {
        rooms: Rooms::Numbered(channels),
        join_limit: limit(JOINS),
        login_limit: limit(2_000),
        ..Config::new(Arc::new(SystemClock))
    };
    let simulator = Simulator::start(config).await.unwrap();
    println!("{}", simulator.address());
    std::io::stdout().flush().unwrap();
    let (rates, mut asked) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let _ = rates.send(line.unwrap().parse::<u32>().unwrap());
        }
    });
    while let Some(rate) = asked.recv().await {
        simulator.set_rate(rate);
        println!("{}", simulator.snapshot().join_violations);
    }
}

struct Server {
    child: Child,
    address: std::net::SocketAddr,
    answers: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(channels: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", &channels.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self {
            child,
            address,
            answers,
        }
    }

    /// Sets the rate; the answer is how often a join broke the limit.
    fn rate(&mut self, lines_per_second: u32) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{lines_per_second}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Resident memory in KiB, and processor time.
fn cost() -> (u64, Duration) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.unwrap().trim().trim_end_matches(" kB");
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11);
    let ticks: u64 = (0..2)
        .map(|_| fields.next().unwrap().parse::<u64>().unwrap())
        .sum();
    // A tick is a hundredth of a second on every Linux that this runs on.
    (resident.parse().unwrap(), Duration::from_millis(ticks * 10))
}

async fn measure(channels: u32) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(channels);
    let names: String = (0..channels).map(|n| format!("channel_{n:04}\n")).collect();
    std::fs::write(folder.path().join("channels.txt"), names).unwrap();
    let settings = format!(
        "[twitch]\nhost = \"{}\"\nport = {}\ntls = false\nchannels_per_connection = {PER_CONNECTION}\n\
         joins_per_period = {JOINS}\nauthentications_per_period = 2000\n\
         [[channel_groups]]\nname = \"all\"\ntoken_group = \"MILO\"\ncategory = \"bench\"\nfile = \"channels.txt\"\n",
        server.address.ip(),
        server.address.port(),
    );
    let path = folder.path().join("supervision.toml");
    std::fs::write(&path, settings).unwrap();
    let flags = Flags {
        file: Some(path),
        values: Vec::new(),
    };
    let settings = Layers::read(&flags)
        .and_then(|layers| layers.settings())
        .unwrap();
    let data = DataFolder::create(&folder.path().join("data")).unwrap();
    let opened = Opened::open(&data, &settings, true).await.unwrap();
    let network = live::network(&settings).unwrap();
    let assembly = Assembly::new(opened, &settings, network).await.unwrap();
    let (before, _) = cost();
    let begun = Instant::now();
    let live = assembly.start(&settings, no_probe()).await.unwrap();
    let mut shown = Instant::now();
    let mut placed = None;
    loop {
        let heard = live.board.counters().read().joined;
        if live.board.rooms().len() == settings.roster.len() {
            placed.get_or_insert_with(|| begun.elapsed());
        }
        if heard >= u64::from(channels) {
            break;
        }
        if shown.elapsed() > Duration::from_secs(10) {
            shown = Instant::now();
            println!("  {heard} joined after {:.0?}", begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let joined = begun.elapsed();
    let windows = f64::from(channels.div_ceil(JOINS) - 1);
    let floor = windows * PERIOD.as_secs_f64() * MARGIN;
    let (after, _) = cost();
    println!(
        "{channels} channels on {} connections",
        live.board.links().len()
    );
    println!(
        "  collectors started in     {:>9.1?}",
        placed.unwrap_or(joined)
    );
    println!("  joined in                 {joined:>9.1?}; the budget's floor is {floor:.1} s");
    println!(
        "  memory                    {:>9} KiB, {:.2} KiB a channel",
        after,
        (after - before) as f64 / f64::from(channels)
    );
    let idle = processor(LOOK).await;
    println!(
        "  processor, silent         {:>9.1} % of a core, {:.2} µs a channel and second",
        idle * 100.0,
        idle * 1e6 / f64::from(channels)
    );
    for rate in [1_600, 10_000] {
        let violations = server.rate(rate);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let from = live.board.counters().read().lines;
        let busy = processor(LOOK).await;
        let lines = live.board.counters().read().lines - from;
        println!(
            "  processor, {:>6} lines/s {:>9.1} % of a core ({violations} joins over the limit)",
            lines / LOOK.as_secs(),
            busy * 100.0
        );
    }
    server.rate(0);
    end(&live).await;
}

/// The part of a core that this process takes.
async fn processor(during: Duration) -> f64 {
    let (_, before) = cost();
    tokio::time::sleep(during).await;
    let (_, after) = cost();
    (after - before).as_secs_f64() / during.as_secs_f64()
}

async fn end(live: &Live) {
    let begun = Instant::now();
    let late = live.running.tree.stop().await.late;
    println!(
        "  stopped in                {:>9.1?}, {} late",
        begun.elapsed(),
        late.len()
    );
    let ledger = live.running.store.ledger().await.unwrap();
    println!("  {ledger:?}");
    assert_eq!(ledger.received, ledger.outcomes());
}
