//! Writes the rows of a batch, a table after the other.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, Value};
use twzrd_domain::batch::{Batch, MinuteRow};
use twzrd_domain::epoch::Minute;
use twzrd_domain::ports::StoreError;
use twzrd_domain::signal::SignalKind;

use crate::connect::Store;
use crate::sql::Type::{Int, Real, Text};
use crate::sql::{Insert, column, given, int, query, unsigned};

const DOING: &str = "writing the rows of a batch";

const PARTICIPANTS: Insert<6> = Insert {
    table: "channel_participation",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("user_hash", Text),
        ("first_seen", Int),
        ("token_group", Text),
        ("category", Text),
    ],
    conflict: "ON CONFLICT (epoch, channel, user_hash) DO UPDATE \
        SET first_seen = excluded.first_seen \
        WHERE excluded.first_seen < channel_participation.first_seen",
    doing: DOING,
};

/// Signals of one kind after the other would visit each page of the table again and again: the
/// rule for presence is part of the statement.
const SIGNALS: Insert<6> = Insert {
    table: "user_signals",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("timestamp", Int),
        ("signal_type", Text),
        ("user_hash", Text),
        ("value", Real),
    ],
    conflict: "ON CONFLICT (epoch, channel, timestamp, signal_type, user_hash) DO UPDATE \
        SET value = user_signals.value + excluded.value \
        WHERE excluded.signal_type <> 'presence'",
    doing: DOING,
};

const MINUTES: Insert<7> = Insert {
    table: "twitch_minute_stats",
    columns: [
        ("minute_ts", Int),
        ("channel", Text),
        ("messages", Int),
        ("gifts", Int),
        ("new_subs", Int),
        ("bits", Int),
        ("unique_chatters", Int),
    ],
    conflict: "ON CONFLICT (minute_ts, channel) DO UPDATE SET \
        messages = twitch_minute_stats.messages + excluded.messages, \
        gifts = twitch_minute_stats.gifts + excluded.gifts, \
        new_subs = twitch_minute_stats.new_subs + excluded.new_subs, \
        bits = twitch_minute_stats.bits + excluded.bits, \
        unique_chatters = excluded.unique_chatters",
    doing: DOING,
};

const NAMES: Insert<3> = Insert {
    table: "user_mapping",
    columns: [("user_hash", Text), ("username", Text), ("first_seen", Int)],
    conflict: "ON CONFLICT (user_hash) DO NOTHING",
    doing: DOING,
};

const ALIASES: Insert<3> = Insert {
    table: "user_alias",
    columns: [("user_hash", Text), ("id_hash", Text), ("first_seen", Int)],
    conflict: "ON CONFLICT (user_hash) DO NOTHING",
    doing: DOING,
};

const LEDGER: Insert<11> = Insert {
    table: "ingest_ledger",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("received", Int),
        ("counted", Int),
        ("suppressed", Int),
        ("mirrored", Int),
        ("duplicate", Int),
        ("late", Int),
        ("anonymous", Int),
        ("invalid", Int),
        ("other", Int),
    ],
    conflict: "ON CONFLICT (epoch, channel) DO UPDATE SET \
        received = ingest_ledger.received + excluded.received, \
        counted = ingest_ledger.counted + excluded.counted, \
        suppressed = ingest_ledger.suppressed + excluded.suppressed, \
        mirrored = ingest_ledger.mirrored + excluded.mirrored, \
        duplicate = ingest_ledger.duplicate + excluded.duplicate, \
        late = ingest_ledger.late + excluded.late, \
        anonymous = ingest_ledger.anonymous + excluded.anonymous, \
        invalid = ingest_ledger.invalid + excluded.invalid, \
        other = ingest_ledger.other + excluded.other",
    doing: DOING,
};

impl Store {
    pub(crate) async fn write_rows<C: ConnectionTrait>(
        &self,
        db: &C,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        self.write_participants(db, batch).await?;
        write_signals(db, batch).await?;
        write_minutes(db, &batch.minutes).await?;
        write_people(db, batch).await?;
        write_ledger(db, batch).await
    }

    async fn write_participants<C: ConnectionTrait>(
        &self,
        db: &C,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        let groups = self.groups();
        let rows = batch.participants.iter().map(|row| {
            let group = groups.of(&row.channel);
            Ok([
                int(row.epoch.0, "channel_participation.epoch")?.into(),
                row.channel.as_str().into(),
                row.user.to_string().into(),
                int(row.first_seen, "channel_participation.first_seen")?.into(),
                group.token_group.as_str().into(),
                group.category.as_str().into(),
            ])
        });
        PARTICIPANTS.run(db, rows).await
    }
}

async fn write_signals<C: ConnectionTrait>(db: &C, batch: &Batch) -> Result<(), StoreError> {
    let rows = batch.signals.iter().map(|row| {
        Ok([
            int(row.epoch.0, "user_signals.epoch")?.into(),
            row.channel.as_str().into(),
            int(row.minute.0, "user_signals.timestamp")?.into(),
            row.kind.as_str().into(),
            row.user.to_string().into(),
            real(row.value).into(),
        ])
    });
    SIGNALS.run(db, rows).await
}

