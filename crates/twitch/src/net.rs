//! Twitch's chat network behind the port [`ChatNetwork`]: sockets, login, lines and commands.
//!
//! [`TwitchNetwork`] opens a socket; [`Reader`] and [`Writer`] are its halves. What a socket's life
//! comes to (which channels it holds, when it is replaced, how often joins go out) is decided by
//! whoever holds it; nothing here reconnects, waits between tries, or spawns a task.
//!
//! # What is taken from `twitch-irc`, and what is not
//! Commands are its [`IRCMessage`](twitch_irc::message::IRCMessage), written by its
//! [`AsRawIRC`](twitch_irc::message::AsRawIRC), and the rare lines that are to the socket itself
//! (NOTICE, PING, JOIN, PART, CAP and so on) are read by its parser into its
//! [`ServerMessage`](twitch_irc::message::ServerMessage). Its `TwitchIRCClient` is not used: a line
//! of invalid UTF-8 ends its connection, where here it is one invalid line; it hands lines out
//! through a queue without a bound; it has no limit on joins and never asks again for one that was
//! not confirmed; a lost connection is only logged, where here it begins a gap; and on RECONNECT it
//! closes first and joins elsewhere later, where a second socket has to take over first. Nor are
//! the lines that people cause read by its parser, which makes 286,000 lines a second of a core:
//! they are split and routed here (8.5 million), and judged by `tmi` (2.3 million), which a
//! differential test holds to `twitch-irc`.

mod config;
mod dial;
mod login;
mod news;
mod reader;
mod refusals;
mod route;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::time::{Instant, timeout_at};
use twzrd_domain::chat::{ChatNetwork, ConnectError, Socket};
use twzrd_domain::identity::Login;
use twzrd_domain::ports::Clock;

pub use config::{Config, ConfigError, Credentials, CredentialsError, MAX_TOKEN_BYTES};
use dial::{Tls, dial};
use login::{Failure, login};
pub use reader::{BROKEN, Reader};
pub use refusals::INVALID_NAME;
use refusals::Refusals;
pub use writer::{MAX_COMMAND_BYTES, WRITE_TIMEOUT, Writer};

/// The chat network at one address.
pub struct TwitchNetwork {
    config: Config,
    tls: Option<Tls>,
    opened: AtomicU64,
}

impl TwitchNetwork {
    /// Takes the settings; connects to nothing.
    ///
    /// # Errors
    /// Where the host is none, or TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if config.host.is_empty() || !config.host.bytes().all(|byte| byte.is_ascii_graphic()) {
            let found = config.host;
            return Err(ConfigError::Host { found });
        }
        let tls = config.tls.then(|| Tls::new(&config)).transpose()?;
        let opened = AtomicU64::new(0);
        Ok(Self {
            config,
            tls,
            opened,
        })
    }

    /// Opens a socket; says in `doing` what it is at.
    async fn open(&self, until: Instant, doing: &mut &'static str) -> Result<Socket, Failure> {
        *doing = "connecting";
        let stream = dial(&self.config, until).await.map_err(unreachable)?;
        let Some(Tls { connector, server }) = &self.tls else {
            *doing = "logging in";
            let (read, write) = stream.into_split();
            return self.enter(read, write).await;
        };
        *doing = "agreeing on TLS";
        let connecting = connector.connect(server.clone(), stream);
        let (read, write) = split(connecting.await.map_err(unreachable)?);
        *doing = "logging in";
        self.enter(read, write).await
    }

    /// Logs in on an open stream.
    async fn enter<R, W>(&self, read: R, write: W) -> Result<Socket, Failure>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let credentials = self.config.credentials.as_ref();
        let nick = match credentials {
            Some(known) => known.login().clone(),
            None => self.anonymous()?,
        };
        let clock = Arc::clone(&self.config.clock);
        let (mut reader, mut writer) = halves(read, write, nick.clone(), clock);
        login(&mut reader, &mut writer, &nick, credentials).await?;
        Ok(Socket {
            reader: Box::new(reader),
            writer: Box::new(writer),
        })
    }

    /// A name that Twitch lets in without a token: `justinfan` and digits, others for each socket.
    fn anonymous(&self) -> Result<Login, Failure> {
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let digits = 10_000_000 + mixed(self.config.seed, opened) % 90_000_000;
        Login::parse(&format!("justinfan{digits}")).map_err(unreachable)
    }
}

#[async_trait]
impl ChatNetwork for TwitchNetwork {
    async fn connect(&self) -> Result<Socket, ConnectError> {
        let mut doing = "beginning";
        let until = Instant::now() + self.config.connect_timeout;
        let opened = timeout_at(until, self.open(until, &mut doing)).await;
        let address = self.config.address();
        match opened {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(Failure::Refused(reason))) => Err(ConnectError::Refused { address, reason }),
            Ok(Err(Failure::Unreachable(reason))) => {
                Err(ConnectError::Unreachable { address, reason })
            }
            Err(_) => {
                let ms = self.config.connect_timeout.as_millis();
                let reason = format!("no answer within {ms} ms while {doing}");
                Err(ConnectError::Unreachable { address, reason })
            }
        }
    }
}

impl fmt::Debug for TwitchNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwitchNetwork")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The two halves of a socket on which `nick` is logged in, over any stream.
pub fn halves<R, W: AsyncWrite + Send + Unpin>(
    read: R,
    write: W,
    nick: Login,
    clock: Arc<dyn Clock>,
) -> (Reader<R>, Writer<W>) {
    let refusals = Arc::new(Refusals::default());
    let reader = Reader::new(read, nick, clock, Arc::clone(&refusals));
    (reader, Writer::new(write, refusals))
}

fn unreachable(error: impl fmt::Display) -> Failure {
    Failure::Unreachable(error.to_string())
}

/// The `n`th number that SplitMix64 gives for a seed.
const fn mixed(seed: u64, n: u64) -> u64 {
    let z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
