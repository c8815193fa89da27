//! On which line of a TOML text a key stands.

use std::ops::Range;

use toml_edit::{Array, ArrayOfTables, Document, Item, TableLike, Value};

/// The line on which a key stands, or, where it does not, the nearest of the tables around it.
pub(super) fn line_of(document: &Document<String>, path: &[String]) -> Option<usize> {
    let mut at = At::Table(document.as_table());
    let mut nearest = None;
    for key in path {
        let Some((span, inner)) = at.step(key) else {
            break;
        };
        nearest = span.or(nearest);
        at = inner;
    }
    nearest.map(|span| line_at(document.raw(), span.start))
}

/// The line in which a byte lies; the first is 1.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(byte)
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

/// A place in a document from which a key leads on.
enum At<'a> {
    Table(&'a dyn TableLike),
    Tables(&'a ArrayOfTables),
    Array(&'a Array),
    Value,
}

impl<'a> At<'a> {
    fn step(&self, key: &str) -> Option<(Option<Range<usize>>, At<'a>)> {
        match self {
            Self::Table(table) => {
                let (key, item) = table.get_key_value(key)?;
                Some((key.span(), Self::of(item)))
            }
            Self::Tables(tables) => {
                let table = tables.get(key.parse().ok()?)?;
                Some((table.span(), Self::Table(table)))
            }
            Self::Array(array) => {
                let value = array.get(key.parse().ok()?)?;
                let inner = match value {
                    Value::InlineTable(table) => Self::Table(table),
                    Value::Array(array) => Self::Array(array),
                    _ => Self::Value,
                };
                Some((value.span(), inner))
            }
            Self::Value => None,
        }
    }

    fn of(item: &'a Item) -> Self {
        match item {
            Item::ArrayOfTables(tables) => Self::Tables(tables),
            Item::Value(Value::Array(array)) => Self::Array(array),
            other => other.as_table_like().map_or(Self::Value, Self::Table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &[&str]) -> Option<usize> {
        let text = "a = 1\n[b]\nc = { d = 2 }\n[[e]]\nf = 3\n[[e]]\nf = [\n4,\n5\n]\n";
        line_of(
            &Document::parse(text.to_owned()).ok()?,
            &path.iter().map(|&key| key.to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn keys_are_found_in_tables_inline_tables_and_lists_of_tables() {
        assert_eq!(line(&["a"]), Some(1));
        assert_eq!(line(&["b", "c", "d"]), Some(3));
        assert_eq!(line(&["e", "1", "f"]), Some(7));
        assert_eq!(line(&["e", "1", "f", "1"]), Some(9));
    }

    #[test]
    fn what_is_missing_is_shown_at_the_table_around_it() {
        assert_eq!(line(&["b", "nowhere"]), Some(2));
        assert_eq!(line(&["e", "0", "nowhere"]), Some(4));
        assert_eq!(line(&["nowhere"]), None);
    }
}
