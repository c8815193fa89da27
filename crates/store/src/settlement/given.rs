//! Rows with cells that may be NULL, as the source of a statement.

use sea_orm::{DbBackend, Value};

use crate::sql::Type::{self, TextOrNull};
use crate::sql::given;

/// What a cell stands for. Every cell travels as text, the empty one for NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
}

/// A column: its name, and what it holds.
pub(crate) type Named = (&'static str, Kind);

/// These rows as a table `given` with its parameters, the first of which is `$first`.
///
/// Cells are None for NULL. No statement sees a text that is empty.
pub(crate) fn selected<const N: usize>(
    backend: DbBackend,
    columns: &[Named; N],
    rows: impl IntoIterator<Item = [Option<String>; N]>,
    first: usize,
) -> (String, Vec<Value>) {
    let types: [(&'static str, Type); N] = columns.map(|(name, _)| (name, TextOrNull));
    let rows = rows.into_iter().map(|row| row.map(Value::String));
    let (source, values) = given(backend, &types, rows.collect(), first);
    let cells = columns.map(|(name, kind)| match kind {
        Kind::Number => format!("CAST(NULLIF({name}, '') AS bigint) AS {name}"),
        Kind::Text => format!("NULLIF({name}, '') AS {name}"),
    });
    let source = format!("(SELECT {} FROM {source}) AS given", cells.join(", "));
    (source, values)
}
