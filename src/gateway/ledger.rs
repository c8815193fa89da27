//! What became of every line that was received.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::Balance;
use utoipa::ToSchema;

use super::app::App;
use super::known::Answer;
use super::params::Query;
use super::problem::Problem;

/// For how long a sum over the whole ledger is handed out again, in milliseconds.
const FRESH_MS: u64 = 1000;

/// The ledger over all channels and epochs.
#[derive(Serialize, ToSchema)]
pub(super) struct LedgerAnswer {
    /// How many lines came to what.
    ledger: Lines,
    /// By how many lines received and the sum of all outcomes differ, added up over channels and
    /// epochs: 0 where nothing disappeared.
    conservation_drift: u64,
    /// In how many channels and epochs they differ.
    drifting: u64,
    /// The first of these, by epoch and channel; null where there is none.
    first_drifting: Option<Place>,
    /// When it was read from the store, in Unix milliseconds.
    as_of: UnixMs,
    /// True where the store is away, and this is what was read last.
    stale: bool,
}

/// A channel in an epoch.
#[derive(Serialize, ToSchema)]
pub(super) struct Place {
    /// The epoch, by the Unix second of its start; 0 of lines that have no time.
    epoch: u64,
    /// The channel; empty of lines that have none.
    channel: String,
}

/// How many lines came to what.
#[derive(Serialize, ToSchema)]
pub(super) struct Lines {
    /// Lines that were received.
    received: u64,
    /// Of these, counted.
    counted: u64,
    /// Of these, by a person who opted out, or by a listed bot.
    suppressed: u64,
    /// Of these, sent in another channel and shown here too.
    mirrored: u64,
    /// Of these, seen before.
    duplicate: u64,
    /// Of these, of an epoch that was sealed already.
    late: u64,
    /// Of these, gifts of somebody who does not want to be named.
    anonymous: u64,
    /// Of these, unusable.
    invalid: u64,
    /// Of these, no message and no notice.
    other: u64,
}

/// The ledger
///
/// Read anew at most once a second.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "data",
    responses((status = 200, description = "The ledger over all channels and epochs", body = LedgerAnswer)))]
pub(super) async fn ledger(State(app): State<Arc<App>>, query: Query) -> Result<Response, Problem> {
    query.finish()?;
    let Answer {
        value,
        as_of,
        is_stale,
    } = app.ledger().await?;
    let body = LedgerAnswer {
        ledger: value.counts.into(),
        conservation_drift: value.drift,
        drifting: value.drifting,
        first_drifting: value.first_drifting.as_ref().map(|(epoch, channel)| Place {
            epoch: epoch.0,
            channel: channel.as_str().to_owned(),
        }),
        as_of,
        stale: is_stale,
    };
    Ok(app.aged(as_of, is_stale, Json(body)))
}

impl App {
    /// The ledger, not older than a second where the store is there.
    pub(super) async fn ledger(&self) -> Result<Answer<Balance>, Problem> {
        let now = self.view.clock.now();
        let last = self.known.ledger.get(&());
        if let Some(last) = last.filter(|last| now.saturating_sub(last.at) < FRESH_MS) {
            return Ok(Answer {
                value: last.value,
                as_of: last.at,
                is_stale: self.health.database_away().is_some(),
            });
        }
        let question = self.view.store.balance();
        self.current(&self.known.ledger, (), |_| 0, question).await
    }
}

impl From<Counts> for Lines {
    fn from(counts: Counts) -> Self {
        let Counts {
            received,
            counted,
            suppressed,
            mirrored,
            duplicate,
            late,
            anonymous,
            invalid,
            other,
        } = counts;
        Self {
            received,
            counted,
            suppressed,
            mirrored,
            duplicate,
            late,
            anonymous,
            invalid,
            other,
        }
    }
}
