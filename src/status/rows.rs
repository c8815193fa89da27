//! The tree as rows of a table: one an actor, and one for the many children of a supervisor.

use std::collections::BTreeMap;

use super::human::{clean, count, duration, rate, short};
use super::model::{Actor, Feed};
use super::span::{Paint, Span, paint_of};

/// How many columns stand between the name and the notes.
pub(super) const COLUMNS: usize = 6;
/// Their places.
pub(super) const STATE: usize = 0;
pub(super) const RESTARTS: usize = 1;
pub(super) const UPTIME: usize = 2;
pub(super) const QUEUE: usize = 3;
pub(super) const HANDLED: usize = 4;
pub(super) const RATE: usize = 5;
/// Their titles.
pub(super) const TITLES: [&str; COLUMNS] =
    ["STATE", "RESTARTS", "UPTIME", "QUEUE", "HANDLED", "RATE"];
/// How many children of a supervisor are shown, unless all are asked for.
pub(super) const SHOWN_CHILDREN: usize = 8;

/// A handler that runs for less is nothing to show.
const SHORT_HANDLER_MS: u64 = 100;
/// A handler that runs for longer is marked.
const LONG_HANDLER_MS: u64 = 1000;
/// How many things that an actor waits for are named.
const SHOWN_WAITS: usize = 2;

/// One row.
pub(super) struct Row {
    /// The lines of the tree to the left of the name.
    pub(super) branch: String,
    pub(super) name: Span,
    pub(super) cells: [Span; COLUMNS],
    /// What is to be said of it besides.
    pub(super) notes: Vec<Span>,
    /// Whether it is one of many children, of which others may be shown the next time.
    pub(super) of_many: bool,
}

/// The rows of a tree, with so many children of each supervisor at most.
pub(super) fn rows(root: &Actor, children: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    grow(root, "", "", children, &mut rows);
    rows
}

/// Adds an actor and all below it. The nesting of an answer is bounded by who read it.
fn grow(actor: &Actor, first: &str, below: &str, limit: usize, rows: &mut Vec<Row>) {
    rows.push(row(actor, first.to_owned()));
    let mut shown: Vec<&Actor> = actor.children.iter().collect();
    let is_folded = is_crowd(actor, limit);
    if is_folded {
        shown.sort_by(|a, b| need(b).total_cmp(&need(a)).then_with(|| a.id.cmp(&b.id)));
        shown.truncate(limit);
    }
    if is_folded || actor.children_left_out > 0 {
        let branch = if shown.is_empty() {
            "└─ "
        } else {
            "├─ "
        };
        rows.push(crowd(actor, format!("{below}{branch}")));
    }
    let last = shown.len().saturating_sub(1);
    for (at, child) in shown.into_iter().enumerate() {
        let (branch, pass) = match at == last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        let (first, below) = (format!("{below}{branch}"), format!("{below}{pass}"));
        let begun = rows.len();
        grow(child, &first, &below, limit, rows);
        rows[begun].of_many = is_folded;
    }
}

/// Whether the children are so many, and so much alike, that they are summed up.
fn is_crowd(actor: &Actor, limit: usize) -> bool {
    let has_branches = actor
        .children
        .iter()
        .any(|child| !child.children.is_empty());
    // As many as are shown in full stay, also where a low terminal leaves room for fewer.
    actor.children.len() > limit && actor.children.len() > SHOWN_CHILDREN && !has_branches
}

/// How much an actor needs to be looked at: not running first, then the deepest feed, then the
/// busiest.
fn need(actor: &Actor) -> Need {
    Need(
        !actor.runs(),
        actor.feed.map_or(actor.mailbox_depth, |feed| feed.depth),
        actor.handled_per_second,
    )
}

struct Need(bool, u64, f64);

impl Need {
    fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
        let busier = || self.2.total_cmp(&other.2);
        (self.0, self.1).cmp(&(other.0, other.1)).then_with(busier)
    }
}

fn row(actor: &Actor, branch: String) -> Row {
    let is_supervisor = actor.kind == "supervisor";
    let uptime = actor.uptime_ms.map(std::time::Duration::from_millis);
    let figure = |n: u64, text: String| match n {
        0 if is_supervisor => Span::default(),
        0 => Span::dim(text),
        _ => Span::plain(text),
    };
    let name = match is_supervisor {
        true => Span::new(clean(&actor.id), Paint::Bold),
        false => Span::plain(clean(&actor.id)),
    };
    let queue = match actor.feed {
        Some(feed) => queue(feed),
        None => figure(actor.mailbox_depth, count(actor.mailbox_depth)),
    };
    let handles = actor.handled > 0 || !is_supervisor;
    let rate = rate(actor.handled_per_second);
    Row {
        branch,
        name,
        cells: [
            Span::new(clean(&actor.state), paint_of(&actor.state)),
            restarts(actor.restarts),
            Span::plain(uptime.map_or_else(|| "-".to_owned(), duration)),
            queue,
            figure(actor.handled, count(actor.handled)),
            match (handles, rate.as_str()) {
                (false, _) => Span::default(),
                (true, "0") => Span::dim(rate),
                (true, _) => Span::plain(rate),
            },
        ],
        notes: notes(actor),
        of_many: false,
    }
}

