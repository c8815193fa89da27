//! A storage that notes what is done, so that a loss of power at any moment can be played afterwards.
//!
//! It stands on real files and does everything at once. From its [`Trace`], [`Trace::power_cut`]
//! makes a folder as a file system may leave it where the power goes right behind some operation.
//!
//! # What may be left
//! - What was synced is there.
//! - **A file that was not synced since it was changed**: of the changes since, a first part, which
//!   may end within a write. What was written behind that part is not there, or is zeros, or is
//!   bytes that are no line: the length may come to the disk before the content.
//! - **Names** (made, changed, removed) since the last sync of the folder: a first part of these
//!   changes, in their order. That is what a file system with a journal of its own keeps (ext4, XFS,
//!   btrfs), and it is independent of what comes of the content of files. A name that is synced with
//!   no content is the usual case of it.
//!
//! Not meant are pages of one sync that come to the disk out of order with an intact line behind a
//! lost one, old blocks of the journal itself that come up in another file, and disks that do not
//! keep what they have synced.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Dice, garbage};
use crate::health::held;
use crate::storage::{RealStorage, SegmentFile, SegmentSource, Storage};

/// A file, whatever its name is. Numbered in the order in which files came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(usize);

/// What was done, and went well. What only reads is not noted, nor is opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// [`Storage::create`]. A file that had the name already was emptied.
    Create(String, FileId),
    /// [`SegmentFile::write_all`].
    Write(FileId, Arc<[u8]>),
    /// [`SegmentFile::set_len`].
    SetLen(FileId, u64),
    /// [`SegmentFile::sync`].
    Sync(FileId),
    /// [`Storage::rename`], from one name to another.
    Rename(String, String),
    /// [`Storage::remove`].
    Remove(String),
    /// [`Storage::sync_folder`].
    SyncFolder,
}

/// What a loss of power made of the bytes of a file behind those that it kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// They are not there.
    Nothing,
    /// They are zero.
    Zeros,
    /// They are something else, which the seed decides.
    Garbage,
}

/// What a loss of power left of what was not synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many changes of names, of how many.
    pub names: (usize, usize),
    /// Of each file with changes that were not synced, and whose name is there: how many bytes of
    /// how many, and what is behind them. A change of length counts as one byte.
    pub files: Vec<(String, u64, u64, Behind)>,
}

/// The files of one folder, and what was done with them.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What was there before, by name. It counts as synced.
    before: Vec<(String, Arc<[u8]>)>,
    done: Vec<Done>,
}

impl Trace {
    /// What was done, in order.
    #[must_use]
    pub fn done(&self) -> &[Done] {
        &self.done
    }

    /// Writes into an empty folder what may be left where the power goes right behind the first
    /// `after` operations. The same seed leaves the same.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn power_cut(&self, after: usize, seed: u64, into: &Path) -> io::Result<Left> {
        self.disk(after).lose_power(&mut Dice::new(seed), into)
    }

    /// Writes into an empty folder what is there where the process is killed right behind the first
    /// `after` operations: all of it, since the system has it, synced or not. The storage that comes
    /// back knows what is not synced, and goes on noting.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn kill(&self, after: usize, into: &Path) -> io::Result<RecordingStorage> {
        let mut disk = self.disk(after);
        let files = disk.contents.len();
        disk.sync();
        for (name, id) in &disk.names {
            if let Some(content) = disk.contents.get(id) {
                std::fs::write(into.join(name), &content.synced)?;
            }
        }
        let before = self.before.clone();
        let done = self.done.iter().take(after).cloned().collect();
        let inner = Inner {
            trace: Self { before, done },
            names: disk.names,
            files,
        };
        Ok(RecordingStorage {
            inner: Arc::new(Mutex::new(inner)),
        })
    }

    fn disk(&self, after: usize) -> Disk {
        let mut disk = Disk::with(&self.before);
        for done in self.done.iter().take(after) {
            disk.apply(done);
        }
        disk
    }
}

/// A file on the disk.
#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    since: Vec<Change>,
}

enum Change {
    Write(Arc<[u8]>),
    SetLen(u64),
}

