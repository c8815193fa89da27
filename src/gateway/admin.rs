//! What an operator may change over HTTP. Without a token there is nothing here.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::app::App;
use super::channels::{self, ChannelPage};
use super::params::{Json, Query};
use super::problem::{self, Details, Problem, Reason};
use super::token::Token;
use crate::admin::{Admin, ChannelEdit, Refused, Reloaded};

/// Who may change something, and what changes it.
#[derive(Clone)]
pub struct AdminAccess {
    /// The token that each request must carry.
    pub token: Token,
    /// What changes the channel lists.
    pub admin: Arc<dyn Admin>,
}

/// A request that carries the token.
pub(super) struct Operator(Arc<dyn Admin>);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (given.next(), given.next());
        let access = app.view.admin.as_ref();
        let carried = first.filter(|_| second.is_none());
        let carried = carried.map_or(&b""[..], |value| value.as_bytes());
        match access.filter(|access| access.token.is_in(carried)) {
            Some(access) => Ok(Self(Arc::clone(&access.admin))),
            None => {
                app.meters.refused("unauthorized");
                let detail = "expected `Authorization: Bearer` with the token of the settings";
                Err(Problem::new(problem::UNAUTHORIZED, detail))
            }
        }
    }
}

/// Reads the settings anew
#[utoipa::path(post, path = "/admin/reload", tag = "admin", security(("token" = [])),
    responses(
        (status = 200, description = "What changed", body = Reloaded),
        (status = 401, description = "Without the token", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "It was refused, and the old lists stay; `reasons` says why", body = Details, content_type = "application/problem+json")))]
pub(super) async fn reload(
    Operator(admin): Operator,
    query: Query,
) -> Result<Body<Reloaded>, Problem> {
    query.finish()?;
    done("reload", admin.reload().await)
}

/// The channels that are wanted
#[utoipa::path(get, path = "/admin/channels", tag = "admin", security(("token" = [])),
    params(
        ("after" = Option<String>, Query, description = "Only channels behind this name", max_length = 64),
        ("limit" = Option<u32>, Query, description = "How many at most; 100 unless told", minimum = 1, maximum = 1000),
        ("state" = Option<String>, Query, description = "Only channels in this state", pattern = "^(disconnected|joining|heard|refused)$")),
    responses(
        (status = 200, description = "Channels, by name", body = ChannelPage),
        (status = 401, description = "Without the token", body = Details, content_type = "application/problem+json")))]
pub(super) async fn list(
    _: Operator,
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Body<ChannelPage>, Problem> {
    channels::page(&app, query).map(Body)
}

/// Adds channels to a group, or removes them from it
#[utoipa::path(post, path = "/admin/channels", tag = "admin", security(("token" = [])),
    request_body = ChannelEdit,
    responses(
        (status = 200, description = "What changed", body = Reloaded),
        (status = 401, description = "Without the token", body = Details, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Details, content_type = "application/problem+json"),
        (status = 409, description = "It was refused, and the old lists stay; `reasons` says why", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Details, content_type = "application/problem+json")))]
pub(super) async fn edit(
    Operator(admin): Operator,
    query: Query,
    Json(edit): Json<ChannelEdit>,
) -> Result<Body<Reloaded>, Problem> {
    query.finish()?;
    done("edit", admin.edit(edit).await)
}

fn done(what: &'static str, done: Result<Reloaded, Refused>) -> Result<Body<Reloaded>, Problem> {
    match done {
        Ok(reloaded) => {
            let Reloaded { added, removed, .. } = reloaded;
            tracing::info!(
                what,
                added,
                removed,
                "an operator changed the channel lists"
            );
            Ok(Body(reloaded))
        }
        Err(refused) => {
            tracing::warn!(what, %refused, "a change by an operator was refused");
            Err(problem_of(refused))
        }
    }
}

fn problem_of(refused: Refused) -> Problem {
    let text = refused.to_string();
    let (kind, code, all) = match refused {
        Refused::Faults(all) => (problem::REFUSED, "fault", all),
        Refused::NotReloadable(all) => (problem::NOT_RELOADABLE, "not_reloadable", all),
        Refused::Edit(one) => (problem::REFUSED, "edit", vec![one]),
        Refused::Unavailable(one) => (problem::UNAVAILABLE, "unavailable", vec![one]),
    };
    let reason = |detail| Reason {
        code: code.to_owned(),
        detail,
        path: None,
    };
    Problem::new(kind, text).with_reasons(all.into_iter().map(reason).collect())
}
