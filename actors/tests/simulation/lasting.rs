//! What outlives a process: the network, the journal, the store, and what is the matter with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::prelude::*;
use rand::rngs::ChaCha8Rng;
use twzrd_domain::identity::Channel;
use twzrd_testkit::fake::{FakeNetwork, Fault as Failure, MemoryJournal, MemoryStore, PausedClock};
use twzrd_testkit::scenario::{Port, Scenario};

use crate::ending::Watch;
use crate::saboteur::Saboteur;
use crate::talk::{self, Talk};

/// When scenarios begin, in Unix milliseconds; a multiple of an epoch.
pub(crate) const BEGIN: u64 = 1_760_000_400_000;

/// What is the matter outside, looked at by every operation.
#[derive(Default)]
pub(crate) struct Weather {
    pub(crate) database_gone: AtomicBool,
    pub(crate) database_locked: AtomicBool,
    pub(crate) disk_full: AtomicBool,
}

/// What ends, or begins, at a moment.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    DatabaseBack,
    Unlocked,
    DiskFree,
    Hold(Port, bool),
    NetworkBack,
    Flows(usize),
}

/// What outlives a process.
pub(crate) struct Lasting {
    pub(crate) store: MemoryStore,
    pub(crate) journal: MemoryJournal,
    pub(crate) network: FakeNetwork,
    pub(crate) clock: PausedClock,
    pub(crate) saboteur: Arc<Saboteur>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) random: ChaCha8Rng,
    pub(crate) talk: Talk,
    pub(crate) wanted: BTreeSet<Channel>,
    pub(crate) channels: Vec<Channel>,
    /// Who opted out at any time.
    pub(crate) outs: BTreeSet<String>,
    pub(crate) out_now: BTreeSet<String>,
    pub(crate) turns: BTreeMap<(Duration, u32), Turn>,
    pub(crate) watch: Watch,
}

impl Lasting {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let (store, journal) = (MemoryStore::default(), MemoryJournal::new("journal"));
        let clock = PausedClock::at(BEGIN);
        let weather = Arc::new(Weather::default());
        let at = Arc::clone(&weather);
        store.faults().hook(move |operation| {
            let writes = matches!(
                operation,
                "commit" | "freeze" | "finish_freeze" | "write_trees"
            );
            let locked = writes && at.database_locked.load(Ordering::SeqCst);
            let fails = locked || at.database_gone.load(Ordering::SeqCst);
            fails.then_some(Failure::Transient)
        });
        let at = Arc::clone(&weather);
        journal.faults().hook(move |operation| {
            let fails = operation == "append" && at.disk_full.load(Ordering::SeqCst);
            fails.then_some(Failure::Transient)
        });
        let channels = talk::channels(scenario.traffic());
        Self {
            saboteur: Saboteur::new(store.clone(), journal.clone()),
            network: FakeNetwork::new(clock.clone()),
            random: scenario.random("strikes"),
            talk: Talk::new(scenario, BEGIN),
            wanted: channels.iter().cloned().collect(),
            channels,
            outs: BTreeSet::from([talk::BOT.to_owned()]),
            out_now: BTreeSet::new(),
            turns: BTreeMap::new(),
            watch: Watch::default(),
            store,
            journal,
            clock,
            weather,
        }
    }

    pub(crate) fn turn_at(&mut self, at: Duration, turn: Turn) {
        let number = u32::try_from(self.turns.len()).unwrap();
        let free = (number..).find(|n| !self.turns.contains_key(&(at, *n)));
        self.turns.insert((at, free.unwrap()), turn);
    }

    pub(crate) fn turn(&self, turn: Turn) {
        match turn {
            Turn::DatabaseBack => self.weather.database_gone.store(false, Ordering::SeqCst),
            Turn::Unlocked => self.weather.database_locked.store(false, Ordering::SeqCst),
            Turn::DiskFree => self.weather.disk_full.store(false, Ordering::SeqCst),
            Turn::Hold(port, hold) => {
                let faults = match port {
                    Port::Journal => self.journal.faults(),
                    Port::Store => self.store.faults(),
                };
                if hold {
                    faults.hold();
                } else {
                    faults.release();
                }
            }
            Turn::NetworkBack => self.network.unreachable(None),
            Turn::Flows(socket) => self.network.stall(socket, false),
        }
    }

    /// Ends everything that would end later.
    pub(crate) fn clear_up(&mut self) {
        for turn in std::mem::take(&mut self.turns).into_values() {
            if !matches!(turn, Turn::Hold(_, true)) {
                self.turn(turn);
            }
        }
    }

    pub(crate) fn socket(&mut self) -> Option<usize> {
        self.network
            .open_sockets()
            .choose(&mut self.random)
            .copied()
    }
}
