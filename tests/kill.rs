//! `kill -9` at random moments of a replay, each followed by a new start on the same folder, ends
//! in the same output.
#![allow(
    clippy::disallowed_methods,
    reason = "moments of real time are what this is about"
)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use twzrd_simulator::traffic::{Profile, Traffic};
use twzrd_testkit::postgres::Postgres;

/// How many lines where `TWZRD_TEST_LINES` does not say so; docs/reliability.md has 100,000.
const LINES: u64 = 25_000;

fn many_lines() -> u64 {
    let given = std::env::var("TWZRD_TEST_LINES").ok();
    given.map_or(LINES, |text| text.parse().expect("a number"))
}
const SEED: u64 = 4_051_977;
const KILLS: u32 = 20;

fn replay(lines: &Path, data: &Path, database_url: Option<&str>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twzrd"));
    command
        .current_dir(data.parent().unwrap())
        .args(["replay", "--json", "--log-level", "error", "--data"])
        .args([data, lines])
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    command.spawn().unwrap()
}

fn output(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn kills_change_nothing(database_url: impl Fn() -> Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines.irc");
    let file = std::io::BufWriter::new(std::fs::File::create(&lines).unwrap());
    let profile = Profile {
        lines: many_lines(),
        users: 5_000,
        channels: 40,
        lines_per_second: 10,
        ..Profile::small(SEED)
    };
    Traffic::new(profile).write_to(file, many_lines()).unwrap();

    let begun = Instant::now();
    let undisturbed = {
        let data = folder.path().join("undisturbed");
        output(replay(&lines, &data, database_url().as_deref()))
    };
    let received = format!("\"received\":{}", many_lines());
    assert!(undisturbed.contains(&received), "{undisturbed}");

    // As long as each run may take on average to be through after the last kill: so the kills fall
    // on the start, on the intake, on batches, on seals and on trees, on a fast machine and a slow.
    let longest = begun.elapsed() / 8;
    let mut places = (1..).map(|n| (folder.path().join(format!("killed-{n}")), database_url()));
    let (mut data, mut url) = places.next().unwrap();
    let mut random = SEED;
    let (mut kills, mut starts) = (0, 0);
    while kills < KILLS {
        starts += 1;
        assert!(
            starts <= 5 * KILLS,
            "only {kills} of {starts} runs were still at work"
        );
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from((random >> 33) % 1000).unwrap();
        let mut child = replay(&lines, &data, url.as_deref());
        std::thread::sleep(Duration::from_millis(20) + longest * part / 1000);
        if child.try_wait().unwrap().is_some() {
            // It was through before its moment came: the other kills fall on work of their own.
            assert_eq!(
                output(child),
                undisturbed,
                "seed {SEED}, after {kills} kills"
            );
            (data, url) = places.next().unwrap();
            continue;
        }
        kills += 1;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(
        output(replay(&lines, &data, url.as_deref())),
        undisturbed,
        "seed {SEED}"
    );
    assert_eq!(
        output(replay(&lines, &data, url.as_deref())),
        undisturbed,
        "once more adds nothing"
    );
}

#[test]
fn a_replay_killed_at_20_moments_ends_the_same_on_sqlite() {
    kills_change_nothing(|| None);
}

#[test]
fn a_replay_killed_at_20_moments_ends_the_same_on_postgres() {
    let databases = std::cell::RefCell::new(Vec::new());
    kills_change_nothing(|| {
        let database = Postgres::start().unwrap();
        let url = database.url();
        databases.borrow_mut().push(database);
        Some(url)
    });
}
