//! What the chain listener records: claims, the slots of epochs, and publications by others.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult};
use twzrd_domain::chain::{Activity, ActivityStore, Deed, Followed, Known, Mark, Recorded};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::Target;

use crate::connect::Store;
use crate::error::{Doing, refused};
use crate::seal::hex;
use crate::settlement::{CONFIRMED, Kind, selected};
use crate::sql::Type::Int;
use crate::sql::{among, column, execute, int, list, query, unsigned};

const RECORDING: &str = "recording what the chain tells";

/// How many rows one statement takes.
const CHUNK: usize = 5000;

const CLAIM: [(&str, Kind); 10] = [
    ("channel", Kind::Text),
    ("user_pubkey", Kind::Text),
    ("slot", Kind::Number),
    ("claim_timestamp", Kind::Number),
    ("epoch", Kind::Number),
    ("chain_epoch", Kind::Text),
    ("idx", Kind::Number),
    ("amount", Kind::Text),
    ("tx_signature", Kind::Text),
    ("instruction", Kind::Number),
];

const PUBLISHED: [(&str, Kind); 6] = [
    ("epoch", Kind::Number),
    ("channel", Kind::Text),
    ("root", Kind::Text),
    ("tx_signature", Kind::Text),
    ("slot", Kind::Number),
    ("instruction", Kind::Number),
];

#[async_trait]
impl ActivityStore for Store {
    async fn followed(&self) -> Result<Followed, StoreError> {
        const DOING: &str = "asking how far the program was followed";
        // One statement, and so of one moment.
        let sql = "SELECT m.slot, m.signature, k.from_slot, k.to_slot \
            FROM (SELECT 1 AS id) one LEFT JOIN chain_mark m ON m.id = one.id \
            LEFT JOIN chain_known k ON k.id = one.id";
        let rows = query(self.reader(), sql, [], DOING).await?;
        let Some(row) = rows.first() else {
            return Ok(Followed::default());
        };
        let slot = |at, place| {
            let slot: Option<i64> = column(row, at, DOING)?;
            slot.map(|slot| unsigned(slot, place)).transpose()
        };
        let signature: Option<String> = column(row, 1, DOING)?;
        let mark = slot(0, "chain_mark.slot")?.zip(signature);
        let known = slot(2, "chain_known.from_slot")?.zip(slot(3, "chain_known.to_slot")?);
        Ok(Followed {
            mark: mark.map(|(slot, signature)| Mark {
                slot,
                signature: signature.into(),
            }),
            known: known.map(|(from, to)| Known { from, to }),
        })
    }

    // The moment is not kept: a row says when its block was made.
    async fn record(
        &self,
        all: &[Recorded],
        known: Option<Known>,
        _now: UnixMs,
    ) -> Result<(), StoreError> {
        if all.is_empty() && known.is_none() {
            return Ok(());
        }
        let facts = Facts::of(all)?;
        let transaction = self.begin(RECORDING).await?;
        for rows in facts.claims.chunks(CHUNK) {
            write_claims(&transaction, rows).await?;
        }
        if !facts.published.is_empty() {
            lock_publications(&transaction, RECORDING).await?;
        }
        for rows in facts.published.chunks(CHUNK) {
            write_publications(&transaction, rows).await?;
            log_published(&transaction, rows).await?;
        }
        write_slots(&transaction, facts.epochs, RECORDING).await?;
        if let Some(last) = all.last() {
            write_mark(&transaction, &last.activity.mark).await?;
        }
        if let Some(known) = known {
            write_known(&transaction, known).await?;
        }
        transaction.commit().await.doing(RECORDING)
    }
}

/// Gives roots that were built the publications that were seen before, and their epochs the slots.
pub(crate) async fn find_published<C: ConnectionTrait>(
    db: &C,
    epochs: &[Epoch],
    doing: &'static str,
) -> Result<(), StoreError> {
    let epochs = epochs.iter().map(|epoch| int(epoch.0, "epochs.epoch"));
    let epochs: BTreeSet<i64> = epochs.collect::<Result<_, _>>()?;
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT CAST(p.epoch AS text), p.channel, p.root, p.tx_signature, CAST(p.slot AS text), \
            CAST(p.instruction AS text) \
         FROM chain_publications p JOIN roots r ON {} \
         WHERE {} AND NOT EXISTS (SELECT 1 FROM settlement_log l \
             WHERE l.root_id = r.id AND l.tx_signature = p.tx_signature) \
         ORDER BY p.slot, p.tx_signature, p.instruction",
        ours("p"),
        among(backend, "p.epoch", 1),
    );
    let wanted = list(backend, Int, epochs.iter().copied());
    let found = query(db, &sql, [wanted], doing).await?;
    let text = |row: &QueryResult, at| column::<String>(row, at, doing).map(Some);
    let row = |row: &QueryResult| {
        Ok([
            text(row, 0)?,
            text(row, 1)?,
            text(row, 2)?,
            text(row, 3)?,
            text(row, 4)?,
            text(row, 5)?,
        ])
    };
    let rows: Vec<Published> = found.iter().map(row).collect::<Result<_, StoreError>>()?;
    for rows in rows.chunks(CHUNK) {
        log_published(db, rows).await?;
    }
    write_slots(db, epochs, doing).await
}

