//! The power goes in the middle of every write to a SQLite database: it stands before or after that
//! write, is sound, and goes on to the same end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::print_stdout,
    reason = "figures of the run, for docs/reliability.md"
)]

mod common;
#[path = "power/wal.rs"]
mod wal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{
    HOUR, Home, NEXT_HOUR, SEALED_AT, World, alias, at, batch, lines, named, opt_out, presence,
    signal, sorted, trees_of,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use sea_orm::{ConnectionTrait, Database, Statement};
use twzrd_domain::batch::{Batch, Change, Control, Groups};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::Outcome;
use twzrd_domain::ports::{BatchStore, BuiltTrees, Committed, SealStore, TreeStore};
use twzrd_domain::seal::FrozenChannel;
use twzrd_domain::signal::SignalKind;
use twzrd_domain::weight::Arithmetic;
use twzrd_store::Store;
use wal::Behind;

/// Images, where `TWZRD_TEST_POWER_IMAGES` does not say otherwise.
const IMAGES: u64 = 300;

fn images() -> u64 {
    let wanted = std::env::var("TWZRD_TEST_POWER_IMAGES").ok();
    wanted.map_or(IMAGES, |number| number.parse().unwrap())
}

/// One write.
#[derive(Clone, Debug)]
enum Step {
    Commit(Batch),
    Freeze(Vec<FrozenChannel>),
    FinishFreeze(Epoch),
    Trees(Vec<BuiltTrees>),
    Checkpoint(&'static str),
}

impl Step {
    async fn apply(&self, store: &Store, path: &Path) {
        match self {
            Self::Commit(batch) => drop(store.commit(batch).await.unwrap()),
            Self::Freeze(channels) => store.freeze(channels).await.unwrap(),
            Self::FinishFreeze(epoch) => store.finish_freeze(*epoch, SEALED_AT).await.unwrap(),
            Self::Trees(trees) => store.write_trees(trees).await.unwrap(),
            Self::Checkpoint(mode) => checkpoint(path, mode).await,
        }
    }
}

/// Brings the log into the database, all of it, as the writer does by itself every 16,384 pages.
async fn checkpoint(path: &Path, mode: &str) {
    let other = Database::connect(format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let row = other
        .query_one_raw(Statement::from_string(other.get_database_backend(), sql))
        .await;
    let row = row.unwrap().unwrap();
    let figure = |index| row.try_get_by_index::<i32>(index).unwrap();
    assert_eq!((figure(0), figure(1)), (0, figure(2)), "it is complete");
    other.close().await.unwrap();
}

/// The files at some moment at which nobody writes.
#[derive(Clone, Default)]
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(path: &Path) -> Self {
        Self {
            database: std::fs::read(path).unwrap(),
            log: std::fs::read(log_of(path)).unwrap_or_default(),
        }
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, &self.database).unwrap();
        if !self.log.is_empty() {
            std::fs::write(log_of(path), &self.log).unwrap();
        }
    }
}

fn log_of(path: &Path) -> PathBuf {
    path.with_file_name("twzrd.db-wal")
}

/// The rows of every table, as text. When a migration ran is left out.
type Rows = BTreeMap<String, Vec<String>>;

async fn rows(store: &Store) -> Rows {
    let texts = async |sql: String| -> Vec<String> {
        let statement = Statement::from_string(store.backend(), sql);
        let rows = store.reader().query_all_raw(statement).await.unwrap();
        rows.iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect()
    };
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' \
        AND name NOT LIKE 'sqlite%' AND name <> 'seaql_migrations'";
    let mut all = Rows::new();
    for table in texts(tables.to_owned()).await {
        let columns = texts(format!("SELECT name FROM pragma_table_info('{table}')")).await;
        let quoted: Vec<String> = columns
            .iter()
            .map(|name| format!("quote(\"{name}\")"))
            .collect();
        let row = quoted.join(" || ', ' || ");
        let found = texts(format!("SELECT {row} FROM \"{table}\" ORDER BY 1")).await;
        all.insert(table, found);
    }
    all
}

/// A write, and what was there before and after it.
struct Written {
    step: Step,
    /// The offsets.
    seq: (u64, u64),
    before: (Files, Rows),
    after: (Files, Rows),
}

/// Writes to a store that nothing disturbs.
struct Run {
    world: World,
    path: PathBuf,
    written: Vec<Written>,
    seq: u64,
}

impl Run {
    async fn begin() -> Self {
        let world = World::sqlite().await;
        let Home::Folder(folder) = &world.home else {
            panic!("not SQLite")
        };
        let path = folder.path().join("twzrd.db");
        Self {
            world,
            path,
            written: Vec::new(),
            seq: 0,
        }
    }

