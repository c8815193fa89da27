//! What a text that lists channels is after a change. Comments and format stay.

use std::collections::HashSet;

use toml_edit::{Array, DocumentMut, Item, RawString, Value};
use twzrd_domain::identity::Channel;

use crate::settings::lists::{self, Form, channel, name_in};

/// What stands in a file of lines that lists no channel.
const NONE: &str = "# no channels";

/// Channels to add, and channels to remove.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) add: Vec<Channel>,
    pub(super) remove: HashSet<Channel>,
}

impl Change {
    fn removes(&self, name: &str) -> bool {
        channel(name).is_some_and(|channel| self.remove.contains(&channel))
    }

    /// The channels to add that are not there.
    fn missing<'a>(&self, present: impl Iterator<Item = &'a str>) -> Vec<&Channel> {
        let mut present: HashSet<Channel> = present.filter_map(channel).collect();
        let missing = self.add.iter();
        missing
            .filter(|channel| present.insert((*channel).clone()))
            .collect()
    }
}

/// A file that lists channels, after the change.
pub(super) fn list(text: &str, change: &Change) -> Result<String, String> {
    match Form::of(text) {
        Form::Lines => Ok(lines(text, change)),
        Form::Json => json(text, change),
    }
}

fn lines(text: &str, change: &Change) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mark = '\u{feff}';
    let (bom, body) = match text.strip_prefix(mark) {
        Some(body) => (&text[..mark.len_utf8()], body),
        None => ("", text),
    };
    let removed = |line: &&str| name_in(line).is_some_and(|name| change.removes(name));
    let kept = body.split_inclusive('\n').filter(|line| !removed(line));
    let mut new: String = std::iter::once(bom).chain(kept).collect();
    let mut missing: Vec<&str> = change
        .missing(body.lines().filter_map(name_in))
        .into_iter()
        .map(Channel::as_str)
        .collect();
    let lists_none = new.lines().all(|line| name_in(line).is_none());
    if missing.is_empty() && lists_none && new.lines().all(|line| line.trim_end() != NONE) {
        missing.push(NONE);
    }
    for line in missing {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push_str(end);
        }
        new.push_str(line);
        new.push_str(end);
    }
    new
}

fn json(text: &str, change: &Change) -> Result<String, String> {
    let names = lists::names(text).map_err(|wrong| wrong.problem)?;
    let names: Vec<String> = names
        .into_iter()
        .map(|(_, name)| name.map(String::from))
        .collect::<Result<_, _>>()?;
    let added = change.missing(names.iter().map(String::as_str));
    let kept = names.iter().filter(|name| !change.removes(name));
    let all: Vec<String> = kept
        .map(String::as_str)
        .chain(added.into_iter().map(Channel::as_str))
        .map(|name| serde_json::Value::from(name).to_string())
        .collect();
    let start = text.find('[').unwrap_or(0);
    let end = text.rfind(']').map_or(text.len(), |at| at + 1);
    let inner = &text[start..end];
    let (before, between, after) = match inner.split_once('\n') {
        Some((_, second)) => {
            let indent: String = second.chars().take_while(|c| " \t".contains(*c)).collect();
            (format!("\n{indent}"), format!(",\n{indent}"), "\n")
        }
        None if inner.contains("\", ") => (String::new(), ", ".to_owned(), ""),
        None => (String::new(), ",".to_owned(), ""),
    };
    let array = if all.is_empty() {
        "[]".to_owned()
    } else {
        format!("[{before}{}{after}]", all.join(&between))
    };
    Ok(format!("{}{array}{}", &text[..start], &text[end..]))
}

/// The settings file, after the change of a group that lists its channels there.
pub(super) fn settings(text: &str, group: &str, change: &Change) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let array = channels_of(&mut document, group)
        .ok_or_else(|| format!("does not list the channels of the group {group:?}"))?;
    remove(array, change);
    let present: Vec<String> = array
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect();
    add(array, &change.missing(present.iter().map(String::as_str)));
    Ok(document.to_string())
}

