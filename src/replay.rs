//! `twzrd replay`: recorded lines and journals through the same actors, under the same
//! supervision, as in the running service.
//!
//! An input is known by its content, and how far it was read stands in the journal beside what it
//! gave: to run it again adds nothing, also after a kill in the middle, and a file that has grown
//! is read on where it ended.

pub mod input;
mod reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::Probe;
use twzrd_domain::memory::MemoryParts;
use twzrd_domain::ports::{BatchStore, JournalFolder};
use twzrd_domain::record::{Append, Seq};

use self::input::{Input, Kind, Lineage, Reading, SOURCE_PREFIX, find_lineage, skip};
use self::reader::{LineRules, Notes, read_lines, read_segment};
use crate::exit::{Code, Failure, OrFail, fail};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::signals::StopSignals;
use crate::wiring::{DataFolder, How, Opened, PATIENCE, Running};

/// How often it is looked how far the store has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many appends are read ahead.
const READ_AHEAD: usize = 2;

/// What is replayed, and into which folder.
pub struct Replay<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The data folder.
    pub data: &'a DataFolder,
    /// The inputs, in order.
    pub inputs: Vec<Input>,
    /// Is told of every step of every actor.
    pub probe: Arc<dyn Probe>,
    /// Shows how far it has come.
    pub progress: Progress,
}

/// Refuses an input that is part of the very journal into which it would be replayed.
///
/// # Errors
/// Where there is one.
pub fn refuse_own_journal(inputs: &[Input], data: &Path) -> Result<(), Failure> {
    let Ok(own) = data.join("journal").canonicalize() else {
        return Ok(());
    };
    for path in inputs.iter().filter_map(Input::path) {
        if path.canonicalize().is_ok_and(|path| path.starts_with(&own)) {
            let message = "is part of the journal of this data folder; give --data another folder to rebuild it there";
            return Err(fail(
                Code::Usage,
                format_args!("{} {message}", path.display()),
            ));
        }
    }
    Ok(())
}

impl Replay<'_> {
    /// Replays all inputs, seals what raw lines left open, builds the trees, and stops.
    ///
    /// # Errors
    /// Where an input, the journal or the store fails. What was accepted stays accepted.
    pub async fn run(mut self) -> Result<Running, Failure> {
        // Before anything is begun: a signal that comes meanwhile is seen behind it.
        let mut signals = StopSignals::listen()?;
        let opened = Opened::open(self.data, self.settings, false).await?;
        let how = How {
            seal_when: SealWhen::Asked,
            catch_up_on_stop: false,
            batch_linger: Duration::ZERO,
            ingest: None,
            chain: None,
            operations: Vec::new(),
            probe: Arc::clone(&self.probe),
        };
        let running = Running::start(opened, self.settings, how).await?;
        let inputs = std::mem::take(&mut self.inputs);
        let replayed = tokio::select! {
            replayed = self.all(&running, inputs) => replayed,
            _ = signals.next() => Err(fail(Code::Interrupted, "interrupted; what was accepted is kept: run it again on the same data folder to go on")),
        };
        self.progress.finish();
        running.stop().await;
        if replayed.is_err() {
            running.store.close().await?;
        }
        replayed.map(|()| running)
    }

    async fn all(&self, running: &Running, inputs: Vec<Input>) -> Result<(), Failure> {
        let (mut any_lines, mut last_seq) = (false, None);
        for input in inputs {
            let memory = running.memory().await?;
            let spool = self.data.journal();
            let (input, lineage, reading) = open(input, memory.clone(), spool).await?;
            if reading.is_empty {
                // It decides nothing: not the kind of the input, and so not what is sealed.
                if input.is_plain_segment() {
                    info!(input = input.name, "is a segment without any record yet");
                } else {
                    warn!(input = input.name, "holds no line");
                }
                continue;
            }
            let (is_known, name) = (lineage.source.is_some(), input.name.clone());
            let notes = match reading.kind {
                Kind::Lines => {
                    any_lines = true;
                    let arithmetic = &self.settings.arithmetic;
                    running.put_settings(arithmetic, &memory, 0).await?;
                    let rules = LineRules {
                        length: arithmetic.epoch_seconds,
                        keep_text: self.settings.journal.keep_text,
                    };
                    self.feed(running, input, reading, move |input, bytes, hand_on| {
                        read_lines(input, bytes, named(lineage, &memory), rules, hand_on)
                    })
                    .await?
                }
                Kind::Segment => {
                    let after: Option<Seq> = last_seq;
                    self.feed(running, input, reading, move |input, bytes, hand_on| {
                        read_segment(input, bytes, named(lineage, &memory), after, hand_on)
                    })
                    .await?
                }
            };
            last_seq = notes.last_seq;
            tell(&name, is_known, &notes);
        }
        self.finish(running, any_lines).await
    }

    /// Waits until everything is applied, sealed and built, and shows how far the store has come.
    async fn finish(&self, running: &Running, seal_open: bool) -> Result<(), Failure> {
        let mut finished = std::pin::pin!(running.finish(seal_open));
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                finished = &mut finished => return finished,
                _ = look.tick() => {
                    let durable = running.folder.durable();
                    // A store that is away is shown by whoever waits for it.
                    if let Ok(offset) = BatchStore::offset(&running.store).await {
                        self.progress.applied(offset, durable);
                    }
                }
            }
        }
    }

    /// Reads an input on a thread of its own, and offers what it gives to the gate.
    async fn feed<F>(
        &self,
        running: &Running,
        input: Input,
        reading: Reading,
        read: F,
    ) -> Result<Notes, Failure>
    where
        F: FnOnce(&Input, Box<dyn std::io::BufRead + Send>, HandOn) -> Result<Notes, Failure>
            + Send
            + 'static,
    {
        let gate = running.refs.gate(Some(PATIENCE));
        let (sender, mut appends) = mpsc::channel(READ_AHEAD);
        let raw = Arc::clone(&reading.raw);
        self.progress.begin(&input.name, input.size);
        let reader = tokio::task::spawn_blocking(move || {
            let hand_on: HandOn = Box::new(move |append| sender.blocking_send(append).is_ok());
            read(&input, reading.bytes, hand_on)
        });
        let offered = running.while_running(async {
            while let Some(append) = appends.recv().await {
                let lines = match &append {
                    Append::Intake(intake) => intake.lines,
                    Append::Records { records, .. } => records.len() as u64,
                };
                match append {
                    Append::Intake(intake) => gate.accept(intake).await?,
                    records @ Append::Records { .. } => gate.append(records).await?,
                };
                self.progress.at(raw.load(Ordering::Relaxed), lines);
            }
            Ok::<_, Failure>(())
        });
        let offered = offered.await;
        // A reader that nobody listens to ends at its next append.
        drop(appends);
        let notes = reader.await.or_fail(Code::Software)?;
        offered??;
        notes
    }
}

