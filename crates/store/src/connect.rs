//! Opening a store: its address, its connections, and its schema.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions, Connection};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    SqliteTransactionMode, SqlxError, TransactionOptions, TransactionTrait,
};
use twzrd_domain::batch::Groups;
use twzrd_domain::ports::StoreError;

use crate::bounded::{Bounded, silence};
use crate::error::{Doing, OpenError, while_migrating};

/// How many connections read from SQLite at the same time. One writes.
const SQLITE_READERS: u32 = 4;

/// How often a SQLite file that cannot be opened is tried again, and after which wait.
const OPEN_TRIES: u32 = 20;
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// Held while the schema is migrated; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x7477_7a72_645f_6462;

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// The URL of a Postgres database, which may hold a password.
    Postgres(String),
}

impl StoreUrl {
    /// Reads `sqlite:PATH`, `sqlite://PATH`, `postgres://…` or `postgresql://…`.
    ///
    /// # Errors
    /// Where it is none of these. The error does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(OpenError::Address("names no file"));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(OpenError::Address("is of an unknown kind"))
    }
}

impl fmt::Debug for StoreUrl {
    /// Leaves out what may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

/// How long a store waits before it calls an operation off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection. On Postgres also for the network, to bring an answer.
    pub connection: Duration,
    /// For a lock that somebody else holds.
    pub lock: Duration,
    /// For a statement. On Postgres only.
    pub statement: Duration,
}

impl Timeouts {
    /// After which no answer of a server is waited for any more. It has called the statement off
    /// by then, and said so.
    const fn answer(self) -> Duration {
        self.statement.saturating_add(self.connection)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(30),
            lock: Duration::from_secs(5),
            statement: Duration::from_secs(300),
        }
    }
}

/// A store. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Bounded<DatabaseConnection>,
    reader: Bounded<DatabaseConnection>,
    groups: RwLock<Arc<Groups>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.backend())
    }
}

impl Store {
    /// Opens the store at an address. `max_connections` is for Postgres.
    ///
    /// # Errors
    /// As [`Store::sqlite`] and [`Store::postgres`].
    pub async fn connect(
        url: &StoreUrl,
        groups: Groups,
        max_connections: u32,
        timeouts: Timeouts,
    ) -> Result<Self, OpenError> {
        match url {
            StoreUrl::Sqlite(path) => Self::sqlite_with(path, groups, timeouts).await,
            StoreUrl::Postgres(url) => {
                Self::postgres_with(url, groups, max_connections, timeouts).await
            }
        }
    }

    /// Opens the SQLite database in a file, and brings its schema up to date. A file that is not
    /// there is made, for its owner alone, and so is its folder.
    ///
    /// # Errors
    /// Where the file cannot be made or is not a database, and where its schema is newer than
    /// this program.
    pub async fn sqlite(path: impl AsRef<Path>, groups: Groups) -> Result<Self, OpenError> {
        Self::sqlite_with(path, groups, Timeouts::default()).await
    }

