//! Settings: where each value comes from, and what is wrong with it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "settings/bounds.rs"]
mod bounds;
#[path = "settings/channels.rs"]
mod channels;
#[path = "settings/secrets.rs"]
mod secrets;

use std::os::unix::fs::PermissionsExt;

use support::{Place, Run, finish, root, six};

const SHIPPED: &str = include_str!("../supervision.toml");

fn with_env(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Run {
    finish(
        place
            .command(args)
            .envs(env.iter().copied())
            .spawn()
            .unwrap(),
    )
}

/// Value and source of a key, as `check --print` shows them.
fn shown(out: &str, key: &str) -> (String, String) {
    let line = out
        .lines()
        .find(|line| line.split(" = ").next().unwrap().trim_end() == key);
    let line = line.unwrap_or_else(|| panic!("{key} is not shown in {out}"));
    let (value, source) = line
        .split_once(" = ")
        .unwrap()
        .1
        .rsplit_once("  # ")
        .unwrap();
    (value.trim_end().to_owned(), source.to_owned())
}

#[track_caller]
fn faults(run: &Run, expected: &[&str]) {
    assert_eq!(run.code, 78, "{}{}", run.out, run.err);
    assert_eq!(run.out.lines().collect::<Vec<_>>(), expected);
    assert_eq!(run.err, "");
}

#[test]
fn the_shipped_settings_are_good_and_the_defaults() {
    let place = Place::new();
    assert_eq!(place.run(&["check"]).good(), "the settings are good\n");
    let defaults = place.run(&["check", "--print"]).good();
    assert!(
        defaults.lines().all(|line| line.ends_with("  # default")),
        "{defaults}"
    );
    place.write("supervision.toml", SHIPPED);
    assert_eq!(place.run(&["check"]).good(), "the settings are good\n");
    let from_file = place.run(&["check", "--print"]).good();
    let pairs = |out: &str| -> Vec<String> {
        out.lines()
            .map(|line| line.rsplit_once("  # ").unwrap().0.to_owned())
            .collect()
    };
    assert_eq!(pairs(&from_file), pairs(&defaults));
    assert!(
        from_file
            .lines()
            .all(|line| line.contains("  # supervision.toml:")),
        "{from_file}"
    );
}

#[test]
fn the_file_of_the_source_is_good() {
    let place = Place::new();
    let path = root("supervision.toml");
    place
        .run(&["check", "--settings", path.to_str().unwrap()])
        .good();
}

#[test]
fn a_value_comes_from_the_uppermost_layer_that_has_it() {
    let place = Place::new();
    let file = "[epoch]\nseconds = 60\n\n[weights]\nbits = 2\nraid = 3\n[log]\nlevel = \"warn\"\n";
    place.write("supervision.toml", file);
    let env = [
        ("TWZRD_WEIGHTS__RAID", "4"),
        ("TWZRD_LOG__LEVEL", "debug"),
        ("TWZRD_SUPPRESSION__BOTS", "[nightbot, fossabot]"),
        ("TWZRD_CHILDREN__JOURNAL__STALL_AFTER_MS", "77"),
        ("TWZRD_DATA__FOLDER", "elsewhere"),
    ];
    let out = with_env(&place, &["check", "--print", "--log-level", "error"], &env).good();
    for (key, value, source) in [
        ("weights.gift", "500", "default"),
        ("epoch.seconds", "60", "supervision.toml:2"),
        ("weights.bits", "2", "supervision.toml:5"),
        ("weights.raid", "4", "TWZRD_WEIGHTS__RAID"),
        (
            "suppression.bots",
            "[\"nightbot\", \"fossabot\"]",
            "TWZRD_SUPPRESSION__BOTS",
        ),
        (
            "children.journal.stall_after_ms",
            "77",
            "TWZRD_CHILDREN__JOURNAL__STALL_AFTER_MS",
        ),
        ("children.journal.restart", "\"permanent\"", "default"),
        ("data.folder", "\"elsewhere\"", "TWZRD_DATA__FOLDER"),
        ("log.level", "\"error\"", "flag"),
        ("store.url", "\"\"", "default"),
    ] {
        assert_eq!(
            shown(&out, key),
            (value.to_owned(), source.to_owned()),
            "{key}"
        );
    }
}

#[test]
fn what_is_printed_is_what_holds() {
    let place = Place::new();
    place.write("six.irc", six());
    place.write(
        "supervision.toml",
        "[data]\nfolder = \"mine\"\n[epoch]\nseconds = 7200\n",
    );
    let replay =
        |args: &[&str]| place.run(&[&["replay", "--json", "--data", "mine"], args].concat());
    let out = replay(&["six.irc"]).good();
    let epochs: Vec<&str> = out
        .lines()
        .map(|line| line.split(',').next().unwrap())
        .collect();
    let expected = [
        "{\"epoch\":1759996800",
        "{\"epoch\":1760004000",
        "{\"epoch\":1760004000",
    ];
    assert_eq!(epochs[..3], expected);
    let listed = place.run(&["suppress", "list"]);
    assert_eq!(
        (listed.code, listed.out.as_str()),
        (0, ""),
        "{}",
        listed.err
    );
    let listed = with_env(
        &place,
        &["suppress", "list"],
        &[("TWZRD_DATA__FOLDER", "other")],
    );
    assert_eq!(listed.code, 66);
    let by_env = with_env(
        &place,
        &["replay", "--json", "six.irc"],
        &[("TWZRD_EPOCH__SECONDS", "60")],
    );
    let by_flag = place
        .run(&["replay", "--json", "--epoch-seconds", "60", "six.irc"])
        .good();
    assert_eq!(by_env.good(), by_flag);
}

#[test]
fn another_file_is_named_by_flag_or_environment() {
    let place = Place::new();
    place.write("supervision.toml", "[epoch]\nseconds = 60\n");
    place.write("other.toml", "[epoch]\nseconds = 120\n");
    let expected = ("120".to_owned(), "other.toml:2".to_owned());
    let out = place
        .run(&["check", "--print", "--settings", "other.toml"])
        .good();
    assert_eq!(shown(&out, "epoch.seconds"), expected);
    let out = with_env(
        &place,
        &["check", "--print"],
        &[("TWZRD_SETTINGS", "other.toml")],
    )
    .good();
    assert_eq!(shown(&out, "epoch.seconds"), expected);

    for (name, fault) in [
        (
            "missing.toml",
            "missing.toml: cannot be read: No such file or directory (os error 2); expected a TOML file",
        ),
        (
            "tmp",
            "tmp: cannot be read: Is a directory (os error 21); expected a TOML file",
        ),
    ] {
        faults(&place.run(&["check", "--settings", name]), &[fault]);
    }
}

#[test]
fn every_fault_is_named_with_file_line_and_what_was_expected() {
    let place = Place::new();
    let file = r#"frob = 1

[epoch]
seconds = 0
minutes = 60

[weights]
bits = -1
raid = "many"

[supervisors.settlement]
strategy = "one_for_some"

[children.journal]
restart = "permanent"
backoff_jitter = 1.5

[children.nobody]
restart = "permanent"

[store]
url = "mysql://somewhere"

[suppression]
bots = ["good", "not good"]

[log]
level = "loud=quiet=x"

[[channel_groups]]
name = "a"
token_group = "MILO"
category = "chess"
channels = ["one", "two"]

[[channel_groups]]
name = "b"
token_group = "MILO"
category = "board games"
channels = ["two"]
"#;
    place.write("supervision.toml", file);
    let run = place.run(&["check"]);
    assert_eq!(run.code, 78);
    let mut found: Vec<&str> = run.out.lines().collect();
    found.sort_unstable();
    let begins = [
        "supervision.toml:12: supervisors.settlement.strategy",
        "supervision.toml:16: children.journal.backoff_jitter: 1.5; expected 0 to 1",
        "supervision.toml:18: children.nobody: the tree has no such member; expected one of ",
        "supervision.toml:1: frob: unknown key; expected one of ",
        "supervision.toml:22: store.url: another text (not shown); expected an empty text, or a URL that begins with postgres:// or postgresql://",
        "supervision.toml:25: suppression.bots: \"not good\"; expected a name of 1 to 64 bytes without white space and control characters",
        "supervision.toml:28: log.level: \"loud=quiet=x\"; expected error, warn, info, debug or trace, or a filter of these by module",
        "supervision.toml:39: channel_groups.1.category: \"board games\"; expected 1 to 32 ASCII characters without a space",
        "supervision.toml:40: channel_groups.1.channels.0: \"two\" again; expected each channel in one group",
        "supervision.toml:4: epoch.seconds: 0; expected 1 to 604800",
        "supervision.toml:5: epoch.minutes: unknown key; expected one of seconds, grace_seconds",
        "supervision.toml:8: weights.bits: ",
        "supervision.toml:9: weights.raid: ",
    ];
    assert_eq!(found.len(), begins.len(), "{}", run.out);
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}\nis not\n{begin}");
    }
}

