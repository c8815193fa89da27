//! The store on a network that fails: whatever is cut, lost or swallowed, a commit says that it may
//! be tried again, and takes effect once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::cell::Cell;
use std::time::Duration;

use common::{HOUR, an_hour, at, lines, named, presence, signal, sorted};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use twzrd_domain::batch::{Batch, Groups};
use twzrd_domain::event::Outcome;
use twzrd_domain::ports::{BatchStore, Committed, StoreError};
use twzrd_domain::signal::SignalKind;
use twzrd_store::{Store, Timeouts};
use twzrd_testkit::fake::{Fault, FaultyStore};
use twzrd_testkit::postgres::Postgres;
use twzrd_testkit::proxy::{Close, CommitFault, Direction, Handle, Pace, Proxy, Refusal, Ways};

/// Nothing here takes as long, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

const HASTE: Timeouts = Timeouts {
    connection: Duration::from_secs(1),
    lock: Duration::from_millis(200),
    statement: Duration::from_millis(1500),
};

/// How often a commit is tried again before it has to be through.
const TRIES: u32 = 30;

/// A Postgres, and a store that reaches it through a proxy.
struct World {
    store: Store,
    proxy: Proxy,
    /// Of the database, through the proxy.
    url: String,
    database: Postgres,
}

impl World {
    /// With the first batch in it.
    async fn new() -> Self {
        let database = Postgres::start().unwrap();
        let (proxy, url) = Proxy::before_postgres(&database.url()).unwrap();
        // What makes the schema is not in haste.
        let patient = Store::postgres(&database.url(), Groups::default(), 2).await;
        patient.unwrap().close().await.unwrap();
        let store = soon(Store::postgres_with(&url, Groups::default(), 2, HASTE)).await;
        let world = Self {
            store: store.unwrap(),
            proxy,
            url,
            database,
        };
        world.tries(&first()).await;
        world
    }

    fn handle(&self) -> &Handle {
        self.proxy.handle()
    }

    /// The second batch fails for now.
    async fn fails(&self) -> StoreError {
        let error = soon(self.store.commit(&second())).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        error
    }

    /// The second batch is committed, once nothing is wrong any more, and comes to this; all of it
    /// is there, and only once.
    async fn recovers(&self, expected: Committed) {
        soon(self.handle().clear()).await.unwrap();
        let committed = self.tries(&second()).await;
        assert_eq!(committed, expected);
        assert_eq!(self.tries(&second()).await, Committed::Known);
        assert_eq!(tables(&self.database), undisturbed().await);
    }

