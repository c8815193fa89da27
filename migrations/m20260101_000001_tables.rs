//! The tables of the store.
//!
//! Epochs and the time columns that the deployed system had are in Unix seconds; added columns say
//! their unit. Hashes, roots and wallets are 64 hexadecimal characters without 0x. Text is compared
//! by its bytes in both databases, so that both give rows in the same order.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager};

/// A table: its name, its columns and constraints, and whether it is kept in its primary key
/// alone. That saves SQLite a second tree where the key is most of the row.
struct Table(&'static str, &'static str, bool);

/// In the definitions, `TEXT` is text that is compared by its bytes, and `ID` a number that the
/// database gives out.
const TABLES: &[Table] = &[
    Table(
        "channel_participation",
        "epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         user_hash TEXT NOT NULL,
         first_seen bigint NOT NULL,
         token_group TEXT NOT NULL DEFAULT 'MILO',
         category TEXT NOT NULL DEFAULT 'default',
         PRIMARY KEY (epoch, channel, user_hash)",
        true,
    ),
    // Events come ordered by time, so that a batch appends to a few pages, and the people who
    // wrote in a minute are one range.
    Table(
        "user_signals",
        "epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         user_hash TEXT NOT NULL,
         signal_type TEXT NOT NULL,
         value double precision NOT NULL,
         timestamp bigint NOT NULL,
         PRIMARY KEY (epoch, channel, timestamp, signal_type, user_hash)",
        true,
    ),
    Table(
        "user_mapping",
        "user_hash TEXT NOT NULL PRIMARY KEY,
         username TEXT NOT NULL,
         first_seen bigint NOT NULL",
        true,
    ),
    Table(
        "user_alias",
        "user_hash TEXT NOT NULL PRIMARY KEY,
         id_hash TEXT NOT NULL,
         first_seen bigint NOT NULL",
        true,
    ),
    Table(
        "twitch_minute_stats",
        "minute_ts bigint NOT NULL,
         channel TEXT NOT NULL,
         messages bigint NOT NULL,
         gifts bigint NOT NULL,
         new_subs bigint NOT NULL,
         bits bigint NOT NULL,
         unique_chatters bigint NOT NULL,
         PRIMARY KEY (minute_ts, channel)",
        true,
    ),
    // root is NULL from freezing until the trees are built.
    Table(
        "sealed_epochs",
        "epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         root TEXT,
         sealed_at bigint NOT NULL,
         published integer NOT NULL DEFAULT 0,
         token_group TEXT NOT NULL DEFAULT 'MILO',
         category TEXT NOT NULL DEFAULT 'default',
         published_at bigint,
         participants bigint NOT NULL,
         sealed_at_ms bigint NOT NULL,
         PRIMARY KEY (epoch, channel, token_group, category)",
        false,
    ),
    // amount is decimal text: it may pass what a bigint holds.
    Table(
        "sealed_participants",
        "epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         idx bigint NOT NULL,
         user_hash TEXT NOT NULL,
         username TEXT,
         token_group TEXT NOT NULL DEFAULT 'MILO',
         category TEXT NOT NULL DEFAULT 'default',
         weight bigint NOT NULL,
         amount TEXT NOT NULL,
         claimer TEXT NOT NULL,
         claim_leaf TEXT NOT NULL,
         PRIMARY KEY (epoch, channel, idx)",
        true,
    ),
    Table(
        "l2_tree_cache",
        "epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         root TEXT NOT NULL,
         levels_json TEXT NOT NULL,
         participant_count bigint NOT NULL,
         built_at bigint NOT NULL,
         PRIMARY KEY (epoch, channel)",
        false,
    ),
    Table(
        "roots",
        "id ID,
         epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         root TEXT NOT NULL,
         count bigint NOT NULL,
         finalized_at bigint NOT NULL,
         status TEXT NOT NULL,
         UNIQUE (epoch, channel)",
        false,
    ),
    // finalized_at is NULL until every channel has its trees, frozen_at until every channel is
    // frozen. seal_seq is the number of the seal record, sealed_at its time in milliseconds, and
    // frozen_at that time too.
    Table(
        "epochs",
        "epoch bigint NOT NULL PRIMARY KEY,
         start_slot bigint,
         end_slot bigint,
         finalized_at bigint,
         seal_seq bigint NOT NULL,
         sealed_at bigint NOT NULL,
         frozen_at bigint",
        false,
    ),
    Table(
        "suppression_list",
        "user_hash TEXT NOT NULL PRIMARY KEY,
         username TEXT,
         requested_at bigint NOT NULL,
         reason TEXT,
         ip_hash TEXT,
         created_at bigint NOT NULL",
        true,
    ),
    Table(
        "suppression_log",
        "id ID,
         user_hash TEXT NOT NULL,
         username TEXT,
         action TEXT NOT NULL,
         requested_at bigint NOT NULL,
         ip_hash TEXT,
         created_at bigint NOT NULL",
        false,
    ),
    Table(
        "user_wallet_bindings",
        "user_hash TEXT NOT NULL,
         username TEXT,
         wallet TEXT NOT NULL,
         verified boolean NOT NULL,
         source TEXT NOT NULL,
         created_at bigint NOT NULL,
         updated_at bigint NOT NULL,
         PRIMARY KEY (user_hash, wallet)",
        true,
    ),
    // One row. segment and byte say where the next record begins: a hint. arithmetic is the last
    // settings record as JSON.
    Table(
        "journal_offset",
        "id integer NOT NULL PRIMARY KEY CHECK (id = 1),
         journal TEXT,
         seq bigint NOT NULL,
         segment bigint NOT NULL,
         byte bigint NOT NULL,
         arithmetic TEXT",
        false,
    ),
    Table(
        "ingest_ledger",
        "epoch bigint NOT NULL,
         channel TEXT NOT NULL,
         received bigint NOT NULL,
         counted bigint NOT NULL,
         suppressed bigint NOT NULL,
         mirrored bigint NOT NULL,
         duplicate bigint NOT NULL,
         late bigint NOT NULL,
         anonymous bigint NOT NULL,
         invalid bigint NOT NULL,
         other bigint NOT NULL,
         PRIMARY KEY (epoch, channel)",
        true,
    ),
    Table(
        "coverage_gap",
        "channel TEXT NOT NULL,
         from_ms bigint NOT NULL,
         until_ms bigint NOT NULL,
         reason TEXT NOT NULL,
         PRIMARY KEY (channel, from_ms)",
        true,
    ),
    // created_at is in Unix milliseconds.
    Table(
        "quarantine",
        "id ID,
         channel TEXT NOT NULL,
         line TEXT NOT NULL,
         error TEXT NOT NULL,
         crashes bigint NOT NULL,
         created_at bigint NOT NULL",
        false,
    ),
];

