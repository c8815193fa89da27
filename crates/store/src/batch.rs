//! Commits batches: rows, controls and the journal's offset in one transaction.

use async_trait::async_trait;
use compact_str::CompactString;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, QueryOrder,
    QuerySelect, Set,
};
use twzrd_domain::batch::{Batch, Position};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::ports::{BatchStore, Committed, Projection, StoreError};
use twzrd_domain::record::Seq;
use twzrd_domain::weight::Arithmetic;

use crate::connect::Store;
use crate::entity::{epochs, journal_offset, suppression_list};
use crate::error::{Doing, refused};
use crate::sql::{HEX, Type, among, column, execute, int, list, parsed, query, unsigned};

const DOING: &str = "committing a batch";

#[async_trait]
impl BatchStore for Store {
    async fn projection(&self) -> Result<Projection, StoreError> {
        const DOING: &str = "reading where the store stands";
        let db = self.reader();
        let offset = offset_row(db, false, DOING).await?;
        let sealed = epochs::Entity::find()
            .select_only()
            .column(epochs::Column::Epoch);
        let sealed = sealed.order_by_asc(epochs::Column::Epoch);
        let sealed: Vec<i64> = sealed.into_tuple().all(db).await.doing(DOING)?;
        let people = suppression_list::Entity::find().select_only();
        let people = people.column(suppression_list::Column::UserHash);
        let people = people.order_by_asc(suppression_list::Column::UserHash);
        let people: Vec<String> = people.into_tuple().all(db).await.doing(DOING)?;
        Ok(Projection {
            position: position_of(&offset)?,
            arithmetic: arithmetic_of(&offset)?,
            journal: offset.journal.map(CompactString::from),
            sealed: sealed.into_iter().map(epoch).collect::<Result<_, _>>()?,
            suppressed: people
                .iter()
                .map(|hash| parsed(hash, "suppression_list.user_hash", HEX))
                .collect::<Result<_, _>>()?,
        })
    }

    async fn offset(&self) -> Result<Seq, StoreError> {
        const DOING: &str = "reading the store's offset";
        let offset = offset_row(self.reader(), false, DOING).await?;
        unsigned(offset.seq, "journal_offset.seq")
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let transaction = self.begin(DOING).await?;
        let offset = offset_row(&transaction, true, DOING).await?;
        if let Some(found) = offset.journal.as_ref().filter(|id| **id != batch.journal) {
            return Err(StoreError::OtherJournal {
                expected: batch.journal.clone(),
                found: found.into(),
            });
        }
        let stands = unsigned(offset.seq, "journal_offset.seq")?;
        if batch.to.seq <= stands {
            return Ok(Committed::Known);
        }
        if batch.from != stands {
            let begins = batch.from;
            return Err(StoreError::OutOfStep { stands, begins });
        }
        refuse_rows_of_sealed_epochs(&transaction, batch).await?;
        refuse_before_frozen(&transaction, batch).await?;
        self.write_rows(&transaction, batch).await?;
        self.apply_controls(&transaction, &batch.controls).await?;
        move_offset(&transaction, batch).await?;
        transaction.commit().await.doing(DOING)?;
        Ok(Committed::Written)
    }

    async fn is_freeze_pending(&self) -> Result<bool, StoreError> {
        is_freeze_pending(
            self.reader(),
            "asking for sealed epochs that are not frozen",
        )
        .await
    }
}

/// The one row of journal_offset; locked until the transaction's end where `lock` says so, so
/// that of two processes on one database the second sees what the first has written.
async fn offset_row<C: ConnectionTrait>(
    db: &C,
    lock: bool,
    doing: &'static str,
) -> Result<journal_offset::Model, StoreError> {
    let mut find = journal_offset::Entity::find_by_id(1);
    if lock && db.get_database_backend() == DbBackend::Postgres {
        find = find.lock_exclusive();
    }
    let row = find.one(db).await.doing(doing)?;
    row.ok_or_else(|| StoreError::Corrupt {
        place: "journal_offset",
        found: "no row".to_owned(),
        expected: "one row",
    })
}

