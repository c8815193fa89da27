//! Faults and lines on command.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::counters::Reason;
use crate::dialect::{self, Caps};
use crate::fault::{Cut, Garbage, Pace, Refusal, RoomState, Target};
use crate::garbage;
use crate::hall::Hall;
use crate::log::Source;
use crate::outbox::Close;
use crate::parcel::Parcel;
use crate::rooms::Number;
use crate::server;
use crate::simulator::Simulator;
use crate::socket::{Offered, Socket};
use crate::traffic::pen;

/// Who says what is said on command to no socket in particular.
const NOBODY: &str = "nobody_in_particular";

/// Faults. Each takes effect at once; what returns a number tells how many sockets it befell.
impl Simulator {
    /// Cuts sockets. Such a socket takes no more lines; a stall ends.
    pub fn cut(&self, target: Target, cut: Cut) -> usize {
        let mut hall = self.shared.hall();
        let sockets = hall.sockets(target);
        for socket in &sockets {
            if cut == Cut::MidLine {
                self.begin_line(&mut hall, socket);
            }
            let close = match cut {
                Cut::Orderly | Cut::MidLine => Close::Orderly,
                Cut::Reset => Close::Reset,
            };
            socket.close(close, Reason::Cut, Instant::now());
        }
        sockets.len()
    }

    /// Sends nothing for a time, but keeps the sockets and listens to what their clients say.
    /// Replaces a stall that is there; no time at all ends it.
    pub fn stall(&self, target: Target, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut hall = self.shared.hall();
        if target == Target::All {
            hall.weather.stalled_until = Some(until);
        }
        on_each(&hall, target, |socket| {
            socket.outbox().stall(until);
        })
    }

    /// Writes at a pace: slowly ([`Pace::slow`]), or in pieces that do not end where lines do
    /// ([`Pace::pieces`]); as ever where it is none.
    pub fn pace_writes(&self, target: Target, pace: Option<Pace>) -> usize {
        let mut hall = self.shared.hall();
        if target == Target::All {
            hall.weather.writes = pace;
        }
        on_each(&hall, target, |socket| {
            socket.outbox().pace_writes(pace, Instant::now());
        })
    }

    /// Reads what clients say at a pace, of which only the most bytes and the pause count; as ever
    /// where it is none.
    pub fn pace_reads(&self, target: Target, pace: Option<Pace>) -> usize {
        let mut hall = self.shared.hall();
        if target == Target::All {
            hall.weather.reads = pace;
        }
        on_each(&hall, target, |socket| {
            socket.outbox().pace_reads(pace);
            socket.pace_changed.notify_one();
        })
    }

    /// Sends garbage between two lines. Messages are for a room that the socket has joined, and
    /// for the first of all rooms where it has joined none. Tells how many sockets took it.
    pub fn garbage(&self, target: Target, garbage: Garbage) -> usize {
        let now = self.shared.config.clock.now();
        let mut hall = self.shared.hall();
        let mut took = 0;
        for socket in hall.sockets(target) {
            let room = some_room(&mut hall, &socket);
            let mut is_taken = true;
            for line in garbage::lines(&mut hall, garbage, room, now) {
                let source = Source::Garbage(garbage);
                let parcel = Parcel::new(&self.shared.book, &line, source, Caps::NONE);
                is_taken &= socket.offer(&parcel.in_room(room)) != Offered::Refused;
            }
            socket.changed.notify_one();
            took += usize::from(is_taken);
        }
        took
    }

    /// Delivers the last lines that had an id once more, byte for byte, to the sockets in their
    /// rooms: as many as this, at most 1,024. Tells how many lines somebody took.
    pub fn duplicate(&self, lines: usize) -> usize {
        let mut hall = self.shared.hall();
        let recent = hall.recent(lines);
        let mut took = 0;
        for (room, line) in recent {
            let heard = hall.deliver(room, &line, Source::Duplicate, &mut Vec::new());
            took += usize::from(heard > 0);
        }
        hall.tell();
        took
    }

    /// Refuses every login from now on, or not.
    pub fn refuse_logins(&self, refuses: bool) {
        self.shared.hall().weather.refuses_logins = refuses;
    }

    /// Keeps clients out from now on; lets them in again where it is none. Sockets that are open
    /// stay. Returns once it is so.
    ///
    /// # Errors
    /// Where the port could not be kept, or is lost, or the simulator was stopped.
    pub async fn refuse(&self, refusal: Option<Refusal>) -> io::Result<()> {
        self.shared.hall().weather.refusal = refusal;
        self.listen(server::listens(refusal)).await
    }

