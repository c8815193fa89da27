//! Pictures drawn over one another in a terminal.

use std::io::{self, Stdout, Write};
use std::sync::Arc;
use std::time::Duration;

use console::{Term, measure_text_width, truncate_str};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::Clock;

use super::human::{clean, duration};
use super::model::Shown;
use super::picture::{render, summary};
use super::span::{Paint, Span, line};
use super::{NoAnswer, Style, can_redraw};
use crate::clock::SystemClock;

/// Goes to the other screen of the terminal, hides the cursor, and turns off wrapping: a terminal
/// that takes a character for wider than it was counted must not move what is below.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Turns all of it back. What stood there before the first picture stands there again.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the first column of the first line.
const HOME: &str = "\x1b[H";
/// Clears the rest of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears what is below.
const CLEAR_BELOW: &str = "\x1b[J";

/// What is drawn on.
pub enum Surface {
    /// A terminal, with the question for its size: columns and lines.
    Screen(Box<dyn Fn() -> (usize, usize) + Send>),
    /// Anything else: one line at a time, and none before this has passed since the last.
    Lines(Duration),
}

/// The size of the terminal at standard output: columns and lines.
#[must_use]
pub fn size() -> (usize, usize) {
    let (lines, columns) = Term::stdout().size();
    (usize::from(columns), usize::from(lines))
}

/// A picture that is drawn again and again in the same place.
///
/// On a terminal it has a screen of its own, which [`LiveView::finish`] leaves, as does dropping.
/// Elsewhere each picture is one line. It writes to its output and waits for it: whoever draws
/// from where nothing may wait does so on a thread of its own.
pub struct LiveView<W: Write = Stdout> {
    out: W,
    surface: Surface,
    clock: Arc<dyn Clock>,
    style: Style,
    title: Vec<String>,
    /// Whether the screen of the view is the one that is shown.
    entered: bool,
    last: Option<String>,
    last_line: Option<UnixMs>,
    /// Whether the last line said that nobody answers.
    absent: bool,
    last_seen: Option<(UnixMs, String)>,
}

impl LiveView {
    /// A view on standard output. Where that is no terminal, a line is written every so often.
    #[must_use]
    pub fn on_stdout(style: Style, title: Vec<String>, line_every: Duration) -> Self {
        let surface = if can_redraw() {
            Surface::Screen(Box::new(size))
        } else {
            Surface::Lines(line_every)
        };
        Self::new(io::stdout(), surface, Arc::new(SystemClock), style, title)
    }
}

impl<W: Write> LiveView<W> {
    /// A view on any output. The title stands above every picture; it may hold colours.
    pub fn new(
        out: W,
        surface: Surface,
        clock: Arc<dyn Clock>,
        style: Style,
        title: Vec<String>,
    ) -> Self {
        Self {
            out,
            surface,
            clock,
            style,
            title,
            entered: false,
            last: None,
            last_line: None,
            absent: false,
            last_seen: None,
        }
    }

    /// Draws what a process says, below these lines.
    ///
    /// # Errors
    /// Where the output cannot be written.
    pub fn draw(&mut self, shown: &Shown, extra: &[String]) -> io::Result<()> {
        let summary = summary(shown);
        let Some((width, height)) = self.screen() else {
            let mut line = summary;
            for extra in extra {
                line.push_str("; ");
                line.push_str(&clean(extra));
            }
            return self.write_line(&line, false);
        };
        self.last_seen = Some((self.clock.now(), summary));
        let mut lines = self.above(extra, width);
        let room = height.saturating_sub(lines.len());
        let picture = render(shown, width, Some(room), self.style);
        lines.extend(picture.lines().map(str::to_owned));
        self.show(lines, (width, height))
    }

    /// Draws that nobody answers, and for how long that has been so.
    ///
    /// # Errors
    /// Where the output cannot be written.
    pub fn draw_absence(
        &mut self,
        why: &NoAnswer,
        time: Duration,
        extra: &[String],
    ) -> io::Result<()> {
        let text = format!("{why}, for {}", duration(time));
        let Some((width, height)) = self.screen() else {
            return self.write_line(&text, true);
        };
        let mut lines = self.above(extra, width);
        let color = self.style.color;
        lines.push(line(&[Span::new(text, Paint::Red)], width, color));
        if let Some((at, summary)) = &self.last_seen {
            let ago = Duration::from_millis(self.clock.now().saturating_sub(*at));
            let text = format!("{} ago: {summary}", duration(ago));
            lines.push(line(&[Span::dim(text)], width, color));
        }
        self.show(lines, (width, height))
    }

    /// Leaves the screen, with the last picture below what stood there before.
    ///
    /// # Errors
    /// Where the output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        let left = self.leave();
        match self.last.take() {
            Some(last) => left.and_then(|()| self.write(&last)),
            None => left,
        }
    }

    fn screen(&self) -> Option<(usize, usize)> {
        match &self.surface {
            Surface::Screen(size) => Some(size()),
            Surface::Lines(_) => None,
        }
    }

    /// The title and these lines, with a blank line below.
    fn above(&self, extra: &[String], width: usize) -> Vec<String> {
        let lines = self.title.iter().chain(extra).flat_map(|text| text.lines());
        let mut above: Vec<String> = lines
            .map(|line| truncate_str(line, width, "…").into_owned())
            .collect();
        if !above.is_empty() {
            above.push(String::new());
        }
        above
    }

    /// Writes all lines at once, so that no half picture is ever seen.
    fn show(&mut self, mut lines: Vec<String>, (width, height): (usize, usize)) -> io::Result<()> {
        lines.truncate(height);
        let mut frame = String::new();
        if !self.entered {
            self.entered = true;
            frame.push_str(ENTER);
        }
        frame.push_str(HOME);
        for (at, line) in lines.iter().enumerate() {
            // Behind the last line there is no line break: on the last line of the terminal it
            // would move the picture up.
            if at > 0 {
                frame.push_str("\r\n");
            }
            frame.push_str(line);
            // Behind a full line the cursor stands on its last character, and would clear it.
            if measure_text_width(line) < width {
                frame.push_str(CLEAR_LINE);
            }
        }
        if lines.len() < height {
            frame.push_str("\r\n");
            frame.push_str(CLEAR_BELOW);
        }
        let mut last = lines.join("\n");
        last.push('\n');
        self.last = Some(last);
        self.write(&frame)
    }

    /// Writes a line, unless one was written just now. That somebody answers no more, or again, is
    /// written at once.
    fn write_line(&mut self, text: &str, is_absence: bool) -> io::Result<()> {
        let Surface::Lines(every) = &self.surface else {
            return Ok(());
        };
        let is_news = is_absence != self.absent;
        let now = self.clock.now();
        let passed = |at| Duration::from_millis(now.saturating_sub(at));
        let is_due = self.last_line.is_none_or(|at| passed(at) >= *every);
        if !is_due && !is_news {
            return Ok(());
        }
        self.absent = is_absence;
        self.last_line = Some(now);
        self.write(&format!("{text}\n"))
    }

    fn leave(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.entered) {
            self.write(LEAVE)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Drop for LiveView<W> {
    /// Also where the process ends by an error, the terminal is left as it was found.
    fn drop(&mut self) {
        let _ = self.leave();
    }
}
