//! Sees that files may have changed: through the system, or not at all, and then it says so.
//!
//! Folders are watched and not files: after an atomic rename a watch on a file sees nothing more.
//! Where a path leads through symbolic links, each of them is watched in its own folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::lock;
use crate::settings::lists::MAX_FILE_BYTES;

/// The most symbolic links on the way to a file.
const MAX_LINKS: usize = 40;

/// What each file holds, by a hash; none where it cannot be read.
pub(super) type Contents = BTreeMap<PathBuf, Option<blake3::Hash>>;

/// Device, inode, length, and the times of the last change of each file.
pub(super) type Stamps = BTreeMap<PathBuf, Option<[i64; 7]>>;

/// Watches files through the system.
pub(super) struct Eyes {
    watcher: Option<RecommendedWatcher>,
    /// Each folder, and which one it was: another one may have taken its name.
    watched: BTreeMap<PathBuf, Identity>,
    shared: Arc<Shared>,
}

/// Device and inode.
type Identity = (u64, u64);

/// What the watcher's thread shares.
#[derive(Default)]
pub(super) struct Shared {
    /// Something that matters may have changed.
    pub(super) changed: Notify,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// Files and links.
    names: BTreeSet<PathBuf>,
    /// Their folders.
    folders: BTreeSet<PathBuf>,
    /// Folders that went or came: a watch on one may be a watch on what it was.
    lost: BTreeSet<PathBuf>,
}

