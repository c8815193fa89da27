//! A chat network in memory: sockets that a test fills, cuts and listens to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use twzrd_domain::chat::{
    ChatNetwork, ChatReader, ChatWriter, Chunk, ChunkLine, ConnectError, Lost, News, Socket,
};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::Clock;

/// What a socket was asked to do, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To join.
    Join(Vec<Channel>, Instant),
    /// To leave.
    Part(Vec<Channel>),
    /// Whether the other side is there.
    Ping,
    /// To answer with this.
    Pong(String),
    /// To close.
    Close,
}

/// How far a line has come on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It waits to be read, or its socket ended before that.
    Unread,
    /// It was read. Its reader may have ended before it did anything with it.
    Read,
    /// It was read, and its reader came back for more: it has been taken in.
    Taken,
}

/// A line on a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The channel; empty for what belongs to none.
    pub channel: String,
    /// What was said, behind the channel.
    pub line: String,
    /// True where it ended in its middle.
    pub is_broken: bool,
    /// How far it came.
    pub fate: Fate,
}

#[derive(Default)]
struct SocketState {
    /// The numbers of lines that wait to be read.
    lines: VecDeque<usize>,
    /// The numbers of those that were read last.
    reading: Vec<usize>,
    is_stalled: bool,
    news: VecDeque<News>,
    joined: BTreeSet<Channel>,
    asked: Vec<Asked>,
    cut: Option<String>,
}

#[derive(Default)]
struct State {
    sockets: Vec<SocketState>,
    /// All lines, each time that one was put on a socket.
    deliveries: Vec<Delivery>,
    /// What connecting comes to, for as long as it is set.
    unreachable: Option<ConnectError>,
    /// Channels that are refused, with the reason.
    refused: BTreeMap<Channel, String>,
    /// Channels that are never answered.
    silent: BTreeSet<Channel>,
    answers_pings: bool,
    connects: u64,
}

/// A chat network in memory. Clones are the same network.
#[derive(Clone)]
pub struct FakeNetwork {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

impl FakeNetwork {
    /// A network that answers every join and every ping.
    #[must_use]
    pub fn new(clock: impl Clock + 'static) -> Self {
        let state = State {
            answers_pings: true,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
            clock: Arc::new(clock),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_waiters();
        changed
    }

    /// From now on no socket can be opened, or again.
    pub fn unreachable(&self, error: Option<ConnectError>) {
        self.change(|state| state.unreachable = error);
    }

    /// From now on refuses a channel.
    pub fn refuse(&self, channel: &Channel, reason: &str) {
        self.change(|state| state.refused.insert(channel.clone(), reason.to_owned()));
    }

    /// From now on does not answer a JOIN of this channel.
    pub fn ignore(&self, channel: &Channel) {
        self.change(|state| state.silent.insert(channel.clone()));
    }

    /// From now on takes this channel like any other.
    pub fn forgive(&self, channel: &Channel) {
        self.change(|state| {
            state.refused.remove(channel);
            state.silent.remove(channel);
        });
    }

    /// Whether pings are answered.
    pub fn answer_pings(&self, answer: bool) {
        self.change(|state| state.answers_pings = answer);
    }

    /// How many sockets were opened.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.lock().sockets.len()
    }

    /// How often a socket was asked for.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.lock().connects
    }

    /// The channels that a socket has joined; none once it is cut or closed.
    #[must_use]
    pub fn joined(&self, socket: usize) -> BTreeSet<Channel> {
        let state = self.lock();
        let socket = state.sockets.get(socket);
        let open =
            socket.filter(|socket| socket.cut.is_none() && !socket.asked.contains(&Asked::Close));
        open.map(|socket| socket.joined.clone()).unwrap_or_default()
    }

    /// Everything that a socket was asked.
    #[must_use]
    pub fn asked(&self, socket: usize) -> Vec<Asked> {
        let state = self.lock();
        let socket = state.sockets.get(socket);
        socket
            .map(|socket| socket.asked.clone())
            .unwrap_or_default()
    }

