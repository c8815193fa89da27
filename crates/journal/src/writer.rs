//! The one thread that writes: takes what waits, writes it at once, syncs once, answers all.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::memory::{Memory, MemoryParts};
use twzrd_domain::ports::JournalError;
use twzrd_domain::record::{Accepted, Append, Record, Seq};

use crate::files::unavailable;
use crate::format::{MAX_LINE_BYTES, encode};
use crate::health::{count, held};
use crate::recovery::{Active, Recovered, begin_file, recover};
use crate::shared::{Doubt, Rest, Shared};
use crate::snapshot;
use crate::upkeep::{Snapshot, Upkeep};

/// A buffer that grew beyond so many times its usual bound is given back.
const SPARE: usize = 4;

/// What waits for the writer.
pub(crate) enum Request {
    /// Must be answered once it is synced, or refused.
    Append {
        append: Append,
        answer: oneshot::Sender<Result<Accepted, JournalError>>,
        /// The room that it takes in the queue.
        room: OwnedSemaphorePermit,
    },
    /// Must be answered once all that was queued before it is synced.
    Memory {
        answer: oneshot::Sender<Result<MemoryParts, JournalError>>,
    },
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    upkeep: Upkeep,
    queue: mpsc::Receiver<Request>,
    memory: Memory,
    active: Active,
    /// The last record that is synced.
    last: Seq,
    group: Group,
}

