//! Pieces of text with a colour, and lines of them that fit into a width.

use console::measure_text_width;

/// How a piece is painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Paint {
    #[default]
    Plain,
    Dim,
    Bold,
    Green,
    Yellow,
    Red,
}

/// A piece of text. It holds no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) paint: Paint,
}

impl Span {
    pub(super) fn new(text: impl Into<String>, paint: Paint) -> Self {
        Self {
            text: text.into(),
            paint,
        }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Paint::Plain)
    }

    pub(super) fn dim(text: impl Into<String>) -> Self {
        Self::new(text, Paint::Dim)
    }

    pub(super) fn width(&self) -> usize {
        measure_text_width(&self.text)
    }
}

/// The paint of a state of an actor, or of a part of the process.
pub(super) fn paint_of(state: &str) -> Paint {
    match state {
        "running" | "ok" => Paint::Green,
        "stopped" | "failed" => Paint::Red,
        "off" => Paint::Dim,
        _ => Paint::Yellow,
    }
}

/// The text, cut to a width; a cut is marked.
pub(super) fn cut(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    match width.checked_sub(1) {
        Some(room) => format!("{}…", begin(text, room)),
        None => String::new(),
    }
}

/// So much of the text as fits.
fn begin(text: &str, room: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += measure_text_width(c.encode_utf8(&mut [0; 4]));
        if used > room {
            return &text[..at];
        }
    }
    text
}

/// One line of pieces, cut to a width, without white space at its end.
pub(super) fn line(spans: &[Span], width: usize, color: bool) -> String {
    let visible = spans.iter().rposition(|span| !span.text.trim().is_empty());
    let spans = &spans[..visible.map_or(0, |last| last + 1)];
    let Some((last, first)) = spans.split_last() else {
        return String::new();
    };
    let last = Span::new(last.text.trim_end(), last.paint);
    let needed: usize = first.iter().map(Span::width).sum::<usize>() + last.width();
    let is_cut = needed > width;
    let mut room = if is_cut {
        width.saturating_sub(1)
    } else {
        width
    };
    let mut line = String::new();
    for span in first.iter().chain([&last]) {
        let text = begin(&span.text, room);
        room = room.saturating_sub(measure_text_width(text));
        let ends = is_cut && text.len() < span.text.len();
        let mark = if ends && width > 0 { "…" } else { "" };
        let painted = Span::new(format!("{text}{mark}"), span.paint).painted(color);
        line.push_str(&painted);
        if ends {
            break;
        }
    }
    line
}

impl Span {
    fn painted(self, color: bool) -> String {
        if !color || self.paint == Paint::Plain || self.text.trim().is_empty() {
            return self.text;
        }
        style(self.paint).apply_to(&self.text).to_string()
    }
}

fn style(paint: Paint) -> console::Style {
    // Whether there is a colour was decided by the caller, not by the console crate.
    let style = console::Style::new().force_styling(true);
    match paint {
        Paint::Plain => style,
        Paint::Dim => style.dim(),
        Paint::Bold => style.bold(),
        Paint::Green => style.green(),
        Paint::Yellow => style.yellow(),
        Paint::Red => style.red(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_the_columns_that_it_takes() {
        for (text, width, expected) in [
            ("journal", 7, "journal"),
            ("journal", 6, "journ…"),
            ("journal", 1, "…"),
            ("journal", 0, ""),
            ("茶茶茶", 6, "茶茶茶"),
            ("茶茶茶", 5, "茶茶…"),
            ("茶茶茶", 4, "茶…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            assert_eq!(cut(text, width), expected, "{text} in {width}");
        }
    }

    #[test]
    fn a_line_is_cut_in_whichever_piece_it_ends() {
        let spans = [
            Span::plain("ab "),
            Span::new("cde", Paint::Red),
            Span::dim("  "),
        ];
        for (width, expected) in [
            (10, "ab cde"),
            (6, "ab cde"),
            (5, "ab c…"),
            (4, "ab …"),
            (3, "ab…"),
            (2, "a…"),
            (1, "…"),
            (0, ""),
        ] {
            let cut = line(&spans, width, false);
            assert_eq!(cut, expected, "{width}");
            let painted = line(&spans, width, true);
            assert_eq!(console::strip_ansi_codes(&painted), cut);
        }
        assert_eq!(line(&spans, 10, true), "ab \u{1b}[31mcde\u{1b}[0m");
    }
}
