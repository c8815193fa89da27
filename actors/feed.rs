//! The feed of a channel: lines that a socket gave and the journal has not acknowledged yet.
//!
//! It outlives its collector and the socket. It is bounded in bytes: a line that does not fit is
//! not taken, and whoever brought it waits for room, so that the socket is read no further. Lines
//! are taken out in numbered batches; a batch stays here until it is committed, and one that was
//! taken and not committed is handed out again under the same number with the same lines, so that
//! the journal accepts it once.
//!
//! Who judges a line says so first: a batch whose collector ended while it judged a line remembers
//! that, and after three times the line is put aside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use twzrd_domain::epoch::UnixMs;

/// How often a line may crash its collector before it is put aside.
pub const CRASHES_OF_A_LINE: u8 = 3;

/// A line that waits, and where it ends in the bytes around it.
#[derive(Clone, Copy, Debug)]
struct FeedLine {
    end: u32,
    is_broken: bool,
    at: UnixMs,
}

/// Lines, one after the other.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    lines: Vec<FeedLine>,
}

impl Lines {
    fn push(&mut self, line: &[u8], at: UnixMs, is_broken: bool) {
        self.bytes.extend_from_slice(line);
        // The bound of a feed is far below 4 GiB; see `Feed::new`.
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.lines.push(FeedLine { end, is_broken, at });
    }

    /// Takes out the first lines, at most so many.
    fn take(&mut self, most: usize) -> Self {
        if self.lines.len() <= most {
            return std::mem::take(self);
        }
        let mut rest = self.lines.split_off(most);
        let end = self.lines.last().map_or(0, |line| line.end);
        for line in &mut rest {
            line.end -= end;
        }
        let bytes = self.bytes.split_off(end as usize);
        let taken = std::mem::take(self);
        *self = Self { bytes, lines: rest };
        taken
    }
}

/// Lines that were taken out of a feed together.
#[derive(Debug)]
pub struct FeedBatch {
    number: u64,
    lines: Lines,
    /// The place of the line that is being judged, from 1; 0 for none.
    judging: AtomicU32,
    crashes: Mutex<BTreeMap<u32, u8>>,
}

/// A line of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLine<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// When it was received.
    pub at: UnixMs,
    /// True where the bytes are a stand-in for a line that was too long or cut.
    pub is_broken: bool,
    /// True where it crashed its collector too often to be judged again.
    pub is_aside: bool,
}

impl FeedBatch {
    /// Its number: 1 for the first of a feed, then one more for each.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// How many lines it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.lines.len()
    }

    /// True where it holds none, which no batch of a feed does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.lines.is_empty()
    }

    /// Hands each line to `judge`, after noting that it is about to be judged.
    pub fn each(&self, mut judge: impl FnMut(BatchLine<'_>)) {
        let aside = self.aside();
        let mut begin = 0;
        for (place, line) in (1..).zip(&self.lines.lines) {
            let is_aside = aside.contains(&place);
            let bytes = self.lines.bytes.get(begin..line.end as usize);
            begin = line.end as usize;
            self.judging.store(place, Ordering::Relaxed);
            judge(BatchLine {
                bytes: bytes.unwrap_or_default(),
                at: line.at,
                is_broken: line.is_broken,
                is_aside,
            });
        }
        self.judging.store(0, Ordering::Relaxed);
    }

    /// The lines that crashed their collector too often: their places, from 1.
    fn aside(&self) -> Vec<u32> {
        let crashes = held(&self.crashes);
        let often = crashes.iter().filter(|(_, n)| **n >= CRASHES_OF_A_LINE);
        often.map(|(place, _)| *place).collect()
    }

    /// Notes that whoever judged a line did not come to its end.
    fn was_left(&self) {
        let place = self.judging.swap(0, Ordering::Relaxed);
        if place > 0 {
            let mut crashes = held(&self.crashes);
            let times = crashes.entry(place).or_default();
            *times = times.saturating_add(1);
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Lines,
    in_flight: Option<Arc<FeedBatch>>,
    numbered: u64,
    is_hinted: bool,
    lines: u64,
    last_line: Option<UnixMs>,
}

impl Inner {
    fn bytes(&self) -> usize {
        let in_flight = self.in_flight.as_ref();
        self.waiting.bytes.len() + in_flight.map_or(0, |batch| batch.lines.bytes.len())
    }
}

/// What all feeds together may hold: the bound that keeps the process within its memory when the
/// journal is away.
#[derive(Debug)]
pub struct FeedPool {
    used: AtomicUsize,
    bound: usize,
    freed: Notify,
}

impl FeedPool {
    /// A pool for so many bytes. Besides, each feed may hold one line.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            bound,
            freed: Notify::new(),
        }
    }

    /// Bytes that all feeds hold, and the bound.
    #[must_use]
    pub fn depth(&self) -> (u64, u64) {
        let used = self.used.load(Ordering::Relaxed);
        (used as u64, self.bound as u64)
    }

    fn has_room(&self, length: usize) -> bool {
        self.used.load(Ordering::Relaxed) + length <= self.bound
    }

    fn take(&self, length: usize) {
        self.used.fetch_add(length, Ordering::Relaxed);
    }

    fn free(&self, length: usize) {
        self.used.fetch_sub(length, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}

/// What became of a line that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It was taken.
    Taken,
    /// It was taken, and the collector is to be told.
    TakenTell,
    /// There is no room.
    Full,
}

/// How much a feed holds, and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Lines that are not acknowledged.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Lines that were ever taken.
    pub taken: u64,
    /// When the last one came in.
    pub last_line: Option<UnixMs>,
}

