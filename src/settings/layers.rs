//! Where settings come from: defaults ← `supervision.toml` ← environment ← flags.
//!
//! A fault does not hide the next one: the value at fault is put aside for what lies below it, and
//! the rest is read on. A fault in the file is named with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Tag, Value};
use figment::{Figment, Profile, Provider};

use super::lines::{line_at, line_of};
use super::{Settings, Written};

/// The shipped settings: the defaults.
pub const DEFAULTS: &str = include_str!("../../supervision.toml");

/// The name of the settings file in the working folder.
pub const FILE_NAME: &str = "supervision.toml";

/// The most faults that are named at once.
const MAX_FAULTS: usize = 100;

/// Variables that begin like settings and are none.
const NOT_SETTINGS: [&str; 2] = ["settings", "test_"];

/// What flags say.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--settings`: the file; none for `supervision.toml` in the working folder, if it is there.
    pub file: Option<PathBuf>,
    /// Values by dotted key.
    pub values: Vec<(&'static str, Value)>,
}

/// What is wrong with a setting, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it comes from: file and line, variable, or flag.
    pub place: String,
    /// The dotted key; empty where the file as a whole is at fault.
    pub key: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.problem)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.problem)
        }
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Faults {}

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

/// The layers, laid over one another.
pub struct Layers {
    figment: Figment,
    file: Option<File>,
    merged: Dict,
    defaults: Dict,
}

/// The settings file.
struct File {
    path: PathBuf,
    text: String,
    dict: Dict,
}

impl Layers {
    /// Reads all layers.
    ///
    /// # Errors
    /// Where the file cannot be read, is no TOML, or holds a secret that others can read.
    pub fn read(flags: &Flags) -> Result<Self, Faults> {
        let file = read_file(flags.file.as_deref()).map_err(|fault| Faults(vec![fault]))?;
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let mut figment = defaults.clone();
        if let Some(file) = &file {
            figment = figment.merge(Toml::string(&file.text));
        }
        figment = figment
            .merge(Env::prefixed("TWZRD_").filter(is_setting).split("__"))
            .merge(
                Env::raw()
                    .only(&["DATABASE_URL"])
                    .map(|_| "store.url".into()),
            );
        for (key, value) in &flags.values {
            figment = figment.merge(Serialized::default(key, value));
        }
        let merged = dict_of(&figment).map_err(|fault| Faults(vec![fault]))?;
        let defaults = dict_of(&defaults).map_err(|fault| Faults(vec![fault]))?;
        let layers = Self {
            figment,
            file,
            merged,
            defaults,
        };
        layers.check_secret()?;
        Ok(layers)
    }

    /// The settings that hold.
    ///
    /// # Errors
    /// Every fault that was found, at most 100.
    pub fn settings(&self) -> Result<Settings, Faults> {
        let mut faults = Vec::new();
        let mut merged = self.merged.clone();
        self.refuse_unknown_members(&mut merged, &mut faults);
        let written = loop {
            match Value::from(merged.clone()).deserialize::<Written>() {
                Ok(written) => break written,
                Err(error) => {
                    let path = path_of(&error);
                    faults.push(self.fault(&path, None, &problem_of(&error.kind)));
                    let known = put_aside(&mut merged, &self.defaults, &path);
                    if !known || faults.len() >= MAX_FAULTS {
                        return Err(Faults(faults));
                    }
                }
            }
        };
        match written.check() {
            Ok(settings) if faults.is_empty() => Ok(settings),
            Ok(_) => Err(Faults(faults)),
            Err(out_of_bounds) => {
                faults.extend(out_of_bounds.into_iter().map(|wrong| {
                    let problem = format!("{}; expected {}", wrong.found, wrong.expected);
                    self.fault(&wrong.path, None, &problem)
                }));
                Err(Faults(faults))
            }
        }
    }

