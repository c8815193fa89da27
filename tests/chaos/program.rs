//! `twzrd run` as a process: its log, its signals, its end.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::support::signal;

/// How often it is looked whether something holds.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How many lines of the log are kept, for whoever has to understand a failure.
const KEPT_LINES: usize = 200;

const SIGTERM: i32 = 15;

/// What the log has told.
#[derive(Default)]
struct Told {
    is_running: bool,
    /// The first line that no fault from outside explains.
    fault: Option<String>,
    last: VecDeque<String>,
}

/// A process that runs the service. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    told: Arc<Mutex<Told>>,
    reader: Option<JoinHandle<()>>,
    /// Which sockets of the simulator came before it.
    pub(crate) sockets_before: u64,
    pub(crate) started: Instant,
}

impl Program {
    pub(crate) fn start(mut command: Command, sockets_before: u64) -> Result<Self, String> {
        let started = Instant::now();
        let child = command.stdout(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("the program cannot be run: {error}"))?;
        let told = Arc::new(Mutex::new(Told::default()));
        let reader = child.stderr.take().map(|stderr| {
            let told = Arc::clone(&told);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    hold(&told).take(line);
                }
            })
        });
        Ok(Self {
            child,
            told,
            reader,
            sockets_before,
            started,
        })
    }

    /// True once it has said that it runs: the gateway is up, and channels are being joined.
    pub(crate) fn is_running(&self) -> bool {
        hold(&self.told).is_running
    }

    /// Fails where it has ended, or has logged what must not be.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.no_fault()?;
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the process ended: {status}\n{}", self.log())),
            Err(error) => Err(format!("the process cannot be asked: {error}")),
        }
    }

    fn no_fault(&self) -> Result<(), String> {
        let fault = hold(&self.told).fault.clone();
        fault.map_or(Ok(()), |fault| {
            Err(format!("the process logged {fault}\n{}", self.log()))
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Kills it as `kill -9` does. False where it had ended before, and in order.
    pub(crate) fn kill(mut self) -> Result<bool, String> {
        self.child.kill().map_err(|error| error.to_string())?;
        let (status, log) = self.wait()?;
        let is_killed = status.signal() == Some(9);
        if is_killed || status.code() == Some(0) {
            return Ok(is_killed);
        }
        Err(format!(
            "the process had ended before it was killed: {status}\n{log}"
        ))
    }

    /// Asks it to stop, and waits for its end, which must be one in order.
    pub(crate) fn terminate(mut self, patience: Duration) -> Result<(), String> {
        let was_running = self.is_running();
        self.signal("-TERM");
        let begun = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if begun.elapsed() > patience {
                let log = self.log();
                return Err(format!("it did not stop within {patience:?}:\n{log}"));
            }
            sleep(LOOK_EVERY);
        }
        let (status, log) = self.wait()?;
        // One that has not come to listen to signals yet ends by them.
        let is_early = !was_running && status.signal() == Some(SIGTERM);
        match status.code() {
            Some(0) => Ok(()),
            _ if is_early => Ok(()),
            _ => Err(format!("a stop ended with {status}, expected 0:\n{log}")),
        }
    }

    fn wait(&mut self) -> Result<(ExitStatus, String), String> {
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
        self.no_fault()?;
        Ok((status, self.log()))
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        let told = hold(&self.told);
        let lines: Vec<&str> = told.last.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already cannot be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Told {
    fn take(&mut self, line: String) {
        self.is_running |= line.contains("\"message\":\"running\"");
        let is_fault = [
            "\"level\":\"ERROR\"",
            "panic",
            "\"message\":\"stopped late\"",
        ];
        if self.fault.is_none() && is_fault.iter().any(|it| line.contains(it)) {
            self.fault = Some(line.clone());
        }
        if self.last.len() == KEPT_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

fn hold(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
