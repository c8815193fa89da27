//! However a stream of records is cut into batches, and wherever the fold is begun anew from the
//! store, the store ends in the same state; and invariants 1, 2 and 3 hold after every batch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::collection::vec;
use proptest::prelude::*;
use twzrd_domain::batch::{Batch, Position};
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::event::{Action, Event, Outcome};
use twzrd_domain::fold::{Fold, Pushed};
use twzrd_domain::identity::{Name, UserHash, Wallet};
use twzrd_domain::invariant::{batch_is_sorted, ledger_balances, offset_follows_journal};
use twzrd_domain::ports::{BatchStore, Committed, ReportStore, SealStore};
use twzrd_domain::record::{Bind, Entry, Gap, Record, Seal, Suppress, Tally, TallyCount};
use twzrd_domain::seal::freeze;
use twzrd_domain::weight::Arithmetic;
use twzrd_testkit::fake::{MemoryStore, State};

/// Where the events lie: around the boundary of two hours.
const BOUNDARY: u64 = 7_200_000;

/// What happens between two records.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Between {
    /// The batch goes on.
    Nothing,
    /// The batch is committed.
    Cut,
    /// It is committed, and the sealer freezes what is sealed.
    CutAndFreeze,
    /// What is not committed is lost, and the fold begins anew from the store.
    Restart,
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A person's id belongs to the person, but for the last two, who share one: a person who was
/// renamed.
fn id_of(person: u64) -> u64 {
    person.min(3)
}

fn login(person: u64) -> Name {
    name(&format!("user_{person:06}"))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => (0u32..3).prop_map(|n| Action::Message { bits: n * 100 }),
        1 => Just(Action::Sub),
        1 => Just(Action::Resub),
        1 => (0u32..3).prop_map(|count| Action::Gift { count }),
        1 => (0u32..9).prop_map(|viewers| Action::Raid { viewers }),
        1 => Just(Action::Notice),
    ]
}

fn event() -> impl Strategy<Value = Record> {
    let second = prop_oneof![0u64..40, 0u64..4000];
    let parts = (0u64..5, any::<bool>(), 0u32..3, second, action());
    parts.prop_map(|(person, with_id, channel, second, action)| {
        Record::Event(Event {
            id: None,
            channel: name(&format!("channel_{channel:04}")),
            ts: BOUNDARY - 20_000 + second * 1000,
            login: login(person),
            user_id: with_id.then(|| id_of(person)),
            action,
            text: None,
        })
    })
}

fn tally() -> impl Strategy<Value = Record> {
    let count = (0u64..3, 0u32..3, 0usize..8, 1u64..5);
    vec(count, 0..4).prop_map(|counts| {
        let count = |(epoch, channel, outcome, lines)| TallyCount {
            epoch: Epoch(epoch * 3600),
            channel: name(&format!("channel_{channel:04}")),
            outcome: Outcome::ALL[outcome],
            lines,
        };
        Record::Tally(Tally {
            counts: counts.into_iter().map(count).collect(),
            ..Tally::default()
        })
    })
}

fn person() -> impl Strategy<Value = Suppress> {
    (0u64..5, 0u8..3).prop_map(|(person, by)| {
        let by_login = UserHash::of_login(&login(person));
        let by_id = UserHash::of_twitch_id(id_of(person));
        Suppress {
            hashes: match by {
                0 => vec![by_login],
                1 => vec![by_id],
                _ => vec![by_login, by_id],
            },
            reason: String::new(),
        }
    })
}

fn control() -> impl Strategy<Value = Record> {
    let bind = (0u64..5, any::<u8>()).prop_map(|(person, key)| Bind {
        user: UserHash::of_login(&login(person)),
        wallet: Wallet([key; 32]),
        verified: key % 2 == 0,
        source: "operator".into(),
    });
    let settings = (0usize..4, 0u32..100).prop_map(|(length, reward_per_weight)| Arithmetic {
        epoch_seconds: EpochLength::new([3600, 3600, 90, 20][length]).unwrap(),
        reward_per_weight,
        ..Arithmetic::default()
    });
    let gap = (0u32..3, 0u64..50).prop_map(|(channel, second)| Gap {
        channel: name(&format!("channel_{channel:04}")),
        from: BOUNDARY + second * 1000,
        until: BOUNDARY + second * 2000,
        reason: "cut".into(),
    });
    let sealed = prop_oneof![Just(3600u64), Just(7200), Just(7180), Just(7220)];
    prop_oneof![
        3 => sealed.prop_map(|epoch| Record::Seal(Seal { epoch: Epoch(epoch) })),
        2 => person().prop_map(Record::Suppress),
        1 => person().prop_map(Record::Unsuppress),
        1 => bind.prop_map(Record::Bind),
        1 => settings.prop_map(Record::Settings),
        1 => gap.prop_map(Record::Gap),
    ]
}

