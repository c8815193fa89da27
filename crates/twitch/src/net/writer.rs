//! The half that takes commands.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use twitch_irc::irc;
use twitch_irc::message::{AsRawIRC, IRCMessage};
use twzrd_domain::chat::{ChatWriter, Lost};
use twzrd_domain::identity::Channel;

use super::config::is_plain;
use super::refusals::Refusals;

/// How long a command may take to be sent.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest line that is sent, in bytes, with its end (RFC 1459, section 2.3).
pub const MAX_COMMAND_BYTES: usize = 512;

const LINE_END: &str = "\r\n";

/// What is asked when asking whether the other side is there.
const PING_TOKEN: &str = "twzrd";

/// Sends commands, a line each, within [`WRITE_TIMEOUT`].
///
/// Only names that Twitch could know go out ([`super::config::is_plain`]), so no name leaves its
/// line. Another name is not asked for: the reader of the same socket tells it as refused.
///
/// A command that is dropped while it is sent is sent to its end by the next one, so no half line
/// stands before another.
pub struct Writer<W> {
    sink: W,
    refusals: Arc<Refusals>,
    /// What is not sent yet: one line, or the login.
    out: Vec<u8>,
    sent: usize,
    lost: Option<Lost>,
}

impl<W: AsyncWrite + Send + Unpin> Writer<W> {
    pub(super) fn new(sink: W, refusals: Arc<Refusals>) -> Self {
        Self {
            sink,
            refusals,
            out: Vec::new(),
            sent: 0,
            lost: None,
        }
    }

    /// Sends these, together.
    pub(super) async fn send(&mut self, commands: &[IRCMessage]) -> Result<(), Lost> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let work = async {
            self.send_rest().await?;
            for command in commands {
                self.out.extend_from_slice(command.as_raw_irc().as_bytes());
                self.out.extend_from_slice(LINE_END.as_bytes());
            }
            self.send_rest().await
        };
        let reason = match timeout(WRITE_TIMEOUT, work).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!(
                "a command was not taken within {} s",
                WRITE_TIMEOUT.as_secs()
            ),
        };
        Err(self.lost.insert(Lost { reason }).clone())
    }

    /// Sends what is left in the buffer. Dropped, it knows how far it came.
    async fn send_rest(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.sink.write(&self.out[self.sent..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                bytes => self.sent += bytes,
            }
        }
        self.out.clear();
        self.sent = 0;
        self.sink.flush().await
    }

    async fn send_for(&mut self, command: &str, channels: &[Channel]) -> Result<(), Lost> {
        let most = MAX_COMMAND_BYTES - LINE_END.len() - command.len() - 1;
        let mut names = String::new();
        for channel in channels.iter().filter(|channel| is_plain(channel)) {
            // Both signs of the name.
            if !names.is_empty() && names.len() + channel.as_str().len() + 2 > most {
                self.send(&[irc!(command, std::mem::take(&mut names))])
                    .await?;
            }
            if !names.is_empty() {
                names.push(',');
            }
            names.push('#');
            names.push_str(channel.as_str());
        }
        match names.is_empty() {
            true => Ok(()),
            false => self.send(&[irc!(command, names)]).await,
        }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> ChatWriter for Writer<W> {
    async fn join(&mut self, channels: &[Channel]) -> Result<(), Lost> {
        for channel in channels.iter().filter(|channel| !is_plain(channel)) {
            self.refusals.refuse(channel);
        }
        self.send_for("JOIN", channels).await
    }

    /// Leaves these channels. One whose name was refused was never joined.
    async fn part(&mut self, channels: &[Channel]) -> Result<(), Lost> {
        self.send_for("PART", channels).await
    }

    async fn ping(&mut self) -> Result<(), Lost> {
        self.send(&[irc!("PING", PING_TOKEN)]).await
    }

    /// Answers with the token, up to its first control character and as far as it fits the line.
    async fn pong(&mut self, token: &str) -> Result<(), Lost> {
        // The command, its space, and the colon that a token with spaces gets.
        let most = MAX_COMMAND_BYTES - LINE_END.len() - "PONG :".len();
        let fits = |&(at, c): &(usize, char)| !c.is_control() && at + c.len_utf8() <= most;
        let token: String = token
            .char_indices()
            .take_while(fits)
            .map(|(_, c)| c)
            .collect();
        self.send(&[irc!("PONG", token)]).await
    }

    async fn close(&mut self) {
        let goodbye = async {
            self.send(&[irc!("QUIT")]).await.is_ok() && self.sink.shutdown().await.is_ok()
        };
        let _of_no_consequence = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}
