//! Reads the participants of channels, in pieces that bound how much is in memory.

use std::collections::HashMap;

use sea_orm::QueryResult;
use twzrd_domain::batch::Group;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Wallet};
use twzrd_domain::ports::StoreError;
use twzrd_domain::seal::Participant;

use crate::connect::Store;
use crate::sql::Type::Text;
use crate::sql::{HEX, NAME, among, column, int, list, parsed, query, unsigned};

/// How many channels one query reads.
const CHANNELS_A_QUERY: usize = 2000;

/// How many participants one query reads. A channel with more is read in pages.
pub(crate) const PEOPLE_A_QUERY: u64 = 20_000;

const DOING: &str = "reading participants";

/// What freezing reads of each participant besides the signals. Names and wallets are looked up
/// one by one: a join is at the mercy of statistics that a young table does not have.
const COLUMNS: &str = "p.channel, p.user_hash, p.first_seen, p.token_group, p.category, \
    (SELECT m.username FROM user_mapping m WHERE m.user_hash = p.user_hash), \
    (SELECT b.wallet FROM user_wallet_bindings b WHERE b.user_hash = p.user_hash \
     ORDER BY b.verified DESC, b.updated_at DESC, b.wallet LIMIT 1)";

impl Store {
    pub(crate) async fn read_participants(
        &self,
        epoch: Epoch,
        channels: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError> {
        let epoch = int(epoch.0, "channel_participation.epoch")?;
        let mut read: HashMap<String, Vec<Participant>> = HashMap::new();
        for channels in channels.chunks(CHANNELS_A_QUERY) {
            let mut together = Vec::new();
            let mut people = 0;
            for (channel, count) in self.count_participants(epoch, channels).await? {
                if count > PEOPLE_A_QUERY {
                    let all = self.read_large_channel(epoch, &channel, count).await?;
                    read.insert(channel, all);
                    continue;
                }
                if people + count > PEOPLE_A_QUERY {
                    let full = std::mem::take(&mut together);
                    self.read_small_channels(epoch, full, &mut read).await?;
                    people = 0;
                }
                people += count;
                together.push(channel);
            }
            self.read_small_channels(epoch, together, &mut read).await?;
        }
        // In the order that was asked for.
        let of = |channel: &Channel| read.remove(channel.as_str()).unwrap_or_default();
        Ok(channels.iter().map(of).collect())
    }

    async fn count_participants(
        &self,
        epoch: i64,
        channels: &[Channel],
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let backend = self.backend();
        let sql = format!(
            "SELECT channel, count(*) FROM channel_participation \
             WHERE epoch = $1 AND {} GROUP BY channel",
            among(backend, "channel", 2)
        );
        let names = list(backend, Text, channels.iter().map(Channel::as_str));
        let rows = query(self.reader(), sql, [epoch.into(), names], DOING).await?;
        let pair = |row: &QueryResult| {
            let count = unsigned(column(row, 1, DOING)?, "a count of participants")?;
            Ok((column(row, 0, DOING)?, count))
        };
        rows.iter().map(pair).collect()
    }

    async fn read_small_channels(
        &self,
        epoch: i64,
        channels: Vec<String>,
        read: &mut HashMap<String, Vec<Participant>>,
    ) -> Result<(), StoreError> {
        if channels.is_empty() {
            return Ok(());
        }
        let backend = self.backend();
        let sql = format!(
            "SELECT {COLUMNS} FROM channel_participation p WHERE p.epoch = $1 AND {}",
            among(backend, "p.channel", 2)
        );
        let names = list(backend, Text, channels.iter().cloned());
        let mut sums = self.sums(epoch, names.clone()).await?;
        for row in query(self.reader(), sql, [epoch.into(), names], DOING).await? {
            let channel: String = column(&row, 0, DOING)?;
            let person = participant(&row)?;
            read.entry(channel).or_default().push(person);
        }
        for channel in channels {
            if let Some(people) = read.get_mut(&channel) {
                let sums = sums.remove(&channel).unwrap_or_default();
                for person in people.iter_mut() {
                    person.sums = sums.get(&person.user).copied();
                }
                order(people);
            }
        }
        Ok(())
    }

    async fn read_large_channel(
        &self,
        epoch: i64,
        channel: &str,
        count: u64,
    ) -> Result<Vec<Participant>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM channel_participation p \
             WHERE p.epoch = $1 AND p.channel = $2 AND p.user_hash > $3 \
             ORDER BY p.user_hash LIMIT $4"
        );
        let page = int(PEOPLE_A_QUERY, "a number of participants")?;
        let mut people: Vec<Participant> = Vec::new();
        loop {
            let behind = people.last().map(|person| person.user.to_string());
            let behind = behind.unwrap_or_default();
            let values = [epoch.into(), channel.into(), behind.into(), page.into()];
            let rows = query(self.reader(), sql.as_str(), values, DOING).await?;
            let is_last = (rows.len() as u64) < PEOPLE_A_QUERY;
            for row in rows {
                people.push(participant(&row)?);
            }
            if is_last {
                break;
            }
        }
        let sums = self.sums_of_large(epoch, channel, count).await?;
        for person in &mut people {
            person.sums = sums.get(&person.user).copied();
        }
        order(&mut people);
        Ok(people)
    }
}

/// The sealed order.
fn order(people: &mut [Participant]) {
    people.sort_unstable_by_key(|person| (person.first_seen, person.user));
}

/// A participant, without signals.
fn participant(row: &QueryResult) -> Result<Participant, StoreError> {
    let user: String = column(row, 1, DOING)?;
    let login: Option<String> = column(row, 5, DOING)?;
    let login = login.map(|login| parsed(&login, "user_mapping.username", NAME));
    let wallet: Option<String> = column(row, 6, DOING)?;
    let wallet = wallet.map(|wallet| parsed(&wallet, "user_wallet_bindings.wallet", HEX));
    let token_group: String = column(row, 3, DOING)?;
    let category: String = column(row, 4, DOING)?;
    let first_seen = column(row, 2, DOING)?;
    Ok(Participant {
        user: parsed(&user, "channel_participation.user_hash", HEX)?,
        first_seen: unsigned(first_seen, "channel_participation.first_seen")?,
        login: login.transpose()?,
        wallet: wallet.transpose()?.unwrap_or(Wallet::UNBOUND),
        sums: None,
        group: Group {
            token_group: token_group.into(),
            category: category.into(),
        },
    })
}
