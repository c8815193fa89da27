//! Plays a scenario on a stage, and judges how it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Check, Fault, Outcome, Report, Scenario, Table};

/// What a strike came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// It was done.
    Struck,
    /// It was done, and after so long what it struck worked again.
    Recovered(Duration),
    /// There was nothing that it could strike.
    Missed,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// What the disturbed run ended in.
    pub outcome: Outcome,
    /// What an undisturbed run over the same accepted records ends in.
    pub reference: Outcome,
    /// How many lines were accepted.
    pub accepted: u64,
    /// What should be there and is not.
    pub lost: Vec<String>,
    /// What is there more than once.
    pub doubled: Vec<String>,
    /// How long it took until what faults struck worked again, where that shows only later.
    pub recoveries: Vec<(&'static str, Duration)>,
    /// The kinds of faults that were prepared and never met anything, once for each.
    pub unfired: Vec<&'static str>,
}

/// Where a scenario can be played. Time on it is the scenario's own.
pub trait Stage {
    /// Begins: everything runs, and is heard.
    ///
    /// # Errors
    /// Why it cannot.
    fn begin(&mut self, scenario: &Scenario) -> Result<(), String>;

    /// Lets people talk up to this moment.
    ///
    /// # Errors
    /// An invariant that does not hold.
    fn until(&mut self, at: Duration) -> Result<(), String>;

    /// Does what is to go wrong.
    ///
    /// # Errors
    /// Where it could not be done, which is a defect of the stage.
    fn strike(&mut self, fault: &Fault) -> Result<Hit, String>;

    /// Ends all weather, waits until everything is applied, sealed and built, and looks.
    ///
    /// # Errors
    /// What never came to its end, or an invariant that does not hold.
    fn finish(&mut self) -> Result<Ending, String>;
}

/// A scenario that did not end as it must.
#[derive(Clone, Debug)]
pub struct Broken {
    scenario: Scenario,
    at: Duration,
    why: String,
}

impl Broken {
    /// What did not hold.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.scenario.seed();
        writeln!(f, "seed {seed}, after {:?}: {}", self.at, self.why)?;
        write!(f, "{}", self.scenario)?;
        write!(f, "once more with TWZRD_CHAOS_SEED={seed}")
    }
}

impl std::error::Error for Broken {}

impl Scenario {
    /// Plays it to its end.
    ///
    /// # Errors
    /// What did not hold, with the seed and everything that happened.
    pub fn play(&self, stage: &mut impl Stage) -> Result<Report, Box<Broken>> {
        let mut at = Duration::ZERO;
        let broken = |at, why| {
            let scenario = self.clone();
            Box::new(Broken { scenario, at, why })
        };
        stage.begin(self).map_err(|why| broken(at, why))?;
        let mut report = Report::default();
        for strike in self.schedule() {
            at = strike.at;
            stage.until(at).map_err(|why| broken(at, why))?;
            let hit = stage.strike(&strike.fault).map_err(|why| broken(at, why))?;
            report.book(strike.fault.kind(), hit);
        }
        at = self.length();
        stage.until(at).map_err(|why| broken(at, why))?;
        let ending = stage.finish().map_err(|why| broken(at, why))?;
        for check in self.checks() {
            held(*check, &ending).map_err(|why| broken(at, why))?;
        }
        report.end(&ending);
        Ok(report)
    }
}

fn held(check: Check, ending: &Ending) -> Result<(), String> {
    let few = |found: &[String]| found.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    match check {
        Check::Same(table) => same(table, ending),
        Check::NothingLost if !ending.lost.is_empty() => {
            Err(format!("{} lost: {}", ending.lost.len(), few(&ending.lost)))
        }
        Check::NothingDoubled if !ending.doubled.is_empty() => Err(format!(
            "{} doubled: {}",
            ending.doubled.len(),
            few(&ending.doubled)
        )),
        Check::NothingLost | Check::NothingDoubled => Ok(()),
    }
}

/// Equal, or the first rows that differ.
fn same(table: Table, ending: &Ending) -> Result<(), String> {
    let none = BTreeMap::new();
    let disturbed = ending.outcome.get(&table).unwrap_or(&none);
    let calm = ending.reference.get(&table).unwrap_or(&none);
    let mut keys: Vec<&String> = disturbed.keys().chain(calm.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| disturbed.get(*key) != calm.get(*key));
    if keys.is_empty() {
        return Ok(());
    }
    let nothing = "nothing".to_owned();
    let told = keys.iter().take(3).map(|key| {
        let (found, expected) = (disturbed.get(*key), calm.get(*key));
        let (found, expected) = (found.unwrap_or(&nothing), expected.unwrap_or(&nothing));
        format!("{key} is {found}, undisturbed {expected}")
    });
    let told: Vec<_> = told.collect();
    Err(format!(
        "{} rows of the {table} differ: {}",
        keys.len(),
        told.join("; ")
    ))
}
