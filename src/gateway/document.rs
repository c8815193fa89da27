//! The OpenAPI document, from the code of the handlers, and the list of endpoints, from it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::app::App;
use super::params::Query;
use super::problem::{self, Details, Problem, Reason};

/// What no handler says: the document's head, and the problems that every endpoint may answer.
#[derive(OpenApi)]
#[openapi(
    info(title = "twzrd", description = "Who took part in which Twitch channel in which hour, and proofs of it. Errors are problem details (RFC 9457)."),
    components(schemas(Details, Reason)),
    tags(
        (name = "process", description = "How the process is"),
        (name = "data", description = "What was counted and sealed"),
        (name = "admin", description = "What an operator may change")))]
pub(super) struct Head;

/// What every endpoint may answer. The 405 of a method that it does not take is no answer of it.
const COMMON: [problem::Kind; 5] = [
    problem::BAD_PARAMETER,
    problem::BODY_TOO_LARGE,
    problem::HEADERS_TOO_LARGE,
    problem::INTERNAL,
    problem::UNAVAILABLE,
];

/// The document, and the list of endpoints.
pub(super) fn finished(
    openapi: &utoipa::openapi::OpenApi,
    version: &str,
    has_admin: bool,
) -> Result<(Value, String), serde_json::Error> {
    let mut document = serde_json::to_value(openapi)?;
    document["info"]["version"] = json!(version);
    if has_admin {
        document["components"]["securitySchemes"] =
            json!({"token": {"type": "http", "scheme": "bearer"}});
    }
    let mut index = format!("twzrd {version}\n\n");
    if let Some(paths) = document["paths"].as_object_mut() {
        // A parameter that takes the rest of a path is written otherwise in OpenAPI.
        let own = std::mem::take(paths).into_iter();
        *paths = own
            .map(|(path, it)| (path.replace("{*", "{"), it))
            .collect();
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                add_common(operation);
                let summary = operation["summary"].as_str().unwrap_or_default();
                let method = method.to_ascii_uppercase();
                index += &format!("{method:<5} {path:<45} {summary}\n");
            }
        }
    }
    Ok((document, index))
}

fn add_common(operation: &mut Value) {
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for kind in COMMON {
        responses
            .entry(kind.status.as_str())
            .or_insert_with(|| problem_response(kind));
    }
}

fn problem_response(kind: problem::Kind) -> Value {
    json!({
        "description": kind.title,
        "content": {problem::MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    })
}

/// This document
#[utoipa::path(get, path = "/api/openapi.json", tag = "process",
    responses((status = 200, description = "The OpenAPI document", body = Object)))]
pub(super) async fn openapi(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let json = [(CONTENT_TYPE, "application/json")];
    Ok((json, app.document.clone()).into_response())
}

/// The list of endpoints
#[utoipa::path(get, path = "/", tag = "process",
    responses((status = 200, description = "The endpoints, one a line", body = String, content_type = "text/plain")))]
pub(super) async fn index(State(app): State<Arc<App>>, query: Query) -> Result<String, Problem> {
    query.finish()?;
    Ok(app.index.clone())
}
