//! Tables of sealed epochs, their participants and their trees.

/// An epoch whose seal is committed.
pub mod epochs {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "epochs")]
    pub struct Model {
        /// The epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The first slot of the chain in it, where known.
        pub start_slot: Option<i64>,
        /// The last slot of the chain in it, where known.
        pub end_slot: Option<i64>,
        /// The second of the seal record, once every channel has its trees.
        pub finalized_at: Option<i64>,
        /// The number of the seal record.
        pub seal_seq: i64,
        /// The time of the seal record, in Unix milliseconds.
        pub sealed_at: i64,
        /// The time of the seal record, once every channel is frozen.
        pub frozen_at: Option<i64>,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A frozen channel in an epoch.
pub mod sealed_epochs {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "sealed_epochs")]
    pub struct Model {
        /// The epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// The root of the participation tree; none before it is built.
        pub root: Option<String>,
        /// The second of the seal record.
        pub sealed_at: i64,
        /// 1 once the claim root is on the chain.
        pub published: i32,
        /// The token group of the first participant.
        #[sea_orm(primary_key, auto_increment = false)]
        pub token_group: String,
        /// The category of the first participant.
        #[sea_orm(primary_key, auto_increment = false)]
        pub category: String,
        /// The second in which it was published.
        pub published_at: Option<i64>,
        /// How many were frozen.
        pub participants: i64,
        /// The time of the seal record, in Unix milliseconds.
        pub sealed_at_ms: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A participant of a frozen channel.
pub mod sealed_participants {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "sealed_participants")]
    pub struct Model {
        /// The epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// The place in the sealed order.
        #[sea_orm(primary_key, auto_increment = false)]
        pub idx: i64,
        /// The person.
        pub user_hash: String,
        /// The login, where it was known and the person has not opted out.
        pub username: Option<String>,
        /// The token group of the channel.
        pub token_group: String,
        /// The category of the channel.
        pub category: String,
        /// The weight, in hundredths.
        pub weight: i64,
        /// The amount of the claim in the smallest unit, in decimal.
        pub amount: String,
        /// The wallet that may claim; all zero where none was bound.
        pub claimer: String,
        /// The leaf of the claim tree.
        pub claim_leaf: String,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The claim tree of a channel in an epoch.
pub mod l2_tree_cache {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "l2_tree_cache")]
    pub struct Model {
        /// The epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The channel.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// The root.
        pub root: String,
        /// The levels, the leaves first, as an array of arrays; empty for a large tree.
        pub levels_json: String,
        /// How many leaves it has.
        pub participant_count: i64,
        /// The second of the seal record.
        pub built_at: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A claim root that is to be settled.
pub mod roots {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "roots")]
    pub struct Model {
        /// Given by the database.
        #[sea_orm(primary_key)]
        pub id: i64,
        /// The epoch.
        pub epoch: i64,
        /// The channel.
        pub channel: String,
        /// The root of the claim tree.
        pub root: String,
        /// How many leaves it has.
        pub count: i64,
        /// The second of the seal record.
        pub finalized_at: i64,
        /// How far the settlement is.
        pub status: String,
        /// Where the last transaction went: `program` or `memo`.
        pub target: Option<String>,
        /// The epoch's number in the last transaction, in decimal.
        pub chain_epoch: Option<String>,
        /// The code of the reason why it is held or failed.
        pub reason_code: Option<String>,
        /// What was found and what was expected.
        pub reason: Option<String>,
        /// 1 where an operator let it pass the policy.
        pub released: i32,
        /// When a held root is looked at again, in Unix milliseconds; none where no time brings it
        /// back.
        pub look_again_ms: Option<i64>,
        /// The signature of the transaction that it is signed or was settled in.
        pub tx_signature: Option<String>,
        /// When it was read back, in Unix milliseconds.
        pub settled_at_ms: Option<i64>,
        /// The slot at which it was read back.
        pub settled_slot: Option<i64>,
        /// The number on chain that stands in its slot, in decimal.
        pub superseded_by: Option<String>,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
