//! The metrics, as Prometheus reads them.

mod chain;
mod collect;
mod meters;
pub(super) mod table;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub(super) use self::meters::Meters;
use super::app::App;
use super::params::Query;
use super::problem::Problem;

/// The media type of the OpenMetrics text format, which Prometheus reads.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics
///
/// In the OpenMetrics text format. `# HELP` says what each of them is.
#[utoipa::path(get, path = "/metrics", tag = "process",
    responses((status = 200, description = "Metrics", body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let mut registry = Registry::default();
    app.meters.register(&mut registry);
    registry.register_collector(Box::new(collect::Figures::of(&app)));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        tracing::error!("the metrics cannot be written");
        return Err(Problem::internal());
    }
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}