/// Exact below 2^53, which no sum of signals reaches.
#[allow(clippy::cast_precision_loss)]
const fn real(value: u64) -> f64 {
    value as f64
}

async fn write_minutes<C: ConnectionTrait>(
    db: &C,
    minutes: &[MinuteRow],
) -> Result<(), StoreError> {
    let chatters = chatters(db, minutes).await?;
    let rows = minutes.iter().map(|row| {
        let people = chatters.get(&(row.minute, row.channel.as_str().to_owned()));
        Ok([
            int(row.minute.0, "twitch_minute_stats.minute_ts")?.into(),
            row.channel.as_str().into(),
            int(row.messages, "twitch_minute_stats.messages")?.into(),
            int(row.gifts, "twitch_minute_stats.gifts")?.into(),
            int(row.new_subs, "twitch_minute_stats.new_subs")?.into(),
            int(row.bits, "twitch_minute_stats.bits")?.into(),
            people.copied().unwrap_or(0).into(),
        ])
    });
    MINUTES.run(db, rows).await
}

/// How many people wrote in these minutes of their channels.
async fn chatters<C: ConnectionTrait>(
    db: &C,
    minutes: &[MinuteRow],
) -> Result<HashMap<(Minute, String), i64>, StoreError> {
    let (whole, parted): (Vec<&MinuteRow>, Vec<&MinuteRow>) =
        minutes.iter().partition(|row| row.epochs.len() == 1);
    // Within one epoch each person has one row, and counting rows is counting people. Minutes
    // that several epochs share are rare: they come with epochs that are not whole minutes.
    let here = format!(
        "s.epoch = given.epoch AND s.channel = given.channel AND s.timestamp = given.minute \
         AND s.signal_type = '{}'",
        SignalKind::Message.as_str()
    );
    let rows = format!("(SELECT count(*) FROM user_signals s WHERE {here}) FROM given");
    let people = format!(
        "count(DISTINCT s.user_hash) FROM given CROSS JOIN user_signals s WHERE {here} \
         GROUP BY given.minute, given.channel"
    );
    let mut counted = HashMap::with_capacity(minutes.len());
    for (minutes, count) in [(whole, rows), (parted, people)] {
        for minutes in minutes.chunks(5000) {
            let keys = minutes.iter().flat_map(|row| keys(row));
            let keys: Vec<[Value; 3]> = keys.collect::<Result<_, _>>()?;
            let columns = [("epoch", Int), ("channel", Text), ("minute", Int)];
            let (given, values) = given(db.get_database_backend(), &columns, keys, 1);
            let count = count.replace("FROM given", &format!("FROM {given}"));
            let sql = format!("SELECT given.minute, given.channel, {count}");
            for row in query(db, sql, values, DOING).await? {
                let minute = unsigned(column(&row, 0, DOING)?, "user_signals.timestamp")?;
                let key = (Minute(minute), column(&row, 1, DOING)?);
                counted.insert(key, column(&row, 2, DOING)?);
            }
        }
    }
    Ok(counted)
}

/// A row for each epoch of a minute: the epoch, the channel and the minute.
fn keys(row: &MinuteRow) -> impl Iterator<Item = Result<[Value; 3], StoreError>> {
    row.epochs.iter().map(|epoch| {
        Ok([
            int(epoch.0, "user_signals.epoch")?.into(),
            row.channel.as_str().into(),
            int(row.minute.0, "user_signals.timestamp")?.into(),
        ])
    })
}

async fn write_people<C: ConnectionTrait>(db: &C, batch: &Batch) -> Result<(), StoreError> {
    let names = batch.names.iter().map(|row| {
        Ok([
            row.user.to_string().into(),
            row.login.as_str().into(),
            int(row.first_seen, "user_mapping.first_seen")?.into(),
        ])
    });
    NAMES.run(db, names).await?;
    let aliases = batch.aliases.iter().map(|row| {
        Ok([
            row.user.to_string().into(),
            row.by_id.to_string().into(),
            int(row.first_seen, "user_alias.first_seen")?.into(),
        ])
    });
    ALIASES.run(db, aliases).await
}

async fn write_ledger<C: ConnectionTrait>(db: &C, batch: &Batch) -> Result<(), StoreError> {
    let rows = batch.ledger.iter().map(|row| {
        let lines = |lines| int(lines, "a count of ingest_ledger").map(Value::from);
        let counts = &row.counts;
        Ok([
            int(row.epoch.0, "ingest_ledger.epoch")?.into(),
            row.channel.as_str().into(),
            lines(counts.received)?,
            lines(counts.counted)?,
            lines(counts.suppressed)?,
            lines(counts.mirrored)?,
            lines(counts.duplicate)?,
            lines(counts.late)?,
            lines(counts.anonymous)?,
            lines(counts.invalid)?,
            lines(counts.other)?,
        ])
    });
    LEDGER.run(db, rows).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_once_a_minute_is_what_the_statement_keeps() {
        for kind in SignalKind::ALL {
            let kept = SIGNALS
                .conflict
                .contains(&format!("<> '{}'", kind.as_str()));
            assert_eq!(kept, kind.is_once_a_minute(), "{}", kind.as_str());
        }
    }
}
