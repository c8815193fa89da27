//! Children that come and go at run time.

use tokio::time::Instant;

use super::{Claim, Phase, Supervisor};
use crate::birth::Seq;
use crate::check;
use crate::error::ChildError;
use crate::exit::StopReport;
use crate::spec::ChildSpec;
use crate::supervisor_ref::{Command, Reply};

impl Supervisor {
    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Start(spec, reply) => self.start_child(*spec, reply, now),
            Command::Terminate(id, reply) => self.terminate_child(&id, reply, now),
            Command::Restart(id, reply) => self.restart_child(&id, reply, now),
            Command::Delete(id, reply) => {
                let answer = self.delete_child(&id);
                answer_to(reply, answer);
            }
        }
    }

    fn start_child(&mut self, spec: ChildSpec, reply: Reply<()>, now: Instant) {
        match self.admit(spec) {
            Ok(seq) => self.start_for(seq, reply, now),
            Err(error) => answer_to(reply, Err(error)),
        }
    }

    fn admit(&mut self, spec: ChildSpec) -> Result<Seq, ChildError> {
        if self.ending.is_some() {
            return Err(self.away());
        }
        if self.ids.contains_key(&spec.id) {
            return Err(ChildError::AlreadyPresent {
                path: self.path_of(&spec.id),
            });
        }
        check::child(&spec, self.path(), self.spec.strategy)?;
        let claim = Claim::of(&spec.body).ok_or_else(|| check::claimed(&spec, self.path()))?;
        Ok(self.add(spec, claim))
    }

    /// Starts a child for a caller, or lets it wait for its turn.
    fn start_for(&mut self, seq: Seq, reply: Reply<()>, now: Instant) {
        if let Some(child) = self.children.get_mut(&seq) {
            child.terminated = false;
            child.starters.push(reply);
            child.set_phase(Phase::Pending);
        }
        if !self.has_turn_ahead(seq) {
            self.launch(seq, now);
        }
    }

    fn terminate_child(&mut self, id: &str, reply: Reply<StopReport>, now: Instant) {
        let seq = match self.seq_of(id) {
            Ok(seq) => seq,
            Err(error) => return answer_to(reply, Err(error)),
        };
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        child.terminated = true;
        child.stoppers.push(reply);
        if child.is_live() {
            self.stop(seq, now);
        } else {
            child.late.clear();
            self.put_down(seq);
        }
    }

    fn restart_child(&mut self, id: &str, reply: Reply<()>, now: Instant) {
        match self.stopped_child(id) {
            Ok(seq) => self.start_for(seq, reply, now),
            Err(error) => answer_to(reply, Err(error)),
        }
    }

    fn delete_child(&mut self, id: &str) -> Result<(), ChildError> {
        let seq = self.stopped_child(id)?;
        self.remove(seq);
        Ok(())
    }

    fn stopped_child(&self, id: &str) -> Result<Seq, ChildError> {
        let seq = self.seq_of(id)?;
        let path = self.path_of(id);
        match self.children.get(&seq).map(|child| child.phase) {
            None => Err(ChildError::NotFound { path }),
            Some(Phase::Down) => Ok(seq),
            Some(Phase::Running | Phase::Stopping | Phase::Killing) => {
                Err(ChildError::Running { path })
            }
            Some(Phase::Pending | Phase::Starting | Phase::BackingOff | Phase::CoolingDown) => {
                Err(ChildError::Restarting { path })
            }
        }
    }

    fn seq_of(&self, id: &str) -> Result<Seq, ChildError> {
        if self.ending.is_some() {
            return Err(self.away());
        }
        self.ids
            .get(id)
            .copied()
            .ok_or_else(|| ChildError::NotFound {
                path: self.path_of(id),
            })
    }

    fn path_of(&self, id: &str) -> String {
        format!("{}/{id}", self.path())
    }

    fn away(&self) -> ChildError {
        ChildError::SupervisorAway {
            supervisor: self.path().to_string(),
        }
    }
}

fn answer_to<T>(reply: Reply<T>, answer: Result<T, ChildError>) {
    // The caller may have stopped waiting.
    let _ = reply.send(answer);
}
