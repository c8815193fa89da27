//! An open data folder: the journal, locked, and the store that follows it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use compact_str::CompactString;
use twzrd_domain::batch::Position;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::{
    BatchStore, Chunk, JournalError, JournalFolder, JournalWriter, StoreError,
};
use twzrd_domain::record::{Entry, Record, Seq};
use twzrd_journal::{Config, Folder};
use twzrd_store::{OpenError, Store};

use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;

/// The first wait before a store that is away is tried again; it doubles each time.
const STORE_AGAIN_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const STORE_AGAIN_LONGEST: Duration = Duration::from_secs(3);

/// How many records are looked at in one go for a seal.
const LOOK_RECORDS: usize = 10_000;

/// The data folder: what is in it, and where.
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Makes the folder where it is not there, for its owner only.
    ///
    /// # Errors
    /// Where it cannot be made, or is no folder.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        make_private(path)?;
        Self::existing(path)
    }

    /// A folder that must be there.
    ///
    /// # Errors
    /// Where there is none.
    pub fn existing(path: &Path) -> Result<Self, Failure> {
        if !path.is_dir() {
            return Err(fail(
                Code::NoInput,
                format_args!("{} is no folder; expected a data folder", path.display()),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where the journal is.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the database is, unless it is Postgres.
    #[must_use]
    pub fn sqlite(&self) -> PathBuf {
        self.path.join("twzrd.sqlite")
    }

    /// Opens the store and migrates it.
    ///
    /// # Errors
    /// Where the store is away, or its schema is newer than this program.
    pub async fn open_store(&self, settings: &Settings) -> Result<Store, Failure> {
        self.try_open_store(settings)
            .await
            .or_fail(Code::Unavailable)
    }

    async fn try_open_store(&self, settings: &Settings) -> Result<Store, OpenError> {
        let groups = settings.groups.clone();
        match &settings.database_url {
            Some(url) => Store::postgres(url.reveal(), groups, settings.max_connections).await,
            None => Store::sqlite(&self.sqlite(), groups).await,
        }
    }

    /// Opens a store that must be there already.
    ///
    /// # Errors
    /// Where there is none, or it is away.
    pub async fn open_existing_store(&self, settings: &Settings) -> Result<Store, Failure> {
        if settings.database_url.is_none() && !self.sqlite().is_file() {
            let place = self.path.display();
            return Err(fail(
                Code::NoInput,
                format_args!("{place} holds no twzrd.sqlite; expected a data folder of twzrd"),
            ));
        }
        self.open_store(settings).await
    }
}

/// Makes a folder where it is not there, for its owner only, and sees to it that it is still there
/// after a power cut.
fn make_private(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let new: Vec<&Path> = path.ancestors().take_while(is_new).collect();
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| new.into_iter().try_for_each(sync_name));
    made.map_err(|error| {
        fail(
            Code::CannotCreate,
            format_args!("the data folder {} cannot be made: {error}", path.display()),
        )
    })
}

/// Returns once the name of a folder is on the disk.
fn sync_name(folder: &Path) -> std::io::Result<()> {
    let above = folder
        .parent()
        .filter(|above| !above.as_os_str().is_empty());
    std::fs::File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// A data folder that is open: the journal is locked, and the store is migrated.
pub struct Opened {
    pub(super) journal: OpenedFolder,
    /// The data folder.
    pub data: PathBuf,
    /// The journal's folder.
    pub folder: Arc<Folder>,
    /// The store.
    pub store: Store,
}

/// Why a journal and a store are not used together.
enum Disagreement {
    /// The store is away, and cannot say.
    Away(StoreError),
    /// They do not belong together, or one of them cannot be used.
    Refused(Failure),
}

impl From<Failure> for Disagreement {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Disagreement> for Failure {
    fn from(disagreement: Disagreement) -> Self {
        match disagreement {
            Disagreement::Away(error) => error.into(),
            Disagreement::Refused(failure) => failure,
        }
    }
}

impl Opened {
    /// Opens journal and store. `segments_age` closes segments of the journal by age; a replay has
    /// no clock.
    ///
    /// # Errors
    /// Where another process holds the folder, the journal is damaged, or the store is away.
    pub async fn open(
        data: &DataFolder,
        settings: &Settings,
        segments_age: bool,
    ) -> Result<Self, Failure> {
        // The lock first: whoever comes second must not touch the database.
        let (folder, journal) = open_journal(data, settings, segments_age).await?;
        let store = data.open_store(settings).await?;
        let opened = Self {
            journal,
            data: data.path.clone(),
            folder,
            store,
        };
        opened.agree().await.map_err(Failure::from)?;
        Ok(opened)
    }

    /// Refuses a journal and a store that do not belong together, or a journal that ends before
    /// what the store has applied of it: an older copy, or one that was cut. Gives the last record
    /// that the store has applied.
    async fn agree(&self) -> Result<Seq, Disagreement> {
        let projection = match self.store.projection().await {
            Err(error) if error.is_transient() => return Err(Disagreement::Away(error)),
            asked => asked.map_err(Failure::from)?,
        };
        let (applied, durable) = (projection.position.seq, self.folder.durable());
        let (Some(found), Some(expected)) = (projection.journal, self.folder.id()) else {
            return Ok(applied);
        };
        if found != expected {
            return Err(Failure::from(StoreError::OtherJournal { expected, found }).into());
        }
        if applied <= durable {
            return Ok(applied);
        }
        let failure = fail(
            Code::Unavailable,
            format_args!(
                "the database has applied record {applied}, but the journal ends with record {durable}; expected the journal that the database follows, whole: restore it, or give this one an empty database, which is built anew from it, but for what was published"
            ),
        );
        Err(failure.into())
    }

    /// Refuses to publish by itself what an empty store is about to build anew: what of it was
    /// published before stood in the store that is gone, so it would be signed and paid for again.
    async fn refuse_to_publish_again(
        &self,
        applied: Seq,
        settings: &Settings,
    ) -> Result<(), Failure> {
        if !settings.publisher.auto_publish || applied > 0 || !self.holds_seal().await? {
            return Ok(());
        }
        Err(fail(
            Code::Config,
            "publisher.auto_publish: the database is empty, and the journal holds sealed epochs: their roots would be built anew and published again, since what was published stands in the database alone; expected a copy of the old database, or false for this start: then look with `twzrd settlement list` and `twzrd publish --dry-run` before it is true again",
        ))
    }

    /// Whether an epoch was sealed. Reads up to the first seal.
    async fn holds_seal(&self) -> Result<bool, JournalError> {
        let (mut from, durable) = (Position::default(), self.folder.durable());
        while from.seq < durable {
            let chunk = self.folder.read(from, LOOK_RECORDS).await?;
            let is_seal = |entry: &Entry| matches!(entry.record, Record::Seal(_));
            if chunk.entries.iter().any(is_seal) {
                return Ok(true);
            }
            let Some(last) = chunk.positions.last() else {
                break;
            };
            from = *last;
        }
        Ok(false)
    }

    /// As [`Opened::open`], but waits for a store that is away, and refuses to publish by itself
    /// what an empty store is about to build anew.
    ///
    /// # Errors
    /// As [`Opened::open`], but for a store that may come back; and where roots would be published
    /// again.
    pub async fn open_patiently(data: &DataFolder, settings: &Settings) -> Result<Self, Failure> {
        let (folder, mut journal) = open_journal(data, settings, true).await?;
        let mut wait = STORE_AGAIN_FIRST;
        loop {
            let error = match data.try_open_store(settings).await {
                Ok(store) => {
                    let opened = Self {
                        journal,
                        data: data.path.clone(),
                        folder: Arc::clone(&folder),
                        store,
                    };
                    match opened.agree().await {
                        Ok(applied) => {
                            opened.refuse_to_publish_again(applied, settings).await?;
                            return Ok(opened);
                        }
                        Err(Disagreement::Away(error)) => {
                            journal = opened.journal;
                            error.to_string()
                        }
                        Err(Disagreement::Refused(failure)) => return Err(failure),
                    }
                }
                Err(error) if error.is_transient() => error.to_string(),
                Err(error) => return Err(error).or_fail(Code::Unavailable),
            };
            let wait_ms = wait.as_millis();
            tracing::warn!(%error, wait_ms, "the database is away; nothing is taken in before it is there");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_AGAIN_LONGEST);
        }
    }

    /// When the journal's last record was accepted; none where it has none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn last_record(&self) -> Result<Option<UnixMs>, Failure> {
        let durable = self.folder.durable();
        let Some(before) = durable.checked_sub(1) else {
            return Ok(None);
        };
        let position = Position {
            seq: before,
            ..Position::default()
        };
        let chunk = self.folder.read(position, 1).await?;
        Ok(chunk.entries.first().map(|entry| entry.at))
    }
}

async fn open_journal(
    data: &DataFolder,
    settings: &Settings,
    segments_age: bool,
) -> Result<(Arc<Folder>, OpenedFolder), Failure> {
    let mut config = Config::new(data.journal(), Arc::new(SystemClock));
    config.segment_bytes = settings.journal.segment_bytes;
    config.segment_age_ms = match segments_age {
        true => settings.journal.segment_age_seconds.saturating_mul(1000),
        false => u64::MAX,
    };
    let folder = Arc::new(Folder::new(config));
    make_private(&data.journal())?;
    let journal = OpenedFolder::open(Arc::clone(&folder)).await?;
    Ok((folder, journal))
}

/// A journal that is opened before the tree starts: what is wrong with its folder is told at once
/// and by its own error, and not as a child that could not start. The first start of the journal
/// actor takes the writer over; every later one opens the folder again.
pub(super) struct OpenedFolder {
    folder: Arc<Folder>,
    first: Mutex<Option<Box<dyn JournalWriter>>>,
}

impl OpenedFolder {
    async fn open(folder: Arc<Folder>) -> Result<Self, JournalError> {
        let first = Mutex::new(Some(folder.open().await?));
        Ok(Self { folder, first })
    }
}

#[async_trait]
impl JournalFolder for OpenedFolder {
    async fn open(&self) -> Result<Box<dyn JournalWriter>, JournalError> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match first {
            Some(writer) => Ok(writer),
            None => self.folder.open().await,
        }
    }

    fn id(&self) -> Option<CompactString> {
        self.folder.id()
    }

    fn durable(&self) -> Seq {
        self.folder.durable()
    }

    async fn wait_durable(&self, seq: Seq) {
        self.folder.wait_durable(seq).await;
    }

    async fn read(&self, from: Position, limit: usize) -> Result<Chunk, JournalError> {
        self.folder.read(from, limit).await
    }
}
