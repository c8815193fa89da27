//! Puts another content into a file, so that whoever reads it sees the old one or the new one whole.

use std::fs::{self, File};
use std::io::{Error, Result, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

/// Replaces `expected` by `new`. The file keeps its owner and permissions; a symbolic link stays
/// one, and what it points to is replaced.
pub(super) fn replace(path: &Path, expected: &str, new: &str) -> Result<()> {
    let path = fs::canonicalize(path)?;
    let meta = fs::metadata(&path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut temp = tempfile::Builder::new()
        .prefix(".twzrd-")
        .suffix(".new")
        .tempfile_in(folder)?;
    temp.write_all(new.as_bytes())?;
    let made = temp.as_file().metadata()?;
    if (made.uid(), made.gid()) != (meta.uid(), meta.gid()) {
        chown(temp.path(), Some(meta.uid()), Some(meta.gid()))?;
    }
    // After the owner: a change of the owner may take permissions away.
    temp.as_file().set_permissions(meta.permissions())?;
    temp.as_file().sync_all()?;
    if fs::read(&path)? != expected.as_bytes() {
        return Err(Error::other("somebody else has changed it meanwhile"));
    }
    temp.persist(&path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
