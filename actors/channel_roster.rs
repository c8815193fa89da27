//! Makes what is wanted hold: a collector for every channel, and a place on a connection.
//!
//! What is wanted, and what there is, is on the board; this actor compares the two and starts and
//! stops children a few at a time, so that it always has an ear for the next change. A crash loses
//! nothing: the next start compares again. It stands behind the collectors and connections in a
//! rest_for_one group: where one of these supervisors starts again, so does it, and fills it.
//! Restart: permanent.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::info;
use twzrd_domain::epoch::{EpochLength, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{IngestStore, JournalFolder, LastGap, StoreError};
use twzrd_domain::record::Seq;
use twzrd_domain::roster::{Roster, RosterDiff};
use twzrd_supervision::{ChildSpec, SupervisorRef, set_feed, waiting_for};

use crate::board::{Board, Link};
use crate::children::{begin, forget, ids, stays};
use crate::collector::{Collecting, Collector, CollectorArgs};
use crate::connection::{Connection, ConnectionArgs, ConnectionMsg};
use crate::later::Later;
use crate::reason::{NOT_LISTED, PROCESS_DOWN, REMOVED};
use crate::room::{Room, Unheard};
use crate::step::{Probe, Step};
use crate::weather::Weather;

/// How many channels are started or stopped before messages are looked at again.
const AT_ONCE: usize = 200;

/// The wait before what cannot be done now is tried again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the roster is told and asked.
pub enum ChannelRosterMsg {
    /// Other channels are wanted. Must be answered with what that comes to, as soon as it is known;
    /// the work is done behind the answer.
    Want(Arc<Roster>, RpcReplyPort<RosterDiff>),
    /// There may be work. May come late or twice.
    LookDue,
}

/// Makes the spec of a child from its id, by what the settings say of its kind.
pub type Declare = Arc<dyn Fn(ChildSpec) -> ChildSpec + Send + Sync>;

/// What a start of the roster needs.
#[derive(Clone)]
pub struct ChannelRosterArgs {
    /// What is wanted, and what there is.
    pub board: Arc<Board>,
    /// The supervisor of the collectors.
    pub collectors: SupervisorRef,
    /// What they share.
    pub collecting: Arc<Collecting>,
    /// How each is kept running.
    pub declare_collector: Declare,
    /// The supervisor of the connections.
    pub connections: SupervisorRef,
    /// What each is started with, besides its link.
    pub connecting: Arc<dyn Fn(Arc<Link>) -> ConnectionArgs + Send + Sync>,
    /// How each is kept running.
    pub declare_connection: Declare,
    /// Which channels were heard before.
    pub store: Arc<dyn IngestStore>,
    /// How far the journal has come.
    pub folder: Arc<dyn JournalFolder>,
    /// When the journal's last record was accepted before this process; none where it had none.
    pub last_record: Option<UnixMs>,
    /// The epoch length in force.
    pub length: EpochLength,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct ChannelRoster;

/// What is left to be done. All of it can be found out anew.
pub struct State {
    args: ChannelRosterArgs,
    /// The journal's end at the start: the store must have come so far to tell of gaps.
    behind: Seq,
    /// The latest gaps of the time before this process; none before they are known.
    before: Option<BTreeMap<Channel, LastGap>>,
    collecting: HashSet<CompactString>,
    connecting: BTreeSet<u32>,
    /// Connections with room for more.
    roomy: BTreeSet<u32>,
    todo: VecDeque<Work>,
    /// Channels that are let go of once their last lines are in the journal.
    leaving: BTreeSet<Channel>,
    later: Later<ChannelRosterMsg>,
    touched: BTreeSet<u32>,
    is_compared: bool,
    look_is_due: bool,
    weather: Weather,
}

/// One channel's worth of work.
enum Work {
    Start(Channel),
    Stop(Channel),
}

impl Actor for ChannelRoster {
    type Msg = ChannelRosterMsg;
    type State = State;
    type Arguments = ChannelRosterArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ChannelRosterMsg>,
        args: ChannelRosterArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(ChannelRosterMsg::LookDue)?;
        let collectors = ids(&args.collectors, stays).into_iter();
        let collecting = collectors.map(CompactString::from).collect();
        let connections = ids(&args.connections, stays).into_iter();
        let connecting = connections.filter_map(|id| id.parse().ok()).collect();
        let behind = args.folder.durable();
        Ok(State {
            args,
            behind,
            before: None,
            collecting,
            connecting,
            roomy: BTreeSet::new(),
            todo: VecDeque::new(),
            leaving: BTreeSet::new(),
            later: Later::new(),
            touched: BTreeSet::new(),
            is_compared: false,
            look_is_due: true,
            weather: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ChannelRosterMsg>,
        message: ChannelRosterMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ChannelRosterMsg::Want(roster, reply) => state.want(&myself, roster, reply),
            ChannelRosterMsg::LookDue => state.look_due(&myself).await,
        }
    }
}

impl State {
    fn want(
        &mut self,
        myself: &ActorRef<ChannelRosterMsg>,
        roster: Arc<Roster>,
        reply: RpcReplyPort<RosterDiff>,
    ) -> Result<(), ActorProcessingErr> {
        let board = &self.args.board;
        let diff = board.wanted().diff(&roster);
        for channel in &diff.to_change {
            if let (Some(room), Some(listing)) = (board.room(channel), roster.get(channel)) {
                room.list_under(listing.clone());
            }
        }
        board.want(roster);
        self.args.probe.reached(Step::ROSTER_WANTED);
        let (added, removed) = (diff.to_add.len(), diff.to_remove.len());
        info!(
            added,
            removed,
            changed = diff.to_change.len(),
            "the channel list changed"
        );
        if self.is_compared {
            let (stop, start) = (diff.to_remove.iter().cloned(), diff.to_add.iter().cloned());
            self.todo.extend(stop.map(Work::Stop));
            self.todo.extend(start.map(Work::Start));
        }
        // Whoever no longer waits for the answer finds the list changed.
        let _ = reply.send(diff);
        if !std::mem::replace(&mut self.look_is_due, true) {
            myself.cast(ChannelRosterMsg::LookDue)?;
        }
        Ok(())
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<ChannelRosterMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due = false;
        if self.before.is_none() {
            match self.load().await {
                Ok(true) => self.weather.works("store"),
                Ok(false) => {
                    self.again(myself, LOOK_AGAIN_AFTER);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    let wait = self.weather.failed("store", &error);
                    self.again(myself, wait);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !self.is_compared {
            self.compare().await?;
        }
        self.work().await?;
        set_feed(self.todo.len() as u64, u64::MAX);
        if self.todo.is_empty() {
            set_feed(0, 0);
            if !self.leaving.is_empty() {
                self.again(myself, LOOK_AGAIN_AFTER);
            }
            return Ok(());
        }
        self.look_is_due = true;
        myself.cast(ChannelRosterMsg::LookDue)?;
        Ok(())
    }

    fn again(&mut self, myself: &ActorRef<ChannelRosterMsg>, wait: Duration) {
        self.later.send(myself, wait, || ChannelRosterMsg::LookDue);
    }

    /// Asks the store which channels were heard before. False while it is behind the journal.
    async fn load(&mut self) -> Result<bool, StoreError> {
        if self.args.store.offset().await? < self.behind {
            let _waiting = waiting_for("participation_batcher");
            return Ok(false);
        }
        let gaps = self.args.store.last_gaps().await?;
        let gaps = gaps.into_iter().map(|gap| (gap.channel.clone(), gap));
        self.before = Some(gaps.collect());
        Ok(true)
    }

    /// Compares what is wanted with what there is, from scratch.
    async fn compare(&mut self) -> Result<(), ActorProcessingErr> {
        let board = Arc::clone(&self.args.board);
        // What a roster before this one was stopping when it ended is started by nobody again.
        for supervisor in [&self.args.collectors, &self.args.connections] {
            for id in ids(supervisor, |child| !stays(child)) {
                forget(supervisor, &id).await?;
            }
        }
        let server = board.server();
        if !self.collecting.contains(server.collector().id()) {
            self.start_collector(server).await?;
        }
        for link in board.links() {
            if link.is_empty() {
                self.stop_connection(&link).await?;
                continue;
            }
            // It may not have been told of what was assigned last.
            self.touched.insert(link.number());
            if link.len() < board.limits().channels_per_connection {
                self.roomy.insert(link.number());
            }
            if !self.connecting.contains(&link.number()) {
                self.start_connection(&link).await?;
            }
        }
        let wanted = board.wanted();
        let rooms = board.rooms();
        let gone = rooms
            .iter()
            .filter(|room| wanted.get(room.channel()).is_none());
        self.todo
            .extend(gone.map(|room| Work::Stop(room.channel().clone())));
        let missing = wanted.iter().map(|(channel, _)| channel).filter(|channel| {
            board.room(channel).is_none_or(|room| {
                room.connection().is_none() || !self.collecting.contains(room.collector().id())
            })
        });
        self.todo.extend(missing.cloned().map(Work::Start));
        self.is_compared = true;
        Ok(())
    }

    /// Does some of what is to be done.
    async fn work(&mut self) -> Result<(), ActorProcessingErr> {
        for _ in 0..AT_ONCE {
            match self.todo.pop_front() {
                None => break,
                Some(Work::Start(channel)) => self.start(channel).await?,
                Some(Work::Stop(channel)) => self.stop(&channel).await?,
            }
        }
        self.args.probe.reached(Step::ROSTER_WORKED);
        for number in std::mem::take(&mut self.touched) {
            if let Some(link) = self.args.board.link(number) {
                // A connection that is away looks at its link when it starts.
                let _ = link.child().cast(ConnectionMsg::AssignmentsChanged);
            }
        }
        if self.todo.is_empty() {
            self.let_go().await?;
        }
        Ok(())
    }

    async fn start(&mut self, channel: Channel) -> Result<(), ActorProcessingErr> {
        let board = Arc::clone(&self.args.board);
        let wanted = board.wanted();
        // It may have been taken off the list since this was put down.
        let Some(listing) = wanted.get(&channel) else {
            return Ok(());
        };
        self.leaving.remove(&channel);
        let room = match board.room(&channel) {
            Some(room) => {
                room.list_under(listing.clone());
                room
            }
            None => {
                let unheard = self.unheard(&channel);
                board.add_room(channel, listing.clone(), unheard)
            }
        };
        if !self.collecting.contains(room.collector().id()) {
            self.start_collector(&room).await?;
        }
        if room.connection().is_none() {
            self.assign(&room).await?;
        }
        Ok(())
    }

    async fn stop(&mut self, channel: &Channel) -> Result<(), ActorProcessingErr> {
        let board = Arc::clone(&self.args.board);
        let Some(room) = board.room(channel) else {
            return Ok(());
        };
        if board.wanted().get(channel).is_some() {
            return Ok(());
        }
        if let Some(link) = room.connection().and_then(|number| board.link(number)) {
            link.unassign(&room);
            self.roomy.insert(link.number());
            self.touched.insert(link.number());
            if link.is_empty() {
                self.stop_connection(&link).await?;
            }
        }
        // Lines that are on their way go into the journal, also where whoever took them is gone.
        if !room.is_done() && !self.collecting.contains(room.collector().id()) {
            self.start_collector(&room).await?;
        }
        let gap = LastGap {
            channel: channel.clone(),
            from: room.removed(board.now()),
            is_open: true,
            reason: REMOVED.to_owned(),
        };
        if let Some(before) = &mut self.before {
            before.insert(channel.clone(), gap);
        }
        self.leaving.insert(channel.clone());
        Ok(())
    }

    /// Lets go of some of the channels that are left, once no line of them is on its way any more.
    async fn let_go(&mut self) -> Result<(), ActorProcessingErr> {
        let board = Arc::clone(&self.args.board);
        let is_done = |channel: &&Channel| board.room(channel).is_none_or(|room| room.is_done());
        let done = self.leaving.iter().filter(is_done).take(AT_ONCE);
        for channel in done.cloned().collect::<Vec<_>>() {
            if let Some(room) = board.room(&channel) {
                let id = room.collector().id();
                forget(&self.args.collectors, id).await?;
                self.collecting.remove(id);
                board.remove_room(&channel);
            }
            self.leaving.remove(&channel);
        }
        Ok(())
    }

    async fn start_collector(&mut self, room: &Arc<Room>) -> Result<(), ActorProcessingErr> {
        let args = CollectorArgs {
            room: Arc::clone(room),
            shared: Arc::clone(&self.args.collecting),
        };
        let id = room.collector().id();
        let spec = ChildSpec::worker(id, room.collector(), move || (Collector, args.clone()));
        begin(&self.args.collectors, (self.args.declare_collector)(spec)).await?;
        self.collecting.insert(id.into());
        Ok(())
    }

    async fn start_connection(&mut self, link: &Arc<Link>) -> Result<(), ActorProcessingErr> {
        let args = (self.args.connecting)(Arc::clone(link));
        let id = link.number().to_string();
        let spec = ChildSpec::worker(id, link.child(), move || (Connection, args.clone()));
        begin(&self.args.connections, (self.args.declare_connection)(spec)).await?;
        self.connecting.insert(link.number());
        Ok(())
    }

    async fn stop_connection(&mut self, link: &Link) -> Result<(), ActorProcessingErr> {
        let number = link.number();
        forget(&self.args.connections, &number.to_string()).await?;
        self.connecting.remove(&number);
        self.roomy.remove(&number);
        self.touched.remove(&number);
        self.args.board.remove_link(number);
        Ok(())
    }

    /// Puts a room onto the first connection that has a place, or onto a new one.
    async fn assign(&mut self, room: &Arc<Room>) -> Result<(), ActorProcessingErr> {
        let board = Arc::clone(&self.args.board);
        let found = self.roomy.first().and_then(|&number| board.link(number));
        let link = found.unwrap_or_else(|| board.add_link());
        link.assign(room);
        self.touched.insert(link.number());
        if link.len() < board.limits().channels_per_connection {
            self.roomy.insert(link.number());
        } else {
            self.roomy.remove(&link.number());
        }
        if !self.connecting.contains(&link.number()) {
            self.start_connection(&link).await?;
        }
        Ok(())
    }

    /// From when on a channel was not heard before this process began to want it.
    fn unheard(&self, channel: &Channel) -> Unheard {
        let last = self.before.as_ref().and_then(|before| before.get(channel));
        let now = self.args.board.now();
        match (last, self.args.last_record) {
            (Some(gap), _) if gap.is_open => Unheard {
                from: gap.from,
                reason: gap.reason.as_str().into(),
                is_recorded: true,
            },
            (Some(_), Some(at)) => Unheard {
                from: at.min(now),
                reason: CompactString::const_new(PROCESS_DOWN),
                is_recorded: false,
            },
            // Never heard: the epoch in which it begins to be is not covered from its beginning.
            _ => Unheard {
                from: self.args.length.epoch_of(now).0.saturating_mul(1000),
                reason: CompactString::const_new(NOT_LISTED),
                is_recorded: false,
            },
        }
    }
}
