//! The port [`LineJudge`] over [`IntakeBuilder`], for lines from a socket.

use twzrd_domain::chat::{IntakeDraft, LineJudge};
use twzrd_domain::epoch::{EpochLength, UnixMs};
use twzrd_domain::record::{Intake, Progress};

use crate::intake::IntakeBuilder;
use crate::line::Arrival;

/// Judges lines of Twitch chat as they come from a socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwitchJudge {
    /// Whether what was written is kept with the event.
    pub keep_text: bool,
}

impl LineJudge for TwitchJudge {
    fn begin(&self, length: EpochLength) -> Box<dyn IntakeDraft> {
        Box::new(Draft(IntakeBuilder::new(length, self.keep_text)))
    }
}

struct Draft(IntakeBuilder);

impl IntakeDraft for Draft {
    fn push(&mut self, line: &[u8], received: UnixMs) {
        self.0.push(line, Arrival::Live(received));
    }

    fn push_invalid(&mut self, received: UnixMs) {
        self.0.push_oversized(Arrival::Live(received));
    }

    fn finish(self: Box<Self>, progress: Option<Progress>) -> Intake {
        self.0.finish(progress)
    }
}
