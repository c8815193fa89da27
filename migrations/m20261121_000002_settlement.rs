//! The tables of settlement: where each root stands, what was signed, and what the chain tells.
//!
//! Columns that the deployed system had are in Unix seconds; added ones say their unit. Numbers
//! that others choose and that may pass what a bigint holds (an epoch's number on chain, an
//! amount) are decimal text.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

/// What `roots` gains. `TEXT` is text that is compared by its bytes.
///
/// target and chain_epoch are those of the last transaction. look_again_ms is NULL where no time
/// brings the root back. superseded_by is the number on chain that stands in its slot.
const ROOTS: &[(&str, &str)] = &[
    ("target", "TEXT"),
    ("chain_epoch", "TEXT"),
    ("reason_code", "TEXT"),
    ("reason", "TEXT"),
    ("released", "integer NOT NULL DEFAULT 0"),
    ("look_again_ms", "bigint"),
    ("tx_signature", "TEXT"),
    ("settled_at_ms", "bigint"),
    ("settled_slot", "bigint"),
    ("superseded_by", "TEXT"),
];

/// A table: its name, its columns and constraints, and whether it is kept in its primary key
/// alone.
struct Table(&'static str, &'static str, bool);

/// In the definitions, `ID` is a number that the database gives out.
const TABLES: &[Table] = &[
    // A row for each root and transaction. tx_signature is NULL where the root was found on chain,
    // fee_lamports that of the whole transaction.
    Table(
        "settlement_log",
        "id ID,
         root_id bigint NOT NULL REFERENCES roots (id),
         tx_signature TEXT,
         settled_at bigint,
         status TEXT NOT NULL,
         error_message TEXT,
         target TEXT NOT NULL,
         signed_at_ms bigint,
         slot bigint,
         last_valid_block_height bigint,
         fee_lamports bigint,
         UNIQUE (root_id, tx_signature)",
        false,
    ),
    // bytes are hexadecimal. The numbers are given out in the order of signing.
    Table(
        "settlement_transaction",
        "id ID,
         signature TEXT NOT NULL UNIQUE,
         bytes TEXT NOT NULL,
         last_valid_block_height bigint NOT NULL,
         fee_lamports bigint NOT NULL,
         finalized_slot bigint,
         signed_at_ms bigint NOT NULL",
        false,
    ),
    // A root as it went into a transaction.
    Table(
        "settlement_instruction",
        "signature TEXT NOT NULL REFERENCES settlement_transaction (signature),
         position bigint NOT NULL,
         root_id bigint NOT NULL REFERENCES roots (id),
         chain_epoch TEXT NOT NULL,
         root TEXT NOT NULL,
         count bigint NOT NULL,
         PRIMARY KEY (signature, position)",
        true,
    ),
    // The channel is empty where the instruction names none, and epoch NULL where none has the
    // number chain_epoch. user_pubkey is base58.
    Table(
        "claims",
        "id ID,
         channel TEXT NOT NULL,
         user_pubkey TEXT NOT NULL,
         slot bigint NOT NULL,
         claim_timestamp bigint,
         status TEXT NOT NULL,
         epoch bigint,
         chain_epoch TEXT NOT NULL,
         idx bigint NOT NULL,
         amount TEXT NOT NULL,
         tx_signature TEXT NOT NULL,
         instruction bigint NOT NULL,
         UNIQUE (tx_signature, instruction)",
        false,
    ),
    Table(
        "live_windows",
        "channel TEXT NOT NULL,
         start_ts bigint NOT NULL,
         end_ts bigint,
         PRIMARY KEY (channel, start_ts)",
        true,
    ),
    // At most one row: the last transaction of the program that was recorded.
    Table(
        "chain_mark",
        "id integer NOT NULL PRIMARY KEY CHECK (id = 1),
         slot bigint NOT NULL,
         signature TEXT NOT NULL",
        false,
    ),
];

const INDEXES: &[&str] = &[
    // What is planned, what is in flight, and lists by state.
    "CREATE INDEX roots_status ON roots (status, epoch, channel)",
    "CREATE INDEX roots_held ON roots (look_again_ms) WHERE status = 'held'",
    // How many are held or failed, by reason.
    "CREATE INDEX roots_reason ON roots (status, reason_code, epoch) WHERE reason_code IS NOT NULL",
    // What was found on chain, and whose transaction the listener has not seen.
    "CREATE INDEX settlement_log_found ON settlement_log (root_id) WHERE tx_signature IS NULL",
    // The mean of a channel's earlier epochs.
    "CREATE INDEX sealed_epochs_of_channel ON sealed_epochs (channel, epoch, participants)",
    "CREATE INDEX claims_of_epoch ON claims (epoch, channel)",
];

/// Those of the indexes that are on tables of an earlier migration.
const EARLIER_INDEXES: &[&str] = &[
    "roots_status",
    "roots_held",
    "roots_reason",
    "sealed_epochs_of_channel",
];

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000002_settlement"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = manager.get_database_backend();
        for (column, kind) in ROOTS {
            let kind = kind.replace("TEXT", text(backend));
            let sql = format!("ALTER TABLE roots ADD COLUMN {column} {kind}");
            db.execute_unprepared(&sql).await?;
        }
        for table in TABLES {
            db.execute_unprepared(&table.definition(backend)).await?;
        }
        for index in INDEXES {
            db.execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for name in EARLIER_INDEXES {
            db.execute_unprepared(&format!("DROP INDEX {name}")).await?;
        }
        // What refers to another table goes first.
        for name in ["settlement_log", "settlement_instruction"] {
            db.execute_unprepared(&format!("DROP TABLE {name}")).await?;
        }
        for Table(name, ..) in TABLES {
            let sql = format!("DROP TABLE IF EXISTS {name}");
            db.execute_unprepared(&sql).await?;
        }
        for (column, _) in ROOTS.iter().rev() {
            let sql = format!("ALTER TABLE roots DROP COLUMN {column}");
            db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

const fn text(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "text COLLATE \"C\"",
        _ => "text",
    }
}

impl Table {
    fn definition(&self, backend: DbBackend) -> String {
        let Self(name, columns, in_key) = self;
        let (id, tail) = match backend {
            DbBackend::Postgres => ("bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", ""),
            _ if *in_key => ("", " WITHOUT ROWID"),
            _ => ("integer PRIMARY KEY AUTOINCREMENT", ""),
        };
        let columns = columns.replace(" TEXT", &format!(" {}", text(backend)));
        let columns = columns.replace("id ID", &format!("id {id}"));
        format!("CREATE TABLE {name} ({columns}){tail}")
    }
}
