//! What follows from an exit: nothing, a restart, a cool-down or giving up.

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Child, Phase, Supervisor};
use crate::birth::Seq;
use crate::error::ChildError;
use crate::exit::ExitReason;
use crate::intensity;
use crate::spec::{Restart, Strategy};
use crate::vitals::millis;

impl Supervisor {
    /// A running child has exited without being asked to.
    pub(super) fn exited_by_itself(&mut self, seq: Seq, reason: &ExitReason, now: Instant) {
        if self.ending.is_some() || self.is_being_swept(seq) {
            self.stopped(seq);
            return;
        }
        let restart = self.children.get(&seq).map(|child| child.spec.restart);
        match restart {
            Some(Restart::Permanent) => self.failed(seq, reason, now),
            Some(Restart::Transient) if reason.is_abnormal() => self.failed(seq, reason, now),
            _ => self.put_down(seq),
        }
    }

    /// A child that was being started did not come to run.
    pub(super) fn start_failed(&mut self, seq: Seq, reason: ExitReason, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        if self.ending.is_some() {
            self.put_down(seq);
        } else if !child.starters.is_empty() {
            // Asked for by hand: the caller decides what follows.
            let forget = !child.has_run;
            child.terminated = true;
            child.set_phase(Phase::Down);
            child.answer_starters(&Err(ChildError::StartFailed { reason }));
            if forget {
                self.remove(seq);
            }
        } else if self.booting && !child.has_run {
            let reason = boot_failure(child, reason);
            child.set_phase(Phase::Down);
            self.end(reason, now);
        } else {
            self.failed(seq, &reason, now);
        }
    }

    /// A child is to be restarted, if its limit and ours allow it.
    fn failed(&mut self, seq: Seq, reason: &ExitReason, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        let backoff = child.spec.backoff;
        let ran_for = child
            .running_since
            .map(|since| now.saturating_duration_since(since));
        if ran_for.is_some_and(|time| time >= backoff.reset_after) {
            child.failures = 0;
        }
        child.failures = child.failures.saturating_add(1);
        let allowed = match &mut child.window {
            Some(own) => own.allows(now),
            None => self.window.allows(now),
        };
        if !allowed {
            self.too_many(seq, reason, now);
            return;
        }
        let delay = intensity::delay(&backoff, child.failures, &mut self.rng);
        let due = now + delay;
        info!(child = %child.path(), delay_ms = millis(delay), "child will restart");
        match self.spec.strategy {
            Strategy::OneForOne => self.retry_at(seq, Phase::BackingOff, due, now),
            Strategy::RestForOne => self.restart_group(seq, seq, due),
            Strategy::OneForAll => self.restart_group(seq, 0, due),
        }
    }

    fn restart_group(&mut self, failed: Seq, from: Seq, due: Instant) {
        if let Some(child) = self.children.get_mut(&failed) {
            child.set_phase(Phase::Pending);
        }
        self.sweep_from(from, due);
    }

    fn retry_at(&mut self, seq: Seq, phase: Phase, due: Instant, now: Instant) {
        if due <= now {
            self.launch(seq, now);
            return;
        }
        self.set_timer(seq, Some(due));
        if let Some(child) = self.children.get_mut(&seq) {
            child.set_phase(phase);
        }
    }

    /// The limit is exceeded: the child's own, or ours.
    fn too_many(&mut self, seq: Seq, reason: &ExitReason, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        if let (Some(own), Some(cool_down)) = (&mut child.window, child.spec.cool_down) {
            own.clear();
            child.failures = 0;
            let pause_ms = millis(cool_down.pause);
            warn!(child = %child.path(), pause_ms, %reason, "child cools down");
            self.retry_at(seq, Phase::CoolingDown, now + cool_down.pause, now);
            return;
        }
        child.set_phase(Phase::Down);
        let limit = self.window.limit();
        let reason = ExitReason::GaveUp {
            child: child.path().to_string(),
            restarts: limit.restarts,
            period_ms: millis(limit.period),
            text: reason.to_string(),
        };
        error!(supervisor = %self.path(), %reason, "supervisor gives up");
        self.end(reason, now);
    }
}

/// Names the child, or the descendant, whose first start failed.
fn boot_failure(child: &Child, reason: ExitReason) -> ExitReason {
    match reason {
        ExitReason::StartFailed { .. } => reason,
        other => ExitReason::StartFailed {
            child: child.path().to_string(),
            text: other.to_string(),
        },
    }
}
