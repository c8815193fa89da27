//! `twzrd run` and `twzrd demo` as processes: signals, kills, reloads, and what is left behind.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::disallowed_methods,
    reason = "processes live in the time of the system"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Place, Run, documented, finish, signal};
use twzrd::clock::SystemClock;
use twzrd_domain::batch::Groups;
use twzrd_domain::ports::ReportStore;
use twzrd_simulator::{Config, Rooms, Simulator};
use twzrd_store::Store;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that runs the service, with its log.
struct Service {
    child: Child,
    log: mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

impl Service {
    /// Starts it and waits until it says where it listens.
    fn start(place: &Place, token: Option<&str>) -> (Self, String) {
        let mut command = place.command(&["run", "--data", "data"]);
        if let Some(token) = token {
            command.env("TWZRD_ADMIN_TOKEN", token);
        }
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut service = Self {
            child,
            log,
            seen: Vec::new(),
        };
        let running = service.until_logged("running");
        let gateway = running["gateway"].as_str().unwrap().to_owned();
        (service, format!("http://{gateway}"))
    }

    /// Waits for a line of the log with this message.
    #[track_caller]
    fn until_logged(&mut self, message: &str) -> Value {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {message:?} in {:?}", self.seen));
            self.seen.push(line.clone());
            if line["message"] == message {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end. The answer is the exit code.
    fn end(mut self) -> (i32, Vec<Value>) {
        let status = self.child.wait().unwrap();
        self.seen.extend(self.log.iter());
        let panicked = self.seen.iter().any(|line| line["message"] == "panic");
        assert!(!panicked, "{:?}", self.seen);
        (documented(status), std::mem::take(&mut self.seen))
    }
}

impl Drop for Service {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        // One that has ended already cannot be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn simulator(rooms: u32) -> Simulator {
    let config = Config {
        rooms: Rooms::Numbered(rooms),
        keep_log: true,
        ..Config::new(Arc::new(SystemClock))
    };
    Simulator::start(config).await.unwrap()
}

fn settings(place: &Place, simulator: &Simulator, channels: &[&str]) {
    let address = simulator.address();
    place.write("channels.txt", channels.join("\n"));
    place.write(
        "supervision.toml",
        format!(
            "[epoch]\nseconds = 3600\n[twitch]\nhost = \"{}\"\nport = {}\ntls = false\n\
             [gateway]\nlisten = \"127.0.0.1:0\"\n[reload]\ndebounce_ms = 50\n\
             [[channel_groups]]\nname = \"all\"\ntoken_group = \"MILO\"\ncategory = \"test\"\nfile = \"channels.txt\"\n",
            address.ip(),
            address.port()
        ),
    );
}

async fn json(url: &str) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never held: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn until_joined(simulator: &Simulator, rooms: usize) {
    let joined = simulator.until(|snapshot| snapshot.joined() == rooms);
    tokio::time::timeout(PATIENCE, joined).await.expect("joins");
}

/// The ledger that the process answers once it has booked so many counted lines.
async fn ledger(url: &str, counted: u64) -> Value {
    let path = format!("{url}/api/v1/ledger");
    until("the ledger has all lines", || async {
        json(&path).await["ledger"]["counted"].as_u64().unwrap() >= counted
    })
    .await;
    json(&path).await["ledger"].clone()
}

fn say(simulator: &Simulator, lines: usize) {
    for n in 0..lines {
        let room = format!("channel_{:04}", n % 3);
        let login = format!("person_{}", n % 7);
        assert_eq!(simulator.say(&room, &login, "hello").unwrap(), 1);
    }
}

const ROOMS: [&str; 3] = ["channel_0000", "channel_0001", "channel_0002"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_brings_what_was_read_into_the_store_and_ends_with_zero() {
    let (place, simulator) = (Place::new(), simulator(3).await);
    settings(&place, &simulator, &ROOMS);
    let (service, _) = Service::start(&place, None);
    until_joined(&simulator, 3).await;
    say(&simulator, 300);
    simulator.acknowledged().await;
    // At once: most of the lines are still in the feeds.
    service.signal("-TERM");
    let (code, log) = service.end();
    assert_eq!(code, 0);
    assert!(log.iter().all(|line| line["level"] != "ERROR"), "{log:?}");
    assert!(
        !log.iter().any(|line| line["message"] == "stopped late"),
        "{log:?}"
    );
    // Nothing but the database is asked: a new start would apply what a stop had left in the journal.
    let store = Store::sqlite(place.path("data/twzrd.sqlite"), Groups::default()).await;
    let store = store.unwrap();
    assert_eq!(store.ledger().await.unwrap().counted, 300);
    store.close().await.unwrap();
    let (service, url) = Service::start(&place, None);
    assert_eq!(ledger(&url, 300).await["counted"], 300);
    service.signal("-INT");
    assert_eq!(service.end().0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_goes_on_where_it_was_and_records_the_gap() {
    let (place, simulator) = (Place::new(), simulator(3).await);
    settings(&place, &simulator, &ROOMS);
    let (service, url) = Service::start(&place, None);
    until_joined(&simulator, 3).await;
    say(&simulator, 90);
    assert_eq!(ledger(&url, 90).await["counted"], 90);
    let mut service = service;
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    let (service, url) = Service::start(&place, None);
    until_joined(&simulator, 3).await;
    say(&simulator, 30);
    assert_eq!(ledger(&url, 120).await["counted"], 120);
    service.signal("-TERM");
    assert_eq!(service.end().0, 0);
    let segments = place.segments("data");
    let text: String = segments
        .iter()
        .map(|segment| std::fs::read_to_string(place.path(segment)).unwrap_or_default())
        .collect();
    let down = text.matches("\"reason\":\"process_down\"").count();
    assert_eq!(down, 6, "each channel's gap begins and ends: {segments:?}");
    assert_eq!(
        simulator.snapshot().join_violations,
        0,
        "the budget outlives the process"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let (place, simulator) = (Place::new(), simulator(3).await);
    settings(&place, &simulator, &ROOMS);
    let (mut service, _) = Service::start(&place, None);
    until_joined(&simulator, 3).await;
    // A chat server that does not read holds up the goodbye.
    service.signal("-TERM");
    service.until_logged("stopping: sockets, feeds, batches; a second signal ends at once");
    service.signal("-TERM");
    let (code, _) = service.end();
    assert!(
        code == 130 || code == 0,
        "it may have stopped before the second came: {code}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channel_lists_change_by_file_signal_and_command() {
    const TOKEN: &str = "a-token-of-the-test";
    let (place, simulator) = (Place::new(), simulator(6).await);
    settings(&place, &simulator, &ROOMS);
    let (mut service, url) = Service::start(&place, Some(TOKEN));
    until_joined(&simulator, 3).await;
    place.write("channels.txt", "channel_0000\nchannel_0003\n");
    until_joined(&simulator, 2).await;
    let channels = || async { json(&format!("{url}/api/v1/channels")).await.to_string() };
    until("the new channel is shown", || async {
        channels().await.contains("channel_0003")
    })
    .await;
    until("the old channel is let go", || async {
        !channels().await.contains("channel_0001")
    })
    .await;

    // A bad list changes nothing and says why.
    place.write("channels.txt", "channel_0000\nno channel\n");
    service.signal("-HUP");
    until("the refusal is logged", || {
        while let Ok(line) = service.log.try_recv() {
            service.seen.push(line);
        }
        let refused = service
            .seen
            .iter()
            .any(|line| line["level"] == "WARN" && line.to_string().contains("channels.txt:2"));
        std::future::ready(refused)
    })
    .await;
    assert!(channels().await.contains("channel_0003"));
    place.write("channels.txt", "channel_0000\nchannel_0003\n");

    let command = |args: &[&str]| -> Run {
        let mut command = place.command(&[args, &["--url", &url]].concat());
        finish(command.env("TWZRD_ADMIN_TOKEN", TOKEN).spawn().unwrap())
    };
    command(&["channels", "add", "channel_0004", "channel_0005"]).good();
    until_joined(&simulator, 4).await;
    command(&["channels", "remove", "channel_0000"]).good();
    until_joined(&simulator, 3).await;
    let list = std::fs::read_to_string(place.path("channels.txt")).unwrap();
    assert_eq!(list, "channel_0003\nchannel_0004\nchannel_0005\n");
    let status = place.run(&["status", "--url", &url]).good();
    assert!(
        status.contains("channel_roster") && status.contains("running"),
        "{status}"
    );
    service.signal("-TERM");
    assert_eq!(service.end().0, 0);
}

#[test]
fn the_demo_ends_by_itself_with_a_proof_that_holds() {
    let place = Place::new();
    let args = [
        "demo",
        "--seconds",
        "4",
        "--channels",
        "5",
        "--data",
        "demo",
    ];
    let run = finish(place.command(&args).spawn().unwrap());
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("Proved and checked: "), "{}", run.out);
    let line = run
        .out
        .lines()
        .find(|line| line.contains(" proof --data "))
        .unwrap();
    let proof = line.split('|').next().unwrap();
    let args: Vec<&str> = proof.split_whitespace().skip(1).collect();
    let proof = place.run(&args).good();
    let verified = place.run_on(&["verify"], proof).good();
    assert!(verified.starts_with("valid: "), "{verified}");
}