    /// What is held by the connection that was lost is given up when the server hears of that.
    async fn tries(&self, batch: &Batch) -> Committed {
        for _ in 0..TRIES {
            match soon(self.store.commit(batch)).await {
                Ok(committed) => return committed,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
        panic!("a commit failed {TRIES} times although nothing was wrong any more");
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.expect("it hangs")
}

fn first() -> Batch {
    Batch {
        to: at(1),
        ..an_hour()
    }
}

fn second() -> Batch {
    sorted(Batch {
        from: 1,
        to: at(2),
        participants: vec![presence(HOUR, "forsen", "dan", 7500)],
        signals: vec![
            signal(HOUR, "forsen", 7260, SignalKind::Message, "ada", 4),
            signal(HOUR, "forsen", 7500, SignalKind::Presence, "dan", 1),
        ],
        names: vec![named("dan")],
        ledger: vec![lines(HOUR, "forsen", Outcome::Counted, 6)],
        ..common::batch()
    })
}

/// All rows of all tables, but for the notes of when the schema was made.
fn tables(database: &Postgres) -> String {
    let tables = "SELECT string_agg(format('SELECT %L || t::text FROM %I t', \
        tablename || ' ', tablename), ' UNION ALL ') \
        FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'seaql_migrations'";
    let all = database.run(tables).unwrap();
    database.run(&format!("{all} ORDER BY 1")).unwrap()
}

/// The tables of a store that met no fault.
async fn undisturbed() -> String {
    let database = Postgres::start().unwrap();
    let store = Store::postgres(&database.url(), Groups::default(), 2).await;
    let store = store.unwrap();
    for batch in [first(), second()] {
        assert_eq!(store.commit(&batch).await.unwrap(), Committed::Written);
    }
    let tables = tables(&database);
    assert!(tables.contains("channel_participation "), "{tables}");
    tables
}

/// A connection that holds a lock until it says ROLLBACK.
async fn holding(url: String, sql: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1);
    let other = Database::connect(options).await.unwrap();
    other.execute_unprepared(sql).await.unwrap();
    other
}

/// Whether somebody waits for a lock in the database of this connection.
async fn somebody_waits(other: &DatabaseConnection) -> bool {
    let waits = "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
        WHERE d.datname = current_database() AND NOT l.granted";
    let waits = Statement::from_string(other.get_database_backend(), waits);
    other.query_one_raw(waits).await.unwrap().is_some()
}

#[tokio::test]
async fn a_transaction_that_is_cut_after_any_of_its_statements_leaves_nothing() {
    let world = World::new().await;
    let mut batch = second();
    let mut struck = 0;
    // Until a transaction is too short to be cut there. The last one is cut in front of COMMIT.
    for after in 0.. {
        let close = [Close::Reset, Close::Orderly][after as usize % 2];
        world.handle().in_next_transaction(after, close);
        let committed = soon(world.store.commit(&batch)).await;
        if world.handle().disarm() {
            assert_eq!(committed.unwrap(), Committed::Written);
            break;
        }
        let error = committed.unwrap_err();
        assert!(error.is_transient(), "{error}");
        struck += 1;
        assert_eq!(world.tries(&batch).await, Committed::Written);
        batch.from += 1;
        batch.to = at(batch.from + 1);
    }
    assert!(struck > 4, "{struck}");
    let calm = Postgres::start().unwrap();
    let store = Store::postgres(&calm.url(), Groups::default(), 2).await;
    let store = store.unwrap();
    store.commit(&first()).await.unwrap();
    for seq in 1..=struck + 1 {
        batch.from = seq;
        batch.to = at(seq + 1);
        store.commit(&batch).await.unwrap();
    }
    assert_eq!(tables(&world.database), tables(&calm));
    assert_eq!(world.handle().snapshot().cut, struck);
}

#[tokio::test]
async fn a_commit_that_never_reached_the_server_is_written_the_next_time() {
    for close in [Close::Orderly, Close::Reset] {
        let world = World::new().await;
        let before = tables(&world.database);
        world
            .handle()
            .at_next_commit(CommitFault::BeforeServer, close);
        world.fails().await;
        assert_eq!(tables(&world.database), before);
        let now = world.handle().snapshot();
        assert_eq!((now.is_armed, now.cut), (false, 1));
        assert_eq!(now.commits_asked, now.commits_taken + 1);
        world.recovers(Committed::Written).await;
    }
}

#[tokio::test]
async fn a_commit_of_which_the_answer_was_lost_is_known_the_next_time() {
    for close in [Close::Orderly, Close::Reset] {
        let world = World::new().await;
        world
            .handle()
            .at_next_commit(CommitFault::AfterServer, close);
        world.fails().await;
        let now = world.handle().snapshot();
        assert_eq!((now.is_armed, now.cut), (false, 1));
        assert_eq!(now.commits_asked, now.commits_taken);
        assert_eq!(tables(&world.database), undisturbed().await);
        world.recovers(Committed::Known).await;
    }
}

#[tokio::test]
async fn a_commit_to_which_nobody_ever_answers_comes_to_an_end() {
    for (fault, expected) in [
        (CommitFault::AfterServer, Committed::Known),
        (CommitFault::BeforeServer, Committed::Written),
    ] {
        let world = World::new().await;
        world.handle().at_next_commit(fault, Close::Silent);
        let error = world.fails().await;
        assert!(error.to_string().contains("no answer within"), "{error}");
        assert_eq!(world.handle().snapshot().cut, 1);
        if fault == CommitFault::BeforeServer {
            // The server still holds the locks of a client of which it hears nothing.
            world.fails().await;
            assert_eq!(world.handle().cut(Close::Reset), 2);
        }
        world.recovers(expected).await;
    }
}

#[tokio::test]
async fn connections_that_fell_silent_do_not_use_up_the_pool() {
    let world = World::new().await;
    // The pool has two.
    for seq in 1..5 {
        let batch = Batch {
            from: seq,
            to: at(seq + 1),
            ..second()
        };
        world
            .handle()
            .at_next_commit(CommitFault::AfterServer, Close::Silent);
        let error = soon(world.store.commit(&batch)).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(world.tries(&batch).await, Committed::Known);
    }
    assert_eq!(world.handle().snapshot().cut, 4);
}

#[tokio::test]
async fn a_server_that_is_gone_is_transient_however_it_went() {
    for (refusal, close) in [
        (Refusal::NotListening, Close::Orderly),
        (Refusal::NotListening, Close::Reset),
        (Refusal::ResetAtOnce, Close::Orderly),
        (Refusal::ResetAtOnce, Close::Reset),
    ] {
        let world = World::new().await;
        assert!(world.handle().gone(refusal, close).await.unwrap() > 0);
        world.fails().await;
        world.fails().await;
        world.recovers(Committed::Written).await;
    }
}

#[tokio::test]
async fn a_black_hole_ends_a_commit_in_time() {
    let world = World::new().await;
    world.handle().black_hole(Ways::Both);
    world.fails().await;
    world.recovers(Committed::Written).await;
}

#[tokio::test]
async fn a_black_hole_within_a_transaction_ends_the_commit_in_time() {
    for ways in [Ways::Both, Ways::Only(Direction::ToClient)] {
        let world = World::new().await;
        let other = holding(
            world.database.url(),
            "BEGIN; LOCK TABLE user_signals IN EXCLUSIVE MODE",
        )
        .await;
        let has_fallen = Cell::new(false);
        let falls = async {
            while !somebody_waits(&other).await {
                tokio::task::yield_now().await;
            }
            world.handle().black_hole(ways);
            has_fallen.set(true);
            std::future::pending::<()>().await;
        };
        // So long, too, the wait for the lock can be noticed.
        let patient = Timeouts {
            lock: Duration::from_secs(60),
            statement: Duration::from_secs(4),
            ..HASTE
        };
        let store = Store::postgres_with(&world.url, Groups::default(), 2, patient);
        let store = store.await.unwrap();
        let batch = second();
        let committed = soon(store.commit(&batch));
        let error = tokio::select! {
            committed = committed => committed.unwrap_err(),
            () = falls => unreachable!("it goes on until the commit has ended"),
        };
        assert!(has_fallen.get(), "the commit ended before: {error}");
        assert!(error.is_transient(), "{error}");
        other.execute_unprepared("ROLLBACK").await.unwrap();
        world.recovers(Committed::Written).await;
    }
}

#[tokio::test]
async fn a_slow_network_is_waited_for_and_a_too_slow_one_is_transient() {
    let world = World::new().await;
    let pace = |delay| Pace {
        delay,
        bytes_per_second: None,
    };
    world.handle().slow(pace(Duration::from_secs(3600)));
    world.fails().await;
    world.handle().slow(pace(Duration::from_millis(2)));
    assert_eq!(world.tries(&second()).await, Committed::Written);
    world.recovers(Committed::Known).await;
}

#[tokio::test]
async fn a_connection_cut_within_a_message_is_transient() {
    for (direction, close) in [
        (Direction::ToServer, Close::Reset),
        (Direction::ToServer, Close::Orderly),
        (Direction::ToClient, Close::Reset),
        (Direction::ToClient, Close::Orderly),
    ] {
        let world = World::new().await;
        // Behind what tests the connection and begins the transaction, within its first statement.
        assert!(world.handle().cut_after(direction, 40, close) > 0);
        world.fails().await;
        world.recovers(Committed::Written).await;
    }
}

#[tokio::test]
async fn a_server_that_comes_back_elsewhere_is_found() {
    let world = World::new().await;
    // Behind the proxy is another one, which moves.
    let (inner, _) = Proxy::before_postgres(&world.database.url()).unwrap();
    world.handle().set_upstream(inner.address().to_string());
    world.handle().cut(Close::Reset);
    assert_eq!(world.tries(&second()).await, Committed::Written);
    soon(inner.stop()).await;
    let third = Batch {
        from: 2,
        to: at(3),
        ..second()
    };
    let error = soon(world.store.commit(&third)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let (again, _) = Proxy::before_postgres(&world.database.url()).unwrap();
    world.handle().set_upstream(again.address().to_string());
    assert_eq!(world.tries(&third).await, Committed::Written);
    assert!(again.handle().snapshot().commits_taken > 0);
}

#[tokio::test]
async fn a_table_that_somebody_else_has_locked_is_transient_in_postgres() {
    let world = World::new().await;
    let other = holding(world.database.url(), "BEGIN; LOCK TABLE journal_offset").await;
    let error = world.fails().await;
    assert!(error.to_string().contains("lock timeout"), "{error}");
    // Reading is locked out as well.
    let error = soon(BatchStore::offset(&world.store)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    other.execute_unprepared("ROLLBACK").await.unwrap();
    world.recovers(Committed::Written).await;
}

#[tokio::test]
async fn a_lock_that_is_held_past_the_timeout_is_transient_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twzrd.db");
    let store = Store::sqlite_with(&path, Groups::default(), HASTE).await;
    let store = store.unwrap();
    store.commit(&first()).await.unwrap();
    let other = holding(format!("sqlite:{}", path.display()), "BEGIN IMMEDIATE").await;
    for _ in 0..2 {
        let error = soon(store.commit(&second())).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("database is locked"), "{error}");
    }
    // Whoever writes keeps nobody from reading.
    assert_eq!(BatchStore::offset(&store).await.unwrap(), 1);
    other.execute_unprepared("ROLLBACK").await.unwrap();
    assert_eq!(store.commit(&second()).await.unwrap(), Committed::Written);
    assert_eq!(store.commit(&second()).await.unwrap(), Committed::Known);
}

#[tokio::test]
async fn sqlite_whose_answer_is_lost_knows_the_batch_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path().join("twzrd.db"), Groups::default()).await;
    let store = FaultyStore::new(store.unwrap());
    store.commit(&first()).await.unwrap();
    store.faults().fail_next_of("commit", 1, Fault::AnswerLost);
    store.faults().fail_next_of("commit", 1, Fault::Transient);
    for _ in 0..2 {
        let error = store.commit(&second()).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    assert_eq!(BatchStore::offset(&store).await.unwrap(), 2);
    assert_eq!(store.commit(&second()).await.unwrap(), Committed::Known);
}
