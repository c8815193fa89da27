//! Tables of opt-outs and wallets.

/// A hash of a person who opted out.
pub mod suppression_list {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "suppression_list")]
    pub struct Model {
        /// The hash.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_hash: String,
        /// Never written.
        pub username: Option<String>,
        /// The second in which they asked first.
        pub requested_at: i64,
        /// Why, in the words of then.
        pub reason: Option<String>,
        /// Never written.
        pub ip_hash: Option<String>,
        /// The same second.
        pub created_at: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An opt-out, or its end.
pub mod suppression_log {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "suppression_log")]
    pub struct Model {
        /// Given by the database.
        #[sea_orm(primary_key)]
        pub id: i64,
        /// The hash.
        pub user_hash: String,
        /// Never written.
        pub username: Option<String>,
        /// opted_out or opted_in.
        pub action: String,
        /// The second in which it was asked for.
        pub requested_at: i64,
        /// Never written.
        pub ip_hash: Option<String>,
        /// The same second.
        pub created_at: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A wallet that is bound to a person.
pub mod user_wallet_bindings {
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_wallet_bindings")]
    pub struct Model {
        /// The person.
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_hash: String,
        /// Never written.
        pub username: Option<String>,
        /// The wallet.
        #[sea_orm(primary_key, auto_increment = false)]
        pub wallet: String,
        /// True where the person proved to own it.
        pub verified: bool,
        /// Who says so.
        pub source: String,
        /// The second in which it was first bound.
        pub created_at: i64,
        /// The second in which it was last bound.
        pub updated_at: i64,
    }

    /// None: the keys are the only relation.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
