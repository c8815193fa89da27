//! One suite for three stores: SQLite, Postgres, and the one in memory that is held to them.
#![allow(dead_code)]

#[path = "../common/mod.rs"]
pub(crate) mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{World, at, batch, name, named, presence, sorted, trees_of};
use twzrd_domain::batch::{Batch, Change as Told, Control, Group, Groups};
use twzrd_domain::chain::{
    ActivityStore, Change, InFlight, SettlementRow, SettlementStore, SignedTransaction,
};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::ports::{BatchStore, Committed, ReportStore, SealStore, TreeStore};
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::seal::freeze;
use twzrd_domain::settlement::{
    Candidate, EpochMode, Reason, RootKind, RootToPublish, Target, Why,
};
use twzrd_domain::weight::Arithmetic;
use twzrd_testkit::fake::MemoryStore;

pub(crate) const HOUR: Epoch = Epoch(7200);
/// A moment with milliseconds, so that a column of seconds shows.
pub(crate) const NOW: UnixMs = 20_000_123;
pub(crate) const SEALED_AT: UnixMs = 10_860_123;

/// Runs each of these tests on every store.
#[macro_export]
macro_rules! on_all {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::settlement_kit::Bench::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::settlement_kit::Bench::postgres().await).await;
            })+
        }
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::settlement_kit::Bench::memory()).await;
            })+
        }
    };
}

/// All the ports that a test needs.
pub(crate) trait Ports:
    BatchStore + SealStore + TreeStore + SettlementStore + ActivityStore + ReportStore
{
}

impl<S> Ports for S where
    S: BatchStore + SealStore + TreeStore + SettlementStore + ActivityStore + ReportStore
{
}

enum Kind {
    Real(World),
    Memory(MemoryStore),
}

/// A store under test.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Ports>,
    kind: Kind,
}

fn groups() -> Groups {
    let group = Group {
        token_group: "cls".into(),
        category: "music".into(),
    };
    Groups::new(BTreeMap::from([(name("forsen"), group)]))
}

impl Bench {
    pub(crate) async fn sqlite() -> Self {
        Self::real(World::sqlite_with(groups()).await)
    }

    pub(crate) async fn postgres() -> Self {
        Self::real(World::postgres_with(groups()).await)
    }

    fn real(world: World) -> Self {
        Self {
            store: Arc::new(world.store.clone()),
            kind: Kind::Real(world),
        }
    }

    pub(crate) fn memory() -> Self {
        let store = MemoryStore::new(groups());
        Self {
            store: Arc::new(store.clone()),
            kind: Kind::Memory(store),
        }
    }

    pub(crate) fn memory_store(&self) -> MemoryStore {
        match &self.kind {
            Kind::Real(_) => panic!("the store is a database"),
            Kind::Memory(store) => store.clone(),
        }
    }

    /// The same store as a process sees it that starts anew.
    pub(crate) async fn reopened(&self) -> Arc<dyn Ports> {
        match &self.kind {
            Kind::Real(world) => Arc::new(world.reopen(groups()).await),
            Kind::Memory(store) => Arc::new(store.clone()),
        }
    }

    pub(crate) async fn commit(&self, mut batch: Batch) {
        batch.from = BatchStore::offset(&*self.store).await.unwrap();
        batch.to = at(batch.from + 1);
        let committed = self.store.commit(&batch).await.unwrap();
        assert_eq!(committed, Committed::Written);
    }

    pub(crate) async fn tell(&self, change: Told) {
        let seq = BatchStore::offset(&*self.store).await.unwrap() + 1;
        let controls = vec![Control {
            seq,
            at: SEALED_AT,
            change,
        }];
        self.commit(Batch {
            controls,
            ..batch()
        })
        .await;
    }