#[test]
fn every_command_refuses_settings_at_fault() {
    let place = Place::new();
    place.write("six.irc", six());
    place.write("supervision.toml", "[epoch]\nseconds = 0\n");
    for args in [
        &["replay", "six.irc"][..],
        &["suppress", "list"],
        &["suppress", "add", "bob"],
        &["proof", "--epoch", "1", "--channel", "a", "--user", "b"],
    ] {
        let run = place.run(args);
        assert_eq!((run.code, run.out.as_str()), (78, ""), "{args:?}");
        assert_eq!(
            run.err,
            "twzrd: supervision.toml:2: epoch.seconds: 0; expected 1 to 604800\n"
        );
    }
    assert_eq!(place.names(""), ["six.irc", "supervision.toml", "tmp"]);
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let place = Place::new();
    for (text, begin) in [
        ("[epoch]\nseconds =\n", "supervision.toml:2: "),
        ("[epoch\n", "supervision.toml:1: "),
        (
            "[epoch]\nseconds = 1\nseconds = 2\n",
            "supervision.toml:3: ",
        ),
        ("\n\nhello world\n", "supervision.toml:3: "),
    ] {
        place.write("supervision.toml", text);
        let run = place.run(&["check"]);
        assert_eq!(run.code, 78, "{text:?}");
        assert!(
            run.out.starts_with(begin) && run.out.ends_with("; expected TOML\n"),
            "{}",
            run.out
        );
        assert_eq!(run.out.lines().count(), 1, "{}", run.out);
    }
    place.write("supervision.toml", b"\xff\xfe\x00");
    faults(
        &place.run(&["check"]),
        &[
            "supervision.toml: cannot be read: stream did not contain valid UTF-8; expected a TOML file",
        ],
    );
}

