//! The stage: the tree in this process, in the time of the system, on real parts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use twzrd_actors::suppression_filter::{ListChange, SuppressionFilterMsg};
use twzrd_domain::identity::{Channel, Name, UserHash, Wallet};
use twzrd_domain::ports::Clock;
use twzrd_domain::record::{Bind, Record};
use twzrd_simulator::{Cut, Garbage, Target};
use twzrd_supervision::ChildError;
use twzrd_testkit::scenario::{DiskFault, Ending, Fault, Hit, Port, Scenario, SocketFault, Stage};

use crate::dice::Dice;
use crate::ending;
use crate::saboteur::Actors;
use crate::watch::Watch;
use crate::weather::{self, Answer, Came, DatabaseWeather};
use crate::world::{ANSWER_WITHIN, PATIENCE, World};

/// How many lines come twice.
const AGAIN: usize = 20;
/// How long a socket is kept that was told to reconnect.
const KEPT: Duration = Duration::from_millis(300);
/// How far the clock goes ahead in the end, so that every epoch is over.
const FAR: i64 = 120_000;

/// What faults came to that were done behind the stage's back.
#[derive(Default)]
struct Notes {
    recoveries: Vec<(&'static str, Duration)>,
    unfired: Vec<&'static str>,
    broken: Option<String>,
}

/// A run.
struct Run {
    world: Arc<World>,
    errands: JoinSet<()>,
    notes: Arc<Mutex<Notes>>,
    watch: Watch,
    dice: Dice,
    begun: Instant,
    people: u64,
    /// Who opted out at any time, and who is out now.
    outs: BTreeSet<String>,
    out_now: BTreeSet<String>,
    database: Arc<DatabaseWeather>,
    /// Two restarts of supervisors take turns.
    restarts: Arc<tokio::sync::Mutex<()>>,
}

/// The live stage.
pub(crate) struct LiveStage {
    is_postgres: bool,
    runtime: Option<Runtime>,
    run: Option<Run>,
    /// How many channels of epochs were sealed before the end of the weather.
    pub(crate) sealed_in_weather: usize,
}

impl LiveStage {
    pub(crate) fn sqlite() -> Self {
        Self::on(false)
    }

    pub(crate) fn postgres() -> Self {
        Self::on(true)
    }

    fn on(is_postgres: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            is_postgres,
            runtime: Some(runtime),
            run: None,
            sealed_in_weather: 0,
        }
    }

    fn parts(&mut self) -> (&Runtime, &mut Run) {
        let runtime = self.runtime.as_ref().expect("it has not ended");
        (runtime, self.run.as_mut().expect("it has begun"))
    }
}

