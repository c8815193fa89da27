//! Tables that the batcher writes.

/// A person took part in a channel in an epoch.
pub mod channel_participation {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "channel_participation")]
    pub struct Model {
        /// The epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// The person.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_hash: String,
        /// The second of the earliest event.
        pub first_seen: i64,
        /// The token group of the channel when the row was first written.
        pub token_group: String,
        /// The category of the channel when the row was first written.
        pub category: String,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A signal of a person in a minute.
pub mod user_signals {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_signals")]
    pub struct Model {
        /// The epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// The minute, by the second of its start.
        #[sea_orm(primary_key, auto_increment = false)]
        pub timestamp: i64,
        /// The kind of signal.
        #[sea_orm(primary_key, auto_increment = false)]
        pub signal_type: String,
        /// The person.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_hash: String,
        /// How much; whole numbers below 2^53.
        pub value: f64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The name of a person.
pub mod user_mapping {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_mapping")]
    pub struct Model {
        /// The person.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_hash: String,
        /// The login.
        pub username: String,
        /// The second in which the name was first heard.
        pub first_seen: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The two hashes of a person.
pub mod user_alias {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_alias")]
    pub struct Model {
        /// The hash by login.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_hash: String,
        /// The hash by Twitch id.
        pub id_hash: String,
        /// The second in which the pair was first heard.
        pub first_seen: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What happened in a channel in a minute.
pub mod twitch_minute_stats {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "twitch_minute_stats")]
    pub struct Model {
        /// The minute, by the second of its start.
        #[sea_orm(primary_key, auto_increment = false)]
        pub minute_ts: i64,
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// Messages.
        pub messages: i64,
        /// Subscriptions given away.
        pub gifts: i64,
        /// Subscriptions, new and renewed.
        pub new_subs: i64,
        /// Bits.
        pub bits: i64,
        /// Distinct people with a message, as of the last batch that touched the minute.
        pub unique_chatters: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Lines of a channel and epoch by outcome.
pub mod ingest_ledger {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "ingest_ledger")]
    pub struct Model {
        /// The epoch, or 0 where no time was known.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The channel, or nothing where none was known.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// Lines that were received.
        pub received: i64,
        /// Of these, counted.
        pub counted: i64,
        /// Of these, suppressed.
        pub suppressed: i64,
        /// Of these, mirrored from another channel.
        pub mirrored: i64,
        /// Of these, duplicates.
        pub duplicate: i64,
        /// Of these, late.
        pub late: i64,
        /// Of these, anonymous.
        pub anonymous: i64,
        /// Of these, invalid.
        pub invalid: i64,
        /// Of these, of no interest.
        pub other: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A stretch of time in which a channel was not heard.
pub mod coverage_gap {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "coverage_gap")]
    pub struct Model {
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// From when, in Unix milliseconds.
        #[sea_orm(primary_key, auto_increment = false)]
        pub from_ms: i64,
        /// The first millisecond in which it was heard again.
        pub until_ms: i64,
        /// Why.
        pub reason: String,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Where the store stands in its journal: one row.
pub mod journal_offset {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "journal_offset")]
    pub struct Model {
        /// Always 1.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        /// The journal; none before the first batch.
        pub journal: Option<String>,
        /// The last record that is part of the store.
        pub seq: i64,
        /// The segment of the next record: a hint.
        pub segment: i64,
        /// Where in the segment the next record begins: a hint.
        pub byte: i64,
        /// The settings in force, as JSON.
        pub arithmetic: Option<String>,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A line that crashed its collector again and again.
pub mod quarantine {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "quarantine")]
    pub struct Model {
        /// Given by the database.
        #[sea_orm(primary_key)]
        pub id: i64,
        /// The channel.
        pub channel: String,
        /// The line.
        pub line: String,
        /// How the collector ended.
        pub error: String,
        /// How often.
        pub crashes: i64,
        /// When, in Unix milliseconds.
        pub created_at: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
