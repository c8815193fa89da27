//! What tests of the real binary share: a folder of their own, the binary in it with an
//! environment that says nothing, and lines of chat.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The start of the hour in which most lines are sent, as a Unix second: 2025-10-09T09:00:00Z.
pub(crate) const HOUR: u64 = 1_760_000_400;

/// The codes that `twzrd --help` lists.
const CODES: [i32; 12] = [0, 1, 2, 65, 66, 69, 70, 73, 74, 75, 78, 130];

/// How long a process may take to end before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a process came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The standard output of a process that ended well.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// The lines of the log, each of which must be a JSON object.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value @ serde_json::Value::Object(_)) => value,
            other => panic!("a line of the log is no JSON object: {line:?}: {other:?}"),
        };
        self.err.lines().map(parse).collect()
    }

    /// Whether the log has a line with this message.
    pub(crate) fn logged(&self, message: &str) -> bool {
        self.err.contains(&format!("\"message\":\"{message}\""))
    }
}

/// A working folder of a test's own. That of a test that fails stays, to be looked at.
pub(crate) struct Place(tempfile::TempDir);

#[allow(clippy::print_stderr, reason = "whoever reads the failure looks there")]
impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("its folder stays: {}", self.0.path().display());
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(name)).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// The segments of a data folder's journal, in order.
    pub(crate) fn segments(&self, data: &str) -> Vec<String> {
        let folder = format!("{data}/journal");
        let names = self.names(&folder).into_iter();
        let segments = names.filter(|name| name.contains(".ndjson"));
        segments.map(|name| format!("{folder}/{name}")).collect()
    }

    /// The binary in this folder. Temporary folders are made below `tmp` in it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twzrd"));
        command
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("TMPDIR", self.path("tmp"))
            .env_remove("RUST_LOG");
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            let is_setting = ["TWZRD_", "TWITCH_"]
                .iter()
                .any(|it| name_text.starts_with(it));
            if is_setting || name == "DATABASE_URL" {
                command.env_remove(name);
            }
        }
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args).spawn().unwrap())
    }

    /// Runs with this as standard input.
    #[track_caller]
    pub(crate) fn run_on(&self, args: &[&str], input: impl AsRef<[u8]>) -> Run {
        let mut child = self.spawn_piped(args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref();
        std::thread::scope(|scope| {
            // A process that ends without having read all of it is no failure of the test.
            scope.spawn(move || drop(stdin.write_all(input)));
            finish(child)
        })
    }

    pub(crate) fn spawn_piped(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).spawn().unwrap()
    }

    /// Replays files into a data folder, quietly, and gives the JSON lines.
    #[track_caller]
    pub(crate) fn replay(&self, data: &str, files: &[&str]) -> String {
        let args = ["replay", "--json", "--log-level", "warn", "--data", data];
        self.run(&[&args, files].concat()).good()
    }
}

/// Waits for the end of a process. It must end with a code that is documented, and without a panic.
#[track_caller]
pub(crate) fn finish(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panic"), "{err}");
    let code = documented(output.status);
    Run { code, out, err }
}

#[track_caller]
pub(crate) fn documented(status: ExitStatus) -> i32 {
    let code = status.code();
    let code = code.unwrap_or_else(|| panic!("ended by a signal: {status}"));
    assert!(CODES.contains(&code), "exit code {code} is not documented");
    code
}

/// Waits for the end of a process of which the test keeps standard input open. One that does not
/// end is killed, and fails the test.
#[track_caller]
pub(crate) fn finish_soon(child: Child) -> Run {
    let pid = child.id();
    let (sender, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send(child.wait_with_output().unwrap()));
        let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            signal(pid, "-KILL");
            panic!("process {pid} had not ended after {PATIENCE:?}");
        });
        Run {
            code: documented(output.status),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    })
}

/// Sends a signal by the program `kill`.
#[track_caller]
pub(crate) fn signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    let killed = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(killed.success(), "kill {signal} {pid}: {killed}");
}

/// One message, sent so many seconds after [`HOUR`]. Each login has a number of its own.
pub(crate) fn message(login: &str, channel: &str, after: u64, id: u32) -> String {
    let sent = (HOUR + after) * 1000;
    let user = user_id(login);
    format!(
        "@id=00000000-0000-4000-8000-{id:012};room-id=1;tmi-sent-ts={sent};user-id={user} :{login}!{login}@{login}.tmi.twitch.tv PRIVMSG #{channel} :hello\n"
    )
}

/// The number of a person on Twitch.
pub(crate) fn user_id(login: &str) -> u64 {
    let bytes = login.bytes().map(u64::from);
    bytes.fold(7, |hash, byte| (hash * 131 + byte) % 1_000_000_007)
}

/// Six messages in two hours: alice, bob and carol in `tea` in the first, bob in `tea` and alice in
/// `go` in the second, and alice again in the first minute.
pub(crate) fn six() -> String {
    [
        message("alice", "tea", 0, 1),
        message("alice", "tea", 59, 2),
        message("bob", "tea", 60, 3),
        message("carol", "tea", 3599, 4),
        message("bob", "tea", 3600, 5),
        message("alice", "go", 3660, 6),
    ]
    .concat()
}

/// The lines of real traffic that come with the source.
pub(crate) fn sample() -> Vec<u8> {
    std::fs::read(root("samples/twitch.irc")).unwrap()
}

/// A file of the source.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The bytes as one zstd frame.
pub(crate) fn compressed(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 3).unwrap()
}
