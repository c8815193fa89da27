//! Where everybody is: the rooms, the sockets in them, and the traffic that they hear.
//!
//! The hall is behind one lock. Whoever holds it does nothing that takes time, and may take an
//! outbox's lock under it, never the other way round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tokio::time::Instant;

use crate::config::Config;
use crate::counters::{Counters, SocketState};
use crate::dialect::{self, Caps, Said};
use crate::fault::{Pace, Refusal, RoomState, Target};
use crate::limits::Limiter;
use crate::log::{Book, Source};
use crate::parcel::Parcel;
use crate::rooms::{Number, Rooms};
use crate::socket::{Offered, Socket};
use crate::traffic::{Profile, Traffic, pen};

/// How many lines with an id are kept, so that they can be delivered again.
const RECENT_LINES: usize = 1024;

/// Sets apart what the faults draw from what the traffic draws.
const FAULTS_SEED: u64 = 0x5eed_fa17;

/// A socket and the rooms that it has joined.
pub(crate) struct Member {
    pub(crate) socket: Arc<Socket>,
    pub(crate) joined: BTreeSet<Number>,
}

/// Faults that also befall sockets that come later.
#[derive(Default)]
pub(crate) struct Weather {
    pub(crate) refusal: Option<Refusal>,
    pub(crate) refuses_logins: bool,
    pub(crate) stalled_until: Option<Instant>,
    pub(crate) writes: Option<Pace>,
    pub(crate) reads: Option<Pace>,
}

/// What came of a stretch of generation.
pub(crate) struct Generated {
    pub(crate) lines: u64,
    /// The sockets that have no room for more.
    pub(crate) full: Vec<Arc<Socket>>,
}

pub(crate) struct Hall {
    pub(crate) rooms: Rooms,
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) weather: Weather,
    pub(crate) joins: Limiter,
    pub(crate) logins: Limiter,
    pub(crate) lines_per_second: u32,
    pub(crate) rng: ChaCha8Rng,
    book: Arc<Book>,
    traffic: Traffic,
    line: Vec<u8>,
    recent: VecDeque<(Number, Arc<[u8]>)>,
    touched: Vec<Arc<Socket>>,
}

impl Hall {
    pub(crate) fn new(config: &Config, names: Arc<[Arc<str>]>, book: Arc<Book>) -> Self {
        let profile = Profile {
            seed: config.seed,
            users: config.users,
            lines: u64::MAX,
            shares: config.shares,
            ..Profile::default()
        };
        Self {
            rooms: Rooms::new(Arc::clone(&names)),
            members: BTreeMap::new(),
            weather: Weather::default(),
            joins: Limiter::new(config.join_limit),
            logins: Limiter::new(config.login_limit),
            lines_per_second: config.lines_per_second,
            rng: ChaCha8Rng::seed_from_u64(config.seed ^ FAULTS_SEED),
            book,
            traffic: Traffic::named(profile, names),
            line: Vec::with_capacity(1024),
            recent: VecDeque::new(),
            touched: Vec::new(),
        }
    }

    /// A socket has come.
    pub(crate) fn enter(&mut self, socket: Arc<Socket>) {
        let now = Instant::now();
        {
            let mut outbox = socket.outbox();
            if let Some(until) = self.weather.stalled_until.filter(|&until| until > now) {
                outbox.stall(until);
            }
            outbox.pace_writes(self.weather.writes, now);
            outbox.pace_reads(self.weather.reads);
        }
        let joined = BTreeSet::new();
        self.members
            .insert(socket.number, Member { socket, joined });
    }

    /// A socket has gone.
    pub(crate) fn leave(&mut self, socket: u64) {
        let Some(member) = self.members.remove(&socket) else {
            return;
        };
        for room in member.joined {
            self.rooms.leave(room, socket);
        }
    }

    /// The sockets that a fault befalls.
    pub(crate) fn sockets(&self, target: Target) -> Vec<Arc<Socket>> {
        let all = self.members.values().filter(|member| match target {
            Target::All => true,
            Target::Socket(number) => member.socket.number == number,
        });
        all.map(|member| Arc::clone(&member.socket)).collect()
    }

    pub(crate) fn states(&self) -> Vec<SocketState> {
        let all = self.members.values();
        all.map(|member| member.socket.state(member.joined.len()))
            .collect()
    }

    /// Generates and delivers up to `most` lines that are sent at `now`. Stops early at a socket
    /// that has no room for more.
    pub(crate) fn generate(&mut self, most: u64, now: u64, counters: &Counters) -> Generated {
        self.traffic.set_now(now);
        let mut generated = Generated {
            lines: 0,
            full: Vec::new(),
        };
        let mut line = std::mem::take(&mut self.line);
        while generated.lines < most && generated.full.is_empty() {
            let Some(kind) = self.traffic.next_into(&mut line) else {
                break;
            };
            generated.lines += 1;
            let room = self.traffic.channel();
            let heard = self.deliver(room, &line, Source::Traffic(kind), &mut generated.full);
            counters.lines_unheard.add(u64::from(heard == 0));
        }
        self.line = line;
        counters.lines_generated.add(generated.lines);
        self.tell();
        generated
    }

