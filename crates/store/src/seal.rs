//! What the epoch sealer asks for, and how it freezes participants in their order.

use std::collections::HashSet;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{BatchStore, SealStore, StoreError};
use twzrd_domain::record::Seq;
use twzrd_domain::seal::{FrozenChannel, Participant};
use twzrd_domain::weight::Arithmetic;

use crate::batch::{arithmetic, epoch};
use crate::connect::Store;
use crate::error::{Doing, refused};
use crate::sql::Type::{Int, Text, TextOrNull};
use crate::sql::{Insert, NAME, among, column, execute, given, int, list, parsed, query, unsigned};

const FREEZING: &str = "freezing channels";

const SEALED_EPOCHS: Insert<7> = Insert {
    table: "sealed_epochs",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("sealed_at", Int),
        ("token_group", Text),
        ("category", Text),
        ("participants", Int),
        ("sealed_at_ms", Int),
    ],
    conflict: "",
    doing: FREEZING,
};

const SEALED_PARTICIPANTS: Insert<11> = Insert {
    table: "sealed_participants",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("idx", Int),
        ("user_hash", Text),
        ("username", TextOrNull),
        ("token_group", Text),
        ("category", Text),
        ("weight", Int),
        ("amount", Text),
        ("claimer", Text),
        ("claim_leaf", Text),
    ],
    conflict: "",
    doing: FREEZING,
};

#[async_trait]
impl SealStore for Store {
    async fn offset(&self) -> Result<Seq, StoreError> {
        BatchStore::offset(self).await
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        const DOING: &str = "asking for epochs that are not sealed";
        // One step of the key for each epoch: the ledger has a row for each channel too.
        let sql = "WITH RECURSIVE step(epoch) AS ( \
                SELECT min(epoch) FROM ingest_ledger \
                UNION ALL \
                SELECT (SELECT min(l.epoch) FROM ingest_ledger l WHERE l.epoch > step.epoch) \
                FROM step WHERE step.epoch IS NOT NULL) \
            SELECT epoch FROM step \
            WHERE epoch IS NOT NULL AND epoch NOT IN (SELECT epoch FROM epochs) \
            AND EXISTS (SELECT 1 FROM ingest_ledger l \
                        WHERE l.epoch = step.epoch AND l.counted > 0) \
            ORDER BY epoch";
        let rows = query(self.reader(), sql, [], DOING).await?;
        rows.iter()
            .map(|row| epoch(column(row, 0, DOING)?))
            .collect()
    }

    async fn unfrozen(&self) -> Result<Vec<(Epoch, UnixMs)>, StoreError> {
        const DOING: &str = "asking for epochs that are not frozen";
        let sql = "SELECT epoch, sealed_at FROM epochs WHERE frozen_at IS NULL ORDER BY epoch";
        let rows = query(self.reader(), sql, [], DOING).await?;
        let pair = |row: &QueryResult| {
            let sealed_at = unsigned(column(row, 1, DOING)?, "epochs.sealed_at")?;
            Ok((epoch(column(row, 0, DOING)?)?, sealed_at))
        };
        rows.iter().map(pair).collect()
    }

    async fn arithmetic(&self) -> Result<Option<Arithmetic>, StoreError> {
        arithmetic(self.reader(), "reading the arithmetic in force").await
    }

    async fn channels_to_freeze(&self, epoch: Epoch) -> Result<Vec<(Channel, u64)>, StoreError> {
        const DOING: &str = "asking for channels to freeze";
        let sql = "SELECT channel, count(*) FROM channel_participation p WHERE epoch = $1 \
            AND NOT EXISTS (SELECT 1 FROM sealed_epochs s \
                            WHERE s.epoch = p.epoch AND s.channel = p.channel) \
            GROUP BY channel ORDER BY channel";
        let epoch = int(epoch.0, "channel_participation.epoch")?;
        let rows = query(self.reader(), sql, [epoch.into()], DOING).await?;
        let pair = |row: &QueryResult| {
            let name: String = column(row, 0, DOING)?;
            let people = unsigned(column(row, 1, DOING)?, "a count of participants")?;
            Ok((
                parsed(&name, "channel_participation.channel", NAME)?,
                people,
            ))
        };
        rows.iter().map(pair).collect()
    }