    /// Says a line in a channel on every socket that has joined it. The answer is how many.
    pub fn say(&self, channel: &Channel, line: &str) -> usize {
        self.change(|state| {
            let joined = |socket: &SocketState| socket.joined.contains(channel);
            let mut heard = 0;
            for socket in 0..state.sockets.len() {
                if state.sockets.get(socket).is_some_and(joined) {
                    heard += usize::from(state.deliver(socket, channel.as_str(), line, false));
                }
            }
            heard
        })
    }

    /// Puts bytes that belong to no channel on a socket. False where it has ended.
    pub fn babble(&self, socket: usize, bytes: &str) -> bool {
        self.change(|state| state.deliver(socket, "", bytes, false))
    }

    /// Puts the last so many lines of this socket on it once more. The answer is how many.
    pub fn repeat(&self, socket: usize, lines: usize) -> usize {
        self.change(|state| {
            let said = |delivery: &&Delivery| !delivery.channel.is_empty() && !delivery.is_broken;
            let last = state.deliveries.iter().rev().filter(said).take(lines);
            let again: Vec<Delivery> = last.cloned().collect();
            let put = |one: &Delivery| state.deliver(socket, &one.channel, &one.line, false);
            again.iter().map(put).filter(|&put| put).count()
        })
    }

    /// Ends a socket in the middle of a line.
    pub fn cut_mid_line(&self, socket: usize, channel: &Channel, half: &str, reason: &str) {
        self.change(|state| state.deliver(socket, channel.as_str(), half, true));
        self.cut(socket, reason);
    }

    /// From now on nothing can be read from a socket, or again.
    pub fn stall(&self, socket: usize, is_stalled: bool) {
        self.change(|state| {
            if let Some(socket) = state.sockets.get_mut(socket) {
                socket.is_stalled = is_stalled;
            }
        });
    }

    /// Looks at all lines, in the order in which they were put on sockets.
    pub fn with_deliveries<T>(&self, look: impl FnOnce(&[Delivery]) -> T) -> T {
        look(&self.lock().deliveries)
    }

    /// The sockets that have not ended.
    #[must_use]
    pub fn open_sockets(&self) -> Vec<usize> {
        let state = self.lock();
        let open =
            |socket: &SocketState| socket.cut.is_none() && !socket.asked.contains(&Asked::Close);
        let all = state.sockets.iter().enumerate();
        all.filter(|(_, socket)| open(socket))
            .map(|(number, _)| number)
            .collect()
    }

    /// Tells a socket something.
    pub fn tell(&self, socket: usize, news: News) {
        self.change(|state| {
            if let Some(socket) = state.sockets.get_mut(socket) {
                socket.news.push_back(news);
            }
        });
    }

    /// Cuts a socket.
    pub fn cut(&self, socket: usize, reason: &str) {
        self.change(|state| {
            if let Some(socket) = state.sockets.get_mut(socket) {
                socket.cut.get_or_insert_with(|| reason.to_owned());
            }
        });
    }

    /// Cuts all sockets.
    pub fn cut_all(&self, reason: &str) {
        for socket in 0..self.sockets() {
            self.cut(socket, reason);
        }
    }

    /// How many lines of a socket have not been read.
    #[must_use]
    pub fn unread(&self, socket: usize) -> usize {
        self.lock()
            .sockets
            .get(socket)
            .map_or(0, |socket| socket.lines.len())
    }

    /// Waits until something holds. It is looked at whenever anything changes.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    /// Puts a line on a socket. False where it has ended.
    fn deliver(&mut self, socket: usize, channel: &str, line: &str, is_broken: bool) -> bool {
        let number = self.deliveries.len();
        let socket = self.sockets.get_mut(socket);
        let Some(socket) = socket.filter(|socket| socket.cut.is_none()) else {
            return false;
        };
        socket.lines.push_back(number);
        self.deliveries.push(Delivery {
            channel: channel.to_owned(),
            line: line.to_owned(),
            is_broken,
            fate: Fate::Unread,
        });
        true
    }
}

#[async_trait]
impl ChatNetwork for FakeNetwork {
    async fn connect(&self) -> Result<Socket, ConnectError> {
        let opened = self.change(|state| {
            state.connects += 1;
            match &state.unreachable {
                Some(error) => Err(error.clone()),
                None => {
                    state.sockets.push(SocketState::default());
                    Ok(state.sockets.len() - 1)
                }
            }
        });
        let socket = opened?;
        let half = || Half {
            network: self.clone(),
            socket,
        };
        Ok(Socket {
            reader: Box::new(half()),
            writer: Box::new(half()),
        })
    }
}

