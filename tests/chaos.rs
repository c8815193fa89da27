//! Chaos on the real program: no kill, no stop, no cut socket and no database that is away changes
//! what was accepted, or what comes of it.
//!
//! `TWZRD_CHAOS_SEED` plays another seed, and replays one that failed.
//! A thousand kills on each store, without any server running beforehand:
//!
//! ```text
//! TWZRD_KILLS=1000 cargo test --test chaos -- --ignored --nocapture
//! ```
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "processes live in the time of the system"
)]

#[path = "chaos/dice.rs"]
mod dice;
#[path = "chaos/eye.rs"]
mod eye;
#[path = "chaos/outcome.rs"]
mod outcome;
#[path = "chaos/process.rs"]
mod process;
#[path = "chaos/program.rs"]
mod program;
mod support;
#[path = "chaos/weather.rs"]
mod weather;

use std::time::{Duration, Instant};

use process::{Phase, ProcessStage};
use twzrd_testkit::scenario::{
    Check, DatabaseFault, Fault, Report, Scenario, SocketFault, Traffic,
};

/// Kills of a round, and of a run in CI.
const KILLS: u64 = 50;
/// Kills of a long run in which nothing else is asked for.
const MANY_KILLS: u64 = 1000;
/// The part of the scenario that each kill has, on average.
const EACH: Duration = Duration::from_millis(250);

/// A setting of the environment.
fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    let number = text.parse();
    number.unwrap_or_else(|_| panic!("{name} is {text:?}; expected a number"))
}

/// A round: so many kills as [`KILLS`] says, and other weather between them.
fn scenario(seed: u64) -> Scenario {
    let ms = Duration::from_millis;
    let few = usize::try_from(KILLS / 5).unwrap();
    let sockets = [
        Fault::Socket(SocketFault::Close),
        Fault::Socket(SocketFault::CutMidLine),
        Fault::Socket(SocketFault::Reset),
        Fault::Socket(SocketFault::Stall(ms(300))),
        Fault::Socket(SocketFault::Reconnect),
        Fault::Socket(SocketFault::Garbage),
        Fault::Socket(SocketFault::Outage(ms(200))),
    ];
    Scenario::seeded(seed)
        .with(Traffic::of(12).channels().and(300).people().saying(300))
        .lasting(EACH * u32::try_from(KILLS).unwrap())
        .striking(usize::try_from(KILLS).unwrap(), &[Fault::KillProcess])
        .striking(few / 2, &[Fault::Terminate])
        .striking(few, &[Fault::Reload])
        .striking(few, &sockets)
        .striking(few, &[Fault::Socket(SocketFault::Duplicate)])
        .ending_with(&Check::ALL)
}

/// What a database behind a network can meet besides.
fn and_its_database(scenario: Scenario) -> Scenario {
    let ms = Duration::from_millis;
    let database = [
        Fault::Database(DatabaseFault::Gone(ms(300))),
        Fault::Database(DatabaseFault::Slow(ms(500))),
        Fault::Database(DatabaseFault::CutInTransaction),
        Fault::Database(DatabaseFault::CommitLost),
        Fault::Database(DatabaseFault::CommitUnknown),
    ];
    scenario.striking(usize::try_from(KILLS / 3).unwrap(), &database)
}

/// Plays rounds of [`KILLS`] each, until there are so many kills. The seed of each is one more than
/// that of the round before, so a round that failed is one run of the short test.
fn play(kills: u64, seed: u64, stage: fn() -> ProcessStage, scenario: fn(u64) -> Scenario) {
    let (begun, mut reports) = (Instant::now(), Report::default());
    let mut totals = [0; Phase::ALL.len()];
    for seed in (seed..).take(usize::try_from(kills.div_ceil(KILLS)).unwrap()) {
        let mut stage = stage();
        let report = scenario(seed).play(&mut stage);
        let report = report.unwrap_or_else(|broken| panic!("{broken}"));
        assert!(report.accepted > 100, "only {} lines", report.accepted);
        let seen = stage.sealed();
        assert!(seen > 0, "nothing was seen sealed before a kill");
        let certain = stage.certain;
        assert!(certain > 0, "nothing was certainly read before a stop");
        println!("seed {seed}: {seen} roots seen before a kill, {certain} lines certainly read");
        reports.add(report);
        for (phase, total) in Phase::ALL.iter().zip(&mut totals) {
            let kills = stage.kills.get(phase).copied().unwrap_or(0);
            let all = &stage.kills;
            assert!(kills > 0, "seed {seed}: no kill fell on {phase:?}: {all:?}");
            *total += kills;
        }
    }
    let done: u64 = totals.iter().sum();
    assert!(done >= kills, "{done} kills, expected {kills}");
    println!(
        "{done} kills in {:.0} s, by what the process was in:",
        begun.elapsed().as_secs_f64()
    );
    for (phase, total) in Phase::ALL.iter().zip(totals) {
        println!("  {phase:?}: {total}");
    }
    println!("{reports}");
}

fn on_sqlite(kills: u64) {
    let seed = setting("TWZRD_CHAOS_SEED", 4_051_977);
    play(kills, seed, ProcessStage::sqlite, scenario);
}

fn on_postgres(kills: u64) {
    let seed = setting("TWZRD_CHAOS_SEED", 1_977_405);
    play(kills, seed, ProcessStage::postgres, |seed| {
        and_its_database(scenario(seed))
    });
}

#[test]
fn no_kill_of_the_process_changes_what_was_accepted_on_sqlite() {
    on_sqlite(KILLS);
}

#[test]
fn no_kill_of_the_process_changes_what_was_accepted_on_postgres() {
    on_postgres(KILLS);
}

#[test]
#[ignore = "takes a quarter of an hour; TWZRD_KILLS says how many kills, 1000 by default"]
fn a_thousand_kills_on_sqlite() {
    on_sqlite(setting("TWZRD_KILLS", MANY_KILLS));
}

#[test]
#[ignore = "takes a quarter of an hour; TWZRD_KILLS says how many kills, 1000 by default"]
fn a_thousand_kills_on_postgres() {
    on_postgres(setting("TWZRD_KILLS", MANY_KILLS));
}
