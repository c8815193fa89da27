//! Opening a store, and what its errors say and keep to themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{Home, World, an_hour, at, batch};
use sea_orm::{ConnectionTrait, Database, IdenStatic, Iterable};
use twzrd_domain::batch::{Batch, Groups};
use twzrd_domain::ports::{BatchStore, ReportStore, StoreError};
use twzrd_store::{OpenError, Store, StoreUrl, Timeouts, entity};
use twzrd_testkit::postgres::Postgres;

on_both!(
    a_schema_that_is_newer_is_refused_by_name,
    several_processes_may_open_a_new_store_at_the_same_time,
    a_broken_constraint_is_permanent,
    a_missing_table_is_permanent,
    a_store_that_was_closed_is_transient,
    the_entities_are_the_tables,
);

const HASTE: Timeouts = Timeouts {
    connection: Duration::from_millis(1500),
    lock: Duration::from_millis(100),
    statement: Duration::from_millis(1500),
};

/// A store in haste, over a schema that was made without.
async fn in_haste(url: &str) -> Store {
    let patient = Store::postgres(url, Groups::default(), 2).await.unwrap();
    patient.close().await.unwrap();
    Store::postgres_with(url, Groups::default(), 2, HASTE)
        .await
        .unwrap()
}

async fn a_schema_that_is_newer_is_refused_by_name(world: World) {
    world.run("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_later', 0)").await;
    let opened = match &world.home {
        Home::Folder(folder) => {
            Store::sqlite(folder.path().join("twzrd.db"), Groups::default()).await
        }
        Home::Database(database) => Store::postgres(&database.url(), Groups::default(), 1).await,
    };
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Newer(_)), "{error}");
    assert!(!error.is_transient());
    let said = error.to_string();
    assert!(said.contains("m29990101_000001_later"), "{said}");
    assert!(said.contains("its newest is m2026"), "{said}");
}

async fn several_processes_may_open_a_new_store_at_the_same_time(world: World) {
    world.store.close().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    let fresh = world.is_postgres().then(|| Postgres::start().unwrap());
    let open = async || match &fresh {
        None => Store::sqlite(&path, Groups::default()).await,
        Some(database) => Store::postgres(&database.url(), Groups::default(), 2).await,
    };
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    for store in [a, b, c, d] {
        let projection = store.unwrap().projection().await.unwrap();
        assert_eq!(projection.position.seq, 0);
    }
}

async fn a_broken_constraint_is_permanent(world: World) {
    let mut twice = an_hour();
    twice.to = at(1);
    // The port asks for rows that are unique; only a constraint is left to say so for this one.
    world
        .run("CREATE UNIQUE INDEX one_name ON user_mapping (first_seen)")
        .await;
    let error = world.store.commit(&twice).await.unwrap_err();
    assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
    assert!(!error.is_transient());
    assert_eq!(world.number("SELECT count(*) FROM user_signals").await, 0);
    world.run("DROP INDEX one_name").await;
    world.commit(an_hour()).await;
}

async fn a_missing_table_is_permanent(world: World) {
    world.run("DROP TABLE ingest_ledger").await;
    let error = world.store.ledger().await.unwrap_err();
    assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("the store refused while adding up the ledger"),
        "{error}"
    );
}