    /// Every value that holds, with its source, in the order of its key.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.gather(&mut Vec::new(), &self.merged, &mut lines);
        lines
    }

    fn gather(&self, path: &mut Vec<String>, dict: &Dict, lines: &mut Vec<Line>) {
        for (key, value) in dict {
            path.push(key.clone());
            match value {
                Value::Dict(_, inner) => self.gather(path, inner, lines),
                value => lines.push(Line {
                    key: path.join("."),
                    value: if is_secret(path) {
                        masked(value)
                    } else {
                        as_toml(value)
                    },
                    source: self.place(path, Some(value.tag())),
                }),
            }
            path.pop();
        }
    }

    /// A supervisor or a child that the tree does not have.
    fn refuse_unknown_members(&self, merged: &mut Dict, faults: &mut Vec<Fault>) {
        use twzrd_actors::tree::{CHILDREN, SUPERVISORS};
        for (section, known) in [
            ("supervisors", SUPERVISORS.as_slice()),
            ("children", &CHILDREN),
        ] {
            let Some(Value::Dict(_, members)) = merged.get_mut(section) else {
                continue;
            };
            let unknown: Vec<String> = members
                .keys()
                .filter(|name| !known.contains(&name.as_str()))
                .cloned()
                .collect();
            for name in unknown {
                let tag = members.remove(&name).map(|value| value.tag());
                let problem = format!(
                    "the tree has no such member; expected one of {}",
                    known.join(", ")
                );
                faults.push(self.fault(&[section.to_owned(), name], tag, &problem));
            }
        }
    }

    fn fault(&self, path: &[String], tag: Option<Tag>, problem: &str) -> Fault {
        let tag = tag.or_else(|| find(&self.merged, path).map(Value::tag));
        Fault {
            place: self.place(path, tag),
            key: path.join("."),
            problem: problem.to_owned(),
        }
    }

    /// Where a value comes from, as a person would look it up.
    fn place(&self, path: &[String], tag: Option<Tag>) -> String {
        let tag = find(&self.merged, path).map(leaf_tag).or(tag);
        let from = tag
            .and_then(|tag| self.figment.get_metadata(tag))
            .map(|m| m.name.to_string());
        match from {
            Some(name) if name.contains("environment") => variable(path),
            Some(name) if !name.contains("TOML") => "flag".to_owned(),
            // What is missing is missing from the table around it.
            _ => match &self.file {
                Some(file)
                    if find(&self.merged, path).is_none() || find(&file.dict, path).is_some() =>
                {
                    let line = line_of(&file.text, path).unwrap_or(1);
                    format!("{}:{line}", file.path.display())
                }
                _ => "default".to_owned(),
            },
        }
    }

    /// A password in a file that everybody can read is no secret any more.
    fn check_secret(&self) -> Result<(), Faults> {
        use std::os::unix::fs::PermissionsExt;
        let Some(file) = &self.file else {
            return Ok(());
        };
        let path = ["store".to_owned(), "url".to_owned()];
        let document = toml_edit::Document::parse(file.text.as_str()).ok();
        let url = document
            .as_ref()
            .and_then(|d| d.get("store")?.get("url")?.as_str());
        if !url.is_some_and(|url| url.contains('@')) {
            return Ok(());
        }
        let mode = std::fs::metadata(&file.path).map_or(0o777, |meta| meta.permissions().mode());
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let problem = format!(
            "holds credentials, and the file has mode {:04o}; expected DATABASE_URL in the environment, or mode 0600",
            mode & 0o7777
        );
        Err(Faults(vec![self.fault(&path, None, &problem)]))
    }
}

fn read_file(given: Option<&Path>) -> Result<Option<File>, Fault> {
    let path = given.unwrap_or(Path::new(FILE_NAME));
    let place = path.display().to_string();
    let fault = |problem: String| Fault {
        place: place.clone(),
        key: String::new(),
        problem,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && given.is_none() => {
            return Ok(None);
        }
        Err(error) => {
            return Err(fault(format!(
                "cannot be read: {error}; expected a TOML file"
            )));
        }
    };
    if let Err(error) = toml_edit::Document::parse(text.as_str()) {
        let line = error.span().map_or(1, |span| line_at(&text, span.start));
        let problem = format!("{}; expected TOML", error.message());
        return Err(Fault {
            place: format!("{place}:{line}"),
            key: String::new(),
            problem,
        });
    }
    let dict = dict_of(&Figment::from(Toml::string(&text)))?;
    Ok(Some(File {
        path: path.to_owned(),
        text,
        dict,
    }))
}

