//! Keeps signed transactions before they are sent, and gives back those whose end is not known.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult};
use twzrd_domain::chain::{InFlight, SignedTransaction};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::StoreError;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{RootId, RootToPublish, Target};

use super::given::Named;
use super::state::{FINALIZED, NUMBER, PLANNED, SIGNED, corrupt, id, ids, lock, root_id};
use super::{Kind, PENDING, selected};
use crate::batch::epoch;
use crate::connect::Store;
use crate::error::{Doing, refused};
use crate::seal::hex;
use crate::sealed::node;
use crate::sql::Type::Text;
use crate::sql::{NAME, among, column, execute, int, list, parsed, query, unsigned};

const KEEPING: &str = "keeping a signed transaction";

/// The number of the lock on Postgres that whoever keeps a transaction holds until its end.
const KEEPING_LOCK: i64 = 0x7477_7a72_6401;

/// A root of a transaction as the statements of [`Store::write_signed`] see it.
const SIGNED_ROOT: [Named; 5] = [
    ("root_id", Kind::Number),
    ("position", Kind::Number),
    ("chain_epoch", Kind::Text),
    ("root", Kind::Text),
    ("count", Kind::Number),
];

/// The rows of [`SIGNED_ROOT`], in the order of the instructions.
fn rows_of(roots: &[RootToPublish]) -> Result<Vec<[Option<String>; 5]>, StoreError> {
    (0_u64..)
        .zip(roots)
        .map(|(position, root)| {
            Ok([
                Some(id(root.id)?.to_string()),
                Some(position.to_string()),
                Some(root.number.to_string()),
                Some(hex(&root.root)),
                Some(int(root.count, "settlement_instruction.count")?.to_string()),
            ])
        })
        .collect()
}

impl Store {
    pub(super) async fn write_signed(
        &self,
        signed: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        check(signed, target, roots)?;
        let transaction = self.begin(KEEPING).await?;
        if !are_planned(&transaction, roots).await? {
            return Ok(false);
        }
        let height = int(
            signed.last_valid_block_height,
            "settlement_transaction.last_valid_block_height",
        )?;
        let fee = int(signed.fee_lamports, "settlement_transaction.fee_lamports")?;
        let slot = signed.signed_in_slot;
        let slot = slot.map(|slot| int(slot, "settlement_transaction.signed_slot"));
        let at = int(now, "settlement_transaction.signed_at_ms")?;
        let signature = signed.signature.as_str();
        let sql = "INSERT INTO settlement_transaction \
            (signature, bytes, last_valid_block_height, fee_lamports, signed_at_ms, signed_slot) \
            VALUES ($1, $2, $3, $4, $5, $6)";
        let values = [
            signature.into(),
            hex_of(&signed.bytes).into(),
            height.into(),
            fee.into(),
            at.into(),
            slot.transpose()?.into(),
        ];
        execute(&transaction, sql, values, KEEPING).await?;
        let rows = rows_of(roots)?;
        let backend = self.backend();
        let (given, parameters) = selected(backend, &SIGNED_ROOT, rows.clone(), 2);
        let sql = format!(
            "INSERT INTO settlement_instruction \
             (signature, position, root_id, chain_epoch, root, count) \
             SELECT CAST($1 AS text), position, root_id, chain_epoch, root, count FROM {given}"
        );
        let mut values = vec![signature.into()];
        values.extend(parameters);
        execute(&transaction, sql, values, KEEPING).await?;
        let (given, parameters) = selected(backend, &SIGNED_ROOT, rows.clone(), 6);
        let sql = format!(
            "INSERT INTO settlement_log (root_id, tx_signature, status, target, signed_at_ms, \
                last_valid_block_height, fee_lamports) \
             SELECT root_id, CAST($1 AS text), '{PENDING}', CAST($2 AS text), \
                CAST($3 AS bigint), CAST($4 AS bigint), CAST($5 AS bigint) FROM {given}"
        );
        let mut values = vec![
            signature.into(),
            target.as_str().into(),
            at.into(),
            height.into(),
            fee.into(),
        ];
        values.extend(parameters);
        execute(&transaction, sql, values, KEEPING).await?;
        let (given, parameters) = selected(backend, &SIGNED_ROOT, rows, 3);
        let sql = format!(
            "UPDATE roots SET status = '{SIGNED}', tx_signature = $1, target = $2, \
                chain_epoch = given.chain_epoch, reason_code = NULL, reason = NULL, \
                look_again_ms = NULL \
             FROM {given} WHERE roots.id = given.root_id"
        );
        let mut values = vec![signature.into(), target.as_str().into()];
        values.extend(parameters);
        execute(&transaction, sql, values, KEEPING).await?;
        transaction.commit().await.doing(KEEPING)?;
        Ok(true)
    }