#[test]
fn faults_in_the_environment_are_named_by_their_variable() {
    let place = Place::new();
    for (name, value, fault) in [
        (
            "TWZRD_EPOCH__SECONDS",
            "0",
            "TWZRD_EPOCH__SECONDS: epoch.seconds: 0; expected 1 to 604800",
        ),
        (
            "TWZRD_EPOCH__MINUTES",
            "1",
            "TWZRD_EPOCH__MINUTES: epoch.minutes: unknown key; expected one of seconds, grace_seconds",
        ),
        (
            "DATABASE_URL",
            "mysql://me:hunter2@db/x",
            "DATABASE_URL: store.url: another text (not shown); expected an empty text, or a URL that begins with postgres:// or postgresql://",
        ),
    ] {
        faults(&with_env(&place, &["check"], &[(name, value)]), &[fault]);
    }
    let run = with_env(&place, &["check"], &[("TWZRD_FROB", "1")]);
    assert_eq!(run.code, 78);
    assert!(
        run.out
            .starts_with("TWZRD_FROB: frob: unknown key; expected one of "),
        "{}",
        run.out
    );
    let run = with_env(&place, &["check"], &[("TWZRD_EPOCH__SECONDS", "soon")]);
    assert_eq!(run.code, 78);
    assert!(
        run.out.starts_with("TWZRD_EPOCH__SECONDS: epoch.seconds: "),
        "{}",
        run.out
    );
}

#[test]
fn secrets_are_masked_wherever_they_come_from() {
    let place = Place::new();
    let url = "postgres://me:hunter2@127.0.0.1:1/x";
    let by_env = with_env(&place, &["check", "--print"], &[("DATABASE_URL", url)]).good();
    assert_eq!(
        shown(&by_env, "store.url"),
        ("***".to_owned(), "DATABASE_URL".to_owned())
    );
    assert!(!by_env.contains("hunter2"));
    let by_setting = with_env(&place, &["check", "--print"], &[("TWZRD_STORE__URL", url)]).good();
    assert_eq!(
        shown(&by_setting, "store.url"),
        ("***".to_owned(), "TWZRD_STORE__URL".to_owned())
    );

    let file = place.write("supervision.toml", format!("[store]\nurl = \"{url}\"\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let by_file = place.run(&["check", "--print"]).good();
    assert_eq!(
        shown(&by_file, "store.url"),
        ("***".to_owned(), "supervision.toml:2".to_owned())
    );
    assert!(!by_file.contains("hunter2"));
}

#[test]
fn a_database_that_is_away_is_told_without_its_secret() {
    let place = Place::new();
    place.write("six.irc", six());
    let env = [("DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/x")];
    let run = with_env(&place, &["replay", "--data", "data", "six.irc"], &env);
    assert_eq!(run.code, 69, "{}", run.err);
    assert!(!run.err.contains("hunter2"), "{}", run.err);
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let place = Place::new();
    let text = "\n[store]\nurl = \"postgres://me:hunter2@db/x\"\n";
    let file = place.write("supervision.toml", text);
    for mode in [0o644, 0o640, 0o604, 0o666] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let fault = format!(
            "supervision.toml:3: store.url: holds credentials, and the file has mode {mode:04o}; expected DATABASE_URL in the environment, or mode 0600"
        );
        faults(&place.run(&["check"]), &[&fault]);
        let run = place.run(&["suppress", "list"]);
        assert_eq!((run.code, run.err), (78, format!("twzrd: {fault}\n")));
    }
    // In whichever way the table is written.
    for text in [
        "store.url = \"postgres://me:hunter2@db/x\"\n",
        "store = { url = \"postgres://me:hunter2@db/x\" }\n",
    ] {
        place.write("supervision.toml", text);
        let run = place.run(&["check"]);
        assert_eq!(run.code, 78, "{text}");
        assert!(
            run.out
                .starts_with("supervision.toml:1: store.url: holds credentials"),
            "{}",
            run.out
        );
        assert!(!run.out.contains("hunter2"));
    }
    // No secret, no fault.
    place.write("supervision.toml", "[store]\nurl = \"postgres://db/x\"\n");
    place.run(&["check"]).good();
}
