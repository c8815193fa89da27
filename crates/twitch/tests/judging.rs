//! Lines of a socket, gathered behind the domain's port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use twzrd_domain::chat::LineJudge;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::event::Outcome;
use twzrd_domain::record::{Candidate, Intake, Progress};
use twzrd_twitch::intake::IntakeBuilder;
use twzrd_twitch::judge::TwitchJudge;
use twzrd_twitch::line::Arrival;

const SAID: &[u8] = b"@tmi-sent-ts=7200500 :a!a@a PRIVMSG #a :hello";

fn tally(intake: &Intake) -> Vec<(u64, &str, Outcome, u64)> {
    let counts = intake.tally.iter();
    counts
        .map(|t| (t.epoch.0, t.channel.as_str(), t.outcome, t.lines))
        .collect()
}

#[test]
fn a_draft_counts_each_line_at_its_own_time_and_stands_at_the_last_receipt() {
    let mut draft = TwitchJudge::default().begin(EpochLength::HOUR);
    draft.push(SAID, 7_200_400);
    draft.push(b"@tmi-sent-ts=7199000 :h CLEARCHAT #a", 7_200_300);
    draft.push(b"", 9_999_999);
    draft.push(b"PING", 7_200_300);
    draft.push_invalid(7_200_450);
    let progress = Progress {
        source: "feed".into(),
        upto: 5,
        digest: "".into(),
    };
    let intake = draft.finish(Some(progress.clone()));
    assert_eq!(intake.progress, Some(progress));
    assert_eq!(intake.lines, 4);
    // The event was sent later than anything was received, by its own clock.
    assert_eq!(intake.at, 7_200_450);
    let [Candidate::Event(event)] = intake.candidates.as_slice() else {
        panic!("{:?}", intake.candidates)
    };
    assert_eq!((event.ts, &event.text), (7_200_500, &None));
    assert_eq!(
        tally(&intake),
        [
            (3_600, "a", Outcome::Other, 1),
            (7_200, "", Outcome::Invalid, 1),
            (7_200, "", Outcome::Other, 1),
        ]
    );
}

#[test]
fn text_is_kept_where_the_judge_is_told_to() {
    let mut draft = TwitchJudge { keep_text: true }.begin(EpochLength::HOUR);
    draft.push(SAID, 7_200_400);
    let intake = draft.finish(None);
    let [Candidate::Event(event)] = intake.candidates.as_slice() else {
        panic!("{:?}", intake.candidates)
    };
    assert_eq!(event.text.as_deref(), Some("hello"));
}

#[test]
fn a_recording_stands_at_the_latest_time_of_its_lines() {
    let mut builder = IntakeBuilder::new(EpochLength::HOUR, false);
    builder.push(SAID, Arrival::Recorded);
    builder.push(b"@tmi-sent-ts=7200900 :h CLEARCHAT #a", Arrival::Recorded);
    builder.push(b"PING", Arrival::Recorded);
    builder.push_oversized(Arrival::Recorded);
    assert_eq!(builder.finish(None).at, 7_200_900);
}
