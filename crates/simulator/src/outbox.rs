//! What waits for a socket, how far its stream has come, and what is to be done next.
//!
//! The outbox decides and the session's task does: [`Outbox::plan`] says at a time whether to
//! write, to wait, or to end. It knows no socket and does nothing that takes time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tokio::time::Instant;

use crate::counters::Reason;
use crate::dialect::{self, Caps};
use crate::fault::Pace;
use crate::log::{Book, Entry, Source, Tide};
use crate::parcel::{Front, Parcel};
use crate::traffic::pen;

/// How many PINGs may be without an answer. Those beyond go out and acknowledge nothing.
const MAX_OPEN_PINGS: usize = 1024;

/// How a socket is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// FIN after all that waits.
    Orderly,
    /// RST.
    Reset,
}

/// An end that was asked for.
struct Closing {
    close: Close,
    reason: Reason,
    at: Instant,
    /// True from `at` on: no more lines are taken.
    is_sealed: bool,
}

struct Ping {
    end: u64,
    written_at: Option<Instant>,
}

/// A pace, and when its next turn is.
struct Paced {
    pace: Pace,
    next: Instant,
    rng: ChaCha8Rng,
}

/// The times that a socket keeps.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) ping_every: Option<Duration>,
    pub(crate) pong_within: Duration,
    pub(crate) login_within: Duration,
    pub(crate) close_within: Duration,
}

/// What the session's task does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// End the socket.
    End(Close, Reason),
    /// Write up to so many bytes of the front, and look again at `until`.
    Write {
        most: usize,
        is_paced: bool,
        until: Option<Instant>,
    },
    /// Look again when something has changed, or at `until`.
    Rest { until: Option<Instant> },
}

pub(crate) struct Outbox {
    times: Times,
    seed: u64,
    pending: Vec<u8>,
    /// The length of the stream, with what waits.
    queued: u64,
    tide: Tide,
    pings: VecDeque<Ping>,
    next_ping: Option<Instant>,
    login_by: Option<Instant>,
    caps: Caps,
    nick: Option<Box<str>>,
    closing: Option<Closing>,
    stalled_until: Option<Instant>,
    writes: Option<Paced>,
    reads: Option<Pace>,
    entries: Vec<Entry>,
    /// True where the task must be told that there is something to write.
    pub(crate) is_touched: bool,
}

impl Outbox {
    pub(crate) fn new(times: Times, seed: u64, now: Instant) -> Self {
        Self {
            times,
            seed,
            pending: Vec::new(),
            queued: 0,
            tide: Tide {
                is_orderly: true,
                ..Tide::default()
            },
            pings: VecDeque::new(),
            next_ping: None,
            login_by: Some(now + times.login_within),
            caps: Caps::NONE,
            nick: None,
            closing: None,
            stalled_until: None,
            writes: None,
            reads: None,
            entries: Vec::new(),
            is_touched: false,
        }
    }

    /// Takes a line, and says whether it did: not where the end has been asked for, and not where
    /// the client has not asked for such lines.
    pub(crate) fn push(&mut self, parcel: &Parcel<'_>, book: &Book) -> bool {
        let is_open = !self.is_over();
        if !is_open || !self.caps.has(parcel.needs) {
            return false;
        }
        self.append(parcel, book, None);
        true
    }

    /// Takes the beginning of a line, so that it can be broken.
    pub(crate) fn push_broken(&mut self, parcel: &Parcel<'_>, book: &Book, bytes: usize) {
        if !self.is_over() {
            self.append(parcel, book, Some(bytes));
        }
    }

    fn append(&mut self, parcel: &Parcel<'_>, book: &Book, cut_at: Option<usize>) {
        let (mut line, mut kept) = (parcel.line, parcel.kept.clone());
        if !self.caps.has(Caps::TAGS) && line.first() == Some(&b'@') {
            line = dialect::without_tags(line);
            kept = kept.map(|_| Arc::from(line));
        }
        let begin = self.queued;
        let end = begin + line.len() as u64 + 2;
        match cut_at {
            Some(bytes) => self
                .pending
                .extend_from_slice(&line[..bytes.min(line.len())]),
            None => {
                self.pending.extend_from_slice(line);
                self.pending.extend_from_slice(b"\r\n");
            }
        }
        self.queued = match cut_at {
            Some(bytes) => begin + bytes.min(line.len()) as u64,
            None => end,
        };
        if line.starts_with(b"PING") && self.pings.len() < MAX_OPEN_PINGS {
            self.pings.push_back(Ping {
                end,
                written_at: None,
            });
        }
        if let Some(line) = kept.filter(|_| book.admit()) {
            self.entries.push(Entry {
                sequence: parcel.sequence,
                line,
                source: parcel.source,
                room: parcel.room,
                begin,
                end,
            });
        }
    }

    /// Asks for the end. A reset overrides whatever was asked for before; else the earlier one
    /// stands.
    pub(crate) fn close(&mut self, close: Close, reason: Reason, at: Instant, now: Instant) {
        let stands = self.closing.as_ref().is_some_and(|closing| {
            closing.close == Close::Reset
                || (close == Close::Orderly && (closing.is_sealed || closing.at <= at))
        });
        if !stands && !self.tide.is_over {
            // The first reason stands where an orderly close is under way already.
            let before = self.closing.as_ref().filter(|closing| closing.is_sealed);
            let reason = before.map_or(reason, |closing| closing.reason);
            self.closing = Some(Closing {
                close,
                reason,
                at,
                is_sealed: at <= now,
            });
        }
    }

