//! Files that list channels: one a line with comments, or a JSON array of names.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use twzrd_domain::identity::{Channel, MAX_NAME_BYTES};

/// The most channels of all groups together. The journal remembers how far 200,000 feeds have been
/// read, those of the last process among them.
pub const MAX_CHANNELS: usize = 150_000;

/// The most bytes of a file.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// What the name of a channel must be.
pub const CHANNEL: &str = "the name of a channel: 1 to 64 ASCII letters, digits and underscores";

/// The channel of this name, in lower case; none where it cannot be one.
#[must_use]
pub fn channel(text: &str) -> Option<Channel> {
    let usable = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(usable);
    fits.then(|| Channel::parse(text).ok()).flatten()
}

/// In which form a file lists channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One a line; # begins a comment.
    Lines,
    /// A JSON array of texts.
    Json,
}

impl Form {
    /// The form of this text. No channel begins with a bracket.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if bare(text).trim_start().starts_with('[') {
            Self::Json
        } else {
            Self::Lines
        }
    }
}

/// Where a name stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In this line; the first is 1.
    Line(usize),
    /// At this place of the array; the first is 0.
    Index(usize),
}

/// Why a file gives no names.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, where there is one to name.
    pub line: Option<usize>,
    /// What is wrong, and what was expected.
    pub problem: String,
}

/// A name as it was found, or what stands in its place.
pub type Found<'a> = Result<Cow<'a, str>, String>;

/// Every name that a text lists, and where it stands; one more than [`MAX_CHANNELS`] at most.
///
/// # Errors
/// Where the text is no list, or looks as if it were meant to list channels and lists none.
pub fn names(text: &str) -> Result<Vec<(At, Found<'_>)>, Unreadable> {
    if text.is_empty() {
        // So does a file look that is being written.
        return Err(whole(
            "is empty; expected channels, or a comment where none is wanted",
        ));
    }
    match Form::of(text) {
        Form::Json => json(bare(text)),
        Form::Lines => lines(bare(text)),
    }
}

/// The name in a line; none in one that is blank or a comment.
#[must_use]
pub fn name_in(line: &str) -> Option<&str> {
    let name = line
        .split_once('#')
        .filter(|(before, _)| before.is_empty() || before.ends_with(char::is_whitespace))
        .map_or(line, |(before, _)| before)
        .trim();
    (!name.is_empty()).then_some(name)
}

fn lines(text: &str) -> Result<Vec<(At, Found<'_>)>, Unreadable> {
    let numbered = text.lines().enumerate();
    let found: Vec<_> = numbered
        .filter_map(|(number, line)| Some((At::Line(number + 1), Ok(name_in(line)?.into()))))
        .take(MAX_CHANNELS + 1)
        .collect();
    let spoken = text.lines().enumerate();
    let mut spoken = spoken.filter(|(_, line)| !line.trim().is_empty());
    let as_irc = |line: &str| line.trim().strip_prefix('#').and_then(channel).is_some();
    if let Some((first, line)) = spoken.next()
        && as_irc(line)
        && spoken.all(|(_, line)| as_irc(line))
    {
        return Err(Unreadable {
            line: Some(first + 1),
            problem: "lists no channel, only comments that look like some; expected names without # in front".to_owned(),
        });
    }
    Ok(found)
}

fn json(text: &str) -> Result<Vec<(At, Found<'_>)>, Unreadable> {
    let array: Array = serde_json::from_str(text).map_err(|error| {
        let told = error.to_string();
        let what = told.split(" at line ").next().unwrap_or_default();
        Unreadable {
            line: Some(error.line()),
            problem: format!("{what}; expected a JSON array of names"),
        }
    })?;
    let numbered = array.0.into_iter().enumerate();
    Ok(numbered
        .map(|(index, entry)| (At::Index(index), entry.map(Cow::Owned)))
        .collect())
}

/// An array of which no more is kept than may be in it.
struct Array(Vec<Result<String, String>>);

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Array;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Array, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = seq.next_element::<serde_json::Value>()? {
                    if found.len() > MAX_CHANNELS {
                        continue;
                    }
                    found.push(match entry {
                        serde_json::Value::String(name) => Ok(name),
                        other => Err(kind(&other).to_owned()),
                    });
                }
                Ok(Array(found))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

const fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "true or false",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "an array",
        serde_json::Value::Object(_) => "an object",
    }
}

/// The text without a byte order mark.
fn bare(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads a file that must be one, and not too large.
///
/// # Errors
/// What is wrong with it.
pub fn read(path: &Path) -> Result<String, Unreadable> {
    let no = |error: std::io::Error| {
        whole(format!(
            "cannot be read: {error}; expected a list of channels"
        ))
    };
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(no)?.is_file() {
        return Err(whole("is no regular file; expected a list of channels"));
    }
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path)
        .map_err(no)?
        .take(MAX_FILE_BYTES + 1);
    file.read_to_end(&mut bytes).map_err(no)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(format!(
            "has more than {MAX_FILE_BYTES} bytes; expected at most so many"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        whole(format!("is no text from byte {at} on; expected UTF-8"))
    })
}

fn whole(problem: impl Into<String>) -> Unreadable {
    Unreadable {
        line: None,
        problem: problem.into(),
    }
}