    /// Seals an epoch with these people in each channel, and builds its trees. Who begins with an
    /// underscore has no name.
    pub(crate) async fn epoch(&self, epoch: Epoch, channels: &[(&str, &[&str])]) {
        let people = channels
            .iter()
            .flat_map(|(channel, people)| people.iter().map(move |login| (*channel, *login)));
        let mut rows = Batch {
            participants: people
                .clone()
                .map(|(channel, login)| presence(epoch, channel, login, epoch.0 + 60))
                .collect(),
            names: people
                .filter(|(_, login)| !login.starts_with('_'))
                .map(|(_, login)| named(login))
                .collect(),
            ..batch()
        };
        rows = sorted(rows);
        rows.names.dedup_by_key(|row| row.user);
        self.commit(rows).await;
        self.tell(Told::Seal(epoch)).await;
        let store = &self.store;
        let found = store.channels_to_freeze(epoch).await.unwrap();
        let found: Vec<Channel> = found.into_iter().map(|(channel, _)| channel).collect();
        let people = store.participants(epoch, &found).await.unwrap();
        let arithmetic = Arithmetic::default();
        let frozen = found.iter().zip(people).filter_map(|(channel, people)| {
            freeze(epoch, channel, SEALED_AT, &arithmetic, people).unwrap()
        });
        store.freeze(&frozen.collect::<Vec<_>>()).await.unwrap();
        store.finish_freeze(epoch, SEALED_AT).await.unwrap();
        let unbuilt = store.unbuilt(1000).await.unwrap();
        let leaves = store.sealed_leaves(&unbuilt).await.unwrap();
        let trees: Vec<_> = leaves.into_iter().map(trees_of).collect();
        store.write_trees(&trees).await.unwrap();
    }

    /// An hour with two people in each of these channels.
    pub(crate) async fn hour(&self, channels: &[&str]) {
        let people: [&str; 2] = ["ada", "bob"];
        let channels: Vec<(&str, &[&str])> = channels
            .iter()
            .map(|channel| (*channel, people.as_slice()))
            .collect();
        self.epoch(HOUR, &channels).await;
    }

    pub(crate) async fn live(&self, channel: &str, start: u64, end: Option<u64>) {
        match &self.kind {
            Kind::Real(world) => {
                let end = end.map_or_else(|| "NULL".to_owned(), |end| end.to_string());
                let sql = format!(
                    "INSERT INTO live_windows (channel, start_ts, end_ts) \
                     VALUES ('{channel}', {start}, {end})"
                );
                world.run(&sql).await;
            }
            Kind::Memory(store) => store.set_live(&name(channel), start, end),
        }
    }

    /// The second in which a sealed epoch was marked as published; none where it is not.
    pub(crate) async fn published_at(&self, epoch: Epoch, channel: &str) -> Option<u64> {
        match &self.kind {
            Kind::Real(world) => {
                let here = format!("WHERE epoch = {epoch} AND channel = '{channel}'");
                let sql = format!(
                    "SELECT CAST(published AS text) || ' ' || \
                     COALESCE(CAST(published_at AS text), '-') FROM sealed_epochs {here}"
                );
                let found = world.texts(&sql).await.remove(0).unwrap();
                match found.split_once(' ').unwrap() {
                    ("0", "-") => None,
                    ("1", second) => Some(second.parse().unwrap()),
                    _ => panic!("published and published_at disagree: {found}"),
                }
            }
            Kind::Memory(store) => store.look_at(|state| {
                let id = state.settlement.ids[&(epoch, name(channel))];
                state.settlement.roots[&id].published_at
            }),
        }
    }

    /// The claims, in the order of their transactions' signatures, as text.
    pub(crate) async fn claims(&self) -> Vec<String> {
        match &self.kind {
            Kind::Real(world) => {
                let sql = "SELECT concat_ws(' ', tx_signature, instruction, '[' || channel || ']', \
                        COALESCE(CAST(epoch AS text), '-'), chain_epoch, idx, amount, \
                        user_pubkey, slot, COALESCE(CAST(claim_timestamp AS text), '-'), status) \
                    FROM claims ORDER BY tx_signature, instruction";
                let rows = world.texts(sql).await;
                rows.into_iter().map(Option::unwrap).collect()
            }
            Kind::Memory(store) => store.look_at(|state| {
                let dash = |value: Option<u64>| value.map_or("-".into(), |v| v.to_string());
                let line =
                    |((signature, place), row): (&(_, u32), &twzrd_testkit::fake::ClaimRow)| {
                        let _: &compact_str::CompactString = signature;
                        format!(
                            "{signature} {place} [{}] {} {} {} {} {} {} {} settled",
                            row.channel,
                            dash(row.epoch.map(|epoch| epoch.0)),
                            row.number,
                            row.index,
                            row.amount,
                            row.claimer,
                            row.slot,
                            dash(row.block_time)
                        )
                    };
                state.settlement.claims.iter().map(line).collect()
            }),
        }
    }

