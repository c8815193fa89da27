//! Exit codes, and errors that carry one. The numbers are those of `sysexits.h` where it has one.

use std::fmt;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// All went well.
    Ok = 0,
    /// The answer is no: a proof that fails, a person who took no part, a demo with chaos that
    /// differs.
    No = 1,
    /// The command line is wrong. clap's own code.
    Usage = 2,
    /// An input is not what it should be: binary, damaged, cut.
    Data = 65,
    /// An input cannot be opened.
    NoInput = 66,
    /// The database is away or belongs to another journal; or no process answers.
    Unavailable = 69,
    /// The supervision tree gave up: a defect.
    Software = 70,
    /// A folder or file cannot be made.
    CannotCreate = 73,
    /// Reading or writing failed: a full disk, an input or output error.
    Io = 74,
    /// Somebody else holds the data folder.
    InUse = 75,
    /// The settings are wrong.
    Config = 78,
    /// Stopped by a signal from the keyboard.
    Interrupted = 130,
}

/// An error with the code that the process ends with.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub code: Code,
    /// What went wrong.
    pub error: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)
    }
}

impl std::error::Error for Failure {}

/// Gives an error the code that the process ends with.
pub trait OrFail<T> {
    /// The value, or a failure with this code.
    ///
    /// # Errors
    /// The error, with the code.
    fn or_fail(self, code: Code) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: Code) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            code,
            error: error.into(),
        })
    }
}

/// A failure with this code and message.
pub fn fail(code: Code, message: impl fmt::Display) -> Failure {
    Failure {
        code,
        error: anyhow::anyhow!("{message}"),
    }
}

impl From<twzrd_domain::ports::StoreError> for Failure {
    fn from(error: twzrd_domain::ports::StoreError) -> Self {
        Self {
            code: Code::Unavailable,
            error: error.into(),
        }
    }
}

impl From<twzrd_domain::ports::JournalError> for Failure {
    fn from(error: twzrd_domain::ports::JournalError) -> Self {
        use twzrd_domain::ports::JournalError as E;
        let code = match error {
            E::Locked { .. } => Code::InUse,
            E::Damaged { .. } | E::TooLarge { .. } => Code::Data,
            E::Unavailable { .. } | E::Closed => Code::Io,
        };
        Self {
            code,
            error: error.into(),
        }
    }
}