async fn move_offset<C: ConnectionTrait>(db: &C, batch: &Batch) -> Result<(), StoreError> {
    // Not from the row that was read: a settings record of this batch has changed it since.
    let moved = journal_offset::ActiveModel {
        id: Set(1),
        journal: Set(Some(batch.journal.to_string())),
        seq: Set(int(batch.to.seq, "journal_offset.seq")?),
        segment: Set(int(batch.to.segment, "journal_offset.segment")?),
        byte: Set(int(batch.to.byte, "journal_offset.byte")?),
        ..Default::default()
    };
    let moved = moved.into_active_model().update(db).await;
    moved.doing(DOING).map(drop)
}

fn position_of(row: &journal_offset::Model) -> Result<Position, StoreError> {
    Ok(Position {
        seq: unsigned(row.seq, "journal_offset.seq")?,
        segment: unsigned(row.segment, "journal_offset.segment")?,
        byte: unsigned(row.byte, "journal_offset.byte")?,
    })
}

fn arithmetic_of(row: &journal_offset::Model) -> Result<Option<Arithmetic>, StoreError> {
    let parse = |text: &String| {
        serde_json::from_str(text).map_err(|_| StoreError::Corrupt {
            place: "journal_offset.arithmetic",
            found: text.chars().take(80).collect(),
            expected: "the settings that change arithmetic, as JSON",
        })
    };
    row.arithmetic.as_ref().map(parse).transpose()
}

/// The arithmetic in force; none before the first settings record.
pub(crate) async fn arithmetic<C: ConnectionTrait>(
    db: &C,
    doing: &'static str,
) -> Result<Option<Arithmetic>, StoreError> {
    arithmetic_of(&offset_row(db, false, doing).await?)
}

pub(crate) fn epoch(stored: i64) -> Result<Epoch, StoreError> {
    unsigned(stored, "an epoch").map(Epoch)
}

/// What is frozen must never change: a row of a sealed epoch is a bug of the caller.
async fn refuse_rows_of_sealed_epochs<C: ConnectionTrait>(
    db: &C,
    batch: &Batch,
) -> Result<(), StoreError> {
    let mut epochs: Vec<Epoch> = batch.participants.iter().map(|row| row.epoch).collect();
    epochs.extend(batch.signals.iter().map(|row| row.epoch));
    epochs.sort_unstable();
    epochs.dedup();
    let stored = epochs.iter().map(|epoch| int(epoch.0, "epochs.epoch"));
    let stored: Vec<i64> = stored.collect::<Result<_, _>>()?;
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT epoch FROM epochs WHERE {} ORDER BY epoch LIMIT 1",
        among(backend, "epoch", 1)
    );
    let sealed = query(db, sql, [list(backend, Type::Int, stored)], DOING).await?;
    match sealed.first() {
        None => Ok(()),
        Some(row) => {
            let epoch: i64 = column(row, 0, DOING)?;
            Err(refused(DOING, format!("rows of sealed epoch {epoch}")))
        }
    }
}

/// An epoch that is sealed must be frozen before what freezing reads may change.
async fn refuse_before_frozen<C: ConnectionTrait>(db: &C, batch: &Batch) -> Result<(), StoreError> {
    if batch.needs_frozen() && is_freeze_pending(db, DOING).await? {
        let why = "a control changes what freezing reads, and a sealed epoch is not frozen yet";
        return Err(refused(DOING, why));
    }
    Ok(())
}

async fn is_freeze_pending<C: ConnectionTrait>(
    db: &C,
    doing: &'static str,
) -> Result<bool, StoreError> {
    let sql = "SELECT epoch FROM epochs WHERE frozen_at IS NULL LIMIT 1";
    Ok(!query(db, sql, [], doing).await?.is_empty())
}

/// Writes the settings in force.
pub(crate) async fn write_arithmetic<C: ConnectionTrait>(
    db: &C,
    arithmetic: &Arithmetic,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(arithmetic).map_err(|source| StoreError::Permanent {
        doing: DOING,
        source: Box::new(source),
    })?;
    let sql = "UPDATE journal_offset SET arithmetic = $1 WHERE id = 1";
    execute(db, sql, [text.into()], DOING).await.map(drop)
}
