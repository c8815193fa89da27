//! Where settings come from: defaults ← `supervision.toml` ← environment ← flags.
//!
//! A fault does not hide the next one: the value at fault is put aside for what lies below it, and
//! the rest is read on. A fault in the file is named with its line.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Tag, Value};
use figment::{Figment, Profile, Provider};
use toml_edit::Document;

use super::bounds::MAX_FAULTS;
use super::lines::{line_at, line_of};
use super::secrets::Secrets;
use super::shown::{Fixed, Line, as_toml, is_secret, masked, may_hold_secret, walk};
use super::{Settings, Written, absolute, channels, lists};

/// The shipped settings: the defaults.
pub const DEFAULTS: &str = include_str!("../../supervision.toml");

/// The name of the settings file in the working folder.
pub const FILE_NAME: &str = "supervision.toml";

/// Variables that begin like settings and are none.
const NOT_SETTINGS: [&str; 6] = [
    "settings",
    "admin_token",
    "publisher_keypair",
    "rpc_urls",
    "ws_urls",
    "test_",
];

/// What flags say.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--settings`: the file; none for `supervision.toml` in the working folder, if it is there.
    pub file: Option<PathBuf>,
    /// Values by dotted key.
    pub values: Vec<(&'static str, Value)>,
}

impl Flags {
    /// Where the settings file is, or would be, as an absolute path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        absolute(self.file.as_deref().unwrap_or(Path::new(FILE_NAME)))
    }
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

/// The layers, laid over one another.
pub struct Layers {
    figment: Figment,
    file: Option<File>,
    merged: Dict,
    defaults: Dict,
    secrets: Secrets,
    /// What is wrong with the secrets.
    unusable: Vec<Fault>,
}

/// The settings file.
struct File {
    path: PathBuf,
    document: Document<String>,
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
            figment = figment.merge(Toml::string(file.document.raw()));
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
        let (secrets, unusable) = Secrets::read(|name| std::env::var_os(name));
        let layers = Self {
            figment,
            file,
            merged,
            defaults,
            secrets,
            unusable,
        };
        layers.check_secret()?;
        Ok(layers)
    }

    /// The settings that hold.
    ///
    /// # Errors
    /// Every fault that was found, at most 100.
    pub fn settings(&self) -> Result<Settings, Faults> {
        let mut faults = self.unusable.clone();
        let mut merged = self.merged.clone();
        self.refuse_unknown_members(&mut merged, &mut faults);
        let written = loop {
            match Value::from(merged.clone()).deserialize::<Written>() {
                Ok(written) => break written,
                Err(error) => {
                    let path = path_of(&error);
                    faults.push(self.fault(&path, None, &problem_of(&path, &error.kind)));
                    let known = put_aside(&mut merged, &self.defaults, &path);
                    if !known || faults.len() >= MAX_FAULTS {
                        return Err(Faults(faults));
                    }
                }
            }
        };
        let file = self.file.as_ref().map(|file| file.path.as_path());
        match written.check(&self.secrets, file) {
            Ok(settings) if faults.is_empty() => Ok(settings),
            Ok(_) => Err(Faults(faults)),
            Err(out_of_bounds) => {
                let room = MAX_FAULTS.saturating_sub(faults.len());
                faults.extend(out_of_bounds.into_iter().take(room).map(|wrong| {
                    let problem = match wrong.expected.as_str() {
                        "" => wrong.found,
                        expected => format!("{}; expected {expected}", wrong.found),
                    };
                    match wrong.place {
                        None => self.fault(&wrong.path, None, &problem),
                        Some(place) => Fault {
                            place,
                            key: wrong.path.join("."),
                            problem,
                        },
                    }
                }));
                Err(Faults(faults))
            }
        }
    }

    /// Every value that holds, with its source, in the order of its key; then the secrets of the
    /// environment.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        walk(&mut Vec::new(), &self.merged, &mut |path, value| {
            lines.push(Line {
                key: path.join("."),
                value: if is_secret(path) {
                    masked(value)
                } else {
                    as_toml(value)
                },
                source: self.place(path, Some(value.tag())),
            });
        });
        lines.extend(self.secrets.names().into_iter().map(|name| Line {
            key: name.to_owned(),
            value: "***".to_owned(),
            source: "environment".to_owned(),
        }));
        lines
    }

    /// Everything that cannot be changed while the process runs.
    #[must_use]
    pub fn fixed(&self) -> Fixed {
        let text = self.file.as_ref().map_or("", |file| file.document.raw());
        Fixed::of(&self.merged, !text.trim().is_empty())
    }

    /// The files that channel groups name, as absolute paths, whether they can be read or not.
    #[must_use]
    pub fn channel_files(&self) -> Vec<PathBuf> {
        let file = self.file.as_ref().map(|file| file.path.as_path());
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let groups = self.merged.get("channel_groups").and_then(Value::as_array);
        let named = groups.into_iter().flatten().filter_map(|group| {
            let file = group.as_dict()?.get("file")?.as_str()?;
            Some(channels::resolve(folder, Path::new(file)).1)
        });
        named.collect()
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
                    let line = line_of(&file.document, path).unwrap_or(1);
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
        let store = file.document.get("store");
        let url = store.and_then(|store| store.get("url")?.as_str());
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
    let text = match read_text(path) {
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
    let document = match Document::parse(text.clone()) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_at(&text, span.start));
            return Err(Fault {
                place: format!("{place}:{line}"),
                key: String::new(),
                problem: format!("{}; expected TOML", error.message()),
            });
        }
    };
    // The layers are read by a parser that knows TOML 1.0 only. It would show the line at fault, in
    // which a secret may stand.
    let dict = dict_of(&Figment::from(Toml::string(document.raw()))).map_err(|told| Fault {
        place: format!("{place}:{}", line_told(&told.problem)),
        key: String::new(),
        problem: "is TOML of a later version here; expected TOML 1.0".to_owned(),
    })?;
    Ok(Some(File {
        path: path.to_owned(),
        document,
        dict,
    }))
}

/// The line that a parser names, as in "TOML parse error at line 3, column 7".
fn line_told(problem: &str) -> usize {
    let behind = problem.split_once(" at line ").map(|(_, behind)| behind);
    let number = behind.and_then(|behind| behind.split_once(',')?.0.parse().ok());
    number.unwrap_or(1)
}

/// Reads a text that has a bound, like every input.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let mut file = std::fs::File::open(path)?.take(lists::MAX_FILE_BYTES + 1);
    file.read_to_string(&mut text)?;
    if text.len() as u64 > lists::MAX_FILE_BYTES {
        let most = format!("it has more than {} bytes", lists::MAX_FILE_BYTES);
        return Err(std::io::Error::other(most));
    }
    Ok(text)
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
        problem: problem_of(&error.path, &error.kind),
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

/// What is wrong with a value. Where a URL with its credential may have been put, what was found is
/// not shown.
fn problem_of(path: &[String], kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected)
            if may_hold_secret(path) =>
        {
            format!("another value (not shown); expected {expected}")
        }
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
    // What is in a list is in the variable of the list.
    let is_place = |key: &String| key.bytes().all(|b| b.is_ascii_digit());
    let keys = path.iter().take_while(|key| !is_place(key));
    let keys: Vec<_> = keys.map(|key| key.to_ascii_uppercase()).collect();
    format!("TWZRD_{}", keys.join("__"))
}
