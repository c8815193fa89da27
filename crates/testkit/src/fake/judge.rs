//! Judges the lines of the fake network: `<channel> <login> <id>` is a message.

use twzrd_domain::chat::{IntakeDraft, LineJudge};
use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::event::{Action, Event, MessageId, Outcome};
use twzrd_domain::identity::{Channel, Name};
use twzrd_domain::record::{Candidate, Intake, Progress, TallyCount};

/// The word in a line at which [`FakeJudge`] panics.
pub const POISON: &str = "poison";

/// Judges the lines of the fake network. Panics at [`POISON`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeJudge;

impl LineJudge for FakeJudge {
    fn begin(&self, length: EpochLength) -> Box<dyn IntakeDraft> {
        Box::new(Draft {
            length,
            at: 0,
            candidates: Vec::new(),
            invalid: 0,
        })
    }
}

struct Draft {
    length: EpochLength,
    at: UnixMs,
    candidates: Vec<Candidate>,
    invalid: u64,
}

impl IntakeDraft for Draft {
    #[allow(clippy::panic, reason = "it stands for a defect in a real judge")]
    fn push(&mut self, line: &[u8], received: UnixMs) {
        let text = String::from_utf8_lossy(line);
        if text.contains(POISON) {
            panic!("met {POISON}");
        }
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (channel, login, id) = (word(), word(), word());
        let (Ok(channel), Ok(login)) = (Name::parse(channel), Name::parse(login)) else {
            return self.push_invalid(received);
        };
        self.at = self.at.max(received);
        self.candidates.push(Candidate::Event(Event {
            id: MessageId::parse(id),
            channel,
            ts: received,
            login,
            user_id: None,
            action: Action::Message { bits: 0 },
            text: None,
        }));
    }

    fn push_invalid(&mut self, received: UnixMs) {
        self.at = self.at.max(received);
        self.invalid += 1;
    }

    fn finish(self: Box<Self>, progress: Option<Progress>) -> Intake {
        let invalid = TallyCount {
            epoch: match self.at {
                0 => Epoch::NONE,
                at => self.length.epoch_of(at),
            },
            channel: Channel::none(),
            outcome: Outcome::Invalid,
            lines: self.invalid,
        };
        Intake {
            progress,
            at: self.at,
            lines: self.candidates.len() as u64 + self.invalid,
            candidates: self.candidates,
            tally: Vec::from_iter((self.invalid > 0).then_some(invalid)),
        }
    }
}
