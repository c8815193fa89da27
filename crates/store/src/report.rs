//! What reports read: sealed epochs with their coverage, the ledger, and the material of proofs.

use std::collections::HashMap;

use async_trait::async_trait;
use compact_str::CompactString;
use sea_orm::QueryResult;
use twzrd_domain::coverage::{self, Stretch};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::Channel;
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{Balance, ReportStore, SealedEpoch, StoreError};
use twzrd_domain::proof::ProofMaterial;

use crate::batch::{arithmetic, epoch};
use crate::connect::Store;
use crate::sealed::node;
use crate::sql::Type::Text;
use crate::sql::{NAME, among, column, int, list, parsed, query, unsigned};

/// The counts of the ledger, in the order of [`Counts`]; all but the first are outcomes.
const LEDGER: [&str; 9] = [
    "received",
    "counted",
    "suppressed",
    "mirrored",
    "duplicate",
    "late",
    "anonymous",
    "invalid",
    "other",
];

/// What is added up over the rows, for errors.
const DRIFT: &str = "the drift of ingest_ledger";

/// Is added to an epoch so that all epochs have as many digits, and stand in their order as text:
/// the least of such texts, with the channel behind, names the first row.
const PLACE_BASE: i64 = 1_000_000_000_000_000_000;
/// How many digits that makes.
const PLACE_DIGITS: usize = 19;

