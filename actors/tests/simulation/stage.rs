//! The stage: plays a scenario, from the first process to the last.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::record::{Entry, Record};
use twzrd_domain::weight::Arithmetic;
use twzrd_testkit::scenario::{Ending, Fault, Hit, Port, Scenario, Stage};

use crate::ending;
use crate::lasting::{BEGIN, Lasting, Turn};
use crate::life::{EPOCH_SECONDS, Life};

/// How long anything may take in the end, in a time that costs nothing.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The tree in paused time.
#[derive(Default)]
pub(crate) struct Simulation {
    lasting: Option<Lasting>,
    life: Option<Life>,
    /// The scenario's time.
    pub(crate) now: Duration,
    /// What the journal held in the end.
    journal: Vec<Entry>,
}

impl Simulation {
    /// What the journal held in the end.
    pub(crate) fn journal(self) -> Vec<Entry> {
        self.journal
    }

    pub(crate) fn parts(&mut self) -> (&mut Lasting, &mut Life) {
        let lasting = self.lasting.as_mut().expect("it has begun");
        (lasting, self.life.as_mut().expect("it has begun"))
    }

    /// Ends the process, and lets a new one begin.
    fn next_life(&mut self, in_order: bool) -> Result<(), String> {
        let life = self.life.take().expect("it has begun");
        let lasting = self.lasting.as_mut().expect("it has begun");
        let mut ended_in_order = false;
        if in_order {
            let fired = lasting.saboteur.fired();
            let stopped = life
                .runtime
                .block_on(async { timeout(PATIENCE, life.tree.stop()).await });
            let report = stopped.map_err(|_| "the tree never stopped".to_owned())?;
            // Whoever dies while all stop is started by nobody again, and its feed goes with it.
            ended_in_order = report.late.is_empty() && lasting.saboteur.fired() == fired;
            self.now = life.time();
        }
        life.runtime.block_on(async { lasting.clock.stop() });
        // With its runtime every task goes where it stands, and whatever they held.
        drop(life.runtime);
        lasting.journal.kill_writer();
        if !ended_in_order {
            lasting.watch.excuse(&lasting.network, &lasting.journal);
        }
        for port in [Port::Journal, Port::Store] {
            lasting.turn(Turn::Hold(port, false));
        }
        lasting
            .turns
            .retain(|_, turn| !matches!(turn, Turn::Hold(..)));
        self.life = Some(Life::begin(lasting, self.now));
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let (lasting, _) = self.parts();
        lasting.saboteur.violation()?;
        lasting.watch.look(&lasting.store, &lasting.journal)
    }
}

impl Stage for Simulation {
    fn begin(&mut self, scenario: &Scenario) -> Result<(), String> {
        let lasting = Lasting::new(scenario);
        let mut life = Life::begin(&lasting, Duration::ZERO);
        let settings = Arithmetic {
            epoch_seconds: EpochLength::new(EPOCH_SECONDS).unwrap(),
            ..Arithmetic::default()
        };
        life.append(BEGIN, Record::Settings(settings));
        (self.lasting, self.life) = (Some(lasting), Some(life));
        let (lasting, life) = self.parts();
        let hearing = async {
            while !life.board.rooms().iter().all(|room| room.is_heard())
                || life.board.rooms().len() < lasting.channels.len()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            while life.errands.join_next().await.is_some() {}
        };
        let heard = life
            .runtime
            .block_on(async { timeout(PATIENCE, hearing).await });
        heard.map_err(|_| "channels are never heard".to_owned())?;
        // The scenario's time begins now.
        life.origin = (
            life.runtime.block_on(async { Instant::now() }),
            Duration::ZERO,
        );
        Ok(())
    }

    fn until(&mut self, at: Duration) -> Result<(), String> {
        let (lasting, life) = self.parts();
        loop {
            let line = lasting.talk.next_at();
            let turn = lasting.turns.first_key_value().map(|(key, _)| *key);
            let next = turn.map_or(line, |(turn, _)| turn.min(line)).min(at);
            let wake = life.instant(next);
            life.runtime.block_on(async { sleep_until(wake).await });
            if let Some(key) = turn.filter(|(turn, _)| *turn <= next) {
                let turn = lasting.turns.remove(&key);
                turn.into_iter().for_each(|turn| lasting.turn(turn));
            } else if line <= next && line < at {
                lasting.talk.say(&lasting.network);
            } else {
                break;
            }
        }
        let now = life.time();
        self.now = now;
        self.check()
    }

    fn strike(&mut self, fault: &Fault) -> Result<Hit, String> {
        let now = self.now;
        let hit = match fault {
            Fault::Panic(step) => {
                let (lasting, _) = self.parts();
                lasting.saboteur.arm(step);
                Hit::Struck
            }
            Fault::Kill(actor) => {
                let (lasting, life) = self.parts();
                match life.kill(actor, &mut lasting.random) {
                    true => Hit::Struck,
                    false => Hit::Missed,
                }
            }
            Fault::Restart(supervisor) => {
                self.parts().1.restart(supervisor);
                Hit::Struck
            }
            Fault::Hang(port, time) => {
                let (lasting, _) = self.parts();
                lasting.turn(Turn::Hold(*port, true));
                lasting.turn_at(now + *time, Turn::Hold(*port, false));
                Hit::Struck
            }
            Fault::Socket(fault) => self.socket_fault(*fault),
            Fault::Disk(fault) => self.disk_fault(*fault),
            Fault::Database(fault) => self.database_fault(*fault),
            Fault::ClockJump(ms) => {
                self.parts().0.clock.jump(*ms);
                Hit::Struck
            }
            Fault::Reload => self.reload(),
            Fault::OptOut => self.opt_out(),
            Fault::Terminate => {
                self.next_life(true)?;
                Hit::Struck
            }
            Fault::KillProcess => {
                self.next_life(false)?;
                Hit::Struck
            }
        };
        self.check()?;
        Ok(hit)
    }

    fn finish(&mut self) -> Result<Ending, String> {
        let (lasting, life) = self.parts();
        lasting.clear_up();
        let unfired = lasting.saboteur.disarm();
        let late = life.runtime.block_on(async {
            let settled = ending::settle(lasting, &life.board, &mut life.errands, PATIENCE).await;
            settled.map_err(|why| {
                format!(
                    "{why}; actors: {}; wanted: {:?}",
                    ending::actors(&life.tree),
                    lasting.wanted
                )
            })?;
            let finished = timeout(PATIENCE, ending::finish(&life.refs, true));
            finished
                .await
                .map_err(|_| "sealing never ended".to_owned())?;
            let stopped = timeout(PATIENCE, life.tree.stop());
            let stopped = stopped
                .await
                .map_err(|_| "the tree never stopped".to_owned())?;
            Ok::<_, String>(stopped.late)
        })?;
        if let Some(late) = late.first() {
            return Err(format!("{} stopped late, in calm weather", late.path));
        }
        self.check()?;
        let life = self.life.take().expect("it has begun");
        drop(life.runtime);
        let lasting = self.lasting.take().expect("it has begun");
        self.journal = lasting.journal.entries();
        ending::look(&lasting, unfired)
    }
}
