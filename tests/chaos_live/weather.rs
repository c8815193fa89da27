//! What goes wrong outside of the tree, and how long it takes until what it struck works again.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use twzrd_journal::testing::{EIO, ENOSPC, Fault as Failing, Op};
use twzrd_simulator::Target;
use twzrd_supervision::Child;
use twzrd_testkit::fake::Fault as Failure;
use twzrd_testkit::proxy::{Close, CommitFault, Direction, Handle, Pace, Refusal, Ways};
use twzrd_testkit::scenario::DatabaseFault;

use crate::dice::Dice;
use crate::world::{Database, World, until};

/// How long something that is prepared may wait for what it is to strike.
const MEETS_WITHIN: Duration = Duration::from_secs(8);
/// How soon a cut socket shows. One that does not was let go of in order.
const SHOWS_WITHIN: Duration = Duration::from_millis(500);
/// What each chunk of a slow database waits.
const SLOW: Duration = Duration::from_millis(40);
/// A slow database without a socket: it answers nothing for the first part of each stretch.
const PULSE: Duration = Duration::from_millis(150);
const STRETCH: Duration = Duration::from_millis(220);

/// What a fault came to.
pub(crate) enum Came {
    /// It was done, and nothing shows when it is over.
    Done,
    /// It was done, and after so long what it struck worked again.
    Back(Duration),
    /// It was prepared, and never met anything.
    Unfired,
}

pub(crate) type Answer = Result<Came, String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn back(since: Instant) -> Answer {
    Ok(Came::Back(since.elapsed()))
}

/// A cut that both sides hear of.
fn any_cut(dice: &mut Dice) -> Close {
    match dice.one_in(3) {
        true => Close::Orderly,
        false => Close::Reset,
    }
}

/// A cut that perhaps nobody hears of.
fn any_close(dice: &mut Dice) -> Close {
    match dice.one_in(4) {
        true => Close::Silent,
        false => any_cut(dice),
    }
}

fn any_refusal(dice: &mut Dice) -> Refusal {
    match dice.one_in(2) {
        true => Refusal::NotListening,
        false => Refusal::ResetAtOnce,
    }
}

/// Sockets were cut: waits until all channels are heard again.
pub(crate) async fn heard_again(world: Arc<World>) -> Answer {
    let begun = Instant::now();
    let shows = until(async || !world.is_heard());
    if timeout(SHOWS_WITHIN, shows).await.is_err() {
        return Ok(Came::Done);
    }
    world.all_heard().await;
    back(begun)
}

/// All sockets end within a line that is on its way.
pub(crate) async fn cut_mid_line(world: Arc<World>, mut dice: Dice) -> Answer {
    let handle = world.sockets.handle();
    let before = handle.snapshot().cut;
    let (bytes, close) = (1 + dice.below(400), any_cut(&mut dice));
    handle.cut_after(Direction::ToClient, bytes, close);
    let cut = handle.until(|now| now.cut > before);
    match timeout(MEETS_WITHIN, cut).await {
        Ok(()) => heard_again(world).await,
        Err(_) => Ok(Came::Unfired),
    }
}

/// The network is away for so long.
pub(crate) async fn outage(world: Arc<World>, mut dice: Dice, time: Duration) -> Answer {
    let handle = world.sockets.handle();
    let close = any_close(&mut dice);
    let gone = handle.gone(any_refusal(&mut dice), close).await;
    gone.map_err(told)?;
    sleep(time).await;
    handle.admit().await.map_err(told)?;
    hears_lines(&world).await
}

async fn hears_lines(world: &World) -> Answer {
    let begun = Instant::now();
    let lines = world.board.counts().lines;
    until(async || world.board.counts().lines > lines && world.is_heard()).await;
    back(begun)
}

/// Nothing passes for so long, and nothing is lost.
pub(crate) async fn stall(world: Arc<World>, mut dice: Dice, time: Duration) -> Answer {
    let handle = world.sockets.handle();
    let ways = match dice.below(3) {
        0 => Ways::Both,
        1 => Ways::Only(Direction::ToClient),
        _ => Ways::Only(Direction::ToServer),
    };
    handle.black_hole(ways);
    sleep(time).await;
    handle.release();
    hears_lines(&world).await
}

