//! Every bound of the gateway, in one place.

use std::time::Duration;

/// What the gateway takes on at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. One more is told so and closed.
    pub connections: usize,
    /// Requests at the same time. One more is refused.
    pub requests: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request's target and headers.
    pub header_bytes: usize,
    /// How long a client may take to send its headers, and how long a connection may be idle.
    pub header_time: Duration,
    /// How long a client may take to send its body.
    pub body_time: Duration,
    /// How long a request may take.
    pub request_time: Duration,
    /// How long a client may leave an answer unread.
    pub write_time: Duration,
    /// How long the store may take for one answer, before it counts as away.
    pub store_time: Duration,
    /// How often the state of the store is looked at.
    pub probe_interval: Duration,
    /// How long open requests are waited for when the gateway stops.
    pub stop_time: Duration,
    /// How many channels of epochs are kept in memory to make proofs of.
    pub cached_materials: usize,
    /// Their bytes.
    pub cached_material_bytes: usize,
    /// How many pages, summaries and finished proofs are remembered, of each.
    pub cached_answers: usize,
    /// Their bytes, of each.
    pub cached_answer_bytes: usize,
    /// How many materials are read from the store at the same time, and how many proofs are made
    /// at the same time.
    pub proof_builds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 256,
            body_bytes: 64 * 1024,
            headers: 64,
            header_bytes: 16 * 1024,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            store_time: Duration::from_secs(5),
            probe_interval: Duration::from_secs(1),
            stop_time: Duration::from_secs(5),
            cached_materials: 1024,
            cached_material_bytes: 256 * 1024 * 1024,
            cached_answers: 4096,
            cached_answer_bytes: 32 * 1024 * 1024,
            proof_builds: 4,
        }
    }
}
