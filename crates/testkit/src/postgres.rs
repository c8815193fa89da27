//! Throw-away Postgres databases.
//!
//! [`Postgres::start`] gives a fresh database on a server that all tests share: the one that
//! [`SERVER_URL`] names, or else one of this process's own. [`Postgres::own`] gives a server to
//! one test alone, which may stop it and start it again.
//!
//! A server that was started here stops and leaves no file however the process ends: a watchdog
//! holds one end of a pipe, and this process the other.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the server that tests share, as the URL of a database in which a role may create others.
pub const SERVER_URL: &str = "TWZRD_TEST_POSTGRES_URL";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/postgres.sh");

/// There is no Postgres for a test.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// A program could not be run.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {stderr}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        stderr: String,
    },
    /// A folder for the files could not be made.
    #[error("cannot make a temporary folder: {0}")]
    Folder(std::io::Error),
    /// Only a server of one's own can be stopped and started.
    #[error("this database is on a shared server; expected one made by Postgres::own")]
    Shared,
}

/// A fresh database, dropped with this value.
#[derive(Debug)]
pub struct Postgres {
    server_url: String,
    name: String,
    own: Option<Server>,
}

impl Postgres {
    /// A fresh database on the shared server.
    ///
    /// # Errors
    /// Where there is no server and none could be started, or the database could not be made.
    pub fn start() -> Result<Self, PostgresError> {
        Self::create(shared_server_url()?, None)
    }

    /// A fresh database on a server of its own.
    ///
    /// # Errors
    /// Where the server could not be started.
    pub fn own() -> Result<Self, PostgresError> {
        let server = Server::start()?;
        Self::create(server.url.clone(), Some(server))
    }

    fn create(server_url: String, own: Option<Server>) -> Result<Self, PostgresError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Process ids come round again, and a killed test leaves its database behind.
        let name = format!("twzrd_test_{}_{number}", std::process::id());
        psql(
            &server_url,
            &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        )?;
        psql(&server_url, &format!("CREATE DATABASE {name}"))?;
        Ok(Self {
            server_url,
            name,
            own,
        })
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        let (path, query) = match self.server_url.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.server_url.as_str(), String::new()),
        };
        let after_scheme = path.find("://").map_or(0, |at| at + 3);
        let end = path[after_scheme..]
            .find('/')
            .map_or(path.len(), |at| after_scheme + at);
        format!("{}/{}{query}", &path[..end], self.name)
    }

    /// Runs a statement in the database, and gives what it prints, a row a line and unaligned.
    ///
    /// # Errors
    /// Where the statement fails.
    pub fn run(&self, sql: &str) -> Result<String, PostgresError> {
        psql(&self.url(), sql)
    }

    /// Stops the server at once, as a crash would; what was committed stays.
    ///
    /// # Errors
    /// Where the server is shared, or did not stop.
    pub fn stop(&self) -> Result<(), PostgresError> {
        let server = self.own.as_ref().ok_or(PostgresError::Shared)?;
        script(&["stop", &server.folder.to_string_lossy(), "immediate"]).map(drop)
    }

    /// Starts the server again, at the same URL.
    ///
    /// # Errors
    /// Where the server is shared, or did not start.
    pub fn start_again(&self) -> Result<(), PostgresError> {
        let server = self.own.as_ref().ok_or(PostgresError::Shared)?;
        script(&["start", &server.folder.to_string_lossy()]).map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.own.is_none() {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            // The next user of the name drops it too.
            let _ = psql(&self.server_url, &drop);
        }
    }
}

fn shared_server_url() -> Result<String, PostgresError> {
    static SERVER: Mutex<Option<Server>> = Mutex::new(None);
    if let Some(url) = std::env::var(SERVER_URL).ok().filter(|url| !url.is_empty()) {
        return Ok(url);
    }
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = server.as_ref() {
        return Ok(server.url.clone());
    }
    Ok(server.insert(Server::start()?).url.clone())
}

/// A server that lives no longer than this value, or the process.
#[derive(Debug)]
struct Server {
    url: String,
    folder: PathBuf,
    watchdog: Child,
}

impl Server {
    fn start() -> Result<Self, PostgresError> {
        use std::os::unix::process::CommandExt;
        let folder = tempfile::Builder::new().prefix("twzrd-postgres-").tempdir();
        // The watchdog removes it.
        let folder = folder.map_err(PostgresError::Folder)?.keep();
        let log = folder.join("watchdog.log");
        let stderr = std::fs::File::create(&log).map_err(PostgresError::Folder)?;
        let mut watchdog = Command::new(SCRIPT)
            .arg("hold")
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // A group of its own, so that it outlives a kill of this process's group.
            .process_group(0)
            .spawn()
            .map_err(|source| cannot_run(SCRIPT, source))?;
        let mut url = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut url);
            read.map_err(|source| cannot_run(SCRIPT, source))?;
        }
        let url = url.trim().to_owned();
        if url.is_empty() {
            return Err(PostgresError::Failed {
                program: SCRIPT.to_owned(),
                stderr: std::fs::read_to_string(&log).unwrap_or_default(),
            });
        }
        Ok(Self {
            url,
            folder,
            watchdog,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn psql(url: &str, sql: &str) -> Result<String, PostgresError> {
    let on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("psql").is_file());
    let program = if on_path {
        PathBuf::from("psql")
    } else {
        newest_psql().unwrap_or_else(|| PathBuf::from("psql"))
    };
    let arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql];
    run(Command::new(&program).args(arguments).arg(url), &program)
}

fn newest_psql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let newest = versions
        .map(|version| version.path())
        .max_by_key(|path| number(path))?;
    Some(newest.join("bin/psql")).filter(|psql| psql.is_file())
}

fn script(arguments: &[&str]) -> Result<String, PostgresError> {
    run(Command::new(SCRIPT).args(arguments), Path::new(SCRIPT))
}

fn run(command: &mut Command, program: &Path) -> Result<String, PostgresError> {
    let output = command.stdin(Stdio::null()).output();
    let program = program.display().to_string();
    let output = output.map_err(|source| cannot_run(&program, source))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(PostgresError::Failed { program, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cannot_run(program: &str, source: std::io::Error) -> PostgresError {
    PostgresError::Run {
        program: program.to_owned(),
        source,
    }
}
