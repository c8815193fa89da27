//! Judges the lines of the fake network.
//!
//! `<channel> <login> <id>` is a message at the time of its receipt. Behind that may stand the time
//! of the line, in Unix milliseconds, and what was done: `bits:9`, `sub`, `resub`, `gift:9`,
//! `raid:9`, `notice`. Digits at the end of a login are the person's id.

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
        let (ts, action) = (word().parse().unwrap_or(received), action(word()));
        let (Ok(channel), Ok(login)) = (Name::parse(channel), Name::parse(login)) else {
            return self.push_invalid(received);
        };
        self.at = self.at.max(received);
        let digits = login
            .as_str()
            .trim_start_matches(|c: char| !c.is_ascii_digit());
        self.candidates.push(Candidate::Event(Event {
            id: MessageId::parse(id),
            channel,
            ts,
            user_id: digits.parse().ok(),
            login,
            action,
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

fn action(word: &str) -> Action {
    let (name, number) = word.split_once(':').unwrap_or((word, ""));
    let number: u32 = number.parse().unwrap_or(0);
    match name {
        "sub" => Action::Sub,
        "resub" => Action::Resub,
        "gift" => Action::Gift { count: number },
        "raid" => Action::Raid { viewers: number },
        "notice" => Action::Notice,
        _ => Action::Message { bits: number },
    }
}
