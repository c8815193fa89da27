//! Applies the controls of a batch, in the order of the journal.

use std::collections::BTreeMap;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, Set};
use twzrd_domain::batch::{Change, Control};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::StoreError;
use twzrd_domain::record::{Bind, Gap, Suppress};

use crate::batch::write_arithmetic;
use crate::connect::Store;
use crate::entity::{epochs, user_wallet_bindings};
use crate::error::Doing;
use crate::sql::Type::{Int, Text, TextOrNull};
use crate::sql::{Insert, among, column, execute, int, list, query};

const DOING: &str = "applying a control";

const GAPS: Insert<4> = Insert {
    table: "coverage_gap",
    columns: [
        ("channel", Text),
        ("from_ms", Int),
        ("until_ms", Int),
        ("reason", Text),
    ],
    conflict: "ON CONFLICT (channel, from_ms) DO UPDATE \
        SET until_ms = excluded.until_ms, reason = excluded.reason \
        WHERE excluded.until_ms > coverage_gap.until_ms",
    doing: DOING,
};

const OPTED_OUT: Insert<4> = Insert {
    table: "suppression_list",
    columns: [
        ("user_hash", Text),
        ("requested_at", Int),
        ("reason", TextOrNull),
        ("created_at", Int),
    ],
    conflict: "ON CONFLICT (user_hash) DO NOTHING",
    doing: DOING,
};

const OPT_LOG: Insert<4> = Insert {
    table: "suppression_log",
    columns: [
        ("user_hash", Text),
        ("action", Text),
        ("requested_at", Int),
        ("created_at", Int),
    ],
    conflict: "",
    doing: DOING,
};

impl Store {
    pub(crate) async fn apply_controls<C: ConnectionTrait>(
        &self,
        db: &C,
        controls: &[Control],
    ) -> Result<(), StoreError> {
        // No other control reads or writes gaps, and a lost connection opens one for each of its
        // channels: they are written together.
        write_gaps(db, controls).await?;
        for control in controls {
            match &control.change {
                Change::Seal(epoch) => seal(db, control, epoch.0).await?,
                Change::Suppress(person) => suppress(db, person, control.at).await?,
                Change::Unsuppress(person) => unsuppress(db, person, control.at).await?,
                Change::Bind(bind) => write_binding(db, bind, control.at).await?,
                Change::Settings(arithmetic) => write_arithmetic(db, arithmetic).await?,
                Change::Gap(_) => {}
            }
        }
        Ok(())
    }
}

async fn write_gaps<C: ConnectionTrait>(db: &C, controls: &[Control]) -> Result<(), StoreError> {
    let mut gaps: BTreeMap<(&str, UnixMs), &Gap> = BTreeMap::new();
    for control in controls {
        let Change::Gap(gap) = &control.change else {
            continue;
        };
        let known = gaps.entry((gap.channel.as_str(), gap.from)).or_insert(gap);
        if gap.until > known.until {
            *known = gap;
        }
    }
    let rows = gaps.into_values().map(|gap| {
        Ok([
            gap.channel.as_str().into(),
            int(gap.from, "coverage_gap.from_ms")?.into(),
            int(gap.until, "coverage_gap.until_ms")?.into(),
            gap.reason.as_str().into(),
        ])
    });
    GAPS.run(db, rows).await
}

async fn seal<C: ConnectionTrait>(db: &C, control: &Control, epoch: u64) -> Result<(), StoreError> {
    let row = epochs::ActiveModel {
        epoch: Set(int(epoch, "epochs.epoch")?),
        seal_seq: Set(int(control.seq, "epochs.seal_seq")?),
        sealed_at: Set(int(control.at, "epochs.sealed_at")?),
        ..Default::default()
    };
    let known = OnConflict::column(epochs::Column::Epoch)
        .do_nothing()
        .to_owned();
    let insert = epochs::Entity::insert(row).on_conflict(known);
    match insert.exec_without_returning(db).await {
        // The epoch is sealed already: the first seal stands.
        Ok(_) | Err(DbErr::RecordNotInserted) => Ok(()),
        Err(error) => Err(error).doing(DOING),
    }
}

/// Puts a person on the list, and takes them out of all that is not sealed, and their name out of
/// everything.
async fn suppress<C: ConnectionTrait>(
    db: &C,
    person: &Suppress,
    at: UnixMs,
) -> Result<(), StoreError> {
    let second = int(at / 1000, "suppression_list.requested_at")?;
    let hashes = hashes_of(person);
    let reason = Some(person.reason.as_str()).filter(|reason| !reason.is_empty());
    let rows = hashes.iter().map(|hash| {
        Ok([
            hash.as_str().into(),
            second.into(),
            reason.into(),
            second.into(),
        ])
    });
    OPTED_OUT.run(db, rows).await?;
    log(db, &hashes, "opted_out", second).await?;
    let people = with_logins(db, hashes).await?;
    remove_from_open_epochs(db, &people).await?;
    remove_names(db, &people).await
}

async fn unsuppress<C: ConnectionTrait>(
    db: &C,
    person: &Suppress,
    at: UnixMs,
) -> Result<(), StoreError> {
    let hashes = hashes_of(person);
    let backend = db.get_database_backend();
    let sql = format!(
        "DELETE FROM suppression_list WHERE {}",
        among(backend, "user_hash", 1)
    );
    execute(db, sql, [list(backend, Text, hashes.clone())], DOING).await?;
    let second = int(at / 1000, "suppression_log.requested_at")?;
    log(db, &hashes, "opted_in", second).await
}

