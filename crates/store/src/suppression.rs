//! The list of people who opted out, and the hashes under which a person is known.

use async_trait::async_trait;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder};
use twzrd_domain::identity::UserHash;
use twzrd_domain::ports::{StoreError, SuppressedPerson, SuppressionStore};

use crate::connect::Store;
use crate::entity::{suppression_list, user_alias};
use crate::error::Doing;
use crate::sql::{HEX, parsed, unsigned};

#[async_trait]
impl SuppressionStore for Store {
    async fn suppressed(&self) -> Result<Vec<SuppressedPerson>, StoreError> {
        let find = suppression_list::Entity::find();
        let find = find.order_by_asc(suppression_list::Column::UserHash);
        let rows = find.all(self.reader()).await;
        let person = |row: suppression_list::Model| {
            Ok(SuppressedPerson {
                user: parsed(&row.user_hash, "suppression_list.user_hash", HEX)?,
                requested_at: unsigned(row.requested_at, "suppression_list.requested_at")?,
                reason: row.reason,
            })
        };
        let rows = rows.doing("reading the list of opt-outs")?;
        rows.into_iter().map(person).collect()
    }

    async fn aliases(&self, user: UserHash) -> Result<Vec<UserHash>, StoreError> {
        use user_alias::Column;
        let hash = user.to_string();
        let either = Condition::any()
            .add(Column::UserHash.eq(hash.as_str()))
            .add(Column::IdHash.eq(hash.as_str()));
        let find = user_alias::Entity::find().filter(either);
        let rows = find.order_by_asc(Column::UserHash).all(self.reader()).await;
        let rows = rows.doing("asking for the other hashes of a person")?;
        let other = |row: user_alias::Model| {
            if row.user_hash == hash {
                parsed(&row.id_hash, "user_alias.id_hash", HEX)
            } else {
                parsed(&row.user_hash, "user_alias.user_hash", HEX)
            }
        };
        rows.into_iter().map(other).collect()
    }
}
