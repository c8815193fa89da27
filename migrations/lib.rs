//! The schema of twzrd's store, step by step, for SQLite and Postgres.
//!
//! Names of tables and columns are those of the deployed system where it had them. A migration
//! that was released never changes; a later one alters what it made.

mod m20260101_000001_tables;
mod m20261121_000002_settlement;
mod m20261121_000003_chain;
mod m20261121_000004_signed_slot;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::sea_orm::{ConnectionTrait, TransactionTrait};
use sea_orm_migration::{DbErr, MigrationTrait, SchemaManager, seaql_migrations};

/// All migrations, the oldest first.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20260101_000001_tables::Migration),
            Box::new(m20261121_000002_settlement::Migration),
            Box::new(m20261121_000003_chain::Migration),
            Box::new(m20261121_000004_signed_slot::Migration),
        ]
    }
}

/// Why a database was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A later version of the program has been at work in the database.
    #[error(
        "the database's schema has migration {found}, which this program does not know; its newest is {newest}. Use the version of the program that wrote it, or a later one"
    )]
    Newer {
        /// The first migration that is not known.
        found: String,
        /// The newest that is known.
        newest: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Brings a database up to date: all pending migrations, or none.
///
/// Give a transaction that excludes other writers of the schema. Two processes may then start at
/// the same time: the second finds nothing left to do.
///
/// # Errors
/// Where the schema is newer than this program, and where the database fails.
pub async fn migrate<C>(transaction: &C) -> Result<(), MigrateError>
where
    C: ConnectionTrait + TransactionTrait,
    for<'c> &'c C: sea_orm_migration::IntoSchemaManagerConnection<'c>,
{
    refuse_newer(transaction).await?;
    Migrator::up(transaction, None).await?;
    Ok(())
}

async fn refuse_newer<C>(connection: &C) -> Result<(), MigrateError>
where
    C: ConnectionTrait,
    for<'c> &'c C: sea_orm_migration::IntoSchemaManagerConnection<'c>,
{
    use sea_orm_migration::sea_orm::EntityTrait;
    let manager = SchemaManager::new(connection);
    if !manager.has_table("seaql_migrations").await? {
        return Ok(());
    }
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    let applied = seaql_migrations::Entity::find().all(connection).await?;
    let mut applied: Vec<String> = applied.into_iter().map(|row| row.version).collect();
    applied.sort_unstable();
    match applied.into_iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(found) => Err(MigrateError::Newer {
            found,
            newest: known.last().cloned().unwrap_or_default(),
        }),
    }
}