/// The children of a supervisor as one row.
fn crowd(actor: &Actor, branch: String) -> Row {
    let seen = &actor.children;
    let sum = |of: fn(&Actor) -> u64| {
        let of_all = seen.iter().map(of);
        of_all.fold(0u64, u64::saturating_add)
    };
    let all = (seen.len() as u64).saturating_add(actor.children_left_out);
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for child in seen {
        *states.entry(&child.state).or_default() += 1;
    }
    let mut by_state: Vec<_> = states.into_iter().collect();
    by_state.sort_by_key(|&(state, n)| (state != "running", std::cmp::Reverse(n)));
    let running = seen.iter().filter(|child| child.runs()).count();
    let is_good = running == seen.len();
    let paint = if is_good { Paint::Green } else { Paint::Yellow };
    let state = Span::new(format!("{} running", count(running as u64)), paint);
    let mut notes: Vec<Span> = by_state
        .into_iter()
        .map(|(state, n)| Span::new(format!("{n} {}", clean(state)), paint_of(state)))
        .collect();
    if actor.children_left_out > 0 {
        let text = format!("{} are not in the answer", actor.children_left_out);
        notes.push(Span::new(text, Paint::Yellow));
    }
    let feeds = sum(|child| child.feed.map_or(child.mailbox_depth, |feed| feed.depth));
    let per_second: f64 = seen.iter().map(|child| child.handled_per_second).sum();
    Row {
        branch,
        name: Span::new(format!("{all} children"), Paint::Dim),
        cells: [
            state,
            restarts(sum(|child| child.restarts)),
            Span::default(),
            Span::plain(count(feeds)),
            Span::plain(count(sum(|child| child.handled))),
            Span::plain(rate(per_second)),
        ],
        notes,
        of_many: false,
    }
}

fn restarts(n: u64) -> Span {
    match n {
        0 => Span::dim("0"),
        _ => Span::new(count(n), Paint::Yellow),
    }
}

/// A queue is marked from the half of its bound on, and where it is full but for a tenth.
fn queue(feed: Feed) -> Span {
    let depth = count(feed.depth);
    let Some(bound) = feed.bound else {
        return Span::plain(depth);
    };
    let filled = u128::from(feed.depth) * 10;
    let part = filled / u128::from(bound.max(1));
    let paint = match part {
        9.. => Paint::Red,
        5..9 => Paint::Yellow,
        _ if feed.depth == 0 => Paint::Dim,
        _ => Paint::Plain,
    };
    Span::new(format!("{depth}/{}", count(bound)), paint)
}

fn notes(actor: &Actor) -> Vec<Span> {
    let mut notes = Vec::new();
    if let Some(ms) = actor.retry_in_ms {
        let text = format!("again in {}", short(ms));
        notes.push(Span::new(text, Paint::Yellow));
    }
    if let Some(now) = &actor.handler
        && now.running_ms > SHORT_HANDLER_MS
    {
        let text = format!("in {} for {}", clean(&now.handler), short(now.running_ms));
        let is_long = now.running_ms >= LONG_HANDLER_MS;
        let paint = if is_long { Paint::Yellow } else { Paint::Plain };
        notes.push(Span::new(text, paint));
    }
    for wait in actor.waiting_for.iter().take(SHOWN_WAITS) {
        let text = format!("waits {} for {}", short(wait.waiting_ms), clean(&wait.what));
        notes.push(Span::plain(text));
    }
    if let Some(more) = actor.waiting_for.len().checked_sub(SHOWN_WAITS + 1) {
        notes.push(Span::plain(format!("and for {} more", more + 1)));
    }
    if let Some(exit) = &actor.last_exit
        && (actor.restarts > 0 || !actor.runs())
    {
        let text = if exit.text.is_empty() {
            &exit.kind
        } else {
            &exit.text
        };
        let paint = if actor.runs() { Paint::Dim } else { Paint::Red };
        notes.push(Span::new(format!("last exit: {}", clean(text)), paint));
    }
    notes
}
