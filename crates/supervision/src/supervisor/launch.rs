//! Adding, starting and stopping one child.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Child, Claim, Link, Phase, STALL_CHECK, Supervisor};
use crate::birth::{Reporter, Seq, Sink};
use crate::spec::{Body, ChildSpec, Shutdown};

impl Supervisor {
    /// Adds a child after all others; it waits for its turn to start.
    pub(super) fn add(&mut self, spec: ChildSpec, claim: Claim) -> Seq {
        let seq = self.next_seq;
        self.next_seq += 1;
        if let (Body::Worker(_), Some(stall)) = (&spec.body, spec.stall) {
            self.look_for_stalls(stall.after);
        }
        self.ids.insert(Arc::clone(&spec.id), seq);
        let child = Child::new(spec, self.path(), claim);
        let node = Arc::clone(&child.node);
        self.children.insert(seq, child);
        self.spec.supervisor_ref.board().insert(seq, node);
        seq
    }

    /// Looks often enough to notice a stall within a quarter of the time it takes to be one.
    fn look_for_stalls(&mut self, after: Duration) {
        let (shortest, longest) = STALL_CHECK;
        let every = (after / 4).clamp(shortest, longest);
        if self.stall_every.is_none_or(|present| every < present) {
            self.stall_every = Some(every);
            self.next_stall_check = Instant::now() + every;
        }
    }

    /// Begins to start a child; the outcome comes as an event.
    pub(super) fn launch(&mut self, seq: Seq, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        let pulse = child.vitals().next_pulse();
        let reporter = Reporter::new(
            Arc::clone(child.path()),
            Sink::Parent {
                events: self.events.clone(),
                seq,
                incarnation: pulse.number(),
            },
        );
        if child.launched {
            child.vitals().count_restart();
        }
        child.launched = true;
        child.incarnation = pulse.number();
        child.pulse = Some(Arc::clone(&pulse));
        child.running_since = None;
        child.kill_cause = None;
        child.late.clear();
        child.link = match &child.spec.body {
            Body::Worker(worker) => worker.launch(pulse, reporter).map(Link::Worker),
            Body::Supervisor(spec) => {
                let (stop, task) = super::spawn(spec, None, self.options, reporter);
                Some(Link::Supervisor {
                    stop: Some(stop),
                    task,
                })
            }
        };
        child.set_phase(Phase::Starting);
        let deadline = child.spec.start_deadline.map(|limit| now + limit);
        self.live += 1;
        self.set_timer(seq, deadline);
    }

    /// Begins to stop a child that runs or starts; the outcome comes as an event.
    pub(super) fn stop(&mut self, seq: Seq, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        if !matches!(child.phase, Phase::Starting | Phase::Running) {
            return;
        }
        let deadline = match child.spec.shutdown {
            Shutdown::BrutalKill => {
                child.kill();
                child.set_phase(Phase::Killing);
                Some(now + self.options.kill_grace)
            }
            Shutdown::Deadline(limit) => Some(now + limit),
            Shutdown::Infinity => None,
        };
        if child.phase != Phase::Killing {
            if let Some(link) = &mut child.link {
                link.stop();
            }
            child.set_phase(Phase::Stopping);
        }
        self.set_timer(seq, deadline);
    }
}