    async fn participants(
        &self,
        epoch: Epoch,
        channels: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError> {
        self.read_participants(epoch, channels).await
    }

    async fn freeze(&self, channels: &[FrozenChannel]) -> Result<(), StoreError> {
        let transaction = self.begin(FREEZING).await?;
        let mut epochs: Vec<Epoch> = channels.iter().map(|channel| channel.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        lock_sealed(&transaction, &epochs, FREEZING).await?;
        let known = frozen_among(&transaction, channels).await?;
        let mut new: Vec<&FrozenChannel> = Vec::with_capacity(channels.len());
        let mut seen = HashSet::new();
        for channel in channels {
            let key = (channel.epoch, channel.channel.as_str());
            if !known.contains(&(channel.epoch, channel.channel.to_string())) && seen.insert(key) {
                new.push(channel);
            }
        }
        new.sort_by(|a, b| (a.epoch, &a.channel).cmp(&(b.epoch, &b.channel)));
        SEALED_EPOCHS
            .run(&transaction, new.iter().map(|frozen| sealed_epoch(frozen)))
            .await?;
        let people = new.iter().flat_map(|frozen| {
            let numbered = (0i64..).zip(&frozen.participants);
            numbered.map(|(index, _)| sealed_participant(frozen, index))
        });
        SEALED_PARTICIPANTS.run(&transaction, people).await?;
        transaction.commit().await.doing(FREEZING)
    }

    async fn finish_freeze(&self, epoch: Epoch, at: UnixMs) -> Result<(), StoreError> {
        const DOING: &str = "finishing the freezing of an epoch";
        let transaction = self.begin(DOING).await?;
        lock_sealed(&transaction, &[epoch], DOING).await?;
        let stored = int(epoch.0, "epochs.epoch")?;
        let left = "WITH RECURSIVE step(channel) AS ( \
                SELECT min(channel) FROM channel_participation WHERE epoch = $1 \
                UNION ALL \
                SELECT (SELECT min(p.channel) FROM channel_participation p \
                        WHERE p.epoch = $1 AND p.channel > step.channel) \
                FROM step WHERE step.channel IS NOT NULL) \
            SELECT channel FROM step WHERE channel IS NOT NULL AND NOT EXISTS ( \
                SELECT 1 FROM sealed_epochs s \
                WHERE s.epoch = $1 AND s.channel = step.channel) LIMIT 1";
        let left = query(&transaction, left, [stored.into()], DOING).await?;
        if let Some(row) = left.first() {
            let channel: String = column(row, 0, DOING)?;
            return Err(refused(
                DOING,
                format!("{channel} is not frozen in {epoch}"),
            ));
        }
        let sql = "UPDATE epochs SET frozen_at = $2 WHERE epoch = $1 AND frozen_at IS NULL";
        let at = int(at, "epochs.frozen_at")?;
        execute(&transaction, sql, [stored.into(), at.into()], DOING).await?;
        finalize(&transaction, &[epoch], DOING).await?;
        transaction.commit().await.doing(DOING)
    }
}

fn sealed_epoch(frozen: &FrozenChannel) -> Result<[Value; 7], StoreError> {
    Ok([
        int(frozen.epoch.0, "sealed_epochs.epoch")?.into(),
        frozen.channel.as_str().into(),
        int(frozen.sealed_at / 1000, "sealed_epochs.sealed_at")?.into(),
        frozen.group.token_group.as_str().into(),
        frozen.group.category.as_str().into(),
        int(
            frozen.participants.len() as u64,
            "sealed_epochs.participants",
        )?
        .into(),
        int(frozen.sealed_at, "sealed_epochs.sealed_at_ms")?.into(),
    ])
}

fn sealed_participant(frozen: &FrozenChannel, index: i64) -> Result<[Value; 11], StoreError> {
    let place = usize::try_from(index).unwrap_or(usize::MAX);
    let person = &frozen.participants[place];
    Ok([
        int(frozen.epoch.0, "sealed_participants.epoch")?.into(),
        frozen.channel.as_str().into(),
        index.into(),
        person.user.to_string().into(),
        person.login.as_ref().map(|login| login.to_string()).into(),
        frozen.group.token_group.as_str().into(),
        frozen.group.category.as_str().into(),
        int(person.weight.0, "sealed_participants.weight")?.into(),
        person.amount.to_string().into(),
        person.claimer.to_string().into(),
        hex(&person.claim_leaf).into(),
    ])
}

pub(crate) fn hex(node: &[u8; 32]) -> String {
    twzrd_domain::identity::Node(*node).to_string()
}

/// Takes the rows of these epochs until the transaction ends, so that freezing and building the
/// trees of an epoch see each other's work; refuses where one of them is not sealed.
pub(crate) async fn lock_sealed<C: ConnectionTrait>(
    db: &C,
    epochs: &[Epoch],
    doing: &'static str,
) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let lock = if backend == DbBackend::Postgres {
        "FOR UPDATE"
    } else {
        ""
    };
    let sql = format!(
        "SELECT epoch FROM epochs WHERE {} ORDER BY epoch {lock}",
        among(backend, "epoch", 1)
    );
    let rows = query(db, sql, [epoch_list(backend, epochs)?], doing).await?;
    let sealed = rows.iter().map(|row| epoch(column(row, 0, doing)?));
    let sealed: HashSet<Epoch> = sealed.collect::<Result<_, _>>()?;
    match epochs.iter().find(|epoch| !sealed.contains(epoch)) {
        Some(epoch) => Err(refused(doing, format!("epoch {epoch} is not sealed"))),
        None => Ok(()),
    }
}

/// Marks those of these epochs of which every channel is frozen and has its trees.
pub(crate) async fn finalize<C: ConnectionTrait>(
    db: &C,
    epochs: &[Epoch],
    doing: &'static str,
) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "UPDATE epochs SET finalized_at = frozen_at / 1000 \
         WHERE {} AND frozen_at IS NOT NULL AND finalized_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM sealed_epochs s \
                         WHERE s.epoch = epochs.epoch AND s.root IS NULL)",
        among(backend, "epoch", 1)
    );
    let epochs = epoch_list(backend, epochs)?;
    execute(db, sql, [epochs], doing).await.map(drop)
}

