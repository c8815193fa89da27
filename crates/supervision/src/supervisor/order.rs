//! What is done to several children in order: the first start, group restarts, the end.

use tokio::time::Instant;

use super::{Phase, Supervisor};
use crate::birth::Seq;
use crate::error::ChildError;
use crate::exit::{Exit, ExitReason, LateStop, StopReport};

/// An ordered restart (or first start) of all children from one on.
pub(super) struct Sweep {
    from: Seq,
    /// Not before this are they started again.
    due: Instant,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// In reverse; none above the cursor is live.
    Stopping { cursor: Seq },
    /// In order; none below the cursor waits to be started.
    Starting { cursor: Seq, current: Option<Seq> },
}

impl Sweep {
    pub(super) fn start_all(due: Instant) -> Self {
        Self {
            from: 0,
            due,
            stage: Stage::Starting {
                cursor: 0,
                current: None,
            },
        }
    }

    /// When it has to go on, if nothing else happens.
    pub(super) fn alarm(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting { current: None, .. } => Some(self.due),
            _ => None,
        }
    }

    fn stops(&self, seq: Seq) -> bool {
        seq >= self.from && matches!(self.stage, Stage::Stopping { .. })
    }
}

/// A supervisor that is on its way out.
pub(super) struct Ending {
    reason: ExitReason,
    cursor: Seq,
    late: Vec<LateStop>,
}

impl Supervisor {
    /// Stops and restarts all children from `from` on. Takes the place of a sweep under way:
    /// children after `from` are still ahead of that one, and those before have come back.
    pub(super) fn sweep_from(&mut self, from: Seq, due: Instant) {
        let due = self.sweep.as_ref().map_or(due, |sweep| due.max(sweep.due));
        let stage = Stage::Stopping { cursor: Seq::MAX };
        self.sweep = Some(Sweep { from, due, stage });
    }

    /// Begins to stop for good. The first reason stands.
    pub(super) fn end(&mut self, reason: ExitReason, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        self.reporter.stopping();
        self.sweep = None;
        self.ending = Some(Ending {
            reason,
            cursor: Seq::MAX,
            late: Vec::new(),
        });
        let all: Vec<Seq> = self.children.keys().copied().collect();
        for seq in all {
            let live = self.children.get(&seq).is_some_and(super::Child::is_live);
            if !live {
                self.put_down(seq);
            } else if self.spec.stop_together {
                self.stop(seq, now);
            }
        }
    }

    /// Does the next step of what is done in order, if its time has come.
    pub(super) fn advance(&mut self, now: Instant) {
        if let Some(ending) = &self.ending {
            let cursor = ending.cursor;
            let next = self.stop_next(0, cursor, now);
            if let (Some(ending), Some(next)) = (&mut self.ending, next) {
                ending.cursor = next;
            }
            return;
        }
        let Some(sweep) = &self.sweep else { return };
        let (from, due, mut stage) = (sweep.from, sweep.due, sweep.stage);
        if let Stage::Stopping { cursor } = stage {
            stage = match self.stop_next(from, cursor, now) {
                Some(cursor) => Stage::Stopping { cursor },
                None => {
                    self.line_up(from);
                    let (cursor, current) = (from, None);
                    Stage::Starting { cursor, current }
                }
            };
        }
        if let Stage::Starting { cursor, current } = stage
            && now >= due
            && !current.is_some_and(|seq| self.phase(seq) == Some(Phase::Starting))
        {
            let next = self.next_pending(cursor);
            let Some(seq) = next else {
                self.sweep_done();
                return;
            };
            self.launch(seq, now);
            let (cursor, current) = (seq, next);
            stage = Stage::Starting { cursor, current };
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.stage = stage;
        }
    }

    fn sweep_done(&mut self) {
        self.sweep = None;
        if self.booting {
            self.booting = false;
            self.reporter.started();
        }
    }

    /// Whether a child that is to be started has to wait for its turn in an ordered start.
    pub(super) fn has_turn_ahead(&self, seq: Seq) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| match sweep.stage {
            Stage::Stopping { .. } => seq >= sweep.from,
            Stage::Starting { cursor, .. } => seq >= cursor,
        })
    }

    /// Sees to it that the last live child between `from` and `to` stops; `None` if there is
    /// none.
    fn stop_next(&mut self, from: Seq, to: Seq, now: Instant) -> Option<Seq> {
        let (seq, _) = self
            .children
            .range(from..=to)
            .rev()
            .find(|(_, child)| child.is_live())?;
        let seq = *seq;
        self.stop(seq, now);
        Some(seq)
    }

    /// Makes all children of a sweep wait for their turn to start: as in OTP, also a transient
    /// one that had finished.
    fn line_up(&mut self, from: Seq) {
        for (_, child) in self.children.range_mut(from..) {
            if child.phase == Phase::Down && !child.terminated {
                child.set_phase(Phase::Pending);
            }
        }
    }

    fn next_pending(&self, from: Seq) -> Option<Seq> {
        self.children
            .range(from..)
            .find(|(_, child)| child.phase == Phase::Pending)
            .map(|(seq, _)| *seq)
    }

    fn phase(&self, seq: Seq) -> Option<Phase> {
        self.children.get(&seq).map(|child| child.phase)
    }

    /// A child has stopped because it was asked to, or as a sweep would have asked it to.
    pub(super) fn stopped(&mut self, seq: Seq) {
        let swept = self.is_being_swept(seq);
        match self.children.get_mut(&seq) {
            Some(child) if swept && !child.terminated && !child.is_temporary() => {
                child.set_phase(Phase::Pending);
            }
            Some(_) => self.put_down(seq),
            None => {}
        }
    }

    /// Whether a sweep is about to stop this child anyway.
    pub(super) fn is_being_swept(&self, seq: Seq) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| sweep.stops(seq))
    }

    /// Leaves a child that is not live down, and tells those who wait for it.
    pub(super) fn put_down(&mut self, seq: Seq) {
        self.set_timer(seq, None);
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        child.set_phase(Phase::Down);
        let late = std::mem::take(&mut child.late);
        let report = StopReport { late: late.clone() };
        for stopper in child.stoppers.drain(..) {
            // The caller may have stopped waiting.
            let _ = stopper.send(Ok(report.clone()));
        }
        let never_ran = !child.starters.is_empty() && !child.has_run;
        let path = child.path().to_string();
        child.answer_starters(&Err(ChildError::StartFailed {
            reason: ExitReason::StartFailed {
                child: path,
                text: "stopped before it ran".to_owned(),
            },
        }));
        let forget = child.is_temporary() || never_ran;
        if let Some(ending) = &mut self.ending {
            ending.late.extend(late);
        } else if forget {
            self.remove(seq);
        }
    }

    /// How the supervisor has ended, once all of its children have.
    pub(super) fn ended(&mut self) -> Option<Exit> {
        if self.live > 0 {
            return None;
        }
        self.ending.take().map(|ending| Exit {
            reason: ending.reason,
            late: ending.late,
        })
    }
}