/// One socket of the simulator, by its number.
pub(crate) fn one_socket(world: &World, dice: &mut Dice) -> Option<Target> {
    let sockets = world.simulator.snapshot().sockets;
    let count = u64::try_from(sockets.len()).unwrap();
    let place = (count > 0).then(|| dice.below(count))?;
    let socket = sockets.get(usize::try_from(place).unwrap())?;
    Some(Target::Socket(socket.number))
}

/// The disk is full for so long: nothing is written, and no file is begun.
pub(crate) async fn full_disk(world: Arc<World>, time: Duration) -> Answer {
    for op in [Op::Write, Op::Create] {
        world.disk.inject(Failing::on(op, "", ENOSPC));
    }
    sleep(time).await;
    world.disk.heal();
    let begun = Instant::now();
    world.journal_moves().await;
    back(begun)
}

/// So many writes or syncs fail.
pub(crate) async fn disk_fails(world: Arc<World>, fault: Failing) -> Answer {
    let failures = || {
        let counters = world.folder.health().counters;
        counters.refused + counters.upkeep_failures
    };
    let before = failures();
    world.disk.inject(fault);
    let met = until(async || failures() > before);
    if timeout(MEETS_WITHIN, met).await.is_err() {
        return Ok(Came::Unfired);
    }
    let begun = Instant::now();
    world.journal_moves().await;
    back(begun)
}

/// An error of so many writes, or of so many syncs.
pub(crate) fn failing(dice: &mut Dice, times: u32) -> Failing {
    let op = match dice.one_in(2) {
        true => Op::Write,
        false => Op::Sync,
    };
    Failing::on(op, "", EIO).times(u64::from(times))
}

/// So many writes put down the first bytes only.
pub(crate) fn short(dice: &mut Dice, times: u32) -> Failing {
    let kept = usize::try_from(1 + dice.below(600)).unwrap();
    let fault = Failing::on(Op::Write, ".ndjson", ENOSPC);
    fault.times(u64::from(times)).keeping(kept)
}

/// No sync returns for so long.
pub(crate) async fn held_syncs(world: Arc<World>, time: Duration) -> Answer {
    world.disk.hold_syncs();
    sleep(time).await;
    world.disk.release_syncs();
    let begun = Instant::now();
    world.journal_moves().await;
    back(begun)
}

/// The store does nothing for so long.
pub(crate) async fn held_store(world: Arc<World>, time: Duration) -> Answer {
    world.store.faults().hold();
    sleep(time).await;
    world.store.faults().release();
    applied_again(&world).await
}

async fn applied_again(world: &World) -> Answer {
    let begun = Instant::now();
    world.store_moves().await?;
    back(begun)
}

/// What befalls the database, and what of it must take turns.
#[derive(Default)]
pub(crate) struct DatabaseWeather {
    /// A proxy has one fault at a time waiting for its moment.
    armed: Mutex<()>,
    locked: Mutex<()>,
}

impl DatabaseWeather {
    pub(crate) async fn strike(
        &self,
        world: Arc<World>,
        mut dice: Dice,
        fault: DatabaseFault,
    ) -> Answer {
        match fault {
            DatabaseFault::Locked(time) => return self.locked(&world, time).await,
            DatabaseFault::Transient(times) => {
                let faults = world.store.faults();
                faults.fail_next(u64::from(times), Failure::Transient);
                return applied_again(&world).await;
            }
            _ => {}
        }
        match world.database_proxy() {
            Some(proxy) => self.on_the_wire(&world, proxy, &mut dice, fault).await,
            None => in_front(&world, &mut dice, fault).await,
        }
    }