/// The list of a group, in whichever way the groups are written.
fn channels_of<'a>(document: &'a mut DocumentMut, group: &str) -> Option<&'a mut Array> {
    match document.get_mut("channel_groups")? {
        Item::ArrayOfTables(tables) => tables
            .iter_mut()
            .find(|table| table.get("name").and_then(Item::as_str) == Some(group))?
            .get_mut("channels")?
            .as_array_mut(),
        Item::Value(Value::Array(tables)) => tables
            .iter_mut()
            .filter_map(Value::as_inline_table_mut)
            .find(|table| table.get("name").and_then(Value::as_str) == Some(group))?
            .get_mut("channels")?
            .as_array_mut(),
        _ => None,
    }
}

/// Removes elements. A comment that stands before or behind one stays.
fn remove(array: &mut Array, change: &Change) {
    // Comments of what was removed, which go to what comes next.
    let mut carried = String::new();
    // White space in front of what was the first element, where what comes next is that now.
    let mut first: Option<String> = None;
    let mut at = 0;
    while at < array.len() {
        let Some(value) = array.get_mut(at) else {
            break;
        };
        let decor = value.decor();
        let (prefix, suffix) = (text_of(decor.prefix()), text_of(decor.suffix()));
        if value.as_str().is_some_and(|name| change.removes(name)) {
            let comments = format!("{prefix}{suffix}");
            if comments.contains('#') {
                carried.push_str(comments.trim_end());
            } else if at == 0 {
                first.get_or_insert(prefix);
            }
            array.remove(at);
            continue;
        }
        if !carried.is_empty() {
            value.decor_mut().set_prefix(behind(&carried, &prefix));
            carried.clear();
        } else if let Some(first) = first.take()
            && prefix.trim().is_empty()
        {
            value.decor_mut().set_prefix(first);
        }
        at += 1;
    }
    if !carried.is_empty() {
        let trailing = behind(&carried, &text_of(Some(array.trailing())));
        array.set_trailing(trailing);
    }
}

/// White space behind a comment: a comment ends with its line.
fn behind(comment: &str, space: &str) -> String {
    let end = if space.contains('\n') { "" } else { "\n" };
    format!("{comment}{end}{space}")
}

/// Adds elements, laid out as the last one is.
fn add(array: &mut Array, names: &[&Channel]) {
    if names.is_empty() {
        return;
    }
    let mut space = if array.is_empty() { "" } else { " " }.to_owned();
    // What stands behind the last element up to the bracket, a comment for example.
    let mut rest = text_of(Some(array.trailing()));
    if let Some(last) = array.len().checked_sub(1).and_then(|at| array.get_mut(at)) {
        let prefix = text_of(last.decor().prefix());
        if let Some(line) = prefix.rfind('\n') {
            space = prefix[line..].to_owned();
        }
        rest.insert_str(0, &text_of(last.decor().suffix()));
        last.decor_mut().set_suffix("");
    }
    let mut first = space.clone();
    if rest.contains('#') {
        let comments = rest.trim_end().len();
        first = behind(&rest[..comments], &space);
        rest.drain(..comments);
    }
    for (place, name) in names.iter().enumerate() {
        let mut value = Value::from(name.as_str());
        let prefix = if place == 0 { &first } else { &space };
        *value.decor_mut() = toml_edit::Decor::new(prefix.as_str(), "");
        if place > 0 && space.is_empty() {
            value.decor_mut().set_prefix(" ");
        }
        array.push_formatted(value);
    }
    array.set_trailing(rest);
}

