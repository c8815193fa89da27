//! What was delivered: the truth against which a test holds what a client has.
//!
//! # What is guaranteed
//! A delivery is one line to one socket. Its [`Fate`] says how far it came:
//!
//! | fate | what is known |
//! |---|---|
//! | [`Fate::Acknowledged`] | all of the line, with its line end, was read by the client: it has answered a PING that was written after it |
//! | [`Fate::Delivered`] | all of it is in the hands of the kernel, and the socket is open, or was closed orderly: FIN after all data, and then the client closed its side too. A client that reads up to the end of the stream gets it |
//! | [`Fate::Doubtful`] | all of it was in the hands of the kernel, and then the socket was reset, or broke, or the client closed first, or never answered the FIN. It may have arrived or not; if it has, so has every line before it on that socket |
//! | [`Fate::Torn`] | some of its bytes were written, and no more will follow. The client may hold a fragment without a line end, and must not take it for a line |
//! | [`Fate::Waiting`] | not all of it is written, and the socket is open |
//! | [`Fate::Unsent`] | no byte of it was written, and the socket is no more |
//!
//! What is in the hands of the kernel has not been read by anybody: a client that is killed loses
//! what it has not read, though TCP has delivered it. Whoever needs to know asks for an
//! acknowledgement ([`crate::Simulator::acknowledged`]).
//!
//! Lines on a socket are in the order in which they were written. The same line to several sockets
//! has one [`Delivery::sequence`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::Garbage;
use crate::socket::Socket;
use crate::traffic::Kind;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The server's own: welcomes, echoes, answers, PINGs.
    Dialect,
    /// The generator.
    Traffic(Kind),
    /// Said on command.
    Said,
    /// Garbage on command.
    Garbage(Garbage),
    /// A line that was delivered before, again on command.
    Duplicate,
    /// A line that was begun so that it could be broken.
    Broken,
}

/// How far a delivery came. See the module. Later ones are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// No byte of it was written, and none will be.
    Unsent,
    /// Not all of it is written yet.
    Waiting,
    /// Some of its bytes were written, and no more will be.
    Torn,
    /// It was written, and may have arrived or not.
    Doubtful,
    /// It was written, and arrives at a client that reads on.
    Delivered,
    /// The client has read it.
    Acknowledged,
}

/// One line to one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number of the socket.
    pub socket: u64,
    /// The number of the line, the same for all sockets to which it went. Later lines have higher
    /// numbers.
    pub sequence: u64,
    /// The line without its line end, as this socket was to get it.
    pub line: Arc<[u8]>,
    /// Where it comes from.
    pub source: Source,
    /// The room for which it was delivered, without `#`; none where it is for no room.
    pub room: Option<Arc<str>>,
    /// How far it came.
    pub fate: Fate,
}

/// A line that was delivered, whatever the number of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub sequence: u64,
    /// The line without its line end.
    pub bytes: Arc<[u8]>,
    /// Where it comes from.
    pub source: Source,
    /// The room for which it was delivered, without `#`; none where it is for no room.
    pub room: Option<Arc<str>>,
    /// The best of its fates.
    pub fate: Fate,
}

/// All lines, by what a client must have of them; each in order, and in one list only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Acknowledged or delivered on one socket at least: a client that read on has these.
    pub certain: Vec<Line>,
    /// Doubtful or torn at best: a client may have these.
    pub possible: Vec<Line>,
    /// Neither: a client cannot have these, or not yet.
    pub absent: Vec<Line>,
}

/// The log of a simulator. Clones show the same, also after the simulator is gone.
#[derive(Clone)]
pub struct Log(pub(crate) Arc<Book>);

impl Log {
    /// True where every delivery so far was kept.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0.keeps && self.refused() == 0
    }

    /// How many deliveries were not kept, since the log was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// All deliveries, by socket, and for a socket in the order of its stream.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        let sockets = self.0.sockets().clone();
        let all = sockets.iter().flat_map(|socket| self.of(socket));
        all.collect()
    }

    /// The deliveries to one socket, in the order of its stream.
    #[must_use]
    pub fn socket(&self, number: u64) -> Vec<Delivery> {
        let sockets = self.0.sockets().clone();
        let found = sockets.iter().find(|socket| socket.number == number);
        found.map(|socket| self.of(socket)).unwrap_or_default()
    }

    /// All lines, sorted by what a client must have of them. A line that sockets got in several
    /// forms, with tags and without, stands in the form that came furthest.
    #[must_use]
    pub fn truth(&self) -> Truth {
        let mut lines: BTreeMap<u64, Line> = BTreeMap::new();
        for delivery in self.deliveries() {
            let known = lines.get(&delivery.sequence).map(|line| line.fate);
            if known.is_none_or(|fate| fate < delivery.fate) {
                lines.insert(delivery.sequence, delivery.into());
            }
        }
        let mut truth = Truth::default();
        for line in lines.into_values() {
            match line.fate {
                Fate::Acknowledged | Fate::Delivered => truth.certain.push(line),
                Fate::Doubtful | Fate::Torn => truth.possible.push(line),
                Fate::Waiting | Fate::Unsent => truth.absent.push(line),
            }
        }
        truth
    }

    /// Writes a line for each delivery: number of the socket, number of the line, fate, and the
    /// line's bytes as they are, with tabs between them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        for delivery in self.deliveries() {
            let Delivery {
                socket,
                sequence,
                fate,
                line,
                ..
            } = delivery;
            write!(out, "{socket}\t{sequence}\t{fate:?}\t")?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    fn of(&self, socket: &Socket) -> Vec<Delivery> {
        let (tide, entries) = socket.record();
        let deliveries = entries.into_iter().map(|entry| Delivery {
            socket: socket.number,
            sequence: entry.sequence,
            fate: tide.fate(entry.begin, entry.end),
            line: entry.line,
            source: entry.source,
            room: entry.room.and_then(|room| self.0.name(room)),
        });
        deliveries.collect()
    }
}