    /// The slots of an epoch: `first last`, each a dash where it is not known.
    pub(crate) async fn slots(&self, epoch: Epoch) -> String {
        match &self.kind {
            Kind::Real(world) => {
                let sql = format!(
                    "SELECT COALESCE(CAST(start_slot AS text), '-') || ' ' || \
                     COALESCE(CAST(end_slot AS text), '-') FROM epochs WHERE epoch = {epoch}"
                );
                let found = world.texts(&sql).await;
                found.into_iter().next().flatten().unwrap_or_default()
            }
            Kind::Memory(store) => store.look_at(|state| {
                if !state.sealed.contains_key(&epoch) {
                    return String::new();
                }
                let slots = state.settlement.slots.get(&epoch);
                slots.map_or("- -".to_owned(), |(a, b)| format!("{a} {b}"))
            }),
        }
    }

    pub(crate) async fn due(&self) -> Vec<Candidate> {
        self.store.due(NOW, 1000).await.unwrap()
    }

    /// What is published of everything that is due.
    pub(crate) async fn roots(&self) -> Vec<RootToPublish> {
        let due = self.due().await;
        due.iter().map(to_publish).collect()
    }

    pub(crate) async fn row(&self, channel: &str) -> SettlementRow {
        let row = self.store.row(HOUR, &name(channel)).await.unwrap();
        row.unwrap()
    }

    pub(crate) async fn in_flight(&self) -> Vec<InFlight> {
        self.store.in_flight().await.unwrap()
    }

    pub(crate) async fn sign(&self, signature: &str, roots: &[RootToPublish]) {
        let signed = transaction(signature, roots);
        let store = &self.store;
        let kept = store
            .keep_signed(&signed, Target::Program, roots, NOW)
            .await;
        assert!(kept.unwrap(), "{signature} is kept");
    }

    /// Takes a step from where the root stands. Answers how many were taken.
    pub(crate) async fn step(&self, root: &RootToPublish, step: Step, slot: Option<u64>) -> u64 {
        let row = self.store.row(root.epoch, &root.channel).await.unwrap();
        let change = change(root, row.unwrap().publication, step, slot);
        self.store.advance(&[change], NOW + 5000).await.unwrap()
    }
}

pub(crate) fn to_publish(candidate: &Candidate) -> RootToPublish {
    let length = twzrd_domain::epoch::EpochLength::HOUR;
    candidate.to_publish(RootKind::Claim, EpochMode::Index, length)
}

pub(crate) fn transaction(signature: &str, roots: &[RootToPublish]) -> SignedTransaction {
    SignedTransaction {
        signature: signature.into(),
        bytes: vec![0, 1, 0xfe, 0xff],
        last_valid_block_height: 500,
        signed_in_slot: Some(470),
        fee_lamports: 5_001,
        roots: roots.iter().map(|root| root.id).collect(),
    }
}

pub(crate) fn change(
    root: &RootToPublish,
    was: Publication,
    step: Step,
    slot: Option<u64>,
) -> Change {
    Change {
        root: root.id,
        was,
        step,
        slot,
        look_again: NOW + 60_000,
    }
}

pub(crate) fn signed(signature: &str) -> Publication {
    Publication::Signed {
        signature: signature.to_owned(),
        last_valid_block_height: 500,
    }
}

pub(crate) fn finalized(signature: &str) -> Publication {
    Publication::Finalized {
        signature: signature.to_owned(),
    }
}

pub(crate) fn because(why: Why) -> Reason {
    Reason::new(why, "found this, expected that")
}