impl Change {
    /// What it counts when some of all changes are kept.
    fn weight(&self) -> u64 {
        match self {
            Self::Write(bytes) => bytes.len() as u64,
            Self::SetLen(_) => 1,
        }
    }
}

impl Content {
    fn sync(&mut self) {
        for change in self.since.drain(..) {
            match change {
                Change::Write(bytes) => self.synced.extend_from_slice(&bytes),
                Change::SetLen(bytes) => resize(&mut self.synced, bytes),
            }
        }
    }

    /// The bytes that are left, how many changed ones were kept of how many, and what is behind.
    fn left(&self, dice: &mut Dice) -> (Vec<u8>, u64, u64, Behind) {
        let all = self.since.iter().map(Change::weight).sum::<u64>();
        let kept = match dice.below(4) {
            0 => 0,
            1 => all,
            _ => dice.below(all + 1),
        };
        let behind = match dice.below(4) {
            0 => Behind::Zeros,
            1 => Behind::Garbage,
            _ => Behind::Nothing,
        };
        let mut bytes = self.synced.clone();
        let mut room = kept;
        for change in &self.since {
            let weight = change.weight();
            let fits = room.min(weight);
            room -= fits;
            match change {
                Change::SetLen(len) if fits == weight => resize(&mut bytes, *len),
                Change::SetLen(_) => break,
                Change::Write(written) => {
                    // What fits is part of a write that is in memory.
                    let (first, rest) = written.split_at(usize::try_from(fits).unwrap_or(0));
                    bytes.extend_from_slice(first);
                    match behind {
                        Behind::Nothing if !rest.is_empty() => break,
                        Behind::Nothing => {}
                        Behind::Zeros => bytes.resize(bytes.len() + rest.len(), 0),
                        Behind::Garbage => bytes.extend(garbage(dice.next(), rest.len() as u64)),
                    }
                }
            }
        }
        (bytes, kept, all, behind)
    }
}

fn resize(bytes: &mut Vec<u8>, to: u64) {
    bytes.resize(usize::try_from(to).unwrap_or(usize::MAX), 0);
}

enum NameChange {
    Add(String, FileId),
    Rename(String, String),
    Remove(String),
}

/// What is on the disk for certain, and what is on its way there.
struct Disk {
    contents: BTreeMap<FileId, Content>,
    names: BTreeMap<String, FileId>,
    since: Vec<NameChange>,
}

impl Disk {
    fn with(before: &[(String, Arc<[u8]>)]) -> Self {
        let file = |(id, (_, bytes)): (usize, &(String, Arc<[u8]>))| {
            let synced = bytes.to_vec();
            let since = Vec::new();
            (FileId(id), Content { synced, since })
        };
        let name = |(id, (name, _)): (usize, &(String, Arc<[u8]>))| (name.clone(), FileId(id));
        Self {
            contents: before.iter().enumerate().map(file).collect(),
            names: before.iter().enumerate().map(name).collect(),
            since: Vec::new(),
        }
    }

    fn apply(&mut self, done: &Done) {
        match done {
            Done::Create(name, id) => {
                if let Some(there) = self.contents.get_mut(id) {
                    there.since.push(Change::SetLen(0));
                } else {
                    self.contents.insert(*id, Content::default());
                    self.since.push(NameChange::Add(name.clone(), *id));
                }
            }
            Done::Write(id, bytes) => self.change(*id, Change::Write(Arc::clone(bytes))),
            Done::SetLen(id, bytes) => self.change(*id, Change::SetLen(*bytes)),
            Done::Sync(id) => self.contents.entry(*id).or_default().sync(),
            Done::Rename(from, to) => {
                let change = NameChange::Rename(from.clone(), to.clone());
                self.since.push(change);
            }
            Done::Remove(name) => self.since.push(NameChange::Remove(name.clone())),
            Done::SyncFolder => self.sync_names(),
        }
    }

    fn sync_names(&mut self) {
        for change in std::mem::take(&mut self.since) {
            change_name(&mut self.names, change);
        }
    }

    fn sync(&mut self) {
        self.sync_names();
        for content in self.contents.values_mut() {
            content.sync();
        }
    }

    fn change(&mut self, id: FileId, change: Change) {
        self.contents.entry(id).or_default().since.push(change);
    }

