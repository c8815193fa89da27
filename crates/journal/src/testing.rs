//! Storages for tests only: one that fails on demand, and one that notes what is done.
//!
//! [`FaultyStorage`] stands on real files, so that what a crash leaves behind can be read by
//! anything. It knows how much of each file is synced, and can take away or spoil the rest, as a loss
//! of power does. [`RecordingStorage`] tells afterwards what a loss of power would have left, at every
//! moment.

mod recording;

pub use recording::{Behind, Done, FileId, Left, RecordingStorage, Trace};

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::health::held;
use crate::storage::{RealStorage, SegmentFile, SegmentSource, Storage};

/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Read-only file system.
pub const EROFS: i32 = 30;
/// Input/output error.
pub const EIO: i32 = 5;

/// How long a test is left hanging by code that does not sync.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// [`Storage::create_folder`].
    CreateFolder,
    /// [`Storage::names`].
    Names,
    /// [`Storage::create`].
    Create,
    /// [`Storage::open`].
    Open,
    /// [`Storage::read`].
    Read,
    /// [`Storage::rename`], by the new name.
    Rename,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::sync_folder`].
    SyncFolder,
    /// [`SegmentFile::write_all`].
    Write,
    /// [`SegmentFile::sync`].
    Sync,
    /// [`SegmentFile::set_len`].
    SetLen,
}

/// What fails, when, how often and how.
#[derive(Clone, Debug)]
pub struct Fault {
    op: Op,
    ending: String,
    after: u64,
    times: u64,
    errno: i32,
    keep: usize,
}

impl Fault {
    /// The next operation of that sort on a file whose path has that ending fails, and so do all
    /// after it, until [`FaultyStorage::heal`].
    #[must_use]
    pub fn on(op: Op, ending: &str, errno: i32) -> Self {
        Self {
            op,
            ending: ending.to_owned(),
            after: 0,
            times: u64::MAX,
            errno,
            keep: 0,
        }
    }

    /// So many operations work before.
    #[must_use]
    pub fn after(self, operations: u64) -> Self {
        Self {
            after: operations,
            ..self
        }
    }

    /// So many operations fail, and those behind them work.
    #[must_use]
    pub fn times(self, operations: u64) -> Self {
        Self {
            times: operations,
            ..self
        }
    }

    /// A write that fails leaves so many of its bytes in the file.
    #[must_use]
    pub fn keeping(self, bytes: usize) -> Self {
        Self {
            keep: bytes,
            ..self
        }
    }
}

/// What a loss of power makes of the bytes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// They are gone.
    Lost,
    /// The file is as long as it was, and they are zero.
    Zeros,
    /// The file is as long as it was, and they are something else, which the seed decides.
    Garbage(u64),
    /// Only the first of them are there.
    Short(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    bytes: u64,
    synced: u64,
}

#[derive(Debug, Default)]
struct Inner {
    faults: Vec<Fault>,
    extents: BTreeMap<PathBuf, Extent>,
    counts: BTreeMap<Op, u64>,
    holds_syncs: bool,
    held_syncs: u64,
}

/// The file system, with faults.
#[derive(Clone, Debug, Default)]
pub struct FaultyStorage {
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

impl FaultyStorage {
    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.held().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.held().faults.clear();
    }

    /// How many operations of a sort were asked for, with those that failed.
    #[must_use]
    pub fn count(&self, op: Op) -> u64 {
        self.held().counts.get(&op).copied().unwrap_or(0)
    }

    /// How many bytes of each file were written through this storage and are not synced.
    #[must_use]
    pub fn unsynced(&self) -> Vec<(PathBuf, u64)> {
        let inner = self.held();
        let open = inner
            .extents
            .iter()
            .filter(|(_, extent)| extent.bytes > extent.synced);
        open.map(|(path, extent)| (path.clone(), extent.bytes - extent.synced))
            .collect()
    }

    /// From here on a sync on a `.ndjson` file does not return before [`Self::release_syncs`].
    pub fn hold_syncs(&self) {
        self.held().holds_syncs = true;
    }

    /// Blocks until a sync is held, for ten seconds at most; false where none was.
    #[must_use]
    pub fn wait_for_held_sync(&self) -> bool {
        let none_held = |inner: &mut Inner| inner.held_syncs == 0;
        let waited = self
            .inner
            .1
            .wait_timeout_while(self.held(), PATIENCE, none_held);
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.held_syncs > 0
    }

    /// Lets held syncs go on, and holds no more.
    pub fn release_syncs(&self) {
        self.held().holds_syncs = false;
        self.inner.1.notify_all();
    }

    /// Does to the files what a loss of power does. Nothing may have them open for writing.
    ///
    /// # Errors
    /// Where a file cannot be changed.
    pub fn lose_power(&self, spoil: Spoil) -> io::Result<()> {
        let mut inner = self.held();
        for (path, extent) in &mut inner.extents {
            let lost = extent.bytes - extent.synced;
            if lost == 0 {
                continue;
            }
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            match spoil {
                Spoil::Lost => file.set_len(extent.synced)?,
                Spoil::Short(kept) => file.set_len(extent.synced + kept.min(lost))?,
                Spoil::Zeros => {
                    file.set_len(extent.synced)?;
                    file.set_len(extent.bytes)?;
                }
                Spoil::Garbage(seed) => {
                    use std::os::unix::fs::FileExt;
                    file.write_all_at(&garbage(seed, lost), extent.synced)?;
                }
            }
            *extent = Extent {
                bytes: file.metadata()?.len(),
                synced: file.metadata()?.len(),
            };
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Inner> {
        held(&self.inner.0)
    }

    /// Counts an operation; the fault that meets it, where there is one.
    fn meet(&self, op: Op, path: &Path) -> Option<Fault> {
        let mut inner = self.held();
        *inner.counts.entry(op).or_default() += 1;
        let name = path.to_string_lossy();
        for fault in &mut inner.faults {
            if fault.op != op || !name.ends_with(&fault.ending) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(fault.clone());
            }
        }
        None
    }

    fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        match self.meet(op, path) {
            Some(fault) => Err(io::Error::from_raw_os_error(fault.errno)),
            None => Ok(()),
        }
    }

    fn file(&self, path: &Path, file: Box<dyn SegmentFile>) -> io::Result<Box<dyn SegmentFile>> {
        let bytes = file.size()?;
        self.held()
            .extents
            .entry(path.to_owned())
            .or_insert(Extent {
                bytes,
                synced: bytes,
            });
        Ok(Box::new(FaultyFile {
            storage: self.clone(),
            path: path.to_owned(),
            file,
        }))
    }

    fn extent(&self, path: &Path, change: impl FnOnce(&mut Extent)) {
        change(self.held().extents.entry(path.to_owned()).or_default());
    }
}

/// Bytes that look like nothing, by xorshift.
fn garbage(seed: u64, bytes: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A source of chance, by splitmix64.
struct Dice(u64);

impl Dice {
    const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }
}

struct FaultyFile {
    storage: FaultyStorage,
    path: PathBuf,
    file: Box<dyn SegmentFile>,
}

impl SegmentFile for FaultyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fault = self.storage.meet(Op::Write, &self.path);
        let kept = fault
            .as_ref()
            .map_or(bytes.len(), |fault| fault.keep.min(bytes.len()));
        self.file.write_all(&bytes[..kept])?;
        self.storage
            .extent(&self.path, |extent| extent.bytes += kept as u64);
        match fault {
            Some(fault) => Err(io::Error::from_raw_os_error(fault.errno)),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self
            .path
            .extension()
            .is_some_and(|ending| ending == "ndjson")
        {
            let (_, changed) = &*self.storage.inner;
            let mut inner = self.storage.held();
            inner.held_syncs += 1;
            changed.notify_all();
            while inner.holds_syncs {
                inner = changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            inner.held_syncs -= 1;
        }
        self.storage.check(Op::Sync, &self.path)?;
        self.file.sync()?;
        self.storage
            .extent(&self.path, |extent| extent.synced = extent.bytes);
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.storage.check(Op::SetLen, &self.path)?;
        self.file.set_len(bytes)?;
        self.storage.extent(&self.path, |extent| {
            *extent = Extent {
                bytes,
                synced: extent.synced.min(bytes),
            };
        });
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

impl Storage for FaultyStorage {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.check(Op::CreateFolder, folder)?;
        RealStorage.create_folder(folder)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.check(Op::Names, folder)?;
        RealStorage.names(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.check(Op::Create, path)?;
        self.held().extents.remove(path);
        self.file(path, RealStorage.create(path)?)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.check(Op::Open, path)?;
        self.file(path, RealStorage.open(path)?)
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn SegmentSource>> {
        self.check(Op::Read, path)?;
        RealStorage.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Op::Rename, to)?;
        RealStorage.rename(from, to)?;
        let mut inner = self.held();
        let extent = inner.extents.remove(from).unwrap_or_default();
        inner.extents.insert(to.to_owned(), extent);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Op::Remove, path)?;
        RealStorage.remove(path)?;
        self.held().extents.remove(path);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.check(Op::SyncFolder, folder)?;
        RealStorage.sync_folder(folder)
    }
}