/// Excludes the other of the two that bring publications and roots together: neither would see what
/// the other has not committed. On SQLite there is one writer anyway.
pub(crate) async fn lock_publications<C: ConnectionTrait>(
    db: &C,
    doing: &'static str,
) -> Result<(), StoreError> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let sql = "LOCK TABLE chain_publications IN SHARE ROW EXCLUSIVE MODE";
    execute(db, sql, [], doing).await.map(drop)
}

async fn write_mark<C: ConnectionTrait>(db: &C, mark: &Mark) -> Result<(), StoreError> {
    let sql = "INSERT INTO chain_mark (id, slot, signature) VALUES (1, $1, $2) \
        ON CONFLICT (id) DO UPDATE SET slot = excluded.slot, signature = excluded.signature";
    let slot = int(mark.slot, "chain_mark.slot")?;
    let values = [slot.into(), mark.signature.as_str().into()];
    execute(db, sql, values, RECORDING).await.map(drop)
}

async fn write_known<C: ConnectionTrait>(db: &C, known: Known) -> Result<(), StoreError> {
    let sql = "INSERT INTO chain_known (id, from_slot, to_slot) VALUES (1, $1, $2) \
        ON CONFLICT (id) DO UPDATE SET from_slot = excluded.from_slot, to_slot = excluded.to_slot";
    let from = int(known.from, "chain_known.from_slot")?;
    let to = int(known.to, "chain_known.to_slot")?;
    execute(db, sql, [from.into(), to.into()], RECORDING)
        .await
        .map(drop)
}

/// A row of [`PUBLISHED`].
type Published = [Option<String>; 6];

/// The rows that transactions come to.
#[derive(Default)]
struct Facts {
    claims: Vec<[Option<String>; 10]>,
    published: Vec<Published>,
    /// The epochs that were published.
    epochs: BTreeSet<i64>,
}

impl Facts {
    fn of(all: &[Recorded]) -> Result<Self, StoreError> {
        let mut facts = Self::default();
        for recorded in all {
            let (activity, epochs) = (&recorded.activity, &recorded.epochs);
            let (actions, given) = (activity.actions.len(), epochs.len());
            if actions != given {
                let signature = &activity.mark.signature;
                let why = format!("{signature}: {actions} actions and {given} epochs");
                return Err(refused(RECORDING, why));
            }
            let slot = int(activity.mark.slot, "claims.slot")?;
            for (action, epoch) in activity.actions.iter().zip(epochs) {
                // A number on chain may come to an epoch that no column holds, and none of ours.
                let epoch = epoch.and_then(|Epoch(epoch)| i64::try_from(epoch).ok());
                facts.add(activity, slot, action.index, &action.deed, epoch);
            }
        }
        Ok(facts)
    }

    fn add(&mut self, activity: &Activity, slot: i64, index: u32, deed: &Deed, epoch: Option<i64>) {
        let signature = activity.mark.signature.to_string();
        match deed {
            Deed::Claim {
                channel,
                number,
                index: place,
                amount,
                claimer,
            } => {
                let time = activity.block_time.and_then(|at| i64::try_from(at).ok());
                self.claims.push([
                    channel.as_ref().map(ToString::to_string),
                    Some(claimer.to_string()),
                    Some(slot.to_string()),
                    time.map(|time| time.to_string()),
                    epoch.map(|epoch| epoch.to_string()),
                    Some(number.to_string()),
                    Some(place.to_string()),
                    Some(amount.to_string()),
                    Some(signature),
                    Some(index.to_string()),
                ]);
            }
            Deed::Publish { channel, root, .. } => {
                let Some(epoch) = epoch else { return };
                self.epochs.insert(epoch);
                self.published.push([
                    Some(epoch.to_string()),
                    channel.as_ref().map(ToString::to_string),
                    Some(hex(root)),
                    Some(signature),
                    Some(slot.to_string()),
                    Some(index.to_string()),
                ]);
            }
            Deed::Other => {}
        }
    }
}

