//! Faults are injected by a demo that asks for them, and by nothing else: no route, no signal, no
//! flag, no setting.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::disallowed_methods,
    reason = "processes live in the time of the system"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use clap::CommandFactory;
use serde_json::Value;
use support::{Place, root, signal};
use twzrd::cli::Cli;

/// Every route, with those of an administrator.
const ROUTES: [&str; 15] = [
    "/",
    "/actors",
    "/actors/{path}",
    "/admin/channels",
    "/admin/reload",
    "/api/openapi.json",
    "/api/v1/channels",
    "/api/v1/epochs",
    "/api/v1/epochs/{epoch}/channels/{channel}",
    "/api/v1/ledger",
    "/api/v1/proofs",
    "/api/v1/settlement",
    "/health",
    "/metrics",
    "/ready",
];

/// The signals that a service has handlers for: HUP, INT and TERM; BUS and SEGV are those of the
/// language's runtime, which tells of a stack that overflows and ends the process.
const HANDLED: [u32; 5] = [1, 2, 7, 11, 15];

/// A service without channels, which is killed when it is dropped.
struct Service {
    child: Child,
    url: String,
}

impl Service {
    fn start(place: &Place) -> Self {
        place.write("supervision.toml", "[gateway]\nlisten = \"127.0.0.1:0\"\n");
        let mut command = place.command(&["run", "--data", "data"]);
        command.env("TWZRD_ADMIN_TOKEN", "a-token-of-the-test");
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = log.find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            (line["message"] == "running").then_some(line)
        });
        // Somebody reads on, so that the log never holds the process up.
        std::thread::spawn(move || log.count());
        let gateway = running.unwrap()["gateway"].as_str().unwrap().to_owned();
        let url = format!("http://{gateway}");
        Self { child, url }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that has ended already cannot be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_routes_are_these_and_none_of_them_injects_a_fault() {
    let place = Place::new();
    let service = Service::start(&place);
    let document = reqwest::get(format!("{}/api/openapi.json", service.url)).await;
    let document: Value = document.unwrap().json().await.unwrap();
    let routes: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(routes, ROUTES);
    let changing: Vec<_> = ROUTES
        .into_iter()
        .filter(|route| {
            let methods = document["paths"][route].as_object().unwrap();
            methods.keys().any(|method| method != "get")
        })
        .collect();
    assert_eq!(changing, ["/admin/channels", "/admin/reload"]);
}

#[test]
fn only_hangup_interrupt_and_terminate_are_handled() {
    let place = Place::new();
    let service = Service::start(&place);
    let status = format!("/proc/{}/status", service.child.id());
    let status = std::fs::read_to_string(status).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    let caught: Vec<u32> = (1..32).filter(|n| caught >> (n - 1) & 1 == 1).collect();
    assert_eq!(caught, HANDLED);
}

#[test]
fn any_other_signal_ends_the_process_as_it_ends_any_other() {
    for (name, number) in [("-USR1", 10), ("-USR2", 12), ("-ALRM", 14)] {
        let place = Place::new();
        let mut service = Service::start(&place);
        signal(service.child.id(), name);
        let status = service.child.wait().unwrap();
        assert_eq!(status.signal(), Some(number), "{name}");
    }
}

#[test]
fn only_the_demo_has_a_flag_for_chaos_and_no_variable_turns_it_on() {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = waiting.pop() {
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap_or_default();
            if long.contains("chaos") {
                found.push(format!("{path} --{long}"));
            }
            let variable = argument.get_env().map(|name| name.to_str().unwrap());
            assert!(matches!(variable, None | Some("TWZRD_SETTINGS")));
        }
        let below = command.get_subcommands();
        waiting.extend(below.map(|it| (format!("{path} {}", it.get_name()), it.clone())));
    }
    assert_eq!(found, [" demo --chaos"]);
    let place = Place::new();
    assert_eq!(place.run(&["run", "--chaos"]).code, 2);
    for variable in ["TWZRD_CHAOS__SEED", "TWZRD_DEMO__CHAOS", "TWZRD_CHAOS"] {
        let mut command = place.command(&["check"]);
        let checked = support::finish(command.env(variable, "1").spawn().unwrap());
        assert_eq!(checked.code, 78, "{variable}: {}", checked.out);
    }
}

#[test]
fn only_the_demo_names_the_simulator_and_only_its_storm_kills() {
    let mut named = Vec::new();
    let mut killing = Vec::new();
    let mut probing = Vec::new();
    for path in program() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root("")).unwrap().display().to_string();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        for line in text.lines().filter(is_code) {
            let small = line.to_lowercase();
            if small.contains("simulator") || small.contains("chaos") {
                named.push((name.clone(), line.trim().to_owned()));
            }
            if line.contains(".kill()") || line.contains("kill_and_wait") {
                killing.push(name.clone());
            }
            if line.contains(" Probe for ") {
                probing.push(line.trim().to_owned());
            }
        }
    }
    named.retain(|(file, _)| file != "src/demo.rs" && !file.starts_with("src/demo/"));
    let own = |line: &str| ("src/cli.rs".to_owned(), line.to_owned());
    let expected = [
        own("a demo with chaos that differs from an undisturbed replay"),
        own("pub chaos: bool,"),
        own("#[arg(long, value_name = \"DIR\", conflicts_with = \"chaos\")]"),
    ];
    assert_eq!(named, expected);
    assert_eq!(killing, ["src/demo/storm.rs"]);
    assert_eq!(probing, ["impl Probe for NoProbe {"]);
}

/// The files of the program, without its tests. The supervisor is left out of it: it kills who does
/// not stop in time.
fn program() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let rooms = ["domain", "journal", "store", "twitch"];
    let mut waiting: Vec<PathBuf> = rooms.map(|it| root(&format!("crates/{it}/src"))).into();
    waiting.extend(["src", "actors", "migrations"].map(root));
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = |path: &Path| path.ends_with("tests") || path.ends_with("tests.rs");
            if is_test(&path) {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
