//! Scenarios: a seed, what is said, what goes wrong and when, and what must hold at the end.
//!
//! A scenario knows neither actors nor processes. A [`Stage`] plays it: the tree in paused time on
//! stand-ins, the service in this process, or the real program. So the same sentence is said of all
//! of them:
//!
//! ```
//! use std::time::Duration;
//! use twzrd_testkit::scenario::{Check, Fault, Scenario, Traffic};
//!
//! let scenario = Scenario::seeded(7)
//!     .with(Traffic::of(5).channels().and(40).people().saying(20))
//!     .lasting(Duration::from_secs(60))
//!     .striking(12, &[Fault::Kill("journal"), Fault::Panic("epoch_sealer.frozen")])
//!     .at(Duration::from_secs(30), Fault::Reload)
//!     .ending_with(&Check::ALL);
//! assert_eq!(scenario.schedule().len(), 13);
//! ```

mod fault;
mod play;
mod report;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::prelude::*;
use rand::rngs::ChaCha8Rng;

pub use fault::{DatabaseFault, DiskFault, Fault, Port, SocketFault};
pub use play::{Broken, Ending, Hit, Stage};
pub use report::{Figures, Report};

/// What is said while things go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// How many channels there are.
    pub channels: u32,
    /// How many people talk in them.
    pub people: u32,
    /// How many lines are said in a second, over all channels.
    pub lines_per_second: u32,
}

/// A [`Traffic`] that is being spelled out.
#[derive(Clone, Copy, Debug)]
pub struct Spelled<const WORD: u8>(Traffic);

impl Traffic {
    /// So many channels.
    #[must_use]
    pub const fn of(channels: u32) -> Spelled<0> {
        Spelled(Self {
            channels,
            people: 1,
            lines_per_second: 1,
        })
    }
}

impl Spelled<0> {
    /// The number before is that of channels.
    #[must_use]
    pub const fn channels(self) -> Spelled<1> {
        Spelled(self.0)
    }
}

impl Spelled<1> {
    /// So many people.
    #[must_use]
    pub const fn and(self, people: u32) -> Spelled<2> {
        Spelled(Traffic { people, ..self.0 })
    }
}

impl Spelled<2> {
    /// The number before is that of people.
    #[must_use]
    pub const fn people(self) -> Spelled<3> {
        Spelled(self.0)
    }
}

impl Spelled<3> {
    /// So many lines a second, over all channels.
    #[must_use]
    pub const fn saying(self, lines_per_second: u32) -> Traffic {
        Traffic {
            lines_per_second,
            ..self.0
        }
    }
}

/// A table of what a run ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Participation root and claim root, by epoch and channel.
    Roots,
    /// Who was frozen, with weight and leaf, by epoch and channel.
    Participants,
    /// Signals, by epoch, channel, minute, kind and person.
    Signals,
    /// Lines by outcome, by epoch and channel.
    Ledger,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots => "roots",
            Self::Participants => "participants",
            Self::Signals => "signals",
            Self::Ledger => "ledger",
        })
    }
}

/// What a run ended in: the rows of each table, by key.
pub type Outcome = BTreeMap<Table, BTreeMap<String, String>>;

/// What must hold at the end. The invariants are looked at all the while, and need no mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A table equals that of an undisturbed run over the same accepted records.
    Same(Table),
    /// Every line that was read from a socket that stayed up, and every answered append, is there.
    NothingLost,
    /// Nothing counts twice.
    NothingDoubled,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Same(Table::Roots),
        Self::Same(Table::Participants),
        Self::Same(Table::Signals),
        Self::Same(Table::Ledger),
        Self::NothingLost,
        Self::NothingDoubled,
    ];
}

/// A fault and its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When, from the begin of the scenario.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// So many faults out of these, between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Random {
    times: usize,
    pool: Vec<Fault>,
    between: (Duration, Duration),
}

/// A scenario. Equal ones are the same schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    seed: u64,
    traffic: Traffic,
    length: Duration,
    random: Vec<Random>,
    fixed: Vec<Strike>,
    checks: Vec<Check>,
}

