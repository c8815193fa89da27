//! What the listener must know though the rest of the store does not yet, or no longer.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

/// Every publication of ours by its place on chain, also where the root is not built yet: a store
/// that is made anew is behind the chain. The channel is empty where the instruction names none.
const PUBLICATIONS: &str = "CREATE TABLE chain_publications (
         tx_signature TEXT NOT NULL,
         instruction bigint NOT NULL,
         epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         root TEXT NOT NULL,
         slot bigint NOT NULL,
         PRIMARY KEY (tx_signature, instruction))";

/// At most one row: the slots of which every transaction of the program is recorded.
const KNOWN: &str = "CREATE TABLE chain_known (
         id integer NOT NULL PRIMARY KEY CHECK (id = 1),
         from_slot bigint NOT NULL,
         to_slot bigint NOT NULL)";

const INDEX: &str =
    "CREATE INDEX chain_publications_of_epoch ON chain_publications (epoch, channel)";

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000003_chain"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        // Text is compared by its bytes.
        let (text, tail) = match manager.get_database_backend() {
            DbBackend::Postgres => ("text COLLATE \"C\"", ""),
            _ => ("text", " WITHOUT ROWID"),
        };
        let publications = PUBLICATIONS.replace("TEXT", text) + tail;
        for sql in [&publications, KNOWN, INDEX] {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for name in ["chain_publications", "chain_known"] {
            db.execute_unprepared(&format!("DROP TABLE {name}")).await?;
        }
        Ok(())
    }
}
