//! The files of the activity log.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use compact_str::CompactString;
use serde::Deserialize;
use twzrd_domain::chain::LogError;

use super::{Lines, LogConfig, MAX_LINE_BYTES};

/// The file that grows.
const ACTIVE: &str = "stream-events.ndjson";

/// A closed file is called this, ten digits, and `.ndjson`.
const CLOSED: &str = "stream-events-";

/// So much is held back before it is written.
const BUFFER_BYTES: usize = 1 << 20;

/// The file that grows, and what is known of the end of the log.
#[derive(Debug)]
pub(super) struct Open {
    path: PathBuf,
    file: File,
    length: u64,
    pending: Vec<u8>,
    end: End,
}

/// The last slot in the log, and how many lines each of its transactions has.
#[derive(Debug, Default)]
struct End {
    slot: Option<u64>,
    lines: HashMap<CompactString, usize>,
}

impl End {
    fn count(&mut self, slot: u64, signature: CompactString) {
        if self.slot != Some(slot) {
            self.slot = Some(slot);
            self.lines.clear();
        }
        *self.lines.entry(signature).or_default() += 1;
    }

    /// How many lines of a transaction are in the log already.
    fn held(&self, lines: &Lines) -> usize {
        match self.slot {
            Some(slot) if lines.slot < slot => lines.lines.len(),
            Some(slot) if lines.slot == slot => {
                self.lines.get(&lines.signature).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// Where a line belongs.
#[derive(Deserialize)]
struct Place {
    slot: u64,
    signature: CompactString,
}

impl Open {
    /// Opens the log: cuts a torn last line, and reads where the log ends.
    pub(super) fn recover(config: &LogConfig) -> Result<Self, LogError> {
        let path = config.folder.join(ACTIVE);
        fs::create_dir_all(&config.folder).map_err(|e| failed("make", &config.folder, &e))?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|error| failed("open", &path, &error))?;
        let found = file.metadata().map_err(|e| failed("look at", &path, &e))?;
        let (length, mut end) = read(&path, &file)?;
        if length < found.len() {
            let cut = found.len() - length;
            tracing::warn!(file = %path.display(), bytes = cut, "torn last line cut");
            file.set_len(length).map_err(|e| failed("cut", &path, &e))?;
        }
        // What an earlier process, or a failed append, left here may not be on the disk, nor may the
        // file's name and the folder's be.
        file.sync_data().map_err(|e| failed("sync", &path, &e))?;
        sync_folder(&config.folder)?;
        sync_folder(parent(&config.folder))?;
        let mut closed = closed(&config.folder)?;
        while end.slot.is_none()
            && let Some((_, path)) = closed.pop()
        {
            let file = File::open(&path).map_err(|e| failed("open", &path, &e))?;
            end = read(&path, &file)?.1;
        }
        Ok(Self {
            path,
            file,
            length,
            pending: Vec::new(),
            end,
        })
    }

    /// Takes the lines of a transaction, as far as the log does not hold them, and answers how
    /// many it holds.
    pub(super) fn take(&mut self, config: &LogConfig, lines: &Lines) -> Result<usize, LogError> {
        let held = self.end.held(lines);
        if held >= lines.lines.len() {
            return Ok(lines.lines.len());
        }
        let is_full = self.length + self.pending.len() as u64 >= config.max_bytes;
        if is_full && self.end.slot.is_some_and(|slot| slot < lines.slot) {
            self.rotate(config)?;
        }
        for line in &lines.lines[held..] {
            self.pending.extend_from_slice(line.as_bytes());
            self.end.count(lines.slot, lines.signature.clone());
            if self.pending.len() >= BUFFER_BYTES {
                self.write()?;
            }
        }
        Ok(held)
    }

    /// Writes and syncs what was taken.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.write()?;
        let synced = self.file.sync_data();
        synced.map_err(|error| failed("sync", &self.path, &error))
    }

    fn write(&mut self) -> Result<(), LogError> {
        let written = self.file.write_all(&self.pending);
        written.map_err(|error| failed("write", &self.path, &error))?;
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Closes the file under the next number, and begins a new one.
    fn rotate(&mut self, config: &LogConfig) -> Result<(), LogError> {
        self.sync()?;
        if self.length == 0 {
            return Ok(());
        }
        let mut closed = closed(&config.folder)?;
        let number = closed.last().map_or(1, |(number, _)| number + 1);
        let name = config.folder.join(format!("{CLOSED}{number:010}.ndjson"));
        fs::rename(&self.path, &name).map_err(|e| failed("rename", &self.path, &e))?;
        self.file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&self.path)
            .map_err(|error| failed("make", &self.path, &error))?;
        self.length = 0;
        sync_folder(&config.folder)?;
        closed.push((number, name));
        if config.kept > 0 {
            let surplus = closed.len().saturating_sub(config.kept);
            for (_, path) in closed.drain(..surplus) {
                fs::remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
                tracing::info!(file = %path.display(), "old activity log removed");
            }
        }
        Ok(())
    }
}

/// The closed files, the oldest first.
fn closed(folder: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let list = fs::read_dir(folder).map_err(|e| failed("list", folder, &e))?;
    let mut closed = Vec::new();
    for entry in list {
        let entry = entry.map_err(|error| failed("list", folder, &error))?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(CLOSED)?.strip_suffix(".ndjson"))
            .filter(|digits| digits.len() == 10)
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            closed.push((number, entry.path()));
        }
    }
    closed.sort_unstable();
    Ok(closed)
}

/// Reads a file to its end: how long its whole lines are, and what is known of the last slot.
fn read(path: &Path, file: &File) -> Result<(u64, End), LogError> {
    let mut end = End::default();
    let mut length = 0;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = Read::take(&mut reader, MAX_LINE_BYTES as u64)
            .read_until(b'\n', &mut line)
            .map_err(|error| failed("read", path, &error))?;
        let place: Option<Place> = match line.strip_suffix(b"\n") {
            Some(whole) => serde_json::from_slice(whole).ok(),
            // The end, or a line that was not written to its end.
            None if read < MAX_LINE_BYTES => return Ok((length, end)),
            None => None,
        };
        let Some(place) = place else {
            return Err(LogError(format!(
                "{} has at byte {length} what is no line of this log; move the file away",
                path.display()
            )));
        };
        end.count(place.slot, place.signature);
        length += read as u64;
    }
}

fn parent(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => folder,
    }
}

fn sync_folder(folder: &Path) -> Result<(), LogError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed("sync", folder, &error))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> LogError {
    LogError(format!("cannot {doing} {}: {error}", path.display()))
}
