//! What the server does at what a client says: login, rooms, PING.

use std::sync::Arc;

use tokio::time::Instant;

use crate::counters::Reason;
use crate::dialect::{self, Caps, Command};
use crate::fault::RoomState;
use crate::hall::Hall;
use crate::limits::Key;
use crate::outbox::Close;
use crate::rooms::Number;
use crate::shared::Shared;
use crate::socket::Socket;

/// The longest login; Twitch's have 25 characters at most.
const MAX_LOGIN_BYTES: usize = 64;

/// Whether more of what the client says is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Go,
    End,
}

/// Who has logged in on a socket.
struct Login {
    nick: Box<str>,
    key: Key,
    is_anonymous: bool,
}

pub(crate) struct Client {
    shared: Arc<Shared>,
    socket: Arc<Socket>,
    pass: Option<Box<str>>,
    login: Option<Login>,
}

impl Client {
    pub(crate) const fn new(shared: Arc<Shared>, socket: Arc<Socket>) -> Self {
        Self {
            shared,
            socket,
            pass: None,
            login: None,
        }
    }

    /// Follows a line of the client, without its line end.
    pub(crate) fn heard(&mut self, line: &[u8]) -> Flow {
        if self.socket.outbox().is_over() {
            return Flow::End;
        }
        if line.is_empty() {
            return Flow::Go;
        }
        let command = std::str::from_utf8(line).ok().and_then(Command::parse);
        match command {
            Some(command) => self.follow(&command),
            None => self.ignore(),
        }
        self.socket.changed.notify_one();
        if self.socket.outbox().is_over() {
            return Flow::End;
        }
        Flow::Go
    }

    fn follow(&mut self, command: &Command<'_>) {
        match *command {
            Command::CapList => self.say(&dialect::cap_list()),
            Command::CapRequest(names, caps) => {
                if let Some(caps) = caps {
                    self.socket.outbox().add_caps(caps);
                }
                self.say(&dialect::cap_answer(names, caps.is_some()));
            }
            Command::Pass(pass) => self.pass = Some(pass.into()),
            Command::Nick(nick) => self.nick(nick),
            Command::Join(list) => self.join(list),
            Command::Part(list) => self.part(list),
            Command::Ping(token) => self.say(&dialect::pong(token)),
            Command::Pong => self.socket.pong(),
            Command::Quit => self.end(Reason::Quit),
            Command::Silent => self.ignore(),
            Command::Unknown(command) => {
                self.ignore();
                let nick = self.login.as_ref().map_or("you", |login| &*login.nick);
                self.say(&dialect::unknown_command(nick, command));
            }
        }
    }

    fn nick(&mut self, nick: &str) {
        if self.login.is_some() {
            return self.ignore();
        }
        let nick = nick.to_ascii_lowercase();
        let is_anonymous = nick
            .strip_prefix("justinfan")
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let address = self.socket.peer.ip();
        let key = if is_anonymous {
            Key::Address(address)
        } else {
            Key::Account(nick.as_str().into())
        };
        if !self.may_log_in(&key) {
            return;
        }
        if !is_login(&nick) || !(is_anonymous || self.has_token()) {
            return self.refuse_login(dialect::MALFORMED_LOGIN);
        }
        let is_refused = self.shared.hall().weather.refuses_logins;
        if is_refused || !(is_anonymous || self.is_right(&nick)) {
            return self.refuse_login(dialect::LOGIN_FAILED);
        }
        self.shared.counters.logins.add(1);
        self.socket.outbox().logged_in(&nick, Instant::now());
        for line in dialect::welcome(&nick) {
            self.say(&line);
        }
        if !is_anonymous {
            let line = dialect::global_user_state(&nick);
            self.say_if(&line, Caps::COMMANDS);
        }
        self.pass = None;
        self.login = Some(Login {
            nick: nick.into(),
            key,
            is_anonymous,
        });
    }

    fn may_log_in(&self, key: &Key) -> bool {
        let is_free = self.shared.hall().logins.take(key, Instant::now());
        if !is_free {
            self.shared.counters.login_violations.add(1);
            self.end(Reason::LoginRate);
        }
        is_free
    }

    fn refuse_login(&self, notice: &[u8]) {
        self.shared.counters.login_refusals.add(1);
        self.socket.say(notice, Caps::NONE);
        self.end(Reason::LoginRefused);
    }