    /// Delivers a line to all who have joined a room, and says how many took it.
    pub(crate) fn deliver(
        &mut self,
        room: Number,
        line: &[u8],
        source: Source,
        full: &mut Vec<Arc<Socket>>,
    ) -> usize {
        let sockets = self.rooms.sockets(room);
        if sockets.is_empty() {
            return 0;
        }
        let parcel = Parcel::new(&self.book, line, source, dialect::needs(line)).in_room(room);
        let mut heard = 0;
        for socket in sockets {
            let offered = socket.offer(&parcel);
            if offered == Offered::Refused {
                continue;
            }
            heard += 1;
            if socket.touch() {
                self.touched.push(Arc::clone(socket));
            }
            if offered == Offered::Filled {
                full.push(Arc::clone(socket));
            }
        }
        let can_come_again = source != Source::Duplicate && has_id(line);
        if can_come_again && heard > 0 {
            if self.recent.len() >= RECENT_LINES {
                self.recent.pop_front();
            }
            let kept = parcel.kept.unwrap_or_else(|| Arc::from(line));
            self.recent.push_back((room, kept));
        }
        heard
    }

    /// Tells the sockets that something waits for them.
    pub(crate) fn tell(&mut self) {
        for socket in self.touched.drain(..) {
            socket.changed.notify_one();
        }
    }

    /// The last lines with an id, oldest first, each with its room.
    pub(crate) fn recent(&self, lines: usize) -> Vec<(Number, Arc<[u8]>)> {
        let from = self.recent.len().saturating_sub(lines);
        self.recent.range(from..).cloned().collect()
    }

    /// A message that nobody else says, for a room.
    pub(crate) fn message(
        &mut self,
        room: Number,
        (login, sent): (&str, u64),
        tags: &str,
        text: &[u8],
    ) -> Vec<u8> {
        let name = self.rooms.name(room);
        let id = pen::id(&mut self.rng);
        let said = Said {
            room: (room, &name),
            login,
            user_id: user_id(login),
            id,
            sent,
            tags,
        };
        said.line(text)
    }

    /// Lets a room be joined or not. Whoever is in one that cannot be joined any more has to
    /// leave; whoever is banned is told so by a PART, whoever is in a suspended room is not.
    pub(crate) fn set_room(&mut self, room: Number, state: RoomState) {
        self.rooms.set_state(room, state);
        if state == RoomState::Open {
            return;
        }
        let name = self.rooms.name(room);
        for socket in self.rooms.sockets(room).to_vec() {
            let line = match state {
                RoomState::Banned => dialect::banned(&name),
                _ => dialect::suspended(&name),
            };
            socket.say(line.as_bytes(), Caps::COMMANDS);
            if state == RoomState::Banned {
                let nick = socket.outbox().nick().unwrap_or("*").to_owned();
                socket.say(dialect::parted(&nick, &name).as_bytes(), Caps::NONE);
            }
            if let Some(member) = self.members.get_mut(&socket.number) {
                member.joined.remove(&room);
            }
            self.rooms.leave(room, socket.number);
            socket.changed.notify_one();
        }
    }
}

/// True where a line has a tag `id`.
fn has_id(line: &[u8]) -> bool {
    let tags = match (line.first(), memchr::memchr(b' ', line)) {
        (Some(b'@'), Some(end)) => &line[1..end],
        _ => return false,
    };
    tags.starts_with(b"id=") || memchr::memmem::find(tags, b";id=").is_some()
}

/// A number that stays with a login: that of FNV-1a, brought below 2^32, above those that the
/// generator gives.
fn user_id(login: &str) -> u64 {
    let hash = login.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (1 << 40) + (hash >> 32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use twzrd_domain::ports::Clock;

    use super::*;
    use crate::config;
    use crate::shared::Shared;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> u64 {
            1_760_000_000_000
        }
    }

    fn shared() -> Shared {
        let config = Config {
            rooms: config::Rooms::Numbered(3),
            ..Config::new(Arc::new(Stopped))
        };
        let names = config.rooms.names().unwrap();
        Shared::new(config, names)
    }

    #[test]
    fn whoever_has_gone_is_in_no_room() {
        let shared = shared();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let book = Arc::clone(&shared.book);
        let full = (1000, shared.when_full());
        let socket = Arc::new(Socket::new((1, peer), full, (shared.times(), 1), book));
        let mut hall = shared.hall();
        hall.enter(Arc::clone(&socket));
        for room in [0, 2] {
            hall.rooms.enter(room, Arc::clone(&socket));
            hall.members.get_mut(&1).unwrap().joined.insert(room);
        }
        assert_eq!(hall.states()[0].rooms, 2);
        hall.leave(1);
        assert!(hall.members.is_empty());
        assert_eq!(Arc::strong_count(&socket), 1, "somebody still holds it");
        hall.leave(1);
    }

    #[tokio::test]
    async fn nothing_is_generated_at_a_rate_of_0() {
        let shared = shared();
        shared.generate(10, true).await;
        assert_eq!(shared.snapshot().lines_generated, 0);
        shared.set_rate(1);
        shared.generate(10, true).await;
        shared.set_rate(0);
        shared.generate(10, false).await;
        assert_eq!(shared.snapshot().lines_generated, 20);
    }

    #[test]
    fn an_id_is_a_tag_of_that_name() {
        assert!(has_id(b"@id=1;a=b :x PRIVMSG #a :b"));
        assert!(has_id(b"@a=b;id=1 :x PRIVMSG #a :b"));
        assert!(!has_id(b"@room-id=1;user-id=2 :x PRIVMSG #a :;id=1"));
        assert!(!has_id(b":x PRIVMSG #a :;id=1"));
    }

    #[test]
    fn a_login_keeps_its_number() {
        assert_eq!(user_id("somebody"), user_id("somebody"));
        assert_ne!(user_id("somebody"), user_id("nobody"));
    }
}
