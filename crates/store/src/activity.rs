//! What the chain listener records: claims, the slots of epochs, and publications by others.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend};
use twzrd_domain::chain::{Activity, ActivityStore, Deed, Mark, Recorded};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::ports::StoreError;
use twzrd_domain::settlement::Target;

use crate::connect::Store;
use crate::error::{Doing, refused};
use crate::seal::hex;
use crate::settlement::{CONFIRMED, Kind, selected};
use crate::sql::{column, execute, int, query, unsigned};

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

const SLOTS: [(&str, Kind); 3] = [
    ("epoch", Kind::Number),
    ("first", Kind::Number),
    ("last", Kind::Number),
];

const PUBLISHED: [(&str, Kind); 5] = [
    ("epoch", Kind::Number),
    ("channel", Kind::Text),
    ("root", Kind::Text),
    ("tx_signature", Kind::Text),
    ("slot", Kind::Number),
];

#[async_trait]
impl ActivityStore for Store {
    async fn last_mark(&self) -> Result<Option<Mark>, StoreError> {
        const DOING: &str = "asking for the last transaction that was recorded";
        let sql = "SELECT slot, signature FROM chain_mark";
        let rows = query(self.reader(), sql, [], DOING).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let signature: String = column(row, 1, DOING)?;
        Ok(Some(Mark {
            slot: unsigned(column(row, 0, DOING)?, "chain_mark.slot")?,
            signature: signature.into(),
        }))
    }

    // The moment is not kept: a row says when its block was made.
    async fn record(&self, all: &[Recorded], _now: UnixMs) -> Result<(), StoreError> {
        let Some(last) = all.last() else {
            return Ok(());
        };
        let facts = Facts::of(all)?;
        let transaction = self.begin(RECORDING).await?;
        for rows in facts.claims.chunks(CHUNK) {
            write_claims(&transaction, rows).await?;
        }
        write_slots(&transaction, &facts.slots).await?;
        for rows in facts.published.chunks(CHUNK) {
            log_published(&transaction, rows).await?;
        }
        let mark = &last.activity.mark;
        let sql = "INSERT INTO chain_mark (id, slot, signature) VALUES (1, $1, $2) \
            ON CONFLICT (id) DO UPDATE SET slot = excluded.slot, signature = excluded.signature";
        let slot = int(mark.slot, "chain_mark.slot")?;
        let values = [slot.into(), mark.signature.as_str().into()];
        execute(&transaction, sql, values, RECORDING).await?;
        transaction.commit().await.doing(RECORDING)
    }
}

/// The rows that transactions come to.
#[derive(Default)]
struct Facts {
    claims: Vec<[Option<String>; 10]>,
    /// The least and the greatest slot in which an epoch was published.
    slots: BTreeMap<i64, (i64, i64)>,
    published: Vec<[Option<String>; 5]>,
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
                let slots = self.slots.entry(epoch).or_insert((slot, slot));
                *slots = (slots.0.min(slot), slots.1.max(slot));
                let Some(channel) = channel else { return };
                self.published.push([
                    Some(epoch.to_string()),
                    Some(channel.to_string()),
                    Some(hex(root)),
                    Some(signature),
                    Some(slot.to_string()),
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

async fn write_slots<C: ConnectionTrait>(
    db: &C,
    slots: &BTreeMap<i64, (i64, i64)>,
) -> Result<(), StoreError> {
    if slots.is_empty() {
        return Ok(());
    }
    let rows = slots.iter().map(|(epoch, (first, last))| {
        [epoch, first, last].map(|number: &i64| Some(number.to_string()))
    });
    let (given, values) = selected(db.get_database_backend(), &SLOTS, rows, 1);
    let sql = format!(
        "UPDATE epochs SET \
            start_slot = CASE WHEN start_slot < given.first THEN start_slot ELSE given.first END, \
            end_slot = CASE WHEN end_slot > given.last THEN end_slot ELSE given.last END \
         FROM {given} WHERE epochs.epoch = given.epoch"
    );
    execute(db, sql, values, RECORDING).await.map(drop)
}

/// Publications of our roots that no log row tells of. One that the publisher found on chain, and
/// whose row lacks the signature, is that row's.
async fn log_published<C: ConnectionTrait>(
    db: &C,
    rows: &[[Option<String>; 5]],
) -> Result<(), StoreError> {
    const OURS: &str = "r.epoch = given.epoch AND r.channel = given.channel \
        AND (r.root = given.root OR r.root = '0x' || given.root)";
    let backend = db.get_database_backend();
    if backend == DbBackend::Postgres {
        // The publisher locks a root before it logs that it found it, and so only one of the two
        // comes to be its row.
        let (given, values) = selected(backend, &PUBLISHED, rows.iter().cloned(), 1);
        let sql = format!(
            "SELECT r.id FROM {given} CROSS JOIN roots r WHERE {OURS} ORDER BY r.id \
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
         FROM {given} CROSS JOIN roots r WHERE {OURS} \
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
         FROM {given} CROSS JOIN roots r WHERE {OURS} \
         ON CONFLICT (root_id, tx_signature) DO NOTHING",
        Target::Program.as_str()
    );
    execute(db, sql, values, RECORDING).await.map(drop)
}
