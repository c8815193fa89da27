//! The half that gives lines.

use std::io;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};
use twzrd_domain::chat::{CHUNK_BYTES, ChatReader, Chunk, ChunkLine, Lost};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::Login;
use twzrd_domain::ports::Clock;

use super::news::news;
use super::refusals::Refusals;
use super::route::route;
use crate::line::MAX_LINE_BYTES;

/// The bytes that a broken line is handed out as. No IRC command begins with it, so it is judged
/// invalid like any other line that is none.
pub const BROKEN: &[u8] = b"\0";

/// How large the buffer is at first; it doubles whenever a read fills it.
const FIRST_BUFFER_BYTES: usize = 16 * 1024;

/// How large it gets: it holds the longest line with its end, and as much again.
const BUFFER_BYTES: usize = 2 * MAX_LINE_BYTES;

/// Why a socket has ended that the other side closed.
pub(super) const CLOSED: &str = "closed by the server";

/// Splits what comes from a socket into lines, finds the channel of each, and tells the news.
///
/// A line ends with a line feed; carriage returns before it belong to the end. An empty line is no
/// line. No content ends the connection: what a line is worth is judged later. Every line is handed
/// out exactly once, those that are too long or cut as broken ones.
pub struct Reader<R> {
    source: R,
    nick: Login,
    clock: Arc<dyn Clock>,
    refusals: Arc<Refusals>,
    /// Between `begin` and `filled` is what was received and not handed out.
    buffer: Vec<u8>,
    begin: usize,
    filled: usize,
    /// Up to here no line feed was found.
    searched: usize,
    /// True while the rest of a line that is too long is passed over.
    is_skipping: bool,
    /// When the bytes in the buffer were received.
    at: UnixMs,
    /// Handed out by the next read.
    unread: Option<Chunk>,
    ended: Option<Lost>,
}

impl<R> Reader<R> {
    pub(super) fn new(
        source: R,
        nick: Login,
        clock: Arc<dyn Clock>,
        refusals: Arc<Refusals>,
    ) -> Self {
        Self {
            source,
            nick,
            clock,
            refusals,
            buffer: vec![0; FIRST_BUFFER_BYTES],
            begin: 0,
            filled: 0,
            searched: 0,
            is_skipping: false,
            at: 0,
            unread: None,
            ended: None,
        }
    }

    /// Puts lines back that were looked at: the next read hands them out, and nothing else.
    pub(super) fn unread(&mut self, chunk: Chunk) {
        self.unread = Some(chunk);
    }

    /// Moves whole lines out of the buffer, as many as a chunk takes.
    fn take_lines(&mut self, chunk: &mut Chunk) {
        chunk.at = self.at;
        while let Some(found) = memchr(b'\n', &self.buffer[self.searched..self.filled]) {
            let end = self.searched + found;
            let line = without_returns(&self.buffer[self.begin..end]);
            let is_broken = self.is_skipping || line.len() > MAX_LINE_BYTES;
            let line = if is_broken { BROKEN } else { line };
            if !chunk.lines.is_empty() && chunk.bytes.len() + line.len() > CHUNK_BYTES {
                self.searched = end;
                return;
            }
            push(chunk, line, is_broken, &self.nick);
            self.is_skipping = false;
            self.begin = end + 1;
            self.searched = self.begin;
        }
        self.searched = self.filled;
        // With a carriage return, a line may have one byte more.
        if self.filled - self.begin > MAX_LINE_BYTES + 1 {
            self.is_skipping = true;
            self.begin = self.filled;
        }
    }

    /// Hands out what was left of a line when the socket ended.
    fn take_rest(&mut self, chunk: &mut Chunk) {
        let rest = without_returns(&self.buffer[self.begin..self.filled]);
        if mem::take(&mut self.is_skipping) || !rest.is_empty() {
            push(chunk, BROKEN, true, &self.nick);
        }
        self.begin = self.filled;
        self.searched = self.filled;
    }

    /// Makes room behind the half line that is left.
    fn make_room(&mut self) {
        let is_full = self.filled == self.buffer.len();
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.searched -= self.begin;
        self.begin = 0;
        if is_full && self.buffer.len() < BUFFER_BYTES {
            let larger = (self.buffer.len() * 2).min(BUFFER_BYTES);
            self.buffer.resize(larger, 0);
        }
    }

    fn received(&mut self, result: io::Result<usize>) {
        match result {
            Ok(0) => self.end(CLOSED.into()),
            Ok(bytes) => {
                self.filled += bytes;
                self.at = self.clock.now();
            }
            // Without the goodbye that TLS wants.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.end(CLOSED.into()),
            Err(error) => self.end(error.to_string()),
        }
    }

    fn end(&mut self, reason: String) {
        self.ended = Some(Lost { reason });
    }
}

#[async_trait]
impl<R: AsyncRead + Send + Unpin> ChatReader for Reader<R> {
    async fn read(&mut self, chunk: &mut Chunk) -> Result<(), Lost> {
        chunk.clear();
        if let Some(unread) = self.unread.take() {
            *chunk = unread;
        }
        self.refusals.tell(&mut chunk.news);
        // Whatever is awaited here leaves nothing behind where it is dropped.
        while chunk.is_empty() {
            self.take_lines(chunk);
            if !chunk.is_empty() {
                break;
            }
            if let Some(lost) = &self.ended {
                let lost = lost.clone();
                self.take_rest(chunk);
                return if chunk.is_empty() { Err(lost) } else { Ok(()) };
            }
            self.make_room();
            tokio::select! {
                result = self.source.read(&mut self.buffer[self.filled..]) => self.received(result),
                () = self.refusals.changed() => self.refusals.tell(&mut chunk.news),
            }
        }
        if chunk.lines.is_empty() {
            chunk.at = self.clock.now();
        }
        Ok(())
    }
}

/// Puts a line into a chunk; an empty one is none.
fn push(chunk: &mut Chunk, line: &[u8], is_broken: bool, nick: &Login) {
    if line.is_empty() {
        return;
    }
    let begin = chunk.bytes.len();
    let found = route(line);
    chunk.news.extend(news(found.command, line, nick));
    chunk.bytes.extend_from_slice(line);
    chunk.lines.push(ChunkLine {
        end: offset(chunk.bytes.len()),
        channel: match found.channel {
            (from, to) if from < to => (offset(begin + from), offset(begin + to)),
            _ => (0, 0),
        },
        is_broken,
    });
}

/// A chunk is far smaller than what fits here.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn without_returns(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|&byte| byte != b'\r');
    &line[..end.map_or(0, |last| last + 1)]
}
