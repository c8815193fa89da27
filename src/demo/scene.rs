//! What a demo is made of: its chat server, and the settings under which the service listens to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::Channel;
use twzrd_domain::roster::{Listing, Roster};
use twzrd_domain::settlement::Target;
use twzrd_simulator::traffic::{Kind, Shares};
use twzrd_simulator::{Config, Limit, Rooms, Simulator};

use crate::cli;
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail};
use crate::settings::Settings;

/// How long after its end an epoch is sealed, in seconds. The traffic has lines that are five
/// seconds old, and some of them are late.
const GRACE_SECONDS: u32 = 4;
/// How many deliveries the chat server logs, where they are to be replayed.
pub(super) const LOGGED: u64 = 4_000_000;
/// On how many connections the channels are under a storm, so that a lost one is not all.
const CONNECTIONS: u32 = 5;

/// The chat server.
pub(super) fn config(settings: &Settings, args: &cli::Demo) -> Config {
    let limit = Limit {
        most: settings.twitch.joins_per_period,
        within: Duration::from_millis(settings.twitch.join_period_ms),
    };
    let config = Config {
        seed: args.seed,
        rooms: Rooms::Numbered(args.channels),
        users: args.channels.saturating_mul(20),
        lines_per_second: args.lines_per_second,
        join_limit: limit,
        ..Config::new(Arc::new(SystemClock))
    };
    if !args.chaos {
        return config;
    }
    Config {
        // A line without a time has that of its receipt here, and none in a replay; and what is no
        // line at all may look like one. The storm sends garbage of its own.
        shares: Shares::default()
            .with(Kind::WithoutTime, 0)
            .with(Kind::Junk, 0),
        // What was read before the last PING is certain, however its socket ends.
        ping_every: Some(Duration::from_secs(1)),
        keep_log: true,
        log_deliveries: LOGGED,
        ..config
    }
}

/// Settings under which a lost socket is back soon: several connections, the joins that Twitch
/// allows to a verified bot, and short waits. How the tree is supervised stays as it is.
pub(super) fn brace(settings: &mut Settings, channels: u32) {
    let twitch = &mut settings.twitch;
    twitch.channels_per_connection = channels.div_ceil(CONNECTIONS).clamp(1, 90);
    twitch.joins_per_period = Limit::VERIFIED.most;
    twitch.reconnect_initial_ms = 100;
    twitch.reconnect_max_ms = 2000;
}

/// The settings of the demo: those of the service, but for where it listens and stores, and for
/// how long an epoch is.
pub(super) fn of_demo(
    given: &Settings,
    simulator: &Simulator,
    folder: &Path,
) -> Result<Settings, Failure> {
    const SECONDS: u32 = 20;
    let mut settings = given.clone();
    let address = simulator.address();
    settings.twitch.host = address.ip().to_string();
    settings.twitch.port = address.port();
    settings.twitch.tls = false;
    // A real token is not for a server of play.
    settings.twitch_login = None;
    settings.admin_token = None;
    settings.database_url = None;
    // What is said here is not to be published for real.
    settings.chain.target = Target::None;
    settings.chain.keypair = None;
    settings.chain.keypair_file = None;
    settings.publisher.auto_publish = false;
    settings.data_folder = folder.to_owned();
    settings.arithmetic.epoch_seconds = EpochLength::new(SECONDS).or_fail(Code::Config)?;
    settings.grace_seconds = GRACE_SECONDS;
    let listing = Listing {
        group: "demo".into(),
        token_group: "MILO".into(),
        category: "demo".into(),
    };
    let rooms = simulator.rooms();
    let rooms = rooms.iter().map(|room| Channel::parse(room));
    let channels = rooms.map(|room| room.map(|room| (room, listing.clone())));
    let roster = Roster::new(channels.collect::<Result<_, _>>().or_fail(Code::Config)?);
    settings.groups = roster.groups();
    settings.roster = Arc::new(roster);
    Ok(settings)
}