type HandOn = Box<dyn FnMut(Append) -> bool + Send>;

async fn open(
    mut input: Input,
    memory: MemoryParts,
    spool: PathBuf,
) -> Result<(Input, Lineage, Reading), Failure> {
    tokio::task::spawn_blocking(move || {
        if memory
            .sources
            .iter()
            .any(|known| known.source.starts_with(SOURCE_PREFIX))
        {
            input.make_rereadable(&spool)?;
        }
        let lineage = find_lineage(&input, &memory.sources)?;
        let mut reading = input.read()?;
        skip(&mut reading.bytes, lineage.upto).map_err(|error| input.broken(&error, 0))?;
        Ok((input, lineage, reading))
    })
    .await
    .or_fail(Code::Software)?
}

/// Gives a new input a source of its own in the journal.
fn named(mut lineage: Lineage, memory: &MemoryParts) -> Lineage {
    let is_taken = |name: &String| memory.sources.iter().any(|known| known.source == *name);
    if lineage.source.is_none() {
        lineage.source = (memory.sources.len()..)
            .map(|number| format!("{SOURCE_PREFIX}{number}"))
            .find(|name| !is_taken(name));
    }
    lineage
}

fn tell(name: &str, is_known: bool, notes: &Notes) {
    if notes.is_cut {
        warn!(input = name, "ends in the middle of a line or record");
    }
    if notes.oversized > 0 {
        warn!(
            input = name,
            lines = notes.oversized,
            "lines longer than 65536 bytes are invalid"
        );
    }
    match (is_known, notes.lines) {
        (true, 0) => info!(input = name, "has been read before; nothing added"),
        (false, 0) => warn!(input = name, "holds no line"),
        (_, lines) => info!(input = name, lines, "read"),
    }
}

/// The data folder of a replay: the one that was given, or one that goes when it is dropped.
pub enum Place {
    /// Given.
    Given(PathBuf),
    /// Made for this replay.
    Temporary(tempfile::TempDir),
}

impl Place {
    /// The folder that was given, or a temporary one.
    ///
    /// # Errors
    /// Where no temporary folder can be made.
    pub fn of(given: Option<PathBuf>) -> Result<Self, Failure> {
        match given {
            Some(path) => Ok(Self::Given(path)),
            None => Ok(Self::Temporary(
                tempfile::Builder::new()
                    .prefix("twzrd-replay-")
                    .tempdir()
                    .or_fail(Code::CannotCreate)?,
            )),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
