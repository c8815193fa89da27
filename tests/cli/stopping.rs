//! Two processes on one folder, and processes that are asked to stop.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin};

use crate::support::{Place, finish, finish_soon, message, signal, six};

/// Starts a replay of standard input, and waits until its tree runs: then it holds the folder.
fn start(place: &Place) -> (Child, ChildStdin, BufReader<ChildStderr>) {
    let args = ["replay", "--json", "--data", "data", "-"];
    let mut child = place.spawn_piped(&args);
    let stdin = child.stdin.take().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("suppression list loaded") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended too soon");
    }
    (child, stdin, log)
}

fn rest(mut log: BufReader<ChildStderr>) -> String {
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_second_process_on_a_data_folder_is_told_who_holds_it() {
    let place = Place::new();
    place.write("six.irc", six());
    let (child, mut stdin, log) = start(&place);
    let pid = child.id();
    for args in [&["replay", "six.irc"][..], &["suppress", "add", "alice"]] {
        let args = [args, &["--log-level", "error", "--data", "data"]].concat();
        let refused = place.run(&args);
        assert_eq!(
            (refused.code, refused.out.as_str()),
            (75, ""),
            "{}",
            refused.err
        );
        let begin = format!("twzrd: the journal in data/journal is in use by process {pid} on ");
        assert!(refused.err.starts_with(&begin), "{}", refused.err);
        assert_eq!(refused.err.lines().count(), 1);
    }
    // The one that holds it is not disturbed.
    stdin.write_all(six().as_bytes()).unwrap();
    drop(stdin);
    rest(log);
    assert_eq!(finish(child).good(), place.replay("other", &["six.irc"]));
}

#[test]
fn of_processes_that_start_at_once_one_works_and_the_others_are_told() {
    let place = Place::new();
    place.write("six.irc", six());
    let expected = place.replay("other", &["six.irc"]);
    for round in 0..10 {
        let data = format!("data-{round}");
        let args = [
            "replay",
            "--json",
            "--log-level",
            "error",
            "--data",
            &data,
            "six.irc",
        ];
        let children: Vec<Child> = (0..4)
            .map(|_| place.command(&args).spawn().unwrap())
            .collect();
        let runs: Vec<_> = children.into_iter().map(finish).collect();
        assert!(runs.iter().any(|run| run.code == 0));
        for run in runs {
            // One that came when the first had ended finds all of it done.
            assert!(matches!(run.code, 0 | 75), "{}: {}", run.code, run.err);
            assert_eq!(run.out, if run.code == 0 { &expected } else { "" });
        }
    }
}

#[test]
fn who_only_reads_needs_no_lock() {
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("data", &["six.irc"]);
    let (child, stdin, log) = start(&place);
    let quiet = ["--log-level", "error", "--data", "data"];
    let proof = [
        "proof",
        "--epoch",
        "1760000400",
        "--channel",
        "tea",
        "--user",
        "bob",
    ];
    place.run(&[&proof[..], &quiet].concat()).good();
    assert_eq!(
        place
            .run(&[&["suppress", "list"][..], &quiet].concat())
            .good(),
        ""
    );
    drop(stdin);
    rest(log);
    finish(child).good();
}

/// Lines of four appends and a bit, in one hour.
fn many() -> String {
    let line = |n: u32| message(&format!("user_{}", n % 500), "tea", u64::from(n / 20), n);
    (0..35_000).map(line).collect()
}

/// Waits until the journal holds an event.
fn wait_for_an_event(place: &Place) {
    let segment = place.path("data/journal/00000000000000000001.ndjson");
    while !std::fs::read_to_string(&segment)
        .unwrap()
        .contains("\"kind\":\"event\"")
    {
        std::thread::yield_now();
    }
}

fn stops_and_goes_on(name: &str) {
    let place = Place::new();
    let lines = many();
    place.write("lines.irc", &lines);
    let expected = place.replay("other", &["lines.irc"]);
    let (child, mut stdin, log) = start(&place);
    let cut = lines.len() - 1000;
    stdin.write_all(&lines.as_bytes()[..cut]).unwrap();
    wait_for_an_event(&place);
    signal(child.id(), name);
    let stopped = finish_soon(child);
    drop(stdin);
    let err = rest(log);
    assert_eq!((stopped.code, stopped.out.as_str()), (130, ""), "{err}");
    let last = err.lines().last().unwrap();
    assert_eq!(
        last,
        "twzrd: interrupted; what was accepted is kept: run it again on the same data folder to go on"
    );
    assert_eq!(place.replay("data", &["lines.irc"]), expected);
}

#[test]
fn an_interrupted_replay_ends_at_once_and_goes_on_later() {
    stops_and_goes_on("-INT");
}

#[test]
fn a_terminated_replay_ends_at_once_and_goes_on_later() {
    stops_and_goes_on("-TERM");
}

/// Where the folder knows inputs already, standard input is copied before it is read.
#[test]
fn a_replay_is_interrupted_while_it_waits_for_input_that_it_may_know() {
    let place = Place::new();
    place.write("six.irc", six());
    let expected = place.replay("data", &["six.irc"]);
    let (child, mut stdin, log) = start(&place);
    stdin.write_all(six().as_bytes()).unwrap();
    signal(child.id(), "-INT");
    let stopped = finish_soon(child);
    drop(stdin);
    assert_eq!(stopped.code, 130, "{}", rest(log));
    assert_eq!(place.replay("data", &["six.irc"]), expected);
}