#[async_trait]
impl ReportStore for Store {
    async fn sealed_after(
        &self,
        after: Option<(Epoch, Channel)>,
        limit: u64,
    ) -> Result<Vec<SealedEpoch>, StoreError> {
        const DOING: &str = "reading sealed epochs";
        let sql = "SELECT s.epoch, s.channel, s.participants, s.root, r.root, r.settled_at_ms, \
            CASE WHEN r.status = 'settled' THEN COALESCE(r.tx_signature, ( \
                SELECT l.tx_signature FROM settlement_log l \
                WHERE l.root_id = r.id AND l.status = 'confirmed' \
                AND l.tx_signature IS NOT NULL ORDER BY l.id LIMIT 1)) END \
            FROM sealed_epochs s \
            LEFT JOIN roots r ON r.epoch = s.epoch AND r.channel = s.channel \
            WHERE (s.epoch, s.channel) > ($1, $2) ORDER BY s.epoch, s.channel LIMIT $3";
        let (epoch, channel) = match &after {
            Some((epoch, channel)) => (int(epoch.0, "sealed_epochs.epoch")?, channel.as_str()),
            None => (-1, ""),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = [epoch.into(), channel.into(), limit.into()];
        let rows = query(self.reader(), sql, values, DOING).await?;
        let mut sealed: Vec<SealedEpoch> = rows.iter().map(row_of).collect::<Result<_, _>>()?;
        self.add_gaps(&mut sealed).await?;
        Ok(sealed)
    }

    async fn ledger(&self) -> Result<Counts, StoreError> {
        const DOING: &str = "adding up the ledger";
        let sql = format!("SELECT {} FROM ingest_ledger", sums());
        let rows = query(self.reader(), sql, [], DOING).await?;
        rows.first()
            .map_or_else(|| Ok(Counts::default()), |row| counts_of(row, DOING))
    }

    async fn balance(&self) -> Result<Balance, StoreError> {
        const DOING: &str = "balancing the ledger";
        // A ledger that adds up is read once, for one sum more than its counts. Where it does not,
        // it is read again for all that is to be told, in one statement and so of one moment.
        let outcomes = LEDGER[1..].join(" + ");
        let sums = format!(
            "{}, {}",
            sums(),
            sum(&format!("abs(received - ({outcomes}))"))
        );
        let sql = format!("SELECT {sums} FROM ingest_ledger");
        let rows = query(self.reader(), sql, [], DOING).await?;
        let Some(row) = rows.first() else {
            return Ok(Balance::default());
        };
        let balance = balance_of(row, DOING)?;
        if balance.drift == 0 {
            return Ok(balance);
        }
        let drifts = format!("CASE WHEN received <> {outcomes} THEN");
        let sql = format!(
            "SELECT {sums}, {}, min({drifts} CAST({PLACE_BASE} + epoch AS text) || channel END) \
             FROM ingest_ledger",
            sum(&format!("{drifts} 1 ELSE 0 END"))
        );
        let rows = query(self.reader(), sql, [], DOING).await?;
        let Some(row) = rows.first() else {
            return Ok(Balance::default());
        };
        let first: Option<String> = column(row, 11, DOING)?;
        Ok(Balance {
            drifting: unsigned(column(row, 10, DOING)?, DRIFT)?,
            first_drifting: first.as_deref().map(place_of).transpose()?,
            ..balance_of(row, DOING)?
        })
    }

    async fn proof_material(
        &self,
        epoch: Epoch,
        channel: &Channel,
    ) -> Result<Option<ProofMaterial>, StoreError> {
        const DOING: &str = "reading what a proof is made of";
        let sql = "SELECT s.participants, s.root, r.root FROM sealed_epochs s \
            JOIN roots r ON r.epoch = s.epoch AND r.channel = s.channel \
            WHERE s.epoch = $1 AND s.channel = $2 AND s.root IS NOT NULL";
        let stored = int(epoch.0, "sealed_epochs.epoch")?;
        let values = [stored.into(), channel.as_str().into()];
        let rows = query(self.reader(), sql, values, DOING).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let participants = unsigned(column(row, 0, DOING)?, "sealed_epochs.participants")?;
        let participation_root: String = column(row, 1, DOING)?;
        let claim_root: String = column(row, 2, DOING)?;
        Ok(Some(ProofMaterial {
            epoch,
            channel: channel.clone(),
            participants: self
                .read_frozen(epoch, channel, participants, DOING)
                .await?,
            participation_root: node(&participation_root, "sealed_epochs.root")?,
            claim_root: node(&claim_root, "roots.root")?,
        }))
    }
}

impl Store {
    /// Adds to each sealed epoch how long its channel was not heard in it.
    async fn add_gaps(&self, sealed: &mut [SealedEpoch]) -> Result<(), StoreError> {
        const DOING: &str = "reading gaps";
        let (Some(first), Some(last)) = (sealed.first(), sealed.last()) else {
            return Ok(());
        };
        let db = self.reader();
        let length = arithmetic(db, DOING)
            .await?
            .unwrap_or_default()
            .epoch_seconds;
        let begin = int(first.epoch.0.saturating_mul(1000), "coverage_gap.until_ms")?;
        let end = int(length.end_of(last.epoch), "coverage_gap.from_ms")?;
        let backend = self.backend();
        let sql = format!(
            "SELECT channel, from_ms, until_ms FROM coverage_gap \
             WHERE {} AND from_ms < $2 AND (until_ms > $3 OR until_ms = from_ms) ORDER BY channel, from_ms",
            among(backend, "channel", 1)
        );
        let channels = sealed.iter().map(|one| one.channel.as_str());
        let values = [list(backend, Text, channels), end.into(), begin.into()];
        let mut gaps: HashMap<String, Vec<Stretch>> = HashMap::new();
        for row in query(db, sql, values, DOING).await? {
            let from = unsigned(column(&row, 1, DOING)?, "coverage_gap.from_ms")?;
            let until = unsigned(column(&row, 2, DOING)?, "coverage_gap.until_ms")?;
            let channel = column(&row, 0, DOING)?;
            gaps.entry(channel).or_default().push((from, until));
        }
        for one in sealed {
            if let Some(gaps) = gaps.get(one.channel.as_str()) {
                one.gap_ms = coverage::gap_ms(gaps.iter().copied(), one.epoch, length);
            }
        }
        Ok(())
    }
}

fn sums() -> String {
    LEDGER.map(sum).join(", ")
}

fn sum(of: &str) -> String {
    format!("CAST(COALESCE(sum({of}), 0) AS bigint)")
}

/// The sums, with the drift behind them.
fn balance_of(row: &QueryResult, doing: &'static str) -> Result<Balance, StoreError> {
    Ok(Balance {
        counts: counts_of(row, doing)?,
        drift: unsigned(column(row, 9, doing)?, DRIFT)?,
        ..Balance::default()
    })
}

fn counts_of(row: &QueryResult, doing: &'static str) -> Result<Counts, StoreError> {
    let sum = |at| unsigned(column(row, at, doing)?, "a count of ingest_ledger");
    Ok(Counts {
        received: sum(0)?,
        counted: sum(1)?,
        suppressed: sum(2)?,
        mirrored: sum(3)?,
        duplicate: sum(4)?,
        late: sum(5)?,
        anonymous: sum(6)?,
        invalid: sum(7)?,
        other: sum(8)?,
    })
}

/// An epoch and a channel out of one text, see [`PLACE_BASE`].
fn place_of(text: &str) -> Result<(Epoch, Channel), StoreError> {
    const PLACE: &str = "ingest_ledger.epoch";
    let (digits, channel) = text.split_at_checked(PLACE_DIGITS).unwrap_or((text, ""));
    let number: i64 = parsed(digits, PLACE, "a whole number")?;
    let channel = match channel {
        "" => Channel::none(),
        name => parsed(name, "ingest_ledger.channel", NAME)?,
    };
    Ok((epoch(number - PLACE_BASE)?, channel))
}

fn row_of(row: &QueryResult) -> Result<SealedEpoch, StoreError> {
    const DOING: &str = "reading sealed epochs";
    let channel: String = column(row, 1, DOING)?;
    let participation: Option<String> = column(row, 3, DOING)?;
    let participation = participation.map(|root| node(&root, "sealed_epochs.root"));
    let claim: Option<String> = column(row, 4, DOING)?;
    let claim = claim.map(|root| node(&root, "roots.root"));
    let settled_at: Option<i64> = column(row, 5, DOING)?;
    let settled_at = settled_at.map(|at| unsigned(at, "roots.settled_at_ms"));
    let tx_signature: Option<String> = column(row, 6, DOING)?;
    Ok(SealedEpoch {
        epoch: epoch(column(row, 0, DOING)?)?,
        channel: parsed(&channel, "sealed_epochs.channel", NAME)?,
        participants: unsigned(column(row, 2, DOING)?, "sealed_epochs.participants")?,
        participation_root: participation.transpose()?,
        claim_root: claim.transpose()?,
        gap_ms: 0,
        settled_at: settled_at.transpose()?,
        tx_signature: tx_signature.map(CompactString::from),
    })
}
