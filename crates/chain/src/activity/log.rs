//! The activity log: NDJSON files in a folder, one line for each instruction of the program.
//!
//! `stream-events.ndjson` grows; past a size it becomes `stream-events-<number>.ndjson`, whose names
//! sort by age. Lines come in the order of the chain, and all lines of a slot are in one file. So
//! the last slot in the log says what is in it already: a process that died between writing lines
//! and storing them writes none of them twice.

mod files;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use compact_str::CompactString;
use twzrd_domain::chain::{Activity, ActivityLog, LogError};
use twzrd_domain::epoch::UnixMs;

use files::Open;

/// A line may be this long. The longest that a transaction can give is a tenth of it.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Where the log is, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The folder. It is made where it is missing.
    pub folder: PathBuf,
    /// A file that is this long is closed once its last slot is complete.
    pub max_bytes: u64,
    /// How many closed files are kept; 0 keeps all.
    pub kept: usize,
}

/// The lines of one transaction.
struct Lines {
    slot: u64,
    signature: CompactString,
    lines: Vec<String>,
}

/// The log. One process writes it.
#[derive(Clone, Debug)]
pub struct NdjsonLog {
    config: Arc<LogConfig>,
    open: Arc<Mutex<Option<Open>>>,
}

impl NdjsonLog {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(config: LogConfig) -> Self {
        Self {
            config: Arc::new(config),
            open: Arc::default(),
        }
    }

    /// Blocks on the disk.
    fn write(&self, all: &[Lines]) -> Result<(), LogError> {
        let mut place = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what succeeded as a whole is known; after anything else the files are read again.
        let mut open = match place.take() {
            Some(open) => open,
            None => Open::recover(&self.config)?,
        };
        let mut held = 0;
        for lines in all {
            held += open.take(&self.config, lines)?;
        }
        open.sync()?;
        if held > 0 {
            tracing::info!(lines = held, "the activity log holds these lines already");
        }
        *place = Some(open);
        Ok(())
    }
}

#[async_trait]
impl ActivityLog for NdjsonLog {
    async fn append(&self, all: &[Activity], now: UnixMs) -> Result<(), LogError> {
        let all: Vec<Lines> = all
            .iter()
            .filter(|activity| !activity.actions.is_empty())
            .map(|activity| lines(activity, now))
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Ok(());
        }
        let log = self.clone();
        tokio::task::spawn_blocking(move || log.write(&all))
            .await
            .map_err(|error| LogError(error.to_string()))?
    }
}

fn lines(activity: &Activity, now: UnixMs) -> Result<Lines, LogError> {
    let line = |json: &String| {
        let inner = json.strip_prefix('{').filter(|_| json.ends_with('}'));
        let line = inner.map(|inner| format!("{{\"timestamp\":{now},{inner}\n"));
        line.filter(|line| line.len() <= MAX_LINE_BYTES && line.lines().count() == 1)
            .ok_or_else(|| {
                LogError(format!(
                    "{} has a line of {} bytes; expected a JSON object on one line of at most \
                     {MAX_LINE_BYTES}",
                    activity.mark.signature,
                    json.len()
                ))
            })
    };
    let actions = activity.actions.iter().map(|action| line(&action.json));
    Ok(Lines {
        slot: activity.mark.slot,
        signature: activity.mark.signature.clone(),
        lines: actions.collect::<Result<_, _>>()?,
    })
}
