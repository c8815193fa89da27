//! The files under a journal, behind a trait, so that tests can take them away.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Bytes that can be read from any place.
pub trait SegmentSource: Read + Seek + Send {}

impl<T: Read + Seek + Send> SegmentSource for T {}

/// A file that is written at its end only.
pub trait SegmentFile: Send {
    /// Writes all bytes behind what is there.
    ///
    /// # Errors
    /// Where not all of them could be written. Some may be.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all that was written, and the length, is on the disk.
    ///
    /// # Errors
    /// Where that is not certain. A later sync that works does not make it so.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// Where that was not possible.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;

    /// How many bytes the file has.
    ///
    /// # Errors
    /// Where it cannot be told.
    fn size(&self) -> io::Result<u64>;
}

/// What a journal does with files.
///
/// Paths are whole. Every method answers with the error of the operating system where it fails.
#[allow(clippy::missing_errors_doc)] // Said once, above.
pub trait Storage: Send + Sync {
    /// Makes a folder with all that is above it, where it is not there.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// The names of the files in a folder, in any order.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes an empty file. One that is there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens a file that is there, to write at its end.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens a file to read it.
    fn read(&self, path: &Path) -> io::Result<Box<dyn SegmentSource>>;

    /// Gives a file another name; one that has the name already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns once the names in a folder are on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealStorage;

impl SegmentFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|found| found.len())
    }
}

impl Storage for RealStorage {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        // Append mode cannot be combined with truncation on opening.
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        File::set_len(&file, 0)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn SegmentSource>> {
        Ok(Box::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}
