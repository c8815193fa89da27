//! Puts adapters behind the actors: what every command that runs the tree shares. What only the
//! running service has is in [`crate::live`]; no other place names adapters and actors together.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use compact_str::CompactString;
use twzrd_actors::epoch_sealer::{EpochSealerMsg, SealWhen};
use twzrd_actors::journal::JournalMsg;
use twzrd_actors::service::Service;
use twzrd_actors::step::Probe;
use twzrd_actors::tree::{self, Ingest, Parts, Refs};
use twzrd_actors::tree_builder::TreeBuilderMsg;
use twzrd_domain::batch::Position;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::memory::MemoryParts;
use twzrd_domain::ports::{
    BatchStore, Chunk, JournalError, JournalFolder, JournalWriter, SealStore, StoreError,
};
use twzrd_domain::record::{Append, Record, Seq};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::{Config, Folder};
use twzrd_store::{OpenError, Store};
use twzrd_supervision::{ExitReason, Options, StartError, Tree};

use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;

/// How long an answer is waited for before the question is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// How long a child that is away is waited for before it is looked at again.
const AWAY: Duration = Duration::from_millis(100);
/// How long the journal's memory is waited for before it is asked again.
const MEMORY_WITHIN: Duration = Duration::from_secs(60);
/// How long to go on offering what the journal refuses for now, before giving up.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The wait before a store that is away is tried again.
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(3);

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

/// Makes a folder where it is not there, for its owner only.
fn make_private(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|error| {
        fail(
            Code::CannotCreate,
            format_args!("the data folder {} cannot be made: {error}", path.display()),
        )
    })
}