fn text_of(raw: Option<&RawString>) -> String {
    raw.and_then(RawString::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn change(add: &[&str], remove: &[&str]) -> Change {
        let named = |names: &[&str]| -> Vec<Channel> {
            names.iter().map(|name| channel(name).unwrap()).collect()
        };
        Change {
            add: named(add),
            remove: named(remove).into_iter().collect(),
        }
    }

    #[test]
    fn a_list_of_lines_keeps_its_comments_blank_lines_and_ends_of_lines() {
        for (text, add, remove, expected) in [
            (
                "# head\na\n\nB # why\nc\n",
                &["d", "A", "d"][..],
                &["b"][..],
                "# head\na\n\nc\nd\n",
            ),
            ("a\r\nb", &["c"], &["a"], "b\r\nc\r\n"),
            ("\u{feff}a\nb\n", &[], &["a"], "\u{feff}b\n"),
            ("a\n#b\n", &[], &["a"], "#b\n# no channels\n"),
            ("a\n", &[], &["a"], "# no channels\n"),
            ("# no channels\n", &["a"], &[], "# no channels\na\n"),
            ("a\n", &["a"], &["z"], "a\n"),
        ] {
            assert_eq!(list(text, &change(add, remove)).unwrap(), expected);
        }
    }

    #[test]
    fn a_json_list_keeps_its_form() {
        for (text, expected) in [
            (r#"["A","b"]"#, r#"["A","c"]"#),
            ("[\"a\", \"b\"]\n", "[\"a\", \"c\"]\n"),
            (
                "[\n    \"a\",\n    \"b\"\n]\n",
                "[\n    \"a\",\n    \"c\"\n]\n",
            ),
            ("[]", r#"["c"]"#),
        ] {
            let found = list(text, &change(&["c"], &["b"])).unwrap();
            assert_eq!(found, expected);
        }
        assert_eq!(list("[\n \"b\"\n]", &change(&[], &["b"])).unwrap(), "[]");
    }

    /// The list of a group after `c` and `d` were added and `b` removed.
    #[track_caller]
    fn edited(channels: &str, expected: &str) {
        let of = |channels: &str| {
            format!(
                "# top\n[[channel_groups]]\nname = \"g\" # the group\nchannels = {channels}\n\n[epoch]\nseconds = 60\n"
            )
        };
        let new = settings(&of(channels), "g", &change(&["c", "d"], &["b"])).unwrap();
        assert_eq!(new, of(expected));
        let found: Vec<String> = channels_of(&mut new.parse().unwrap(), "g")
            .unwrap()
            .iter()
            .map(|value| value.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(found.last().unwrap(), "d");
        assert!(!found.contains(&"b".to_owned()), "{found:?}");
    }

    #[test]
    fn an_inline_list_keeps_its_comments_and_format() {
        edited(r#"["a", "b"]"#, r#"["a", "c", "d"]"#);
        edited(r#"["b", "a"]"#, r#"["a", "c", "d"]"#);
        edited("[]", r#"["c", "d"]"#);
        edited(r#"["b"]"#, r#"["c", "d"]"#);
        edited(r#"[ "a" ]"#, r#"[ "a", "c", "d" ]"#);
        edited(
            "[\n  \"a\",\n  \"b\",\n]",
            "[\n  \"a\",\n  \"c\",\n  \"d\",\n]",
        );
        edited(
            "[\n  # first\n  \"a\", # why a\n  \"b\", # why b\n  # end\n]",
            "[\n  # first\n  \"a\", # why a # why b\n  # end\n  \"c\",\n  \"d\",\n]",
        );
        edited(
            "[\n  \"b\", # why b\n  \"a\" # why a\n]",
            "[ # why b\n  \"a\", # why a\n  \"c\",\n  \"d\"\n]",
        );
    }

    #[test]
    fn groups_may_be_written_as_inline_tables() {
        let text = "channel_groups = [{ name = \"g\", channels = [\"a\"] }]\n";
        assert_eq!(
            settings(text, "g", &change(&["c"], &["a"])).unwrap(),
            "channel_groups = [{ name = \"g\", channels = [\"c\"] }]\n"
        );
        assert!(settings(text, "other", &change(&["c"], &[])).is_err());
    }
}