async fn write_claims<C: ConnectionTrait>(
    db: &C,
    rows: &[[Option<String>; 10]],
) -> Result<(), StoreError> {
    let (given, values) = selected(db.get_database_backend(), &CLAIM, rows.iter().cloned(), 1);
    let sql = format!(
        "INSERT INTO claims (channel, user_pubkey, slot, claim_timestamp, status, epoch, \
            chain_epoch, idx, amount, tx_signature, instruction) \
         SELECT COALESCE(channel, ''), COALESCE(user_pubkey, ''), slot, claim_timestamp, \
            'settled', epoch, chain_epoch, idx, amount, tx_signature, instruction \
         FROM {given} WHERE true ON CONFLICT (tx_signature, instruction) DO NOTHING"
    );
    execute(db, sql, values, RECORDING).await.map(drop)
}

async fn write_publications<C: ConnectionTrait>(
    db: &C,
    rows: &[Published],
) -> Result<(), StoreError> {
    let (given, values) = selected(
        db.get_database_backend(),
        &PUBLISHED,
        rows.iter().cloned(),
        1,
    );
    let sql = format!(
        "INSERT INTO chain_publications (tx_signature, instruction, epoch, channel, root, slot) \
         SELECT tx_signature, instruction, epoch, COALESCE(channel, ''), root, slot \
         FROM {given} WHERE true ON CONFLICT (tx_signature, instruction) DO NOTHING"
    );
    execute(db, sql, values, RECORDING).await.map(drop)
}

/// The least and the greatest slot in which an epoch was published.
async fn write_slots<C: ConnectionTrait>(
    db: &C,
    epochs: BTreeSet<i64>,
    doing: &'static str,
) -> Result<(), StoreError> {
    if epochs.is_empty() {
        return Ok(());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "UPDATE epochs SET \
            start_slot = CASE WHEN start_slot < given.first THEN start_slot ELSE given.first END, \
            end_slot = CASE WHEN end_slot > given.last THEN end_slot ELSE given.last END \
         FROM (SELECT epoch, min(slot) AS first, max(slot) AS last FROM chain_publications \
               WHERE {} GROUP BY epoch) AS given \
         WHERE epochs.epoch = given.epoch",
        among(backend, "epoch", 1)
    );
    let epochs = list(backend, Int, epochs);
    execute(db, sql, [epochs], doing).await.map(drop)
}

/// Whether a publication is that of a root `r` of ours.
fn ours(published: &str) -> String {
    format!(
        "r.epoch = {published}.epoch AND r.channel = {published}.channel \
         AND (r.root = {published}.root OR r.root = '0x' || {published}.root)"
    )
}

/// Publications of our roots that no log row tells of. One that the publisher found on chain, and
/// whose row lacks the signature, is that row's.
async fn log_published<C: ConnectionTrait>(db: &C, rows: &[Published]) -> Result<(), StoreError> {
    let ours = ours("given");
    let backend = db.get_database_backend();
    if backend == DbBackend::Postgres {
        // The publisher locks a root before it logs that it found it, and so only one of the two
        // comes to be its row.
        let (given, values) = selected(backend, &PUBLISHED, rows.iter().cloned(), 1);
        let sql = format!(
            "SELECT r.id FROM {given} CROSS JOIN roots r WHERE {ours} ORDER BY r.id \
             FOR UPDATE OF r"
        );
        query(db, sql, values, RECORDING).await?;
    }
    // The first of several publications of a root is the one that was found.
    let mut seen = HashSet::new();
    let first = rows
        .iter()
        .filter(|[epoch, channel, root, ..]| seen.insert((epoch, channel, root)));
    let (given, values) = selected(backend, &PUBLISHED, first.cloned(), 1);
    let sql = format!(
        "UPDATE settlement_log SET tx_signature = given.tx_signature, slot = given.slot \
         FROM {given} CROSS JOIN roots r WHERE {ours} \
         AND settlement_log.root_id = r.id AND settlement_log.tx_signature IS NULL \
         AND settlement_log.status = '{CONFIRMED}' \
         AND NOT EXISTS (SELECT 1 FROM settlement_log l \
                         WHERE l.root_id = r.id AND l.tx_signature = given.tx_signature)"
    );
    execute(db, sql, values, RECORDING).await?;
    let (given, values) = selected(backend, &PUBLISHED, rows.iter().cloned(), 1);
    let sql = format!(
        "INSERT INTO settlement_log (root_id, tx_signature, status, target, slot) \
         SELECT r.id, given.tx_signature, '{CONFIRMED}', '{}', given.slot \
         FROM {given} CROSS JOIN roots r WHERE {ours} ORDER BY given.slot, given.instruction \
         ON CONFLICT (root_id, tx_signature) DO NOTHING",
        Target::Program.as_str()
    );
    execute(db, sql, values, RECORDING).await.map(drop)
}