const INDEXES: &[&str] = &[
    "CREATE UNIQUE INDEX sealed_epochs_channel ON sealed_epochs (epoch, channel)",
    "CREATE INDEX sealed_epochs_unbuilt ON sealed_epochs (epoch, channel) WHERE root IS NULL",
    "CREATE INDEX user_alias_id_hash ON user_alias (id_hash)",
    // An opt-out takes the name out of every sealed epoch.
    "CREATE INDEX sealed_participants_named ON sealed_participants (user_hash) WHERE username IS NOT NULL",
];

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20260101_000001_tables"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = manager.get_database_backend();
        for table in TABLES {
            db.execute_unprepared(&table.definition(backend)).await?;
        }
        for index in INDEXES {
            db.execute_unprepared(index).await?;
        }
        db.execute_unprepared(
            "INSERT INTO journal_offset (id, seq, segment, byte) VALUES (1, 0, 0, 0)",
        )
        .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for Table(name, ..) in TABLES.iter().rev() {
            db.execute_unprepared(&format!("DROP TABLE {name}")).await?;
        }
        Ok(())
    }
}

impl Table {
    fn definition(&self, backend: DbBackend) -> String {
        let Self(name, columns, in_key) = self;
        let (text, id, tail) = match backend {
            DbBackend::Postgres => (
                "text COLLATE \"C\"",
                "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
                "",
            ),
            _ if *in_key => ("text", "", " WITHOUT ROWID"),
            _ => ("text", "integer PRIMARY KEY AUTOINCREMENT", ""),
        };
        let columns = columns.replace(" TEXT", &format!(" {text}"));
        let columns = columns.replace("id ID", &format!("id {id}"));
        format!("CREATE TABLE {name} ({columns}){tail}")
    }
}