    async fn now(&self) -> (Files, Rows) {
        let rows = rows(&self.world.store).await;
        (Files::read(&self.path), rows)
    }

    async fn write(&mut self, step: Step) {
        let before = match self.written.last() {
            Some(written) => written.after.clone(),
            None => self.now().await,
        };
        step.apply(&self.world.store, &self.path).await;
        let after = self.now().await;
        let stands = BatchStore::offset(&self.world.store).await.unwrap();
        let stood = self.written.last().map_or(0, |written| written.seq.1);
        self.written.push(Written {
            step,
            seq: (stood, stands),
            before,
            after,
        });
    }

    async fn commit(&mut self, rows: Batch) {
        let to = self.seq + 1 + rows.rows() as u64;
        let batch = Batch {
            from: self.seq,
            to: at(to),
            ..rows
        };
        self.seq = to;
        self.write(Step::Commit(batch)).await;
    }

    async fn control(&mut self, change: Change) {
        let seq = self.seq + 1;
        let at = SEALED_AT;
        let controls = vec![Control { seq, at, change }];
        self.commit(Batch {
            controls,
            ..batch()
        })
        .await;
    }

    /// Seals an epoch, freezes it in parts, and builds its trees.
    async fn seal(&mut self, epoch: Epoch) {
        self.control(Change::Seal(epoch)).await;
        let frozen = self.world.frozen(epoch).await;
        assert!(frozen.len() > 1);
        for part in frozen.chunks(2) {
            self.write(Step::Freeze(part.to_vec())).await;
        }
        self.write(Step::FinishFreeze(epoch)).await;
        let store = &self.world.store;
        let unbuilt = store.unbuilt(1000).await.unwrap();
        let leaves = store.sealed_leaves(&unbuilt).await.unwrap();
        let trees: Vec<BuiltTrees> = leaves.into_iter().map(trees_of).collect();
        for part in trees.chunks(2) {
            self.write(Step::Trees(part.to_vec())).await;
        }
    }
}

/// What so many people said in an epoch.
fn talk(dice: &mut ChaCha8Rng, epoch: Epoch, people: u64) -> Batch {
    let mut all = batch();
    for _ in 0..people {
        let person: u64 = dice.random_range(0..400);
        let login = format!("viewer{person}");
        let channel = ["forsen", "xqc", "sodapoppin"][dice.random_range(0..3)];
        let minute = epoch.0 + 60 * dice.random_range(0..60);
        for kind in [SignalKind::Presence, SignalKind::Message] {
            all.signals
                .push(signal(epoch, channel, minute, kind, &login, 1));
        }
        all.participants
            .push(presence(epoch, channel, &login, minute));
        all.names.push(named(&login));
        all.aliases.push(alias(&login, person + 1));
        all.ledger
            .push(lines(epoch, channel, Outcome::Counted, 1 + person % 3));
    }
    unique(sorted(all))
}

/// One row for each key, as the port asks for.
fn unique(mut batch: Batch) -> Batch {
    batch
        .participants
        .dedup_by_key(|row| (row.epoch, row.channel.clone(), row.user));
    batch.signals.dedup_by_key(|row| {
        let of = (row.epoch, row.channel.clone());
        (of, row.minute, row.kind, row.user)
    });
    batch.names.dedup_by_key(|row| row.user);
    batch.aliases.dedup_by_key(|row| row.user);
    batch
        .ledger
        .sort_by(|a, b| (a.epoch, &a.channel).cmp(&(b.epoch, &b.channel)));
    batch
        .ledger
        .dedup_by_key(|row| (row.epoch, row.channel.clone()));
    batch
}

async fn work() -> Run {
    let mut run = Run::begin().await;
    let mut dice = ChaCha8Rng::seed_from_u64(4);
    let settings = Change::Settings(Arithmetic::default());
    run.control(settings).await;
    for people in [1, 30, 250, 3, 0, 90] {
        run.commit(talk(&mut dice, HOUR, people)).await;
    }
    run.write(Step::Checkpoint("PASSIVE")).await;
    for people in [40, 5] {
        run.commit(talk(&mut dice, HOUR, people)).await;
    }
    let gone = opt_out(vec![common::hash("viewer7")], "asked");
    run.control(Change::Suppress(gone)).await;
    run.commit(talk(&mut dice, NEXT_HOUR, 120)).await;
    run.write(Step::Checkpoint("RESTART")).await;
    run.seal(HOUR).await;
    run.write(Step::Checkpoint("TRUNCATE")).await;
    for people in [60, 1] {
        run.commit(talk(&mut dice, NEXT_HOUR, people)).await;
    }
    run.seal(NEXT_HOUR).await;
    run
}

/// What one loss of power leaves in the middle of a write, and whether the write is part of it.
fn image(dice: &mut ChaCha8Rng, written: &Written) -> (Files, bool, String) {
    let ((before, _), (after, _)) = (&written.before, &written.after);
    if let Step::Checkpoint(mode) = written.step {
        let database = half_checkpointed(dice, before, after);
        // The log is cut back once the database is synced.
        let is_done = database == after.database && dice.random_bool(0.5);
        let log = if is_done { &after.log } else { &before.log }.clone();
        let case = format!("checkpoint {mode}, done {is_done}");
        return (Files { database, log }, true, case);
    }
    assert_eq!(before.database, after.database, "a commit writes the log");
    let (begin, end) = wal::in_flight(&before.log, &after.log);
    let cut = match dice.random_range(0..8) {
        0 => begin,
        1 => end,
        2 => (begin + dice.random_range(0..=wal::HEADER)).min(end),
        3 => end - dice.random_range(1..=wal::PAGE),
        _ => dice.random_range(begin..=end),
    };
    let behind = match dice.random_range(0..4) {
        0 => Behind::Zeros,
        1 => Behind::Garbage(dice.random()),
        _ => Behind::Before,
    };
    let cut = cut.max(begin);
    let (log, is_after) = wal::cut(&before.log, &after.log, cut, behind);
    let database = before.database.clone();
    let case = format!("the log up to {cut} of {begin}..{end}, then {behind:?}");
    (Files { database, log }, is_after, case)
}

/// Each page that a checkpoint writes is old, new, or half of both. All of them are in the log.
fn half_checkpointed(dice: &mut ChaCha8Rng, before: &Files, after: &Files) -> Vec<u8> {
    let logged = wal::pages(&before.log);
    let mut left = before.database.clone();
    let all = dice.random_bool(0.3);
    for (index, page) in after.database.chunks_exact(wal::PAGE).enumerate() {
        let place = index * wal::PAGE;
        let old = before.database.get(place..place + wal::PAGE);
        if old == Some(page) {
            continue;
        }
        assert!(
            logged.contains(&(index + 1)),
            "page {} is not logged",
            index + 1
        );
        let new = match dice.random_range(0..3) {
            _ if all => wal::PAGE,
            0 => continue,
            1 => 512 * dice.random_range(1..8),
            _ => wal::PAGE,
        };
        left.resize(left.len().max(place + wal::PAGE), 0);
        left[place..place + new].copy_from_slice(&page[..new]);
    }
    left
}

async fn is_sound(store: &Store) -> bool {
    let check = Statement::from_string(store.backend(), "PRAGMA integrity_check");
    let row = store.reader().query_one_raw(check).await.unwrap().unwrap();
    row.try_get_by_index::<String>(0).unwrap() == "ok"
}

#[tokio::test]
async fn a_store_stands_before_or_after_the_write_in_which_the_power_went_and_ends_the_same() {
    let run = work().await;
    let end = &run.written.last().unwrap().after.1;
    assert!(end["sealed_participants"].len() > 100 && end["roots"].len() > 1);
    let mut reopened = Vec::new();
    let (mut before, mut after) = (0, 0);
    for number in 0..images() {
        let mut dice = ChaCha8Rng::seed_from_u64(number);
        let index = usize::try_from(number).unwrap() % run.written.len();
        let written = &run.written[index];
        let (files, is_after, case) = image(&mut dice, written);
        let case = format!("image {number}, write {index}: {case}");
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        let path = folder.path().join("twzrd.db");
        files.write(&path);
        let begun = tokio::time::Instant::now();
        let store = Store::sqlite(&path, Groups::default()).await.unwrap();
        let stands = BatchStore::offset(&store).await.unwrap();
        reopened.push(begun.elapsed());
        let found = rows(&store).await;
        assert!(
            stands == written.seq.0 || stands == written.seq.1,
            "{case}: {stands}"
        );
        assert!(is_sound(&store).await, "{case}");
        let expected = if is_after {
            &written.after.1
        } else {
            &written.before.1
        };
        for (table, rows) in expected {
            assert!(found[table] == *rows, "{case}: {table}");
        }
        *(if is_after { &mut after } else { &mut before }) += 1;
        // Whoever wrote offers the same write again, which changes nothing where it is there.
        for written in &run.written[index..] {
            written.step.apply(&store, &path).await;
        }
        let found = rows(&store).await;
        for (table, rows) in end {
            assert!(found[table] == *rows, "{case}: {table} at the end");
        }
        store.close().await.unwrap();
    }
    assert!(before > 0 && after > 0);
    println!(
        "SQLite: {} images of {} writes ({before} before, {after} after the write), reopened in {}",
        reopened.len(),
        run.written.len(),
        percentiles(reopened)
    );
}

fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |part: usize| all[(all.len() * part / 100).min(all.len() - 1)].as_secs_f64() * 1000.0;
    format!("{:.2} ms (p50), {:.2} ms (p99)", at(50), at(99))
}

