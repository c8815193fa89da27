//! What a simulator is started with.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use twzrd_domain::ports::Clock;

use crate::limits::Limit;
use crate::traffic::Shares;

/// The longest name of a room; Twitch's have 25 characters at most.
const MAX_NAME_BYTES: usize = 64;

/// The rooms that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rooms {
    /// So many, called `channel_0000`, `channel_0001` and so on.
    Numbered(u32),
    /// These, without `#`: 1 to 64 of `a` to `z`, `0` to `9` and `_`. The first is the loudest.
    Named(Vec<String>),
}

impl Rooms {
    /// The names, in order.
    ///
    /// # Errors
    /// Where there is no room, a name is none, or two are the same.
    pub(crate) fn names(&self) -> io::Result<Arc<[Arc<str>]>> {
        let names: Arc<[Arc<str>]> = match self {
            Self::Numbered(count) => (0..*count)
                .map(|room| Arc::from(format!("channel_{room:04}")))
                .collect(),
            Self::Named(names) => names.iter().map(|name| Arc::from(name.as_str())).collect(),
        };
        if names.is_empty() {
            return Err(invalid("there are 0 rooms, expected at least 1".to_owned()));
        }
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            !name.is_empty()
                && name.len() <= MAX_NAME_BYTES
                && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            let expected = format!("expected 1 to {MAX_NAME_BYTES} of a to z, 0 to 9 and _");
            return Err(invalid(format!(
                "{name:?} is no name of a room, {expected}"
            )));
        }
        let mut sorted: Vec<_> = names.iter().collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(invalid(format!("room {:?} is there twice", pair[0]))),
            None => Ok(names),
        }
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

/// An account that may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its login, in lower case.
    pub login: String,
    /// Its token, without `oauth:`.
    pub token: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// What a simulator is started with. [`Config::new`] has the defaults that are named here.
#[derive(Clone)]
pub struct Config {
    /// Where to listen: a port of 127.0.0.1 that is free.
    pub listen: SocketAddr,
    /// What everything random follows from: 1.
    pub seed: u64,
    /// The rooms that exist: 1,000 numbered ones.
    pub rooms: Rooms,
    /// How many people there are: 100,000.
    pub users: u32,
    /// How much there is of each kind of line.
    pub shares: Shares,
    /// How many lines are said in a second, over all rooms: 0, which is silence.
    pub lines_per_second: u32,
    /// The accounts that may log in: none, and then whoever has a token of the right form may.
    pub accounts: Vec<Account>,
    /// How many rooms an account, or an address without one, may join in a time, over all of its
    /// sockets: [`Limit::TWITCH`].
    pub join_limit: Limit,
    /// How many logins an account, or an address without one, may try in a time:
    /// [`Limit::TWITCH`].
    pub login_limit: Limit,
    /// How many rooms a socket may join: 100. What is beyond is counted, and gets no answer.
    pub rooms_per_socket: u32,
    /// How many sockets may be open: 4,096. What is beyond is closed at once, and counted.
    pub sockets: usize,
    /// How long after the last PING the next one comes: 5 minutes; never where it is none.
    pub ping_every: Option<Duration>,
    /// How long a client may take for a PONG: 10 seconds from when the PING was handed to the
    /// kernel.
    pub pong_within: Duration,
    /// How long a client may take to log in: 30 seconds.
    pub login_within: Duration,
    /// How long an orderly close may take, first to write what waits and then for the client to
    /// close its side: 5 seconds each. After the first the socket is reset.
    pub close_within: Duration,
    /// How often lines are generated and delivered: every 20 milliseconds.
    pub tick: Duration,
    /// True, the default: generation waits for a socket for which [`Config::outbox_bytes`] wait,
    /// and no line is lost. False: such a socket is reset, as Twitch does it.
    pub backpressure: bool,
    /// How many bytes may wait for a socket: 256 KiB, and the line that goes beyond, and what one
    /// command of the client is answered.
    pub outbox_bytes: usize,
    /// The kernel's buffer for what is sent, by socket, in bytes, where it is not the system's
    /// default. A small one lets the push-back of a slow reader come soon.
    pub send_buffer_bytes: Option<u32>,
    /// How long a line of a client may be: 8 KiB. A longer one ends the socket.
    pub command_bytes: usize,
    /// Whether deliveries are kept in a [`crate::Log`]: no.
    pub keep_log: bool,
    /// How many deliveries the log keeps: 4,000,000, of about 70 bytes each, and the lines. What
    /// is beyond is counted.
    pub log_deliveries: u64,
    /// What gives the times in lines.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            rooms: Rooms::Numbered(1000),
            users: 100_000,
            shares: Shares::default(),
            lines_per_second: 0,
            accounts: Vec::new(),
            join_limit: Limit::TWITCH,
            login_limit: Limit::TWITCH,
            rooms_per_socket: 100,
            sockets: 4096,
            ping_every: Some(Duration::from_secs(300)),
            pong_within: Duration::from_secs(10),
            login_within: Duration::from_secs(30),
            close_within: Duration::from_secs(5),
            tick: Duration::from_millis(20),
            backpressure: true,
            outbox_bytes: 256 * 1024,
            send_buffer_bytes: None,
            command_bytes: 8 * 1024,
            keep_log: false,
            log_deliveries: 4_000_000,
            clock,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> io::Result<Arc<[Arc<str>]>> {
        Rooms::Named(names.iter().map(|name| (*name).to_owned()).collect()).names()
    }

    #[test]
    fn rooms_are_called_after_their_numbers_or_as_they_are_named() {
        let names = Rooms::Numbered(10_001).names().unwrap();
        assert_eq!(&*names[42], "channel_0042");
        assert_eq!(&*names[10_000], "channel_10000");
        assert_eq!(&*named(&["xqc", "a_1"]).unwrap()[1], "a_1");
    }

    #[test]
    fn what_is_no_list_of_rooms_is_refused_by_name() {
        let fault = |names: &[&str]| named(names).unwrap_err().to_string();
        assert_eq!(fault(&[]), "there are 0 rooms, expected at least 1");
        assert_eq!(fault(&["a", "b", "a"]), "room \"a\" is there twice");
        for name in ["", "#a", "A", "a b", "a\r\nPART #b", &"a".repeat(65)] {
            let expected = "is no name of a room, expected 1 to 64 of a to z, 0 to 9 and _";
            assert_eq!(fault(&["a", name]), format!("{name:?} {expected}"));
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let account = Account {
            login: "somebody".to_owned(),
            token: "secret".to_owned(),
        };
        assert_eq!(
            format!("{account:?}"),
            "Account { login: \"somebody\", .. }"
        );
    }
}
