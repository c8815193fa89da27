//! The channels that are wanted, and whether they are heard.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use twzrd_actors::status::{ChannelState, ChannelStatus};
use twzrd_domain::epoch::UnixMs;
use utoipa::ToSchema;

use super::app::App;
use super::params::Query;
use super::problem::Problem;
use super::redact::without_credentials;

/// The longest name to go on behind, in characters.
const MAX_AFTER_CHARS: usize = 64;

/// Some of the channels.
#[derive(Serialize, ToSchema)]
pub(super) struct ChannelPage {
    /// The channels, by name.
    channels: Vec<Channel>,
    /// What to give as `after` for the next ones; null where there are none.
    next: Option<String>,
    /// How many there are in all, in the state that was asked for.
    total: u64,
    /// When they were looked at, in Unix milliseconds.
    as_of: UnixMs,
    /// False: this is known without the store.
    stale: bool,
}

/// A channel.
#[derive(Serialize, ToSchema)]
pub(super) struct Channel {
    /// Its name.
    channel: String,
    /// The channel group under which it is listed.
    group: String,
    /// Its token group.
    token_group: String,
    /// Its category.
    category: String,
    /// Whether it is heard.
    #[schema(value_type = String, pattern = "^(disconnected|joining|heard|refused)$")]
    state: ChannelState,
    /// Why it is not heard.
    reason: Option<String>,
    /// Since when it is in this state, in Unix milliseconds.
    since: UnixMs,
    /// When it is tried again, in Unix milliseconds, where it is refused.
    retry_at: Option<UnixMs>,
    /// The number of its connection.
    connection: Option<u32>,
    /// Lines that came in since the start of the process.
    lines: u64,
    /// When the last line came in, in Unix milliseconds.
    last_line: Option<UnixMs>,
    /// Lines in its feed, which are not accepted yet.
    feed_lines: u64,
    /// Bytes in its feed.
    feed_bytes: u64,
    /// Bytes that may be in its feed.
    feed_bound: u64,
}

/// The channels that are wanted
#[utoipa::path(get, path = "/api/v1/channels", tag = "data",
    params(
        ("after" = Option<String>, Query, description = "Only channels behind this name", max_length = 64),
        ("limit" = Option<u32>, Query, description = "How many at most; 100 unless told", minimum = 1, maximum = 1000),
        ("state" = Option<String>, Query, description = "Only channels in this state", pattern = "^(disconnected|joining|heard|refused)$")),
    responses((status = 200, description = "Channels, by name", body = ChannelPage)))]
pub(super) async fn channels(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<ChannelPage>, Problem> {
    page(&app, query).map(Json)
}

/// The page of channels that a query asks for.
pub(super) fn page(app: &App, mut query: Query) -> Result<ChannelPage, Problem> {
    let after = query.optional("after");
    let limit = query.limit()?;
    let state = query.optional("state");
    query.finish()?;
    let is_long = |after: &&String| after.chars().count() > MAX_AFTER_CHARS;
    if let Some(after) = after.as_ref().filter(is_long) {
        let expected = "a name of at most 64 characters";
        return Err(Problem::parameter("after", Some(after), expected));
    }
    let state = state.map(|text| state_named(&text)).transpose()?;
    let mut channels = app.view.ingest.channels();
    let as_of = app.view.clock.now();
    channels.retain(|channel| state.is_none_or(|state| channel.state == state));
    let total = channels.len() as u64;
    channels.retain(|it| {
        after
            .as_ref()
            .is_none_or(|after| it.channel.as_str() > after.as_str())
    });
    channels.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = channels.len() > limit;
    channels.truncate(limit);
    let last = channels.last().filter(|_| is_more);
    Ok(ChannelPage {
        next: last.map(|channel| channel.channel.to_string()),
        channels: channels.into_iter().map(Channel::from).collect(),
        total,
        as_of,
        stale: false,
    })
}

fn state_named(text: &str) -> Result<ChannelState, Problem> {
    let named = |state: &ChannelState| state.as_str() == text;
    ChannelState::ALL.into_iter().find(named).ok_or_else(|| {
        let names = ChannelState::ALL.map(ChannelState::as_str).join(", ");
        Problem::parameter("state", Some(text), &format!("one of {names}"))
    })
}

impl From<ChannelStatus> for Channel {
    fn from(status: ChannelStatus) -> Self {
        Self {
            channel: status.channel.to_string(),
            group: status.listing.group.into(),
            token_group: status.listing.token_group.into(),
            category: status.listing.category.into(),
            state: status.state,
            reason: status.reason.map(|reason| without_credentials(&reason)),
            since: status.since,
            retry_at: status.retry_at,
            connection: status.connection,
            lines: status.lines,
            last_line: status.last_line,
            feed_lines: status.feed_lines,
            feed_bytes: status.feed_bytes,
            feed_bound: status.feed_bound,
        }
    }
}
