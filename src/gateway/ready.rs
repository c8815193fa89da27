//! Whether the process does all of its work, and if not, why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use twzrd_supervision::{ChildKind, ChildSnapshot, ChildState, ExitReason, Restart};
use utoipa::ToSchema;

use super::app::App;
use super::health::{Condition, HEARD_PERCENT, Status};
use super::params::Query;
use super::problem::{self, Details, Problem, Reason};

/// How many actors that do not run are named.
const SHOWN_ACTORS: usize = 20;

/// The process does all of its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// True.
    ready: bool,
}

/// Whether the process does all of its work
#[utoipa::path(get, path = "/ready", tag = "process",
    responses(
        (status = 200, description = "It does", body = Ready),
        (status = 503, description = "It does not; `reasons` has every reason, by code: database_away, journal_failed, twitch_down, actor_not_running, feeds_blocked, stage_behind, conservation_drift", body = Details, content_type = "application/problem+json")))]
pub(super) async fn ready(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<Ready>, Problem> {
    query.finish()?;
    let reasons = app.reasons();
    if reasons.is_empty() {
        return Ok(Json(Ready { ready: true }));
    }
    let detail = format!("{} reasons", reasons.len());
    Err(Problem::new(problem::NOT_READY, detail)
        .with_reasons(reasons)
        .not_ready())
}

impl App {
    /// Every reason for which the process is not ready.
    pub(super) fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let now = self.conditions();
        let mut part = |code, condition: &Condition, bad| {
            if condition.status == bad {
                let why = condition.reason.as_deref().unwrap_or("no reason is known");
                reasons.push(reason(code, format!("since {}: {why}", condition.since)));
            }
        };
        part("database_away", now.database(), Status::Away);
        part("journal_failed", now.journal(), Status::Failed);
        part("twitch_down", now.twitch(), Status::Down);
        reasons.extend(self.stage_behind());
        reasons.extend(self.feeds_blocked());
        reasons.extend(self.drifted());
        reasons.extend(not_running(&(self.view.tree)().root, &self.view.dynamic));
        reasons
    }

    fn stage_behind(&self) -> Option<Reason> {
        let (lag, bound) = (self.lag()?, self.view.lag_bound);
        let text =
            format!("the store is {lag} records behind the journal; expected at most {bound}");
        (lag > bound).then(|| reason("stage_behind", text))
    }

    fn feeds_blocked(&self) -> Option<Reason> {
        let mut connections = self.view.ingest.connections();
        connections.retain(|connection| connection.blocked_by.is_some());
        let first = connections.first()?;
        let channel = first.blocked_by.as_ref()?;
        let text = format!(
            "full feeds keep {} connections from being read on; the first is connection {}, by {channel}",
            connections.len(),
            first.number
        );
        Some(reason("feeds_blocked", text))
    }

    fn drifted(&self) -> Option<Reason> {
        let balance = self.known.ledger.get(&())?.value;
        let (epoch, channel) = balance.first_drifting?;
        let channel = match channel.as_str() {
            "" => "no channel",
            name => name,
        };
        let text = format!(
            "{} lines have no outcome or one too many, in {} channels and epochs; the first is {channel} in epoch {epoch}",
            balance.drift, balance.drifting
        );
        Some(reason("conservation_drift", text))
    }
}

fn reason(code: &str, detail: String) -> Reason {
    Reason {
        code: code.to_owned(),
        detail,
        path: None,
    }
}

/// The actors that should run and do not. Of a supervisor whose children come and go, too many
/// of them must be down; what a single one of them is for shows in its channel or feed.
fn not_running(root: &ChildSnapshot, dynamic: &[String]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut more = 0u64;
    let mut open = vec![root];
    while let Some(child) = open.pop() {
        let text = if dynamic.contains(&child.path) {
            too_few(child)
        } else {
            open.extend(child.children.iter().rev());
            None
        };
        let text = text.or_else(|| (!is_as_it_should_be(child)).then(|| state_of(child)));
        let Some(detail) = text else { continue };
        if reasons.len() == SHOWN_ACTORS {
            more += 1;
            continue;
        }
        reasons.push(Reason {
            path: Some(child.path.clone()),
            ..reason("actor_not_running", detail)
        });
    }
    if more > 0 {
        let text = format!("{more} more actors do not run");
        reasons.push(reason("actor_not_running", text));
    }
    reasons
}

