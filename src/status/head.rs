//! The lines above the tree: how the process is as a whole.

use std::time::Duration;

use super::human::{clean, count, duration};
use super::model::{Health, Ledger, Lines, Place, Readiness, Shown};
use super::span::{Paint, Span, paint_of};

/// How many reasons are shown.
const SHOWN_REASONS: usize = 4;

/// Reasons for not being ready that say again what the condition of a part says.
const SAID_BY_PARTS: [&str; 3] = ["database_away", "journal_failed", "twitch_down"];

/// What all actors together come to.
pub(super) struct Totals {
    pub(super) actors: u64,
    pub(super) down: u64,
    pub(super) restarts: u64,
}

/// What all actors of the answer together come to.
pub(super) fn totals(shown: &Shown) -> Totals {
    let mut totals = Totals {
        actors: 0,
        down: 0,
        restarts: 0,
    };
    for actor in shown.tree.actor.all() {
        let left_out = actor.children_left_out;
        totals.actors = totals.actors.saturating_add(1).saturating_add(left_out);
        totals.down += u64::from(!actor.runs());
        totals.restarts = totals.restarts.saturating_add(actor.restarts);
    }
    totals
}

/// The lines, without their cuts.
pub(super) fn head(shown: &Shown) -> Vec<Vec<Span>> {
    let mut lines = vec![first(shown)];
    lines.extend(parts(shown));
    lines.extend(reasons(shown));
    lines.push(match &shown.ledger {
        Ok(ledger) => ledger_line(ledger),
        Err(why) => unknown("lines", why),
    });
    lines
}

fn first(shown: &Shown) -> Vec<Span> {
    let mut line = vec![Span::new("twzrd", Paint::Bold)];
    if let Ok(health) = &shown.health {
        line.push(Span::plain(format!(" {}  ", clean(&health.version))));
        line.push(Span::new(clean(&health.status), paint_of(&health.status)));
        if let Some(up) = uptime(shown, health) {
            line.push(Span::plain(format!("  up {up}")));
        }
    }
    line.push(Span::plain("  "));
    line.push(match &shown.readiness {
        Ok(Readiness { ready: true, .. }) => Span::new("ready", Paint::Green),
        Ok(Readiness { ready: false, .. }) => Span::new("not ready", Paint::Red),
        Err(_) => Span::new("readiness is not known", Paint::Yellow),
    });
    let totals = totals(shown);
    let actors = if totals.actors == 1 {
        "actor"
    } else {
        "actors"
    };
    line.push(Span::plain(format!(
        "  {} {actors}, ",
        count(totals.actors)
    )));
    line.push(match totals.down {
        0 => Span::plain("all running"),
        n => Span::new(format!("{} not running", count(n)), Paint::Yellow),
    });
    line.push(Span::plain(", "));
    let restarts = if totals.restarts == 1 {
        "restart"
    } else {
        "restarts"
    };
    let paint = if totals.restarts == 0 {
        Paint::Plain
    } else {
        Paint::Yellow
    };
    line.push(Span::new(
        format!("{} {restarts}", count(totals.restarts)),
        paint,
    ));
    line
}

/// For how long the process has been running, by its own clock.
pub(super) fn uptime(shown: &Shown, health: &Health) -> Option<String> {
    let ms = shown.tree.as_of.saturating_sub(health.started_at?);
    Some(duration(Duration::from_millis(ms)))
}