    pub(super) async fn read_in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        const DOING: &str = "asking for transactions in flight";
        // The bytes come with the first instruction of a transaction alone.
        let sql = format!(
            "SELECT t.signature, CASE WHEN i.position = 0 THEN t.bytes ELSE '' END, \
                t.last_valid_block_height, t.fee_lamports, t.finalized_slot, \
                i.root_id, i.chain_epoch, i.root, i.count, r.epoch, r.channel, r.status, \
                r.tx_signature, t.signed_slot, l.target \
             FROM settlement_transaction t \
             JOIN settlement_instruction i ON i.signature = t.signature \
             JOIN settlement_log l ON l.root_id = i.root_id AND l.tx_signature = i.signature \
             JOIN roots r ON r.id = i.root_id \
             WHERE t.signature IN \
                (SELECT tx_signature FROM roots WHERE status IN ('{SIGNED}', '{FINALIZED}')) \
             ORDER BY t.id, i.position"
        );
        let mut all: Vec<InFlight> = Vec::new();
        for row in query(self.reader(), sql, [], DOING).await? {
            let signature: String = column(&row, 0, DOING)?;
            let is_known = all
                .last()
                .is_some_and(|last| last.transaction.signature == signature);
            if !is_known {
                all.push(transaction_of(&row, &signature, DOING)?);
            }
            let Some(last) = all.last_mut() else { continue };
            let root = instruction_of(&row, DOING)?;
            last.transaction.roots.push(root.id);
            let status: String = column(&row, 11, DOING)?;
            let of: Option<String> = column(&row, 12, DOING)?;
            let publication = match status.as_str() {
                _ if of.as_ref() != Some(&signature) => continue,
                SIGNED => Publication::Signed {
                    signature,
                    last_valid_block_height: last.transaction.last_valid_block_height,
                },
                FINALIZED => Publication::Finalized { signature },
                _ => continue,
            };
            last.roots.push((root, publication));
        }
        Ok(all)
    }
}

fn check(
    signed: &SignedTransaction,
    target: Target,
    roots: &[RootToPublish],
) -> Result<(), StoreError> {
    let of: Vec<RootId> = roots.iter().map(|root| root.id).collect();
    let distinct: HashSet<RootId> = of.iter().copied().collect();
    let why = if of.is_empty() || distinct.len() != of.len() {
        "a transaction has at least one root, and each once".to_owned()
    } else if of != signed.roots {
        format!("a transaction of roots {:?} and roots {of:?}", signed.roots)
    } else if signed.signature.is_empty() || signed.bytes.is_empty() {
        "a transaction without signature or bytes".to_owned()
    } else if target == Target::None {
        "a transaction without a target".to_owned()
    } else {
        return Ok(());
    };
    Err(refused(KEEPING, why))
}

