//! What was published, what was not, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use twzrd_actors::weather::Waiting;
use twzrd_domain::chain::Tally;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::{Target, Why};
use utoipa::ToSchema;

use super::app::App;
use super::health::Status;
use super::known::{Answer, Stamped};
use super::params::Query;
use super::problem::Problem;
use super::redact::without_credentials;
use super::view::SettlementFacts;

/// For how long the sums over all roots are handed out again, in milliseconds.
const FRESH_MS: u64 = 1000;
/// How many kinds of reasons are named in a condition.
const NAMED: usize = 5;

/// How settlement stands.
#[derive(Serialize, ToSchema)]
pub(super) struct SettlementAnswer {
    /// Where roots are published: none, program or memo.
    #[schema(value_type = String)]
    target: Target,
    /// Whether roots are signed and sent; else they are planned and shown.
    auto_publish: bool,
    /// The address whose key signs; null where there is none.
    signer: Option<String>,
    /// The balance of that address, in lamports, as it was read last; null before that.
    signer_lamports: Option<u64>,
    /// How long a root stays open to claims where every epoch is published, in seconds; null
    /// where nobody claims.
    claims_open_seconds: Option<u64>,
    /// The slot from which on claims and publications are recorded; null where nothing is followed,
    /// and before the nodes told what they still have.
    known_from_slot: Option<u64>,
    /// How many roots stand where.
    roots: Vec<Standing>,
    /// The nodes that are asked.
    nodes: Vec<NodeAnswer>,
    /// When the roots were counted in the store, in Unix milliseconds.
    as_of: UnixMs,
    /// True where the store is away, and this is what was read last.
    stale: bool,
}

/// How many roots stand where, and what comes next.
#[derive(Serialize, ToSchema)]
struct Standing {
    /// planned, held, signed, finalized, settled, superseded or failed.
    state: String,
    /// Why, by code; null where there is no reason.
    reason: Option<String>,
    /// How many.
    roots: u64,
    /// The oldest epoch of them, by the Unix second of its start.
    oldest_epoch: u64,
    /// What leads on; null where nothing is in the way.
    next_step: Option<&'static str>,
}

/// A node.
#[derive(Serialize, ToSchema)]
struct NodeAnswer {
    /// Scheme, host and port.
    name: String,
    /// Whether it is asked first.
    healthy: bool,
    /// The newest finalized slot that it told; null before it told one.
    slot: Option<u64>,
    /// By how many slots it is behind the best of them; null where its slot is not known.
    lag: Option<u64>,
    /// How many calls to it failed.
    errors: u64,
    /// How the last of them did; null where none has.
    last_error: Option<String>,
}

/// Settlement
#[utoipa::path(get, path = "/api/v1/settlement", tag = "data",
    responses((status = 200, description = "What was published, what was not, and why", body = SettlementAnswer)))]
pub(super) async fn settlement(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let Answer {
        value,
        as_of,
        is_stale,
    } = app.tallies().await?;
    let facts = (app.view.settlement.facts)();
    let body = SettlementAnswer {
        target: facts.target,
        auto_publish: facts.auto_publish,
        signer: facts.signer,
        signer_lamports: facts.signer_lamports,
        claims_open_seconds: facts.claims_open_seconds,
        known_from_slot: facts.listener.known_from,
        roots: value.iter().map(standing).collect(),
        nodes: facts.nodes.into_iter().map(node).collect(),
        as_of,
        stale: is_stale,
    };
    Ok(app.aged(as_of, is_stale, Json(body)))
}

fn standing(tally: &Tally) -> Standing {
    let why: Option<Why> = tally.why.parse().ok();
    Standing {
        state: tally.state.clone(),
        reason: Some(tally.why.clone()).filter(|why| !why.is_empty()),
        roots: tally.roots,
        oldest_epoch: tally.oldest.0,
        next_step: why.map(Why::next_step),
    }
}

fn node(node: twzrd_chain::rpc::NodeStatus) -> NodeAnswer {
    NodeAnswer {
        name: node.name,
        healthy: node.is_healthy,
        slot: node.slot,
        lag: node.lag,
        errors: node.errors,
        last_error: node.last_error,
    }
}

impl App {
    /// How many roots stand where, not older than a second where the store is there.
    pub(super) async fn tallies(&self) -> Result<Answer<Arc<Vec<Tally>>>, Problem> {
        let now = self.view.clock.now();
        let last = self.known.tallies.get(&());
        if let Some(last) = last.filter(|last| now.saturating_sub(last.at) < FRESH_MS) {
            return Ok(Answer {
                value: last.value,
                as_of: last.at,
                is_stale: self.health.database_away().is_some(),
            });
        }
        let question = async {
            let tallies: Result<_, StoreError> = self.view.settlement.store.tallies().await;
            tallies.map(Arc::new)
        };
        let bytes = |tallies: &Arc<Vec<Tally>>| tallies.len() * (size_of::<Tally>() + 64);
        self.current(&self.known.tallies, (), bytes, question).await
    }

    /// How settlement is, by what is known of it.
    pub(super) fn settles(&self) -> (Status, Option<String>) {
        let tallies = self.known.tallies.get(&());
        let tallies = tallies
            .as_ref()
            .map(|Stamped { value, .. }| value.as_slice());
        condition(&(self.view.settlement.facts)(), tallies.unwrap_or_default())
    }
}

