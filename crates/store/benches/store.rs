//! What the batcher and the sealer ask of a store, on SQLite and on Postgres: rows a second.
//!
//! `commit` writes batches of 100,000 events, folded from a stream of chat as it is; beside it
//! the same participations and signals go into bare tables, in one statement after the other and
//! one transaction a batch, without conflicts to look for. `seal` reads, freezes and trees a
//! channel with a million participants, and 10,000 channels with ten each.
//!
//! `cargo bench -p twzrd-store -- [commit] [seal]`; `BENCH_FOLDER` names the disk for SQLite.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people, and picks within small bounds"
)]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use sea_orm::sea_query::ArrayType;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait, Value,
};
use twzrd_domain::batch::{
    Batch, Change, Control, Groups, NameRow, ParticipantRow, Position, SignalRow,
};
use twzrd_domain::epoch::{Epoch, Minute};
use twzrd_domain::event::{Action, Event};
use twzrd_domain::fold::{Fold, Pushed};
use twzrd_domain::identity::{Channel, Name, UserHash};
use twzrd_domain::leaf;
use twzrd_domain::merkle::MerkleTree;
use twzrd_domain::ports::{BatchStore, BuiltTrees, Projection, SealStore, TreeStore};
use twzrd_domain::record::{Entry, Record};
use twzrd_domain::seal::freeze;
use twzrd_domain::signal::SignalKind;
use twzrd_domain::weight::Arithmetic;
use twzrd_store::Store;
use twzrd_testkit::postgres::Postgres;

const EVENTS: u64 = 100_000;
const BATCHES: u64 = 20;
const BEGIN_MS: u64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| {
        let named = wanted.iter().filter(|arg| !arg.starts_with('-'));
        named.clone().count() == 0 || named.clone().any(|arg| arg == name)
    };
    let folder = std::env::var_os("BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    if wants("commit") {
        let batches = batches();
        let file = folder.path().join("commit.db");
        let store = Store::sqlite(&file, Groups::default()).await.unwrap();
        commit("SQLite", &store, &batches).await;
        store.close().await.unwrap();
        let bare = folder.path().join("bare.db");
        let url = format!("sqlite://{}?mode=rwc", bare.display());
        let mut options = sea_orm::ConnectOptions::new(url);
        options.sqlx_logging(false).max_connections(1);
        let bare = Database::connect(options).await.unwrap();
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
            PRAGMA cache_size = -65536";
        bare.execute_unprepared(pragmas).await.unwrap();
        bare_insert("SQLite", &bare, &batches).await;
        let database = Postgres::start().unwrap();
        commit("Postgres", &postgres(&database).await, &batches).await;
        let database = Postgres::start().unwrap();
        let mut options = sea_orm::ConnectOptions::new(database.url());
        options.sqlx_logging(false).max_connections(1);
        let bare = Database::connect(options).await.unwrap();
        bare_insert("Postgres", &bare, &batches).await;
    }
    if wants("seal") {
        let file = folder.path().join("seal.db");
        let store = Store::sqlite(&file, Groups::default()).await.unwrap();
        seal("SQLite", &store).await;
        let database = Postgres::start().unwrap();
        seal("Postgres", &postgres(&database).await).await;
    }
}

async fn postgres(database: &Postgres) -> Store {
    let store = Store::postgres(&database.url(), Groups::default(), 4).await;
    store.unwrap()
}

/// A stream of chat: 300,000 people in 2,000 channels, of which the first are the busiest, and
/// 1,600 lines a second.
fn batches() -> Vec<Batch> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let channels: Vec<Channel> = (0..2000).map(|n| name("channel", n)).collect();
    let mut fold = Fold::new(Projection::default(), "bench".into());
    let mut batches = Vec::new();
    for seq in 1..=EVENTS * BATCHES {
        let busy: f64 = random.random();
        let person: f64 = random.random();
        // Half of all lines come from a sixteenth of the channels, and as much from people.
        let pick = |share: f64, of: f64| (share.powi(4) * of) as u64;
        let user = pick(person, 300_000.0);
        let event = Event {
            id: None,
            channel: channels[pick(busy, 2000.0) as usize].clone(),
            ts: BEGIN_MS + seq * 1000 / 1600,
            login: name("viewer", user),
            user_id: Some(user + 1),
            action: Action::Message { bits: 0 },
            text: None,
        };
        let entry = Entry {
            seq,
            at: event.ts,
            record: Record::Event(event),
        };
        let behind = Position {
            seq,
            ..Position::default()
        };
        assert_eq!(fold.push(&entry, behind), Ok(Pushed::Taken));
        if seq % EVENTS == 0 {
            batches.extend(fold.finish());
        }
    }
    batches
}

