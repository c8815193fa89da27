//! Every actor panics at each of its steps during a replay, on both stores; the result equals that
//! of an undisturbed run.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use twzrd::progress::Progress;
use twzrd::replay::Replay;
use twzrd::replay::input::Input;
use twzrd::report;
use twzrd::settings::layers::{Flags, Layers};
use twzrd::telemetry::Terminal;
use twzrd::wiring::DataFolder;
use twzrd_actors::step::{Probe, Step, no_probe};
use twzrd_simulator::traffic::{Profile, Traffic};
use twzrd_testkit::postgres::Postgres;

/// How many lines where `TWZRD_TEST_LINES` does not say so; docs/reliability.md has 100,000.
const LINES: u64 = 25_000;

fn many_lines() -> u64 {
    let given = std::env::var("TWZRD_TEST_LINES").ok();
    given.map_or(LINES, |text| text.parse().expect("a number"))
}
const SEED: u64 = 20_251_111;

/// The lines, written once for all tests of this process.
fn lines() -> &'static Path {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.irc");
        let file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let profile = Profile {
            lines: many_lines(),
            users: 5_000,
            channels: 40,
            lines_per_second: 10,
            ..Profile::small(SEED)
        };
        assert_eq!(
            Traffic::new(profile).write_to(file, many_lines()).unwrap(),
            many_lines()
        );
        (folder, path)
    });
    path
}

/// Panics when a step of one actor is reached for the first, second and fifth time.
struct Crashes {
    actor: &'static str,
    reached: Mutex<HashMap<Step, u32>>,
}

impl Probe for Crashes {
    fn reached(&self, step: Step) {
        if !step.to_string().starts_with(&format!("{}.", self.actor)) {
            return;
        }
        let times = {
            let mut reached = self
                .reached
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let times = reached.entry(step).or_default();
            *times += 1;
            *times
        };
        assert!(
            ![1, 2, 5].contains(&times),
            "injected at {step}, time {times}"
        );
    }
}

async fn replayed(database_url: Option<String>, probe: Arc<dyn Probe>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut flags = Flags::default();
    flags
        .values
        .extend(database_url.map(|url| ("store.url", url.into())));
    // Small batches, so that every step is reached often.
    flags.values.push(("batcher.batch_records", 7_000.into()));
    let settings = Layers::read(&flags).unwrap().settings().unwrap();
    let data = DataFolder::create(folder.path()).unwrap();
    let replay = Replay {
        settings: &settings,
        data: &data,
        inputs: vec![Input::named(lines().to_str().unwrap()).unwrap()],
        probe,
        progress: Progress::on(&Terminal::default()),
    };
    let running = replay.run().await.unwrap();
    let mut out = Vec::new();
    report::json(&running.store, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// Panics on purpose would flood the output of a test that fails for another reason.
fn hide_injected_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic
            .payload_as_str()
            .is_some_and(|text| text.starts_with("injected at"))
        {
            usual(panic);
        }
    }));
}

/// Equal, or the first line that differs.
fn assert_same(disturbed: &str, undisturbed: &str, actor: &str) {
    let differs = disturbed
        .lines()
        .zip(undisturbed.lines())
        .find(|(a, b)| a != b);
    assert_eq!(differs, None, "crashes of {actor} changed the result");
    assert_eq!(
        disturbed.lines().count(),
        undisturbed.lines().count(),
        "{actor}"
    );
}

async fn crashes_change_nothing(database_url: impl Fn() -> Option<String>) {
    hide_injected_panics();
    let undisturbed = replayed(database_url(), no_probe()).await;
    assert!(undisturbed.lines().count() > 10, "{undisturbed}");
    assert!(
        undisturbed.contains(&format!("\"received\":{}", many_lines())),
        "{undisturbed}"
    );
    for actor in [
        "journal",
        "suppression_filter",
        "participation_batcher",
        "epoch_sealer",
        "tree_builder",
    ] {
        let probe = Arc::new(Crashes {
            actor,
            reached: Mutex::default(),
        });
        let disturbed = replayed(database_url(), Arc::clone(&probe) as Arc<dyn Probe>).await;
        assert_same(&disturbed, &undisturbed, actor);
        let reached = probe.reached.lock().unwrap();
        let steps = Step::SETTLEMENT
            .iter()
            .filter(|s| s.to_string().starts_with(&format!("{actor}.")));
        for step in steps {
            assert!(reached.contains_key(step), "{step} was never reached");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_crash_of_an_actor_changes_the_result_on_sqlite() {
    crashes_change_nothing(|| None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_crash_of_an_actor_changes_the_result_on_postgres() {
    let databases = Mutex::new(Vec::new());
    crashes_change_nothing(|| {
        let database = Postgres::start().unwrap();
        let url = database.url();
        databases.lock().unwrap().push(database);
        Some(url)
    })
    .await;
}
