//! Acknowledged events a second, beside the bare disk; and the rates of the encoding.
//!
//! The baseline writes the very bytes that the journal wrote and syncs as often, in one thread
//! without queue, memory or answers: what is missing to it is what the journal costs.
//! `BENCH_FOLDER` names the disk; the folder for temporary files is the default.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use twzrd_domain::event::{Action, Event, MessageId};
use twzrd_domain::identity::Name;
use twzrd_domain::ports::{Clock, JournalFolder, JournalWriter};
use twzrd_domain::record::{Append, Candidate, Intake, Progress, Record};
use twzrd_journal::{Config, Counters, Folder, decode, encode};

const FOR: Duration = Duration::from_secs(3);
const AT: u64 = 1_700_000_000_000;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> u64 {
        AT
    }
}

fn event(n: u64) -> Event {
    Event {
        id: MessageId::parse(&format!("{n:08x}-b34c-4bd5-8f5c-{n:012x}")),
        channel: Name::parse(&format!("channel{}", n % 97)).unwrap(),
        ts: AT + n / 200,
        login: Name::parse(&format!("some_viewer_{}", n % 10_007)).unwrap(),
        user_id: Some(100_000_000 + n % 10_007),
        action: Action::Message { bits: 0 },
        text: None,
    }
}

fn append(appender: u64, round: u64, events: u64) -> Append {
    let first = (appender << 32) + round * events;
    let candidates = (first..first + events)
        .map(|n| Candidate::Event(event(n)))
        .collect();
    if events == 1 {
        let records = vec![(AT, Record::Event(event(first)))];
        return Append::Records {
            progress: None,
            records,
        };
    }
    Append::Intake(Intake {
        progress: Some(Progress {
            source: format!("feed-{appender}").into(),
            upto: round + 1,
            digest: "".into(),
        }),
        at: AT,
        lines: events,
        candidates,
        tally: Vec::new(),
    })
}

/// Lets so many appenders append for a while, each waiting for its answer; events and counters.
fn run(folder: &Path, appenders: u64, events: u64) -> (f64, Counters) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let journal = Folder::new(Config::new(folder, Arc::new(Stopped)));
    runtime.block_on(async {
        let writer: Arc<dyn JournalWriter> = journal.open().await.unwrap().into();
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for appender in 0..appenders {
            let writer = Arc::clone(&writer);
            tasks.spawn(async move {
                let mut round = 0;
                while begin.elapsed() < FOR {
                    writer
                        .append(append(appender, round, events))
                        .await
                        .unwrap();
                    round += 1;
                }
                round * events
            });
        }
        let appended: u64 = tasks.join_all().await.into_iter().sum();
        (
            appended as f64 / begin.elapsed().as_secs_f64(),
            journal.health().counters,
        )
    })
}

/// Writes as many bytes with as many syncs; seconds.
fn baseline(folder: &Path, counters: &Counters) -> f64 {
    let group = vec![b'x'; usize::try_from(counters.bytes / counters.syncs).unwrap()];
    let mut file = std::fs::File::create(folder.join("baseline")).unwrap();
    let begin = Instant::now();
    for _ in 0..counters.syncs {
        file.write_all(&group).unwrap();
        file.sync_data().unwrap();
    }
    begin.elapsed().as_secs_f64()
}

fn acknowledged() {
    println!(
        "{:>9} {:>7} {:>12} {:>12} {:>9} {:>8} {:>7}",
        "appenders", "events", "events/s", "baseline/s", "of it", "syncs", "a sync"
    );
    let place = std::env::var_os("BENCH_FOLDER").unwrap_or_else(|| std::env::temp_dir().into());
    for (appenders, events) in [
        (1, 1),
        (8, 1),
        (64, 1),
        (512, 1),
        (1, 1000),
        (8, 1000),
        (64, 1000),
    ] {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let (rate, counters) = run(dir.path(), appenders, events);
        let written = counters.appends * events;
        let bare = written as f64 / baseline(dir.path(), &counters);
        println!(
            "{appenders:>9} {events:>7} {rate:>12.0} {bare:>12.0} {:>8.0}% {:>8} {:>7.1}",
            100.0 * rate / bare,
            counters.syncs,
            counters.appends as f64 / counters.syncs as f64,
        );
    }
}

fn rates() {
    const COUNT: u64 = 500_000;
    let records: Vec<_> = (0..COUNT).map(|n| Record::Event(event(n))).collect();
    let mut out = Vec::with_capacity(200 << 20);
    let begin = Instant::now();
    for (record, n) in records.iter().zip(1..) {
        encode(&mut out, n, 0, AT, record).unwrap();
    }
    let encoding = COUNT as f64 / begin.elapsed().as_secs_f64();
    let bytes = out.len() as f64 / COUNT as f64;
    let begin = Instant::now();
    for line in out
        .split_mut(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        black_box(decode(line).unwrap());
    }
    let decoding = COUNT as f64 / begin.elapsed().as_secs_f64();
    println!("\none core, {bytes:.0} bytes an event");
    println!("encode {encoding:>12.0} events/s");
    println!("decode {decoding:>12.0} events/s");
}

fn main() {
    acknowledged();
    rates();
}