    async fn on_the_wire(
        &self,
        world: &World,
        proxy: &Handle,
        dice: &mut Dice,
        fault: DatabaseFault,
    ) -> Answer {
        // A connection that is forgotten within a transaction would keep its locks on the server for a
        // minute, by `idle_in_transaction_session_timeout`: longer than a run.
        let close = any_cut(dice);
        match fault {
            DatabaseFault::Gone(time) => {
                let gone = proxy.gone(any_refusal(dice), close).await;
                gone.map_err(told)?;
                sleep(time).await;
                proxy.admit().await.map_err(told)?;
                return applied_again(world).await;
            }
            DatabaseFault::Slow(time) => {
                let pace = Pace {
                    delay: SLOW,
                    bytes_per_second: Some(400_000),
                };
                proxy.slow(pace);
                sleep(time).await;
                proxy.full_speed();
                return applied_again(world).await;
            }
            _ => {}
        }
        let _turn = self.armed.lock().await;
        match fault {
            DatabaseFault::CutInTransaction => {
                let statements = u32::try_from(dice.below(5)).unwrap();
                proxy.in_next_transaction(statements, close);
            }
            DatabaseFault::CommitLost => proxy.at_next_commit(CommitFault::BeforeServer, close),
            _ => proxy.at_next_commit(CommitFault::AfterServer, any_close(dice)),
        }
        let struck = proxy.until(|now| !now.is_armed);
        match timeout(MEETS_WITHIN, struck).await {
            Ok(()) => applied_again(world).await,
            Err(_) if proxy.disarm() => Ok(Came::Unfired),
            Err(_) => applied_again(world).await,
        }
    }

    /// Somebody else holds what a commit needs.
    async fn locked(&self, world: &World, time: Duration) -> Answer {
        let _turn = self.locked.lock().await;
        let lock: Box<dyn FnOnce() -> Result<(), String> + Send> = match &world.database {
            Database::Sqlite => {
                let path = world.sqlite();
                Box::new(move || lock_sqlite(&path, time))
            }
            Database::Postgres { postgres, .. } => {
                let (postgres, seconds) = (Arc::clone(postgres), time.as_secs_f64());
                let sql = format!(
                    "BEGIN; LOCK TABLE journal_offset IN EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
                );
                Box::new(move || postgres.run(&sql).map(drop).map_err(told))
            }
        };
        let held = tokio::task::spawn_blocking(lock).await;
        held.map_err(told)??;
        applied_again(world).await
    }
}

/// What stands in front of a database that is reached without a socket.
async fn in_front(world: &World, dice: &mut Dice, fault: DatabaseFault) -> Answer {
    let faults = world.store.faults();
    match fault {
        // Nothing lies between: a transaction ends where whoever makes it does.
        DatabaseFault::CutInTransaction => {
            let commits = faults.calls("commit");
            let is_begun = async {
                while faults.calls("commit") == commits {
                    tokio::task::yield_now().await;
                }
            };
            if timeout(MEETS_WITHIN, is_begun).await.is_err() {
                return Ok(Came::Unfired);
            }
            let begun = Instant::now();
            let within = Duration::from_micros(dice.below(4_000));
            while begun.elapsed() < within {
                tokio::task::yield_now().await;
            }
            world.refs.batcher.kill();
        }
        DatabaseFault::Gone(time) => {
            faults.hook(|_| Some(Failure::Transient));
            sleep(time).await;
            faults.hook(|_| None);
        }
        DatabaseFault::Slow(time) => {
            let begun = Instant::now();
            while begun.elapsed() < time {
                faults.hold();
                sleep(PULSE).await;
                faults.release();
                sleep(STRETCH - PULSE).await;
            }
        }
        DatabaseFault::CommitLost => faults.fail_next_of("commit", 1, Failure::Transient),
        _ => {
            for operation in ["commit", "freeze", "finish_freeze", "write_trees"] {
                faults.fail_next_of(operation, 1, Failure::AnswerLost);
            }
        }
    }
    applied_again(world).await
}

/// Holds the write lock of a SQLite database, as another program would.
fn lock_sqlite(path: &Path, time: Duration) -> Result<(), String> {
    let seconds = time.as_secs_f64();
    let script = format!(".timeout 20000\nBEGIN IMMEDIATE;\n.shell sleep {seconds}\nCOMMIT;\n");
    let mut sqlite = Command::new("sqlite3")
        .args(["-batch", "-bail"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the program sqlite3 cannot be run: {error}"))?;
    let written = sqlite
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(script.as_bytes()));
    written.unwrap_or(Ok(())).map_err(told)?;
    let status = sqlite.wait().map_err(told)?;
    match status.success() {
        true => Ok(()),
        false => Err(format!(
            "sqlite3 could not lock {}: {status}",
            path.display()
        )),
    }
}
