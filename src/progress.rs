//! How far a long piece of work has come: a bar on a terminal, plain log lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;
use tracing::info;

use crate::telemetry::Terminal;

/// How often a line is logged where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far the work has come. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    terminal: Terminal,
    shown: Arc<Mutex<Shown>>,
    lines: Arc<AtomicU64>,
}

struct Shown {
    bar: Option<ProgressBar>,
    begun: Instant,
    last_line: Instant,
}

impl Progress {
    /// Shows progress on this terminal.
    #[must_use]
    pub fn on(terminal: &Terminal) -> Self {
        let now = Instant::now();
        let shown = Shown {
            bar: None,
            begun: now,
            last_line: now,
        };
        let (terminal, shown) = (terminal.clone(), Arc::new(Mutex::new(shown)));
        Self {
            terminal,
            shown,
            lines: Arc::default(),
        }
    }

    /// An input is begun; `size` is in bytes, where it is known.
    pub fn begin(&self, name: &str, size: Option<u64>) {
        if !stderr().is_terminal() {
            return;
        }
        let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match size {
            Some(_) => "{prefix} {wide_bar} {bytes}/{total_bytes} {msg} {eta}",
            None => "{prefix} {spinner} {bytes} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        self.terminal.clear();
        self.terminal.show(&bar);
        self.shown().bar = Some(bar);
    }

    /// So many bytes of the input have been read, and so many lines more.
    pub fn at(&self, bytes: u64, lines: u64) {
        let total = self.lines.fetch_add(lines, Ordering::Relaxed) + lines;
        let mut shown = self.shown();
        let seconds = shown.begun.elapsed().as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss, reason = "a rate that is shown to people")]
        let rate = total as f64 / seconds;
        if let Some(bar) = &shown.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{total} lines, {rate:.0}/s"));
        } else if shown.last_line.elapsed() >= LINE_EVERY {
            shown.last_line = Instant::now();
            info!(lines = total, bytes, per_second = rate.round(), "reading");
        }
    }

    /// The input is read, and the store has applied so many of the journal's records.
    pub fn applied(&self, records: u64, of: u64) {
        if let Some(bar) = &self.shown().bar {
            let applied = records.saturating_mul(100) / of.max(1);
            let what = if applied < 100 {
                format!("{applied}% applied")
            } else {
                "sealing".into()
            };
            bar.set_message(what);
        }
    }

    /// The work is done.
    pub fn finish(&self) {
        self.shown().bar = None;
        self.terminal.clear();
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
