//! Statements over many rows, for both databases.
//!
//! SQLite takes rows as a multi-row VALUES, in chunks of a few fixed sizes so that their
//! statements stay prepared; that is faster than one JSON parameter. Postgres takes a column of
//! values as one array. Lists to compare with are a JSON parameter here and an array there.

use std::fmt::Write as _;
use std::pin::Pin;

use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, TryGetable, Value};
use twzrd_domain::ports::StoreError;

use crate::error::{Doing, OutOfRange};

/// How many rows one statement of SQLite takes. With 11 columns, far from its 32,766 parameters.
const SQLITE_CHUNKS: [usize; 4] = [512, 64, 8, 1];

/// How many rows one statement of Postgres takes.
const POSTGRES_CHUNK: usize = 10_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Real,
    Text,
    /// Text or NULL; never the empty text, which stands for NULL on the way to Postgres.
    TextOrNull,
}

impl Type {
    const fn postgres(self) -> &'static str {
        match self {
            Self::Int => "bigint[]",
            Self::Real => "double precision[]",
            Self::Text | Self::TextOrNull => "text[]",
        }
    }

    const fn array(self) -> ArrayType {
        match self {
            Self::Int => ArrayType::BigInt,
            Self::Real => ArrayType::Double,
            Self::Text | Self::TextOrNull => ArrayType::String,
        }
    }
}

