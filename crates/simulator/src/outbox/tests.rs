//! What an outbox decides, at times that are given.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    outbox: Outbox,
    front: Front,
    book: Book,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let times = Times {
            ping_every: Some(60 * SECOND),
            pong_within: 10 * SECOND,
            login_within: 30 * SECOND,
            close_within: 5 * SECOND,
        };
        Self {
            outbox: Outbox::new(times, 1, start),
            front: Front::default(),
            book: Book::new(true, 100, Arc::new([])),
            start,
        }
    }

    fn at(&self, seconds: u32) -> Instant {
        self.start + seconds * SECOND
    }

    fn push(&mut self, line: &[u8]) -> bool {
        let parcel = Parcel::new(&self.book, line, Source::Said, Caps::NONE);
        self.outbox.push(&parcel, &self.book)
    }

    fn plan(&mut self, seconds: u32) -> Plan {
        let now = self.at(seconds);
        self.outbox.plan(now, &mut self.front, &self.book)
    }

    /// Writes all that the plan allows, and gives it back.
    fn written(&mut self, seconds: u32) -> Vec<u8> {
        let Plan::Write { most, .. } = self.plan(seconds) else {
            return Vec::new();
        };
        let bytes = self.front.next(most).to_vec();
        self.front.advance(bytes.len());
        self.outbox.wrote(bytes.len(), self.at(seconds));
        bytes
    }

    fn until(&self, seconds: u32) -> Plan {
        let until = Some(self.at(seconds));
        Plan::Rest { until }
    }

    fn close(&mut self, close: Close, reason: Reason, at: u32, now: u32) {
        let (at, now) = (self.at(at), self.at(now));
        self.outbox.close(close, reason, at, now);
    }
}

#[test]
fn a_ping_is_answered_in_time_or_ends_the_socket() {
    let mut bench = Bench::new();
    assert_eq!(bench.plan(1), bench.until(30), "the login is waited for");
    bench.outbox.logged_in("ada", bench.at(2));
    assert_eq!(bench.plan(3), bench.until(62));
    bench.outbox.pong();
    assert_eq!(bench.written(62), b"PING :tmi.twitch.tv\r\n");
    assert_eq!(bench.outbox.tide().acknowledged, 0, "nobody asked for it");
    assert_eq!(bench.plan(62), bench.until(72));
    bench.outbox.pong();
    assert_eq!(bench.outbox.tide().acknowledged, 21);
    assert_eq!(bench.plan(71), bench.until(122));
    assert_eq!(bench.written(122).len(), 21);
    assert_eq!(bench.plan(131), bench.until(132));
    let end = Plan::End(Close::Orderly, Reason::PongMissing);
    assert_eq!(bench.plan(132), end);
}

#[test]
fn a_ping_that_is_not_written_needs_no_answer() {
    let mut bench = Bench::new();
    bench.outbox.logged_in("ada", bench.at(0));
    bench.outbox.stall(bench.at(100));
    assert_eq!(bench.plan(60), bench.until(100));
    bench.outbox.pong();
    assert_eq!(bench.outbox.tide().acknowledged, 0);
    assert_eq!(bench.plan(99), bench.until(100));
    assert_eq!(bench.written(100).len(), 21);
    assert_eq!(bench.plan(100), bench.until(110));
}

#[test]
fn what_is_written_later_gives_no_more_time_for_a_pong() {
    let mut bench = Bench::new();
    bench.outbox.logged_in("ada", bench.at(0));
    assert_eq!(bench.written(60).len(), 21);
    assert!(bench.push(b"later"));
    assert_eq!(bench.written(65), b"later\r\n");
    assert_eq!(bench.plan(65), bench.until(70));
}

#[test]
fn an_end_that_lies_ahead_lets_lines_through_until_then() {
    let mut bench = Bench::new();
    bench.outbox.logged_in("ada", bench.at(0));
    bench.close(Close::Orderly, Reason::Reconnect, 20, 1);
    assert!(bench.push(b"one"));
    assert_eq!(bench.written(19), b"one\r\n");
    assert_eq!(bench.plan(19), bench.until(20));
    assert!(bench.push(b"two"));
    assert!(matches!(bench.plan(20), Plan::Write { .. }));
    assert!(!bench.push(b"three"), "its time has come");
    assert_eq!(bench.written(20), b"two\r\n");
    let end = Plan::End(Close::Orderly, Reason::Reconnect);
    assert_eq!(bench.plan(20), end);
}

#[test]
fn what_cannot_be_written_in_time_is_reset() {
    let mut bench = Bench::new();
    assert!(bench.push(b"one"));
    bench.close(Close::Orderly, Reason::Cut, 1, 1);
    assert!(matches!(bench.plan(5), Plan::Write { .. }));
    let end = Plan::End(Close::Reset, Reason::Cut);
    assert_eq!(bench.plan(6), end);
}

#[test]
fn the_earlier_end_stands_and_a_reset_overrides_it() {
    use Close::{Orderly, Reset};
    use Reason::{Cut, Quit, Reconnect, Stopped};
    // What was asked for first and then, each with its time, at second 1; what comes of it.
    let cases = [
        ((Orderly, Reconnect, 9), (Orderly, Cut, 1), (Orderly, Cut)),
        ((Orderly, Quit, 1), (Orderly, Cut, 1), (Orderly, Quit)),
        ((Orderly, Quit, 1), (Orderly, Reconnect, 9), (Orderly, Quit)),
        ((Orderly, Quit, 1), (Reset, Cut, 1), (Reset, Quit)),
        ((Orderly, Reconnect, 9), (Reset, Cut, 1), (Reset, Cut)),
        ((Reset, Cut, 1), (Orderly, Stopped, 1), (Reset, Cut)),
    ];
    for (first, second, (close, reason)) in cases {
        let mut bench = Bench::new();
        for (close, reason, at) in [first, second] {
            bench.close(close, reason, at, 1);
        }
        assert_eq!(
            bench.plan(1),
            Plan::End(close, reason),
            "{first:?} {second:?}"
        );
        assert_eq!(bench.outbox.closing_reason(), Some(reason));
    }
}
