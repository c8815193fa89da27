//! A stage on which the real program runs: real sockets, a real journal, a real database. It is
//! killed with `kill -9`, stopped and started again while people go on talking.
//!
//! A seed gives the same schedule and the same choices. What the process is doing at a moment is up
//! to the machine, so a seed that failed may have to be played more than once.

#[path = "finish.rs"]
mod finish;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use twzrd::clock::SystemClock;
use twzrd_simulator::traffic::{Kind, Shares};
use twzrd_simulator::{Config, Limit, Rooms, Simulator};
use twzrd_testkit::postgres::Postgres;
use twzrd_testkit::proxy::Proxy;
use twzrd_testkit::scenario::{Ending, Fault, Hit, Scenario, Stage};

use crate::dice::Dice;
use crate::eye::Eye;
use crate::outcome::Database;
use crate::program::Program;
use crate::support::Place;
use crate::weather::Weather;

/// How long anything may take before the stage gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the process and its journal are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a seal is waited for that a kill is to strike: a new one is due every epoch.
const SEAL_WITHIN: Duration = Duration::from_secs(4);
/// In seconds.
const EPOCH: u64 = 2;
/// In seconds. The oldest lines of the traffic are five seconds old, so some come late.
const GRACE: u64 = 3;

/// In what the process was when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It opens journal and database; nobody can ask it anything yet.
    Start,
    /// It runs, and has not accepted a line.
    Joining,
    /// It accepts lines.
    Running,
    /// It has just appended a seal: it freezes people and builds trees.
    Sealing,
    /// It was asked to stop, and is stopping.
    Stop,
}

impl Phase {
    pub(crate) const ALL: [Self; 5] = [
        Self::Start,
        Self::Joining,
        Self::Running,
        Self::Sealing,
        Self::Stop,
    ];
}

/// At what kills are aimed, over and over in another order; without an aim they strike whatever the
/// process is in. So each phase is struck in every run.
const MOMENTS: [Option<Phase>; 10] = [
    Some(Phase::Stop),
    Some(Phase::Stop),
    Some(Phase::Sealing),
    Some(Phase::Start),
    Some(Phase::Joining),
    Some(Phase::Running),
    None,
    None,
    None,
    None,
];

/// The stage.
pub(crate) struct ProcessStage {
    // The process goes before the folder that it works in, and before what it talks to.
    program: Option<Program>,
    simulator: Option<Simulator>,
    weather: Weather,
    runtime: Runtime,
    place: Place,
    postgres: Option<Postgres>,
    url: Option<String>,
    eye: Eye,
    dice: Dice,
    /// The moments that are left of those that were dealt.
    moments: Vec<Option<Phase>>,
    channels: Vec<String>,
    now: Duration,
    /// Until the first line is accepted: what is being recovered from, and how many lines there
    /// were before.
    waiting: Option<(Option<&'static str>, u64)>,
    recoveries: Vec<(&'static str, Duration)>,
    /// Sockets of processes that ended in order.
    orderly: Vec<RangeInclusive<u64>>,
    /// What was sealed, when it was first seen.
    sealed: BTreeMap<String, String>,
    /// How many lines processes that ended in order had read for certain, and could count.
    pub(crate) certain: usize,
    /// How often the process was killed, by what it was in.
    pub(crate) kills: BTreeMap<Phase, u64>,
}

impl ProcessStage {
    /// On the database that comes with the program.
    pub(crate) fn sqlite() -> Self {
        Self::on(None)
    }

    /// On a Postgres, behind a proxy.
    pub(crate) fn postgres() -> Self {
        Self::on(Some(Postgres::start().unwrap()))
    }

    fn on(postgres: Option<Postgres>) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let place = Place::new();
        Self {
            program: None,
            simulator: None,
            weather: Weather::default(),
            runtime: runtime.worker_threads(1).enable_all().build().unwrap(),
            eye: Eye::new(place.path("data/journal")),
            place,
            postgres,
            url: None,
            dice: Dice::of(0),
            moments: Vec::new(),
            channels: Vec::new(),
            now: Duration::ZERO,
            waiting: None,
            recoveries: Vec::new(),
            orderly: Vec::new(),
            sealed: BTreeMap::new(),
            certain: 0,
            kills: BTreeMap::new(),
        }
    }

    /// How many epochs and channels were seen sealed while the process ran.
    pub(crate) fn sealed(&self) -> usize {
        self.sealed.len()
    }

    fn database(&self) -> Database<'_> {
        match &self.postgres {
            Some(postgres) => Database::Postgres(postgres),
            None => Database::Sqlite(self.place.path("data/twzrd.sqlite")),
        }
    }

    fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("the scenario has begun")
    }

    fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("the scenario has begun")
    }

    /// Starts the program. `after` is what it has to recover from, if anything.
    fn start(&mut self, after: Option<&'static str>) -> Result<(), String> {
        let mut command = self.place.command(&["run", "--data", "data"]);
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        let sockets_before = self.simulator().snapshot().accepted;
        self.program = Some(Program::start(command, sockets_before)?);
        self.waiting = Some((after, self.eye.lines));
        Ok(())
    }

    /// Sees that the process runs, whether it has accepted a line, and what the weather is.
    fn watch(&mut self) -> Result<(), String> {
        self.program().check()?;
        if let (Some(simulator), weather) = (&self.simulator, &mut self.weather) {
            self.runtime.block_on(weather.pass(simulator))?;
        }
        if let Some((fault, lines)) = self.waiting {
            self.eye.glance()?;
            if self.eye.lines > lines {
                let started = self.program().started;
                let recovery = fault.map(|fault| (fault, started.elapsed()));
                self.recoveries.extend(recovery);
                self.waiting = None;
            }
        }
        Ok(())
    }

    /// Watches for a time, or until something holds: then true.
    fn watch_for(
        &mut self,
        time: Duration,
        holds: impl Fn(&mut Self) -> Result<bool, String>,
    ) -> Result<bool, String> {
        let end = Instant::now() + time;
        loop {
            self.watch()?;
            if holds(self)? {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            sleep(left.min(LOOK_EVERY));
        }
    }

    /// Waits until the process runs. Meanwhile the weather goes on, and ends.
    fn until_running(&mut self) -> Result<(), String> {
        let is_running = |stage: &mut Self| Ok(stage.program().is_running());
        if self.watch_for(PATIENCE, is_running)? {
            return Ok(());
        }
        let log = self.program().log();
        Err(format!("it did not run within {PATIENCE:?}:\n{log}"))
    }

    /// Waits for the moment that the dice have dealt, and kills the process at it. Where that is one
    /// of a start, the process is killed twice.
    fn kill(&mut self) -> Result<Hit, String> {
        if self.dice.one_in(10) {
            self.change_channels()?;
        }
        if self.moments.is_empty() {
            self.moments = self.dice.shuffled(&MOMENTS);
        }
        let moment = self.moments.pop().flatten();
        let mut phase = None;
        match moment {
            Some(Phase::Stop) => {
                self.until_running()?;
                self.program().signal("-TERM");
                sleep(self.dice.up_to_ms(25));
                phase = moment;
            }
            Some(Phase::Sealing) => {
                self.eye.look()?;
                let seals = self.eye.seals;
                let sees_seal = |stage: &mut Self| {
                    stage.eye.glance()?;
                    Ok(stage.eye.seals > seals)
                };
                if self.watch_for(SEAL_WITHIN, sees_seal)? {
                    phase = moment;
                }
                sleep(self.dice.up_to_ms(120));
            }
            Some(Phase::Start) => {
                self.kill_at_once(None)?;
                sleep(self.dice.up_to_ms(40));
            }
            Some(Phase::Joining) => {
                self.kill_at_once(None)?;
                self.until_running()?;
                sleep(self.dice.up_to_ms(30));
            }
            Some(Phase::Running) => {
                let accepts = |stage: &mut Self| Ok(stage.waiting.is_none());
                self.watch_for(PATIENCE, accepts)?;
            }
            None => {}
        }
        if !self.kill_at_once(phase)? {
            // It had come to the end of its stop: the next one is struck instead.
            sleep(self.dice.up_to_ms(100));
            self.kill_at_once(None)?;
        }
        Ok(Hit::Struck)
    }

    /// Kills the process and starts it again. False where it had ended before, in order.
    fn kill_at_once(&mut self, phase: Option<Phase>) -> Result<bool, String> {
        let is_running = self.program().is_running();
        let phase = match phase {
            Some(phase) => phase,
            None if !is_running => Phase::Start,
            None if self.waiting.is_some() => Phase::Joining,
            None => Phase::Running,
        };
        if matches!(phase, Phase::Running | Phase::Sealing) {
            self.see_sealed()?;
        }
        let program = self.program.take().expect("it runs");
        let first = program.sockets_before + 1;
        let is_killed = program.kill()?;
        if is_killed {
            *self.kills.entry(phase).or_default() += 1;
        } else {
            let last = self.simulator().snapshot().accepted;
            self.orderly.push(first..=last);
        }
        self.eye.look()?;
        self.start(Some(Fault::KillProcess.kind()))?;
        Ok(is_killed)
    }

    /// What is sealed is final: it is noted when it is first seen, while the process runs.
    fn see_sealed(&mut self) -> Result<(), String> {
        let newest = self.sealed.keys().filter_map(|key| epoch_of(key)).max();
        let from = newest.unwrap_or(0).saturating_sub(10 * EPOCH);
        for (key, row) in self.database().sealed_from(from)? {
            let known = self
                .sealed
                .entry(key.clone())
                .or_insert_with(|| row.clone());
            if *known != row {
                return Err(format!("{key} was sealed as {known}, and is {row} now"));
            }
        }
        Ok(())
    }

    fn terminate(&mut self) -> Result<Hit, String> {
        // While the database is away no line is accepted, and a stop leaves them.
        self.runtime.block_on(self.weather.clear_database())?;
        self.stop()?;
        self.start(Some(Fault::Terminate.kind()))?;
        Ok(Hit::Struck)
    }

    /// Stops the process in order.
    fn stop(&mut self) -> Result<(), String> {
        let program = self.program.take().expect("it runs");
        let (is_running, first) = (program.is_running(), program.sockets_before + 1);
        program.terminate(PATIENCE)?;
        if is_running {
            let last = self.simulator().snapshot().accepted;
            self.orderly.push(first..=last);
        }
        self.eye.look()
    }

    /// Changes the list of channels: about a quarter of them is left out.
    fn change_channels(&mut self) -> Result<(), String> {
        let all = self.simulator().rooms();
        let mut wanted: Vec<String> = all.iter().map(|room| room.to_string()).collect();
        wanted.retain(|_| !self.dice.one_in(4));
        wanted.extend(all.first().map(|room| room.to_string()));
        wanted.sort();
        wanted.dedup();
        self.place.write("channels.new", wanted.join("\n"));
        let (new, old) = (
            self.place.path("channels.new"),
            self.place.path("channels.txt"),
        );
        std::fs::rename(new, old).map_err(|error| error.to_string())?;
        self.channels = wanted;
        // A process that does not listen to signals yet would end by this one.
        if self.dice.one_in(2) && self.program().is_running() {
            self.program().signal("-HUP");
        }
        Ok(())
    }

    fn write_settings(&self) {
        let address = self.simulator().address();
        self.place.write("channels.txt", self.channels.join("\n"));
        let text = format!(
            r#"
            [epoch]
            seconds = {EPOCH}
            grace_seconds = {GRACE}
            [twitch]
            host = "{host}"
            port = {port}
            tls = false
            channels_per_connection = 5
            joins_per_period = 100000
            join_period_ms = 50
            authentications_per_period = 100000
            authentication_period_ms = 50
            reconnect_initial_ms = 20
            reconnect_max_ms = 500
            [collector]
            linger_ms = 50
            [batcher]
            linger_ms = 50
            [journal]
            segment_bytes = 131072
            [reload]
            debounce_ms = 20
            [gateway]
            listen = "127.0.0.1:0"
            [suppression]
            bots = ["nightbot", "fossabot"]
            [[channel_groups]]
            name = "all"
            token_group = "MILO"
            category = "default"
            file = "channels.txt"
            "#,
            host = address.ip(),
            port = address.port(),
        );
        self.place.write("supervision.toml", text);
    }
}

