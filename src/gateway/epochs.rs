//! Sealed epochs of channels.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use compact_str::CompactString;
use serde::Serialize;
use twzrd_domain::coverage;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::{Channel, Name, Node};
use twzrd_domain::ports::{ReportStore, SealedEpoch, StoreError};
use twzrd_domain::settlement::RootKind;
use utoipa::ToSchema;

use super::app::App;
use super::known::Answer;
use super::params::{self, MAX_LIMIT, Query, Segments};
use super::problem::{self, Details, Problem};
use super::view::View;

/// What a sealed epoch takes in memory at most, in bytes.
const ROW_BYTES: usize = size_of::<SealedEpoch>() + 160;

/// Some of the sealed epochs.
#[derive(Serialize, ToSchema)]
pub(super) struct EpochPage {
    /// Sealed epochs of channels, by epoch, then by channel.
    epochs: Vec<SealedChannel>,
    /// What to give as `after` for the next ones; null where there are none.
    next: Option<String>,
    /// When they were read from the store, in Unix milliseconds.
    as_of: UnixMs,
    /// True where the store is away, and this is what was read last.
    stale: bool,
}

/// A sealed epoch of a channel.
#[derive(Serialize, ToSchema)]
pub(super) struct SealedChannel {
    /// The epoch, by the Unix second of its start.
    epoch: u64,
    /// The channel.
    channel: String,
    /// The root that is published, by the setting publisher.root: that of the claim tree or of the
    /// participation tree. Null before it is built.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root: Option<String>,
    /// How many leaves the tree has: the number of participants.
    count: u64,
    /// When the root was settled on the chain, in Unix milliseconds. Null while it is not.
    settled_at: Option<u64>,
    /// The transaction that published the root. Null while there is none.
    tx_signature: Option<String>,
    /// How many people took part.
    participants: u64,
    /// The root of the participation tree. Null before it is built.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    participation_root: Option<String>,
    /// The root of the claim tree. Null before it is built.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    claim_root: Option<String>,
    /// The part of the epoch in which the channel was heard, in percent, rounded down.
    #[schema(minimum = 0, maximum = 100)]
    coverage_percent: u64,
    /// For how long the channel was not heard, in milliseconds.
    gap_ms: u64,
}

/// A sealed epoch of a channel, and when it was read.
#[derive(Serialize, ToSchema)]
pub(super) struct SealedChannelAnswer {
    /// The sealed epoch.
    #[serde(flatten)]
    sealed: SealedChannel,
    /// When it was read from the store, in Unix milliseconds.
    as_of: UnixMs,
    /// True where the store is away, and this is what was read last.
    stale: bool,
}

/// Sealed epochs of channels
#[utoipa::path(get, path = "/api/v1/epochs", tag = "data",
    params(
        ("after" = Option<String>, Query, description = "Only what stands behind this epoch and channel, as `next` gave it", pattern = r"^[0-9]{1,12}:[^\s\x00-\x1f\x7f-\x9f]{1,64}$"),
        ("limit" = Option<u32>, Query, description = "How many at most; 100 unless told", minimum = 1, maximum = 1000)),
    responses((status = 200, description = "Sealed epochs of channels, by epoch and channel", body = EpochPage)))]
pub(super) async fn epochs(
    State(app): State<Arc<App>>,
    mut query: Query,
) -> Result<Response, Problem> {
    let after = query.optional("after");
    let limit = query.limit()?;
    query.finish()?;
    let after = after.map(|text| params::cursor(&text)).transpose()?;
    // One more shows whether there is a next page.
    let question = async {
        let rows = app.view.store.sealed_after(after.clone(), limit + 1);
        rows.await.map(Arc::new)
    };
    let bytes = |rows: &Arc<Vec<SealedEpoch>>| rows.len() * ROW_BYTES;
    let key = (after.clone(), limit);
    let Answer {
        value,
        as_of,
        is_stale,
    } = app.current(&app.known.pages, key, bytes, question).await?;
    let shown = &value[..value
        .len()
        .min(usize::try_from(limit).unwrap_or(usize::MAX))];
    let last = shown.last().filter(|_| shown.len() < value.len());
    let body = EpochPage {
        epochs: shown
            .iter()
            .map(|row| SealedChannel::of(row, &app.view))
            .collect(),
        next: last.map(|row| format!("{}:{}", row.epoch, row.channel)),
        as_of,
        stale: is_stale,
    };
    Ok(app.aged(as_of, is_stale, Json(body)))
}

/// A sealed epoch of a channel
#[utoipa::path(get, path = "/api/v1/epochs/{epoch}/channels/{channel}", tag = "data",
    params(
        ("epoch" = u64, Path, description = "The Unix second in which the epoch began", maximum = 253_402_300_799i64),
        ("channel" = String, Path, description = "The channel", pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+$", min_length = 1, max_length = 64)),
    responses(
        (status = 200, description = "The sealed epoch of the channel", body = SealedChannelAnswer),
        (status = 404, description = "The channel is not sealed in this epoch", body = Details, content_type = "application/problem+json")))]
