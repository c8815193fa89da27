//! The names of the files in a folder, small files that are there whole or not at all, and errors.

use std::io;
use std::path::{Path, PathBuf};

use compact_str::CompactString;
use twzrd_domain::ports::JournalError;
use twzrd_domain::record::Seq;

use crate::storage::Storage;

/// What is written under this ending is not finished.
pub(crate) const UNFINISHED: &str = ".tmp";

/// The ending of a segment that is not compressed.
const PLAIN: &str = "ndjson";

/// The file that holds the journal's name for itself.
pub(crate) const ID: &str = "ID";

pub(crate) fn plain_name(first: Seq) -> String {
    format!("{first:020}.{PLAIN}")
}

pub(crate) fn compressed_name(first: Seq) -> String {
    format!("{first:020}.ndjson.zst")
}

pub(crate) fn memory_name(first: Seq) -> String {
    format!("{first:020}.memory")
}

/// The files of a folder by what they are. Names that are none of these are left alone.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) plain: Vec<Seq>,
    pub(crate) compressed: Vec<Seq>,
    pub(crate) memories: Vec<Seq>,
    pub(crate) unfinished: Vec<String>,
    pub(crate) has_id: bool,
}

impl Inventory {
    pub(crate) fn of(storage: &dyn Storage, folder: &Path) -> Result<Self, JournalError> {
        let names = storage
            .names(folder)
            .map_err(|error| unavailable("list", folder, &error))?;
        let mut found = Self::default();
        for name in names {
            found.sort_in(name);
        }
        found.plain.sort_unstable();
        found.compressed.sort_unstable();
        found.memories.sort_unstable();
        Ok(found)
    }

    fn sort_in(&mut self, name: String) {
        if name == ID {
            self.has_id = true;
        } else if let Some(whole) = name.strip_suffix(UNFINISHED) {
            if whole == ID || first_of(whole).is_some() {
                self.unfinished.push(name);
            }
        } else if let Some((first, ending)) = first_of(&name) {
            match ending {
                PLAIN => self.plain.push(first),
                "ndjson.zst" => self.compressed.push(first),
                "memory" => self.memories.push(first),
                _ => {}
            }
        }
    }

    /// The segments, plain or compressed, ascending.
    pub(crate) fn segments(&self) -> Vec<Seq> {
        let mut all: Vec<Seq> = self.plain.iter().chain(&self.compressed).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The first sequence number that a file is named after, and the ending of its name.
pub(crate) fn first_of(name: &str) -> Option<(Seq, &str)> {
    let (digits, ending) = name.split_once('.')?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let first = digits
        .parse()
        .ok()
        .filter(|&first: &Seq| is_number && first > 0)?;
    Some((first, ending))
}

/// True where this is the name of a segment that is not compressed, such as
/// `00000000000000000001.ndjson`. The one that is being written may have no record yet.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    first_of(name).is_some_and(|(_, ending)| ending == PLAIN)
}

/// Writes a small file so that it is there with all its content, or as it was before.
pub(crate) fn write_whole(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    let mut file = storage.create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync()?;
    storage.rename(&unfinished, path)?;
    storage.sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// The name under which a file is written before it gets its own.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Reads the whole of a small file of at most `limit` bytes; more is cut off.
pub(crate) fn read_whole(storage: &dyn Storage, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    storage.read(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the journal's name for itself, and makes one where the folder is new.
pub(crate) fn read_or_make_id(
    storage: &dyn Storage,
    folder: &Path,
    inventory: &Inventory,
    new_id: Option<[u8; 16]>,
) -> Result<CompactString, JournalError> {
    let path = folder.join(ID);
    if inventory.has_id {
        let bytes =
            read_whole(storage, &path, 64).map_err(|error| unavailable("read", &path, &error))?;
        let text = String::from_utf8_lossy(&bytes);
        let digits = text.trim_end_matches('\n');
        if digits.len() == 32
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Ok(digits.into());
        }
        let reason = format!("found {digits:?}; expected 32 hexadecimal digits in lower case");
        return Err(damaged(&path, 0, reason));
    }
    if !inventory.segments().is_empty() {
        // A new name would let a store that follows this journal take it for another one.
        let reason = "missing, though there are segments; expected 32 hexadecimal digits";
        return Err(damaged(&path, 0, reason.to_owned()));
    }
    let bytes = match new_id {
        Some(bytes) => bytes,
        None => random_id(&path)?,
    };
    let digits = hex::encode(bytes);
    write_whole(storage, &path, format!("{digits}\n").as_bytes())
        .map_err(|error| unavailable("write", &path, &error))?;
    Ok(digits.into())
}

fn random_id(path: &Path) -> Result<[u8; 16], JournalError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| JournalError::Unavailable {
        doing: "make a random id",
        reason: format!("{}: {error}", path.display()),
    })?;
    Ok(bytes)
}

/// What may work later.
pub(crate) fn unavailable(doing: &'static str, path: &Path, error: &io::Error) -> JournalError {
    JournalError::Unavailable {
        doing,
        reason: format!("{}: {error}", path.display()),
    }
}

/// What will not.
pub(crate) fn damaged(path: &Path, byte: u64, reason: String) -> JournalError {
    JournalError::Damaged {
        file: path.display().to_string(),
        byte,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_format_are_taken_for_files_of_the_journal() {
        let mut found = Inventory::default();
        for name in [
            "00000000000000000001.ndjson",
            "00000000000000000009.ndjson.zst",
            "00000000000000000009.memory",
            "00000000000000000009.ndjson.zst.tmp",
            "ID.tmp",
            "of somebody else.tmp",
            "00000000000000000000.ndjson",
            "0000000000000000001.ndjson",
            "+0000000000000000001.ndjson",
            "00000000000000000001.ndjson.bak",
            "99999999999999999999.ndjson",
            "LOCK",
            "ID",
        ] {
            found.sort_in(name.to_owned());
        }
        assert_eq!(found.plain, [1]);
        assert_eq!(found.compressed, [9]);
        assert_eq!(found.memories, [9]);
        assert_eq!(
            found.unfinished,
            ["00000000000000000009.ndjson.zst.tmp", "ID.tmp"]
        );
        assert!(found.has_id);
        assert_eq!(found.segments(), [1, 9]);
        assert!(is_plain_name("00000000000000000001.ndjson"));
        assert!(!is_plain_name("00000000000000000001.ndjson.zst"));
        assert!(!is_plain_name("1.ndjson"));
    }
}
