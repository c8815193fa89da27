//! `twzrd demo --chaos` as a process: a storm from a seed, and a verdict at its end.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::disallowed_methods,
    reason = "processes live in the time of the system"
)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Place, documented, finish, signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of the last line of the output: strikes, accepted, lost, doubled, equal, of.
#[track_caller]
fn verdict(out: &str) -> [u64; 6] {
    let last = out.lines().last().unwrap_or_default();
    assert!(last.starts_with("Verdict: "), "{out}");
    assert!(last.ends_with(": nothing was lost, nothing counts twice, no root differs."));
    let numbers = last.split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.filter_map(|word| word.parse().ok());
    let numbers: Vec<u64> = numbers.collect();
    numbers.try_into().expect("six numbers")
}

/// The strikes that a log tells of: number, and kind.
fn strikes(log: &str) -> Vec<(u64, String)> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let strikes = lines.filter(|line: &Value| line["message"] == "strike");
    strikes
        .map(|line| {
            let kind = line["kind"].as_str().unwrap().to_owned();
            (line["number"].as_u64().unwrap(), kind)
        })
        .collect()
}

#[test]
fn a_storm_changes_no_root_and_its_replay_can_be_repeated() {
    let place = Place::new();
    let args = "demo --chaos --seconds 16 --channels 6 --seed 5 --data demo";
    let args: Vec<&str> = args.split(' ').collect();
    let run = finish(place.command(&args).spawn().unwrap());
    assert_eq!(run.code, 0, "{}\n{}", run.out, run.err);
    let [struck, accepted, lost, doubled, equal, of] = verdict(&run.out);
    assert!(struck >= 8 && accepted > 300 && of > 0, "{}", run.out);
    assert_eq!((lost, doubled, equal), (0, 0, of));

    let log = std::fs::read_to_string(place.path("demo/demo.log")).unwrap();
    let strikes = strikes(&log);
    let numbers: Vec<u64> = strikes.iter().map(|strike| strike.0).collect();
    assert_eq!(numbers, (1..=struck).collect::<Vec<_>>());
    assert!(!log.contains("\"message\":\"panic\""), "a kill is no panic");

    // What the verdict says can be seen by anybody: the journal, and the lines that were heard.
    let replayed = |data: &str, files: &[&str]| -> Vec<String> {
        let args = ["replay", "--json", "--epoch-seconds", "20", "--data", data];
        let out = place.run(&[&args, files].concat()).good();
        let epochs = out.lines().filter(|line| line.contains("claim_root"));
        epochs.map(str::to_owned).collect()
    };
    let segments = place.segments("demo");
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let journal = replayed("of_journal", &segments);
    assert_eq!(journal.len() as u64, of);
    assert_eq!(replayed("of_lines", &["demo/undisturbed.irc"]), journal);

    // Every record of a journal is compared, so there must be none before.
    let again = place.run(&args);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("expected an empty folder with --chaos"));
}

#[test]
fn ctrl_c_ends_a_storm_in_order_and_with_its_verdict() {
    let place = Place::new();
    let args = ["demo", "--chaos", "--channels", "3", "--data", "demo"];
    let mut child = place.command(&args).spawn().unwrap();
    let begun = Instant::now();
    let struck = || {
        let log = std::fs::read_to_string(place.path("demo/demo.log"));
        log.is_ok_and(|log| log.matches("\"message\":\"strike\"").count() >= 3)
    };
    while !struck() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("no storm came");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(child.id(), "-INT");
    let mut out = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut title = String::new();
    stdout.read_line(&mut title).unwrap();
    stdout.read_to_string(&mut out).unwrap();
    let code = documented(child.wait().unwrap());
    assert_eq!(code, 0, "{out}");
    assert!(title.contains("a storm from seed 1"), "{title}");
    let [struck, _, lost, doubled, equal, of] = verdict(&out);
    assert!(struck >= 3, "{out}");
    assert_eq!((lost, doubled, equal), (0, 0, of));
}