fn parts(shown: &Shown) -> Vec<Vec<Span>> {
    let health = match &shown.health {
        Ok(health) => health,
        Err(why) => return vec![unknown("health", why)],
    };
    let parts = [
        ("database", &health.database),
        ("journal", &health.journal),
        ("twitch", &health.twitch),
        ("program", &health.program),
    ];
    let mut told = Vec::new();
    let mut lines = Vec::new();
    for (name, condition) in parts {
        let Some(condition) = condition else { continue };
        let separator = if told.is_empty() { "" } else { "  " };
        told.push(Span::plain(format!("{separator}{name} ")));
        let status = Span::new(clean(&condition.status), paint_of(&condition.status));
        told.push(status.clone());
        let is_good = matches!(condition.status.as_str(), "ok" | "off");
        let Some(reason) = condition.reason.as_ref().filter(|_| !is_good) else {
            continue;
        };
        let since = condition.since.unwrap_or(shown.tree.as_of);
        let ms = shown.tree.as_of.saturating_sub(since);
        let time = duration(Duration::from_millis(ms));
        let text = format!(" for {time}: {}", clean(reason));
        lines.push(vec![
            Span::plain(format!("{name} ")),
            status,
            Span::plain(text),
        ]);
    }
    if !told.is_empty() {
        lines.insert(0, told);
    }
    lines
}

fn reasons(shown: &Shown) -> Vec<Vec<Span>> {
    let readiness = match &shown.readiness {
        Ok(readiness) => readiness,
        Err(why) => return vec![unknown("readiness", why)],
    };
    let by_parts = |code: &str| shown.health.is_ok() && SAID_BY_PARTS.contains(&code);
    let mut reasons = readiness.reasons.iter();
    let told = reasons.by_ref().filter(|reason| !by_parts(&reason.code));
    let mut lines: Vec<Vec<Span>> = told
        .map(|reason| {
            let path = reason.path.as_deref().map(clean).unwrap_or_default();
            let separator = if path.is_empty() { "" } else { " " };
            let code = Span::new(clean(&reason.code), Paint::Red);
            let text = format!("{separator}{path}: {}", clean(&reason.detail));
            vec![code, Span::plain(text)]
        })
        .collect();
    if let Some(more @ 1..) = lines.len().checked_sub(SHOWN_REASONS) {
        lines.truncate(SHOWN_REASONS);
        lines.push(vec![Span::plain(format!("and {more} more reasons"))]);
    }
    lines
}

fn ledger_line(ledger: &Ledger) -> Vec<Span> {
    let outcomes = outcomes(&ledger.lines);
    let received = count(ledger.lines.received);
    let mut line = vec![Span::plain(format!("lines {received} received"))];
    for (at, (name, n)) in outcomes.into_iter().filter(|(_, n)| *n > 0).enumerate() {
        let separator = if at == 0 { ": " } else { ", " };
        line.push(Span::plain(format!("{separator}{} {name}", count(n))));
    }
    if ledger.conservation_drift != 0 {
        let mut text = format!("; drift {}", ledger.conservation_drift);
        if let Some(Place { epoch, channel }) = &ledger.first_drifting {
            text += &format!(", first #{} in epoch {epoch}", clean(channel));
        }
        line.push(Span::new(text, Paint::Red));
    }
    if ledger.stale {
        line.push(Span::new(
            "; the store is away, this is what was read last",
            Paint::Yellow,
        ));
    }
    line
}

const fn outcomes(lines: &Lines) -> [(&'static str, u64); 8] {
    [
        ("counted", lines.counted),
        ("suppressed", lines.suppressed),
        ("mirrored", lines.mirrored),
        ("duplicate", lines.duplicate),
        ("late", lines.late),
        ("anonymous", lines.anonymous),
        ("invalid", lines.invalid),
        ("other", lines.other),
    ]
}

fn unknown(what: &str, why: &str) -> Vec<Span> {
    vec![
        Span::plain(format!("{what} ")),
        Span::new(format!("not known: {}", clean(why)), Paint::Yellow),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::model::Place;

    #[test]
    fn a_drift_is_shown_in_red_with_its_first_place() {
        let ledger = Ledger {
            conservation_drift: 6,
            first_drifting: Some(Place {
                epoch: 3600,
                channel: "te\u{1b}a".to_owned(),
            }),
            ..Ledger::default()
        };
        let line = ledger_line(&ledger);
        let told = Span::new("; drift 6, first #tea in epoch 3600", Paint::Red);
        assert_eq!(line.last(), Some(&told));
    }
}