    /// Tells clients to connect again, and closes their sockets orderly after a time; Twitch
    /// takes about 30 seconds. Until then all goes on.
    pub fn reconnect(&self, target: Target, after: Duration) -> usize {
        let at = Instant::now() + after;
        let hall = self.shared.hall();
        on_each(&hall, target, |socket| {
            socket.say(dialect::RECONNECT, Caps::COMMANDS);
            socket.close(Close::Orderly, Reason::Reconnect, at);
        })
    }

    /// Suspends a room, bans whoever joins it, or opens it again. Whoever is in it is out, and
    /// has to join again later: with a notice and no PART where it is suspended, with a notice
    /// and a PART where it bans.
    ///
    /// # Errors
    /// Where there is no such room.
    pub fn set_room(&self, room: &str, state: RoomState) -> io::Result<()> {
        let mut hall = self.shared.hall();
        let number = found(&hall, room)?;
        hall.set_room(number, state);
        Ok(())
    }

    /// Begins an outage: keeps clients out, and cuts all that are in.
    ///
    /// # Errors
    /// As those of [`Simulator::refuse`].
    pub async fn begin_outage(&self, refusal: Refusal, cut: Cut) -> io::Result<()> {
        self.refuse(Some(refusal)).await?;
        self.cut(Target::All, cut);
        Ok(())
    }

    /// Ends an outage.
    ///
    /// # Errors
    /// As those of [`Simulator::refuse`].
    pub async fn end_outage(&self) -> io::Result<()> {
        self.refuse(None).await
    }

    /// Breaks a line for a socket at some byte.
    fn begin_line(&self, hall: &mut Hall, socket: &Socket) {
        let room = some_room(hall, socket);
        let now = self.shared.config.clock.now();
        let text = b"this message is never said to its end";
        let line = hall.message(room, (NOBODY, now), "", text);
        let at = 1 + pen::pick(&mut hall.rng, line.len() - 1);
        let parcel = Parcel::new(&self.shared.book, &line, Source::Broken, Caps::NONE);
        socket
            .outbox()
            .push_broken(&parcel.in_room(room), &self.shared.book, at);
    }
}

/// Lines on command.
impl Simulator {
    /// Somebody says something in a room, now, with an id of its own. Tells how many sockets it
    /// goes to.
    ///
    /// # Errors
    /// Where there is no such room, or the login or the text cannot be in a line.
    pub fn say(&self, room: &str, login: &str, text: &str) -> io::Result<usize> {
        let is_of_login = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if login.is_empty() || !login.bytes().all(is_of_login) {
            let reason = format!("{login:?} is no login, expected letters, digits and _");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let now = self.shared.config.clock.now();
        let line = {
            let mut hall = self.shared.hall();
            let number = found(&hall, room)?;
            hall.message(number, (login, now), "", text.as_bytes())
        };
        self.send(room, &line)
    }

    /// Sends a line as it is, without its line end, to all sockets in a room. Tells how many
    /// these are.
    ///
    /// # Errors
    /// Where there is no such room, or the line holds a line end.
    pub fn send(&self, room: &str, line: &[u8]) -> io::Result<usize> {
        if memchr::memchr2(b'\r', b'\n', line).is_some() {
            let reason = "a line holds a line end, expected one line without it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let mut hall = self.shared.hall();
        let room = found(&hall, room)?;
        let took = hall.deliver(room, line, Source::Said, &mut Vec::new());
        hall.tell();
        Ok(took)
    }
}

fn on_each(hall: &Hall, target: Target, befall: impl Fn(&Arc<Socket>)) -> usize {
    let sockets = hall.sockets(target);
    for socket in &sockets {
        befall(socket);
        socket.changed.notify_one();
    }
    sockets.len()
}

fn found(hall: &Hall, room: &str) -> io::Result<Number> {
    hall.rooms.find(room).ok_or_else(|| {
        let reason = format!("there is no room {room:?}, expected the name of one without #");
        io::Error::new(io::ErrorKind::NotFound, reason)
    })
}

/// A room that a socket has joined, drawn from the seed; the first of all where it has none.
fn some_room(hall: &mut Hall, socket: &Socket) -> Number {
    let member = hall.members.get(&socket.number);
    let rooms = member.map_or(0, |member| member.joined.len());
    let at = pen::pick(&mut hall.rng, rooms);
    let member = hall.members.get(&socket.number);
    let room = member.and_then(|member| member.joined.iter().nth(at).copied());
    room.unwrap_or(0)
}
