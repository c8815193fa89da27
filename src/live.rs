//! The running service: the whole tree on a real network, a real journal and a real store.

pub mod beside;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use compact_str::format_compact;
use twzrd_actors::board::{Board, Limits};
use twzrd_actors::channel_roster::ChannelRosterMsg;
use twzrd_actors::connection::Times;
use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::gap_ledger::GapQueue;
use twzrd_actors::service::Service;
use twzrd_actors::status::{ChannelStatus, ConnectionStatus, IntakeCounts};
use twzrd_actors::step::Probe;
use twzrd_actors::tree::{Chain, Ingest};
use twzrd_domain::chat::ChatNetwork;
use twzrd_domain::ports::{Clock, JournalFolder};
use twzrd_domain::roster::Roster;
use twzrd_store::Store;
use twzrd_supervision::{ChildKind, ChildRef, ChildSnapshot, Tree, TreeSnapshot};
use twzrd_twitch::judge::TwitchJudge;
use twzrd_twitch::net::{self, Credentials, TwitchNetwork};

use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail};
use crate::gateway::SettlementView;
use crate::janitor::Janitor;
use crate::reload::RosterSink;
use crate::settings::{Settings, TwitchSettings};
use crate::settle;
use crate::wiring::{How, Opened, Running};

/// How long the roster may take to say what a change of the list comes to.
const ROSTER_WITHIN: Duration = Duration::from_secs(10);
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// The tree as it is now, also before it is started: whoever serves it is part of it.
#[derive(Clone, Default)]
pub struct TreeView(Arc<OnceLock<Weak<Tree>>>);

impl TreeView {
    /// The tree as it is now.
    #[must_use]
    pub fn snapshot(&self) -> TreeSnapshot {
        match self.0.get().and_then(Weak::upgrade) {
            Some(tree) => tree.which_children(),
            None => TreeSnapshot {
                root: ChildSnapshot::starting("root", ChildKind::Supervisor),
            },
        }
    }
}

/// What the ingest branch shows.
pub struct IngestView(pub Arc<Board>);

impl crate::gateway::Ingest for IngestView {
    fn channels(&self) -> Vec<ChannelStatus> {
        self.0.channels()
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        self.0.connections()
    }

    fn intake(&self) -> IntakeCounts {
        self.0.counts()
    }
}

/// Makes a list of channels hold: in the store's groups, and in the roster.
pub struct Channels {
    store: Store,
    roster: ChildRef<ChannelRosterMsg>,
}

#[async_trait]
impl RosterSink for Channels {
    async fn apply(&self, roster: Arc<Roster>) -> Result<(), String> {
        let groups = roster.groups();
        let ask = |reply| ChannelRosterMsg::Want(roster, reply);
        let asked = self.roster.call(ask, ROSTER_WITHIN).await;
        asked.map_err(|error| error.to_string())?;
        self.store.set_groups(groups);
        Ok(())
    }
}

/// What the service is assembled from, before its tree starts.
pub struct Assembly {
    /// The journal and the store.
    pub opened: Opened,
    /// What the intake knows.
    pub board: Arc<Board>,
    /// The tree, once it runs.
    pub tree: TreeView,
    /// Makes a list of channels hold.
    pub channels: Arc<Channels>,
    /// What is shown of settlement.
    pub settlement: SettlementView,
    chain: Chain,
    ingest: Ingest,
    operations: Vec<(&'static str, Arc<dyn Service>)>,
}

impl Assembly {
    /// Assembles the service on an open data folder.
    ///
    /// # Errors
    /// Where the journal's end cannot be read, or the key or the nodes of settlement are unusable.
    pub async fn new(
        opened: Opened,
        settings: &Settings,
        network: Arc<dyn ChatNetwork>,
    ) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let last_record = opened.last_record().await?;
        let (gap_ledger, roster) = (ChildRef::new("gap_ledger"), ChildRef::new("channel_roster"));
        let gaps = Arc::new(GapQueue::new(gap_ledger.clone()));
        // A run that appends anything moves the end of the journal: no other run has this name.
        let run = format_compact!("{}", opened.folder.durable());
        let limits = limits(settings);
        let board = Arc::new(Board::new(Arc::clone(&clock), limits, run, gaps));
        if let Some(last) = last_record {
            board.spend_budgets(clock.now().saturating_sub(last));
        }
        let ingest = Ingest {
            board: Arc::clone(&board),
            gap_ledger,
            roster: roster.clone(),
            network,
            times: times(&settings.twitch),
            judge: Arc::new(TwitchJudge {
                keep_text: settings.journal.keep_text,
            }),
            store: Arc::new(opened.store.clone()),
            clock: Arc::clone(&clock),
            length: settings.arithmetic.epoch_seconds,
            linger: Duration::from_millis(settings.collector.linger_ms),
            batch_lines: settings.collector.batch_lines,
            // What had been read and not accepted by then went with the process.
            last_record: last_record.map(|at| at.saturating_sub(settings.collector.linger_ms)),
        };
        let settlement = settle::assemble(settings, &opened.store, &opened.data).await?;
        let janitor = janitor(&opened, settings, clock);
        let channels = Channels {
            store: opened.store.clone(),
            roster,
        };
        Ok(Self {
            opened,
            board,
            tree: TreeView::default(),
            channels: Arc::new(channels),
            settlement: settlement.view,
            chain: settlement.chain,
            ingest,
            operations: vec![("janitor", janitor)],
        })
    }

