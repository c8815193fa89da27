//! Makes actors panic at steps, and looks at the invariants at each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twzrd_actors::step::{Probe, Step};
use twzrd_domain::invariant;
use twzrd_domain::ports::JournalFolder;
use twzrd_domain::record::Seq;
use twzrd_testkit::fake::{MemoryJournal, MemoryStore};

#[derive(Default)]
struct Notes {
    /// Steps at which the next one to reach them panics, with how often.
    armed: BTreeMap<&'static str, u32>,
    offset: Seq,
    violation: Option<String>,
    /// How often an actor panicked.
    fired: u64,
}

/// A probe that is told what is to panic.
pub(crate) struct Saboteur {
    store: MemoryStore,
    journal: MemoryJournal,
    notes: Mutex<Notes>,
}

impl Saboteur {
    pub(crate) fn new(store: MemoryStore, journal: MemoryJournal) -> Arc<Self> {
        let notes = Mutex::default();
        Arc::new(Self {
            store,
            journal,
            notes,
        })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next actor that reaches this step panics.
    pub(crate) fn arm(&self, step: &'static str) {
        *self.notes().armed.entry(step).or_default() += 1;
    }

    /// Takes away what was armed and never reached. The answer is how often.
    pub(crate) fn disarm(&self) -> u32 {
        std::mem::take(&mut self.notes().armed).into_values().sum()
    }

    /// How often an actor has panicked.
    pub(crate) fn fired(&self) -> u64 {
        self.notes().fired
    }

    /// The first invariant that did not hold at a step.
    pub(crate) fn violation(&self) -> Result<(), String> {
        self.notes().violation.clone().map_or(Ok(()), Err)
    }

    /// The invariants that are cheap to look at: the ledger's rows, and the offset. The order of a
    /// batch is looked at by the store at each commit.
    fn look(&self, notes: &mut Notes) -> Result<(), String> {
        let durable = self.journal.durable();
        self.store.look_at(|state| {
            let before = std::mem::replace(&mut notes.offset, state.position.seq);
            invariant::offset_follows_journal(before, state.position.seq, durable)
                .map_err(|violation| violation.to_string())?;
            for ((epoch, channel), counts) in &state.ledger {
                invariant::ledger_balances(counts)
                    .map_err(|violation| format!("{violation}, in {channel} in epoch {epoch}"))?;
            }
            Ok(())
        })
    }
}

impl Probe for Saboteur {
    fn reached(&self, step: Step) {
        let mut notes = self.notes();
        if let Err(violation) = self.look(&mut notes) {
            notes
                .violation
                .get_or_insert(format!("at {step}: {violation}"));
        }
        let Some(times) = notes.armed.get_mut(step.name()).filter(|times| **times > 0) else {
            return;
        };
        *times -= 1;
        notes.fired += 1;
        drop(notes);
        std::panic::panic_any(format!("injected at {step}"));
    }
}

/// Panics on purpose would flood the output of a test that fails for another reason.
pub(crate) fn hide_injected_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if !text.starts_with("injected at") {
            usual(panic);
        }
    }));
}
