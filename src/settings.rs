//! The settings: what they are, and what is in bounds.
//!
//! Defaults ← `supervision.toml` ← environment ← flags; see [`layers`]. The defaults are the
//! shipped `supervision.toml` itself, so that they are written down once.

pub mod layers;
mod lines;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use twzrd_actors::tree::{ChildPlan, Plan, SupervisorPlan};
use twzrd_domain::batch::{Group, Groups};
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::weight::{Arithmetic, Weights};

/// What a name of a person or channel must be.
const NAME: &str = "a name of 1 to 64 bytes without white space and control characters";

/// All settings, as they are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    supervisors: BTreeMap<String, SupervisorPlan>,
    children: BTreeMap<String, ChildPlan>,
    epoch: EpochSettings,
    weights: Weights,
    reward: RewardSettings,
    suppression: SuppressionSettings,
    journal: JournalSettings,
    batcher: BatcherSettings,
    store: StoreSettings,
    data: DataSettings,
    log: LogSettings,
    #[serde(default)]
    channel_groups: Vec<ChannelGroup>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochSettings {
    seconds: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RewardSettings {
    per_weight: u32,
    viewer_ratio_ppm: u32,
    decimals: u8,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuppressionSettings {
    bots: Vec<String>,
}

/// The settings of the journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalSettings {
    /// The size at which a segment is closed, in bytes.
    pub segment_bytes: u64,
    /// The age at which a segment is closed, in seconds.
    pub segment_age_seconds: u64,
    /// Whether what people wrote is stored.
    pub keep_text: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatcherSettings {
    batch_records: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreSettings {
    url: Secret,
    max_connections: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataSettings {
    folder: std::path::PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSettings {
    level: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelGroup {
    name: String,
    token_group: String,
    category: String,
    channels: Vec<String>,
}

/// A text that is never shown.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

/// All settings, checked and in the form in which they are used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the tree is supervised.
    pub plan: Plan,
    /// The settings that change arithmetic.
    pub arithmetic: Arithmetic,
    /// The settings of the journal.
    pub journal: JournalSettings,
    /// How many records a batch takes in at most.
    pub batch_records: usize,
    /// The URL of the database; none for a file in the data folder.
    pub database_url: Option<Secret>,
    /// Connections to Postgres, at most.
    pub max_connections: u32,
    /// The data folder.
    pub data_folder: std::path::PathBuf,
    /// What is logged.
    pub log_level: String,
    /// The group of each channel.
    pub groups: Groups,
}

/// What is wrong with a value, and what was expected.
pub struct OutOfBounds {
    /// Where it stands, from the section down.
    pub path: Vec<String>,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// Gathers what is out of bounds.
#[derive(Default)]
struct Bounds(Vec<OutOfBounds>);

impl Bounds {
    fn refuse(&mut self, path: &[&str], found: impl fmt::Display, expected: impl Into<String>) {
        let path = path.iter().map(|&key| key.to_owned()).collect();
        self.0.push(OutOfBounds {
            path,
            found: found.to_string(),
            expected: expected.into(),
        });
    }

    fn within(&mut self, path: &[&str], value: u64, least: u64, most: u64) {
        if value < least || value > most {
            self.refuse(path, value, format!("{least} to {most}"));
        }
    }
}

impl Written {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// Everything that is out of bounds.
    pub fn check(self) -> Result<Settings, Vec<OutOfBounds>> {
        let mut bounds = Bounds::default();
        self.check_plan(&mut bounds);
        self.check_numbers(&mut bounds);
        let bots = self.bots(&mut bounds);
        let groups = self.groups(&mut bounds);
        if !bounds.0.is_empty() {
            return Err(bounds.0);
        }
        let epoch_seconds = EpochLength::new(self.epoch.seconds).unwrap_or(EpochLength::HOUR);
        let arithmetic = Arithmetic {
            epoch_seconds,
            weights: self.weights,
            reward_per_weight: self.reward.per_weight,
            viewer_ratio_ppm: self.reward.viewer_ratio_ppm,
            decimals: self.reward.decimals,
            bots,
        };
        Ok(Settings {
            plan: Plan {
                supervisors: self.supervisors,
                children: self.children,
            },
            arithmetic,
            journal: self.journal,
            batch_records: self.batcher.batch_records,
            database_url: Some(self.store.url).filter(|url| !url.reveal().is_empty()),
            max_connections: self.store.max_connections,
            data_folder: self.data.folder,
            log_level: self.log.level,
            groups,
        })
    }

    fn check_plan(&self, bounds: &mut Bounds) {
        const DAY_MS: u64 = 86_400_000;
        for (name, plan) in &self.supervisors {
            let at = |key| ["supervisors", name.as_str(), key];
            bounds.within(&at("intensity"), plan.intensity.into(), 0, 1_000_000);
            bounds.within(&at("period_ms"), plan.period_ms, 1, DAY_MS);
        }
        for (name, plan) in &self.children {
            let at = |key| ["children", name.as_str(), key];
            bounds.within(&at("shutdown_ms"), plan.shutdown_ms, 1, 600_000);
            bounds.within(&at("backoff_max_ms"), plan.backoff_max_ms, 0, DAY_MS);
            bounds.within(
                &at("backoff_initial_ms"),
                plan.backoff_initial_ms,
                0,
                plan.backoff_max_ms,
            );
            bounds.within(&at("stall_after_ms"), plan.stall_after_ms, 1, DAY_MS);
            if !(0.0..=1.0).contains(&plan.backoff_jitter) {
                bounds.refuse(&at("backoff_jitter"), plan.backoff_jitter, "0 to 1");
            }
        }
    }

    fn check_numbers(&self, bounds: &mut Bounds) {
        let longest = EpochLength::MAX_SECONDS.into();
        bounds.within(&["epoch", "seconds"], self.epoch.seconds.into(), 1, longest);
        bounds.within(
            &["reward", "viewer_ratio_ppm"],
            self.reward.viewer_ratio_ppm.into(),
            0,
            1_000_000,
        );
        bounds.within(&["reward", "decimals"], self.reward.decimals.into(), 0, 12);
        bounds.within(
            &["journal", "segment_bytes"],
            self.journal.segment_bytes,
            65_536,
            4 << 30,
        );
        bounds.within(
            &["journal", "segment_age_seconds"],
            self.journal.segment_age_seconds,
            1,
            604_800,
        );
        let records = self.batcher.batch_records as u64;
        bounds.within(&["batcher", "batch_records"], records, 1, 1_000_000);
        bounds.within(
            &["store", "max_connections"],
            self.store.max_connections.into(),
            2,
            100,
        );
        let url = self.store.url.reveal();
        if !(url.is_empty() || url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            let expected = "an empty text, or a URL that begins with postgres:// or postgresql://";
            bounds.refuse(&["store", "url"], "another text (not shown)", expected);
        }
        if self
            .log
            .level
            .parse::<tracing_subscriber::EnvFilter>()
            .is_err()
        {
            let expected = "error, warn, info, debug or trace, or a filter of these by module";
            bounds.refuse(
                &["log", "level"],
                format_args!("{:?}", self.log.level),
                expected,
            );
        }
    }

    fn bots(&self, bounds: &mut Bounds) -> Vec<Login> {
        let mut bots = Vec::new();
        for bot in &self.suppression.bots {
            match Login::parse(bot) {
                Ok(login) => bots.push(login),
                Err(_) => bounds.refuse(&["suppression", "bots"], format_args!("{bot:?}"), NAME),
            }
        }
        bots.sort();
        bots.dedup();
        bots
    }

    fn groups(&self, bounds: &mut Bounds) -> Groups {
        let mut of = BTreeMap::new();
        let mut names = HashSet::new();
        for (place, group) in self.channel_groups.iter().enumerate() {
            let place = place.to_string();
            let at = |key| ["channel_groups", place.as_str(), key];
            if !names.insert(&group.name) {
                bounds.refuse(
                    &at("name"),
                    format_args!("{:?} again", group.name),
                    "a name of its own",
                );
            }
            for (key, text) in [
                ("token_group", &group.token_group),
                ("category", &group.category),
            ] {
                let fits =
                    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
                if !fits {
                    bounds.refuse(
                        &at(key),
                        format_args!("{text:?}"),
                        "1 to 32 ASCII characters without a space",
                    );
                }
            }
            let row = Group {
                token_group: group.token_group.to_ascii_uppercase().into(),
                category: group.category.as_str().into(),
            };
            for name in &group.channels {
                match Channel::parse(name) {
                    Err(_) => bounds.refuse(&at("channels"), format_args!("{name:?}"), NAME),
                    Ok(channel) => {
                        if of.insert(channel, row.clone()).is_some() {
                            let found = format_args!("{name:?} again").to_string();
                            bounds.refuse(&at("channels"), found, "each channel in one group");
                        }
                    }
                }
            }
        }
        Groups::new(of)
    }
}
