//! What all handlers share.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::Semaphore;

use super::health::Health;
use super::known::Known;
use super::limits::Limits;
use super::metrics::Meters;
use super::view::View;
use super::watch::Seen;

/// What all handlers share.
pub(super) struct App {
    pub(super) view: View,
    pub(super) limits: Limits,
    pub(super) health: Health,
    pub(super) known: Known,
    pub(super) seen: Seen,
    pub(super) meters: Meters,
    /// Requests that may begin.
    pub(super) requests: Semaphore,
    /// Materials of proofs that may be read at the same time.
    pub(super) loads: Semaphore,
    /// Proofs that may be made at the same time.
    pub(super) builds: Arc<Semaphore>,
    /// The OpenAPI document.
    pub(super) document: Bytes,
    /// The list of endpoints.
    pub(super) index: String,
}

impl App {
    pub(super) fn new(view: View, limits: Limits, document: Bytes, index: String) -> Self {
        Self {
            health: Health::new(view.clock.now()),
            known: Known::new(&limits),
            seen: Seen::new(view.clock.now(), view.epoch_length),
            meters: Meters::default(),
            requests: Semaphore::new(limits.requests),
            loads: Semaphore::new(limits.proof_builds),
            builds: Arc::new(Semaphore::new(limits.proof_builds)),
            view,
            limits,
            document,
            index,
        }
    }
}