fn journal() -> impl Strategy<Value = Vec<Entry>> {
    let record = prop_oneof![8 => event(), 1 => tally(), 2 => control()];
    vec(record, 1..80).prop_map(|records| {
        let entry = |(seq, record)| Entry {
            seq,
            at: BOUNDARY + seq,
            record,
        };
        (1..).zip(records).map(entry).collect()
    })
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        6 => Just(Between::Nothing),
        2 => Just(Between::Cut),
        1 => Just(Between::CutAndFreeze),
        1 => Just(Between::Restart),
    ]
}

/// The stages from the journal to the frozen channels, over a store in memory.
struct Stages {
    store: MemoryStore,
    durable: u64,
}

impl Stages {
    async fn fold(&self) -> Fold {
        Fold::new(self.store.projection().await.unwrap(), "j".into())
    }

    async fn commit(&self, batch: Option<Batch>) {
        let Some(batch) = batch else { return };
        if batch.needs_frozen() {
            self.freeze().await;
        }
        let before = BatchStore::offset(&self.store).await.unwrap();
        batch_is_sorted(&batch).unwrap();
        let committed = self.store.commit(&batch).await.unwrap();
        assert_eq!(committed, Committed::Written);
        let now = BatchStore::offset(&self.store).await.unwrap();
        offset_follows_journal(before, now, self.durable).unwrap();
        ledger_balances(&self.store.ledger().await.unwrap()).unwrap();
    }

    async fn freeze(&self) {
        let store = &self.store;
        let arithmetic = store.arithmetic().await.unwrap().unwrap_or_default();
        for (epoch, at) in store.unfrozen().await.unwrap() {
            for (channel, _) in store.channels_to_freeze(epoch).await.unwrap() {
                let one = std::slice::from_ref(&channel);
                let people = store.participants(epoch, one).await.unwrap().remove(0);
                let frozen = freeze(epoch, &channel, at, &arithmetic, people).unwrap();
                store.freeze(&[frozen.unwrap()]).await.unwrap();
            }
            store.finish_freeze(epoch, at).await.unwrap();
        }
    }
}

/// The state after all entries, with `between` after each of them, around and around.
async fn fold(entries: &[Entry], between: &[Between]) -> State {
    let stages = Stages {
        store: MemoryStore::default(),
        durable: entries.len() as u64,
    };
    let mut fold = stages.fold().await;
    let mut steps = between.iter().cycle();
    // A plan of nothing but restarts would never come to an end.
    let mut restarts = 0;
    while let Some(entry) = entries.get(usize::try_from(fold.position().seq).unwrap()) {
        let behind = Position {
            seq: entry.seq,
            segment: 1,
            byte: entry.seq * 100,
        };
        if fold.push(entry, behind).unwrap() == Pushed::NextBatch {
            stages.commit(fold.finish()).await;
            continue;
        }
        match steps.next().unwrap() {
            Between::Nothing => {}
            Between::Cut => stages.commit(fold.finish()).await,
            Between::CutAndFreeze => {
                stages.commit(fold.finish()).await;
                stages.freeze().await;
            }
            Between::Restart if restarts < 20 => {
                restarts += 1;
                fold = stages.fold().await;
            }
            Between::Restart => stages.commit(fold.finish()).await,
        }
    }
    stages.commit(fold.finish()).await;
    stages.freeze().await;
    let state = stages.store.state();
    let books = state.ledger.values();
    books.for_each(|counts| ledger_balances(counts).unwrap());
    state
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn however_the_stream_is_cut_the_store_ends_in_the_same_state(
        entries in journal(),
        plan in vec(between(), 1..40),
    ) {
        let record_by_record = block_on(fold(&entries, &[Between::Cut]));
        let at_once = block_on(fold(&entries, &[Between::Nothing]));
        prop_assert_eq!(&at_once, &record_by_record);
        let cut = block_on(fold(&entries, &plan));
        prop_assert_eq!(&cut, &record_by_record);
    }
}
