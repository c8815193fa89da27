//! The settings: what they are, and what is in bounds.
//!
//! Defaults ← `supervision.toml` ← environment ← flags; see [`layers`]. The defaults are the
//! shipped `supervision.toml` itself, so that they are written down once.

mod bounds;
mod chain;
mod channels;
pub mod layers;
mod lines;
pub mod lists;
mod secrets;
mod sections;
mod shown;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use twzrd_actors::tree::{ChildPlan, Plan, SupervisorPlan};
use twzrd_domain::batch::Groups;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::Login;
use twzrd_domain::roster::Roster;
use twzrd_domain::weight::{Arithmetic, Weights};

pub use chain::{ChainSettings, ListenerSettings, PublisherSettings};
pub use channels::GroupSource;
pub use secrets::{ADMIN_TOKEN, NICK, OAUTH, PUBLISHER_KEYPAIR, RPC_URLS, TwitchLogin, WS_URLS};
pub use sections::{
    CollectorSettings, GatewaySettings, JanitorSettings, JournalSettings, ReloadSettings,
    TwitchSettings,
};
pub use shown::{Fixed, Line};

use bounds::{Bounds, OutOfBounds};
use chain::{WrittenChain, WrittenListener, WrittenPublisher};
use channels::ChannelGroup;
use secrets::Secrets;
use sections::{
    BatcherSettings, DataSettings, EpochSettings, LogSettings, RewardSettings, StoreSettings,
    SuppressionSettings, WrittenGateway,
};

/// What a name of a person must be.
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
    reload: ReloadSettings,
    twitch: TwitchSettings,
    collector: CollectorSettings,
    journal: JournalSettings,
    batcher: BatcherSettings,
    store: StoreSettings,
    data: DataSettings,
    gateway: WrittenGateway,
    janitor: JanitorSettings,
    chain: WrittenChain,
    publisher: WrittenPublisher,
    listener: WrittenListener,
    log: LogSettings,
    #[serde(default)]
    channel_groups: Vec<ChannelGroup>,
}

/// A text that is never shown.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A text that is not to be shown.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

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
    /// How long after its end an epoch is sealed, in seconds.
    pub grace_seconds: u32,
    /// The settings of the journal.
    pub journal: JournalSettings,
    /// How many records a batch takes in at most.
    pub batch_records: usize,
    /// How long records are gathered for the next batch, in milliseconds.
    pub batch_linger_ms: u64,
    /// The URL of the database; none for a file in the data folder.
    pub database_url: Option<Secret>,
    /// Connections to Postgres, at most.
    pub max_connections: u32,
    /// The data folder.
    pub data_folder: PathBuf,
    /// What is logged.
    pub log_level: String,
    /// The settings of the network.
    pub twitch: TwitchSettings,
    /// Who the process is there; none for an anonymous connection.
    pub twitch_login: Option<TwitchLogin>,
    /// The settings of the collectors.
    pub collector: CollectorSettings,
    /// The settings of the gateway.
    pub gateway: GatewaySettings,
    /// The token that allows changes over HTTP; without one there are none.
    pub admin_token: Option<Secret>,
    /// The settings of the reload.
    pub reload: ReloadSettings,
    /// The settings of the janitor.
    pub janitor: JanitorSettings,
    /// The settings of the chain.
    pub chain: ChainSettings,
    /// The settings of the publisher.
    pub publisher: PublisherSettings,
    /// The settings of the chain listener.
    pub listener: ListenerSettings,
    /// The settings file, as an absolute path; none where there is none.
    pub file: Option<PathBuf>,
    /// The channels that are wanted.
    pub roster: Arc<Roster>,
    /// The group of each channel.
    pub groups: Groups,
    /// Where the channels of each group are listed, in the order of the settings.
    pub group_sources: Vec<GroupSource>,
    /// The files that list channels, as absolute paths.
    pub channel_files: Vec<PathBuf>,
}

impl Written {
    /// Checks every value against its bounds, and reads the files that list channels.
    ///
    /// # Errors
    /// Everything that is out of bounds, at most a hundred of it.
    fn check(self, secrets: &Secrets, file: Option<&Path>) -> Result<Settings, Vec<OutOfBounds>> {
        let mut bounds = Bounds::default();
        self.check_plan(&mut bounds);
        self.check_numbers(&mut bounds);
        self.check_texts(&mut bounds);
        self.check_chain(secrets, &mut bounds);
        let listen = self.listen(&mut bounds);
        let bots = self.bots(&mut bounds);
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let wanted = channels::read(&self.channel_groups, folder, &mut bounds);
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
        let sources = wanted.sources.iter();
        Ok(Settings {
            plan: Plan {
                supervisors: self.supervisors,
                children: self.children,
            },
            arithmetic,
            grace_seconds: self.epoch.grace_seconds,
            journal: self.journal,
            batch_records: self.batcher.batch_records,
            batch_linger_ms: self.batcher.linger_ms,
            database_url: Some(self.store.url).filter(|url| !url.reveal().is_empty()),
            max_connections: self.store.max_connections,
            data_folder: self.data.folder,
            log_level: self.log.level,
            twitch: self.twitch,
            twitch_login: secrets.twitch_login.clone(),
            collector: self.collector,
            gateway: GatewaySettings {
                listen: listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
                max_connections: self.gateway.max_connections,
                max_requests: self.gateway.max_requests,
                max_body_bytes: self.gateway.max_body_bytes,
                request_timeout_ms: self.gateway.request_timeout_ms,
            },
            admin_token: secrets.admin_token.clone(),
            reload: self.reload,
            janitor: self.janitor,
            chain: self.chain.settled(secrets, folder),
            publisher: self.publisher.settled(),
            listener: self.listener.settled(),
            file: file.map(absolute),
            channel_files: sources.filter_map(|source| source.file.clone()).collect(),
            group_sources: wanted.sources,
            groups: wanted.roster.groups(),
            roster: Arc::new(wanted.roster),
        })
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
}

/// The path from the root on, without a look at what is there.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
