//! Values as they are shown and compared.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Dict, Value};

/// A value that holds, for `check --print`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The dotted key.
    pub key: String,
    /// The value as TOML; secrets are masked.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

/// The one section that can be changed while the process runs.
const RELOADABLE: &str = "channel_groups";

/// Everything that cannot be changed while the process runs. Holds secrets, and shows none.
#[derive(Clone)]
pub struct Fixed {
    held: BTreeMap<String, Held>,
    /// Whether there is a settings file that says something.
    pub has_file: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Held {
    value: String,
    is_secret: bool,
}

impl Fixed {
    pub(super) fn of(dict: &Dict, has_file: bool) -> Self {
        let mut held = BTreeMap::new();
        walk(&mut Vec::new(), dict, &mut |path, value| {
            if path[0] != RELOADABLE {
                let is_secret = is_secret(path);
                let value = as_toml(value);
                held.insert(path.join("."), Held { value, is_secret });
            }
        });
        Self { held, has_file }
    }

    /// What differs in `wanted`, by key: what holds, and what was found instead.
    #[must_use]
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        let keys: BTreeSet<_> = self.held.keys().chain(wanted.held.keys()).collect();
        keys.into_iter()
            .filter_map(|key| {
                let (old, new) = (self.held.get(key), wanted.held.get(key));
                let told = |held: Option<&Held>| match held {
                    None => "nothing".to_owned(),
                    Some(held) if held.is_secret && held.value != "\"\"" => "***".to_owned(),
                    Some(held) => held.value.clone(),
                };
                (old != new).then(|| format!("{key}: {} holds, {} was found", told(old), told(new)))
            })
            .collect()
    }
}

/// Calls `each` for every value that is no table, with its path.
pub(super) fn walk(path: &mut Vec<String>, dict: &Dict, each: &mut impl FnMut(&[String], &Value)) {
    for (key, value) in dict {
        path.push(key.clone());
        match value {
            Value::Dict(_, inner) => walk(path, inner, each),
            value => each(path, value),
        }
        path.pop();
    }
}

pub(super) fn is_secret(path: &[String]) -> bool {
    path.iter().map(String::as_str).eq(["store", "url"])
}

/// True where a value that is not of the expected type may be a secret: a URL in place of a list of
/// them, or in place of a whole section.
pub(super) fn may_hold_secret(path: &[String]) -> bool {
    path.first()
        .is_some_and(|section| matches!(section.as_str(), "chain" | "store"))
}

pub(super) fn masked(value: &Value) -> String {
    if value.as_str().is_some_and(str::is_empty) {
        "\"\"".to_owned()
    } else {
        "***".to_owned()
    }
}

pub(super) fn as_toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => quoted(text),
        Value::Array(_, items) => {
            format!(
                "[{}]",
                items.iter().map(as_toml).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Dict(_, inner) => {
            let pairs: Vec<_> = inner
                .iter()
                .map(|(k, v)| format!("{k} = {}", as_toml(v)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Bool(_, flag) => flag.to_string(),
        Value::Char(_, c) => quoted(c.encode_utf8(&mut [0; 4])),
        Value::Num(_, number) => number
            .to_u128()
            .map(|n| n.to_string())
            .or_else(|| number.to_i128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => "\"\"".to_owned(),
    }
}

/// A basic string of TOML on one line: control characters never reach a terminal or a log as they
/// are.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_value_is_one_line_of_toml_that_reads_back() {
        for text in [
            "mi\nne",
            "a\tb\r",
            "say \"it\" 'so'",
            "C:\\data",
            "\u{7f}\u{85}\u{0}é",
            "",
        ] {
            let shown = as_toml(&Value::from(text));
            assert!(!shown.contains(char::is_control), "{shown:?}");
            let read: toml_edit::DocumentMut = format!("key = {shown}").parse().unwrap();
            assert_eq!(read["key"].as_str(), Some(text));
        }
    }
}
