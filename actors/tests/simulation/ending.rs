//! How a run ended, and how it would have ended undisturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use twzrd_actors::board::Board;
use twzrd_actors::epoch_sealer::{EpochSealerMsg, SealWhen};
use twzrd_actors::step::no_probe;
use twzrd_actors::tree::Refs;
use twzrd_actors::tree_builder::TreeBuilderMsg;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::MessageId;
use twzrd_domain::identity::Channel;
use twzrd_domain::invariant;
use twzrd_domain::ports::{JournalFolder, ReportStore};
use twzrd_domain::record::{Entry, Record};
use twzrd_domain::seal::FrozenChannel;
use twzrd_supervision::{ChildState, Tree};
use twzrd_testkit::fake::{Delivery, FakeNetwork, Fate, MemoryJournal, MemoryStore, State};
use twzrd_testkit::scenario::{Ending, Outcome, Table};

use crate::common::{ANSWER_WITHIN, World};
use crate::lasting::Lasting;

/// What is looked at all the while.
#[derive(Default)]
pub(crate) struct Watch {
    frozen: BTreeMap<(Epoch, Channel), FrozenChannel>,
    /// The numbers of lines that may have gone with a process.
    excused: BTreeSet<usize>,
}

fn ids(entries: &[Entry]) -> impl Iterator<Item = &MessageId> {
    entries.iter().filter_map(|entry| match &entry.record {
        Record::Event(event) => event.id.as_ref(),
        _ => None,
    })
}

impl Watch {
    /// The invariants that compare with an earlier look.
    pub(crate) fn look(
        &mut self,
        store: &MemoryStore,
        journal: &MemoryJournal,
    ) -> Result<(), String> {
        let told = |violation: invariant::Violation| violation.to_string();
        journal.look_at(|entries| invariant::events_are_unique(ids(entries)).map_err(told))?;
        store.look_at(|state| {
            for (key, before) in &self.frozen {
                invariant::sealed_is_final(before, state.frozen.get(key)).map_err(told)?;
            }
            for (key, now) in &state.frozen {
                self.frozen
                    .entry(key.clone())
                    .or_insert_with(|| now.clone());
            }
            Ok(())
        })
    }

    /// A process has ended before its time: what it had read and not accepted went with it.
    pub(crate) fn excuse(&mut self, network: &FakeNetwork, journal: &MemoryJournal) {
        let mut accepted: BTreeSet<String> =
            journal.look_at(|entries| ids(entries).map(|id| id.as_str().to_owned()).collect());
        network.with_deliveries(|all| {
            for (number, delivery) in all.iter().enumerate() {
                // Of two copies only the first is an event; the other leaves no id in the journal.
                let is_there = id(delivery).is_some_and(|id| accepted.remove(id));
                if delivery.fate != Fate::Unread && !is_there {
                    self.excused.insert(number);
                }
            }
        });
    }
}

/// The id of a line that makes an event, unless somebody opted out.
fn id(delivery: &Delivery) -> Option<&str> {
    let mut words = delivery.line.split(' ');
    let (login, id) = (words.next()?, words.next()?);
    (login.starts_with("user_") && !delivery.is_broken).then_some(id)
}

/// Waits until all that can be read has been read, and all of it is applied; else says what it
/// waits for.
pub(crate) async fn settle(
    lasting: &Lasting,
    board: &Board,
    errands: &mut JoinSet<()>,
    patience: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    loop {
        while errands.try_join_next().is_some() {}
        let open = lasting.network.open_sockets();
        let unread: usize = open
            .iter()
            .map(|socket| lasting.network.unread(*socket))
            .sum();
        let server = [Arc::clone(board.server())];
        let rooms = board.rooms();
        let full = rooms.iter().chain(&server);
        let full: Vec<_> = full
            .filter(|room| room.feed().depth().lines > 0)
            .map(|room| room.channel().as_str())
            .collect();
        let offset = lasting.store.look_at(|state| state.position.seq);
        let (gaps, durable) = (board.gaps().depth().0, lasting.journal.durable());
        let is_settled = unread == 0 && full.is_empty() && gaps == 0 && offset >= durable;
        if is_settled && errands.is_empty() && open.is_empty() == lasting.wanted.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "it never settled: {} errands, sockets {open:?} with {unread} unread lines, feeds of {full:?}, {gaps} gaps, store at {offset} of {durable}",
                errands.len()
            ));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The actors that are there, with the state of those that do not run, or wait for something.
