//! Roots and their tries as they are reported.

use std::collections::HashMap;

use sea_orm::{QueryResult, Value};
use twzrd_domain::chain::{REPORTED_TRIES, SettlementLogRow, SettlementRow, Tally};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::RootId;

use super::state::{COLUMNS, TRANSACTION, corrupt, ids, publication, root_id, shown, status_named};
use crate::batch::epoch;
use crate::connect::Store;
use crate::sealed::node;
use crate::sql::{NAME, among, column, int, parsed, query, unsigned};

const DOING: &str = "reading how far the settlement is";

impl Store {
    pub(super) async fn read_tallies(&self) -> Result<Vec<Tally>, StoreError> {
        // Each half by an index alone. What is held or failed has a reason.
        let sql = "SELECT status, '', count(*), min(epoch) FROM roots \
                WHERE status NOT IN ('held', 'failed') GROUP BY status \
             UNION ALL \
             SELECT status, reason_code, count(*), min(epoch) FROM roots \
                WHERE status IN ('held', 'failed') AND reason_code IS NOT NULL \
                GROUP BY status, reason_code";
        let rows = query(self.reader(), sql, [], DOING).await?;
        let tally = |row: &QueryResult| {
            let status: String = column(row, 0, DOING)?;
            Ok(Tally {
                state: shown(&status)?.to_owned(),
                why: column(row, 1, DOING)?,
                roots: unsigned(column(row, 2, DOING)?, "a count of roots")?,
                oldest: epoch(column(row, 3, DOING)?)?,
            })
        };
        let mut all: Vec<Tally> = rows.iter().map(tally).collect::<Result<_, StoreError>>()?;
        all.sort_unstable();
        Ok(all)
    }

    pub(super) async fn read_rows(
        &self,
        state: Option<&str>,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SettlementRow>, StoreError> {
        let (epoch, channel) = match &after {
            Some((epoch, channel)) => (int(epoch.0, "roots.epoch")?, channel.as_str()),
            None => (-1, ""),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut values: Vec<Value> = vec![epoch.into(), channel.into(), limit.into()];
        let mut of_state = "";
        if let Some(state) = state {
            of_state = "AND r.status = $4";
            values.push(status_named(state)?.into());
        }
        let chosen = format!(
            "(r.epoch, r.channel) > ($1, $2) {of_state} ORDER BY r.epoch, r.channel LIMIT $3"
        );
        self.read_reported(&chosen, values).await
    }

    pub(super) async fn read_row(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<SettlementRow>, StoreError> {
        let epoch = int(epoch.0, "roots.epoch")?;
        let values = vec![epoch.into(), channel.as_str().into()];
        let chosen = "r.epoch = $1 AND r.channel = $2";
        let mut found = self.read_reported(chosen, values).await?;
        Ok(found.pop())
    }

    async fn read_reported(
        &self,
        chosen: &str,
        values: Vec<Value>,
    ) -> Result<Vec<SettlementRow>, StoreError> {
        let sql = format!(
            "SELECT r.id, r.epoch, r.channel, r.root, r.count, r.released, r.settled_at_ms, \
                {COLUMNS} FROM roots r {TRANSACTION} WHERE {chosen}"
        );
        let rows = query(self.reader(), sql, values, DOING).await?;
        let mut all: Vec<SettlementRow> = rows.iter().map(row_of).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Ok(all);
        }
        let backend = self.backend();
        let sql = format!(
            "SELECT root_id, tx_signature, status, target, signed_at_ms, slot, settled_at, \
                error_message \
             FROM (SELECT l.*, row_number() OVER (PARTITION BY root_id ORDER BY id DESC) AS place \
                   FROM settlement_log l WHERE {}) AS tried \
             WHERE place <= {REPORTED_TRIES} ORDER BY root_id, id",
            among(backend, "root_id", 1)
        );
        let numbers = ids(backend, all.iter().map(|row| row.id))?;
        let mut logs: HashMap<RootId, Vec<SettlementLogRow>> = HashMap::new();
        for row in query(self.reader(), sql, [numbers], DOING).await? {
            let number = root_id(column(&row, 0, DOING)?)?;
            logs.entry(number).or_default().push(log_of(&row)?);
        }
        for row in &mut all {
            row.log = logs.remove(&row.id).unwrap_or_default();
        }
        Ok(all)
    }
}

fn row_of(row: &QueryResult) -> Result<SettlementRow, StoreError> {
    let channel: String = column(row, 2, DOING)?;
    let root: String = column(row, 3, DOING)?;
    Ok(SettlementRow {
        id: root_id(column(row, 0, DOING)?)?,
        epoch: epoch(column(row, 1, DOING)?)?,
        channel: parsed(&channel, "roots.channel", NAME)?,
        root: node(&root, "roots.root")?,
        count: unsigned(column(row, 4, DOING)?, "roots.count")?,
        publication: publication(row, 7, DOING)?,
        is_released: column::<i32>(row, 5, DOING)? == 1,
        settled_at: optional(row, 6, "roots.settled_at_ms")?,
        log: Vec::new(),
    })
}

fn log_of(row: &QueryResult) -> Result<SettlementLogRow, StoreError> {
    const PLACE: &str = "settlement_log.settled_at";
    let signature: Option<String> = column(row, 1, DOING)?;
    let second = optional(row, 6, PLACE)?;
    let settled_at = second.map(|second| {
        let at = second.checked_mul(1000);
        at.ok_or_else(|| corrupt(PLACE, &second.to_string(), "a second in time"))
    });
    Ok(SettlementLogRow {
        signature: signature.map(Into::into),
        status: column(row, 2, DOING)?,
        target: column(row, 3, DOING)?,
        signed_at: optional(row, 4, "settlement_log.signed_at_ms")?,
        slot: optional(row, 5, "settlement_log.slot")?,
        settled_at: settled_at.transpose()?,
        error_message: column(row, 7, DOING)?,
    })
}

fn optional(row: &QueryResult, at: usize, place: &'static str) -> Result<Option<u64>, StoreError> {
    let found: Option<i64> = column(row, at, DOING)?;
    found.map(|found| unsigned(found, place)).transpose()
}