async fn a_store_that_was_closed_is_transient(world: World) {
    world.store.close().await.unwrap();
    let error = world.store.projection().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let mut next = batch();
    next.to = at(1);
    let error = world.store.commit(&next).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

async fn the_entities_are_the_tables(world: World) {
    async fn columns<E: sea_orm::EntityTrait>(world: &World, entity: E) {
        let table = entity.table_name();
        let sql = if world.is_postgres() {
            format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}')")
        };
        let mut stored: Vec<String> = world.texts(&sql).await.into_iter().flatten().collect();
        let mut known: Vec<String> = E::Column::iter().map(|c| c.as_str().to_owned()).collect();
        stored.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, stored, "{table}");
        let rows = E::find().all(world.store.reader()).await;
        assert!(rows.is_ok(), "{table}: {:?}", rows.err());
    }
    world.commit(an_hour()).await;
    world.seal_and_freeze(common::HOUR).await;
    world.build().await;
    columns(&world, entity::channel_participation::Entity).await;
    columns(&world, entity::user_signals::Entity).await;
    columns(&world, entity::user_mapping::Entity).await;
    columns(&world, entity::user_alias::Entity).await;
    columns(&world, entity::twitch_minute_stats::Entity).await;
    columns(&world, entity::ingest_ledger::Entity).await;
    columns(&world, entity::coverage_gap::Entity).await;
    columns(&world, entity::journal_offset::Entity).await;
    columns(&world, entity::quarantine::Entity).await;
    columns(&world, entity::epochs::Entity).await;
    columns(&world, entity::sealed_epochs::Entity).await;
    columns(&world, entity::sealed_participants::Entity).await;
    columns(&world, entity::l2_tree_cache::Entity).await;
    columns(&world, entity::roots::Entity).await;
    columns(&world, entity::suppression_list::Entity).await;
    columns(&world, entity::suppression_log::Entity).await;
    columns(&world, entity::user_wallet_bindings::Entity).await;
}

#[tokio::test]
async fn a_sqlite_store_is_for_its_owner_alone_and_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("twzrd.db");
    let store = Store::sqlite(&path, Groups::default()).await.unwrap();
    let mut first = an_hour();
    first.to = at(1);
    store.commit(&first).await.unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in ["twzrd.db", "twzrd.db-wal", "twzrd.db-shm"] {
        assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
    }
    // Readers share the pages that the writer left in the log.
    let pragma = sea_orm::Statement::from_string(store.backend(), "PRAGMA journal_mode");
    let row = store.reader().query_one_raw(pragma).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "wal");
    let error = store
        .reader()
        .execute_unprepared("DELETE FROM epochs")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(
        &path,
        "not a database at all, but long enough to be read as one. ".repeat(100),
    )
    .unwrap();
    let error = Store::sqlite(&path, Groups::default()).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Store(StoreError::Permanent { .. })),
        "{error}"
    );
    let error = Store::sqlite("/dev/null/twzrd.db", Groups::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/dev/null/twzrd.db"), "{error}");
}

#[tokio::test]
async fn a_write_lock_that_somebody_else_holds_is_transient_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twzrd.db");
    let store = Store::sqlite_with(&path, Groups::default(), HASTE)
        .await
        .unwrap();
    let other = Database::connect(format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let mut first = an_hour();
    first.to = at(1);
    let error = store.commit(&first).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("database is locked"), "{error}");
    assert_eq!(store.projection().await.unwrap().position.seq, 0);
    other.execute_unprepared("ROLLBACK").await.unwrap();
    store.commit(&first).await.unwrap();
}

#[tokio::test]
async fn a_row_lock_that_somebody_else_holds_is_transient_in_postgres() {
    let database = Postgres::start().unwrap();
    let store = in_haste(&database.url()).await;
    let mut options = sea_orm::ConnectOptions::new(database.url());
    options.max_connections(1);
    let other = Database::connect(options).await.unwrap();
    other
        .execute_unprepared("BEGIN; SELECT * FROM journal_offset FOR UPDATE")
        .await
        .unwrap();
    let mut first = an_hour();
    first.to = at(1);
    let error = store.commit(&first).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("lock timeout"), "{error}");
    other.execute_unprepared("ROLLBACK").await.unwrap();
    store.commit(&first).await.unwrap();

    other
        .execute_unprepared("BEGIN; LOCK TABLE user_signals IN EXCLUSIVE MODE")
        .await
        .unwrap();
    let next = Batch {
        from: 1,
        to: at(2),
        ..an_hour()
    };
    let error = store.commit(&next).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(BatchStore::offset(&store).await.unwrap(), 1);
    assert_eq!(store.ledger().await.unwrap().counted, 7);
    other.execute_unprepared("ROLLBACK").await.unwrap();
    store.commit(&next).await.unwrap();
}