/// The hashes as text, each once.
fn hashes_of(person: &Suppress) -> Vec<String> {
    let mut hashes: Vec<String> = person.hashes.iter().map(ToString::to_string).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

async fn log<C: ConnectionTrait>(
    db: &C,
    hashes: &[String],
    action: &str,
    second: i64,
) -> Result<(), StoreError> {
    let rows = hashes.iter().map(|hash| {
        Ok([
            hash.as_str().into(),
            action.into(),
            second.into(),
            second.into(),
        ])
    });
    OPT_LOG.run(db, rows).await
}

/// The hashes, and those by login of the people whom some of them name by id.
async fn with_logins<C: ConnectionTrait>(
    db: &C,
    mut hashes: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT user_hash FROM user_alias WHERE {}",
        among(backend, "id_hash", 1)
    );
    let given = list(backend, Text, hashes.clone());
    for row in query(db, sql, [given], DOING).await? {
        hashes.push(column(&row, 0, DOING)?);
    }
    Ok(hashes)
}

/// The epochs that have participants and no seal, found by one step of the key for each epoch.
const OPEN_EPOCHS: &str = "WITH RECURSIVE step(epoch) AS ( \
        SELECT min(epoch) FROM channel_participation \
        UNION ALL \
        SELECT (SELECT min(p.epoch) FROM channel_participation p WHERE p.epoch > step.epoch) \
        FROM step WHERE step.epoch IS NOT NULL) \
    SELECT epoch FROM step \
    WHERE epoch IS NOT NULL AND epoch NOT IN (SELECT epoch FROM epochs)";

/// Takes people out of the epochs that are not sealed. Whoever has a signal in a channel takes
/// part in it, so that the participations say where to look.
async fn remove_from_open_epochs<C: ConnectionTrait>(
    db: &C,
    people: &[String],
) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let hashes = list(backend, Text, people.iter().cloned());
    // Without a table of channels: one step of the key for each channel, and one look into each.
    let channels = format!(
        "WITH RECURSIVE step(channel) AS ( \
            SELECT min(channel) FROM channel_participation WHERE epoch = $1 \
            UNION ALL \
            SELECT (SELECT min(p.channel) FROM channel_participation p \
                    WHERE p.epoch = $1 AND p.channel > step.channel) \
            FROM step WHERE step.channel IS NOT NULL) \
         SELECT step.channel FROM step WHERE EXISTS ( \
            SELECT 1 FROM channel_participation p \
            WHERE p.epoch = $1 AND p.channel = step.channel AND {})",
        among(backend, "p.user_hash", 2)
    );
    let conditions = format!(
        "epoch = $1 AND {} AND {}",
        among(backend, "channel", 2),
        among(backend, "user_hash", 3)
    );
    for row in query(db, OPEN_EPOCHS, [], DOING).await? {
        let epoch: i64 = column(&row, 0, DOING)?;
        let found = [epoch.into(), hashes.clone()];
        let found = query(db, channels.as_str(), found, DOING).await?;
        let found = found.iter().map(|row| column::<String>(row, 0, DOING));
        let found: Vec<String> = found.collect::<Result<_, _>>()?;
        if found.is_empty() {
            continue;
        }
        let values = [epoch.into(), list(backend, Text, found), hashes.clone()];
        for table in ["user_signals", "channel_participation"] {
            let sql = format!("DELETE FROM {table} WHERE {conditions}");
            execute(db, sql, values.clone(), DOING).await?;
        }
    }
    Ok(())
}

/// Takes the names of people out of every table.
async fn remove_names<C: ConnectionTrait>(db: &C, people: &[String]) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let among = among(backend, "user_hash", 1);
    let hashes = list(backend, Text, people.iter().cloned());
    for table in ["user_mapping", "user_alias"] {
        let sql = format!("DELETE FROM {table} WHERE {among}");
        execute(db, sql, [hashes.clone()], DOING).await?;
    }
    for table in ["sealed_participants", "user_wallet_bindings"] {
        let sql =
            format!("UPDATE {table} SET username = NULL WHERE username IS NOT NULL AND {among}");
        execute(db, sql, [hashes.clone()], DOING).await?;
    }
    Ok(())
}

async fn write_binding<C: ConnectionTrait>(
    db: &C,
    bind: &Bind,
    at: UnixMs,
) -> Result<(), StoreError> {
    use user_wallet_bindings::Column;
    let second = int(at / 1000, "user_wallet_bindings.updated_at")?;
    let row = user_wallet_bindings::ActiveModel {
        user_hash: Set(bind.user.to_string()),
        username: Set(None),
        wallet: Set(bind.wallet.to_string()),
        verified: Set(bind.verified),
        source: Set(bind.source.clone()),
        created_at: Set(second),
        updated_at: Set(second),
    };
    let known = OnConflict::columns([Column::UserHash, Column::Wallet])
        .update_columns([Column::Verified, Column::Source, Column::UpdatedAt])
        .to_owned();
    let written = user_wallet_bindings::Entity::insert(row).on_conflict(known);
    written
        .exec_without_returning(db)
        .await
        .doing(DOING)
        .map(drop)
}
