//! What stands in front of every handler: bounds, time, and what is counted.

use std::any::Any;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::app::App;
use super::limits::Limits;
use super::problem::{self, Problem, shown};

/// The route of what is not found.
const UNMATCHED: &str = "unmatched";

/// Counts each request, and puts headers on each answer.
pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    app.meters
        .answered(route, &method, response.status(), began.elapsed());
    response
}

/// Refuses what is beyond a bound, and ends what takes too long.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Err((bound, problem)) = check(&request, &app.limits) {
        app.meters.refused(bound);
        return Err(problem);
    }
    let Ok(_permit) = app.requests.try_acquire() else {
        app.meters.refused("requests");
        let detail = format!("expected at most {} at the same time", app.limits.requests);
        return Err(Problem::new(problem::OVERLOADED, detail));
    };
    let time = app.limits.request_time;
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => Ok(response),
        Err(_) => {
            app.meters.refused("request_time");
            let detail = format!("expected an answer within {} s", time.as_secs_f64());
            Err(Problem::new(problem::TIMEOUT, detail))
        }
    }
}

fn check(request: &Request, limits: &Limits) -> Result<(), (&'static str, Problem)> {
    let headers = request.headers();
    if headers.len() > limits.headers {
        let (found, most) = (headers.len(), limits.headers);
        let detail = format!("{found} headers; expected at most {most}");
        return Err(("headers", Problem::new(problem::HEADERS_TOO_LARGE, detail)));
    }
    let size = |(name, value): (&axum::http::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |it| it.as_str().len());
    let found = target + headers.iter().map(size).sum::<usize>();
    if found > limits.header_bytes {
        let most = limits.header_bytes;
        let detail = format!("{found} bytes of target and headers; expected at most {most}");
        let problem = Problem::new(problem::HEADERS_TOO_LARGE, detail);
        return Err(("header_bytes", problem));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let length: Option<u64> = length.and_then(|text| text.parse().ok());
    if let Some(found) = length.filter(|length| *length > limits.body_bytes as u64) {
        let most = limits.body_bytes;
        let detail = format!("{found} bytes; expected at most {most}");
        return Err(("body_bytes", Problem::new(problem::BODY_TOO_LARGE, detail)));
    }
    Ok(())
}

/// Answers for a handler that panicked. What it said stands in the log, and nowhere else.
#[expect(clippy::needless_pass_by_value, reason = "so it is handed over")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = said.unwrap_or_default(), "a handler panicked");
    Problem::internal().into_response()
}

/// Answers where there is no such path.
pub(super) async fn not_found(uri: Uri) -> Problem {
    let detail = format!("{} is no path here; GET / lists them", shown(uri.path()));
    Problem::new(problem::NOT_FOUND, detail)
}

/// Answers where a path does not take the method.
pub(super) async fn wrong_method(method: Method) -> Problem {
    let detail = format!(
        "{} is not supported here; see Allow",
        shown(method.as_str())
    );
    Problem::new(problem::METHOD_NOT_ALLOWED, detail)
}