impl Drop for LiveStage {
    fn drop(&mut self) {
        self.run = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

impl Run {
    fn actors(&self) -> Actors {
        Actors {
            refs: self.world.refs.clone(),
            board: Arc::clone(&self.world.board),
        }
    }

    fn dice(&mut self) -> Dice {
        Dice::of(self.dice.below(u64::MAX))
    }

    /// Lets a fault run its course.
    fn errand(
        &mut self,
        fault: &Fault,
        course: impl Future<Output = Answer> + Send + 'static,
    ) -> Hit {
        let (notes, fault) = (Arc::clone(&self.notes), *fault);
        self.errands.spawn(async move {
            let came = timeout(PATIENCE, course).await;
            let came = came.unwrap_or_else(|_| Err(format!("not over after {PATIENCE:?}")));
            let mut notes = notes.lock().unwrap();
            match came {
                Ok(Came::Done) => {}
                Ok(Came::Back(time)) => notes.recoveries.push((fault.kind(), time)),
                Ok(Came::Unfired) => notes.unfired.push(fault.kind()),
                Err(why) => drop(notes.broken.get_or_insert(format!("{fault}: {why}"))),
            }
        });
        Hit::Struck
    }

    fn strike(&mut self, fault: &Fault) -> Hit {
        let world = Arc::clone(&self.world);
        match fault {
            Fault::Panic(step) => {
                let told = world.saboteur.arm(step, self.actors());
                self.errand(fault, async move {
                    let Ok((at, back)) = told.await else {
                        return Ok(Came::Unfired);
                    };
                    let is_back = back.await;
                    Ok(came(is_back, at))
                })
            }
            Fault::Kill(actor) => {
                let Some(back) = self.actors().kill(actor, &mut self.dice) else {
                    return Hit::Missed;
                };
                let begun = Instant::now();
                self.errand(fault, async move {
                    let is_back = back.await;
                    Ok(came(is_back, begun))
                })
            }
            Fault::Restart(supervisor) => {
                let turns = Arc::clone(&self.restarts);
                self.errand(fault, restart(world, supervisor, turns))
            }
            Fault::Hang(Port::Journal, time) | Fault::Disk(DiskFault::SlowSync(time)) => {
                self.errand(fault, weather::held_syncs(world, *time))
            }
            Fault::Hang(Port::Store, time) => self.errand(fault, weather::held_store(world, *time)),
            Fault::Socket(socket) => self.socket(fault, *socket),
            Fault::Disk(disk) => self.disk(fault, *disk),
            Fault::Database(database) => {
                let (weather, dice) = (Arc::clone(&self.database), self.dice());
                let database = *database;
                let course = async move { weather.strike(world, dice, database).await };
                self.errand(fault, course)
            }
            Fault::ClockJump(ms) => {
                world.clock.jump(*ms);
                Hit::Struck
            }
            Fault::Reload => self.reload(fault),
            Fault::OptOut => self.opt_out(fault),
            // They need a process of their own.
            Fault::Terminate | Fault::KillProcess => Hit::Missed,
        }
    }

    fn socket(&mut self, fault: &Fault, socket: SocketFault) -> Hit {
        let world = Arc::clone(&self.world);
        let mut dice = self.dice();
        let all = world.sockets.handle();
        let one = weather::one_socket(&world, &mut dice).unwrap_or(Target::All);
        let struck = match socket {
            SocketFault::CutMidLine => {
                return self.errand(fault, weather::cut_mid_line(world, dice));
            }
            SocketFault::Outage(time) => {
                return self.errand(fault, weather::outage(world, dice, time));
            }
            SocketFault::Stall(time) => {
                return self.errand(fault, weather::stall(world, dice, time));
            }
            SocketFault::Reconnect => world.simulator.reconnect(one, KEPT),
            SocketFault::Duplicate => world.simulator.duplicate(AGAIN),
            SocketFault::Garbage => {
                let kinds = u64::try_from(Garbage::ALL.len()).unwrap();
                let kind = usize::try_from(dice.below(kinds)).unwrap();
                world.simulator.garbage(one, Garbage::ALL[kind])
            }
            SocketFault::Close if dice.one_in(2) => world.simulator.cut(one, Cut::Orderly),
            SocketFault::Close => all.cut(twzrd_testkit::proxy::Close::Orderly),
            SocketFault::Reset if dice.one_in(2) => world.simulator.cut(one, Cut::Reset),
            SocketFault::Reset => all.cut(twzrd_testkit::proxy::Close::Reset),
        };
        match socket {
            _ if struck == 0 => Hit::Missed,
            SocketFault::Close | SocketFault::Reset => {
                self.errand(fault, weather::heard_again(world))
            }
            _ => Hit::Struck,
        }
    }

    fn disk(&mut self, fault: &Fault, disk: DiskFault) -> Hit {
        let world = Arc::clone(&self.world);
        let failing = match disk {
            DiskFault::Full(time) => return self.errand(fault, weather::full_disk(world, time)),
            DiskFault::Error(times) => weather::failing(&mut self.dice, times),
            DiskFault::ShortWrite(times) => weather::short(&mut self.dice, times),
            // In one process an answer is lost with its actor, which other faults see to.
            DiskFault::AnswerLost(_) | DiskFault::SlowSync(_) => return Hit::Missed,
        };
        self.errand(fault, weather::disk_fails(world, failing))
    }

    fn reload(&mut self, fault: &Fault) -> Hit {
        let world = Arc::clone(&self.world);
        let rooms = world.simulator.rooms();
        let count = u64::try_from(rooms.len()).unwrap();
        let place = usize::try_from(self.dice.below(count)).unwrap();
        let channel = Channel::parse(&rooms[place]).unwrap();
        {
            let mut wanted = world.wanted.lock().unwrap();
            if !wanted.remove(&channel) {
                wanted.insert(channel);
            }
        }
        let turns = Arc::clone(&self.restarts);
        self.errand(fault, async move {
            let begun = Instant::now();
            let turn = turns.lock().await;
            world.apply_wanted().await;
            drop(turn);
            world.all_heard().await;
            Ok(Came::Back(begun.elapsed()))
        })
    }

    /// Somebody opts out or in, and somebody else binds a wallet.
    fn opt_out(&mut self, fault: &Fault) -> Hit {
        let world = Arc::clone(&self.world);
        let login = format!("user_{:06}", self.dice.below(self.people));
        let suppress = !self.out_now.remove(&login);
        if suppress {
            self.out_now.insert(login.clone());
            self.outs.insert(login.clone());
        }
        let binder = format!("user_{:06}", self.dice.below(self.people));
        let wallet = [u8::try_from(self.dice.below(256)).unwrap(); 32];
        self.errand(fault, async move {
            list(&world, &login, suppress).await;
            let user = UserHash::of_login(&Name::parse(&binder).unwrap());
            let bind = Bind {
                user,
                wallet: Wallet(wallet),
                verified: true,
                source: "chaos".to_owned(),
            };
            world.append(Record::Bind(bind)).await?;
            Ok(Came::Done)
        })
    }

    /// Nothing is broken, and the tree still stands.
    async fn check(&mut self) -> Result<(), String> {
        if let Some(why) = self.notes.lock().unwrap().broken.clone() {
            return Err(why);
        }
        if let Ok(reason) = timeout(Duration::ZERO, self.world.tree.exited()).await {
            return Err(format!("the supervision tree ended: {reason}"));
        }
        self.watch.look(&self.world).await
    }

    async fn finish(&mut self) -> Result<Ending, String> {
        // People talk on until all weather is over, since that is how it shows.
        self.world.saboteur.disarm();
        while self.errands.join_next().await.is_some() {}
        self.world.clear().await?;
        self.check().await?;
        let patient = |what: &'static str| move |_| format!("{what} within {PATIENCE:?}");
        let heard = timeout(PATIENCE, self.world.all_heard()).await;
        heard.map_err(patient("channels are not heard"))?;
        let settled = timeout(PATIENCE, ending::settle(&self.world)).await;
        settled.map_err(patient("it did not settle"))??;
        self.world.clock.jump(FAR);
        let sealed = timeout(PATIENCE, ending::finish(&self.world.refs, true)).await;
        sealed.map_err(patient("sealing did not end"))?;
        let stopped = timeout(PATIENCE, self.world.tree.stop()).await;
        let late = stopped.map_err(patient("the tree did not stop"))?.late;
        if let Some(late) = late.first() {
            return Err(format!("{} stopped late, in calm weather", late.path));
        }
        self.watch.look(&self.world).await?;
        let mut ending = ending::look(&self.world, &self.watch, &self.outs).await?;
        let mut notes = self.notes.lock().unwrap();
        ending.recoveries = std::mem::take(&mut notes.recoveries);
        ending.unfired = std::mem::take(&mut notes.unfired);
        Ok(ending)
    }
}

fn came(is_back: bool, begun: Instant) -> Came {
    match is_back {
        true => Came::Back(begun.elapsed()),
        false => Came::Done,
    }
}

/// A person opts out or in, however long that takes.
async fn list(world: &World, login: &str, suppress: bool) {
    let filter = &world.refs.filter;
    loop {
        let change = ListChange {
            suppress,
            hashes: vec![UserHash::of_login(&Name::parse(login).unwrap())],
            reason: String::new(),
            at: world.clock.now(),
        };
        let ask = |reply| SuppressionFilterMsg::Change(change, reply);
        if let Ok(Ok(_)) = filter.call(ask, ANSWER_WITHIN).await {
            return;
        }
        let _ = filter.wait_running(ANSWER_WITHIN).await;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Ends a supervisor by its children, and starts it again, until that works.
async fn restart(
    world: Arc<World>,
    supervisor: &'static str,
    turns: Arc<tokio::sync::Mutex<()>>,
) -> Answer {
    let _turn = turns.lock().await;
    let (begun, root) = (Instant::now(), world.tree.root());
    let ended = root.terminate_child(supervisor).await;
    ended.map_err(|error| error.to_string())?;
    loop {
        match root.restart_child(supervisor).await {
            Ok(()) | Err(ChildError::Running { .. }) => break,
            // What it needs may be away, as the disk of the journal.
            Err(ChildError::StartFailed { .. }) => sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(Came::Back(begun.elapsed()))
}

impl Stage for LiveStage {
    fn begin(&mut self, scenario: &Scenario) -> Result<(), String> {
        let runtime = self.runtime.as_ref().expect("it has not ended");
        let started = runtime
            .block_on(async { timeout(PATIENCE, World::start(scenario, self.is_postgres)).await });
        let world = started.map_err(|_| "it never began".to_owned())??;
        let traffic = scenario.traffic();
        world.simulator.set_rate(traffic.lines_per_second);
        self.run = Some(Run {
            world: Arc::new(world),
            errands: JoinSet::new(),
            notes: Arc::default(),
            watch: Watch::default(),
            dice: Dice::of(scenario.seed()),
            begun: runtime.block_on(async { Instant::now() }),
            people: u64::from(traffic.people),
            outs: BTreeSet::new(),
            out_now: BTreeSet::new(),
            database: Arc::default(),
            restarts: Arc::default(),
        });
        Ok(())
    }

    fn until(&mut self, at: Duration) -> Result<(), String> {
        let (runtime, run) = self.parts();
        let checked = runtime.block_on(async {
            sleep_until(run.begun + at).await;
            run.check().await
        });
        self.sealed_in_weather = run.watch.sealed();
        checked
    }

    fn strike(&mut self, fault: &Fault) -> Result<Hit, String> {
        let (runtime, run) = self.parts();
        let _inside = runtime.enter();
        Ok(run.strike(fault))
    }

    fn finish(&mut self) -> Result<Ending, String> {
        let (runtime, run) = self.parts();
        runtime.block_on(run.finish())
    }
}