pub(crate) fn actors(tree: &Tree) -> String {
    let snapshot = tree.which_children();
    let leaves = snapshot.all().into_iter();
    let leaves = leaves.filter(|child| child.children.is_empty());
    let told = leaves.map(|child| match (child.state, child.waiting_for.first()) {
        (ChildState::Running, None) => child.id.clone(),
        (state, what) => format!("{} ({state:?}, waiting for {what:?})", child.id),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Waits until everything is applied, frozen and built.
pub(crate) async fn finish(refs: &Refs, seal_open: bool) {
    let ask = |reply| EpochSealerMsg::Finish { seal_open, reply };
    while refs.sealer.call(ask, ANSWER_WITHIN).await.is_err() {
        let _ = refs.sealer.wait_running(ANSWER_WITHIN).await;
    }
    while refs
        .trees
        .call(TreeBuilderMsg::BuildAll, ANSWER_WITHIN)
        .await
        .is_err()
    {
        let _ = refs.trees.wait_running(ANSWER_WITHIN).await;
    }
}

/// How it ended.
pub(crate) fn look(lasting: &Lasting, unfired: u32) -> Result<Ending, String> {
    let entries = lasting.journal.entries();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    roots_follow(&runtime, &lasting.store)?;
    // The same journal, read into an empty store by a tree that nobody disturbs.
    let reference = runtime.block_on(async {
        let (store, journal) = (MemoryStore::default(), lasting.journal.clone());
        let world = World::start_on(store, journal, SealWhen::Asked, no_probe()).await;
        finish(&world.refs, false).await;
        let _ = world.tree.stop().await;
        world.store.state()
    });
    if lasting.journal.durable() != entries.len() as u64 {
        return Err("the undisturbed run has appended something".to_owned());
    }
    let state = lasting.store.state();
    if state.comparable() != reference.comparable() {
        // The tables below say where; what they do not show is told here.
        let (outcome, calm) = (outcome(&state), outcome(&reference));
        if outcome == calm {
            return Err("the stores differ in what no table shows".to_owned());
        }
    }
    let (lost, doubled) = compare(lasting, &entries, &state);
    Ok(Ending {
        outcome: outcome(&state),
        reference: outcome(&reference),
        accepted: state.ledger_sum().received,
        lost,
        doubled,
        unfired: vec!["an actor panics at a step"; usize::try_from(unfired).unwrap()],
        ..Ending::default()
    })
}

fn roots_follow(runtime: &tokio::runtime::Runtime, store: &MemoryStore) -> Result<(), String> {
    store.faults().clear();
    let keys: Vec<_> = store.look_at(|state| state.trees.keys().cloned().collect());
    for (epoch, channel) in keys {
        let material = runtime.block_on(store.proof_material(epoch, &channel));
        let material = material.map_err(|error| error.to_string())?.unwrap();
        invariant::roots_follow_participants(&material).map_err(|found| found.to_string())?;
    }
    Ok(())
}

/// What was put on sockets, beside what the journal and the ledger hold.
fn compare(lasting: &Lasting, entries: &[Entry], state: &State) -> (Vec<String>, Vec<String>) {
    let accepted: BTreeSet<&str> = ids(entries).map(MessageId::as_str).collect();
    let (mut lost, mut doubled) = (Vec::new(), Vec::new());
    let (mut least, mut most) = (0, 0);
    let mut said = BTreeSet::new();
    lasting.network.with_deliveries(|all| {
        for (number, delivery) in all.iter().enumerate() {
            said.extend(id(delivery).map(ToOwned::to_owned));
            let is_excused = lasting.watch.excused.contains(&number);
            most += u64::from(delivery.fate != Fate::Unread);
            if delivery.fate != Fate::Taken || is_excused {
                continue;
            }
            least += 1;
            let login = delivery.line.split(' ').next().unwrap_or_default();
            let missing = id(delivery).filter(|id| !accepted.contains(id));
            if let Some(id) = missing.filter(|_| !lasting.outs.contains(login)) {
                lost.push(format!("{id} of {login} in {}", delivery.channel));
            }
        }
    });
    doubled.extend(
        accepted
            .iter()
            .filter(|id| !said.contains(**id))
            .map(|id| format!("{id}, which nobody said")),
    );
    let received = state.ledger_sum().received;
    if received < least {
        lost.push(format!("{received} lines received of at least {least}"));
    }
    if received > most {
        doubled.push(format!("{received} lines received of at most {most}"));
    }
    (lost, doubled)
}

/// The tables of a store.
fn outcome(state: &State) -> Outcome {
    let hex = |bytes: &[u8; 32]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let mut tables = Outcome::new();
    let roots = state.trees.iter().map(|((epoch, channel), trees)| {
        let claim = trees.claim_levels.last().and_then(|level| level.first());
        let claim = claim.map(hex).unwrap_or_default();
        let root = hex(&trees.participation_root);
        (
            format!("{epoch} {channel}"),
            format!("{root} {claim} of {}", trees.participants),
        )
    });
    tables.insert(Table::Roots, roots.collect());
    let people = state.frozen.iter().flat_map(|((epoch, channel), frozen)| {
        let numbered = frozen.participants.iter().enumerate();
        numbered.map(move |(at, person)| (format!("{epoch} {channel} {at}"), format!("{person:?}")))
    });
    tables.insert(Table::Participants, people.collect());
    let signals = state
        .signals
        .iter()
        .map(|((epoch, channel, minute, kind, user), value)| {
            let key = format!("{epoch} {channel} {} {kind:?} {}", minute.0, hex(&user.0));
            (key, value.to_string())
        });
    tables.insert(Table::Signals, signals.collect());
    let ledger = state.ledger.iter();
    let ledger = ledger
        .map(|((epoch, channel), counts)| (format!("{epoch} {channel}"), format!("{counts:?}")));
    tables.insert(Table::Ledger, ledger.collect());
    tables
}