    /// What is to be done at `now`.
    pub(crate) fn plan(&mut self, now: Instant, front: &mut Front, book: &Book) -> Plan {
        self.keep_time(now, book);
        let mut until = self.next_time();
        if let Some(closing) = &mut self.closing {
            if closing.at > now {
                until = earlier(until, closing.at);
            } else {
                closing.is_sealed = true;
                self.stalled_until = None;
                let deadline = closing.at + self.times.close_within;
                if closing.close == Close::Reset {
                    return Plan::End(Close::Reset, closing.reason);
                }
                if self.tide.written == self.queued {
                    return Plan::End(Close::Orderly, closing.reason);
                }
                if deadline <= now {
                    return Plan::End(Close::Reset, closing.reason);
                }
                until = earlier(until, deadline);
            }
        }
        if let Some(stalled_until) = self.stalled_until {
            if stalled_until > now {
                return Plan::Rest {
                    until: earlier(until, stalled_until),
                };
            }
            self.stalled_until = None;
        }
        if front.is_empty() {
            front.take(&mut self.pending);
            self.is_touched = false;
        }
        if front.is_empty() {
            return Plan::Rest { until };
        }
        match &mut self.writes {
            Some(paced) if paced.next > now => Plan::Rest {
                until: earlier(until, paced.next),
            },
            Some(paced) => {
                let least = paced.pace.least.max(1);
                let span = paced.pace.most.saturating_sub(least) + 1;
                let most = least + pen::pick(&mut paced.rng, span);
                Plan::Write {
                    most,
                    is_paced: true,
                    until,
                }
            }
            None => Plan::Write {
                most: usize::MAX,
                is_paced: false,
                until,
            },
        }
    }

    /// Takes note that so many bytes of the front are in the hands of the kernel.
    pub(crate) fn wrote(&mut self, bytes: usize, now: Instant) {
        self.tide.written += bytes as u64;
        let written = self.tide.written;
        let new = self.pings.iter_mut().rev();
        for ping in new.take_while(|ping| ping.written_at.is_none()) {
            if ping.end <= written {
                ping.written_at = Some(now);
            }
        }
        if let Some(paced) = &mut self.writes {
            paced.next = now + paced.pace.every;
        }
    }

    /// Takes note of a PONG: whatever was written before its PING has been read.
    pub(crate) fn pong(&mut self) {
        if let Some(ping) = self.pings.pop_front_if(|ping| ping.written_at.is_some()) {
            self.tide.acknowledged = ping.end;
        }
    }

    /// Takes note of the end. What waited is dropped.
    pub(crate) fn end(&mut self, is_orderly: bool) {
        self.tide.is_over = true;
        self.tide.is_orderly = is_orderly;
        self.pending = Vec::new();
        self.pings = VecDeque::new();
        self.writes = None;
        self.entries.shrink_to_fit();
    }

    /// Says PING where it is time, and asks for the end where an answer is overdue.
    fn keep_time(&mut self, now: Instant, book: &Book) {
        if self.login_by.is_some_and(|by| by <= now) {
            self.login_by = None;
            self.close(Close::Orderly, Reason::LoginMissing, now, now);
        }
        if self.pong_by().is_some_and(|by| by <= now) {
            self.close(Close::Orderly, Reason::PongMissing, now, now);
        }
        if let Some(every) = self.times.ping_every
            && self.next_ping.is_some_and(|at| at <= now)
        {
            self.next_ping = Some(now + every);
            let parcel = Parcel::new(book, dialect::PING, Source::Dialect, Caps::NONE);
            self.push(&parcel, book);
        }
    }

    fn pong_by(&self) -> Option<Instant> {
        let written_at = self.pings.front()?.written_at?;
        Some(written_at + self.times.pong_within)
    }

    /// When there is something to do, whatever comes.
    fn next_time(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let times = [self.login_by, self.next_ping, self.pong_by()];
        times.into_iter().flatten().min()
    }

    /// Takes note of a login: from now on there are PINGs.
    pub(crate) fn logged_in(&mut self, nick: &str, now: Instant) {
        self.nick = Some(nick.into());
        self.login_by = None;
        self.next_ping = self.times.ping_every.map(|every| now + every);
    }

    pub(crate) fn nick(&self) -> Option<&str> {
        self.nick.as_deref()
    }

    pub(crate) fn add_caps(&mut self, caps: Caps) {
        self.caps = self.caps.with(caps);
    }

    /// Nothing is sent before `until`.
    pub(crate) fn stall(&mut self, until: Instant) {
        self.stalled_until = Some(until);
    }

    pub(crate) fn pace_writes(&mut self, pace: Option<Pace>, now: Instant) {
        self.writes = pace.map(|pace| Paced {
            pace,
            next: now,
            rng: ChaCha8Rng::seed_from_u64(self.seed),
        });
    }

    pub(crate) const fn pace_reads(&mut self, pace: Option<Pace>) {
        self.reads = pace;
    }

    pub(crate) const fn read_pace(&self) -> Option<Pace> {
        self.reads
    }

    /// How many bytes are not in the hands of the kernel.
    pub(crate) const fn waiting(&self) -> u64 {
        if self.tide.is_over {
            return 0;
        }
        self.queued - self.tide.written
    }

    /// True where no more lines are taken.
    pub(crate) fn is_over(&self) -> bool {
        self.tide.is_over
            || self
                .closing
                .as_ref()
                .is_some_and(|closing| closing.is_sealed)
    }

    /// Why the end was asked for, where it was and its time has come.
    pub(crate) fn closing_reason(&self) -> Option<Reason> {
        let closing = self.closing.as_ref()?;
        closing.is_sealed.then_some(closing.reason)
    }

    pub(crate) const fn tide(&self) -> Tide {
        self.tide
    }

    /// The length of the stream, with what waits.
    pub(crate) const fn queued(&self) -> u64 {
        self.queued
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn earlier(until: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(until.map_or(at, |until| until.min(at)))
}

#[cfg(test)]
mod tests;