/// The feed of a channel.
#[derive(Debug)]
pub struct Feed {
    inner: Mutex<Inner>,
    room: Notify,
    bound: usize,
    pool: Arc<FeedPool>,
}

impl Feed {
    /// A feed that holds at most `bound` bytes, or one line where that is longer.
    #[must_use]
    pub fn new(bound: usize, pool: Arc<FeedPool>) -> Self {
        Self {
            inner: Mutex::default(),
            room: Notify::new(),
            bound: bound.min(1 << 31),
            pool,
        }
    }

    fn fits(&self, held: usize, length: usize) -> bool {
        held == 0 || (held + length <= self.bound && self.pool.has_room(length))
    }

    /// The bound, in bytes.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// Offers a line. It is taken where there is room.
    pub fn offer(&self, line: &[u8], at: UnixMs, is_broken: bool) -> Offered {
        let mut inner = held(&self.inner);
        if !self.fits(inner.bytes(), line.len()) {
            return Offered::Full;
        }
        self.pool.take(line.len());
        inner.waiting.push(line, at, is_broken);
        inner.lines += 1;
        inner.last_line = Some(at);
        if std::mem::replace(&mut inner.is_hinted, true) {
            Offered::Taken
        } else {
            Offered::TakenTell
        }
    }

    /// Waits until a line of this length fits. Somebody else may be faster.
    pub async fn wait_room(&self, length: usize) {
        loop {
            let (here, anywhere) = (self.room.notified(), self.pool.freed.notified());
            let (mut here, mut anywhere) = (std::pin::pin!(here), std::pin::pin!(anywhere));
            here.as_mut().enable();
            anywhere.as_mut().enable();
            if self.fits(held(&self.inner).bytes(), length) {
                return;
            }
            tokio::select! {
                () = here => {}
                () = anywhere => {}
            }
        }
    }

    /// The batch that is to be judged now: the one that was taken and not committed, or the first
    /// lines that wait, at most so many. None where nothing waits.
    pub fn take(&self, most_lines: usize) -> Option<Arc<FeedBatch>> {
        let mut inner = held(&self.inner);
        inner.is_hinted = false;
        if let Some(again) = &inner.in_flight {
            again.was_left();
            return Some(Arc::clone(again));
        }
        if inner.waiting.lines.is_empty() {
            return None;
        }
        inner.numbered += 1;
        let batch = Arc::new(FeedBatch {
            number: inner.numbered,
            lines: inner.waiting.take(most_lines.max(1)),
            judging: AtomicU32::new(0),
            crashes: Mutex::default(),
        });
        inner.in_flight = Some(Arc::clone(&batch));
        Some(batch)
    }

    /// Lets go of a batch that the journal has acknowledged.
    pub fn commit(&self, number: u64) {
        let committed = held(&self.inner)
            .in_flight
            .take_if(|batch| batch.number == number);
        if let Some(batch) = committed {
            self.pool.free(batch.lines.bytes.len());
            self.room.notify_waiters();
        }
    }

    /// How much it holds.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let inner = held(&self.inner);
        let in_flight = inner.in_flight.as_ref().map_or(0, |batch| batch.len());
        Depth {
            lines: (inner.waiting.lines.len() + in_flight) as u64,
            bytes: inner.bytes() as u64,
            taken: inner.lines,
            last_line: inner.last_line,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.pool.free(held(&self.inner).bytes());
    }
}

