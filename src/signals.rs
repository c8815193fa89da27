//! Signals that ask the process to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Code, Failure, OrFail};

/// SIGTERM and SIGINT; SIGHUP is passed over. From its making on, these no longer end the process by themselves.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// SIGHUP asks for a reload; one that comes before there is anything to reload is no reason to
    /// end.
    _hangup: Signal,
}

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, as a service manager sends it.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
}

impl StopSignals {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the system refuses a handler.
    pub fn listen() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).or_fail(Code::Software)?,
            interrupt: signal(SignalKind::interrupt()).or_fail(Code::Software)?,
            _hangup: signal(SignalKind::hangup()).or_fail(Code::Software)?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}