    /// As [`Store::sqlite`], with these timeouts.
    ///
    /// # Errors
    /// As [`Store::sqlite`].
    pub async fn sqlite_with(
        path: impl AsRef<Path>,
        groups: Groups,
        timeouts: Timeouts,
    ) -> Result<Self, OpenError> {
        const DOING: &str = "opening the SQLite database";
        let path = path.as_ref();
        make_private(path).map_err(|source| OpenError::File {
            path: path.display().to_string(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(timeouts.lock)
            .statement_cache_capacity(256)
            .disable_statement_logging();
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // 64 MiB of pages.
            .pragma("cache_size", "-65536")
            // The log is cut back to 64 MiB after a large transaction.
            .pragma("journal_size_limit", "67108864")
            // A page that many commits touch is copied out of the log once for all of them.
            .pragma("wal_autocheckpoint", "16384")
            // A statement of many rows keeps what it would need to be undone: not in a file.
            .pragma("temp_store", "MEMORY")
            // What an opt-out removes is overwritten, and not left in a page that is free.
            .pragma("secure_delete", "ON");
        let reading = options
            .pragma("query_only", "ON")
            .pragma("cache_size", "-16384");
        // Connections stay: a new one would prepare all of its statements again.
        let pool = |connections: u32| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(timeouts.connection)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        // Two that switch a new file to its log at the same time: SQLite answers one of them at
        // once that it is locked, whatever the timeout.
        let mut writer = pool(1).connect_with(writing.clone()).await;
        for _ in 0..OPEN_TRIES {
            if !matches!(&writer, Err(SqlxError::Database(_))) {
                break;
            }
            tokio::time::sleep(OPEN_AGAIN_AFTER).await;
            writer = pool(1).connect_with(writing.clone()).await;
        }
        let writer = writer.map_err(from_driver).doing(DOING)?;
        let writer = DatabaseConnection::from(writer);
        migrate(&writer).await?;
        let reader = pool(SQLITE_READERS).connect_lazy_with(reading);
        Ok(Self::new(writer, reader.into(), groups, None))
    }

    /// Opens a Postgres database over at most `max_connections` connections, and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// Where the URL is not one, where the database cannot be reached or refuses, and where its
    /// schema is newer than this program. No error repeats the URL.
    pub async fn postgres(
        url: &str,
        groups: Groups,
        max_connections: u32,
    ) -> Result<Self, OpenError> {
        Self::postgres_with(url, groups, max_connections, Timeouts::default()).await
    }

    /// As [`Store::postgres`], with these timeouts.
    ///
    /// # Errors
    /// As [`Store::postgres`].
    pub async fn postgres_with(
        url: &str,
        groups: Groups,
        max_connections: u32,
        timeouts: Timeouts,
    ) -> Result<Self, OpenError> {
        let options: PgConnectOptions = url
            .parse()
            .map_err(|_| OpenError::Address("is no Postgres URL"))?;
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let options = options
            .application_name("twzrd")
            .statement_cache_capacity(256)
            .disable_statement_logging()
            .options([
                ("statement_timeout", milliseconds(timeouts.statement)),
                ("lock_timeout", milliseconds(timeouts.lock)),
                // A client that is gone without a word must not hold its locks for ever.
                ("idle_in_transaction_session_timeout", "60000".to_owned()),
                // For sorting and adding up the signals of a large channel.
                ("work_mem", "64MB".to_owned()),
            ]);
        const DOING: &str = "connecting to Postgres";
        // A pool goes on trying and then says only that its time is over; one connection says why.
        let first = tokio::time::timeout(timeouts.connection, options.connect()).await;
        let first = first.unwrap_or(Err(SqlxError::PoolTimedOut));
        let first = first.map_err(from_driver).doing(DOING)?;
        first.close().await.map_err(from_driver).doing(DOING)?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.max(1))
            .acquire_timeout(timeouts.connection)
            // The pool itself waits for an answer here, without end. A connection that gives none
            // would keep its place in the pool.
            .after_release(move |connection, _| {
                Box::pin(async move {
                    let within = timeouts.connection;
                    let answered = tokio::time::timeout(within, connection.ping()).await;
                    answered.unwrap_or_else(|_| Err(SqlxError::Io(silence(within))))?;
                    Ok(true)
                })
            })
            .connect_with(options)
            .await
            .map_err(from_driver)
            .doing(DOING)?;
        let pool = DatabaseConnection::from(pool);
        migrate(&pool).await?;
        let within = Some(timeouts.answer());
        Ok(Self::new(pool.clone(), pool, groups, within))
    }

    fn new(
        writer: DatabaseConnection,
        reader: DatabaseConnection,
        groups: Groups,
        answer_within: Option<Duration>,
    ) -> Self {
        let inner = Inner {
            writer: Bounded::new(writer, answer_within),
            reader: Bounded::new(reader, answer_within),
            groups: RwLock::new(Arc::new(groups)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Closes all connections. Operations that come later fail as transient.
    ///
    /// # Errors
    /// None today; the driver may come to have some.
    pub async fn close(&self) -> Result<(), StoreError> {
        const DOING: &str = "closing the store";
        let (reader, writer) = (self.inner.reader.inner(), self.inner.writer.inner());
        reader.clone().close().await.doing(DOING)?;
        writer.clone().close().await.doing(DOING)
    }

    /// Which database it is.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.inner.writer.get_database_backend()
    }

    /// The connections for reading.
    #[must_use]
    pub fn reader(&self) -> &Bounded<DatabaseConnection> {
        &self.inner.reader
    }

    /// From now on, writes the rows of a channel under these groups. What is written stays.
    pub fn set_groups(&self, groups: Groups) {
        let mut held = self
            .inner
            .groups
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(groups);
    }

    pub(crate) fn groups(&self) -> Arc<Groups> {
        let held = self.inner.groups.read();
        Arc::clone(&held.unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to write. Dropping the transaction undoes it.
    pub(crate) async fn begin(
        &self,
        doing: &'static str,
    ) -> Result<Bounded<DatabaseTransaction>, StoreError> {
        let writer = &self.inner.writer;
        let begun = writer.answer(begin(writer.inner())).await;
        begun.doing(doing).map(|begun| writer.like(begun))
    }
}

/// On SQLite the write lock is taken at once: a transaction that read first could not wait for it.
async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let mode = match connection.get_database_backend() {
        DbBackend::Sqlite => Some(SqliteTransactionMode::Immediate),
        _ => None,
    };
    connection
        .begin_with_options(TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: mode,
        })
        .await
}

/// Brings the schema up to date, one process after the other.
async fn migrate(connection: &DatabaseConnection) -> Result<(), OpenError> {
    const DOING: &str = "migrating the schema";
    let transaction = begin(connection).await.doing(DOING)?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        // Another process may be at it, and a migration takes its time.
        let sql = format!(
            "SET LOCAL lock_timeout = '120s'; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        );
        transaction.execute_unprepared(&sql).await.doing(DOING)?;
    }
    let migrated = twzrd_migrations::migrate(&transaction).await;
    migrated.map_err(while_migrating)?;
    transaction.commit().await.doing(DOING)?;
    Ok(())
}

fn from_driver(error: SqlxError) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

/// Makes the file, and its folder, readable by their owner alone. SQLite gives its log the mode
/// of the database.
fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // One that is there is not opened. To close it would take away the locks that another store of
    // this process has on it (POSIX counts them by process), and the next program that looks into
    // the database would believe to be the last one, and remove the log that this process writes.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}
