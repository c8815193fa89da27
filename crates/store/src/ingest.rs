//! What the intake reads and writes: latest gaps, and lines that crashed their collector.

use async_trait::async_trait;
use sea_orm::{EntityTrait, Set};
use twzrd_domain::ports::{BatchStore, IngestStore, LastGap, Quarantined, StoreError};
use twzrd_domain::record::Seq;

use crate::connect::Store;
use crate::entity::quarantine;
use crate::error::Doing;
use crate::sql::{NAME, column, int, parsed, query, unsigned};

#[async_trait]
impl IngestStore for Store {
    async fn offset(&self) -> Result<Seq, StoreError> {
        BatchStore::offset(self).await
    }

    async fn last_gaps(&self) -> Result<Vec<LastGap>, StoreError> {
        const DOING: &str = "reading the latest gaps";
        let sql = "SELECT g.channel, g.from_ms, g.until_ms, g.reason FROM coverage_gap g JOIN \
                   (SELECT channel, MAX(from_ms) AS from_ms FROM coverage_gap GROUP BY channel) l \
                   ON g.channel = l.channel AND g.from_ms = l.from_ms ORDER BY g.channel";
        let rows = query(self.reader(), sql, [], DOING).await?;
        rows.iter()
            .map(|row| {
                let from = unsigned(column(row, 1, DOING)?, "coverage_gap.from_ms")?;
                let until = unsigned(column(row, 2, DOING)?, "coverage_gap.until_ms")?;
                let channel: String = column(row, 0, DOING)?;
                Ok(LastGap {
                    channel: parsed(&channel, "coverage_gap.channel", NAME)?,
                    from,
                    is_open: until <= from,
                    reason: column(row, 3, DOING)?,
                })
            })
            .collect()
    }

    async fn quarantine(&self, quarantined: &Quarantined) -> Result<(), StoreError> {
        const DOING: &str = "setting a line aside";
        // The null character is not text to Postgres, and no line of IRC holds one.
        let text = |text: &str| text.replace('\0', "\u{fffd}");
        let row = quarantine::ActiveModel {
            channel: Set(quarantined.channel.to_string()),
            line: Set(text(&quarantined.line)),
            error: Set(text(&quarantined.error)),
            crashes: Set(int(quarantined.crashes, "quarantine.crashes")?),
            created_at: Set(int(quarantined.at, "quarantine.created_at")?),
            ..Default::default()
        };
        let transaction = self.begin(DOING).await?;
        let insert = quarantine::Entity::insert(row);
        insert.exec(&transaction).await.doing(DOING)?;
        transaction.commit().await.doing(DOING)
    }
}
