//! `kill -9` at random moments of a replay, each followed by a new start on the same folder, ends
//! in the same output.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use twzrd_testkit::postgres::Postgres;
use twzrd_testkit::traffic::{Profile, Traffic};

const LINES: u64 = 100_000;
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

/// How many records of the journal are on disk, by its size: a killed run must have come further.
fn journal_bytes(data: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(data.join("journal")) else {
        return 0;
    };
    let sizes = entries
        .filter_map(|e| e.ok()?.metadata().ok())
        .map(|meta| meta.len());
    sizes.sum()
}

fn kills_change_nothing(database_url: impl Fn() -> Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines.irc");
    let file = std::io::BufWriter::new(std::fs::File::create(&lines).unwrap());
    let profile = Profile {
        lines: LINES,
        users: 5_000,
        channels: 40,
        lines_per_second: 10,
        ..Profile::small(SEED)
    };
    Traffic::new(profile).write_to(file, LINES).unwrap();

    let undisturbed = {
        let data = folder.path().join("undisturbed");
        output(replay(&lines, &data, database_url().as_deref()))
    };
    assert!(undisturbed.contains(&format!("\"received\":{LINES}")));

    let (data, url) = (folder.path().join("killed"), database_url());
    let mut random = SEED;
    let (mut killed, mut grown) = (0, 0);
    while killed < KILLS {
        // The moments are spread from the start of the process to beyond the length of a batch.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis(5 + (random >> 33) % 150);
        let before = journal_bytes(&data);
        let mut child = replay(&lines, &data, url.as_deref());
        std::thread::sleep(moment);
        let was_running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        grown += u32::from(journal_bytes(&data) > before && was_running);
    }
    assert!(
        grown >= 2,
        "only {grown} of {killed} killed runs had added to the journal"
    );
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
