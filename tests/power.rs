//! The power goes while a whole pipeline works: journal, database and actors start again on what one
//! cut leaves of both, take the rest of the input, and end as if nothing had been.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[allow(dead_code)]
#[path = "chaos/dice.rs"]
mod dice;
#[path = "../crates/store/tests/power/wal.rs"]
mod wal;
#[path = "power/watched.rs"]
mod watched;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dice::Dice;
use twzrd::report;
use twzrd::settings::Settings;
use twzrd::settings::layers::{Flags, Layers};
use twzrd::wiring::{DataFolder, How, Opened, Running};
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::no_probe;
use twzrd_actors::suppression_filter::{ListChange, SuppressionFilterMsg};
use twzrd_actors::tree::{self, Parts};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::{Action, Event, MessageId};
use twzrd_domain::identity::{Name, UserHash};
use twzrd_domain::ports::{
    BatchStore, JournalFolder, ReportStore, SealStore, SealedEpoch, TreeStore, Unbuilt,
};
use twzrd_domain::record::{Append, Candidate, Intake, Progress, Record, Seal};
use twzrd_journal::testing::{RecordingStorage, Trace};
use twzrd_journal::{Config, Folder};
use twzrd_supervision::Options;
use wal::Behind;
use watched::{Watched, Window};

/// Images, where `TWZRD_TEST_POWER_IMAGES` does not say otherwise.
const IMAGES: u64 = 60;
const FIRST_HOUR: u64 = 1_700_000_400 / 3600 * 3600;
const HOURS: u64 = 3;
const INTAKES: u64 = 25;
const PATIENCE: Duration = Duration::from_secs(60);

fn images() -> u64 {
    let wanted = std::env::var("TWZRD_TEST_POWER_IMAGES").ok();
    wanted.map_or(IMAGES, |number| number.parse().unwrap())
}

