//! Gathers lines into what a collector hands to the journal in one append.

use std::collections::BTreeMap;

use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::Channel;
use twzrd_domain::record::{Candidate, Intake, Progress, TallyCount};

use crate::line::{Arrival, Line, read};

/// Gathers lines. It is bounded by whoever feeds it: see [`IntakeBuilder::lines`].
pub struct IntakeBuilder {
    length: EpochLength,
    keep_text: bool,
    lines: u64,
    at: UnixMs,
    candidates: Vec<Candidate>,
    tally: BTreeMap<(Epoch, Channel, Outcome), u64>,
}

impl IntakeBuilder {
    /// Starts an intake under the epoch length in force.
    #[must_use]
    pub const fn new(length: EpochLength, keep_text: bool) -> Self {
        let (lines, at) = (0, 0);
        Self {
            length,
            keep_text,
            lines,
            at,
            candidates: Vec::new(),
            tally: BTreeMap::new(),
        }
    }

    /// Takes in a line, without its line feed. An empty line is no line.
    pub fn push(&mut self, line: &[u8], arrival: Arrival) {
        match read(line, arrival, self.keep_text) {
            Line::Empty => return,
            Line::Candidate(candidate) => {
                let ts = match &candidate {
                    Candidate::Event(event) => event.ts,
                    Candidate::Passed(passed) => passed.ts,
                };
                self.pass(arrival, Some(ts));
                self.candidates.push(candidate);
            }
            Line::Uncounted {
                outcome,
                channel,
                at,
            } => {
                self.pass(arrival, at);
                self.book(outcome, channel, at);
            }
        }
        self.lines += 1;
    }

    /// Takes in a line that was too long to be read at all.
    pub fn push_oversized(&mut self, arrival: Arrival) {
        let at = arrival.received();
        self.pass(arrival, at);
        self.book(Outcome::Invalid, Channel::none(), at);
        self.lines += 1;
    }

    /// Moves the time of the intake on: to the latest receipt, or in a recording to the latest
    /// time that a line has.
    fn pass(&mut self, arrival: Arrival, at: Option<UnixMs>) {
        let at = arrival.received().or(at).unwrap_or_default();
        self.at = self.at.max(at);
    }

    fn book(&mut self, outcome: Outcome, channel: Channel, at: Option<UnixMs>) {
        let epoch = at.map_or(Epoch::NONE, |at| self.length.epoch_of(at));
        *self.tally.entry((epoch, channel, outcome)).or_default() += 1;
    }

    /// How many lines it holds.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// The intake; it stands for its source up to `progress`.
    #[must_use]
    pub fn finish(self, progress: Option<Progress>) -> Intake {
        let tally = self
            .tally
            .into_iter()
            .map(|((epoch, channel, outcome), lines)| TallyCount {
                epoch,
                channel,
                outcome,
                lines,
            })
            .collect();
        let (at, lines, candidates) = (self.at, self.lines, self.candidates);
        Intake {
            progress,
            at,
            lines,
            candidates,
            tally,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_candidate_or_in_the_tally() {
        let mut builder = IntakeBuilder::new(EpochLength::HOUR, false);
        for line in [
            "@tmi-sent-ts=7200000 :a!a@a PRIVMSG #a :b",
            "",
            "@tmi-sent-ts=3600001 :h CLEARCHAT #a",
            "@tmi-sent-ts=3600002 :h CLEARCHAT #a",
            "PING",
            "?",
        ] {
            builder.push(line.as_bytes(), Arrival::Recorded);
        }
        builder.push_oversized(Arrival::Recorded);
        let intake = builder.finish(None);
        assert_eq!(intake.lines, 6);
        assert_eq!(intake.at, 7_200_000);
        assert_eq!(intake.candidates.len(), 1);
        let tally: Vec<_> = intake
            .tally
            .iter()
            .map(|t| (t.epoch.0, t.channel.as_str(), t.outcome, t.lines))
            .collect();
        assert_eq!(
            tally,
            [
                (0, "", Outcome::Invalid, 2),
                (0, "", Outcome::Other, 1),
                (3600, "a", Outcome::Other, 2)
            ]
        );
    }
}
