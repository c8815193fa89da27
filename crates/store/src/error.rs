//! What went wrong, and whether trying again later may help.

use sea_orm::{DbErr, RuntimeErr, SqlxError, SqlxPostgresError, SqlxSqliteError};
use twzrd_domain::ports::StoreError;
use twzrd_migrations::MigrateError;

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one of a store. It is not repeated here: it may hold a password.
    #[error("the store's address {0}; expected sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Address(&'static str),
    /// The file or its folder could not be made.
    #[error("cannot open {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A later version of the program has been at work in the database.
    #[error("{0}")]
    Newer(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// True where trying again later may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::File { .. } => true,
            Self::Address(_) | Self::Newer(_) => false,
        }
    }
}

/// A number that no column holds.
#[derive(Debug, thiserror::Error)]
#[error("{found} does not fit in {place}; expected at most {}", i64::MAX)]
pub(crate) struct OutOfRange {
    pub(crate) place: &'static str,
    pub(crate) found: u64,
}

/// A caller broke an obligation of a port.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

pub(crate) fn refused(doing: &'static str, why: impl Into<String>) -> StoreError {
    StoreError::Permanent {
        doing,
        source: Box::new(Refused(why.into())),
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, DbErr> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| classify(doing, error))
    }
}

pub(crate) fn classify(doing: &'static str, error: DbErr) -> StoreError {
    let transient = is_transient(&error);
    let source = Box::new(error);
    if transient {
        StoreError::Transient { doing, source }
    } else {
        StoreError::Permanent { doing, source }
    }
}

pub(crate) fn while_migrating(error: MigrateError) -> OpenError {
    match error {
        MigrateError::Newer { .. } => OpenError::Newer(error.to_string()),
        MigrateError::Database(error) => classify("migrating the schema", error).into(),
    }
}

fn is_transient(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) => true,
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => is_transient_in_driver(error),
        _ => false,
    }
}

fn is_transient_in_driver(error: &SqlxError) -> bool {
    match error {
        // BeginFailed: the connection's state is not what the driver believed.
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed
        | SqlxError::BeginFailed => true,
        SqlxError::Database(database) => {
            if let Some(error) = database.try_downcast_ref::<SqlxPostgresError>() {
                is_transient_in_postgres(error.code())
            } else if database.try_downcast_ref::<SqlxSqliteError>().is_some() {
                let code = database.code();
                code.is_some_and(|code| code.parse().is_ok_and(is_transient_in_sqlite))
            } else {
                false
            }
        }
        _ => false,
    }
}

/// By SQLSTATE: connections (08), rollbacks for the sake of others (40), resources (53), locks,
/// cancelled and timed out statements, shutdown and start of the server, and its disk.
fn is_transient_in_postgres(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53")
        || matches!(
            code,
            "25P03" | "25P04" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "58030"
        )
}

/// By primary result code: busy (5), locked (6), out of memory (7), read-only (8), interrupted
/// (9), input or output (10), full (13), cannot open (14), lock protocol (15).
const fn is_transient_in_sqlite(code: i32) -> bool {
    matches!(code & 0xff, 5..=10 | 13..=15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weather_is_transient_and_a_broken_rule_is_not() {
        for code in [
            "08006", "40001", "40P01", "53300", "55P03", "57014", "57P01",
        ] {
            assert!(is_transient_in_postgres(code), "{code}");
        }
        for code in ["23505", "42P01", "22003", "28P01", "3D000", "57P04", ""] {
            assert!(!is_transient_in_postgres(code), "{code}");
        }
        for code in [5, 6, 10, 13, 517, 773] {
            assert!(is_transient_in_sqlite(code), "{code}");
        }
        for code in [1, 11, 19, 26, 1555, 2067] {
            assert!(!is_transient_in_sqlite(code), "{code}");
        }
    }
}
