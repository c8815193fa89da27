//! The channel lists while the process runs: what changes them, and what leaves them as they are.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "reload/command.rs"]
mod command;
#[path = "reload/edit.rs"]
mod edit;
#[path = "reload/refuse.rs"]
mod refuse;
#[path = "reload/watch.rs"]
mod watch;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch::{Receiver, Sender};
use twzrd::admin::{Admin, Reloaded};
use twzrd::reload::{Reloader, RosterSink};
use twzrd::settings::ReloadSettings;
use twzrd::settings::layers::{Flags, Layers};
use twzrd_domain::roster::Roster;

use support::Place;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes down every list that it is told.
struct Sink {
    told: Sender<Vec<Arc<Roster>>>,
    /// What the next calls answer; after these, every list is taken.
    answers: Mutex<VecDeque<Result<(), String>>>,
}

#[async_trait]
impl RosterSink for Sink {
    async fn apply(&self, roster: Arc<Roster>) -> Result<(), String> {
        self.told.send_modify(|told| told.push(roster));
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or(Ok(()))
    }
}

impl Sink {
    /// The channels of each list that was told, joined.
    fn told(&self) -> Vec<String> {
        let told = self.told.borrow();
        told.iter().map(|roster| names(roster)).collect()
    }

    fn answer(&self, answers: &[Result<(), &str>]) {
        let owned = answers.iter().map(|it| it.map_err(str::to_owned));
        self.answers.lock().unwrap().extend(owned);
    }

    /// Waits until the list that holds is this one.
    async fn holds(&self, expected: &str) {
        let mut told: Receiver<_> = self.told.subscribe();
        let reached = told.wait_for(|told: &Vec<Arc<Roster>>| {
            told.last().is_some_and(|roster| names(roster) == expected)
        });
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        assert!(waited.is_ok(), "{:?} and not {expected:?}", self.told());
    }
}

fn names(roster: &Roster) -> String {
    let names: Vec<&str> = roster.iter().map(|(name, _)| name.as_str()).collect();
    names.join(" ")
}

/// A process that was started with the settings of a folder.
struct Started {
    place: Place,
    reloader: Arc<Reloader>,
    sink: Arc<Sink>,
}

impl Started {
    fn with(place: Place) -> Self {
        let flags = Flags {
            file: Some(place.path("supervision.toml")),
            ..Flags::default()
        };
        let layers = Layers::read(&flags).unwrap();
        let settings = layers.settings().unwrap();
        let sink = Arc::new(Sink {
            told: Sender::default(),
            answers: Mutex::default(),
        });
        let reloader = Reloader::new(flags, &layers, &settings, Arc::clone(&sink) as _);
        Self {
            place,
            reloader: Arc::new(reloader),
            sink,
        }
    }

    /// With the groups `a` (in the file `a.txt`) and `b` (in the settings).
    fn new(a: &str, b: &str) -> Self {
        let place = Place::new();
        place.write("a.txt", a);
        place.write("supervision.toml", two_groups(b));
        Self::with(place)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.place.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }
}

fn two_groups(b: &str) -> String {
    format!(
        "# mine\n[epoch]\nseconds = 60\n\n{}{}channels = {b} # inline\n",
        head("a") + "file = \"a.txt\"\n",
        head("b")
    )
}

fn head(name: &str) -> String {
    format!(
        "[[channel_groups]]\nname = \"{name}\"\ntoken_group = \"MILO\"\ncategory = \"default\"\n"
    )
}

fn counts(done: &Reloaded) -> [u64; 4] {
    [done.added, done.removed, done.changed, done.unchanged]
}

#[tokio::test]
async fn a_reload_touches_what_differs_and_nothing_else() {
    let list = |numbers: &mut dyn Iterator<Item = u32>| -> String {
        numbers.map(|number| format!("c{number:05}\n")).collect()
    };
    let process = Started::new(&list(&mut (0..10_000)), "[]");
    // Fifty go, fifty come.
    process
        .place
        .write("a.txt", list(&mut (50..10_050)).to_uppercase());
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [50, 50, 0, 9950]);
    let of = |from: u32, to: u32| -> Vec<String> {
        (from..to).map(|number| format!("c{number:05}")).collect()
    };
    assert_eq!(done.added_channels, of(10_000, 10_050));
    assert_eq!(done.removed_channels, of(0, 50));
    let told = process.sink.told();
    assert_eq!(told, [of(50, 10_050).join(" ")]);

    // What is as it was is not told.
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [0, 0, 0, 10_000]);
    assert_eq!(process.sink.told().len(), 1);
}

#[tokio::test]
async fn a_channel_that_changes_its_group_is_changed_and_stays() {
    let process = Started::new("one\ntwo\n", "[\"three\"]");
    process.place.write("a.txt", "one\n");
    process
        .place
        .write("supervision.toml", two_groups("[\"three\", \"two\"]"));
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [0, 0, 1, 2]);
    assert_eq!(process.sink.told(), ["one three two"]);
}

#[tokio::test]
async fn reloads_at_the_same_time_are_made_one_after_the_other() {
    let process = Started::new("one\n", "[]");
    process.place.write("a.txt", "one\ntwo\n");
    let reload = || process.reloader.reload();
    let (a, b, c) = tokio::join!(reload(), reload(), reload());
    let mut added: Vec<u64> = [a, b, c].map(|done| done.unwrap().added).into();
    added.sort_unstable();
    assert_eq!(added, [0, 0, 1]);
    assert_eq!(process.sink.told(), ["one two"]);
}

/// The settings of a watch that is quick to read what is reported, and does not look besides.
fn quick() -> ReloadSettings {
    ReloadSettings {
        debounce_ms: 20,
        poll_ms: 3_600_000,
    }
}
