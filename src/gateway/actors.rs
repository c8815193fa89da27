//! The supervision tree.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use twzrd_domain::epoch::UnixMs;
use twzrd_supervision::{ChildKind, ChildSnapshot, ChildState, ExitReason, Restart, Strategy};
use utoipa::ToSchema;

use super::app::App;
use super::params::{MAX_LIMIT, Query, Segments};
use super::problem::{self, Details, Problem, shown};
use super::redact::without_credentials;

/// A worker or a supervisor, and all below it.
#[derive(Serialize, ToSchema)]
pub(super) struct Actor {
    /// Its name among its siblings.
    id: String,
    /// The names from the root to it, joined by `/`.
    path: String,
    /// What it is.
    #[schema(value_type = String, pattern = "^(worker|supervisor)$")]
    kind: ChildKind,
    /// Whether it is started again.
    #[schema(value_type = String, pattern = "^(permanent|transient|temporary)$")]
    restart: Restart,
    /// What the exit of one child of a supervisor means for the others.
    #[schema(value_type = Option<String>, pattern = "^(one_for_one|one_for_all|rest_for_one)$")]
    strategy: Option<Strategy>,
    /// What it is doing.
    #[schema(value_type = String, pattern = "^(starting|running|restarting|cooling_down|stalled|stopping|stopped)$")]
    state: ChildState,
    /// How many times it was started again.
    restarts: u64,
    /// Why it ended last.
    last_exit: Option<LastExit>,
    /// For how long it has been running, in milliseconds; null if it is not.
    uptime_ms: Option<u64>,
    /// In how many milliseconds it is tried again; null if it does not wait for that.
    retry_in_ms: Option<u64>,
    /// Messages that wait in its mailbox.
    mailbox_depth: u64,
    /// Its own queue.
    feed: Option<Feed>,
    /// Messages that it has handled.
    handled: u64,
    /// Messages that it handles a second, over the last five seconds.
    handled_per_second: f64,
    /// The handler now running.
    handler: Option<Handler>,
    /// What it waits for, the oldest first.
    waiting_for: Vec<Wait>,
    /// The children of a supervisor, in the order of their start.
    #[schema(no_recursion)]
    children: Vec<Actor>,
    /// How many children are left out, because there are more than asked for.
    children_left_out: u64,
}

/// Why an actor ended.
#[derive(Serialize, ToSchema)]
pub(super) struct LastExit {
    /// The kind of exit.
    #[schema(pattern = "^(normal|error|panic|killed|start_failed|gave_up|other)$")]
    kind: &'static str,
    /// The exit in words.
    text: String,
}

/// A queue.
#[derive(Serialize, ToSchema)]
pub(super) struct Feed {
    /// Items that wait.
    depth: u64,
    /// Items that may wait at most.
    bound: u64,
}

/// A handler that is running.
#[derive(Serialize, ToSchema)]
pub(super) struct Handler {
    /// Which one.
    #[schema(value_type = String)]
    handler: twzrd_supervision::Handler,
    /// For how long, in milliseconds.
    running_ms: u64,
}

/// Something that is waited for.
#[derive(Serialize, ToSchema)]
pub(super) struct Wait {
    /// What.
    what: String,
    /// For how long, in milliseconds.
    waiting_ms: u64,
}

/// The supervision tree.
#[derive(Serialize, ToSchema)]
pub(super) struct Tree {
    /// When it was looked at, in Unix milliseconds.
    as_of: UnixMs,
    /// The actor that was asked for, and all below it.
    actor: Actor,
}

/// The supervision tree
///
/// Read from shared figures: no actor is asked, so also one that hangs is shown.
#[utoipa::path(get, path = "/actors", tag = "process",
    params(("limit" = Option<u32>, Query, description = "How many children of each supervisor are shown; 100 unless told", minimum = 1, maximum = 1000)),
    responses((status = 200, description = "The whole tree", body = Tree)))]
pub(super) async fn actors(
    State(app): State<Arc<App>>,
    mut query: Query,
) -> Result<Json<Tree>, Problem> {
    let limit = query.limit()?;
    query.finish()?;
    let as_of = app.view.clock.now();
    let actor = Actor::of(&(app.view.tree)().root, limit);
    Ok(Json(Tree { as_of, actor }))
}

/// One actor and all below it
#[utoipa::path(get, path = "/actors/{*path}", tag = "process",
    params(
        ("path" = String, Path, description = "The names from the root to the actor, joined by `/`", min_length = 1, max_length = 512),
        ("limit" = Option<u32>, Query, description = "How many children of each supervisor are shown; 100 unless told", minimum = 1, maximum = 1000)),
    responses(
        (status = 200, description = "The actor", body = Tree),
        (status = 404, description = "There is no such actor", body = Details, content_type = "application/problem+json")))]
pub(super) async fn actor(
    State(app): State<Arc<App>>,
    path: Segments,
    mut query: Query,
) -> Result<Json<Tree>, Problem> {
    let limit = query.limit()?;
    query.finish()?;
    let tree = (app.view.tree)();
    let Some(found) = tree.find(path.at(0)) else {
        let detail = format!(
            "there is no actor {}; the path begins with {}",
            shown(path.at(0)),
            tree.root.id
        );
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let as_of = app.view.clock.now();
    let actor = Actor::of(found, limit);
    Ok(Json(Tree { as_of, actor }))
}

impl Actor {
    fn of(child: &ChildSnapshot, limit: u64) -> Self {
        let limit = usize::try_from(limit.min(MAX_LIMIT)).unwrap_or(usize::MAX);
        let shown = child.children.iter().take(limit);
        Self {
            id: child.id.clone(),
            path: child.path.clone(),
            kind: child.kind,
            restart: child.restart,
            strategy: child.strategy,
            state: child.state,
            restarts: child.restarts,
            last_exit: child.last_exit.as_ref().map(|exit| LastExit {
                kind: exit_name(exit),
                text: without_credentials(&exit.to_string()),
            }),
            uptime_ms: child.uptime_ms,
            retry_in_ms: child.retry_in_ms,
            mailbox_depth: child.mailbox_depth,
            feed: child.feed.map(|feed| Feed {
                depth: feed.depth,
                bound: feed.bound,
            }),
            handled: child.handled,
            handled_per_second: child.handled_per_second,
            handler: child.handler.map(|running| Handler {
                handler: running.handler,
                running_ms: running.running_ms,
            }),
            waiting_for: child
                .waiting_for
                .iter()
                .map(|wait| Wait {
                    what: wait.what.clone(),
                    waiting_ms: wait.waiting_ms,
                })
                .collect(),
            children: shown.map(|child| Self::of(child, limit as u64)).collect(),
            children_left_out: child.children.len().saturating_sub(limit) as u64,
        }
    }
}

/// The name of a state, as it stands in answers and metrics.
pub(super) const fn state_name(state: ChildState) -> &'static str {
    match state {
        ChildState::Starting => "starting",
        ChildState::Running => "running",
        ChildState::Restarting => "restarting",
        ChildState::CoolingDown => "cooling_down",
        ChildState::Stalled => "stalled",
        ChildState::Stopping => "stopping",
        ChildState::Stopped => "stopped",
    }
}

const fn exit_name(exit: &ExitReason) -> &'static str {
    match exit {
        ExitReason::Normal => "normal",
        ExitReason::Error { .. } => "error",
        ExitReason::Panic { .. } => "panic",
        ExitReason::Killed => "killed",
        ExitReason::StartFailed { .. } => "start_failed",
        ExitReason::GaveUp { .. } => "gave_up",
        _ => "other",
    }
}