impl Scenario {
    /// A quiet minute that follows from a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            traffic: Traffic::of(3).channels().and(20).people().saying(10),
            length: Duration::from_secs(60),
            random: Vec::new(),
            fixed: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Says what is said.
    #[must_use]
    pub fn with(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    /// Says how long it is said.
    #[must_use]
    pub fn lasting(self, length: Duration) -> Self {
        Self { length, ..self }
    }

    /// So many of these faults, at moments and in an order that the seed decides.
    #[must_use]
    pub fn striking(self, times: usize, pool: &[Fault]) -> Self {
        let between = (Duration::ZERO, self.length);
        self.striking_between(between.0, between.1, times, pool)
    }

    /// So many of these faults, between two moments.
    #[must_use]
    pub fn striking_between(
        mut self,
        from: Duration,
        to: Duration,
        times: usize,
        pool: &[Fault],
    ) -> Self {
        self.random.push(Random {
            times,
            pool: pool.to_vec(),
            between: (from, to),
        });
        self
    }

    /// This fault at this moment.
    #[must_use]
    pub fn at(mut self, at: Duration, fault: Fault) -> Self {
        self.fixed.push(Strike { at, fault });
        self
    }

    /// This fault again and again, the first time after one period.
    #[must_use]
    pub fn every(mut self, period: Duration, fault: Fault) -> Self {
        let mut at = period;
        while !period.is_zero() && at < self.length {
            self.fixed.push(Strike { at, fault });
            at += period;
        }
        self
    }

    /// What must hold at the end.
    #[must_use]
    pub fn ending_with(mut self, checks: &[Check]) -> Self {
        self.checks.extend_from_slice(checks);
        self
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// What is said.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How long it is said.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// What must hold at the end.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// A source of randomness of its own for everything that asks under another name.
    #[must_use]
    pub fn random(&self, purpose: &str) -> ChaCha8Rng {
        let mut seed = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in purpose.bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// Every strike, by its moment. The same scenario has the same schedule.
    #[must_use]
    pub fn schedule(&self) -> Vec<Strike> {
        let mut random = self.random("schedule");
        let mut strikes = self.fixed.clone();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for Random {
            times,
            pool,
            between: (from, to),
        } in &self.random
        {
            let (from, to) = (ms(*from), ms((*to).min(self.length)));
            for _ in 0..*times {
                let at = Duration::from_millis(random.random_range(from..to.max(from + 1)));
                strikes.extend(
                    pool.choose(&mut random)
                        .map(|fault| Strike { at, fault: *fault }),
                );
            }
        }
        strikes.sort_by_key(|strike| strike.at);
        strikes
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic {
            channels,
            people,
            lines_per_second,
        } = self.traffic;
        writeln!(
            f,
            "seed {}: {channels} channels, {people} people, {lines_per_second} lines a second for {:?}",
            self.seed, self.length
        )?;
        for Strike { at, fault } in self.schedule() {
            writeln!(f, "  {:>9.3} s  {fault}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(seed: u64) -> Scenario {
        Scenario::seeded(seed)
            .lasting(Duration::from_secs(10))
            .striking(
                50,
                &[Fault::Reload, Fault::Kill("journal"), Fault::Terminate],
            )
            .every(Duration::from_secs(3), Fault::KillProcess)
    }

    #[test]
    fn the_schedule_follows_from_the_seed() {
        assert_eq!(scenario(1).schedule(), scenario(1).schedule());
        assert_ne!(scenario(1).schedule(), scenario(2).schedule());
    }

    #[test]
    fn strikes_are_in_order_and_within_the_length() {
        let strikes = scenario(3).schedule();
        assert_eq!(strikes.len(), 53);
        assert!(strikes.is_sorted_by_key(|strike| strike.at));
        assert!(
            strikes
                .iter()
                .all(|strike| strike.at < Duration::from_secs(10))
        );
        let fixed = strikes
            .iter()
            .filter(|strike| strike.fault == Fault::KillProcess);
        let fixed: Vec<_> = fixed.map(|strike| strike.at.as_secs()).collect();
        assert_eq!(fixed, [3, 6, 9]);
    }

    #[test]
    fn a_burst_stays_between_its_moments() {
        let (from, to) = (Duration::from_secs(4), Duration::from_secs(5));
        let burst = Scenario::seeded(1).striking_between(from, to, 40, &[Fault::Reload]);
        let strikes = burst.schedule();
        assert_eq!(strikes.len(), 40);
        assert!(strikes.iter().all(|strike| (from..to).contains(&strike.at)));
    }

    #[test]
    fn a_scenario_reads_as_a_list_of_what_happens() {
        let text = Scenario::seeded(9)
            .with(Traffic::of(2).channels().and(3).people().saying(4))
            .at(Duration::from_millis(1500), Fault::Kill("journal"))
            .to_string();
        let expected =
            "seed 9: 2 channels, 3 people, 4 lines a second for 60s\n      1.500 s  kill journal\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn each_purpose_has_randomness_of_its_own() {
        let scenario = scenario(4);
        let first = |purpose| scenario.random(purpose).next_u64();
        assert_eq!(first("traffic"), first("traffic"));
        assert_ne!(first("traffic"), first("schedule"));
    }
}
