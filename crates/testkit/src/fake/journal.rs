//! The journal in memory: what is appended is synced at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use compact_str::CompactString;
use tokio::sync::Notify;
use twzrd_domain::batch::Position;
use twzrd_domain::memory::{Memory, MemoryParts};
use twzrd_domain::ports::{Chunk, JournalError, JournalFolder, JournalWriter};
use twzrd_domain::record::{Accepted, Append, Entry, Seq};

use super::faults::{Fault, Faults, Injected};

/// How many lines or records an append may hold, unless a test sets another limit.
pub const DEFAULT_APPEND_LIMIT: usize = 100_000;

/// The journal's folder in memory. Clones are the same folder.
#[derive(Clone)]
pub struct MemoryJournal(Arc<Inner>);

struct Inner {
    id: CompactString,
    append_limit: usize,
    books: Mutex<Books>,
    durable: AtomicU64,
    grown: Notify,
    faults: Faults,
}

#[derive(Default)]
struct Books {
    entries: Vec<Entry>,
    /// How many writers there have been.
    writers: u64,
    /// The number of the writer that holds the lock.
    live: Option<u64>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new("memory")
    }
}

impl MemoryJournal {
    /// An empty journal with this name for itself.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self::with_append_limit(id, DEFAULT_APPEND_LIMIT)
    }

    /// An empty journal that refuses larger appends.
    #[must_use]
    pub fn with_append_limit(id: &str, append_limit: usize) -> Self {
        Self(Arc::new(Inner {
            id: CompactString::from(id),
            append_limit,
            books: Mutex::default(),
            durable: AtomicU64::new(0),
            grown: Notify::new(),
            faults: Faults::default(),
        }))
    }

    /// What goes wrong. A permanent fault is a damaged record.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The next `n` operations fail.
    pub fn fail_next(&self, n: u64, fault: Fault) {
        self.0.faults.fail_next(n, fault);
    }

    /// The writer, if there is one, dies: it gives up the lock and answers
    /// [`JournalError::Closed`] from now on.
    pub fn kill_writer(&self) {
        self.0.books().live = None;
    }

    /// True while a writer holds the lock.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.books().live.is_some()
    }

    /// Looks at all that is in it, under its lock.
    pub fn look_at<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.0.books().entries)
    }

    /// A copy of all that is in it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0.books().entries.clone()
    }
}

impl Inner {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> Result<T, JournalError> + Send,
    ) -> Result<T, JournalError> {
        let told = |doing, fault| {
            let reason = Injected(fault).to_string();
            match fault {
                Fault::Permanent => JournalError::Damaged {
                    file: self.id.to_string(),
                    byte: 0,
                    reason,
                },
                Fault::Transient | Fault::AnswerLost => JournalError::Unavailable { doing, reason },
            }
        };
        self.faults.run(doing, async { work() }, told).await
    }

    fn open(self: &Arc<Self>) -> Result<Box<dyn JournalWriter>, JournalError> {
        let mut books = self.books();
        if let Some(number) = books.live {
            return Err(JournalError::Locked {
                folder: self.id.to_string(),
                holder: format!("writer {number}"),
            });
        }
        books.writers += 1;
        books.live = Some(books.writers);
        let mut memory = Memory::default();
        books.entries.iter().for_each(|entry| memory.observe(entry));
        Ok(Box::new(MemoryWriter {
            folder: Arc::clone(self),
            number: books.writers,
            memory: Mutex::new(memory),
        }))
    }
}

#[async_trait]
impl JournalFolder for MemoryJournal {
    async fn open(&self) -> Result<Box<dyn JournalWriter>, JournalError> {
        self.0.run("open", || self.0.open()).await
    }

    fn id(&self) -> Option<CompactString> {
        (self.0.books().writers > 0).then(|| self.0.id.clone())
    }

    fn durable(&self) -> Seq {
        self.0.durable.load(Ordering::SeqCst)
    }

    async fn wait_durable(&self, seq: Seq) {
        loop {
            let grown = self.0.grown.notified();
            let mut grown = std::pin::pin!(grown);
            grown.as_mut().enable();
            if self.durable() > seq {
                return;
            }
            grown.await;
        }
    }

    async fn read(&self, from: Position, limit: usize) -> Result<Chunk, JournalError> {
        let work = || {
            let books = self.0.books();
            let skip = usize::try_from(from.seq).unwrap_or(usize::MAX);
            let entries = books.entries.iter().skip(skip).take(limit);
            let entries: Vec<Entry> = entries.cloned().collect();
            let position = |entry: &Entry| Position {
                seq: entry.seq,
                ..Position::default()
            };
            let positions = entries.iter().map(position).collect();
            Ok(Chunk { entries, positions })
        };
        self.0.run("read", work).await
    }
}

/// The one writer. The lock goes with it.
struct MemoryWriter {
    folder: Arc<Inner>,
    number: u64,
    memory: Mutex<Memory>,
}

impl MemoryWriter {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, append: Append) -> Result<Accepted, JournalError> {
        let mut books = self.folder.books();
        if books.live != Some(self.number) {
            return Err(JournalError::Closed);
        }
        let found = match &append {
            Append::Intake(intake) => intake.candidates.len(),
            Append::Records { records, .. } => records.len(),
        };
        let limit = self.folder.append_limit;
        if found > limit {
            return Err(JournalError::TooLarge { found, limit });
        }
        let Some(records) = self.memory().admit(append) else {
            return Ok(Accepted::Known);
        };
        for (at, record) in records {
            let seq = books.entries.len() as Seq + 1;
            books.entries.push(Entry { seq, at, record });
        }
        let last = books.entries.len() as Seq;
        self.folder.durable.store(last, Ordering::SeqCst);
        self.folder.grown.notify_waiters();
        Ok(Accepted::Written(last))
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        let mut books = self.folder.books();
        books.live = books.live.filter(|&number| number != self.number);
    }
}

#[async_trait]
impl JournalWriter for MemoryWriter {
    async fn append(&self, append: Append) -> Result<Accepted, JournalError> {
        self.folder.run("append", || self.write(append)).await
    }

    async fn memory(&self) -> Result<MemoryParts, JournalError> {
        let work = || {
            if self.folder.books().live == Some(self.number) {
                Ok(self.memory().parts())
            } else {
                Err(JournalError::Closed)
            }
        };
        self.folder.run("memory", work).await
    }
}