fn condition(facts: &SettlementFacts, tallies: &[Tally]) -> (Status, Option<String>) {
    let mut bad = waits(facts);
    if facts.target == Target::None && bad.is_empty() {
        let reason = "settlement is off: no target is set".to_owned();
        return (Status::Off, Some(reason));
    }
    if !facts.nodes.is_empty() && facts.nodes.iter().all(|node| !node.is_healthy) {
        let errors = facts.nodes.iter().filter_map(|node| {
            let error = node.last_error.as_deref()?;
            Some(format!("; {}: {error}", node.name))
        });
        let first = errors.take(1).collect::<String>();
        let reason = format!("none of {} nodes answers{first}", facts.nodes.len());
        return (Status::Away, Some(reason));
    }
    let mut good = Vec::new();
    for tally in tallies {
        let Ok(why) = tally.why.parse::<Why>() else {
            continue;
        };
        // What the policy holds back or a newer epoch replaced is as it should be.
        if why.is_policy() || !matches!(tally.state.as_str(), "held" | "failed") {
            continue;
        }
        let (roots, state, next) = (tally.roots, &tally.state, why.next_step());
        if tally.state == "failed" && is_end(why) {
            good.push(format!("{roots} roots {state} for good, {why}"));
        } else {
            bad.push(format!("{roots} roots {state}, {why} ({next})"));
        }
    }
    let status = match bad.is_empty() {
        true => Status::Ok,
        false => Status::Degraded,
    };
    if bad.is_empty() && !facts.auto_publish {
        bad.push("nothing is signed: publisher.auto_publish is false".to_owned());
    }
    bad.append(&mut good);
    let more = match bad.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more reasons"),
    };
    let reason = format!("{}{more}", bad[..bad.len().min(NAMED)].join("; "));
    (status, Some(reason).filter(|reason| !reason.is_empty()))
}

/// What publisher and chain listener wait for.
fn waits(facts: &SettlementFacts) -> Vec<String> {
    let told = |who: &str, waiting: &Option<Waiting>| {
        let Waiting { since, reason } = waiting.as_ref()?;
        let reason = without_credentials(reason);
        Some(format!("the {who} has waited since {since}: {reason}"))
    };
    let publisher = told("publisher", &facts.publisher.waits_for);
    let listener = told("chain listener", &facts.listener.waits_for);
    publisher.into_iter().chain(listener).collect()
}

/// True where nobody can do anything about a root that failed.
const fn is_end(why: Why) -> bool {
    matches!(why, Why::TooManyParticipants | Why::TooLarge)
}

#[cfg(test)]
mod tests {
    use twzrd_domain::epoch::Epoch;

    use super::*;

    fn tally(state: &str, why: &str, roots: u64) -> Tally {
        Tally {
            state: state.to_owned(),
            why: why.to_owned(),
            roots,
            oldest: Epoch(3600),
        }
    }

    fn facts(target: Target) -> SettlementFacts {
        SettlementFacts {
            target,
            auto_publish: true,
            ..SettlementFacts::default()
        }
    }

    #[test]
    fn what_an_operator_must_do_is_in_the_condition_and_what_is_as_it_should_be_is_not() {
        let good = [
            tally("settled", "", 100),
            tally("superseded", "", 3),
            tally("held", "anomaly", 1),
        ];
        let (status, reason) = condition(&facts(Target::Program), &good);
        assert_eq!((status, reason), (Status::Ok, None));
        let bad = [
            tally("held", "paused", 4),
            tally("failed", "program_refused", 1),
        ];
        let (status, reason) = condition(&facts(Target::Program), &bad);
        assert_eq!(status, Status::Degraded);
        let reason = reason.unwrap_or_default();
        assert!(
            reason.starts_with("4 roots held, paused (it goes on by itself once"),
            "{reason}"
        );
        assert!(
            reason.contains("1 roots failed, program_refused"),
            "{reason}"
        );
        let (status, _) = condition(&facts(Target::None), &bad);
        assert_eq!(status, Status::Off);
    }

    #[test]
    fn a_publisher_or_listener_that_cannot_go_on_is_shown_with_its_reason() {
        let mut facts = facts(Target::Program);
        facts.publisher.waits_for = Some(Waiting {
            since: 1_761_854_400_000,
            reason: "https://me:secret@node.example answers nonsense".to_owned(),
        });
        let expected = "the publisher has waited since 1761854400000: https://***@node.example answers nonsense";
        let told = condition(&facts, &[]);
        assert_eq!(told, (Status::Degraded, Some(expected.to_owned())));
        // What is in flight for a target that was taken away waits too.
        facts.target = Target::None;
        assert_eq!(condition(&facts, &[]), told);
        facts.target = Target::Program;
        facts.listener.waits_for = facts.publisher.waits_for.take();
        let (status, reason) = condition(&facts, &[tally("held", "no_funds", 2)]);
        assert_eq!(status, Status::Degraded);
        let reason = reason.unwrap_or_default();
        assert!(
            reason.starts_with("the chain listener has waited since 1761854400000: "),
            "{reason}"
        );
        assert!(reason.contains("; 2 roots held, no_funds ("), "{reason}");
    }

    #[test]
    fn a_root_about_which_nobody_can_do_anything_is_told_and_degrades_nothing() {
        let ended = [tally("failed", "too_many_participants", 2)];
        let told = condition(&facts(Target::Program), &ended);
        let expected = "2 roots failed for good, too_many_participants".to_owned();
        assert_eq!(told, (Status::Ok, Some(expected)));
    }
}
