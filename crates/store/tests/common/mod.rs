//! What the tests of the store share: a fresh store of each kind, and rows to put into it.
#![allow(dead_code)]

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;
use twzrd_domain::batch::{
    AliasRow, Batch, Change, Control, Groups, LedgerRow, NameRow, ParticipantRow, Position,
    SignalRow,
};
use twzrd_domain::epoch::{Epoch, Minute, UnixMs};
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::{Channel, Name, UserHash};
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{BatchStore, BuiltTrees, Committed, SealStore, TreeStore};
use twzrd_domain::record::{Seq, Suppress};
use twzrd_domain::seal::{FrozenChannel, freeze};
use twzrd_domain::signal::SignalKind;
use twzrd_domain::weight::Arithmetic;
use twzrd_store::Store;
use twzrd_testkit::postgres::Postgres;

pub(crate) const HOUR: Epoch = Epoch(7200);
pub(crate) const NEXT_HOUR: Epoch = Epoch(10_800);
pub(crate) const SEALED_AT: UnixMs = 10_860_123;

/// Runs each of these tests on SQLite and on Postgres.
#[macro_export]
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::common::World::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::common::World::postgres().await).await;
            })+
        }
    };
}

/// A fresh store, and what must live as long as it does.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) home: Home,
}

pub(crate) enum Home {
    Folder(TempDir),
    Database(Postgres),
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        Self::sqlite_with(Groups::default()).await
    }

    pub(crate) async fn sqlite_with(groups: Groups) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twzrd.db");
        let store = Store::sqlite(path, groups).await.unwrap();
        let home = Home::Folder(folder);
        Self { store, home }
    }

    pub(crate) async fn postgres() -> Self {
        Self::postgres_with(Groups::default()).await
    }

    pub(crate) async fn postgres_with(groups: Groups) -> Self {
        let database = Postgres::start().unwrap();
        let store = Store::postgres(&database.url(), groups, 4).await.unwrap();
        let home = Home::Database(database);
        Self { store, home }
    }

    /// Opens the same database once more.
    pub(crate) async fn reopen(&self, groups: Groups) -> Store {
        match &self.home {
            Home::Folder(folder) => Store::sqlite(folder.path().join("twzrd.db"), groups).await,
            Home::Database(database) => Store::postgres(&database.url(), groups, 4).await,
        }
        .unwrap()
    }

    /// One number out of the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(self.store.backend(), sql);
        let row = self.store.reader().query_one_raw(statement).await.unwrap();
        row.unwrap().try_get_by_index(0).unwrap()
    }

    /// All rows of a query of one text column.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let statement = Statement::from_string(self.store.backend(), sql);
        let rows = self.store.reader().query_all_raw(statement).await.unwrap();
        let text = |row: &sea_orm::QueryResult| row.try_get_by_index(0).unwrap();
        rows.iter().map(text).collect()
    }

    /// Runs a statement beside the store.
    pub(crate) async fn run(&self, sql: &str) {
        match &self.home {
            Home::Folder(folder) => {
                let url = format!("sqlite:{}", folder.path().join("twzrd.db").display());
                let other = sea_orm::Database::connect(url).await.unwrap();
                other.execute_unprepared(sql).await.unwrap();
                other.close().await.unwrap();
            }
            Home::Database(database) => drop(database.run(sql).unwrap()),
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.store.backend() == DbBackend::Postgres
    }

    /// Commits rows and controls behind all that is there.
    pub(crate) async fn commit(&self, mut batch: Batch) {
        batch.from = BatchStore::offset(&self.store).await.unwrap();
        batch.to = at(batch.from + 1);
        let committed = self.store.commit(&batch).await.unwrap();
        assert_eq!(committed, Committed::Written);
    }

    pub(crate) async fn control(&self, change: Change) {
        let seq = BatchStore::offset(&self.store).await.unwrap() + 1;
        let at = 9_000_000;
        let controls = vec![Control { seq, at, change }];
        self.commit(Batch {
            controls,
            ..batch()
        })
        .await;
    }

    /// Seals an epoch and freezes all of its channels.
    pub(crate) async fn seal_and_freeze(&self, epoch: Epoch) -> Vec<FrozenChannel> {
        self.seal(epoch).await;
        let frozen = self.frozen(epoch).await;
        self.store.freeze(&frozen).await.unwrap();
        self.store.finish_freeze(epoch, SEALED_AT).await.unwrap();
        frozen
    }

    pub(crate) async fn seal(&self, epoch: Epoch) {
        let seq = BatchStore::offset(&self.store).await.unwrap() + 1;
        let change = Change::Seal(epoch);
        let at = SEALED_AT;
        let controls = vec![Control { seq, at, change }];
        self.commit(Batch {
            controls,
            ..batch()
        })
        .await;
    }

    /// What freezing the epoch comes to, without writing it.
    pub(crate) async fn frozen(&self, epoch: Epoch) -> Vec<FrozenChannel> {
        let channels = self.store.channels_to_freeze(epoch).await.unwrap();
        let channels: Vec<Channel> = channels.into_iter().map(|(channel, _)| channel).collect();
        let people = self.store.participants(epoch, &channels).await.unwrap();
        let arithmetic = Arithmetic::default();
        let pairs = channels.iter().zip(people);
        let freeze = |(channel, people): (&Channel, _)| {
            freeze(epoch, channel, SEALED_AT, &arithmetic, people).unwrap()
        };
        pairs.filter_map(freeze).collect()
    }

    /// Builds the trees of all that is frozen.
    pub(crate) async fn build(&self) -> Vec<BuiltTrees> {
        let unbuilt = self.store.unbuilt(1000).await.unwrap();
        let leaves = self.store.sealed_leaves(&unbuilt).await.unwrap();
        let trees: Vec<BuiltTrees> = leaves.into_iter().map(trees_of).collect();
        self.store.write_trees(&trees).await.unwrap();
        trees
    }
}

