//! The slot in which a transaction was signed, by which a node that has forgotten is known.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000004_signed_slot"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // NULL where it is not known.
        let sql = "ALTER TABLE settlement_transaction ADD COLUMN signed_slot bigint";
        let db = manager.get_connection();
        db.execute_unprepared(sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE settlement_transaction DROP COLUMN signed_slot";
        let db = manager.get_connection();
        db.execute_unprepared(sql).await.map(drop)
    }
}
