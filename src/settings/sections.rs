//! The sections of the settings, as they are written.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochSettings {
    pub(super) seconds: u32,
    pub(super) grace_seconds: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RewardSettings {
    pub(super) per_weight: u32,
    pub(super) viewer_ratio_ppm: u32,
    pub(super) decimals: u8,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuppressionSettings {
    pub(super) bots: Vec<String>,
}

/// The settings of the journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalSettings {
    /// The size at which a segment is closed, in bytes.
    pub segment_bytes: u64,
    /// The age at which a segment is closed, in seconds.
    pub segment_age_seconds: u64,
    /// Whether what people wrote is stored.
    pub keep_text: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatcherSettings {
    pub(super) batch_records: usize,
    pub(super) linger_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreSettings {
    pub(super) url: Secret,
    pub(super) max_connections: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataSettings {
    pub(super) folder: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSettings {
    pub(super) level: String,
}

/// The settings of the network and of the connections to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwitchSettings {
    /// The host, by name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// How many channels a connection has at most.
    pub channels_per_connection: u32,
    /// How many joins are asked for within the period, of all connections together.
    pub joins_per_period: u32,
    /// That period, in milliseconds.
    pub join_period_ms: u64,
    /// How many logins are made within the period, of all connections together.
    pub authentications_per_period: u32,
    /// That period, in milliseconds.
    pub authentication_period_ms: u64,
    /// How long address, socket, TLS and login may take together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The wait before the first try after a socket was lost, in milliseconds.
    pub reconnect_initial_ms: u64,
    /// The longest such wait, in milliseconds.
    pub reconnect_max_ms: u64,
    /// Silence after which the other side is asked whether it is there, in milliseconds.
    pub ping_after_ms: u64,
    /// How long the answer may take, in milliseconds.
    pub pong_within_ms: u64,
    /// How long the answer to a JOIN is waited for, in milliseconds.
    pub join_within_ms: u64,
    /// The wait before a channel is tried again that was refused once, in milliseconds.
    pub refused_retry_initial_ms: u64,
    /// The longest such wait, in milliseconds.
    pub refused_retry_max_ms: u64,
    /// How long a socket that is told to reconnect waits for the new one, in milliseconds.
    pub handover_within_ms: u64,
}

/// The settings of the collectors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectorSettings {
    /// The bound of a channel's feed, in bytes.
    pub feed_bytes: usize,
    /// The bound of all feeds together, in bytes.
    pub all_feeds_bytes: usize,
    /// How long lines are gathered before they are taken, in milliseconds.
    pub linger_ms: u64,
    /// How many lines are taken at once, at most.
    pub batch_lines: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenGateway {
    pub(super) listen: String,
    pub(super) max_connections: usize,
    pub(super) max_requests: usize,
    pub(super) max_body_bytes: usize,
    pub(super) request_timeout_ms: u64,
}

/// The settings of the gateway.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How many connections it holds at most.
    pub max_connections: usize,
    /// How many requests it works on at a time, at most.
    pub max_requests: usize,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: u64,
}

/// The settings of the reload.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadSettings {
    /// How long files must have been quiet before they are read, in milliseconds.
    pub debounce_ms: u64,
    /// How often files are looked at without being told, in milliseconds.
    pub poll_ms: u64,
}

/// The settings of the janitor.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JanitorSettings {
    /// How often it looks for work, in seconds.
    pub every_seconds: u64,
    /// How long closed segments of the journal are kept, in days; 0 for ever.
    pub journal_keep_days: u32,
}
