//! What was read from the store last, for the time in which it is away.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::AGE;
use axum::response::{IntoResponse, Response};
use twzrd_domain::chain::Tally;
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::ports::{Balance, SealedEpoch, StoreError};
use twzrd_domain::proof::ProofMaterial;

use super::app::App;
use super::cache::Cache;
use super::limits::Limits;
use super::problem::{self, Problem};

/// A value and when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamped<T> {
    pub(super) value: T,
    pub(super) at: UnixMs,
}

/// A value that is handed out.
pub(super) struct Answer<T> {
    pub(super) value: T,
    /// When it was read.
    pub(super) as_of: UnixMs,
    /// True where the store is away, and it may have changed since.
    pub(super) is_stale: bool,
}

/// Why the store gave no answer.
pub(super) enum NoAnswer {
    /// It is away; the reason.
    Away(String),
    /// It refused, and will again.
    Refused(StoreError),
}

impl From<NoAnswer> for Problem {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Away(reason) => Self::new(problem::STORE_AWAY, reason),
            NoAnswer::Refused(error) => {
                tracing::error!(%error, "a question to the store was refused");
                Self::internal()
            }
        }
    }
}

type Place = (Epoch, Channel);

/// Where a page begins, and how long it may be.
type PageKey = (Option<Place>, u64);

/// What was read last, of each kind of question. All of it is bounded.
pub(super) struct Known {
    pub(super) ledger: Cache<(), Stamped<Balance>>,
    pub(super) tallies: Cache<(), Stamped<Arc<Vec<Tally>>>>,
    pub(super) pages: Cache<PageKey, Stamped<Arc<Vec<SealedEpoch>>>>,
    pub(super) summaries: Cache<Place, Stamped<Option<SealedEpoch>>>,
    pub(super) materials: Cache<Place, Stamped<Arc<ProofMaterial>>>,
    pub(super) proofs: Cache<(Epoch, Channel, Login), Stamped<Bytes>>,
}

impl Known {
    pub(super) fn new(limits: &Limits) -> Self {
        let (most, bytes) = (limits.cached_answers, limits.cached_answer_bytes);
        Self {
            ledger: Cache::new(1, 1024),
            tallies: Cache::new(1, 65_536),
            pages: Cache::new(most, bytes),
            summaries: Cache::new(most, bytes),
            materials: Cache::new(limits.cached_materials, limits.cached_material_bytes),
            proofs: Cache::new(most, bytes),
        }
    }
}

impl App {
    /// Asks the store, for so long as it may take, and notes whether it is there.
    ///
    /// A store that is known to be away is not asked: the probe finds out when it is back.
    pub(super) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, NoAnswer> {
        if let Some(reason) = self.health.database_away() {
            return Err(NoAnswer::Away(reason));
        }
        self.ask_anyway(question).await
    }

    /// Asks the store also where it is known to be away.
    pub(super) async fn ask_anyway<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, NoAnswer> {
        let time = self.limits.store_time;
        let answer = tokio::time::timeout(time, question).await;
        let now = self.view.clock.now();
        match answer {
            Ok(Ok(value)) => {
                self.health.database_answered(now);
                Ok(value)
            }
            Ok(Err(error)) if !error.is_transient() => Err(NoAnswer::Refused(error)),
            Ok(Err(error)) => {
                let reason = self.health.database_failed(&error.to_string(), now);
                Err(NoAnswer::Away(reason))
            }
            // One slow answer is no outage; whether it is one, the probe finds out.
            Err(_) => Err(NoAnswer::Away(late(time))),
        }
    }

    /// The answer of the store; while it is away, the one before.
    pub(super) async fn current<K, T>(
        &self,
        cache: &Cache<K, Stamped<T>>,
        key: K,
        bytes: impl FnOnce(&T) -> usize,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Answer<T>, Problem>
    where
        K: Clone + Eq + Hash,
        T: Clone,
    {
        match self.ask(question).await {
            Ok(value) => {
                let at = self.view.clock.now();
                let size = bytes(&value) + size_of::<(K, Stamped<T>)>();
                let stamped = Stamped {
                    value: value.clone(),
                    at,
                };
                cache.put(key, stamped, size);
                Ok(Answer {
                    value,
                    as_of: at,
                    is_stale: false,
                })
            }
            Err(NoAnswer::Away(reason)) => match cache.get(&key) {
                Some(Stamped { value, at }) => Ok(Answer {
                    value,
                    as_of: at,
                    is_stale: true,
                }),
                None => Err(NoAnswer::Away(reason).into()),
            },
            Err(refused) => Err(refused.into()),
        }
    }

    /// A JSON answer, with its age where it is not from now.
    pub(super) fn aged(&self, as_of: UnixMs, is_stale: bool, body: impl IntoResponse) -> Response {
        let mut response = body.into_response();
        if is_stale {
            response.headers_mut().insert(AGE, self.age(as_of));
        }
        response
    }

    /// Whole seconds since a moment.
    pub(super) fn age(&self, as_of: UnixMs) -> HeaderValue {
        HeaderValue::from(self.view.clock.now().saturating_sub(as_of) / 1000)
    }
}

/// That the store took too long.
pub(super) fn late(time: Duration) -> String {
    format!("the store gave no answer within {} s", time.as_secs_f64())
}
