//! The folder of a journal: opens the writer, and reads what is synced.

use std::sync::Arc;

use async_trait::async_trait;
use compact_str::CompactString;
use tokio::sync::{Semaphore, mpsc};
use twzrd_domain::batch::Position;
use twzrd_domain::ports::{Chunk, JournalError, JournalFolder, JournalWriter};
use twzrd_domain::record::Seq;

use crate::config::Config;
use crate::cursor;
use crate::files::unavailable;
use crate::handle::Handle;
use crate::health::{Health, held};
use crate::lock::Lock;
use crate::recovery::{Opened, recover, take_up};
use crate::retention::{self, Removed};
use crate::shared::Shared;
use crate::storage::{RealStorage, Storage};
use crate::upkeep::Upkeep;
use crate::writer::Writer;

/// The folder of a journal. Clones share all that is known of it, also over several writers, one
/// after another.
#[derive(Clone)]
pub struct Folder {
    shared: Arc<Shared>,
}

impl Folder {
    /// A folder of the file system. Nothing is touched before it is opened.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_storage(config, Arc::new(RealStorage))
    }

    /// A folder of some other storage. The lock lies in the file system all the same.
    #[must_use]
    pub fn with_storage(config: Config, storage: Arc<dyn Storage>) -> Self {
        Self {
            shared: Arc::new(Shared::new(config, storage)),
        }
    }

    /// Whether the journal takes appends, and what it counted.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            state: self.shared.meter.state(),
            counters: self.shared.meter.counters(),
            durable: *self.shared.durable.borrow(),
        }
    }

    /// What the last opening came to; none before the first.
    #[must_use]
    pub fn opened(&self) -> Option<Opened> {
        held(&self.shared.opened).clone()
    }

    /// The segments by their first records, ascending; the last is the active one.
    #[must_use]
    pub fn segments(&self) -> Vec<Seq> {
        held(&self.shared.table).firsts.to_vec()
    }

    /// Resolves once every segment that is closed now is compressed, and the snapshot beside the
    /// active one is written. It does not resolve while the disk is full.
    pub async fn wait_kept(&self) {
        let active = held(&self.shared.table).active();
        let mut kept = self.shared.kept.subscribe();
        // The sender lives as long as this folder.
        let _ = kept.wait_for(|&kept| kept >= active).await;
    }

    /// Removes closed segments of which all records stand before `seq`. What is consumed and
    /// sealed is the caller's to know. The active segment stays.
    ///
    /// # Errors
    /// [`JournalError::Closed`] where no writer is open, so that another process may be writing;
    /// [`JournalError::Unavailable`] where no sound snapshot stands for what would be removed, or
    /// a file cannot be removed. Then what was removed before it stays removed.
    pub async fn remove_before(&self, seq: Seq) -> Result<Removed, JournalError> {
        self.blocking("remove segments", move |shared| {
            retention::remove_before(shared, seq)
        })
        .await
    }

    /// Runs something that waits for files where it holds up no other task.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&Arc<Shared>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || run(&shared)).await;
        done.unwrap_or_else(|error| {
            let reason = format!("{}: {error}", self.shared.config.folder.display());
            Err(JournalError::Unavailable { doing, reason })
        })
    }
}

#[async_trait]
impl JournalFolder for Folder {
    async fn open(&self) -> Result<Box<dyn JournalWriter>, JournalError> {
        let opened = self.blocking("open", open).await;
        if let Err(error) = &opened {
            self.shared.meter.fails(error.to_string());
        }
        opened
    }

    fn id(&self) -> Option<CompactString> {
        self.shared.id().cloned()
    }

    fn durable(&self) -> Seq {
        *self.shared.durable.borrow()
    }

    async fn wait_durable(&self, seq: Seq) {
        let mut durable = self.shared.durable.subscribe();
        // The sender lives as long as this folder.
        let _ = durable.wait_for(|&durable| durable > seq).await;
    }

    async fn read(&self, from: Position, limit: usize) -> Result<Chunk, JournalError> {
        self.blocking("read", move |shared| cursor::read(shared, from, limit))
            .await
    }
}

fn open(shared: &Arc<Shared>) -> Result<Box<dyn JournalWriter>, JournalError> {
    let config = &shared.config;
    let folder = &config.folder;
    shared
        .storage
        .create_folder(folder)
        .map_err(|error| unavailable("make the folder", folder, &error))?;
    let lock = Arc::new(Lock::take(folder, config.clock.now())?);
    let doubt = held(&shared.table).doubt;
    let recovered = match take_up(shared)? {
        Some(recovered) => recovered,
        None => recover(shared, doubt)?,
    };
    shared.install(&recovered);
    shared.meter.works();
    shared.kept.send_replace(0);
    *held(&shared.lock) = Arc::downgrade(&lock);
    tracing::info!(
        folder = %folder.display(),
        id = %recovered.opened.id,
        last = recovered.last,
        segments = recovered.opened.segments,
        read = recovered.opened.read,
        "opened the journal"
    );
    let (queue, requests) = mpsc::channel(config.queued_appends.max(1));
    let most = usize::try_from(config.queued_records.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let upkeep = Upkeep::start(Arc::clone(shared), Arc::clone(&lock))?;
    let writer = Writer::new(Arc::clone(shared), upkeep, requests, recovered);
    std::thread::Builder::new()
        .name("journal-writer".to_owned())
        .spawn(move || {
            writer.run();
            drop(lock);
        })
        .map_err(|error| unavailable("start the writer thread", folder, &error))?;
    Ok(Box::new(Handle {
        queue,
        room,
        shared: Arc::clone(shared),
    }))
}
