//! Adds up the signals of people.
//!
//! The database hands over a row for each minute and kind of a channel, with its people packed
//! into one text: that is the order of the table, so that it neither sorts nor hands over a row
//! a signal, and several times as fast as adding up by person there.

use std::collections::HashMap;

use sea_orm::{QueryResult, Value};
use twzrd_domain::identity::UserHash;
use twzrd_domain::ports::StoreError;
use twzrd_domain::signal::{SignalKind, SignalSums};

use crate::connect::Store;
use crate::sql::{HEX, among, column, parsed, query};

/// How many people times minutes one query reads of a large channel.
const PEOPLE_MINUTES_A_QUERY: u64 = 1_000_000;

/// How many characters a hash has.
const HASH: usize = 64;

const DOING: &str = "adding up signals";

/// The signals of people, added up.
pub(crate) type Sums = HashMap<UserHash, SignalSums>;

impl Store {
    /// The sums of a list of channels, by channel.
    pub(crate) async fn sums(
        &self,
        epoch: i64,
        channels: Value,
    ) -> Result<HashMap<String, Sums>, StoreError> {
        let among = among(self.backend(), "channel", 2);
        let sql = packed(&format!("epoch = $1 AND {among}"));
        let mut sums: HashMap<String, Sums> = HashMap::new();
        for row in query(self.reader(), sql, [epoch.into(), channels], DOING).await? {
            let channel = column(&row, 0, DOING)?;
            add(sums.entry(channel).or_default(), &row)?;
        }
        Ok(sums)
    }

    /// The sums of one channel with that many people, a few minutes at a time.
    pub(crate) async fn sums_of_large(
        &self,
        epoch: i64,
        channel: &str,
        people: u64,
    ) -> Result<Sums, StoreError> {
        let minutes = self.minutes(epoch, channel).await?;
        let at_once = PEOPLE_MINUTES_A_QUERY / people.max(1);
        let at_once = usize::try_from(at_once).unwrap_or(usize::MAX).max(1);
        let sql = packed("epoch = $1 AND channel = $2 AND timestamp >= $3 AND timestamp <= $4");
        let mut sums = Sums::new();
        for minutes in minutes.chunks(at_once) {
            let (Some(&first), Some(&last)) = (minutes.first(), minutes.last()) else {
                continue;
            };
            let values = [epoch.into(), channel.into(), first.into(), last.into()];
            for row in query(self.reader(), sql.as_str(), values, DOING).await? {
                add(&mut sums, &row)?;
            }
        }
        Ok(sums)
    }

    /// The minutes of which there are signals, found by one step of the key for each.
    async fn minutes(&self, epoch: i64, channel: &str) -> Result<Vec<i64>, StoreError> {
        let sql = "WITH RECURSIVE step(minute) AS ( \
                SELECT min(timestamp) FROM user_signals WHERE epoch = $1 AND channel = $2 \
                UNION ALL \
                SELECT (SELECT min(s.timestamp) FROM user_signals s \
                        WHERE s.epoch = $1 AND s.channel = $2 AND s.timestamp > step.minute) \
                FROM step WHERE step.minute IS NOT NULL) \
            SELECT minute FROM step WHERE minute IS NOT NULL ORDER BY minute";
        let values = [epoch.into(), channel.into()];
        let rows = query(self.reader(), sql, values, DOING).await?;
        rows.iter().map(|row| column(row, 0, DOING)).collect()
    }
}

/// Rows of channel, kind, people and values. Both texts are put together from the same rows in
/// the same order.
fn packed(condition: &str) -> String {
    format!(
        "SELECT channel, signal_type, string_agg(user_hash, ''), \
         string_agg(CAST(CAST(value AS bigint) AS text), ',') \
         FROM user_signals WHERE {condition} GROUP BY channel, timestamp, signal_type"
    )
}

fn add(sums: &mut Sums, row: &QueryResult) -> Result<(), StoreError> {
    let kind: String = column(row, 1, DOING)?;
    let people: String = column(row, 2, DOING)?;
    let values: String = column(row, 3, DOING)?;
    let kind = SignalKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind);
    let kind = kind.ok_or_else(|| corrupt("user_signals.signal_type", "an unknown kind"))?;
    let mut values = values.split(',');
    let mut rest = people.as_str();
    while let Some((user, behind)) = rest.split_at_checked(HASH) {
        rest = behind;
        let user: UserHash = parsed(user, "user_signals.user_hash", HEX)?;
        let value = values.next().unwrap_or_default();
        let value: u64 = parsed(value, "user_signals.value", "a whole number")?;
        let sum = of_mut(sums.entry(user).or_default(), kind);
        *sum = sum.saturating_add(value);
    }
    if !rest.is_empty() || values.next().is_some() {
        return Err(corrupt(
            "user_signals.user_hash",
            "a hash of another length",
        ));
    }
    Ok(())
}

fn corrupt(place: &'static str, found: &str) -> StoreError {
    StoreError::Corrupt {
        place,
        found: found.to_owned(),
        expected: "what was written",
    }
}

const fn of_mut(sums: &mut SignalSums, kind: SignalKind) -> &mut u64 {
    match kind {
        SignalKind::Presence => &mut sums.presence,
        SignalKind::Message => &mut sums.message,
        SignalKind::Sub => &mut sums.sub,
        SignalKind::Resub => &mut sums.resub,
        SignalKind::Gift => &mut sums.gift,
        SignalKind::Bits => &mut sums.bits,
        SignalKind::Raid => &mut sums.raid,
    }
}
