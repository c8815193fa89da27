//! The picture: how the process is, and its tree as a table.

use super::Style;
use super::head::{head, totals, uptime};
use super::human::count;
use super::model::Shown;
use super::rows::{
    COLUMNS, HANDLED, QUEUE, RATE, RESTARTS, Row, SHOWN_CHILDREN, STATE, TITLES, UPTIME, rows,
};
use super::span::{Paint, Span, cut, line};

/// What stands between two columns.
const GAP: &str = "  ";
/// The columns that go first where the terminal is narrow, so that notes have this room.
const GO_FOR_NOTES: [usize; 2] = [HANDLED, UPTIME];
const NOTES_WIDTH: usize = 16;
/// The columns that go next. The state stays.
const GO_LAST: [usize; 3] = [RATE, QUEUE, RESTARTS];
/// Notes of which less than this would be seen are not begun.
const LEAST_NOTES: usize = 10;
/// How wide the columns are at least. They move as little as can be while figures change.
const LEAST: [usize; COLUMNS] = [12, 8, 6, 9, 7, 6];

/// Draws what a process says of itself.
///
/// No line is wider than `width` columns, and there are at most `height` lines. Where the height
/// is too small, fewer children of supervisors with many are shown; what is left out below that
/// is said in the last line.
#[must_use]
pub fn render(shown: &Shown, width: usize, height: Option<usize>, style: Style) -> String {
    let mut lines: Vec<String> = head(shown)
        .iter()
        .map(|spans| line(spans, width, style.color))
        .collect();
    lines.push(String::new());
    // The titles of the table take a line too.
    let room = height.map(|height| height.saturating_sub(lines.len() + 1));
    let rows = rows_in(shown, room, style.all);
    lines.extend(table(&rows, width, style.color));
    if let Some(height) = height {
        crop(&mut lines, height, width, style.color);
    }
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The rows of the tree, with as many children of each supervisor as there is room for.
fn rows_in(shown: &Shown, room: Option<usize>, all: bool) -> Vec<Row> {
    if all {
        return rows(&shown.tree.actor, usize::MAX);
    }
    let mut children = SHOWN_CHILDREN;
    loop {
        let rows = rows(&shown.tree.actor, children);
        if children == 0 || room.is_none_or(|room| rows.len() <= room) {
            return rows;
        }
        children -= 1;
    }
}

/// Cuts to a height, and says how much is missing.
fn crop(lines: &mut Vec<String>, height: usize, width: usize, color: bool) {
    if lines.len() <= height {
        return;
    }
    let kept = height.saturating_sub(1);
    let text = format!("… {} more lines", lines.len() - kept);
    lines.truncate(kept);
    if height > 0 {
        lines.push(line(&[Span::dim(text)], width, color));
    }
}

fn table(rows: &[Row], width: usize, color: bool) -> Vec<String> {
    let layout = Layout::of(rows, width);
    let titles = Row {
        branch: String::new(),
        name: Span::dim("ACTOR"),
        cells: TITLES.map(Span::dim),
        notes: Vec::new(),
        of_many: false,
    };
    let lines = [&titles].into_iter().chain(rows);
    lines
        .map(|row| line(&layout.spans(row), width, color))
        .collect()
}

/// How wide each column is; 0 where it is not shown.
struct Layout {
    name: usize,
    columns: [usize; COLUMNS],
    notes: bool,
}

impl Layout {
    fn of(rows: &[Row], width: usize) -> Self {
        let mut columns = LEAST;
        for (at, column) in columns.iter_mut().enumerate() {
            let widest = rows.iter().map(|row| row.cells[at].width()).max();
            *column = widest.unwrap_or(0).max(*column);
        }
        // Which children of many are shown changes all the time: their names have the room that
        // the others leave.
        let others = rows.iter().filter(|row| !row.of_many);
        let widest = others.map(|row| row.full_name().width()).max();
        let least = if width < 130 { 28 } else { 34 };
        let beside_state = width.saturating_sub(columns[STATE] + GAP.len()).max(8);
        let name = widest.unwrap_or(0).min(width * 2 / 5).max(least);
        let mut layout = Self {
            name: name.min(beside_state),
            columns,
            notes: true,
        };
        for column in GO_FOR_NOTES {
            if layout.width() + GAP.len() + NOTES_WIDTH > width {
                layout.columns[column] = 0;
            }
        }
        for column in GO_LAST {
            if layout.width() > width {
                layout.columns[column] = 0;
            }
        }
        layout.notes = layout.width() + GAP.len() + LEAST_NOTES <= width;
        // Where notes have no room after all, what went for them comes back.
        for column in GO_FOR_NOTES.into_iter().rev().filter(|_| !layout.notes) {
            if layout.width() + GAP.len() + columns[column] <= width {
                layout.columns[column] = columns[column];
            }
        }
        layout
    }

    fn width(&self) -> usize {
        let shown = self.columns.iter().filter(|width| **width > 0);
        self.name + shown.map(|width| width + GAP.len()).sum::<usize>()
    }

    fn spans(&self, row: &Row) -> Vec<Span> {
        let mut spans = row.named(self.name);
        for (at, (cell, &width)) in row.cells.iter().zip(&self.columns).enumerate() {
            if width == 0 {
                continue;
            }
            let blank = " ".repeat(width.saturating_sub(cell.width()));
            let is_text = at == STATE;
            let (before, behind) = if is_text {
                ("", &*blank)
            } else {
                (&*blank, "")
            };
            spans.push(Span::plain(format!("{GAP}{before}")));
            spans.push(cell.clone());
            spans.push(Span::plain(behind));
        }
        let notes = row.notes.iter().filter(|_| self.notes);
        for (at, note) in notes.enumerate() {
            spans.push(Span::plain(if at == 0 { GAP } else { ", " }));
            spans.push(note.clone());
        }
        spans
    }
}

impl Row {
    fn full_name(&self) -> Span {
        Span::plain(format!("{}{}", self.branch, self.name.text))
    }

    /// The branch and the name, exactly so wide.
    fn named(&self, width: usize) -> Vec<Span> {
        let branch = Span::dim(cut(&self.branch, width));
        let name = cut(&self.name.text, width.saturating_sub(branch.width()));
        let name = Span::new(name, self.name.paint);
        let used = branch.width() + name.width();
        let blank = Span::plain(" ".repeat(width.saturating_sub(used)));
        vec![branch, name, blank]
    }
}

/// What a process says of itself, as one line.
#[must_use]
pub fn summary(shown: &Shown) -> String {
    let totals = totals(shown);
    let mut parts = Vec::new();
    parts.push(match &shown.readiness {
        Ok(readiness) if readiness.ready => "ready".to_owned(),
        Ok(readiness) => {
            let codes = readiness
                .reasons
                .iter()
                .map(|reason| super::clean(&reason.code));
            let mut codes: Vec<String> = codes.collect();
            codes.dedup();
            codes.truncate(3);
            format!("not ready ({})", codes.join(", "))
        }
        Err(_) => "readiness is not known".to_owned(),
    });
    if let Ok(health) = &shown.health
        && let Some(up) = uptime(shown, health)
    {
        parts.push(format!("up {up}"));
    }
    parts.push(format!("{} actors", count(totals.actors)));
    parts.push(match totals.down {
        0 => "all running".to_owned(),
        n => format!("{} not running", count(n)),
    });
    parts.push(format!("{} restarts", count(totals.restarts)));
    if let Ok(ledger) = &shown.ledger {
        let (received, counted) = (ledger.lines.received, ledger.lines.counted);
        let lines = format!("{} lines, {} counted", count(received), count(counted));
        parts.push(lines);
        if ledger.conservation_drift != 0 {
            parts.push(format!("drift {}", ledger.conservation_drift));
        }
    }
    let line = [Span::new(parts.join(", "), Paint::Plain)];
    super::span::line(&line, super::WIDE, false)
}