pub(super) async fn epoch_channel(
    State(app): State<Arc<App>>,
    path: Segments,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let epoch = params::epoch("epoch", path.at(0))?;
    let not_sealed = |channel: &str| {
        let detail = format!("{channel} has no sealed epoch {epoch}");
        Problem::new(problem::EPOCH_NOT_SEALED, detail)
    };
    let Some(channel) = params::name("channel", path.at(1))? else {
        return Err(not_sealed(&problem::shown(path.at(1))));
    };
    let key = (epoch, channel.clone());
    let question = find(&*app.view.store, epoch, &channel);
    let bytes = |_: &Option<SealedEpoch>| ROW_BYTES;
    let answer = app.current(&app.known.summaries, key, bytes, question);
    let Answer {
        value,
        as_of,
        is_stale,
    } = answer.await?;
    let Some(row) = value else {
        if is_stale {
            // It was not sealed when the store was asked last. It may be by now.
            let detail =
                format!("{channel} had no sealed epoch {epoch} before the store went away");
            return Err(Problem::new(problem::STORE_AWAY, detail));
        }
        return Err(not_sealed(channel.as_str()));
    };
    let body = SealedChannelAnswer {
        sealed: SealedChannel::of(&row, &app.view),
        as_of,
        stale: is_stale,
    };
    Ok(app.aged(as_of, is_stale, Json(body)))
}

/// The sealed epoch of one channel.
///
/// The store answers in the order of (epoch, channel), by bytes; it is asked from just below the
/// channel on, so that one question is enough unless names were made to stand in between.
async fn find(
    store: &dyn ReportStore,
    epoch: Epoch,
    channel: &Channel,
) -> Result<Option<SealedEpoch>, StoreError> {
    let wanted = (epoch, channel.clone());
    let mut after = (epoch, just_below(channel));
    let mut limit = 4;
    loop {
        let rows = store.sealed_after(Some(after), limit).await?;
        let is_last = (rows.len() as u64) < limit;
        for row in rows.iter() {
            let place = (row.epoch, row.channel.clone());
            if place >= wanted {
                return Ok((place == wanted).then(|| row.clone()));
            }
        }
        match rows.last() {
            Some(last) if !is_last => after = (last.epoch, last.channel.clone()),
            _ => return Ok(None),
        }
        limit = MAX_LIMIT;
    }
}

/// A name that stands before a channel, and close to it.
fn just_below(channel: &Channel) -> Name {
    let mut chars: Vec<char> = channel.as_str().chars().collect();
    let last = chars.pop().unwrap_or('\0');
    let shorter: String = chars.iter().collect();
    let before = u32::from(last).checked_sub(1).and_then(char::from_u32);
    // A suffix that sorts behind all that anybody is called, where there is room for it.
    let candidates = before.into_iter().flat_map(|before| {
        [
            format!("{shorter}{before}\u{10ffff}\u{10ffff}"),
            format!("{shorter}{before}"),
        ]
    });
    candidates
        .chain([shorter.clone()])
        .filter_map(|text| Name::parse(&text).ok())
        .find(|name| name < channel)
        .unwrap_or_else(Name::none)
}

impl SealedChannel {
    fn of(row: &SealedEpoch, view: &View) -> Self {
        let shown = |root: Option<[u8; 32]>| root.map(|root| Node(root).to_string());
        Self {
            epoch: row.epoch.0,
            channel: row.channel.to_string(),
            root: shown(match view.settlement.root {
                RootKind::Claim => row.claim_root,
                RootKind::Participation => row.participation_root,
            }),
            count: row.participants,
            settled_at: row.settled_at,
            tx_signature: row.tx_signature.as_ref().map(CompactString::to_string),
            participants: row.participants,
            participation_root: shown(row.participation_root),
            claim_root: shown(row.claim_root),
            coverage_percent: coverage::percent(row.gap_ms, view.epoch_length),
            gap_ms: row.gap_ms,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_close_below_its_channel() {
        for (name, below) in [
            ("teb", "tea\u{10ffff}\u{10ffff}"),
            ("te0", "te/\u{10ffff}\u{10ffff}"),
            ("!", ""),
            ("t!", "t"),
            ("a", "`\u{10ffff}\u{10ffff}"),
        ] {
            let channel = Name::parse(name).unwrap();
            assert_eq!(just_below(&channel).as_str(), below, "{name}");
        }
        let long = Name::parse(&"b".repeat(64)).unwrap();
        assert_eq!(just_below(&long).as_str(), format!("{}a", "b".repeat(63)));
    }
}
