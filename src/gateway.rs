//! The gateway: what the process knows, over HTTP.
//!
//! It reads and never decides: every figure comes through a [`View`], so that it is tested with
//! stand-ins and is wired in one place. It answers while the store is away, from what it read
//! last, and says how old that is. Whatever a client may make large (headers, bodies, time,
//! connections, what is remembered) has a bound in [`Limits`], and what a bound refuses is counted.
//!
//! ```text
//! socket ─► server ─► guard (headers, body, concurrency, time) ─► router ─► handler ─► View
//! ```

mod actors;
mod admin;
mod app;
mod cache;
mod channels;
mod document;
mod epochs;
mod guard;
mod health;
mod known;
mod ledger;
mod limits;
mod metrics;
mod params;
mod patient;
mod problem;
mod proofs;
mod ready;
mod redact;
mod router;
mod server;
mod settlement;
mod token;
mod view;
mod watch;

pub use admin::AdminAccess;
pub use limits::Limits;
pub use metrics::table::{ALL as METRICS, Kind as MetricKind, Metric};
pub use server::{BindError, Bound, Gateway, ServeError};
pub use token::{Token, TokenError};
pub use view::{Ingest, SettlementFacts, SettlementView, StoreProbe, View};