fn too_few(supervisor: &ChildSnapshot) -> Option<String> {
    let all = supervisor.children.len();
    let good = supervisor.children.iter();
    let good = good.filter(|child| is_as_it_should_be(child)).count();
    (good * 100 < all * HEARD_PERCENT)
        .then(|| format!("{good} of its {all} children run; expected at least {HEARD_PERCENT} %"))
}

/// True where a child runs, or has ended as its restart class allows.
fn is_as_it_should_be(child: &ChildSnapshot) -> bool {
    let ended_well = matches!(child.last_exit, None | Some(ExitReason::Normal));
    match child.state {
        ChildState::Running => true,
        ChildState::Stopped => match child.restart {
            Restart::Permanent => false,
            Restart::Transient => ended_well,
            Restart::Temporary => true,
        },
        _ => false,
    }
}

fn state_of(child: &ChildSnapshot) -> String {
    let what = match child.kind {
        ChildKind::Worker => "actor",
        ChildKind::Supervisor => "supervisor",
    };
    format!("the {what} is {}", super::actors::state_name(child.state))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn child(path: &str, state: ChildState, restart: Restart) -> ChildSnapshot {
        ChildSnapshot {
            state,
            restart,
            ..ChildSnapshot::starting(path, ChildKind::Worker)
        }
    }

    fn with(children: Vec<ChildSnapshot>) -> ChildSnapshot {
        ChildSnapshot {
            children,
            ..child("root", ChildState::Running, Restart::Permanent)
        }
    }

    #[test]
    fn who_ended_as_it_may_is_not_missed() {
        let failed = ChildSnapshot {
            last_exit: Some(ExitReason::Killed),
            ..child("root/c", ChildState::Stopped, Restart::Transient)
        };
        let root = with(vec![
            child("root/a", ChildState::Stopped, Restart::Temporary),
            child("root/b", ChildState::Stopped, Restart::Transient),
            failed,
            child("root/d", ChildState::Stopped, Restart::Permanent),
            child("root/e", ChildState::Stalled, Restart::Permanent),
        ]);
        let reasons = not_running(&root, &[]);
        let told: Vec<_> = reasons
            .iter()
            .map(|reason| (reason.path.as_deref().unwrap(), reason.detail.as_str()))
            .collect();
        let expected = [
            ("root/c", "the actor is stopped"),
            ("root/d", "the actor is stopped"),
            ("root/e", "the actor is stalled"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn of_children_that_come_and_go_nine_of_ten_must_run() {
        let of = |good: usize, bad: usize| {
            let name = |n| format!("root/collectors/{n}");
            let good = (0..good).map(|n| child(&name(n), ChildState::Running, Restart::Permanent));
            let bad =
                (0..bad).map(|n| child(&name(n), ChildState::CoolingDown, Restart::Permanent));
            let collectors = ChildSnapshot {
                children: good.chain(bad).collect(),
                ..child("root/collectors", ChildState::Running, Restart::Permanent)
            };
            not_running(&with(vec![collectors]), &["root/collectors".to_owned()])
        };
        assert_eq!(of(0, 0), []);
        assert_eq!(of(90, 10), []);
        let reasons = of(89, 11);
        assert_eq!(reasons.len(), 1);
        let text = "89 of its 100 children run; expected at least 90 %";
        assert_eq!(reasons[0].detail, text);
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let many = (0..30).map(|n| {
            child(
                &format!("root/{n}"),
                ChildState::Restarting,
                Restart::Permanent,
            )
        });
        let reasons = not_running(&with(many.collect()), &[]);
        assert_eq!(reasons.len(), 21);
        assert_eq!(reasons[0].path.as_deref(), Some("root/0"));
        assert_eq!(reasons[20].detail, "10 more actors do not run");
    }
}
