//! What an operator may change while the process runs: the channel lists, and nothing else.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most names that one list of a report shows; the numbers beside it are whole.
pub const SHOWN_NAMES: usize = 100;

/// Changes the channel lists of a running process.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Reads the settings anew and makes the channel lists hold.
    async fn reload(&self) -> Result<Reloaded, Refused>;

    /// Writes a change of one channel group to where the group is listed, then reloads.
    async fn edit(&self, edit: ChannelEdit) -> Result<Reloaded, Refused>;
}

/// Channels that are to be added to a group or removed from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelEdit {
    /// The channel group; without it, the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Channels to add. One that is listed there already is left as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Channels to remove. One that is not listed there is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// How many channels were added.
    pub added: u64,
    /// How many were removed.
    pub removed: u64,
    /// How many changed their group, token group or category.
    pub changed: u64,
    /// How many stay as they are.
    pub unchanged: u64,
    /// The first of the added, at most 100.
    pub added_channels: Vec<String>,
    /// The first of the removed, at most 100.
    pub removed_channels: Vec<String>,
    /// How long it took, in milliseconds, without the joins.
    pub took_ms: u64,
}

/// A reload was refused, and the old list stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The settings or a channel list are at fault.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// Settings changed that a reload cannot change.
    #[error("{}; only channel_groups can be changed while the process runs: restart it for the rest", .0.join("\n"))]
    NotReloadable(Vec<String>),
    /// The edit itself is at fault.
    #[error("{0}")]
    Edit(String),
    /// The process cannot take it now.
    #[error("{0}")]
    Unavailable(String),
}