fn name(kind: &str, number: u64) -> Name {
    Name::parse(&format!("{kind}_{number}")).unwrap()
}

async fn commit(database: &str, store: &Store, batches: &[Batch]) {
    let begin = Instant::now();
    for batch in batches {
        store.commit(batch).await.unwrap();
    }
    let took = begin.elapsed();
    let rows: usize = batches.iter().map(Batch::rows).sum();
    let signals: usize = batches.iter().map(|batch| batch.signals.len()).sum();
    let events = EVENTS * BATCHES;
    println!(
        "{database} commit: {:>9.0} events/s, {:>9.0} rows/s ({rows} rows, {signals} signals, {took:.2?})",
        rate(events, took),
        rate(rows as u64, took),
    );
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

async fn bare_insert(database: &str, db: &DatabaseConnection, batches: &[Batch]) {
    let tail = match db.get_database_backend() {
        DbBackend::Postgres => "",
        _ => " WITHOUT ROWID",
    };
    for table in [
        "people(epoch bigint, channel text, user_hash text, first_seen bigint, PRIMARY KEY (epoch, channel, user_hash))",
        "signals(epoch bigint, channel text, timestamp bigint, kind text, user_hash text, value double precision, PRIMARY KEY (epoch, channel, timestamp, kind, user_hash))",
    ] {
        let sql = format!("CREATE TABLE {table}{tail}");
        db.execute_unprepared(&sql).await.unwrap();
    }
    let mut seen = std::collections::HashSet::new();
    let mut rows = 0;
    let begin = Instant::now();
    let mut outside = Duration::ZERO;
    for batch in batches {
        let apart = Instant::now();
        // A bare table takes a key once: what came before is left out, outside of the time.
        let new = |row: &&ParticipantRow| seen.insert((row.channel.clone(), row.user, None));
        let people: Vec<_> = batch.participants.iter().filter(new).collect();
        let new = |row: &&SignalRow| {
            seen.insert((row.channel.clone(), row.user, Some((row.minute, row.kind))))
        };
        let signals: Vec<_> = batch.signals.iter().filter(new).collect();
        outside += apart.elapsed();
        let transaction = db.begin().await.unwrap();
        let people: Vec<[Value; 4]> = people.into_iter().map(person).collect();
        let signals: Vec<[Value; 6]> = signals.into_iter().map(signal).collect();
        rows += people.len() + signals.len();
        bare_rows(&transaction, "people", "bigint text text bigint", people).await;
        let kinds = "bigint text bigint text text double";
        bare_rows(&transaction, "signals", kinds, signals).await;
        transaction.commit().await.unwrap();
    }
    let took = begin.elapsed() - outside;
    println!(
        "{database} bare:   {:>9.0} rows/s ({rows} rows, {took:.2?})",
        rate(rows as u64, took)
    );
}

fn person(row: &ParticipantRow) -> [Value; 4] {
    let (epoch, first_seen) = (row.epoch.0 as i64, row.first_seen as i64);
    let channel = row.channel.as_str();
    [
        epoch.into(),
        channel.into(),
        row.user.to_string().into(),
        first_seen.into(),
    ]
}

fn signal(row: &SignalRow) -> [Value; 6] {
    [
        (row.epoch.0 as i64).into(),
        row.channel.as_str().into(),
        (row.minute.0 as i64).into(),
        row.kind.as_str().into(),
        row.user.to_string().into(),
        (row.value as f64).into(),
    ]
}

async fn bare_rows<const N: usize, C: ConnectionTrait>(
    db: &C,
    table: &str,
    kinds: &str,
    rows: Vec<[Value; N]>,
) {
    let backend = db.get_database_backend();
    let kinds: Vec<&str> = kinds.split(' ').collect();
    let chunk = if backend == DbBackend::Postgres {
        10_000
    } else {
        500
    };
    for rows in rows.chunks(chunk) {
        let statement = if backend == DbBackend::Postgres {
            let arrays = (0..N).map(|at| {
                let kind = match kinds[at] {
                    "bigint" => ArrayType::BigInt,
                    "double" => ArrayType::Double,
                    _ => ArrayType::String,
                };
                let column = rows.iter().map(|row| row[at].clone()).collect();
                Value::Array(kind, Some(Box::new(column)))
            });
            let types = kinds.iter().zip(1..).map(|(kind, at)| match *kind {
                "double" => format!("${at}::double precision[]"),
                kind => format!("${at}::{kind}[]"),
            });
            let types: Vec<String> = types.collect();
            let sql = format!(
                "INSERT INTO {table} SELECT * FROM UNNEST({})",
                types.join(",")
            );
            Statement::from_sql_and_values(backend, sql, arrays)
        } else {
            let row = format!("({})", ["?"; N].join(","));
            let sql = format!(
                "INSERT INTO {table} VALUES {}",
                vec![row; rows.len()].join(",")
            );
            Statement::from_sql_and_values(backend, sql, rows.iter().flatten().cloned())
        };
        db.execute_raw(statement).await.unwrap();
    }
}

async fn seal(database: &str, store: &Store) {
    let shapes = [(Epoch(3600), 1, 1_000_000), (Epoch(7200), 10_000, 10)];
    for (epoch, channels, people) in shapes {
        fill(store, epoch, channels, people).await;
        let title = format!("{database} {channels} x {people}");
        let begin = Instant::now();
        let wanted = store.channels_to_freeze(epoch).await.unwrap();
        let wanted: Vec<Channel> = wanted.into_iter().map(|(channel, _)| channel).collect();
        println!("{title}: channels_to_freeze {:.2?}", begin.elapsed());
        let begin = Instant::now();
        let participants = store.participants(epoch, &wanted).await.unwrap();
        println!("{title}: participants {:.2?}", begin.elapsed());
        let arithmetic = Arithmetic::default();
        let pairs = wanted.iter().zip(participants);
        let frozen = pairs.map(|(channel, people)| {
            let frozen = freeze(epoch, channel, 1, &arithmetic, people).unwrap();
            frozen.unwrap()
        });
        let frozen: Vec<_> = frozen.collect();
        // Two minutes of presence each, however the channel was read in pieces.
        let people = frozen.iter().flat_map(|channel| &channel.participants);
        assert!(people.clone().all(|person| person.weight.0 == 200));
        let begin = Instant::now();
        store.freeze(&frozen).await.unwrap();
        store.finish_freeze(epoch, 1).await.unwrap();
        println!("{title}: freeze {:.2?}", begin.elapsed());
        let begin = Instant::now();
        let unbuilt = store.unbuilt(100_000).await.unwrap();
        let leaves = store.sealed_leaves(&unbuilt).await.unwrap();
        println!("{title}: sealed_leaves {:.2?}", begin.elapsed());
        let trees = leaves.into_iter().map(|leaves| {
            let users = leaves.users.iter();
            let presence = users.map(|&user| leaf::participation(user, &leaves.channel, epoch));
            BuiltTrees {
                epoch,
                channel: leaves.channel.clone(),
                participants: leaves.users.len() as u64,
                participation_root: MerkleTree::new(presence.collect()).unwrap().root(),
                claim_levels: MerkleTree::new(leaves.claim_leaves).unwrap().levels(),
                built_at: 1,
            }
        });
        let trees: Vec<_> = trees.collect();
        let begin = Instant::now();
        store.write_trees(&trees).await.unwrap();
        println!("{title}: write_trees {:.2?}", begin.elapsed());
    }
}

/// Two minutes of presence and messages of each person, and a seal.
async fn fill(store: &Store, epoch: Epoch, channels: u64, people: u64) {
    let mut batch = Batch {
        journal: "bench".into(),
        ..Batch::default()
    };
    for channel in 0..channels {
        let channel = name("channel", 100_000 + channel);
        let mut users: Vec<UserHash> = (0..people).map(UserHash::of_twitch_id).collect();
        users.sort_unstable();
        let participants = users.iter().enumerate().map(|(n, &user)| ParticipantRow {
            epoch,
            channel: channel.clone(),
            user,
            first_seen: epoch.0 + n as u64 % 3600,
        });
        batch.participants.extend(participants);
        for minute in [epoch.0, epoch.0 + 60] {
            for kind in [SignalKind::Presence, SignalKind::Message] {
                let signals = users.iter().map(|&user| SignalRow {
                    epoch,
                    channel: channel.clone(),
                    minute: Minute(minute),
                    kind,
                    user,
                    value: 1,
                });
                batch.signals.extend(signals);
            }
        }
    }
    let names = (0..people).map(|n| NameRow {
        user: UserHash::of_twitch_id(n),
        login: name("viewer", n),
        first_seen: epoch.0,
    });
    batch.names = names.collect();
    batch.names.sort_unstable_by_key(|row| row.user);
    batch.from = BatchStore::offset(store).await.unwrap();
    batch.to.seq = batch.from + 1;
    let (seq, at, change) = (batch.to.seq, 1, Change::Seal(epoch));
    batch.controls = vec![Control { seq, at, change }];
    store.commit(&batch).await.unwrap();
}