#[tokio::test]
async fn a_database_that_lost_power_while_it_was_made_is_made_again() {
    let run = Run::begin().await;
    let (made, fresh) = run.now().await;
    // Before the log there is an empty file, or the page that says that there is a log.
    let (begin, end) = wal::in_flight(&[], &made.log);
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    for number in 0..30 {
        let log = match number {
            0 => Vec::new(),
            _ => {
                let cut = dice.random_range(begin..=end);
                wal::cut(&[], &made.log, cut, Behind::Before).0
            }
        };
        let database = made.database.clone();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twzrd.db");
        Files { database, log }.write(&path);
        let store = Store::sqlite(&path, Groups::default()).await.unwrap();
        assert!(rows(&store).await == fresh, "image {number}");
        assert!(is_sound(&store).await, "image {number}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn every_connection_of_a_sqlite_store_syncs_its_log_at_each_commit() {
    let world = World::sqlite().await;
    // The writer itself is asked, within a commit: by a trigger.
    world
        .run(
            "CREATE TABLE witness (mode TEXT, synchronous INTEGER); \
             CREATE TRIGGER witnesses AFTER UPDATE ON journal_offset BEGIN \
             INSERT INTO witness SELECT journal_mode, synchronous \
             FROM pragma_journal_mode, pragma_synchronous; END",
        )
        .await;
    let first = Batch {
        to: at(1),
        ..common::an_hour()
    };
    let committed = world.store.commit(&first).await.unwrap();
    assert_eq!(committed, Committed::Written);
    let mode = world.texts("SELECT mode || synchronous FROM witness").await;
    assert_eq!(mode, [Some("wal2".to_owned())], "2 is FULL");
    // A reader that comes last brings the log into the database when it is closed.
    let asked = (0..16).map(|_| world.number("SELECT synchronous FROM pragma_synchronous"));
    for synchronous in futures_of(asked).await {
        assert_eq!(synchronous, 2);
    }
}

/// Waits for all at the same time, so that each takes a connection of its own.
async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in all.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