    fn lose_power(mut self, dice: &mut Dice, into: &Path) -> io::Result<Left> {
        let all = self.since.len();
        let kept = usize::try_from(dice.below(all as u64 + 1)).unwrap_or(all);
        for change in self.since.drain(..kept) {
            change_name(&mut self.names, change);
        }
        let mut left = Left {
            names: (kept, all),
            files: Vec::new(),
        };
        for (name, id) in &self.names {
            let Some(content) = self.contents.get(id) else {
                continue;
            };
            let (bytes, kept, all, behind) = content.left(dice);
            std::fs::write(into.join(name), bytes)?;
            if all > 0 {
                left.files.push((name.clone(), kept, all, behind));
            }
        }
        Ok(left)
    }
}

fn change_name(names: &mut BTreeMap<String, FileId>, change: NameChange) {
    match change {
        NameChange::Add(name, id) => {
            names.insert(name, id);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    trace: Trace,
    names: BTreeMap<String, FileId>,
    files: usize,
}

/// The file system, which notes what is done in one folder. Names and lengths change one after the
/// other, so that their order is that of the trace; a sync is noted once it is done.
#[derive(Clone, Debug)]
pub struct RecordingStorage {
    inner: Arc<Mutex<Inner>>,
}

impl RecordingStorage {
    /// Notes what is done in a folder. What is in it by now counts as synced.
    ///
    /// # Errors
    /// Where what is in it cannot be read. A folder that is not there is empty.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut inner = Inner::default();
        let names = match RealStorage.names(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        for name in names {
            let bytes = std::fs::read(folder.join(&name))?;
            inner.id_of(&name);
            inner.trace.before.push((name, bytes.into()));
        }
        Ok(Self {
            inner: Arc::new(Mutex::new(inner)),
        })
    }

    /// How many operations were done until now.
    #[must_use]
    pub fn done(&self) -> usize {
        self.held().trace.done.len()
    }

    /// What was done until now.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.held().trace.clone()
    }

    fn held(&self) -> MutexGuard<'_, Inner> {
        held(&self.inner)
    }

    fn file(&self, id: FileId, file: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        let storage = self.clone();
        Box::new(RecordingFile { storage, id, file })
    }
}

impl Inner {
    fn note(&mut self, done: Done) {
        self.trace.done.push(done);
    }

    /// The file of that name; a new one where there is none.
    fn id_of(&mut self, name: &str) -> FileId {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let id = FileId(self.files);
        self.files += 1;
        self.names.insert(name.to_owned(), id);
        id
    }
}

struct RecordingFile {
    storage: RecordingStorage,
    id: FileId,
    file: Box<dyn SegmentFile>,
}

impl SegmentFile for RecordingFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.storage.held();
        self.file.write_all(bytes)?;
        inner.note(Done::Write(self.id, bytes.into()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // Nobody else writes the file meanwhile. Whoever looks how much is done must not wait for
        // this, and so take for synced what is not.
        self.file.sync()?;
        self.storage.held().note(Done::Sync(self.id));
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let mut inner = self.storage.held();
        self.file.set_len(bytes)?;
        inner.note(Done::SetLen(self.id, bytes));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl Storage for RecordingStorage {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealStorage.create_folder(folder)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealStorage.names(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut inner = self.held();
        let file = RealStorage.create(path)?;
        let name = name_of(path);
        let id = inner.id_of(&name);
        inner.note(Done::Create(name, id));
        Ok(self.file(id, file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut inner = self.held();
        let file = RealStorage.open(path)?;
        let id = inner.id_of(&name_of(path));
        Ok(self.file(id, file))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn SegmentSource>> {
        RealStorage.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.held();
        RealStorage.rename(from, to)?;
        let (from, to) = (name_of(from), name_of(to));
        if let Some(id) = inner.names.remove(&from) {
            inner.names.insert(to.clone(), id);
        }
        inner.note(Done::Rename(from, to));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.held();
        RealStorage.remove(path)?;
        let name = name_of(path);
        inner.names.remove(&name);
        inner.note(Done::Remove(name));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut inner = self.held();
        RealStorage.sync_folder(folder)?;
        inner.note(Done::SyncFolder);
        Ok(())
    }
}