/// Appends that one sync will cover.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    last: Seq,
    times: Option<(UnixMs, UnixMs)>,
    appends: Vec<(oneshot::Sender<Result<Accepted, JournalError>>, Accepted)>,
    memories: Vec<oneshot::Sender<Result<MemoryParts, JournalError>>>,
    rooms: Vec<OwnedSemaphorePermit>,
    /// Why it cannot be written, where that is known before it is tried.
    fault: Option<String>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        upkeep: Upkeep,
        queue: mpsc::Receiver<Request>,
        recovered: Recovered,
    ) -> Self {
        let Recovered {
            memory,
            active,
            last,
            ..
        } = recovered;
        let group = Group {
            last,
            ..Group::default()
        };
        Self {
            shared,
            upkeep,
            queue,
            memory,
            active,
            last,
            group,
        }
    }

    /// Runs until the last handle is gone and the queue is empty.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let ready = self.clear_doubt();
            let mut next = Some(first);
            while let Some(request) = next {
                self.stage(request, ready.is_ok());
                next = if self.is_full() {
                    None
                } else {
                    self.queue.try_recv().ok()
                };
            }
            match ready.and_then(|()| self.write_group()) {
                Ok(()) => self.answer_group(),
                Err(error) => self.refuse_group(&error),
            }
            if self.is_segment_full() {
                self.rotate();
            }
        }
        tracing::debug!(last = self.last, "the journal's writer has finished");
        self.leave_rest();
    }

    /// Leaves what it knows to the next writer of this process, which then need not read it back.
    fn leave_rest(self) {
        let is_trusted = held(&self.shared.table).doubt.is_none();
        let rest = Rest {
            memory: self.memory,
            active: self.active,
            last: self.last,
        };
        *held(&self.shared.rest) = is_trusted.then_some(rest);
    }

    /// After a write that failed: takes away what it left, and forgets what was not written.
    fn clear_doubt(&mut self) -> Result<(), JournalError> {
        let Some(doubt) = held(&self.shared.table).doubt else {
            return Ok(());
        };
        // Upkeep waits until what is on the disk and what is known of it agree again.
        let alone = held(&self.shared.upkeep);
        let recovered = recover(&self.shared, Some(doubt));
        if let Ok(recovered) = &recovered {
            self.shared.install(recovered);
        }
        drop(alone);
        match recovered {
            Ok(recovered) => {
                let Recovered {
                    memory,
                    active,
                    last,
                    ..
                } = recovered;
                (self.memory, self.active, self.last) = (memory, active, last);
                self.group.last = last;
                self.upkeep.hint();
                tracing::info!(last, "the journal takes appends again");
                Ok(())
            }
            Err(error) => {
                // Whatever failed this time may have been a sync.
                self.doubt(Doubt {
                    sync_failed: true,
                    ..doubt
                });
                Err(error)
            }
        }
    }

    fn stage(&mut self, request: Request, is_ready: bool) {
        match request {
            Request::Memory { answer } => self.group.memories.push(answer),
            Request::Append {
                append,
                answer,
                room,
            } => {
                self.group.rooms.push(room);
                let accepted = if is_ready {
                    self.admit(append)
                } else {
                    Accepted::Known
                };
                self.group.appends.push((answer, accepted));
            }
        }
    }

    fn admit(&mut self, append: Append) -> Accepted {
        let Some(records) = self.memory.admit(append) else {
            return Accepted::Known;
        };
        let mut left = u32::try_from(records.len()).unwrap_or(u32::MAX);
        for (at, record) in &records {
            left -= 1;
            self.group.push(left, *at, record);
        }
        Accepted::Written(self.group.last)
    }

    fn is_full(&self) -> bool {
        let config = &self.shared.config;
        let before = self.active.bytes;
        let after = before + self.group.bytes.len() as u64;
        let fills_segment = before < config.segment_bytes && after >= config.segment_bytes;
        self.group.bytes.len() >= config.group_bytes
            || self.group.appends.len() + self.group.memories.len() >= config.group_appends
            || fills_segment
    }

    fn write_group(&mut self) -> Result<(), JournalError> {
        if let Some(fault) = self.group.fault.take() {
            let reason = format!(
                "{}: {fault}",
                self.shared.plain_path(self.active.first).display()
            );
            return Err(self.fail(
                JournalError::Unavailable {
                    doing: "write",
                    reason,
                },
                false,
            ));
        }
        if self.group.bytes.is_empty() {
            return Ok(());
        }
        let path = self.shared.plain_path(self.active.first);
        if let Err(error) = self.active.file.write_all(&self.group.bytes) {
            return Err(self.fail(unavailable("write", &path, &error), false));
        }
        if let Err(error) = self.active.file.sync() {
            return Err(self.fail(unavailable("sync", &path, &error), true));
        }
        self.active.bytes += self.group.bytes.len() as u64;
        if let Some((from, until)) = self.group.times {
            self.active.extend_times(from);
            self.active.extend_times(until);
        }
        let meter = &self.shared.meter;
        count(&meter.syncs, 1);
        count(&meter.bytes, self.group.bytes.len() as u64);
        count(&meter.records, self.group.last - self.last);
        self.last = self.group.last;
        self.shared.publish(self.last);
        Ok(())
    }

    /// Notes that nothing behind the last sync counts, and takes it away at once where possible: a
    /// later process must not find what was refused.
    fn fail(&mut self, error: JournalError, sync_failed: bool) -> JournalError {
        let (first, bytes) = (self.active.first, self.active.bytes);
        self.doubt(Doubt {
            first,
            bytes,
            sync_failed,
        });
        if let Err(error) = self
            .active
            .file
            .set_len(bytes)
            .and_then(|()| self.active.file.sync())
        {
            tracing::warn!(%error, "cannot take back what was not synced; it is tried again");
            self.doubt(Doubt {
                first,
                bytes,
                sync_failed: true,
            });
        }
        error
    }

    fn doubt(&self, doubt: Doubt) {
        held(&self.shared.table).doubt = Some(doubt);
    }

    /// A caller that is gone has no use for its answer, so that a failure to send it is none.
    fn answer_group(&mut self) {
        let meter = &self.shared.meter;
        meter.works();
        let known = self
            .group
            .appends
            .iter()
            .filter(|(_, it)| *it == Accepted::Known)
            .count();
        count(&meter.known, known as u64);
        count(&meter.appends, (self.group.appends.len() - known) as u64);
        self.group.rooms.clear();
        for (answer, accepted) in self.group.appends.drain(..) {
            let _ = answer.send(Ok(accepted));
        }
        for answer in self.group.memories.drain(..) {
            let _ = answer.send(Ok(self.memory.parts()));
        }
        self.group.empty(
            self.last,
            self.shared.config.group_bytes.saturating_mul(SPARE),
        );
    }

    fn refuse_group(&mut self, error: &JournalError) {
        tracing::error!(%error, appends = self.group.appends.len(), "appends were refused");
        self.shared.meter.fails(error.to_string());
        count(&self.shared.meter.refused, self.group.appends.len() as u64);
        self.group.rooms.clear();
        for (answer, _) in self.group.appends.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
        for answer in self.group.memories.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
        self.group.empty(
            self.last,
            self.shared.config.group_bytes.saturating_mul(SPARE),
        );
    }

    fn is_segment_full(&self) -> bool {
        let config = &self.shared.config;
        let age = self.active.times.map_or(0, |(from, until)| until - from);
        let is_trusted = held(&self.shared.table).doubt.is_none();
        let is_old = age >= config.segment_age_ms || self.active.bytes >= config.segment_bytes;
        is_trusted && self.active.bytes > 0 && is_old
    }

    /// Closes the segment and begins the next. Where that fails the old one grows on, and it is
    /// tried again behind the next group.
    fn rotate(&mut self) {
        let first = self.last + 1;
        match begin_file(&self.shared, first) {
            Ok(file) => {
                self.active = Active {
                    file,
                    first,
                    bytes: 0,
                    times: None,
                };
                // Before the segment is known, so that whoever finds it done finds its snapshot too.
                self.hand_over_snapshot(first);
                held(&self.shared.table).begin_segment(first);
                count(&self.shared.meter.rotations, 1);
                self.upkeep.hint();
            }
            Err(error) => {
                count(&self.shared.meter.upkeep_failures, 1);
                tracing::warn!(%error, "cannot begin a segment; the old one grows on");
            }
        }
    }

    fn hand_over_snapshot(&self, first: Seq) {
        let id = self.shared.id().map_or("", |id| id.as_str());
        match snapshot::encode(&self.memory, id, first) {
            Ok(bytes) => self.upkeep.hand_over(Snapshot { first, bytes }),
            Err(error) => {
                // The memory can be rebuilt from the segments.
                count(&self.shared.meter.upkeep_failures, 1);
                tracing::warn!(%error, "cannot take a snapshot");
            }
        }
    }
}

impl Group {
    fn push(&mut self, left: u32, at: UnixMs, record: &Record) {
        let begin = self.bytes.len();
        self.last += 1;
        let (from, until) = self.times.unwrap_or((at, at));
        self.times = Some((from.min(at), until.max(at)));
        if let Err(error) = encode(&mut self.bytes, self.last, left, at, record) {
            self.fault = Some(format!(
                "record {} cannot be written as JSON: {error}",
                self.last
            ));
        }
        let bytes = self.bytes.len() - begin;
        if bytes > MAX_LINE_BYTES {
            let found = format!("record {} has {bytes} bytes", self.last);
            self.fault = Some(format!("{found}; expected at most {MAX_LINE_BYTES}"));
        }
    }

    fn empty(&mut self, last: Seq, most: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(most);
        self.last = last;
        self.times = None;
        self.fault = None;
    }
}