impl Eyes {
    pub(super) fn new() -> Self {
        Self {
            watcher: None,
            watched: BTreeMap::new(),
            shared: Arc::default(),
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Watches these files, and no others.
    ///
    /// # Errors
    /// Why not every change will be seen. What can be watched is.
    pub(super) fn look_at(&mut self, files: &BTreeSet<PathBuf>) -> notify::Result<()> {
        let mut names = BTreeSet::new();
        for file in files {
            places_of(file, &mut names);
        }
        let parents = names.iter().filter_map(|name| name.parent());
        let folders: BTreeSet<PathBuf> = parents.map(Path::to_owned).collect();
        let lost = {
            let mut places = lock(&self.shared.places);
            places.names = names;
            places.folders.clone_from(&folders);
            std::mem::take(&mut places.lost)
        };
        self.watch(&folders, &lost)
    }

    fn watch(
        &mut self,
        folders: &BTreeSet<PathBuf>,
        lost: &BTreeSet<PathBuf>,
    ) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => {
                let shared = Arc::clone(&self.shared);
                none.insert(notify::recommended_watcher(move |event| shared.see(event))?)
            }
        };
        let stale = |(folder, identity): &(&PathBuf, &Identity)| {
            let is_wanted = folders.contains(*folder) && !lost.contains(*folder);
            !is_wanted || identity_of(folder).ok() != Some(**identity)
        };
        let stale: Vec<_> = self.watched.iter().filter(stale).collect();
        let stale: Vec<PathBuf> = stale
            .into_iter()
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in stale {
            // The watch on a folder that has gone went with it.
            let _ = watcher.unwatch(&folder);
            self.watched.remove(&folder);
        }
        let mut outcome = Ok(());
        for folder in folders {
            if self.watched.contains_key(folder) {
                continue;
            }
            // Before the watch: a folder that is put there in between is found to be another one.
            let identity = identity_of(folder).map_err(notify::Error::io);
            let watched = identity.and_then(|identity| {
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
                Ok(identity)
            });
            match watched {
                Ok(identity) => drop(self.watched.insert(folder.clone(), identity)),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}

impl Shared {
    fn see(&self, event: notify::Result<Event>) {
        let matters = match event {
            Err(_) => true,
            Ok(event) if event.need_rescan() => true,
            Ok(event) => self.matters(&event),
        };
        if matters {
            self.changed.notify_one();
        }
    }

    fn matters(&self, event: &Event) -> bool {
        // Reading a file, as this process does, is no change of it.
        if let EventKind::Access(kind) = event.kind
            && kind != AccessKind::Close(AccessMode::Write)
        {
            return false;
        }
        let mut places = lock(&self.places);
        let mut matters = false;
        for path in &event.paths {
            matters |= places.names.contains(path);
            if places.folders.contains(path) {
                places.lost.insert(path.clone());
                matters = true;
            }
        }
        matters
    }
}

fn identity_of(folder: &Path) -> std::io::Result<Identity> {
    fs::metadata(folder).map(|meta| (meta.dev(), meta.ino()))
}

/// Every name on the way to a file of which a change changes the file: the links, and its own.
fn places_of(path: &Path, into: &mut BTreeSet<PathBuf>) {
    let parts = |path: &Path| -> Vec<OsString> {
        let parts = path.components();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut ahead: VecDeque<OsString> = parts(path).into();
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                if let Ok(target) = fs::read_link(&next) {
                    into.insert(next);
                    links += 1;
                    if links > MAX_LINKS {
                        return;
                    }
                    for part in parts(&target).into_iter().rev() {
                        ahead.push_front(part);
                    }
                } else {
                    at = next;
                }
            }
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(at.pop()),
            _ => {}
        }
    }
    into.insert(at);
}

/// Reads what each file holds.
pub(super) fn contents(files: &BTreeSet<PathBuf>) -> Contents {
    let each = files.iter();
    each.map(|file| (file.clone(), hash_of(file).ok()))
        .collect()
}

fn hash_of(file: &Path) -> std::io::Result<blake3::Hash> {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(file)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut hasher = blake3::Hasher::new();
    // One byte more than is taken: a file that is too large differs from one that is not.
    let mut bytes = File::open(file)?.take(MAX_FILE_BYTES + 1);
    std::io::copy(&mut bytes, &mut hasher)?;
    Ok(hasher.finalize())
}

/// Looks at each file without reading it.
pub(super) fn stamps(files: &BTreeSet<PathBuf>) -> Stamps {
    let stamp = |meta: fs::Metadata| {
        let number = |value: u64| i64::from_ne_bytes(value.to_ne_bytes());
        [
            number(meta.dev()),
            number(meta.ino()),
            number(meta.size()),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ]
    };
    let each = files.iter();
    each.map(|file| (file.clone(), fs::metadata(file).ok().map(stamp)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::slice;

    use super::*;

    #[test]
    fn every_link_on_the_way_to_a_file_is_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("v1")).unwrap();
        fs::write(root.join("v1/file"), "").unwrap();
        symlink("v1", root.join("..data")).unwrap();
        symlink("..data/file", root.join("file")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let mut places = BTreeSet::new();
        places_of(&root.join("./v1/../file"), &mut places);
        let expected = ["..data", "file", "v1/file"].map(|name| root.join(name));
        assert_eq!(places.into_iter().collect::<Vec<_>>(), expected);
        // A link that leads to itself comes to an end.
        let mut places = BTreeSet::new();
        places_of(&root.join("loop"), &mut places);
        assert_eq!(places.into_iter().collect::<Vec<_>>(), [root.join("loop")]);
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_told_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let files = BTreeSet::from([root.join("here"), root.join("later/file")]);
        let mut eyes = Eyes::new();
        let watched = |eyes: &Eyes| eyes.watched.keys().cloned().collect::<Vec<_>>();
        assert!(eyes.look_at(&files).is_err());
        assert_eq!(watched(&eyes), slice::from_ref(&root));
        fs::create_dir(root.join("later")).unwrap();
        assert!(eyes.look_at(&files).is_ok());
        assert_eq!(watched(&eyes), [root.clone(), root.join("later")]);
        let fewer = BTreeSet::from([root.join("here")]);
        assert!(eyes.look_at(&fewer).is_ok());
        assert_eq!(watched(&eyes), [root]);
    }
}
