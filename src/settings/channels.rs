//! The channel groups: from what is written, here or in files, to the roster.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use compact_str::CompactString;
use serde::Deserialize;
use twzrd_domain::identity::Channel;
use twzrd_domain::roster::{Listing, Roster};

use super::bounds::Bounds;
use super::lists::{self, At, CHANNEL, MAX_CHANNELS, Unreadable};

/// What the name of a group must be.
const GROUP: &str = "a name of 1 to 64 characters without control characters";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelGroup {
    name: String,
    token_group: String,
    category: String,
    channels: Option<Vec<String>>,
    file: Option<PathBuf>,
}

/// Where the channels of a group are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSource {
    /// The name of the group.
    pub name: String,
    /// The file, as an absolute path; none where they are listed in the settings.
    pub file: Option<PathBuf>,
}

/// What the channel groups come to.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) roster: Roster,
    pub(super) sources: Vec<GroupSource>,
}

/// The file that a group names, as a person would look it up, and as an absolute path.
pub(super) fn resolve(folder: &Path, file: &Path) -> (PathBuf, PathBuf) {
    let shown = folder.join(file);
    let absolute = std::path::absolute(&shown).unwrap_or_else(|_| shown.clone());
    (shown, absolute)
}

/// Reads the groups, of which files are relative to a folder.
pub(super) fn read(groups: &[ChannelGroup], folder: &Path, bounds: &mut Bounds) -> Wanted {
    let mut reading = Reading {
        bounds,
        channels: BTreeMap::new(),
        too_many: false,
    };
    let mut sources = Vec::new();
    let mut names = HashSet::new();
    for (place, group) in groups.iter().enumerate() {
        let place = place.to_string();
        let at = |key| ["channel_groups", place.as_str(), key];
        reading.check_texts(group, &at);
        if !names.insert(&group.name) {
            let found = format_args!("{:?} again", group.name);
            let expected = "a name of its own";
            reading.bounds.refuse(&at("name"), found, expected);
        }
        let listing = Listing {
            group: CompactString::from(&group.name),
            token_group: group.token_group.to_ascii_uppercase().into(),
            category: group.category.as_str().into(),
        };
        let expected = "either channels or file";
        let file = match (&group.channels, &group.file) {
            (Some(channels), None) => {
                reading.inline(channels, &place, &listing);
                None
            }
            (None, Some(file)) => {
                let (shown, absolute) = resolve(folder, file);
                reading.file(&shown, &absolute, &listing);
                Some(absolute)
            }
            (None, None) => {
                let path = ["channel_groups", place.as_str()];
                reading.bounds.refuse(&path, "lists no channels", expected);
                continue;
            }
            (Some(_), Some(_)) => {
                reading
                    .bounds
                    .refuse(&at("file"), "stands beside channels", expected);
                continue;
            }
        };
        sources.push(GroupSource {
            name: group.name.clone(),
            file,
        });
    }
    Wanted {
        roster: Roster::new(reading.channels),
        sources,
    }
}

struct Reading<'a> {
    bounds: &'a mut Bounds,
    channels: BTreeMap<Channel, Listing>,
    too_many: bool,
}

impl Reading<'_> {
    fn check_texts<'k>(&mut self, group: &ChannelGroup, at: &impl Fn(&'k str) -> [&'k str; 3]) {
        let name = &group.name;
        let fits = (1..=64).contains(&name.len()) && !name.chars().any(char::is_control);
        if !fits {
            self.bounds
                .refuse(&at("name"), format_args!("{name:?}"), GROUP);
        }
        for (key, text) in [
            ("token_group", &group.token_group),
            ("category", &group.category),
        ] {
            let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            if !fits {
                let expected = "1 to 32 ASCII characters without a space";
                self.bounds
                    .refuse(&at(key), format_args!("{text:?}"), expected);
            }
        }
    }

    fn inline(&mut self, channels: &[String], group: &str, listing: &Listing) {
        for (index, name) in channels.iter().enumerate() {
            let index = index.to_string();
            let path = ["channel_groups", group, "channels", index.as_str()];
            self.take(None, &path, name, listing);
        }
    }

    fn file(&mut self, shown: &Path, absolute: &Path, listing: &Listing) {
        let text = match lists::read(absolute) {
            Ok(text) => text,
            Err(wrong) => return self.unreadable(shown, &wrong),
        };
        let names = match lists::names(&text) {
            Ok(names) => names,
            Err(wrong) => return self.unreadable(shown, &wrong),
        };
        for (at, name) in names {
            let (line, index) = match at {
                At::Line(line) => (Some(line), None),
                At::Index(index) => (None, Some(format!("[{index}]"))),
            };
            let path = index.as_deref();
            let place = || place(shown, line);
            match name {
                Ok(name) => self.take(Some(&place), path.as_slice(), &name, listing),
                Err(found) => {
                    let place = Some(place());
                    self.bounds
                        .refuse_at(place, path.as_slice(), found, CHANNEL);
                }
            }
        }
    }

    fn unreadable(&mut self, shown: &Path, wrong: &Unreadable) {
        let place = Some(place(shown, wrong.line));
        self.bounds.refuse_at(place, &[], &wrong.problem, "");
    }

    fn take(
        &mut self,
        place: Option<&dyn Fn() -> String>,
        path: &[&str],
        name: &str,
        listing: &Listing,
    ) {
        let mut refuse = |found: &dyn fmt::Display, expected: &str| {
            self.bounds
                .refuse_at(place.map(|place| place()), path, found, expected);
        };
        let Some(channel) = lists::channel(name) else {
            // Whatever the file holds, a fault stays a line that can be read.
            let shown: String = name.chars().take(80).collect();
            return refuse(&format_args!("{shown:?}"), CHANNEL);
        };
        if self.channels.contains_key(&channel) {
            return refuse(&format_args!("{name:?} again"), "each channel in one group");
        }
        if self.channels.len() >= MAX_CHANNELS {
            if !std::mem::replace(&mut self.too_many, true) {
                let expected = format!("at most {MAX_CHANNELS} in all");
                refuse(&"one channel too many", &expected);
            }
            return;
        }
        self.channels.insert(channel, listing.clone());
    }
}

fn place(shown: &Path, line: Option<usize>) -> String {
    let shown = shown.display();
    line.map_or_else(|| shown.to_string(), |line| format!("{shown}:{line}"))
}
