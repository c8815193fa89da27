//! Watches the settings file and the files that list channels, and listens to SIGHUP.
//!
//! A change is told by the content of the files, never by the kind of an event; events only say when
//! to look. What they cannot tell, as when a folder further up is exchanged, is found by a look at
//! the files every few seconds. When it starts or restarts it looks once, so that nothing is missed in between. A crash
//! loses nothing. Restart: permanent.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use twzrd_actors::service::{Service, ServiceError};

use super::eyes::{Contents, Eyes, Shared, Stamps, contents, stamps};
use super::{Reloader, lock};
use crate::admin::{Admin, Refused, Reloaded};
use crate::settings::ReloadSettings;

/// How often files are looked at where the system does not report changes.
const BLIND_EVERY: Duration = Duration::from_secs(1);

/// Files that never become quiet are read after so many times the wait.
const PATIENCE: u32 = 20;

/// How often a reload is repeated because it came to name other files.
const ROUNDS: usize = 3;

/// Watches, and reloads.
pub struct SettingsWatch {
    reloader: Arc<Reloader>,
    debounce: Duration,
    poll: Duration,
}

impl SettingsWatch {
    /// Reloads through `reloader`.
    #[must_use]
    pub fn new(reloader: Arc<Reloader>, settings: ReloadSettings) -> Self {
        Self {
            reloader,
            debounce: Duration::from_millis(settings.debounce_ms),
            poll: Duration::from_millis(settings.poll_ms),
        }
    }
}

#[async_trait]
impl Service for SettingsWatch {
    async fn run(&self, stop: CancellationToken) -> Result<(), ServiceError> {
        let mut hangup = signal(SignalKind::hangup())
            .map_err(|error| ServiceError(format!("SIGHUP cannot be listened to: {error}")))?;
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = async {
                let mut watching = Watching::start(self).await?;
                loop {
                    tokio::select! {
                        woken = watching.changed() => {
                            if woken? && watching.look().await? {
                                watching.reload("file").await?;
                            }
                        }
                        Some(()) = hangup.recv() => watching.reload("SIGHUP").await?,
                    }
                }
            } => ended,
        }
    }
}

/// The watch at work.
struct Watching<'a> {
    watch: &'a SettingsWatch,
    eyes: Arc<Mutex<Eyes>>,
    shared: Arc<Shared>,
    blind: bool,
    contents: Contents,
    stamps: Stamps,
    /// When files are read that have changed, and the latest time for it.
    due: Option<(Instant, Instant)>,
}

impl<'a> Watching<'a> {
    async fn start(watch: &'a SettingsWatch) -> Result<Self, ServiceError> {
        let eyes = Eyes::new();
        let mut watching = Self {
            watch,
            shared: eyes.shared(),
            eyes: Arc::new(Mutex::new(eyes)),
            blind: false,
            contents: Contents::new(),
            stamps: Stamps::new(),
            due: None,
        };
        watching.reload("start").await?;
        Ok(watching)
    }

    /// Waits for the next time to look. True where files have to be read.
    ///
    /// May be dropped while it waits; then nothing is lost.
    async fn changed(&mut self) -> Result<bool, ServiceError> {
        let poll = match self.blind {
            true => self.watch.poll.min(BLIND_EVERY),
            false => self.watch.poll,
        };
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = shared.changed.notified() => self.touched(),
            () = until(self.due.map(|(due, _)| due)) => {
                self.due = None;
                return Ok(true);
            }
            () = sleep(poll) => {
                let files = self.watch.reloader.files();
                let now = off_thread(move || stamps(&files)).await?;
                if now != self.stamps {
                    self.stamps = now;
                    self.touched();
                }
            }
        }
        Ok(false)
    }

    fn touched(&mut self) {
        let now = Instant::now();
        let wait = self.watch.debounce;
        let latest = self.due.map_or(now + wait * PATIENCE, |(_, latest)| latest);
        self.due = Some(((now + wait).min(latest), latest));
    }

    /// Reads the files. True where one has another content.
    async fn look(&mut self) -> Result<bool, ServiceError> {
        let seen = std::mem::take(&mut self.contents);
        self.see(self.watch.reloader.files()).await?;
        Ok(self.contents != seen)
    }

    /// Watches these files first and reads them then, so that every later change is reported.
    async fn see(&mut self, files: BTreeSet<PathBuf>) -> Result<(), ServiceError> {
        let eyes = Arc::clone(&self.eyes);
        let (blind, stamps, contents) = off_thread(move || {
            let blind = lock(&eyes).look_at(&files).err();
            (blind, stamps(&files), contents(&files))
        })
        .await?;
        match (&blind, self.blind) {
            (Some(reason), false) => {
                let every_seconds = BLIND_EVERY.as_secs();
                warn!(%reason, every_seconds, "the system does not report every change of the settings; looking at the files instead");
            }
            (None, true) => info!("the system reports changes of the settings again"),
            _ => {}
        }
        self.blind = blind.is_some();
        self.stamps = stamps;
        self.contents = contents;
        Ok(())
    }

    /// Reloads; once more where that came to name other files, which were not watched before.
    async fn reload(&mut self, reason: &str) -> Result<(), ServiceError> {
        self.due = None;
        let mut told = None;
        for round in 0..ROUNDS {
            let files = self.watch.reloader.files();
            self.see(files.clone()).await?;
            let outcome = self.watch.reloader.reload().await;
            if told.as_ref() != Some(&outcome) {
                tell(if round == 0 { reason } else { "other files" }, &outcome);
            }
            told = Some(outcome);
            if self.watch.reloader.files() == files {
                break;
            }
        }
        Ok(())
    }
}

/// Tells what a reload came to, in one line.
fn tell(reason: &str, outcome: &Result<Reloaded, Refused>) {
    match outcome {
        Ok(done) => {
            let Reloaded {
                added,
                removed,
                changed,
                unchanged,
                took_ms,
                ..
            } = *done;
            if added + removed + changed == 0 && reason != "SIGHUP" {
                debug!(
                    reason,
                    unchanged, took_ms, "the channel lists are as they were"
                );
            } else {
                info!(
                    reason,
                    added, removed, changed, unchanged, took_ms, "the channel lists were reloaded"
                );
            }
        }
        Err(refused) => {
            let why = refused.to_string().replace('\n', " | ");
            warn!(
                reason,
                why, "the reload was refused; the old channel lists stay"
            );
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Looks at files off the threads that must not wait.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ServiceError(format!("looking at files crashed: {error}")))
}