fn is_setting(key: &figment::value::UncasedStr) -> bool {
    let key = key.as_str().to_ascii_lowercase();
    !NOT_SETTINGS
        .iter()
        .any(|other| key == *other || (other.ends_with('_') && key.starts_with(other)))
}

fn dict_of(figment: &Figment) -> Result<Dict, Fault> {
    let data = figment.data().map_err(|error| Fault {
        place: error
            .metadata
            .as_ref()
            .map_or_else(String::new, |m| m.name.to_string()),
        key: error.path.join("."),
        problem: problem_of(&error.kind),
    })?;
    Ok(data.get(&Profile::Default).cloned().unwrap_or_default())
}

fn path_of(error: &figment::Error) -> Vec<String> {
    let mut path = error.path.clone();
    match &error.kind {
        Kind::UnknownField(name, _) => path.push(name.clone()),
        Kind::MissingField(name) => path.push(name.to_string()),
        _ => {}
    }
    path.dedup();
    path
}

fn problem_of(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            format!("unknown key; expected one of {}", known.join(", "))
        }
        Kind::MissingField(_) => "is missing".to_owned(),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("{found}; expected {expected}")
        }
        Kind::UnknownVariant(found, known) => {
            format!("{found:?}; expected one of {}", known.join(", "))
        }
        other => other.to_string(),
    }
}

/// Puts the default, or nothing, where a value is at fault. False where nothing was there.
fn put_aside(merged: &mut Dict, defaults: &Dict, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let (mut at, mut default) = (merged, Some(defaults));
    for (depth, key) in parents.iter().enumerate() {
        default = default
            .and_then(|dict| dict.get(key))
            .and_then(Value::as_dict);
        match at.get(key) {
            Some(Value::Dict(..)) => {}
            // Inside a list: the list as a whole is put aside.
            Some(_) => return put_aside(at, &Dict::new(), &parents[depth..=depth]),
            None => return false,
        }
        let Some(Value::Dict(_, inner)) = at.get_mut(key) else {
            return false;
        };
        at = inner;
    }
    match default.and_then(|dict| dict.get(last)) {
        Some(value) => at.insert(last.clone(), value.clone()).as_ref() != Some(value),
        None => at.remove(last).is_some(),
    }
}

fn find<'a>(dict: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = dict.get(first)?;
    for key in rest {
        value = match value {
            Value::Dict(_, inner) => inner.get(key)?,
            Value::Array(_, items) => items.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The tag of a value; of a list, that of what is in it.
fn leaf_tag(value: &Value) -> Tag {
    match value {
        Value::Array(tag, items) => items.first().map_or(*tag, leaf_tag),
        Value::Dict(tag, inner) => inner.values().next().map_or(*tag, leaf_tag),
        other => other.tag(),
    }
}

fn variable(path: &[String]) -> String {
    if is_secret(path) && std::env::var_os("DATABASE_URL").is_some() {
        return "DATABASE_URL".to_owned();
    }
    format!("TWZRD_{}", path.join("__").to_ascii_uppercase())
}

fn is_secret(path: &[String]) -> bool {
    path.iter().map(String::as_str).eq(["store", "url"])
}

fn masked(value: &Value) -> String {
    if value.as_str().is_some_and(str::is_empty) {
        "\"\"".to_owned()
    } else {
        "***".to_owned()
    }
}

fn as_toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => toml_edit::Value::from(text.as_str()).to_string(),
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
        Value::Char(_, c) => format!("{:?}", c.to_string()),
        Value::Num(_, number) => number
            .to_u128()
            .map(|n| n.to_string())
            .or_else(|| number.to_i128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => "\"\"".to_owned(),
    }
}
