//! Every route, once. The OpenAPI document lists what stands here.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::limits::Limits;
use super::view::View;
use super::{
    actors, admin, channels, document, epochs, guard, health, ledger, metrics, proofs, ready,
    settlement,
};

/// The routes, with what stands in front of them.
pub(super) fn router(view: View, limits: Limits) -> Result<(Router, Arc<App>), serde_json::Error> {
    let has_admin = view.admin.is_some();
    let (routes, openapi) = routes(has_admin).split_for_parts();
    let (document, index) = document::finished(&openapi, view.version, has_admin)?;
    let document = Bytes::from(serde_json::to_vec(&document)?);
    let app = Arc::new(App::new(view, limits, document, index));
    let router = routes
        .fallback(guard::not_found)
        .method_not_allowed_fallback(guard::wrong_method)
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .layer(from_fn_with_state(Arc::clone(&app), guard::observe))
        .with_state(Arc::clone(&app));
    Ok((router, app))
}

fn routes(has_admin: bool) -> OpenApiRouter<Arc<App>> {
    let routes = OpenApiRouter::with_openapi(document::Head::openapi())
        .routes(routes!(document::index))
        .routes(routes!(health::health))
        .routes(routes!(ready::ready))
        .routes(routes!(actors::actors))
        .routes(routes!(actors::actor))
        .routes(routes!(metrics::metrics))
        .routes(routes!(document::openapi))
        .routes(routes!(epochs::epochs))
        .routes(routes!(epochs::epoch_channel))
        .routes(routes!(proofs::proof))
        .routes(routes!(ledger::ledger))
        .routes(routes!(settlement::settlement))
        .routes(routes!(channels::channels));
    if !has_admin {
        return routes;
    }
    routes
        .routes(routes!(admin::reload))
        .routes(routes!(admin::list, admin::edit))
}