    /// Adds something that runs beside, by the name of its child.
    pub fn beside(&mut self, name: &'static str, service: Arc<dyn Service>) {
        self.operations.insert(0, (name, service));
    }

    /// Starts the tree, puts the settings that change arithmetic into the journal, and then asks
    /// for the channels.
    ///
    /// # Errors
    /// Where a child cannot start, or the settings do not fit what the folder holds.
    pub async fn start(
        mut self,
        settings: &Settings,
        probe: Arc<dyn Probe>,
    ) -> Result<Live, Failure> {
        self.chain.publisher.probe = Arc::clone(&probe);
        self.chain.listener.probe = Arc::clone(&probe);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let how = How {
            seal_when: SealWhen::AfterGrace {
                clock: Arc::clone(&clock),
                grace_ms: u64::from(settings.grace_seconds) * 1000,
            },
            catch_up_on_stop: true,
            batch_linger: Duration::from_millis(settings.batch_linger_ms),
            ingest: Some(self.ingest),
            chain: Some(self.chain),
            operations: self.operations,
            probe,
        };
        let running = Running::start(self.opened, settings, how).await?;
        // It is set once: this is the only place that does so.
        let _ = self.tree.0.set(Arc::downgrade(&running.tree));
        let begun = async {
            let memory = running.memory().await?;
            let arithmetic = &settings.arithmetic;
            running
                .put_settings(arithmetic, &memory, clock.now())
                .await?;
            let asked = self.channels.apply(Arc::clone(&settings.roster)).await;
            asked.map_err(|reason| crate::exit::fail(Code::Software, reason))
        };
        if let Err(failure) = begun.await {
            running.stop().await;
            return Err(failure);
        }
        Ok(Live {
            running,
            board: self.board,
        })
    }
}

/// The running service.
pub struct Live {
    /// The tree and what it runs on.
    pub running: Running,
    /// What the intake knows.
    pub board: Arc<Board>,
}

/// The network of the settings.
///
/// # Errors
/// Where the settings name none.
pub fn network(settings: &Settings) -> Result<Arc<dyn ChatNetwork>, Failure> {
    let twitch = &settings.twitch;
    let clock = Arc::new(SystemClock);
    let mut config = net::Config::new(twitch.host.clone(), twitch.port, clock);
    config.tls = twitch.tls;
    config.connect_timeout = Duration::from_millis(twitch.connect_timeout_ms);
    config.seed = u64::from(std::process::id());
    if let Some(login) = &settings.twitch_login {
        let credentials = Credentials::new(login.login.as_str(), login.token.reveal());
        config.credentials = Some(credentials.or_fail(Code::Config)?);
    }
    Ok(Arc::new(TwitchNetwork::new(config).or_fail(Code::Config)?))
}

fn limits(settings: &Settings) -> Limits {
    let twitch = &settings.twitch;
    Limits {
        channels_per_connection: twitch.channels_per_connection as usize,
        joins: twitch.joins_per_period as usize,
        join_period_ms: twitch.join_period_ms,
        logins: twitch.authentications_per_period as usize,
        login_period_ms: twitch.authentication_period_ms,
        feed_bytes: settings.collector.feed_bytes,
        all_feeds_bytes: settings.collector.all_feeds_bytes,
    }
}

fn times(twitch: &TwitchSettings) -> Times {
    let ms = Duration::from_millis;
    Times {
        reconnect_initial: ms(twitch.reconnect_initial_ms),
        reconnect_max: ms(twitch.reconnect_max_ms),
        ping_after: ms(twitch.ping_after_ms),
        pong_within: ms(twitch.pong_within_ms),
        join_within: ms(twitch.join_within_ms),
        refused_initial: ms(twitch.refused_retry_initial_ms),
        refused_max: ms(twitch.refused_retry_max_ms),
        handover_within: ms(twitch.handover_within_ms),
    }
}

fn janitor(opened: &Opened, settings: &Settings, clock: Arc<dyn Clock>) -> Arc<dyn Service> {
    let days = u64::from(settings.janitor.journal_keep_days);
    Arc::new(Janitor {
        folder: Arc::clone(&opened.folder),
        store: Arc::new(opened.store.clone()),
        clock,
        every: Duration::from_secs(settings.janitor.every_seconds),
        keep_ms: Some(days * DAY_MS).filter(|&ms| ms > 0),
    })
}
