//! How a run of the real program ends: what is waited for, and what is compared.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::Duration;

use twzrd_domain::epoch::EpochLength;
use twzrd_domain::record::Candidate;
use twzrd_simulator::log::{Delivery, Fate};
use twzrd_testkit::scenario::{Ending, Table};
use twzrd_twitch::intake::IntakeBuilder;
use twzrd_twitch::line::Arrival;

use super::{PATIENCE, ProcessStage};
use crate::outcome::Database;
use crate::support::finish;

impl ProcessStage {
    /// Lets what is going on come to its end: all is read, applied, sealed and built.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        if let Some(simulator) = &self.simulator {
            self.runtime.block_on(self.weather.clear(simulator))?;
        }
        self.until_running()?;
        let wanted = self.channels.len();
        let all_joined = move |stage: &mut Self| {
            let joined = stage.simulator().snapshot().joined();
            Ok(joined >= wanted && stage.waiting.is_none())
        };
        if !self.watch_for(PATIENCE, all_joined)? {
            let joined = self.simulator().snapshot().joined();
            let accepts = self.waiting.is_none();
            let log = self.program().log();
            return Err(format!(
                "after {PATIENCE:?} {joined} of {wanted} channels are joined, and that a line was accepted is {accepts}:\n{log}"
            ));
        }
        self.watch_for(Duration::from_millis(300), |_| Ok(false))?;
        let read = self.simulator().acknowledged();
        let read = async { tokio::time::timeout(PATIENCE, read).await };
        self.runtime
            .block_on(read)
            .map_err(|_| "clients read no further")?;
        // Once more in silence: what the first one left open is sealed when its grace has passed.
        self.stop()?;
        self.start(None)?;
        self.waiting = None;
        self.until_running()?;
        let is_sealed = |stage: &mut Self| {
            sleep(Duration::from_millis(100));
            Ok(stage.database().unfinished()? == 0)
        };
        if !self.watch_for(PATIENCE, is_sealed)? {
            return Err(format!("not all epochs were sealed within {PATIENCE:?}"));
        }
        self.stop()?;
        self.eye.look_at_all()
    }

    /// Replays the journal in a folder of its own, undisturbed.
    fn reference(&self) -> Result<Database<'static>, String> {
        let segments = self.eye.segments().map_err(|error| error.to_string())?;
        let segments = segments.values().map(|name| format!("data/journal/{name}"));
        let mut command = self
            .place
            .command(&["replay", "--json", "--log-level", "warn"]);
        command.args(["--data", "reference"]).args(segments);
        let run = finish(command.spawn().map_err(|error| error.to_string())?);
        if run.code != 0 || run.err.lines().any(is_damage) {
            return Err(format!("the replay ended with {}: {}", run.code, run.err));
        }
        Ok(Database::Sqlite(self.place.path("reference/twzrd.sqlite")))
    }

    /// What a process that ended in order had read for certain, and is not in the journal.
    fn unaccepted(&mut self, deliveries: &[Delivery]) -> Vec<String> {
        let mut read = IntakeBuilder::new(EpochLength::HOUR, false);
        for delivery in deliveries {
            let is_orderly = self
                .orderly
                .iter()
                .any(|range| range.contains(&delivery.socket));
            if is_orderly && delivery.fate == Fate::Acknowledged {
                read.push(&delivery.line, Arrival::Recorded);
            }
        }
        let candidates = read.finish(None).candidates.into_iter();
        let ids = candidates.filter_map(|candidate| match candidate {
            Candidate::Event(event) => event.id,
            Candidate::Passed(_) => None,
        });
        let ids: Vec<_> = ids.collect();
        self.certain = ids.len();
        let lost = ids
            .into_iter()
            .filter(|id| !self.eye.knows(id.as_str(), id.digest()));
        lost.map(|id| format!("line {} was read", id.as_str()))
            .collect()
    }

    /// Compares, and tells what should be there and is not, or more than once.
    pub(super) fn judge(&mut self) -> Result<Ending, String> {
        let log = self.simulator().log();
        if !log.is_complete() {
            return Err("the simulator's log is not complete".to_owned());
        }
        let deliveries = log.deliveries();
        let said: HashSet<&str> = deliveries.iter().filter_map(|it| id_of(&it.line)).collect();
        if let Some(id) = self.eye.ids().find(|id| !said.contains(id.as_str())) {
            return Err(format!("{id} is in the journal, and nobody said it"));
        }
        let outcome = self.database().outcome()?;
        let received = "SELECT CAST(COALESCE(sum(received), 0) AS bigint) FROM ingest_ledger";
        let (received, lines) = (self.database().number(received)?, self.eye.lines);
        if received != lines {
            return Err(format!(
                "{lines} lines are in the journal, {received} in the ledger"
            ));
        }
        let mut lost = self.unaccepted(&deliveries);
        let roots = &outcome[&Table::Roots];
        let changed = self
            .sealed
            .iter()
            .filter(|(key, row)| roots.get(*key) != Some(row));
        lost.extend(changed.map(|(key, row)| format!("{key} was sealed as {row}")));
        Ok(Ending {
            reference: self.reference()?.outcome()?,
            outcome,
            accepted: lines,
            lost,
            doubled: self.eye.twice().into_iter().collect(),
            recoveries: std::mem::take(&mut self.recoveries),
            unfired: self.weather.take_unfired(),
        })
    }
}

/// A replay of a whole journal tells none of these. What it may tell on a slow machine, as of an
/// actor that is late, is none of its matter.
fn is_damage(line: &str) -> bool {
    [
        "\"level\":\"ERROR\"",
        "panicked",
        "ends in the middle",
        "beginning is missing",
        "lines longer than",
        "holds no line",
    ]
    .iter()
    .any(|it| line.contains(it))
}

fn id_of(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?;
    let tags = text.strip_prefix('@')?.split(' ').next()?;
    tags.split(';').find_map(|tag| tag.strip_prefix("id="))
}
