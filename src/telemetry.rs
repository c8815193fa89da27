//! Logs: for people on a terminal, JSON elsewhere; always to standard error.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Standard error, shared with a progress bar: a line of the log never cuts through the bar.
#[derive(Clone, Default)]
pub struct Terminal {
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Terminal {
    /// Shows a bar until [`Terminal::clear`].
    pub fn show(&self, bar: &ProgressBar) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        let bar = self
            .bar
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

impl Write for Terminal {
    /// Never fails: that nobody reads the log must not end the work that it tells of.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bar = self
            .bar
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let written = match bar {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        };
        Ok(written.unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Starts the log at a level, or by a filter such as `info,twzrd_store=debug`.
///
/// # Errors
/// Where the filter cannot be read.
pub fn start(level: &str, terminal: &Terminal) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(terminal.clone());
    let started = if io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// Starts the log in a file, which is made anew, as JSON.
///
/// # Errors
/// Where the file cannot be made, or the filter cannot be read.
pub fn start_in_file(level: &str, path: &Path) -> anyhow::Result<()> {
    let file = File::create(path)
        .map_err(|error| anyhow::anyhow!("the log {} cannot be made: {error}", path.display()))?;
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(Arc::new(file))
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .try_init();
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// The filter of a level. The spans of the actor framework and the steps of a migration say nothing
/// that this program does not say itself, and a WebSocket traces its request, in which a node's
/// credential may stand. Only a filter that names one of these asks for more.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let text = format!(
        "ractor=warn,sea_orm_migration=warn,tungstenite=debug,tokio_tungstenite=debug,{level}"
    );
    Ok(EnvFilter::try_new(text)?)
}

/// Sends a panic to the log, as one line. The supervisor restarts the actor; the log says why.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        tracing::error!(place, message, "panic");
    }));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_traces_no_request() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter("trace").unwrap())
            .with_writer(Arc::new(file.reopen().unwrap()))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "tungstenite::handshake::client", "GET /?api-key=hunter2");
            tracing::trace!(target: "tokio_tungstenite::handshake", "GET /?api-key=hunter2");
            tracing::trace!(target: "twzrd::telemetry", "what is ours");
        });
        let written = std::fs::read_to_string(file.path()).unwrap();
        assert!(written.contains("what is ours"), "{written}");
        assert!(!written.contains("hunter2"), "{written}");
    }
}
