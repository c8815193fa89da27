//! From an open stream to a welcome.

use tokio::io::{AsyncRead, AsyncWrite};
use twitch_irc::irc;
use twitch_irc::message::IRCMessage;
use twzrd_domain::chat::{CHUNK_BYTES, ChatReader, Chunk, ChunkLine, Lost};
use twzrd_domain::identity::Login;

use super::config::Credentials;
use super::news::{bounded, parse};
use super::reader::Reader;
use super::route::route;
use super::writer::Writer;

/// What a line has beyond plain IRC: tags, and the commands that Twitch invented. Not membership,
/// which tells who else comes and goes; the echo of one's own JOIN comes without it.
/// Source: <https://dev.twitch.tv/docs/irc/capabilities/>.
pub(super) const CAPABILITIES: [&str; 2] = ["twitch.tv/tags", "twitch.tv/commands"];

/// How a notice begins with which a server turns away who logs in.
///
/// Source: <https://dev.twitch.tv/docs/irc/authenticate-bot/>, and what clients know besides.
const REFUSALS: [&str; 4] = [
    "Login authentication failed",
    "Improperly formatted auth",
    "Login unsuccessful",
    "Invalid NICK",
];

/// Why there was no welcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Anything that may work another time.
    Unreachable(String),
    /// The credentials are not taken.
    Refused(String),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Unreachable(lost.reason)
    }
}

/// Logs in, and waits for the welcome and for the capabilities, of which twzrd needs both. What
/// came up to then is in the reader's first chunk.
pub(super) async fn login<R, W>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    nick: &Login,
    credentials: Option<&Credentials>,
) -> Result<(), Failure>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin,
{
    let mut commands = vec![irc!("CAP", "REQ", CAPABILITIES.join(" "))];
    commands.extend(credentials.map(|known| irc!("PASS", known.token())));
    commands.push(irc!("NICK", nick.as_str()));
    writer.send(&commands).await?;

    let mut dialogue = Dialogue {
        credentials,
        ..Dialogue::default()
    };
    let (mut all, mut chunk) = (Chunk::default(), Chunk::default());
    while !dialogue.is_complete() {
        if all.bytes.len() > CHUNK_BYTES {
            return Err(Failure::Unreachable(format!(
                "{} bytes came without a welcome; expected at most {CHUNK_BYTES}",
                all.bytes.len()
            )));
        }
        let outcome = reader.read(&mut chunk).await;
        outcome.map_err(|lost| dialogue.lost(lost))?;
        for (line, _) in chunk.iter() {
            dialogue.hear(line)?;
        }
        append(&mut all, &chunk);
    }
    reader.unread(all);
    Ok(())
}

/// How far the login is.
#[derive(Default)]
struct Dialogue<'a> {
    credentials: Option<&'a Credentials>,
    is_welcome: bool,
    granted: [bool; CAPABILITIES.len()],
    /// The last notice, in case that nothing else comes.
    notice: Option<String>,
}

impl Dialogue<'_> {
    fn is_complete(&self) -> bool {
        self.is_welcome && self.granted == [true; CAPABILITIES.len()]
    }

    fn hear(&mut self, line: &[u8]) -> Result<(), Failure> {
        match route(line).command {
            b"001" => self.is_welcome = true,
            b"CAP" => {
                if let Some(message) = parse(line) {
                    self.hear_capabilities(&message)?;
                }
            }
            b"NOTICE" => {
                let text = parse(line).and_then(|message| message.params.into_iter().nth(1));
                let text = self.quote(&text.unwrap_or_default());
                if !self.is_welcome && REFUSALS.iter().any(|known| text.starts_with(known)) {
                    return Err(Failure::Refused(text));
                }
                self.notice = Some(text);
            }
            _ => {}
        }
        Ok(())
    }

    /// `CAP * ACK :a b`, or `NAK`.
    fn hear_capabilities(&mut self, message: &IRCMessage) -> Result<(), Failure> {
        let [_, answer, names, ..] = message.params.as_slice() else {
            return Ok(());
        };
        match answer.as_str() {
            "ACK" => {
                for (wanted, granted) in CAPABILITIES.iter().zip(&mut self.granted) {
                    *granted |= names.split(' ').any(|name| name == *wanted);
                }
                Ok(())
            }
            "NAK" => {
                let names = self.quote(names);
                Err(Failure::Unreachable(format!(
                    "the server does not grant {names}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The end of a socket, with what the server said before.
    fn lost(&self, lost: Lost) -> Failure {
        Failure::Unreachable(match &self.notice {
            Some(notice) => format!("{}; it said {notice:?}", lost.reason),
            None => lost.reason,
        })
    }

    /// Words of the server, bounded, and without the token should it repeat that.
    fn quote(&self, text: &str) -> String {
        match self.credentials {
            Some(known) => bounded(&known.redact(text)),
            None => bounded(text),
        }
    }
}

/// Appends a chunk to another. The time is that of the later one.
fn append(all: &mut Chunk, chunk: &Chunk) {
    let begin = u32::try_from(all.bytes.len()).unwrap_or(u32::MAX);
    all.bytes.extend_from_slice(&chunk.bytes);
    all.lines.extend(chunk.lines.iter().map(|line| ChunkLine {
        end: line.end + begin,
        channel: (line.channel.0 + begin, line.channel.1 + begin),
        is_broken: line.is_broken,
    }));
    all.news.extend(chunk.news.iter().cloned());
    all.at = chunk.at;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
    use twzrd_domain::chat::News;
    use twzrd_testkit::fake::ManualClock;

    use super::super::halves;
    use super::*;

    #[tokio::test]
    async fn what_came_in_many_reads_is_one_first_chunk() {
        // Room for less than a line, so each line takes a read.
        let (near, far) = duplex(16);
        let (read, write) = split(near);
        let nick = Login::parse("reader").unwrap();
        let clock = Arc::new(ManualClock::at(7));
        let (mut reader, mut writer) = halves(read, write, nick.clone(), clock);
        let (mut heard, mut told) = split(far);
        let mut said =
            vec![0; "CAP REQ :twitch.tv/tags twitch.tv/commands\r\nNICK reader\r\n".len()];
        let lines = [
            ":h CAP * ACK :twitch.tv/tags",
            ":reader!r@r JOIN #first",
            "@id=1 :x!x@x PRIVMSG #second :b",
            ":h CAP * ACK :twitch.tv/commands",
            ":h 001 reader :Welcome",
        ];
        let (outcome, _, _) = tokio::join!(
            login(&mut reader, &mut writer, &nick, None),
            heard.read_exact(&mut said),
            async {
                told.write_all((lines.join("\r\n") + "\r\n").as_bytes())
                    .await
            },
        );
        assert_eq!(outcome, Ok(()));
        let mut chunk = Chunk::default();
        reader.read(&mut chunk).await.unwrap();
        let found: Vec<_> = chunk.iter().collect();
        let channels = ["", "first", "second", "", ""];
        let expected = lines.into_iter().zip(channels);
        let expected: Vec<_> = expected
            .map(|(l, c)| (l.as_bytes(), c.as_bytes()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(chunk.at, 7);
        assert_eq!(chunk.news, [News::Joined(Login::parse("first").unwrap())]);
    }
}
