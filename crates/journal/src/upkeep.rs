//! Upkeep beside the writer: writes snapshots and compresses closed segments, in a thread of its
//! own, so that no append waits for it.
//!
//! What is to be done is looked up, not told: a hint only makes the thread look sooner. What
//! failed is tried again after a while, and at the next hint.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twzrd_domain::ports::JournalError;
use twzrd_domain::record::Seq;

use crate::files::{Inventory, memory_name, unavailable, unfinished, write_whole};
use crate::health::{count, held};
use crate::lock::Lock;
use crate::shared::Shared;
use crate::storage::SegmentFile;

const LEVEL: i32 = 3;
const STEP_BYTES: usize = 1 << 20;
const RETRY: Duration = Duration::from_secs(5);

/// A snapshot that is to be written.
pub(crate) struct Snapshot {
    pub(crate) first: Seq,
    pub(crate) bytes: Vec<u8>,
}

/// The writer's end. Dropped, it lets the thread finish the snapshot, and leave the rest for later.
pub(crate) struct Upkeep {
    hints: SyncSender<()>,
    snapshot: Arc<Mutex<Option<Snapshot>>>,
    stop: Arc<AtomicBool>,
}

impl Upkeep {
    /// Starts the thread. It holds the lock with the writer, so that no other process writes
    /// while it does.
    pub(crate) fn start(shared: Arc<Shared>, lock: Arc<Lock>) -> Result<Self, JournalError> {
        let (hints, look) = mpsc::sync_channel(1);
        let snapshot = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let folder = shared.config.folder.clone();
        let worker = Worker {
            shared,
            snapshot: Arc::clone(&snapshot),
            stop: Arc::clone(&stop),
            _lock: lock,
        };
        std::thread::Builder::new()
            .name("journal-upkeep".to_owned())
            .spawn(move || worker.run(&look))
            .map_err(|error| unavailable("start the upkeep thread", &folder, &error))?;
        let upkeep = Self {
            hints,
            snapshot,
            stop,
        };
        upkeep.hint();
        Ok(upkeep)
    }

    /// Hands over a snapshot, to be written at the next hint. One that is not written yet is older,
    /// and given up for it.
    pub(crate) fn hand_over(&self, snapshot: Snapshot) {
        *held(&self.snapshot) = Some(snapshot);
    }

    /// Has the thread look. Where a hint waits already, one is enough.
    pub(crate) fn hint(&self) {
        let _ = self.hints.try_send(());
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Worker {
    shared: Arc<Shared>,
    snapshot: Arc<Mutex<Option<Snapshot>>>,
    stop: Arc<AtomicBool>,
    _lock: Arc<Lock>,
}

impl Worker {
    fn run(self, look: &Receiver<()>) {
        let mut is_done = true;
        loop {
            let hint = if is_done {
                look.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                look.recv_timeout(RETRY)
            };
            let is_last = matches!(hint, Err(RecvTimeoutError::Disconnected));
            let active = held(&self.shared.table).active();
            let passed = self.pass();
            is_done = passed.is_ok();
            match passed {
                Ok(()) if !self.stop.load(Ordering::Relaxed) => {
                    self.shared.kept.send_replace(active);
                }
                Ok(()) => {}
                Err(error) => {
                    count(&self.shared.meter.upkeep_failures, 1);
                    tracing::warn!(%error, "upkeep of the journal failed; it is tried again");
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn pass(&self) -> Result<(), JournalError> {
        let snapshot = held(&self.snapshot).take();
        if let Some(snapshot) = snapshot {
            let written = self.write_snapshot(&snapshot);
            if written.is_err() {
                held(&self.snapshot).get_or_insert(snapshot);
                return written;
            }
        }
        let plain: Vec<Seq> = held(&self.shared.table).plain.iter().copied().collect();
        for first in plain {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.compress(first)?;
        }
        Ok(())
    }

    fn write_snapshot(&self, snapshot: &Snapshot) -> Result<(), JournalError> {
        let _alone = held(&self.shared.upkeep);
        let storage = &*self.shared.storage;
        let folder = &self.shared.config.folder;
        let path = folder.join(memory_name(snapshot.first));
        write_whole(storage, &path, &snapshot.bytes)
            .map_err(|error| unavailable("write a snapshot", &path, &error))?;
        for older in Inventory::of(storage, folder)?.memories {
            if older < snapshot.first {
                let path = folder.join(memory_name(older));
                storage
                    .remove(&path)
                    .map_err(|error| unavailable("remove", &path, &error))?;
            }
        }
        Ok(())
    }

    /// Compresses a closed segment. The plain file goes when the compressed one is on the disk
    /// under its own name.
    fn compress(&self, first: Seq) -> Result<(), JournalError> {
        let _alone = held(&self.shared.upkeep);
        if !held(&self.shared.table).plain.contains(&first) {
            return Ok(());
        }
        let storage = &*self.shared.storage;
        let path = self.shared.plain_path(first);
        let compressed = self.shared.compressed_path(first);
        let partial = unfinished(&compressed);
        let failed = |error: io::Error| unavailable("compress", &path, &error);
        if !self.write_compressed(&path, &partial).map_err(failed)? {
            return storage.remove(&partial).map_err(failed);
        }
        storage.rename(&partial, &compressed).map_err(failed)?;
        storage
            .sync_folder(&self.shared.config.folder)
            .map_err(failed)?;
        held(&self.shared.table).plain.remove(&first);
        match storage.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// False where it was told to stop on the way.
    fn write_compressed(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let mut input = self.shared.storage.read(from)?;
        let output = Output(self.shared.storage.create(to)?);
        let mut encoder = zstd::Encoder::new(output, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut step = vec![0; STEP_BYTES];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let read = input.read(&mut step)?;
            if read == 0 {
                break;
            }
            encoder.write_all(&step[..read])?;
        }
        encoder.finish()?.0.sync()?;
        Ok(true)
    }
}

struct Output(Box<dyn SegmentFile>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
