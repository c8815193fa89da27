//! What stands around the answer: the help, the log, and streams that nobody reads.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Place, finish, sample, six};

const EXIT_CODES: &str = "
Exit codes:
    0  all went well
    1  the answer is no: a proof that fails, a person who took no part, a change that is refused,
       a root that is not settled,
       a demo with chaos that differs from an undisturbed replay
    2  the command line is wrong
   65  an input is binary, damaged or cut
   66  an input or a data folder cannot be opened
   69  the database or the chain is away, or the database follows another journal; no process
       answers; or a root was not settled in the time that it was given
   70  the supervision tree gave up
   73  a folder cannot be made
   74  reading or writing failed, for example on a full disk
   75  another process holds the data folder
   78  the settings are wrong
  130  interrupted
";

#[test]
fn the_help_lists_the_commands_and_the_exit_codes() {
    let place = Place::new();
    let help = place.run(&["--help"]).good();
    assert!(help.ends_with(EXIT_CODES), "{help}");
    for command in [
        "run",
        "demo",
        "status",
        "channels",
        "replay",
        "check",
        "proof",
        "verify",
        "suppress",
        "publish",
        "settlement",
        "admin",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        place.run(&[command, "--help"]).good();
    }
    assert_eq!(place.run(&["--version"]).good(), "twzrd 0.1.0\n");
}

#[test]
fn a_wrong_command_line_is_told_and_ends_with_two() {
    let place = Place::new();
    for (args, error) in [
        (
            &["frobnicate"][..],
            "error: unrecognized subcommand 'frobnicate'\n",
        ),
        (
            &["replay"],
            "error: the following required arguments were not provided:\n  <FILE>...\n",
        ),
        (
            &["replay", "--frob", "x"],
            "error: unexpected argument '--frob' found\n",
        ),
        (
            &["suppress", "frob"],
            "error: unrecognized subcommand 'frob'\n",
        ),
        (
            &["proof", "--epoch", "x"],
            "error: invalid value 'x' for '--epoch <E>'",
        ),
        (&["suppress", "add", "a b"], "twzrd: LOGIN \"a b\": "),
        (
            &["suppress", "list", ""],
            "twzrd: LOGIN \"\": the name is empty",
        ),
    ] {
        let wrong = place.run(args);
        assert_eq!(wrong.code, 2, "{args:?}: {}", wrong.err);
        assert!(wrong.err.starts_with(error), "{args:?}: {}", wrong.err);
        assert_eq!(wrong.out, "");
    }
    // Nothing was made for a command line that is wrong.
    assert_eq!(place.names(""), ["tmp"]);
}

#[test]
fn the_log_is_json_and_tells_each_seal_and_each_tree_once() {
    let place = Place::new();
    place.write("real.irc", sample());
    let run = place.run(&["replay", "--json", "--data", "data", "real.irc"]);
    let log = run.log();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let (mut sealed, mut trees) = (BTreeMap::new(), BTreeMap::new());
    for line in &log {
        match text(line, "message").as_str() {
            "epoch sealed" => *sealed.entry(text(line, "epoch")).or_insert(0) += 1,
            "tree finalized" => {
                let root = text(line, "participation_root");
                *trees
                    .entry((text(line, "epoch"), text(line, "channel"), root))
                    .or_insert(0) += 1;
            }
            _ => {}
        }
    }
    let (mut epochs, mut rows) = (BTreeMap::new(), BTreeMap::new());
    for line in run.good().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["ledger"].is_null() {
            let epoch = row["epoch"].to_string();
            epochs.insert(epoch.clone(), 1);
            rows.insert(
                (
                    epoch,
                    text(&row, "channel"),
                    text(&row, "participation_root"),
                ),
                1,
            );
        }
    }
    assert_eq!((sealed, trees), (epochs, rows));

    let again = place.run(&["replay", "--json", "--data", "data", "real.irc"]);
    assert!(
        !again.logged("epoch sealed") && !again.logged("tree finalized"),
        "{}",
        again.err
    );
}

#[test]
fn the_log_level_error_is_silent_where_all_goes_well() {
    let place = Place::new();
    place.write("six.irc", six());
    let quiet = ["--log-level", "error", "--data", "data"];
    for args in [
        &["replay", "--json", "six.irc"][..],
        &["suppress", "add", "alice"],
        &["suppress", "list"],
        &["suppress", "remove", "alice"],
        &[
            "proof",
            "--epoch",
            "1760000400",
            "--channel",
            "tea",
            "--user",
            "bob",
        ],
    ] {
        let run = place.run(&[args, &quiet].concat());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn a_filter_by_module_is_a_log_level() {
    let place = Place::new();
    place.write("six.irc", six());
    let run = place.run(&[
        "replay",
        "--log-level",
        "error,twzrd_actors::epoch_sealer=info",
        "six.irc",
    ]);
    let messages: Vec<_> = run
        .log()
        .iter()
        .map(|line| line["message"].clone())
        .collect();
    assert_eq!(messages, ["epoch sealed", "epoch sealed"]);
}

#[test]
fn that_nobody_reads_the_output_is_no_failure() {
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("data", &["six.irc"]);
    for args in [
        &["replay", "--json", "--data", "data", "six.irc"][..],
        &["replay", "--data", "data", "six.irc"],
        &[
            "proof",
            "--data",
            "data",
            "--epoch",
            "1760000400",
            "--channel",
            "tea",
            "--user",
            "bob",
        ],
        &["suppress", "list", "--data", "data"],
        &["check", "--print"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = finish(place.command(args).stdout(writer).spawn().unwrap());
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        assert!(!run.err.contains("roken pipe"), "{args:?}: {}", run.err);
    }
}

#[test]
fn that_nobody_reads_the_log_changes_nothing() {
    let place = Place::new();
    place.write("six.irc", six());
    let expected = place.replay("other", &["six.irc"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command(&["replay", "--json", "--data", "data", "six.irc"]);
    let run = finish(command.stderr(writer).spawn().unwrap());
    assert_eq!(run.good(), expected);
}

#[test]
fn a_full_disk_under_the_output_ends_with_74() {
    let place = Place::new();
    place.write("six.irc", six());
    for args in [
        &["replay", "--json", "--log-level", "error", "six.irc"][..],
        &["replay", "--log-level", "error", "six.irc"],
        &["check", "--print"],
    ] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let run = finish(
            place
                .command(args)
                .stdout(Stdio::from(full))
                .spawn()
                .unwrap(),
        );
        assert_eq!(run.code, 74, "{args:?}");
        assert!(run.err.contains("No space left on device"), "{}", run.err);
        assert!(run.err.contains("standard output"), "{}", run.err);
    }
}
