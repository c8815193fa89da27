//! Lines judged in a second on one core, beside twitch-irc's parser over the same lines, and what
//! a socket's reader adds to that.
//!
//! `cargo bench -p twzrd-twitch --bench lines` prints a table; without `--bench` each row runs once
//! over a few lines, to see that it does run.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use twitch_irc::message::{IRCMessage, ServerMessage};
use twzrd_domain::chat::{ChatReader, Chunk};
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::Login;
use twzrd_simulator::traffic::{Profile, Traffic};
use twzrd_testkit::fake::ManualClock;
use twzrd_twitch::intake::IntakeBuilder;
use twzrd_twitch::line::{Arrival, read};
use twzrd_twitch::net::halves;

/// How many lines a collector hands over at a time.
const INTAKE_LINES: usize = 1_000;

/// Each row is the best of so many runs.
const RUNS: usize = 7;

fn main() {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let (lines, runs) = if is_bench {
        (200_000, RUNS)
    } else {
        (1_000, 1)
    };
    let profile = Profile {
        lines,
        ..Profile::default()
    };
    let generated: Vec<Vec<u8>> = Traffic::new(profile.clone()).collect();
    let bytes = generated.iter().map(Vec::len).sum::<usize>();
    println!(
        "{lines} lines of {} bytes in the mean",
        bytes / generated.len()
    );
    println!("{:<44} {:>12} {:>10}", "", "lines/s", "ns/line");
    let row = |name: &str, work: &mut dyn FnMut()| {
        let best = (0..runs)
            .map(|_| timed(work))
            .min()
            .expect("at least one run");
        let seconds = best.as_secs_f64() / generated.len() as f64;
        println!("{name:<44} {:>12.0} {:>10.0}", 1.0 / seconds, seconds * 1e9);
        seconds
    };
    row("line::read", &mut || {
        for line in &generated {
            black_box(read(black_box(line), Arrival::Recorded, false));
        }
    });
    row("line::read with text", &mut || {
        for line in &generated {
            black_box(read(black_box(line), Arrival::Recorded, true));
        }
    });
    let judging = row("IntakeBuilder, 1,000 lines each", &mut || {
        for lines in generated.chunks(INTAKE_LINES) {
            let mut intake = IntakeBuilder::new(EpochLength::HOUR, false);
            for line in lines {
                intake.push(black_box(line), Arrival::Recorded);
            }
            black_box(intake.finish(None));
        }
    });
    let stream: Vec<u8> = generated
        .iter()
        .flat_map(|line| [line.as_slice(), b"\r\n"].concat())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let reading = row("Reader: split and route, from memory", &mut || {
        let split = runtime.block_on(split(black_box(&stream)));
        assert!(split <= generated.len() && split > 0, "{split} lines");
    });
    println!(
        "{:<44} {:>11.1}%",
        "Reader, as a part of IntakeBuilder",
        100.0 * reading / judging
    );
    row("twitch-irc: IRCMessage::parse", &mut || {
        for line in &generated {
            let text = std::str::from_utf8(black_box(line)).ok();
            black_box(text.and_then(|text| IRCMessage::parse(text).ok()));
        }
    });
    row("twitch-irc: ServerMessage::try_from of that", &mut || {
        for line in &generated {
            let text = std::str::from_utf8(black_box(line)).ok();
            let message = text.and_then(|text| IRCMessage::parse(text).ok());
            black_box(message.and_then(|message| ServerMessage::try_from(message).ok()));
        }
    });
    row("generating them (no part of the others)", &mut || {
        let mut traffic = Traffic::new(profile.clone());
        let mut line = Vec::new();
        while traffic.next_into(&mut line).is_some() {
            black_box(&line);
        }
    });
}

/// How many lines a reader hands out of a stream.
async fn split(stream: &[u8]) -> usize {
    let nick = Login::parse("justinfan1").expect("a login");
    let clock = Arc::new(ManualClock::default());
    let (mut reader, _) = halves(stream, tokio::io::sink(), nick, clock);
    let (mut chunk, mut lines) = (Chunk::default(), 0);
    while reader.read(&mut chunk).await.is_ok() {
        lines += black_box(&chunk).lines.len();
    }
    lines
}

fn timed(work: &mut dyn FnMut()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}
