//! The live view.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use console::measure_text_width;
use twzrd::status::{Client, LiveView, NoAnswer, Shown, Style, Surface};
use twzrd_testkit::fake::ManualClock;

use crate::fixtures::{AS_OF, shown, tree, two};

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// An output that keeps each write, and may be closed.
#[derive(Clone, Default)]
struct Kept {
    writes: Arc<Mutex<Vec<String>>>,
    is_closed: bool,
}

impl Kept {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.writes.lock().unwrap())
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.writes.lock().unwrap().push(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn screen(out: &Kept, columns: usize, lines: usize) -> LiveView<Kept> {
    screen_at(out, columns, lines, &ManualClock::at(AS_OF))
}

fn screen_at(out: &Kept, columns: usize, lines: usize, clock: &ManualClock) -> LiveView<Kept> {
    let surface = Surface::Screen(Box::new(move || (columns, lines)));
    let title = vec![
        "http://here".to_owned(),
        "\u{1b}[1mbold\u{1b}[0m".to_owned(),
    ];
    LiveView::new(
        out.clone(),
        surface,
        Arc::new(clock.clone()),
        Style::default(),
        title,
    )
}

fn sample() -> Shown {
    shown(tree(two()))
}

fn away() -> NoAnswer {
    NoAnswer {
        url: "http://here".to_owned(),
        reason: "Connection refused (os error 111)".to_owned(),
    }
}

/// The lines of a frame for a terminal of this size. What stood there before must be cleared, and
/// nothing of what is written.
#[track_caller]
fn frame(write: &str, columns: usize, lines: usize) -> Vec<String> {
    let write = write.strip_prefix(ENTER).unwrap_or(write);
    let body = write.strip_prefix("\u{1b}[H").expect(write);
    let body = match body.strip_suffix("\r\n\u{1b}[J") {
        Some(body) => body,
        None => {
            assert_eq!(body.split("\r\n").count(), lines, "{body:?}");
            body
        }
    };
    let line = |text: &str| match text.strip_suffix("\u{1b}[K") {
        Some(text) => {
            assert!(measure_text_width(text) < columns, "{text:?}");
            text.to_owned()
        }
        None => {
            assert_eq!(measure_text_width(text), columns, "{text:?}");
            text.to_owned()
        }
    };
    body.split("\r\n").map(line).collect()
}

#[test]
fn a_picture_is_one_write_in_the_place_of_the_last() {
    let out = Kept::default();
    let mut view = screen(&out, 60, 40);
    view.draw(&sample(), &["next fault in 3s".to_owned()])
        .unwrap();
    view.draw(&sample(), &["next fault in 2s".to_owned()])
        .unwrap();
    let writes = out.taken();
    assert_eq!(writes.len(), 2);
    assert!(writes[0].starts_with(ENTER) && !writes[1].starts_with(ENTER));
    let first = frame(&writes[0], 60, 40);
    let second = frame(&writes[1], 60, 40);
    assert_eq!(first[2], "next fault in 3s");
    assert_eq!(
        second[..4],
        [
            "http://here",
            "\u{1b}[1mbold\u{1b}[0m",
            "next fault in 2s",
            ""
        ]
    );
    assert!(
        second[4].starts_with("twzrd 0.1.0  degraded"),
        "{}",
        second[4]
    );
    assert_eq!(first[3..], second[3..]);

    view.finish().unwrap();
    let last = second.join("\n") + "\n";
    assert_eq!(out.taken(), [LEAVE.to_owned(), last]);
}

#[test]
fn a_picture_never_scrolls_the_terminal() {
    let out = Kept::default();
    for lines in 1..40 {
        let mut view = screen(&out, 30, lines);
        view.draw(&sample(), &[]).unwrap();
        view.draw_absence(&away(), Duration::ZERO, &[]).unwrap();
        drop(view);
        let writes = out.taken();
        assert_eq!(writes.len(), 3);
        for write in &writes[..2] {
            assert!(frame(write, 30, lines).len() <= lines, "{write:?}");
        }
    }
}

#[test]
fn the_terminal_is_left_as_it_was_also_without_a_finish() {
    let out = Kept::default();
    let mut view = screen(&out, 60, 40);
    view.draw(&sample(), &[]).unwrap();
    out.taken();
    drop(view);
    assert_eq!(out.taken(), [LEAVE]);
    // What was never drawn has nothing to leave.
    drop(screen(&out, 60, 40));
    screen(&out, 60, 40).finish().unwrap();
    assert_eq!(out.taken(), [""; 0]);
}

#[test]
fn nobody_answering_is_shown_with_how_long_and_what_was_seen_last() {
    let out = Kept::default();
    let clock = ManualClock::at(AS_OF);
    let mut view = screen_at(&out, 200, 40, &clock);
    view.draw(&sample(), &[]).unwrap();
    clock.advance(12_000);
    view.draw_absence(&away(), Duration::from_secs(12), &[])
        .unwrap();
    let lines = frame(&out.taken()[1], 200, 40);
    let told = "no answer from http://here: Connection refused (os error 111), for 12s";
    assert_eq!(lines[3], told);
    assert!(lines[4].starts_with("12s ago: not ready"), "{}", lines[4]);
    view.draw(&sample(), &[]).unwrap();
    assert!(frame(&out.taken()[0], 200, 40)[3].starts_with("twzrd 0.1.0"));
}

#[test]
fn where_there_is_no_terminal_a_line_is_written_now_and_then() {
    let out = Kept::default();
    let every = Surface::Lines(Duration::from_secs(10));
    let clock = ManualClock::at(AS_OF);
    let title = vec!["title".to_owned()];
    let time = Arc::new(clock.clone());
    let mut view = LiveView::new(out.clone(), every, time, Style::default(), title);
    let summary = twzrd::status::summary(&sample());
    for _ in 0..21 {
        view.draw(&sample(), &["\u{1b}[1mepoch 7\u{1b}[0m".to_owned()])
            .unwrap();
        clock.advance(1000);
    }
    let line = format!("{summary}; epoch 7\n");
    assert_eq!(out.taken(), [line.as_str(); 3]);
    // That nobody answers, and that somebody does again, is told at once.
    view.draw_absence(&away(), Duration::ZERO, &[]).unwrap();
    view.draw_absence(&away(), Duration::from_secs(1), &[])
        .unwrap();
    view.draw(&sample(), &[]).unwrap();
    let absence = "no answer from http://here: Connection refused (os error 111), for 0s\n";
    assert_eq!(out.taken(), [absence.to_owned(), format!("{summary}\n")]);
    view.finish().unwrap();
    assert_eq!(out.taken(), [""; 0]);
}

#[test]
fn an_output_that_is_gone_is_told_to_whoever_draws() {
    let out = Kept {
        is_closed: true,
        ..Kept::default()
    };
    let error = screen(&out, 60, 40).draw(&sample(), &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_view_can_be_sent_to_a_thread_of_its_own() {
    fn sent<T: Send>(_: &T) {}
    sent(&screen(&Kept::default(), 60, 40));
    sent(&Client::new("h", Duration::from_secs(1)).unwrap());
}