fn epoch_list(backend: DbBackend, epochs: &[Epoch]) -> Result<Value, StoreError> {
    let stored = epochs.iter().map(|epoch| int(epoch.0, "epochs.epoch"));
    let stored: Vec<i64> = stored.collect::<Result<_, _>>()?;
    Ok(list(backend, Int, stored))
}

/// Those of these channels that are frozen already.
async fn frozen_among<C: ConnectionTrait>(
    db: &C,
    channels: &[FrozenChannel],
) -> Result<HashSet<(Epoch, String)>, StoreError> {
    let keys = channels.iter().map(|frozen| {
        let epoch = int(frozen.epoch.0, "sealed_epochs.epoch")?;
        Ok([epoch.into(), frozen.channel.as_str().into()])
    });
    let keys: Vec<[Value; 2]> = keys.collect::<Result<_, StoreError>>()?;
    let columns = [("epoch", Int), ("channel", Text)];
    let (given, values) = given(db.get_database_backend(), &columns, keys, 1);
    let sql = format!(
        "SELECT s.epoch, s.channel FROM {given} CROSS JOIN sealed_epochs s \
         WHERE s.epoch = given.epoch AND s.channel = given.channel"
    );
    let rows = query(db, sql, values, FREEZING).await?;
    let key =
        |row: &QueryResult| Ok((epoch(column(row, 0, FREEZING)?)?, column(row, 1, FREEZING)?));
    rows.iter().map(key).collect()
}
