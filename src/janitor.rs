//! Removes what nobody needs any more: old segments of the journal.
//!
//! A segment goes once the store has applied all of it, every epoch that it may hold lines of is
//! sealed, and it is older than the retention time. It loses nothing when it dies: each round
//! finds out anew what is due.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use twzrd_actors::service::{Service, ServiceError};
use twzrd_domain::batch::Position;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::{Clock, JournalError, JournalFolder, SealStore, StoreError};
use twzrd_domain::record::Seq;
use twzrd_journal::Folder;
use twzrd_supervision::waiting_for;
use twzrd_twitch::line::MAX_SKEW_MS;

/// What the janitor works on.
pub struct Janitor {
    /// The journal.
    pub folder: Arc<Folder>,
    /// How far it has been applied, and what is not sealed.
    pub store: Arc<dyn SealStore>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The wait between two rounds.
    pub every: Duration,
    /// How long a segment is kept, in milliseconds; none for ever.
    pub keep_ms: Option<u64>,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

#[async_trait]
impl Service for Janitor {
    async fn run(&self, stop: CancellationToken) -> Result<(), ServiceError> {
        loop {
            let Some(round) = stop.run_until_cancelled(self.round()).await else {
                return Ok(());
            };
            let trouble = match round {
                Ok(()) => None,
                // Whatever is away now may be there in the next round; nothing grows dangerous
                // within one.
                Err(trouble) => {
                    warn!(%trouble, "the journal could not be tidied");
                    Some(waiting_for(trouble.to_string()))
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.every) => drop(trouble),
            }
        }
    }
}

impl Janitor {
    async fn round(&self) -> Result<(), Trouble> {
        let Some(keep_ms) = self.keep_ms else {
            return Ok(());
        };
        let Some(before) = self.removable(keep_ms).await? else {
            return Ok(());
        };
        let removed = self.folder.remove_before(before).await?;
        if removed.segments > 0 {
            info!(
                segments = removed.segments,
                before, "removed old segments of the journal"
            );
        }
        Ok(())
    }

    /// The record before which nothing is needed any more; none where all is needed.
    async fn removable(&self, keep_ms: u64) -> Result<Option<Seq>, Trouble> {
        let applied = self.store.offset().await?;
        let open = self.store.open_epochs().await?;
        // A line may be received so much before its own time.
        let oldest_open = open.first().map_or(UnixMs::MAX, |epoch| {
            epoch.0.saturating_mul(1000).saturating_sub(MAX_SKEW_MS)
        });
        let needed_from = self.clock.now().saturating_sub(keep_ms).min(oldest_open);
        let mut removable = None;
        // What stands before the first record of a segment is what the segments before it hold.
        for first in self.folder.segments().into_iter().skip(1) {
            if first > applied.saturating_add(1) {
                break;
            }
            let position = Position {
                seq: first - 1,
                segment: first,
                byte: 0,
            };
            let chunk = self.folder.read(position, 1).await?;
            match chunk.entries.first() {
                Some(entry) if entry.at < needed_from => removable = Some(first),
                _ => break,
            }
        }
        Ok(removable)
    }
}
