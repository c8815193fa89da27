//! How the parts of the process are, and since when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use twzrd_actors::status::{ChannelState, ChannelStatus, ConnectionState, ConnectionStatus};
use twzrd_domain::epoch::UnixMs;
use utoipa::ToSchema;

use super::app::App;
use super::params::Query;
use super::problem::Problem;
use super::redact::without_credentials;

/// The part, in percent, of the channels that could be heard which must be heard.
pub(super) const HEARD_PERCENT: usize = 90;

/// How a part of the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It works.
    Ok,
    /// It works in part.
    Degraded,
    /// It does not work.
    Down,
    /// It cannot be reached; what follows it waits.
    Away,
    /// It refuses what it is given.
    Failed,
    /// It is not in use.
    Off,
}

/// How the process is as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Overall {
    /// All of it works.
    Ok,
    /// Something is away; what was accepted is safe, and it goes on by itself.
    Degraded,
    /// Nothing can be accepted.
    Down,
}

/// How a part of the process is, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Condition {
    /// How it is.
    pub(super) status: Status,
    /// Why, where it is not as it should be.
    pub(super) reason: Option<String>,
    /// Since when its status is this, in Unix milliseconds.
    pub(super) since: UnixMs,
    /// When it was looked at last, in Unix milliseconds.
    pub(super) checked_at: UnixMs,
}

/// How the process is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    /// How it is as a whole.
    status: Overall,
    /// The version of the program.
    version: &'static str,
    /// Since when it runs, in Unix milliseconds.
    started_at: UnixMs,
    /// The store.
    database: Condition,
    /// The journal.
    journal: Condition,
    /// The connections to Twitch.
    twitch: Condition,
    /// The program on Solana.
    program: Condition,
}

/// The conditions, each with the time since when it is as it is.
pub(super) struct Health {
    started_at: UnixMs,
    database: Mutex<Condition>,
    journal: Mutex<Condition>,
    twitch: Mutex<Condition>,
    program: Mutex<Condition>,
}

impl Health {
    pub(super) fn new(now: UnixMs) -> Self {
        let condition = || {
            Mutex::new(Condition {
                status: Status::Ok,
                reason: None,
                since: now,
                checked_at: now,
            })
        };
        Self {
            started_at: now,
            database: condition(),
            journal: condition(),
            twitch: condition(),
            program: condition(),
        }
    }

    /// Why the store is away; none where it is not.
    pub(super) fn database_away(&self) -> Option<String> {
        let database = held(&self.database);
        let is_away = database.status == Status::Away;
        is_away.then(|| database.reason.clone().unwrap_or_default())
    }

    /// Notes that the store answered.
    pub(super) fn database_answered(&self, now: UnixMs) {
        note(&self.database, Status::Ok, None, now);
    }

    /// Notes that the store is away, and gives the reason as it may be told.
    pub(super) fn database_failed(&self, reason: &str, now: UnixMs) -> String {
        let reason = without_credentials(reason);
        note(&self.database, Status::Away, Some(reason.clone()), now);
        reason
    }
}

impl App {
    /// Looks at all parts that answer at once, and notes how they are.
    pub(super) fn conditions(&self) -> HealthAnswer {
        let now = self.view.clock.now();
        let (status, reason) = journal(&(self.view.journal)());
        let journal = note(&self.health.journal, status, reason, now);
        let (channels, connections) = (self.view.ingest.channels(), self.view.ingest.connections());
        let (status, reason) = twitch(&channels, &connections);
        let twitch = note(&self.health.twitch, status, reason, now);
        let database = held(&self.health.database).clone();
        let (status, reason) = self.settles();
        let program = note(&self.health.program, status, reason, now);
        let conditions = [&database, &journal, &twitch, &program];
        let worst = conditions.map(|condition| weight(condition.status));
        HealthAnswer {
            status: worst.into_iter().max().unwrap_or(Overall::Ok),
            version: self.view.version,
            started_at: self.health.started_at,
            database,
            journal,
            twitch,
            program,
        }
    }
}

impl HealthAnswer {
    /// The condition of the journal.
    pub(super) const fn journal(&self) -> &Condition {
        &self.journal
    }

    /// The condition of the store.
    pub(super) const fn database(&self) -> &Condition {
        &self.database
    }

    /// The condition of the connections.
    pub(super) const fn twitch(&self) -> &Condition {
        &self.twitch
    }
}

/// What a status means for the whole. Without Twitch or the store the process goes on and catches
/// up; without the journal it can accept nothing.
const fn weight(status: Status) -> Overall {
    match status {
        Status::Ok | Status::Off => Overall::Ok,
        Status::Degraded | Status::Away | Status::Down => Overall::Degraded,
        Status::Failed => Overall::Down,
    }
}

fn journal(health: &twzrd_journal::Health) -> (Status, Option<String>) {
    match &health.state {
        twzrd_journal::State::Ok => (Status::Ok, None),
        twzrd_journal::State::Failed { reason, attempts } => {
            let reason = format!("{reason} ({attempts} attempts in a row)");
            (Status::Failed, Some(reason))
        }
    }
}

/// How the connections are. A channel that the network refuses is not missed.
fn twitch(
    channels: &[ChannelStatus],
    connections: &[ConnectionStatus],
) -> (Status, Option<String>) {
    let count = |state| channels.iter().filter(|it| it.state == state).count();
    let (heard, refused) = (count(ChannelState::Heard), count(ChannelState::Refused));
    let (wanted, possible) = (channels.len(), channels.len() - refused);
    if wanted == 0 {
        return (Status::Ok, None);
    }
    let is_down = |it: &&ConnectionStatus| {
        matches!(
            it.state,
            ConnectionState::Waiting | ConnectionState::Connecting
        )
    };
    let down = connections.iter().filter(is_down).count();
    let words = connections
        .iter()
        .filter(is_down)
        .find_map(|it| it.reason.as_deref())
        .map_or_else(String::new, |reason| {
            format!("; {}", without_credentials(reason))
        });
    let heard_of = format!("{heard} of {possible} channels are heard, {refused} are refused");
    let down_of = format!("{down} of {} connections are down", connections.len());
    if heard == 0 {
        return (Status::Down, Some(format!("{heard_of}; {down_of}{words}")));
    }
    if down > 0 || heard * 100 < possible * HEARD_PERCENT {
        let reason = format!("{heard_of}; {down_of}{words}");
        return (Status::Degraded, Some(reason));
    }
    (Status::Ok, None)
}

/// Notes how something is. The time since when stays while the status does.
fn note(
    place: &Mutex<Condition>,
    status: Status,
    reason: Option<String>,
    now: UnixMs,
) -> Condition {
    let mut condition = held(place);
    if condition.status != status {
        condition.status = status;
        condition.since = now;
    }
    condition.reason = reason;
    condition.checked_at = now;
    condition.clone()
}

fn held(place: &Mutex<Condition>) -> MutexGuard<'_, Condition> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the process is
///
/// Answers 200 whatever the status is: that it answers shows that the process is alive.
#[utoipa::path(get, path = "/health", tag = "process",
    responses((status = 200, description = "How each part is, why, and since when", body = HealthAnswer)))]
pub(super) async fn health(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<HealthAnswer>, Problem> {
    query.finish()?;
    Ok(Json(app.conditions()))
}
