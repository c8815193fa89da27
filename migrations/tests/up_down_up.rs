//! The migrations on both databases: up, down, and up again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sea_orm_migration::sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
    TransactionTrait,
};
use twzrd_migrations::{MigrateError, Migrator, MigratorTrait, migrate};
use twzrd_testkit::postgres::Postgres;

const POSTGRES_SCHEMA: &str = "SELECT concat_ws(' ', table_name, column_name, data_type, \
        is_nullable, column_default, collation_name) AS line \
    FROM information_schema.columns WHERE table_schema = 'public' \
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
    UNION ALL SELECT concat_ws(' ', conrelid::regclass::text, pg_get_constraintdef(oid)) \
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
    UNION ALL SELECT sequence_name::text FROM information_schema.sequences \
    ORDER BY line";

const SQLITE_SCHEMA: &str = "SELECT concat_ws(' ', type, name, tbl_name, sql) AS line \
    FROM sqlite_schema ORDER BY line";

async fn sqlite(folder: &tempfile::TempDir) -> DatabaseConnection {
    let path = folder.path().join("migrated.db");
    connect(format!("sqlite://{}?mode=rwc", path.display())).await
}

async fn connect(url: String) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn schema(db: &DatabaseConnection) -> Vec<String> {
    let backend = db.get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        POSTGRES_SCHEMA
    } else {
        SQLITE_SCHEMA
    };
    let rows = db
        .query_all_raw(Statement::from_string(backend, sql))
        .await
        .unwrap();
    let line = |row: &sea_orm_migration::sea_orm::QueryResult| row.try_get_by_index(0).unwrap();
    rows.iter().map(line).collect()
}

async fn up_down_up(db: &DatabaseConnection) -> Vec<String> {
    Migrator::up(db, None).await.unwrap();
    let first = schema(db).await;
    Migrator::down(db, None).await.unwrap();
    let below = schema(db).await;
    let left: Vec<_> = below
        .iter()
        .filter(|line| !line.contains("seaql_migrations"))
        .collect();
    // SQLite keeps the table of its own counters.
    let left: Vec<_> = left
        .into_iter()
        .filter(|line| !line.contains("sqlite_sequence"))
        .collect();
    assert_eq!(left, [] as [&String; 0]);
    Migrator::up(db, None).await.unwrap();
    assert_eq!(schema(db).await, first);
    Migrator::up(db, None).await.unwrap();
    assert_eq!(schema(db).await, first);
    first
}

#[tokio::test]
async fn up_down_and_up_again_give_the_same_schema_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let schema = up_down_up(&sqlite(&folder).await).await;
    let tables = schema.iter().filter(|line| line.starts_with("table "));
    // With the tables of the migrations themselves, and of SQLite's counters.
    assert_eq!(tables.count(), 25 + 2, "{schema:#?}");
}

#[tokio::test]
async fn up_down_and_up_again_give_the_same_schema_on_postgres() {
    let database = Postgres::start().unwrap();
    let db = connect(database.url()).await;
    let schema = up_down_up(&db).await;
    let keys = schema.iter().filter(|line| line.contains(" PRIMARY KEY "));
    assert_eq!(keys.count(), 25 + 1, "{schema:#?}");
    // Text that is compared by its bytes is ordered as in SQLite and in the program.
    let other = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' \
        AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'";
    assert_eq!(database.run(other).unwrap(), "0");
}

#[tokio::test]
async fn a_migration_that_is_not_known_is_refused_before_anything_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let db = sqlite(&folder).await;
    let transaction = db.begin().await.unwrap();
    migrate(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let sql = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m2999_later', 0)";
    db.execute_unprepared(sql).await.unwrap();
    let before = schema(&db).await;
    let transaction = db.begin().await.unwrap();
    let error = migrate(&transaction).await.unwrap_err();
    let MigrateError::Newer { found, newest } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (found.as_str(), newest.as_str()),
        ("m2999_later", "m20261121_000004_signed_slot")
    );
    transaction.commit().await.unwrap();
    assert_eq!(schema(&db).await, before);
}

/// Rows of the first migration's tables that the second one alters.
async fn a_settled_and_a_planned_root_outlive_the_second_migration(db: &DatabaseConnection) {
    Migrator::up(db, Some(1)).await.unwrap();
    for sql in [
        "INSERT INTO sealed_epochs (epoch, channel, root, sealed_at, participants, sealed_at_ms) \
         VALUES (7200, 'xqc', 'ab', 10860, 2, 10860123)",
        "INSERT INTO roots (epoch, channel, root, count, finalized_at, status) \
         VALUES (7200, 'forsen', 'cd', 3, 10860, 'settled')",
        "INSERT INTO roots (epoch, channel, root, count, finalized_at, status) \
         VALUES (7200, 'xqc', 'ab', 2, 10860, 'ready_for_settlement')",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    let transaction = db.begin().await.unwrap();
    migrate(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let sql = "SELECT concat_ws(' ', r.id, r.epoch, r.channel, r.root, r.count, r.finalized_at, \
            r.status, r.released, coalesce(r.tx_signature, '-'), coalesce(s.published, -1)) \
        FROM roots r LEFT JOIN sealed_epochs s ON s.channel = r.channel ORDER BY r.id";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    let expected = [
        "1 7200 forsen cd 3 10860 settled 0 - -1",
        "2 7200 xqc ab 2 10860 ready_for_settlement 0 - 0",
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn rows_of_the_first_migration_are_kept_by_the_second_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    a_settled_and_a_planned_root_outlive_the_second_migration(&sqlite(&folder).await).await;
}

#[tokio::test]
async fn rows_of_the_first_migration_are_kept_by_the_second_on_postgres() {
    let database = Postgres::start().unwrap();
    let db = connect(database.url()).await;
    a_settled_and_a_planned_root_outlive_the_second_migration(&db).await;
}