/// What comes from outside. Each may be offered any number of times.
enum Input {
    Lines(Intake),
    Seal(u64, Epoch),
    OptOut(&'static str, u64),
}

impl Input {
    async fn offer(&self, running: &Running) {
        let gate = running.refs.gate(Some(PATIENCE));
        match self {
            Self::Lines(intake) => drop(gate.accept(intake.clone()).await.unwrap()),
            Self::Seal(number, epoch) => {
                let progress = Some(progress("seals", *number));
                let seal = Record::Seal(Seal { epoch: *epoch });
                let records = vec![((epoch.0 + 3660) * 1000, seal)];
                let append = Append::Records { progress, records };
                gate.append(append).await.unwrap();
            }
            Self::OptOut(login, at) => {
                let hashes = vec![UserHash::of_login(&Name::parse(login).unwrap())];
                let change = ListChange {
                    suppress: true,
                    hashes,
                    reason: String::new(),
                    at: *at,
                };
                let ask = |reply| SuppressionFilterMsg::Change(change, reply);
                let answer = running.refs.filter.call(ask, PATIENCE).await;
                answer.unwrap().unwrap();
            }
        }
    }
}

fn progress(source: &str, upto: u64) -> Progress {
    Progress {
        source: source.into(),
        upto,
        digest: "".into(),
    }
}

/// Three hours of three channels, with opt-outs, late lines, duplicates, and a seal behind each hour.
fn inputs() -> Vec<Input> {
    let mut dice = Dice::of(11);
    let mut all = Vec::new();
    let mut line = 0;
    for hour in 0..HOURS {
        let begin = FIRST_HOUR + hour * 3600;
        for part in 0..INTAKES {
            let at = (begin + part * 3600 / INTAKES) * 1000;
            let mut candidates = Vec::new();
            for _ in 0..=dice.below(60) {
                line += 1;
                // One in ten was said before, one in ten an hour ago.
                let id = if dice.one_in(10) { line / 2 } else { line };
                let ts = if dice.one_in(10) { at - 3_600_000 } else { at };
                candidates.push(said(&mut dice, id, ts));
            }
            let lines = candidates.len() as u64;
            all.push(Input::Lines(Intake {
                progress: Some(progress("feed", all.len() as u64 + 1)),
                at,
                lines,
                candidates,
                tally: Vec::new(),
            }));
            if part == 15 {
                let login = ["viewer3", "viewer50", "viewer120"][usize::try_from(hour).unwrap()];
                all.push(Input::OptOut(login, at));
            }
            if part == 4 && hour > 0 {
                all.push(Input::Seal(hour, Epoch(begin - 3600)));
            }
        }
    }
    all
}

fn said(dice: &mut Dice, id: u64, ts: u64) -> Candidate {
    let user = dice.below(300);
    let channel = ["forsen", "xqc", "sodapoppin"][usize::try_from(dice.below(3)).unwrap()];
    let bits = if dice.one_in(9) { 100 } else { 0 };
    Candidate::Event(Event {
        id: MessageId::parse(&format!("message-{id}")),
        channel: Name::parse(channel).unwrap(),
        ts: ts + dice.below(60_000),
        login: Name::parse(&format!("viewer{user}")).unwrap(),
        user_id: Some(user + 1),
        action: Action::Message { bits },
        text: None,
    })
}

fn settings() -> Settings {
    let mut flags = Flags::default();
    // Small batches and segments, so that there are many of both.
    flags.values.push(("batcher.batch_records", 150.into()));
    let layers = Layers::read(&flags).unwrap();
    layers.settings().unwrap()
}

/// A run that nothing disturbs, and all that was done to files in it.
struct Reference {
    inputs: Vec<Input>,
    /// How many operations the journal had done when each input was answered.
    answered: Vec<usize>,
    trace: Trace,
    windows: Vec<Window>,
    database: Vec<u8>,
    log: Vec<u8>,
    outcome: Vec<String>,
}

async fn reference(settings: &Settings) -> Reference {
    let home = tempfile::tempdir().unwrap();
    let data = DataFolder::create(home.path()).unwrap();
    let journal = RecordingStorage::of(&data.journal()).unwrap();
    let config = Config {
        new_id: Some([7; 16]),
        segment_bytes: 40_000,
        ..Config::new(data.journal(), Arc::new(twzrd::clock::SystemClock))
    };
    let folder = Arc::new(Folder::with_storage(config, Arc::new(journal.clone())));
    let store = data.open_store(settings).await.unwrap();
    let database = std::fs::read(data.sqlite()).unwrap();
    let log = data.sqlite().with_file_name("twzrd.sqlite-wal");
    let watched = Watched {
        store: store.clone(),
        journal: journal.clone(),
        log: log.clone(),
        windows: Arc::default(),
    };
    let parts = Parts {
        folder: Arc::clone(&folder) as Arc<dyn JournalFolder>,
        batches: Arc::new(watched.clone()),
        seals: Arc::new(watched.clone()),
        trees: Arc::new(watched.clone()),
        suppression: Arc::new(store.clone()),
        bots: Arc::new(settings.arithmetic.bots.iter().cloned().collect()),
        seal_when: SealWhen::Asked,
        batch_records: settings.batch_records,
        batch_linger: Duration::ZERO,
        catch_up_on_stop: false,
        ingest: None,
        chain: None,
        operations: Vec::new(),
        probe: no_probe(),
    };
    let (spec, refs) = tree::build(&settings.plan, &parts).unwrap();
    let tree = twzrd_supervision::start(spec, Options::default()).await;
    let running = Running {
        tree: Arc::new(tree.unwrap()),
        refs,
        store,
        folder,
    };
    let memory = running.memory().await.unwrap();
    let arithmetic = &settings.arithmetic;
    running.put_settings(arithmetic, &memory, 0).await.unwrap();
    let (inputs, mut answered) = (inputs(), Vec::new());
    for input in &inputs {
        input.offer(&running).await;
        answered.push(journal.done());
    }
    running.finish(true).await.unwrap();
    let outcome = outcome(&running.store).await;
    running.stop().await;
    assert_eq!(
        std::fs::read(data.sqlite()).unwrap(),
        database,
        "no checkpoint"
    );
    let log = std::fs::read(log).unwrap();
    running.store.close().await.unwrap();
    let windows = watched.windows.lock().await.clone();
    Reference {
        inputs,
        answered,
        trace: journal.trace(),
        windows,
        database,
        log,
        outcome,
    }
}

/// All roots, sealed participants, signals and the ledger, as text.
async fn outcome(store: &twzrd_store::Store) -> Vec<String> {
    let mut json = Vec::new();
    report::json(store, &mut json).await.unwrap();
    let json = String::from_utf8(json).unwrap();
    let mut all: Vec<String> = json.lines().map(str::to_owned).collect();
    for SealedEpoch {
        epoch,
        channel,
        participants,
        ..
    } in store.sealed_after(None, 1000).await.unwrap()
    {
        let of = std::slice::from_ref(&channel);
        let people = store.participants(epoch, of).await.unwrap();
        all.extend(
            people[0]
                .iter()
                .map(|person| format!("{epoch} {channel} {person:?}")),
        );
        let sealed = Unbuilt {
            epoch,
            channel,
            participants,
        };
        let leaves = store.sealed_leaves(&[sealed]).await.unwrap();
        all.push(format!("{leaves:?}"));
    }
    all
}

/// What one cut leaves of both; tells how many inputs were answered before.
fn cut(reference: &Reference, number: u64, into: &Path) -> (usize, String) {
    let mut dice = Dice::of(number);
    let windows = &reference.windows;
    let window = windows[usize::try_from(dice.below(windows.len() as u64)).unwrap()];
    let (begun, done) = window.journal;
    // The commit may be on the disk before anything more of the journal is.
    let after = match dice.one_in(2) {
        true => begun,
        false => begun + usize::try_from(dice.below((done - begun) as u64 + 1)).unwrap(),
    };
    let data = DataFolder::create(into).unwrap();
    std::fs::create_dir(data.journal()).unwrap();
    let left = reference.trace.power_cut(after, number, &data.journal());
    let (begin, end) = window.log;
    let before = &reference.log[..begin];
    let at = match dice.below(5) {
        0 => begin,
        1 => end,
        // What a commit writes last: the offset is among it.
        2 => {
            end - usize::try_from(dice.below(10_000))
                .unwrap()
                .min(end - begin)
        }
        _ => begin + usize::try_from(dice.below((end - begin) as u64 + 1)).unwrap(),
    };
    let behind = match dice.below(4) {
        0 => Behind::Zeros,
        1 => Behind::Garbage(0x5a),
        _ => Behind::Before,
    };
    let (log, is_whole) = wal::cut(before, &reference.log[..end], at, behind);
    std::fs::write(data.sqlite(), &reference.database).unwrap();
    std::fs::write(data.sqlite().with_file_name("twzrd.sqlite-wal"), log).unwrap();
    let answered = reference.answered.partition_point(|&done| done <= after);
    let case = format!(
        "image {number}: journal behind operation {after}, {:?}; {window:?} up to byte {at}, whole {is_whole}; {answered} inputs answered",
        left.unwrap()
    );
    (answered, case)
}

/// Starts again as `run` and `replay` do, and takes what was not answered.
async fn go_on(reference: &Reference, settings: &Settings, number: u64) -> Duration {
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let home = home.unwrap();
    let (answered, case) = cut(reference, number, home.path());
    let data = DataFolder::existing(home.path()).unwrap();
    let begun = tokio::time::Instant::now();
    let opened = Opened::open(&data, settings, false).await;
    let took = begun.elapsed();
    let opened = opened.unwrap_or_else(|failure| panic!("{case}: {:?}", failure.error));
    let applied = BatchStore::offset(&opened.store).await.unwrap();
    let durable = opened.folder.durable();
    assert!(
        applied <= durable,
        "{case}: the database has applied {applied}, and the journal ends with {durable}"
    );
    let how = How {
        seal_when: SealWhen::Asked,
        catch_up_on_stop: false,
        batch_linger: Duration::ZERO,
        ingest: None,
        chain: None,
        operations: Vec::new(),
        probe: no_probe(),
    };
    let running = Running::start(opened, settings, how).await.unwrap();
    let memory = running.memory().await.unwrap();
    let arithmetic = &settings.arithmetic;
    running.put_settings(arithmetic, &memory, 0).await.unwrap();
    for input in &reference.inputs[answered..] {
        input.offer(&running).await;
    }
    running.finish(true).await.unwrap();
    let found = outcome(&running.store).await;
    let differs = found.iter().zip(&reference.outcome).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{case}");
    assert_eq!(found.len(), reference.outcome.len(), "{case}");
    let late = running.tree.stop().await.late;
    assert!(late.is_empty(), "{case}: {late:?}");
    running.store.close().await.unwrap();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_power_goes_the_end_is_the_same() {
    let settings = settings();
    let reference = reference(&settings).await;
    let (windows, outcome) = (&reference.windows, &reference.outcome);
    for what in ["commit", "freeze", "finish_freeze", "write_trees"] {
        assert!(windows.iter().any(|window| window.what == what), "{what}");
    }
    assert!(outcome.len() > 500, "{} lines", outcome.len());
    let mut took = Vec::new();
    for number in 0..images() {
        took.push(go_on(&reference, &settings, number).await);
    }
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "journal and SQLite: {} images of {} writes and {} operations, reopened in {:.2} ms (p50), {:.2} ms (p99)",
        took.len(),
        windows.len(),
        reference.trace.done().len(),
        at(50),
        at(99)
    );
}
