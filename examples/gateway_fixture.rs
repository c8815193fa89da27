//! Serves a data folder over the gateway, with stand-ins for all but the store, for tests of the
//! HTTP interface from outside: `gateway_fixture DATA_FOLDER`.
//!
//! Prints the address once it listens, and stops on SIGTERM. With `TWZRD_ADMIN_TOKEN` it has the
//! admin routes; they take every change and do nothing.
#![allow(clippy::print_stdout, reason = "the address is its answer")]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use twzrd::admin::{Admin, ChannelEdit, Refused, Reloaded};
use twzrd::clock::SystemClock;
use twzrd::gateway::{
    AdminAccess, Gateway, Ingest, Limits, SettlementFacts, SettlementView, Token, View,
};
use twzrd_actors::chain_listener::ListenerCounts;
use twzrd_actors::status::{
    ChannelState, ChannelStatus, ConnectionState, ConnectionStatus, IntakeCounts,
};
use twzrd_domain::batch::Groups;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::Name;
use twzrd_domain::ports::BatchStore;
use twzrd_domain::roster::Listing;
use twzrd_domain::settlement::{RootKind, Target};
use twzrd_supervision::{ChildKind, ChildSnapshot, ChildState, Strategy, TreeSnapshot};

/// Channels that are wanted and heard, as far as anybody asks.
struct Heard(Vec<Name>);

impl Ingest for Heard {
    fn channels(&self) -> Vec<ChannelStatus> {
        let listing = Listing {
            group: "main".into(),
            token_group: "CLS".into(),
            category: "music".into(),
        };
        let status = |channel: &Name| ChannelStatus {
            channel: channel.clone(),
            listing: listing.clone(),
            state: ChannelState::Heard,
            reason: None,
            since: 0,
            retry_at: None,
            connection: Some(1),
            lines: 0,
            last_line: None,
            feed_lines: 0,
            feed_bytes: 0,
            feed_bound: 65_536,
        };
        self.0.iter().map(status).collect()
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        vec![ConnectionStatus {
            number: 1,
            state: ConnectionState::Connected,
            reason: None,
            since: 0,
            channels: self.0.len() as u64,
            heard: self.0.len() as u64,
            blocked_by: None,
        }]
    }

    fn intake(&self) -> IntakeCounts {
        IntakeCounts::default()
    }
}

/// Takes every change and does nothing.
struct Willing;

#[async_trait]
impl Admin for Willing {
    async fn reload(&self) -> Result<Reloaded, Refused> {
        Ok(Reloaded::default())
    }

    async fn edit(&self, _: ChannelEdit) -> Result<Reloaded, Refused> {
        Ok(Reloaded::default())
    }
}

fn running(path: &str, children: Vec<ChildSnapshot>) -> ChildSnapshot {
    let is_leaf = children.is_empty();
    let kind = match is_leaf {
        true => ChildKind::Worker,
        false => ChildKind::Supervisor,
    };
    ChildSnapshot {
        strategy: (!is_leaf).then_some(Strategy::OneForOne),
        state: ChildState::Running,
        uptime_ms: Some(1),
        children,
        ..ChildSnapshot::starting(path, kind)
    }
}

/// A target, so that all of settlement is in the answers.
fn publishing() -> SettlementFacts {
    SettlementFacts {
        target: Target::Program,
        signer: Some("11111111111111111111111111111111".to_owned()),
        signer_lamports: Some(1),
        claims_open_seconds: Some(3600),
        listener: ListenerCounts {
            known_from: Some(1),
            ..ListenerCounts::default()
        },
        ..SettlementFacts::default()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1);
    let folder = folder.ok_or_else(|| anyhow::anyhow!("usage: gateway_fixture DATA_FOLDER"))?;
    let database = Path::new(&folder).join("twzrd.sqlite");
    let store = twzrd_store::Store::sqlite(&database, Groups::default()).await?;
    let durable = BatchStore::offset(&store).await?;
    let admin = match std::env::var("TWZRD_ADMIN_TOKEN") {
        Ok(token) => Some(AdminAccess {
            token: Token::new(&token)?,
            admin: Arc::new(Willing),
        }),
        Err(_) => None,
    };
    let channels = ["forsen", "xqc"].map(Name::parse);
    let channels = channels.into_iter().collect::<Result<_, _>>()?;
    let view = View {
        version: env!("CARGO_PKG_VERSION"),
        epoch_length: EpochLength::HOUR,
        clock: Arc::new(SystemClock),
        tree: Arc::new(|| {
            let journal = running("root/settlement/journal", Vec::new());
            let settlement = running("root/settlement", vec![journal]);
            let root = running("root", vec![settlement]);
            TreeSnapshot { root }
        }),
        dynamic: Vec::new(),
        journal: Arc::new(move || twzrd_journal::Health {
            state: twzrd_journal::State::Ok,
            counters: twzrd_journal::Counters::default(),
            durable,
        }),
        store: Arc::new(store.clone()),
        probe: Arc::new(store.clone()),
        ingest: Arc::new(Heard(channels)),
        settlement: SettlementView {
            store: Arc::new(store.clone()),
            root: RootKind::Claim,
            facts: Arc::new(publishing),
        },
        lag_bound: 100_000,
        admin,
    };
    let bound = Gateway::bind(([127, 0, 0, 1], 0).into(), Limits::default()).await?;
    println!("{}", bound.address());
    std::io::stdout().flush()?;
    let stop = CancellationToken::new();
    let serving = bound.serve(view, stop.clone());
    let mut asked = signal(SignalKind::terminate())?;
    let asked_to_stop = async {
        asked.recv().await;
        stop.cancel();
    };
    let (served, ()) = tokio::join!(serving, asked_to_stop);
    served?;
    store.close().await?;
    Ok(())
}
