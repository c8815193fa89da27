//! What runs came to, by fault.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Ending, Hit};

/// What is known of one kind of fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How often it was done.
    pub injected: u64,
    /// How often there was nothing that it could strike.
    pub missed: u64,
    /// How long it took until what it struck worked again.
    pub recoveries: Vec<Duration>,
}

impl Figures {
    /// The time within which so many of a hundred recoveries were done.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        // Nearest rank: the smallest one that so many of a hundred do not exceed.
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }
}

/// What runs came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many runs.
    pub runs: u64,
    /// How many lines were accepted in them.
    pub accepted: u64,
    /// How many of them were lost.
    pub lost: u64,
    /// How many counted twice.
    pub doubled: u64,
    /// By kind of fault.
    pub faults: BTreeMap<&'static str, Figures>,
}

impl Report {
    /// Books a strike.
    pub fn book(&mut self, kind: &'static str, hit: Hit) {
        let figures = self.faults.entry(kind).or_default();
        match hit {
            Hit::Missed => figures.missed += 1,
            Hit::Struck => figures.injected += 1,
            Hit::Recovered(time) => {
                figures.injected += 1;
                figures.recoveries.push(time);
            }
        }
    }

    /// Books the end of a run.
    pub fn end(&mut self, ending: &Ending) {
        self.runs += 1;
        self.accepted += ending.accepted;
        self.lost += ending.lost.len() as u64;
        self.doubled += ending.doubled.len() as u64;
        for (kind, time) in &ending.recoveries {
            self.faults.entry(kind).or_default().recoveries.push(*time);
        }
        for kind in &ending.unfired {
            let figures = self.faults.entry(kind).or_default();
            figures.injected = figures.injected.saturating_sub(1);
            figures.missed += 1;
        }
    }

    /// Adds the runs of another one.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.accepted += other.accepted;
        self.lost += other.lost;
        self.doubled += other.doubled;
        for (kind, figures) in other.faults {
            let mine = self.faults.entry(kind).or_default();
            mine.injected += figures.injected;
            mine.missed += figures.missed;
            mine.recoveries.extend(figures.recoveries);
        }
    }

    /// How many faults were injected.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.faults.values().map(|figures| figures.injected).sum()
    }
}

/// A table in Markdown, one row a kind of fault.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            accepted,
            lost,
            doubled,
            ..
        } = self;
        let injected = self.injected();
        writeln!(
            f,
            "{runs} runs, {accepted} lines accepted, {injected} faults, {lost} lost, {doubled} doubled"
        )?;
        writeln!(f, "| fault | injected | recovery p50 | p99 |")?;
        writeln!(f, "|---|---:|---:|---:|")?;
        for (kind, figures) in &self.faults {
            let time = |percent| match figures.percentile(percent) {
                Some(time) => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
                None => String::new(),
            };
            let (p50, p99) = (time(50), time(99));
            writeln!(f, "| {kind} | {} | {p50} | {p99} |", figures.injected)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let recoveries = (1..=200).map(Duration::from_millis).collect();
        let figures = Figures {
            recoveries,
            ..Figures::default()
        };
        assert_eq!(figures.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(figures.percentile(99), Some(Duration::from_millis(198)));
        assert_eq!(Figures::default().percentile(50), None);
    }

    #[test]
    fn a_report_is_a_table() {
        let mut report = Report::default();
        report.book(
            "an actor is killed",
            Hit::Recovered(Duration::from_millis(2)),
        );
        report.book("an actor is killed", Hit::Missed);
        let ending = Ending {
            accepted: 10,
            ..Ending::default()
        };
        report.end(&ending);
        let expected = "1 runs, 10 lines accepted, 1 faults, 0 lost, 0 doubled\n\
            | fault | injected | recovery p50 | p99 |\n|---|---:|---:|---:|\n\
            | an actor is killed | 1 | 2.0 ms | 2.0 ms |\n";
        assert_eq!(report.to_string(), expected);
    }
}
