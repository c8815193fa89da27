//! Files in memory, so that an input costs no file system.

use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twzrd_journal::storage::{SegmentFile, SegmentSource, Storage};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A disk on which nothing fails.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<BTreeMap<PathBuf, Bytes>>>);

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    pub(crate) fn put(&self, path: PathBuf, bytes: &[u8]) {
        let bytes = Arc::new(Mutex::new(bytes.to_vec()));
        held(&self.0).insert(path, bytes);
    }

    /// Every file with what is in it.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = held(&self.0);
        let each = files.iter();
        each.map(|(path, bytes)| (path.clone(), held(bytes).clone()))
            .collect()
    }

    fn file(&self, path: &Path) -> io::Result<Bytes> {
        let found = held(&self.0).get(path).cloned();
        found.ok_or_else(|| ErrorKind::NotFound.into())
    }
}

struct Open(Bytes);

impl SegmentFile for Open {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        held(&self.0).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        held(&self.0).resize(bytes, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(held(&self.0).len() as u64)
    }
}

impl Storage for Disk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = held(&self.0);
        let inside = files.keys().filter(|path| path.parent() == Some(folder));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.put(path.to_owned(), b"");
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(Open(self.file(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn SegmentSource>> {
        Ok(Box::new(Growing {
            file: self.file(path)?,
            at: 0,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = held(&self.0);
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = held(&self.0).remove(path);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is read while it may grow.
struct Growing {
    file: Bytes,
    at: u64,
}

impl io::Read for Growing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = held(&self.file);
        let mut cursor = Cursor::new(bytes.as_slice());
        cursor.set_position(self.at);
        let read = cursor.read(into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl io::Seek for Growing {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let bytes = held(&self.file);
        let mut cursor = Cursor::new(bytes.as_slice());
        cursor.set_position(self.at);
        self.at = cursor.seek(to)?;
        Ok(self.at)
    }
}