/// Locks; a panic while it was held has left nothing half done.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn feed(bound: usize) -> Feed {
        Feed::new(bound, Arc::new(FeedPool::new(10_000)))
    }

    #[tokio::test]
    async fn all_feeds_together_hold_no_more_than_their_pool() {
        let pool = Arc::new(FeedPool::new(10));
        let feeds = [(); 2].map(|()| Feed::new(1000, Arc::clone(&pool)));
        assert_eq!(feeds[0].offer(b"12345678", 1, false), Offered::TakenTell);
        assert_eq!(feeds[0].offer(b"123", 1, false), Offered::Full);
        assert_eq!(feeds[1].offer(b"1", 1, false), Offered::TakenTell);
        assert_eq!(pool.depth(), (9, 10));
        let [first, second] = feeds;
        let mut waiting = std::pin::pin!(second.wait_room(9));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        first.commit(first.take(9).unwrap().number());
        waiting.await;
        assert_eq!(second.offer(b"123456789", 1, false), Offered::Taken);
        drop(first);
        assert_eq!(pool.depth(), (10, 10));
    }

    fn lines(batch: &FeedBatch) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        batch.each(|line| {
            let text = String::from_utf8(line.bytes.to_vec()).unwrap();
            all.push((text, line.is_aside));
        });
        all
    }

    #[test]
    fn a_batch_that_was_not_committed_comes_again_as_it_was() {
        let feed = feed(1000);
        assert_eq!(feed.offer(b"one", 1, false), Offered::TakenTell);
        assert_eq!(feed.offer(b"two", 2, false), Offered::Taken);
        let first = feed.take(10).unwrap();
        assert_eq!(feed.offer(b"three", 3, false), Offered::TakenTell);
        let again = feed.take(10).unwrap();
        assert_eq!((first.number(), again.number()), (1, 1));
        assert_eq!(
            lines(&again),
            [("one".into(), false), ("two".into(), false)]
        );
        feed.commit(1);
        let next = feed.take(10).unwrap();
        assert_eq!(next.number(), 2);
        assert_eq!(lines(&next), [("three".into(), false)]);
        feed.commit(2);
        assert!(feed.take(10).is_none());
        assert_eq!(feed.depth().bytes, 0);
        assert_eq!(feed.depth().taken, 3);
    }

    #[test]
    fn a_long_feed_is_taken_in_pieces_that_lose_nothing() {
        let feed = feed(1000);
        for n in 0..7 {
            feed.offer(n.to_string().repeat(n + 1).as_bytes(), n as u64, false);
        }
        let mut all = Vec::new();
        while let Some(batch) = feed.take(3) {
            assert!(batch.len() <= 3);
            batch.each(|line| all.push((line.bytes.to_vec(), line.at)));
            feed.commit(batch.number());
        }
        let expected: Vec<_> = (0..7usize)
            .map(|n| (n.to_string().repeat(n + 1).into_bytes(), n as u64))
            .collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_full_feed_takes_nothing_more_until_something_is_committed() {
        let feed = feed(10);
        assert_eq!(feed.offer(&[b'x'; 50], 1, false), Offered::TakenTell);
        assert_eq!(feed.offer(b"y", 2, false), Offered::Full);
        let batch = feed.take(1).unwrap();
        assert_eq!(
            feed.offer(b"y", 2, false),
            Offered::Full,
            "it is not committed"
        );
        feed.commit(batch.number());
        assert_eq!(feed.offer(b"y", 2, false), Offered::TakenTell);
        assert_eq!(feed.depth().lines, 1);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_woken_by_a_commit() {
        let feed = feed(10);
        feed.offer(b"0123456789", 1, false);
        let batch = feed.take(1).unwrap();
        let mut waiting = std::pin::pin!(feed.wait_room(1));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        feed.commit(batch.number());
        waiting.await;
    }

    #[test]
    fn a_line_that_was_left_three_times_is_put_aside() {
        let feed = feed(1000);
        feed.offer(b"good", 1, false);
        feed.offer(b"poison", 1, false);
        for _ in 0..3 {
            let batch = feed.take(10).unwrap();
            let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                batch.each(|line| assert!(line.bytes != b"poison" || line.is_aside));
            }));
            assert!(left.is_err());
        }
        let batch = feed.take(10).unwrap();
        assert_eq!(
            lines(&batch),
            [("good".into(), false), ("poison".into(), true)]
        );
    }
}