struct Half {
    network: FakeNetwork,
    socket: usize,
}

impl Half {
    fn ask(&self, asked: Asked) -> Result<(), Lost> {
        self.network.change(|state| {
            let State {
                sockets,
                refused,
                silent,
                answers_pings,
                ..
            } = state;
            let Some(socket) = sockets.get_mut(self.socket) else {
                return Ok(());
            };
            if let Some(reason) = &socket.cut {
                return Err(Lost {
                    reason: reason.clone(),
                });
            }
            match &asked {
                Asked::Join(channels, _) => {
                    for channel in channels.iter().filter(|it| !silent.contains(*it)) {
                        let news = match refused.get(channel) {
                            Some(reason) => News::Refused {
                                channel: channel.clone(),
                                code: "msg_test".to_owned(),
                                reason: reason.clone(),
                            },
                            None => {
                                socket.joined.insert(channel.clone());
                                News::Joined(channel.clone())
                            }
                        };
                        socket.news.push_back(news);
                    }
                }
                Asked::Part(channels) => {
                    for channel in channels {
                        socket.joined.remove(channel);
                        socket.news.push_back(News::Parted(channel.clone()));
                    }
                }
                Asked::Ping if *answers_pings => socket.news.push_back(News::Pong),
                Asked::Ping | Asked::Pong(_) | Asked::Close => {}
            }
            socket.asked.push(asked);
            Ok(())
        })
    }
}

#[async_trait]
impl ChatReader for Half {
    async fn read(&mut self, chunk: &mut Chunk) -> Result<(), Lost> {
        chunk.clear();
        loop {
            let changed = self.network.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.network.lock();
                let State {
                    sockets,
                    deliveries,
                    ..
                } = &mut *state;
                let Some(socket) = sockets.get_mut(self.socket) else {
                    return Err(Lost {
                        reason: "no such socket".to_owned(),
                    });
                };
                for number in socket.reading.drain(..) {
                    deliveries[number].fate = Fate::Taken;
                }
                chunk.at = self.network.clock.now();
                if !socket.is_stalled {
                    chunk.news.extend(socket.news.drain(..));
                    for number in socket.lines.drain(..) {
                        let delivery = &mut deliveries[number];
                        delivery.fate = Fate::Read;
                        push(chunk, delivery);
                        socket.reading.push(number);
                    }
                }
                if !chunk.is_empty() {
                    return Ok(());
                }
                if let Some(reason) = &socket.cut {
                    return Err(Lost {
                        reason: reason.clone(),
                    });
                }
            }
            changed.await;
        }
    }
}

/// A line of a fake socket begins with its channel and a space.
fn push(chunk: &mut Chunk, delivery: &Delivery) {
    let place = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let from = place(&chunk.bytes);
    chunk.bytes.extend_from_slice(delivery.channel.as_bytes());
    let to = place(&chunk.bytes);
    chunk.bytes.push(b' ');
    chunk.bytes.extend_from_slice(delivery.line.as_bytes());
    chunk.lines.push(ChunkLine {
        end: place(&chunk.bytes),
        channel: (from, to),
        is_broken: delivery.is_broken,
    });
}

#[async_trait]
impl ChatWriter for Half {
    async fn join(&mut self, channels: &[Channel]) -> Result<(), Lost> {
        self.ask(Asked::Join(channels.to_vec(), Instant::now()))
    }

    async fn part(&mut self, channels: &[Channel]) -> Result<(), Lost> {
        self.ask(Asked::Part(channels.to_vec()))
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        self.ask(Asked::Ping)
    }

    async fn pong(&mut self, token: &str) -> Result<(), Lost> {
        self.ask(Asked::Pong(token.to_owned()))
    }

    async fn close(&mut self) {
        // A socket that is cut cannot be closed any more.
        let _ = self.ask(Asked::Close);
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.network.cut(self.socket, "this side let go of it");
    }
}