/// An insert of many rows, with what happens where a key is there already.
pub(crate) struct Insert<const N: usize> {
    pub(crate) table: &'static str,
    pub(crate) columns: [(&'static str, Type); N],
    pub(crate) conflict: &'static str,
    pub(crate) doing: &'static str,
}

impl<const N: usize> Insert<N> {
    /// Writes all rows. No two of them may have the same key.
    ///
    /// The future is boxed so that the rows' closures are no part of its type: the compiler
    /// cannot tell that they may be sent to another thread.
    pub(crate) fn run<'a, C: ConnectionTrait>(
        &'a self,
        db: &'a C,
        rows: impl Iterator<Item = Result<[Value; N], StoreError>> + Send + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>> {
        Box::pin(async move {
            let backend = db.get_database_backend();
            let chunk = match backend {
                DbBackend::Postgres => POSTGRES_CHUNK,
                _ => SQLITE_CHUNKS[0],
            };
            let mut rows = rows;
            loop {
                let taken: Vec<[Value; N]> = rows.by_ref().take(chunk).collect::<Result<_, _>>()?;
                let is_last = taken.len() < chunk;
                match backend {
                    _ if taken.is_empty() => {}
                    DbBackend::Postgres => self.unnest(db, taken).await?,
                    _ => self.values(db, taken).await?,
                }
                if is_last {
                    return Ok(());
                }
            }
        })
    }

    async fn values<C: ConnectionTrait>(
        &self,
        db: &C,
        rows: Vec<[Value; N]>,
    ) -> Result<(), StoreError> {
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        while let Some(&size) = SQLITE_CHUNKS.iter().find(|&&size| size <= left) {
            left -= size;
            let values: Vec<Value> = rows.by_ref().take(size).flatten().collect();
            let row = format!("({})", ["?"; N].join(","));
            let all = vec![row; size].join(",");
            let columns = self.columns.map(|(name, _)| name).join(",");
            let (table, conflict) = (self.table, self.conflict);
            let sql = format!("INSERT INTO {table} ({columns}) VALUES {all} {conflict}");
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
            db.execute_raw(statement).await.doing(self.doing)?;
        }
        Ok(())
    }

    async fn unnest<C: ConnectionTrait>(
        &self,
        db: &C,
        rows: Vec<[Value; N]>,
    ) -> Result<(), StoreError> {
        let columns = self.columns.map(|(name, _)| name).join(",");
        let selected = self.columns.map(|(name, kind)| match kind {
            Type::TextOrNull => format!("NULLIF({name}, '')"),
            _ => name.to_owned(),
        });
        let (source, values) = postgres_rows(&self.columns, rows, 1);
        let sql = format!(
            "INSERT INTO {} ({columns}) SELECT {} FROM {source} {}",
            self.table,
            selected.join(","),
            self.conflict
        );
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        db.execute_raw(statement).await.doing(self.doing).map(drop)
    }
}

/// Rows as a table `given`, for a FROM clause, with its parameters: the first is `$first`.
///
/// On SQLite only whole numbers and text.
pub(crate) fn given<const N: usize>(
    backend: DbBackend,
    columns: &[(&'static str, Type); N],
    rows: Vec<[Value; N]>,
    first: usize,
) -> (String, Vec<Value>) {
    if backend == DbBackend::Postgres {
        return postgres_rows(columns, rows, first);
    }
    let rows: Vec<serde_json::Value> = rows
        .into_iter()
        .map(|row| row.into_iter().map(json).collect())
        .collect();
    let names = columns.iter().enumerate();
    let names = names.map(|(at, (name, _))| format!("value ->> {at} AS {name}"));
    let names: Vec<String> = names.collect();
    let source = format!(
        "(SELECT {} FROM json_each(${first})) AS given",
        names.join(", ")
    );
    let rows = serde_json::Value::Array(rows).to_string();
    (source, vec![rows.into()])
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::BigInt(Some(number)) => number.into(),
        Value::String(Some(text)) => text.into(),
        _ => serde_json::Value::Null,
    }
}

fn postgres_rows<const N: usize>(
    columns: &[(&'static str, Type); N],
    rows: Vec<[Value; N]>,
    first: usize,
) -> (String, Vec<Value>) {
    let mut arrays: [Vec<Value>; N] = std::array::from_fn(|_| Vec::with_capacity(rows.len()));
    for row in rows {
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(match value {
                Value::String(None) => "".into(),
                value => value,
            });
        }
    }
    let mut source = String::from("UNNEST(");
    for (at, (_, kind)) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(source, "{comma}${}::{}", first + at, kind.postgres());
    }
    let _ = write!(
        source,
        ") AS given({})",
        columns.map(|(name, _)| name).join(", ")
    );
    let values = arrays.into_iter().zip(columns);
    let values = values.map(|(array, (_, kind))| Value::Array(kind.array(), Some(Box::new(array))));
    (source, values.collect())
}

/// The condition that a column is among the values of parameter `$parameter`, a [`list`].
pub(crate) fn among(backend: DbBackend, column: &str, parameter: usize) -> String {
    match backend {
        DbBackend::Postgres => format!("{column} = ANY(${parameter})"),
        _ => format!("{column} IN (SELECT value FROM json_each(${parameter}))"),
    }
}

/// The parameter of [`among`].
pub(crate) fn list<T>(backend: DbBackend, kind: Type, items: impl IntoIterator<Item = T>) -> Value
where
    T: Into<Value>,
{
    let items: Vec<Value> = items.into_iter().map(Into::into).collect();
    match backend {
        DbBackend::Postgres => Value::Array(kind.array(), Some(Box::new(items))),
        _ => {
            let items: serde_json::Value = items.into_iter().map(json).collect();
            items.to_string().into()
        }
    }
}

/// Runs a statement, and gives the number of rows that it changed.
pub(crate) async fn execute<C: ConnectionTrait>(
    db: &C,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
    doing: &'static str,
) -> Result<u64, StoreError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let done = db.execute_raw(statement).await.doing(doing)?;
    Ok(done.rows_affected())
}

/// Runs a query.
pub(crate) async fn query<C: ConnectionTrait>(
    db: &C,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
    doing: &'static str,
) -> Result<Vec<QueryResult>, StoreError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.query_all_raw(statement).await.doing(doing)
}

/// A column of a row, by its place.
pub(crate) fn column<T: TryGetable>(
    row: &QueryResult,
    at: usize,
    doing: &'static str,
) -> Result<T, StoreError> {
    row.try_get_by_index(at).doing(doing)
}

/// A number as a column holds it.
pub(crate) fn int(found: u64, place: &'static str) -> Result<i64, StoreError> {
    i64::try_from(found).map_err(|_| StoreError::Permanent {
        doing: "writing a number",
        source: Box::new(OutOfRange { place, found }),
    })
}

/// A number that a column holds, and that is never negative.
pub(crate) fn unsigned(found: i64, place: &'static str) -> Result<u64, StoreError> {
    u64::try_from(found).map_err(|_| StoreError::Corrupt {
        place,
        found: found.to_string(),
        expected: "a number that is not negative",
    })
}

/// Text that a column holds in a form of its own.
pub(crate) fn parsed<T: std::str::FromStr>(
    text: &str,
    place: &'static str,
    expected: &'static str,
) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt {
        place,
        found: text.chars().take(80).collect(),
        expected,
    })
}

/// What a hash, a root or a wallet looks like, for errors.
pub(crate) const HEX: &str = "64 hexadecimal characters";

/// What a name looks like, for errors.
pub(crate) const NAME: &str = "a name";