/// Locks these roots. A root that is not there, or another one than its number says, is a bug of
/// the caller.
async fn are_planned<C: ConnectionTrait>(
    db: &C,
    roots: &[RootToPublish],
) -> Result<bool, StoreError> {
    let backend = db.get_database_backend();
    if backend == DbBackend::Postgres {
        // One at a time: of two that keep roots of one channel, the second sees the first's.
        let sql = format!("SELECT pg_advisory_xact_lock({KEEPING_LOCK})");
        execute(db, sql, [], KEEPING).await?;
    }
    let numbers = ids(backend, roots.iter().map(|root| root.id))?;
    lock(db, &numbers, KEEPING).await?;
    let among = among(backend, "id", 1);
    let sql = format!("SELECT id, epoch, channel, status FROM roots WHERE {among}");
    let mut known = HashMap::new();
    for row in query(db, sql, [numbers], KEEPING).await? {
        let number = root_id(column(&row, 0, KEEPING)?)?;
        let epoch = epoch(column(&row, 1, KEEPING)?)?;
        let channel: String = column(&row, 2, KEEPING)?;
        let status: String = column(&row, 3, KEEPING)?;
        known.insert(number, (epoch, channel, status));
    }
    let mut are_planned = true;
    for root in roots {
        match known.get(&root.id) {
            Some((epoch, channel, status))
                if *epoch == root.epoch && channel == root.channel.as_str() =>
            {
                are_planned &= status == PLANNED;
            }
            _ => {
                let (id, epoch, channel) = (root.id, root.epoch, &root.channel);
                let why = format!("root {id} is not that of {channel} in {epoch}");
                return Err(refused(KEEPING, why));
            }
        }
    }
    Ok(are_planned && !is_one_in_flight(db, roots).await?)
}

/// Whether another root of one of these channels is signed or finalized. The later epoch of a
/// channel waits for the end of the earlier, whoever publishes.
async fn is_one_in_flight<C: ConnectionTrait>(
    db: &C,
    roots: &[RootToPublish],
) -> Result<bool, StoreError> {
    let backend = db.get_database_backend();
    let channels = roots.iter().map(|root| root.channel.as_str());
    let sql = format!(
        "SELECT 1 FROM roots WHERE status IN ('{SIGNED}', '{FINALIZED}') AND {} LIMIT 1",
        among(backend, "channel", 1)
    );
    let channels = list(backend, Text, channels);
    let found = query(db, sql, [channels], KEEPING).await?;
    Ok(!found.is_empty())
}

fn transaction_of(
    row: &QueryResult,
    signature: &str,
    doing: &'static str,
) -> Result<InFlight, StoreError> {
    let bytes: String = column(row, 1, doing)?;
    let slot: Option<i64> = column(row, 4, doing)?;
    let slot = slot.map(|slot| unsigned(slot, "settlement_transaction.finalized_slot"));
    let signed: Option<i64> = column(row, 13, doing)?;
    let signed = signed.map(|slot| unsigned(slot, "settlement_transaction.signed_slot"));
    let target: String = column(row, 14, doing)?;
    let transaction = SignedTransaction {
        signature: signature.into(),
        bytes: bytes_of(&bytes)?,
        last_valid_block_height: unsigned(
            column(row, 2, doing)?,
            "settlement_transaction.last_valid_block_height",
        )?,
        signed_in_slot: signed.transpose()?,
        fee_lamports: unsigned(
            column(row, 3, doing)?,
            "settlement_transaction.fee_lamports",
        )?,
        roots: Vec::new(),
    };
    Ok(InFlight {
        transaction,
        target: parsed(&target, "settlement_log.target", "the word of a target")?,
        finalized_slot: slot.transpose()?,
        roots: Vec::new(),
    })
}

fn instruction_of(row: &QueryResult, doing: &'static str) -> Result<RootToPublish, StoreError> {
    let number: String = column(row, 6, doing)?;
    let root: String = column(row, 7, doing)?;
    let channel: String = column(row, 10, doing)?;
    Ok(RootToPublish {
        id: root_id(column(row, 5, doing)?)?,
        epoch: epoch(column(row, 9, doing)?)?,
        number: parsed(&number, "settlement_instruction.chain_epoch", NUMBER)?,
        channel: parsed(&channel, "roots.channel", NAME)?,
        root: node(&root, "settlement_instruction.root")?,
        count: unsigned(column(row, 8, doing)?, "settlement_instruction.count")?,
    })
}

fn hex_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of(text: &str) -> Result<Vec<u8>, StoreError> {
    const PLACE: &str = "settlement_transaction.bytes";
    const EXPECTED: &str = "bytes in hexadecimal";
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2);
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    let bytes: Option<Vec<u8>> = digits.collect();
    bytes.ok_or_else(|| corrupt(PLACE, text, EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_back_and_what_is_no_hexadecimal_is_refused() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes_of(&hex_of(&bytes)).ok(), Some(bytes));
        for wrong in ["a", "zz", "0é", "00f"] {
            assert!(bytes_of(wrong).is_err(), "{wrong}");
        }
    }
}