impl Stage for ProcessStage {
    fn begin(&mut self, scenario: &Scenario) -> Result<(), String> {
        let traffic = scenario.traffic();
        self.dice = Dice::of(scenario.seed());
        // Without an id it cannot be told whether a line was accepted.
        let shares = Shares::default();
        let shares = shares
            .with(Kind::WithoutTime, 0)
            .with(Kind::WithoutId, 0)
            .with(Kind::Junk, 0);
        let config = Config {
            seed: scenario.seed(),
            rooms: Rooms::Numbered(traffic.channels),
            users: traffic.people,
            shares,
            lines_per_second: traffic.lines_per_second,
            join_limit: Limit::NONE,
            login_limit: Limit::NONE,
            // So it is known of most lines whether they were read, also in the middle of a run.
            ping_every: Some(Duration::from_millis(200)),
            keep_log: true,
            ..Config::new(Arc::new(SystemClock))
        };
        let simulator = self.runtime.block_on(Simulator::start(config));
        let simulator = simulator.map_err(|error| error.to_string())?;
        self.channels = simulator
            .rooms()
            .iter()
            .map(|room| room.to_string())
            .collect();
        self.simulator = Some(simulator);
        if let Some(postgres) = &self.postgres {
            let url = postgres.url();
            let inside = self.runtime.enter();
            let proxy = Proxy::before_postgres(&url);
            drop(inside);
            let (proxy, url) = proxy.map_err(|error| error.to_string())?;
            self.weather = Weather::behind(proxy);
            self.url = Some(url);
        }
        self.write_settings();
        self.start(None)?;
        self.until_running()
    }

    fn until(&mut self, at: Duration) -> Result<(), String> {
        // What a strike takes is not time of the scenario.
        let time = at.saturating_sub(self.now);
        self.now = self.now.max(at);
        self.watch_for(time, |_| Ok(false)).map(drop)
    }

    fn strike(&mut self, fault: &Fault) -> Result<Hit, String> {
        match fault {
            Fault::KillProcess => self.kill(),
            Fault::Terminate => self.terminate(),
            Fault::Reload => self.change_channels().map(|()| Hit::Struck),
            Fault::Socket(fault) => {
                let simulator = self.simulator.as_ref().expect("the scenario has begun");
                let struck = self.weather.socket(*fault, simulator, &mut self.dice);
                self.runtime.block_on(struck)
            }
            Fault::Database(fault) => self.runtime.block_on(self.weather.database(*fault)),
            _ => Ok(Hit::Missed),
        }
    }

    fn finish(&mut self) -> Result<Ending, String> {
        self.settle()?;
        self.judge()
    }
}

fn epoch_of(key: &str) -> Option<u64> {
    key.split('/').next()?.parse().ok()
}
