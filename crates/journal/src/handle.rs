//! The writer as its callers see it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot};
use twzrd_domain::memory::MemoryParts;
use twzrd_domain::ports::{JournalError, JournalWriter};
use twzrd_domain::record::{Accepted, Append, Record};

use crate::config::MAX_APPEND_RECORDS;
use crate::health::count;
use crate::shared::Shared;
use crate::writer::Request;

/// Queues appends. Dropped, it lets the writer finish what is queued.
///
/// An append whose caller stops waiting for the answer may be written or not.
pub(crate) struct Handle {
    pub(crate) queue: mpsc::Sender<Request>,
    /// One permit for each record that may wait in the queue.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl JournalWriter for Handle {
    async fn append(&self, append: Append) -> Result<Accepted, JournalError> {
        let found = records_of(&append);
        if found > MAX_APPEND_RECORDS {
            count(&self.shared.meter.refused, 1);
            return Err(JournalError::TooLarge {
                found,
                limit: MAX_APPEND_RECORDS,
            });
        }
        let most = self.shared.config.queued_records.max(1);
        let needed = u32::try_from(found).unwrap_or(most).clamp(1, most);
        let room = Arc::clone(&self.room).acquire_many_owned(needed).await;
        let room = room.map_err(|_| JournalError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request::Append {
            append,
            answer,
            room,
        };
        self.queue
            .send(request)
            .await
            .map_err(|_| JournalError::Closed)?;
        answered.await.unwrap_or(Err(JournalError::Closed))
    }

    async fn memory(&self) -> Result<MemoryParts, JournalError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.send(Request::Memory { answer }).await;
        sent.map_err(|_| JournalError::Closed)?;
        answered.await.unwrap_or(Err(JournalError::Closed))
    }
}

/// How many records an append may come to, or rows in one of its lists, whichever is more.
fn records_of(append: &Append) -> usize {
    match append {
        Append::Intake(intake) => intake.candidates.len().max(intake.tally.len()),
        Append::Records { records, .. } => {
            let longest = records.iter().map(|(_, record)| longest_list(record)).max();
            records.len().max(longest.unwrap_or(0))
        }
    }
}

fn longest_list(record: &Record) -> usize {
    match record {
        Record::Tally(tally) => tally.seen.len().max(tally.counts.len()),
        Record::Suppress(person) | Record::Unsuppress(person) => person.hashes.len(),
        Record::Settings(settings) => settings.bots.len(),
        Record::Event(_) | Record::Seal(_) | Record::Bind(_) | Record::Gap(_) => 0,
    }
}