/// A data folder that is open: the journal is locked, and the store is migrated.
pub struct Opened {
    journal: OpenedFolder,
    /// The journal's folder.
    pub folder: Arc<Folder>,
    /// The store.
    pub store: Store,
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
            folder,
            store,
        };
        opened.agree().await?;
        Ok(opened)
    }

    /// Refuses a journal and a store that do not belong together, or a journal that ends before
    /// what the store has applied of it: an older copy, or one that was cut.
    async fn agree(&self) -> Result<(), Failure> {
        let projection = self.store.projection().await?;
        let (Some(found), Some(expected)) = (projection.journal, self.folder.id()) else {
            return Ok(());
        };
        if found != expected {
            return Err(StoreError::OtherJournal { expected, found }.into());
        }
        let (applied, durable) = (projection.position.seq, self.folder.durable());
        if applied <= durable {
            return Ok(());
        }
        Err(fail(
            Code::Unavailable,
            format_args!(
                "the database has applied record {applied}, but the journal ends with record {durable}; expected the journal that the database follows, whole: restore it, or rebuild the database from this journal in another folder with `twzrd replay`"
            ),
        ))
    }

    /// As [`Opened::open`], but waits for a store that is away.
    ///
    /// # Errors
    /// As [`Opened::open`], but for a store that may come back.
    pub async fn open_patiently(data: &DataFolder, settings: &Settings) -> Result<Self, Failure> {
        let (folder, journal) = open_journal(data, settings, true).await?;
        loop {
            let error = match data.try_open_store(settings).await {
                Ok(store) => {
                    let opened = Self {
                        journal,
                        folder,
                        store,
                    };
                    opened.agree().await?;
                    return Ok(opened);
                }
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error).or_fail(Code::Unavailable),
            };
            let wait_ms = STORE_AGAIN_AFTER.as_millis();
            tracing::warn!(%error, wait_ms, "the database is away; nothing is taken in before it is there");
            tokio::time::sleep(STORE_AGAIN_AFTER).await;
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

/// The running tree, the children, and what they run on.
pub struct Running {
    /// The tree.
    pub tree: Arc<Tree>,
    /// Its children.
    pub refs: Refs,
    /// The store.
    pub store: Store,
    /// The journal's folder.
    pub folder: Arc<Folder>,
}

/// How the tree is started.
pub struct How {
    /// When epochs are sealed.
    pub seal_when: SealWhen,
    /// Whether a stop waits until the store holds what the journal holds.
    pub catch_up_on_stop: bool,
    /// How long records are gathered for the next batch once the store holds all of them.
    pub batch_linger: Duration,
    /// The ingest branch; none for a replay.
    pub ingest: Option<Ingest>,
    /// What runs beside, by the name of its child.
    pub operations: Vec<(&'static str, Arc<dyn Service>)>,
    /// Is told of every step of every actor.
    pub probe: Arc<dyn Probe>,
}

impl Running {
    /// Starts the tree on an open data folder.
    ///
    /// # Errors
    /// Where a child cannot start.
    pub async fn start(opened: Opened, settings: &Settings, how: How) -> Result<Self, Failure> {
        let Opened {
            journal,
            folder,
            store,
        } = opened;
        let parts = Parts {
            folder: Arc::new(journal),
            batches: Arc::new(store.clone()),
            seals: Arc::new(store.clone()),
            trees: Arc::new(store.clone()),
            suppression: Arc::new(store.clone()),
            bots: Arc::new(settings.arithmetic.bots.iter().cloned().collect()),
            seal_when: how.seal_when,
            batch_records: settings.batch_records,
            batch_linger: how.batch_linger,
            catch_up_on_stop: how.catch_up_on_stop,
            ingest: how.ingest,
            operations: how.operations,
            probe: how.probe,
        };
        let (spec, refs) = tree::build(&settings.plan, &parts).or_fail(Code::Config)?;
        let tree = twzrd_supervision::start(spec, Options::default())
            .await
            .map_err(|error| {
                let code = match &error {
                    StartError::InvalidSpec { .. } => Code::Config,
                    _ => Code::Software,
                };
                Failure {
                    code,
                    error: error.into(),
                }
            })?;
        Ok(Self {
            tree: Arc::new(tree),
            refs,
            store,
            folder,
        })
    }

    /// The progress of sources and the settings in force.
    ///
    /// # Errors
    /// Where the journal cannot say, or the tree gives up.
    pub async fn memory(&self) -> Result<MemoryParts, Failure> {
        let journal = &self.refs.journal;
        let asked = async {
            loop {
                match journal.call(JournalMsg::Memory, MEMORY_WITHIN).await {
                    Ok(answer) => return answer,
                    Err(_) => {
                        let _ = journal.wait_running(MEMORY_WITHIN).await;
                    }
                }
            }
        };
        Ok(self.while_running(asked).await??)
    }

    /// Puts the settings that change arithmetic into the journal, where they are not in force.
    ///
    /// # Errors
    /// Where the length of an epoch would change while one is open.
    pub async fn put_settings(
        &self,
        wanted: &Arithmetic,
        memory: &MemoryParts,
        at: UnixMs,
    ) -> Result<(), Failure> {
        if memory.settings.as_ref() == Some(wanted) {
            return Ok(());
        }
        let longer_or_shorter = |old: &&Arithmetic| old.epoch_seconds != wanted.epoch_seconds;
        if let Some(old) = memory.settings.as_ref().filter(longer_or_shorter) {
            self.finish(false).await?;
            if let Some(open) = self.store.open_epochs().await?.first() {
                return Err(fail(
                    Code::Config,
                    format_args!(
                        "epoch {open} of this data folder is open under epochs of {} s, and epoch.seconds is {}; expected the same length until it is sealed, or another data folder",
                        old.epoch_seconds.seconds(),
                        wanted.epoch_seconds.seconds()
                    ),
                ));
            }
        }
        let append = Append::Records {
            progress: None,
            records: vec![(at, Record::Settings(wanted.clone()))],
        };
        self.refs.gate(Some(PATIENCE)).append(append).await?;
        Ok(())
    }

    /// Does something while the tree runs; fails where the tree gives up first.
    ///
    /// # Errors
    /// Why the tree gave up.
    pub async fn while_running<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            reason = self.tree.exited() => Err(gave_up(&reason)),
        }
    }

    /// Waits until all that the journal holds is in the store, sealed epochs are frozen, and their
    /// trees are built.
    ///
    /// # Errors
    /// Where the tree gives up first.
    pub async fn finish(&self, seal_open: bool) -> Result<(), Failure> {
        let sealer = &self.refs.sealer;
        let ask = |reply| EpochSealerMsg::Finish { seal_open, reply };
        self.while_running(async {
            while sealer.call(ask, ANSWER_WITHIN).await.is_err() {
                let _ = sealer.wait_running(AWAY).await;
            }
        })
        .await?;
        let trees = &self.refs.trees;
        self.while_running(async {
            while trees
                .call(TreeBuilderMsg::BuildAll, ANSWER_WITHIN)
                .await
                .is_err()
            {
                let _ = trees.wait_running(AWAY).await;
            }
        })
        .await
    }

    /// Stops everything in reverse order of its start, and says who was late.
    pub async fn stop(&self) {
        for late in self.tree.stop().await.late {
            tracing::warn!(child = %late.path, outcome = ?late.outcome, "stopped late");
        }
    }
}

/// A journal that is opened before the tree starts: what is wrong with its folder is told at once
/// and by its own error, and not as a child that could not start. The first start of the journal
/// actor takes the writer over; every later one opens the folder again.
struct OpenedFolder {
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

/// The tree has ended by itself.
pub(crate) fn gave_up(reason: &ExitReason) -> Failure {
    fail(
        Code::Software,
        format_args!("the supervision tree ended: {reason}"),
    )
}

/// The error of the gate, with its code.
impl From<twzrd_actors::intake::GateError> for Failure {
    fn from(error: twzrd_actors::intake::GateError) -> Self {
        use twzrd_actors::intake::GateError;
        match error {
            GateError::Journal(error) => JournalError::into(error),
            GateError::Away(error) => Self {
                code: Code::Software,
                error: error.into(),
            },
        }
    }
}
