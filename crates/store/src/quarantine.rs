//! Lines that crashed their collector again and again, kept for whoever looks into it.

use sea_orm::{EntityTrait, Set};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::StoreError;

use crate::connect::Store;
use crate::entity::quarantine;
use crate::error::Doing;
use crate::sql::int;

/// A line that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The channel.
    pub channel: Channel,
    /// The line as it came.
    pub line: String,
    /// How the collector ended.
    pub error: String,
    /// How often it did.
    pub crashes: u64,
    /// When, in Unix milliseconds.
    pub at: UnixMs,
}

impl Store {
    /// Sets a line aside.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn quarantine(&self, quarantined: &Quarantined) -> Result<(), StoreError> {
        const DOING: &str = "setting a line aside";
        // The null character is not text to Postgres, and no line of IRC holds one.
        let text = |text: &str| text.replace('\0', "\u{fffd}");
        let row = quarantine::ActiveModel {
            channel: Set(quarantined.channel.to_string()),
            line: Set(text(&quarantined.line)),
            error: Set(text(&quarantined.error)),
            crashes: Set(int(quarantined.crashes, "quarantine.crashes")?),
            created_at: Set(int(quarantined.at, "quarantine.created_at")?),
            ..Default::default()
        };
        let transaction = self.begin(DOING).await?;
        let insert = quarantine::Entity::insert(row);
        insert.exec(&transaction).await.doing(DOING)?;
        transaction.commit().await.doing(DOING)
    }
}
