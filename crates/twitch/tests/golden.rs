//! The pure pipeline, from recorded lines to roots, gives the roots and the ledger that were
//! recorded for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use twzrd_domain::batch::Position;
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::fold::{Fold, Pushed};
use twzrd_domain::identity::Node;
use twzrd_domain::invariant::{batch_is_sorted, ledger_balances};
use twzrd_domain::leaf;
use twzrd_domain::ledger::Counts;
use twzrd_domain::memory::Memory;
use twzrd_domain::merkle::MerkleTree;
use twzrd_domain::ports::{BatchStore, ReportStore, SealStore};
use twzrd_domain::record::{Append, Entry, Record, Seal};
use twzrd_domain::seal::{FrozenChannel, freeze};
use twzrd_domain::weight::Arithmetic;
use twzrd_testkit::fake::MemoryStore;
use twzrd_twitch::intake::IntakeBuilder;
use twzrd_twitch::line::Arrival;

const LINES: &[u8] = include_bytes!("data/real.irc");
const EXPECTED: &str = include_str!("data/replay-real.ndjson");

/// The journal and the store, with what stands between them.
struct Pipeline {
    memory: Memory,
    entries: Vec<Entry>,
    fold: Fold,
    store: MemoryStore,
}

impl Pipeline {
    async fn new() -> Self {
        let store = MemoryStore::default();
        let projection = store.projection().await.unwrap();
        Self {
            memory: Memory::default(),
            entries: Vec::new(),
            fold: Fold::new(projection, "j".into()),
            store,
        }
    }

    fn append(&mut self, append: Append) {
        for (at, record) in self.memory.admit(append).unwrap() {
            let seq = self.entries.len() as u64 + 1;
            self.entries.push(Entry { seq, at, record });
        }
    }

    /// Folds what was appended into the store.
    async fn consume(&mut self) {
        while let Some(entry) = self
            .entries
            .get(usize::try_from(self.fold.position().seq).unwrap())
        {
            let behind = Position {
                seq: entry.seq,
                ..Position::default()
            };
            if self.fold.push(entry, behind).unwrap() == Pushed::NextBatch {
                self.commit().await;
            }
        }
        self.commit().await;
    }

    async fn commit(&mut self) {
        if let Some(batch) = self.fold.finish() {
            batch_is_sorted(&batch).unwrap();
            self.store.commit(&batch).await.unwrap();
        }
    }

    /// Seals every epoch in which something counted.
    async fn seal(&mut self) {
        let epochs = self.store.open_epochs().await.unwrap();
        let seal = |&epoch: &Epoch| (0, Record::Seal(Seal { epoch }));
        self.append(Append::Records {
            progress: None,
            records: epochs.iter().map(seal).collect(),
        });
        self.consume().await;
    }

    /// What a replay prints of each sealed epoch and channel, and of the ledger.
    async fn report(&self) -> Vec<String> {
        let arithmetic = Arithmetic::default();
        let mut lines = Vec::new();
        for (epoch, at) in self.store.unfrozen().await.unwrap() {
            for (channel, _) in self.store.channels_to_freeze(epoch).await.unwrap() {
                let one = std::slice::from_ref(&channel);
                let people = self.store.participants(epoch, one).await.unwrap().remove(0);
                let frozen = freeze(epoch, &channel, at, &arithmetic, people).unwrap();
                lines.push(printed(&frozen.unwrap()));
            }
        }
        let counts = self.store.ledger().await.unwrap();
        ledger_balances(&counts).unwrap();
        lines.push(printed_ledger(&counts));
        lines
    }
}

fn root(leaves: impl Iterator<Item = [u8; 32]>) -> Node {
    Node(MerkleTree::new(leaves.collect()).unwrap().root())
}

fn printed(frozen: &FrozenChannel) -> String {
    let FrozenChannel { epoch, channel, .. } = frozen;
    let people = &frozen.participants;
    let presence = people
        .iter()
        .map(|p| leaf::participation(p.user, channel, *epoch));
    let (participation, claim) = (root(presence), root(people.iter().map(|p| p.claim_leaf)));
    let participants = people.len();
    format!(
        r#"{{"epoch": {epoch}, "channel": "{channel}", "participants": {participants}, "participation_root": "{participation}", "claim_root": "{claim}"}}"#
    )
}

fn printed_ledger(counts: &Counts) -> String {
    let Counts {
        received,
        counted,
        suppressed,
        mirrored,
        duplicate,
        late,
        anonymous,
        invalid,
        other,
    } = counts;
    format!(
        r#"{{"ledger": {{"received": {received}, "counted": {counted}, "suppressed": {suppressed}, "mirrored": {mirrored}, "duplicate": {duplicate}, "late": {late}, "anonymous": {anonymous}, "invalid": {invalid}, "other": {other}}}}}"#
    )
}

/// What a replay of the recorded lines prints, with so many lines in an append.
async fn replayed(lines_in_an_append: usize) -> Vec<String> {
    let mut pipeline = Pipeline::new().await;
    let lines: Vec<&[u8]> = LINES.split(|&byte| byte == b'\n').collect();
    for chunk in lines.chunks(lines_in_an_append) {
        let mut intake = IntakeBuilder::new(EpochLength::HOUR, false);
        for line in chunk {
            intake.push(line, Arrival::Recorded);
        }
        pipeline.append(Append::Intake(intake.finish(None)));
        pipeline.consume().await;
    }
    pipeline.seal().await;
    pipeline.report().await
}

#[tokio::test]
async fn recorded_lines_give_the_recorded_roots_and_ledger() {
    let expected: Vec<_> = EXPECTED.lines().collect();
    for lines_in_an_append in [usize::MAX, 10, 1] {
        let found = replayed(lines_in_an_append).await;
        for (line, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "line {}", line + 1);
        }
        assert_eq!(found.len(), expected.len());
    }
}