    /// True where there was a PASS of the right form.
    fn has_token(&self) -> bool {
        let token = self
            .pass
            .as_deref()
            .and_then(|pass| pass.strip_prefix("oauth:"));
        token.is_some_and(|token| !token.is_empty())
    }

    fn is_right(&self, login: &str) -> bool {
        let accounts = &self.shared.config.accounts;
        let token = self
            .pass
            .as_deref()
            .and_then(|pass| pass.strip_prefix("oauth:"));
        accounts.is_empty()
            || accounts
                .iter()
                .any(|account| account.login == login && Some(&*account.token) == token)
    }

    fn join(&self, list: &str) {
        let Some(login) = &self.login else {
            return self.ignore();
        };
        let counters = &self.shared.counters;
        let mut hall = self.shared.hall();
        for name in rooms(list) {
            if !hall.joins.take(&login.key, Instant::now()) {
                counters.join_violations.add(1);
                drop(hall);
                return self.end(Reason::JoinRate);
            }
            match hall.rooms.find(&name) {
                None => counters.join_refusals.add(1),
                Some(room) => self.join_one(&mut hall, login, room),
            }
        }
    }

    fn join_one(&self, hall: &mut Hall, login: &Login, room: Number) {
        let counters = &self.shared.counters;
        let (state, name) = (hall.rooms.state(room), hall.rooms.name(room));
        let Some(member) = hall.members.get(&self.socket.number) else {
            return;
        };
        let joined = u32::try_from(member.joined.len()).unwrap_or(u32::MAX);
        if member.joined.contains(&room) {
            return;
        }
        let refusal = match state {
            RoomState::Open => None,
            RoomState::Suspended => Some(dialect::suspended(&name)),
            RoomState::Banned => Some(dialect::banned(&name)),
        };
        if let Some(line) = refusal {
            counters.join_refusals.add(1);
            self.socket.say(line.as_bytes(), Caps::COMMANDS);
            return;
        }
        if joined >= self.shared.config.rooms_per_socket {
            counters.room_limit_violations.add(1);
            return;
        }
        counters.joins.add(1);
        for line in dialect::joined(&login.nick, &name) {
            self.socket.say(line.as_bytes(), Caps::NONE);
        }
        if !login.is_anonymous {
            let line = dialect::user_state(&login.nick, &name);
            self.socket.say(line.as_bytes(), Caps::COMMANDS);
        }
        let line = dialect::room_state(room, &name);
        self.socket.say(line.as_bytes(), Caps::COMMANDS);
        hall.rooms.enter(room, Arc::clone(&self.socket));
        if let Some(member) = hall.members.get_mut(&self.socket.number) {
            member.joined.insert(room);
        }
    }

    fn part(&self, list: &str) {
        let Some(login) = &self.login else {
            return self.ignore();
        };
        let mut hall = self.shared.hall();
        for name in rooms(list) {
            let Some(room) = hall.rooms.find(&name) else {
                continue;
            };
            let member = hall.members.get_mut(&self.socket.number);
            if !member.is_some_and(|member| member.joined.remove(&room)) {
                continue;
            }
            hall.rooms.leave(room, self.socket.number);
            self.shared.counters.parts.add(1);
            let line = dialect::parted(&login.nick, &name);
            self.socket.say(line.as_bytes(), Caps::NONE);
        }
    }

    fn say(&self, line: &str) {
        self.say_if(line, Caps::NONE);
    }

    fn say_if(&self, line: &str, needs: Caps) {
        self.socket.say(line.as_bytes(), needs);
    }

    fn ignore(&self) {
        self.shared.counters.commands_ignored.add(1);
    }

    fn end(&self, reason: Reason) {
        self.socket.close(Close::Orderly, reason, Instant::now());
    }
}

/// The names of rooms in a list of channels. What is none names no room, and counts all the same.
fn rooms(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|channel| {
        let name = channel.strip_prefix('#').unwrap_or("");
        name.to_ascii_lowercase()
    })
}

fn is_login(nick: &str) -> bool {
    let is_of_login = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    !nick.is_empty() && nick.len() <= MAX_LOGIN_BYTES && nick.bytes().all(is_of_login)
}
