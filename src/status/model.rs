//! The answers of a process, as far as they are shown.
//!
//! A process may be older or newer than this program: a field that is missing is empty, and one
//! that is not known is passed over.

use serde::Deserialize;
use twzrd_domain::epoch::UnixMs;

/// Everything that a picture is made of. A part that the process did not answer says why.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The answer of `/actors`.
    pub tree: Tree,
    /// The answer of `/health`.
    pub health: Result<Health, String>,
    /// The answer of `/ready`.
    pub readiness: Result<Readiness, String>,
    /// The answer of `/api/v1/ledger`.
    pub ledger: Result<Ledger, String>,
}

/// The supervision tree.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Tree {
    /// When it was looked at, in Unix milliseconds.
    #[serde(default)]
    pub as_of: UnixMs,
    /// The root.
    pub actor: Actor,
}

/// A worker or a supervisor, and all below it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Actor {
    /// Its name among its siblings.
    pub id: String,
    /// What it is doing. Text, so that a state that is not known here is shown as it is.
    pub state: String,
    /// The names from the root to it, joined by `/`.
    #[serde(default)]
    pub path: String,
    /// `worker` or `supervisor`.
    #[serde(default)]
    pub kind: String,
    /// How many times it was started again.
    #[serde(default)]
    pub restarts: u64,
    /// Why it ended last.
    #[serde(default)]
    pub last_exit: Option<LastExit>,
    /// For how long it has been running, in milliseconds.
    #[serde(default)]
    pub uptime_ms: Option<u64>,
    /// In how many milliseconds it is tried again.
    #[serde(default)]
    pub retry_in_ms: Option<u64>,
    /// Messages that wait in its mailbox.
    #[serde(default)]
    pub mailbox_depth: u64,
    /// Its own queue.
    #[serde(default)]
    pub feed: Option<Feed>,
    /// Messages that it has handled.
    #[serde(default)]
    pub handled: u64,
    /// Messages that it handles a second.
    #[serde(default)]
    pub handled_per_second: f64,
    /// The handler now running.
    #[serde(default)]
    pub handler: Option<Handler>,
    /// What it waits for.
    #[serde(default)]
    pub waiting_for: Vec<Wait>,
    /// The children of a supervisor.
    #[serde(default)]
    pub children: Vec<Actor>,
    /// How many children the answer leaves out.
    #[serde(default)]
    pub children_left_out: u64,
}

/// Why an actor ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LastExit {
    /// The kind of exit.
    #[serde(default)]
    pub kind: String,
    /// The exit in words.
    #[serde(default)]
    pub text: String,
}

/// A queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Feed {
    /// Items that wait.
    #[serde(default)]
    pub depth: u64,
    /// Items that may wait at most; none where that is not told.
    #[serde(default)]
    pub bound: Option<u64>,
}

/// A handler that is running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Handler {
    /// Which one.
    #[serde(default)]
    pub handler: String,
    /// For how long, in milliseconds.
    #[serde(default)]
    pub running_ms: u64,
}

/// Something that is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Wait {
    /// What.
    #[serde(default)]
    pub what: String,
    /// For how long, in milliseconds.
    #[serde(default)]
    pub waiting_ms: u64,
}

/// How the process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// How it is as a whole.
    pub status: String,
    /// The version of the program.
    #[serde(default)]
    pub version: String,
    /// Since when it runs, in Unix milliseconds.
    #[serde(default)]
    pub started_at: Option<UnixMs>,
    /// The store.
    #[serde(default)]
    pub database: Option<Condition>,
    /// The journal.
    #[serde(default)]
    pub journal: Option<Condition>,
    /// The connections to Twitch.
    #[serde(default)]
    pub twitch: Option<Condition>,
    /// The program on Solana.
    #[serde(default)]
    pub program: Option<Condition>,
}

/// How a part of the process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// How it is.
    pub status: String,
    /// Why, where it is not as it should be.
    #[serde(default)]
    pub reason: Option<String>,
    /// Since when, in Unix milliseconds.
    #[serde(default)]
    pub since: Option<UnixMs>,
    /// When it was looked at last, in Unix milliseconds.
    #[serde(default)]
    pub checked_at: Option<UnixMs>,
}

/// Whether the process does all of its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why not.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

/// One reason for which the process is not ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// The reason for programs.
    #[serde(default)]
    pub code: String,
    /// The reason for people.
    #[serde(default)]
    pub detail: String,
    /// The path of the actor that it is about.
    #[serde(default)]
    pub path: Option<String>,
}

/// What became of every line that was received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Ledger {
    /// How many lines came to what.
    #[serde(rename = "ledger")]
    pub lines: Lines,
    /// By how many lines received and the sum of all outcomes differ.
    #[serde(default)]
    pub conservation_drift: i64,
    /// Where they differ first.
    #[serde(default)]
    pub first_drifting: Option<Place>,
    /// When it was read from the store, in Unix milliseconds.
    #[serde(default)]
    pub as_of: UnixMs,
    /// Whether the store is away, and this is what was read last.
    #[serde(default)]
    pub stale: bool,
}

/// A channel in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The epoch, by the Unix second of its start.
    pub epoch: u64,
    /// The channel; empty where there is none.
    pub channel: String,
}

/// How many lines came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Lines {
    /// Lines that were received.
    pub received: u64,
    /// Of these, counted.
    pub counted: u64,
    /// Of these, by a person who opted out, or by a listed bot.
    pub suppressed: u64,
    /// Of these, sent in another channel and shown here too.
    pub mirrored: u64,
    /// Of these, seen before.
    pub duplicate: u64,
    /// Of these, of an epoch that was sealed already.
    pub late: u64,
    /// Of these, gifts of somebody who does not want to be named.
    pub anonymous: u64,
    /// Of these, unusable.
    pub invalid: u64,
    /// Of these, no message and no notice.
    pub other: u64,
}

impl Actor {
    /// Whether it does its work.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == "running"
    }

    /// It and all below it, parents before their children.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            let next = open.pop()?;
            open.extend(next.children.iter().rev());
            Some(next)
        })
    }
}