#[tokio::test]
async fn connections_that_the_server_cuts_are_transient() {
    let database = Postgres::start().unwrap();
    let store = in_haste(&database.url()).await;
    let mut options = sea_orm::ConnectOptions::new(database.url());
    options.max_connections(1);
    let other = Database::connect(options).await.unwrap();
    other
        .execute_unprepared("BEGIN; LOCK TABLE user_signals IN EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut first = an_hour();
    first.to = at(1);
    // Other tests have databases of their own on the same server.
    let waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'twzrd' \
        AND datname = current_database() AND wait_event_type = 'Lock'";
    let cut = async {
        // Once the commit waits for the lock, its connection is cut under it.
        while database
            .run(&format!("SELECT count(*) FROM ({waits}) w"))
            .unwrap()
            == "0"
        {
            tokio::task::yield_now().await;
        }
        let cut = format!("SELECT pg_terminate_backend(pid) FROM ({waits}) w");
        assert_eq!(database.run(&cut).unwrap(), "t");
    };
    let patient = Timeouts {
        lock: Duration::from_secs(60),
        statement: Duration::from_secs(60),
        ..HASTE
    };
    let waiting = Store::postgres_with(&database.url(), Groups::default(), 2, patient)
        .await
        .unwrap();
    let (committed, ()) = tokio::join!(waiting.commit(&first), cut);
    let error = committed.unwrap_err();
    assert!(error.is_transient(), "{error}");
    other.execute_unprepared("ROLLBACK").await.unwrap();
    assert_eq!(store.ledger().await.unwrap().received, 0);
    waiting.commit(&first).await.unwrap();
    assert_eq!(store.ledger().await.unwrap().counted, 7);
}

#[tokio::test]
async fn a_server_that_is_away_is_transient_and_the_store_goes_on_when_it_is_back() {
    let database = Postgres::own().unwrap();
    let url = database.url();
    let store = in_haste(&url).await;
    let mut first = an_hour();
    first.to = at(1);
    store.commit(&first).await.unwrap();
    database.stop().unwrap();
    let error = store.projection().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let next = Batch {
        from: 1,
        to: at(2),
        ..an_hour()
    };
    let error = store.commit(&next).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let error = Store::postgres_with(&url, Groups::default(), 2, HASTE)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    database.start_again().unwrap();
    store.commit(&next).await.unwrap();
    assert_eq!(store.ledger().await.unwrap().counted, 14);
}

#[tokio::test]
async fn no_error_repeats_a_password() {
    let secret = "hunter2";
    let mut said = Vec::new();
    for address in [
        "redis://user:hunter2@host/0".to_owned(),
        "sqlite:".to_owned(),
        "hunter2".to_owned(),
    ] {
        said.push(format!("{0} {0:?}", StoreUrl::parse(&address).unwrap_err()));
    }
    for address in [
        "postgres://twzrd:hunter2@127.0.0.1:1/db",
        "postgres://twzrd:hunter2@127.0.0.1:notaport/db",
        "postgres://twzrd:hunter2@no-such-host.invalid/db",
        "postgresql://twzrd:hunter2@[::bad/db?sslmode=what",
    ] {
        let url = StoreUrl::parse(address).unwrap();
        said.push(format!("{url:?}"));
        let error = Store::connect(&url, Groups::default(), 1, HASTE)
            .await
            .unwrap_err();
        said.push(format!("{error} {error:?}"));
    }
    for text in said {
        assert!(!text.contains(secret), "{text}");
    }
    let sqlite = StoreUrl::parse("sqlite:///data/twzrd.db").unwrap();
    assert_eq!(sqlite, StoreUrl::Sqlite("/data/twzrd.db".into()));
    assert_eq!(format!("{sqlite:?}"), "sqlite:/data/twzrd.db");
}
