//! What may be published next, with all that the policy asks about, in one query.

use sea_orm::{DbBackend, QueryResult, Value};
use twzrd_domain::chain::{DUE_OF_A_CHANNEL, LOOK_AGAIN_WITHIN_MS};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::{Candidate, Earlier, Policy};

use super::state::{COLUMNS, HELD, PLANNED, TRANSACTION, publication, root_id};
use crate::batch::{arithmetic, epoch};
use crate::connect::Store;
use crate::sealed::node;
use crate::sql::{NAME, column, int, parsed, query, unsigned};

const DOING: &str = "asking for roots to publish";

impl Store {
    pub(super) async fn read_due(
        &self,
        now: UnixMs,
        limit: u64,
    ) -> Result<Vec<Candidate>, StoreError> {
        // Each kind by an index of its own: what the policy holds back may be most of what is
        // held, and SQLite would walk through all of it.
        let held = match self.backend() {
            DbBackend::Postgres => "roots",
            _ => "roots INDEXED BY roots_held",
        };
        let chosen = format!(
            "SELECT * FROM ( \
                SELECT open.*, row_number() OVER (PARTITION BY channel ORDER BY epoch) AS place \
                FROM (SELECT * FROM roots WHERE status = '{PLANNED}' \
                      UNION ALL \
                      SELECT * FROM {held} \
                      WHERE status = '{HELD}' AND look_again_ms <= $2 \
                      UNION ALL \
                      SELECT * FROM {held} \
                      WHERE status = '{HELD}' AND look_again_ms > $3) AS open) AS placed \
             WHERE place <= {DUE_OF_A_CHANNEL} \
             ORDER BY place, CASE status WHEN '{HELD}' THEN look_again_ms ELSE -1 END, \
                epoch, channel LIMIT $4"
        );
        let stored = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let never = now.saturating_add(LOOK_AGAIN_WITHIN_MS);
        let values = [now, never, limit].map(|number| stored(number).into());
        self.read_candidates(&chosen, &values).await
    }

    pub(super) async fn read_candidate(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<Candidate>, StoreError> {
        let chosen = "SELECT * FROM roots WHERE epoch = $2 AND channel = $3";
        let epoch = int(epoch.0, "roots.epoch")?;
        let values = [epoch.into(), channel.as_str().into()];
        let mut found = self.read_candidates(chosen, &values).await?;
        Ok(found.pop())
    }

    /// The roots that `chosen` gives, whose parameters begin at `$2`.
    async fn read_candidates(
        &self,
        chosen: &str,
        values: &[Value],
    ) -> Result<Vec<Candidate>, StoreError> {
        let db = self.reader();
        let length = arithmetic(db, DOING)
            .await?
            .unwrap_or_default()
            .epoch_seconds;
        let length = int(length.seconds(), "the length of an epoch")?;
        let earlier = format!(
            "(SELECT e.participants FROM sealed_epochs e \
              WHERE e.channel = r.channel AND e.epoch < r.epoch \
              ORDER BY e.epoch DESC LIMIT {}) AS latest",
            Policy::EARLIER_EPOCHS
        );
        let sql = format!(
            "WITH chosen AS ({chosen}) \
             SELECT r.id, r.epoch, r.channel, r.root, s.root, r.count, s.token_group, \
                (SELECT count(*) FROM sealed_participants p \
                 WHERE p.epoch = r.epoch AND p.channel = r.channel AND p.username IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM suppression_list o \
                                 WHERE o.user_hash = p.user_hash)), \
                (SELECT count(*) FROM {earlier}), \
                (SELECT CAST(COALESCE(sum(participants), 0) AS bigint) FROM {earlier}), \
                CASE WHEN EXISTS (SELECT 1 FROM live_windows w WHERE w.channel = r.channel \
                                  AND (w.end_ts IS NULL OR w.end_ts > r.epoch) \
                                  AND w.start_ts < r.epoch + $1) \
                     THEN 1 ELSE 0 END, \
                r.released, {COLUMNS} \
             FROM chosen r {TRANSACTION} \
             JOIN sealed_epochs s ON s.epoch = r.epoch AND s.channel = r.channel \
             ORDER BY r.epoch, r.channel"
        );
        let mut all: Vec<Value> = vec![length.into()];
        all.extend_from_slice(values);
        let rows = query(db, sql, all, DOING).await?;
        rows.iter().map(candidate_of).collect()
    }
}

fn candidate_of(row: &QueryResult) -> Result<Candidate, StoreError> {
    let channel: String = column(row, 2, DOING)?;
    let claim: String = column(row, 3, DOING)?;
    let participation: String = column(row, 4, DOING)?;
    let token_group: String = column(row, 6, DOING)?;
    let epochs = unsigned(column(row, 8, DOING)?, "a count of sealed_epochs")?;
    Ok(Candidate {
        id: root_id(column(row, 0, DOING)?)?,
        epoch: epoch(column(row, 1, DOING)?)?,
        channel: parsed(&channel, "roots.channel", NAME)?,
        claim_root: node(&claim, "roots.root")?,
        participation_root: node(&participation, "sealed_epochs.root")?,
        count: unsigned(column(row, 5, DOING)?, "roots.count")?,
        token_group: token_group.to_uppercase(),
        named: unsigned(column(row, 7, DOING)?, "a count of sealed_participants")?,
        earlier: Earlier {
            epochs: u32::try_from(epochs).unwrap_or(u32::MAX),
            participants: unsigned(column(row, 9, DOING)?, "sealed_epochs.participants")?,
        },
        was_live: column::<i32>(row, 10, DOING)? == 1,
        is_released: column::<i32>(row, 11, DOING)? == 1,
        publication: publication(row, 12, DOING)?,
    })
}