pub(crate) fn trees_of(leaves: twzrd_domain::seal::SealedLeaves) -> BuiltTrees {
    twzrd_testkit::roots::trees_of(leaves).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn hash(login: &str) -> UserHash {
    UserHash::of_login(&name(login))
}

pub(crate) fn at(seq: Seq) -> Position {
    Position {
        seq,
        segment: 1,
        byte: seq * 100,
    }
}

/// An empty batch of the journal of all tests.
pub(crate) fn batch() -> Batch {
    Batch {
        journal: "journal-1".into(),
        ..Batch::default()
    }
}

pub(crate) fn presence(
    epoch: Epoch,
    channel: &str,
    login: &str,
    first_seen: u64,
) -> ParticipantRow {
    ParticipantRow {
        epoch,
        channel: name(channel),
        user: hash(login),
        first_seen,
    }
}

pub(crate) fn signal(
    epoch: Epoch,
    channel: &str,
    minute: u64,
    kind: SignalKind,
    login: &str,
    value: u64,
) -> SignalRow {
    SignalRow {
        epoch,
        channel: name(channel),
        minute: Minute(minute),
        kind,
        user: hash(login),
        value,
    }
}

pub(crate) fn named(login: &str) -> NameRow {
    NameRow {
        user: hash(login),
        login: name(login),
        first_seen: 7200,
    }
}

pub(crate) fn alias(login: &str, id: u64) -> AliasRow {
    AliasRow {
        user: hash(login),
        by_id: UserHash::of_twitch_id(id),
        first_seen: 7200,
    }
}

pub(crate) fn lines(epoch: Epoch, channel: &str, outcome: Outcome, lines: u64) -> LedgerRow {
    let mut counts = Counts::default();
    counts.book(outcome, lines);
    LedgerRow {
        epoch,
        channel: if channel.is_empty() {
            Name::none()
        } else {
            name(channel)
        },
        counts,
    }
}

pub(crate) fn opt_out(hashes: Vec<UserHash>, reason: &str) -> Suppress {
    Suppress {
        hashes,
        reason: reason.to_owned(),
    }
}

/// Puts rows into the order that the port asks for.
pub(crate) fn sorted(mut batch: Batch) -> Batch {
    batch
        .participants
        .sort_by(|a, b| (a.epoch, &a.channel, a.user).cmp(&(b.epoch, &b.channel, b.user)));
    batch.signals.sort_by(|a, b| {
        (a.epoch, &a.channel, a.minute, a.kind, a.user)
            .cmp(&(b.epoch, &b.channel, b.minute, b.kind, b.user))
    });
    batch.names.sort_by_key(|row| row.user);
    batch.aliases.sort_by_key(|row| row.user);
    batch
}

/// An hour in two channels: ada and bob in forsen, ada and cy in xqc; cy is named nowhere.
pub(crate) fn an_hour() -> Batch {
    use SignalKind::{Message, Presence, Sub};
    let all = Batch {
        participants: vec![
            presence(HOUR, "forsen", "ada", 7300),
            presence(HOUR, "forsen", "bob", 7250),
            presence(HOUR, "xqc", "ada", 7400),
            presence(HOUR, "xqc", "cy", 7400),
        ],
        signals: vec![
            signal(HOUR, "forsen", 7260, Presence, "ada", 1),
            signal(HOUR, "forsen", 7320, Presence, "ada", 1),
            signal(HOUR, "forsen", 7260, Message, "ada", 3),
            signal(HOUR, "forsen", 7260, Sub, "ada", 1),
            signal(HOUR, "forsen", 7200, Presence, "bob", 1),
            signal(HOUR, "xqc", 7380, Presence, "ada", 1),
        ],
        names: vec![named("ada"), named("bob")],
        aliases: vec![alias("ada", 1), alias("bob", 2)],
        ledger: vec![
            lines(HOUR, "forsen", Outcome::Counted, 5),
            lines(HOUR, "xqc", Outcome::Counted, 2),
        ],
        ..batch()
    };
    sorted(all)
}