impl From<Delivery> for Line {
    fn from(delivery: Delivery) -> Self {
        Self {
            sequence: delivery.sequence,
            bytes: delivery.line,
            source: delivery.source,
            room: delivery.room,
            fate: delivery.fate,
        }
    }
}

/// A delivery as its socket keeps it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) line: Arc<[u8]>,
    pub(crate) source: Source,
    pub(crate) room: Option<u32>,
    /// Where it begins in the socket's stream.
    pub(crate) begin: u64,
    /// Where it ends, behind its line end.
    pub(crate) end: u64,
}

/// How far a socket's stream has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tide {
    pub(crate) written: u64,
    pub(crate) acknowledged: u64,
    /// True where no more will be written.
    pub(crate) is_over: bool,
    /// True where what was written arrives: the socket is open or was closed orderly.
    pub(crate) is_orderly: bool,
}

impl Tide {
    fn fate(self, begin: u64, end: u64) -> Fate {
        if end <= self.acknowledged {
            Fate::Acknowledged
        } else if end <= self.written {
            if self.is_orderly {
                Fate::Delivered
            } else {
                Fate::Doubtful
            }
        } else if !self.is_over {
            Fate::Waiting
        } else if begin < self.written {
            Fate::Torn
        } else {
            Fate::Unsent
        }
    }
}

/// What all sockets keep together.
pub(crate) struct Book {
    keeps: bool,
    most: u64,
    kept: AtomicU64,
    refused: AtomicU64,
    sequence: AtomicU64,
    sockets: Mutex<Vec<Arc<Socket>>>,
    rooms: Arc<[Arc<str>]>,
}

impl Book {
    pub(crate) fn new(keeps: bool, most: u64, rooms: Arc<[Arc<str>]>) -> Self {
        Self {
            keeps,
            most,
            kept: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sequence: AtomicU64::new(0),
            sockets: Mutex::default(),
            rooms,
        }
    }

    /// The number of the next line.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// True where deliveries are kept at all.
    pub(crate) const fn keeps(&self) -> bool {
        self.keeps
    }

    /// True where one more delivery may be kept; it is counted either way.
    pub(crate) fn admit(&self) -> bool {
        if !self.keeps {
            return false;
        }
        let is_free = self.kept.fetch_add(1, Ordering::Relaxed) < self.most;
        if !is_free {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_free
    }

    /// Keeps a socket's record beyond the socket's end.
    pub(crate) fn keep(&self, socket: &Arc<Socket>) {
        if self.keeps {
            self.sockets().push(Arc::clone(socket));
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Arc<Socket>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rooms(&self) -> &[Arc<str>] {
        &self.rooms
    }

    fn name(&self, room: u32) -> Option<Arc<str>> {
        self.rooms.get(usize::try_from(room).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Tide = Tide {
        written: 100,
        acknowledged: 50,
        is_over: false,
        is_orderly: true,
    };

    #[test]
    fn a_fate_follows_from_what_was_written_and_how_it_ended() {
        let places = [(0, 50), (50, 51), (90, 100), (90, 101), (100, 110)];
        let fates = |tide: Tide| places.map(|(begin, end)| tide.fate(begin, end));
        use Fate::{Acknowledged, Delivered, Doubtful, Torn, Unsent, Waiting};
        assert_eq!(
            fates(OPEN),
            [Acknowledged, Delivered, Delivered, Waiting, Waiting]
        );
        let orderly = Tide {
            is_over: true,
            ..OPEN
        };
        assert_eq!(
            fates(orderly),
            [Acknowledged, Delivered, Delivered, Torn, Unsent]
        );
        let reset = Tide {
            is_orderly: false,
            ..orderly
        };
        assert_eq!(
            fates(reset),
            [Acknowledged, Doubtful, Doubtful, Torn, Unsent]
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let book = Arc::new(Book::new(true, 2, Arc::new([])));
        let log = Log(Arc::clone(&book));
        assert_eq!([book.admit(), book.admit()], [true, true]);
        assert!(log.is_complete());
        assert_eq!([book.admit(), book.admit()], [false, false]);
        assert!(!log.is_complete());
        assert_eq!(log.refused(), 2);
        let silent = Log(Arc::new(Book::new(false, 2, Arc::new([]))));
        assert!(!silent.is_complete());
    }
}
