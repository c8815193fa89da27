//! Falsified results are noticed.

use super::*;

fn sealed(epoch: u64, channel: &str, participants: u64) -> SealedEpoch {
    SealedEpoch {
        epoch: Epoch(epoch),
        channel: Channel::parse(channel).unwrap(),
        participants,
        participation_root: Some([1; 32]),
        claim_root: Some([2; 32]),
        gap_ms: 0,
        settled_at: None,
        tx_signature: None,
    }
}

fn differences(here: &[SealedEpoch], there: &[SealedEpoch]) -> (Verdict, Vec<String>) {
    let mut verdict = Verdict::default();
    verdict.roots(here, there);
    let text = verdict.to_string();
    let told = text.lines().filter(|line| line.starts_with("DIFFERS"));
    (verdict, told.map(str::to_owned).collect())
}

#[test]
fn the_same_participants_and_roots_are_equal_whatever_was_not_heard() {
    let mut here = vec![sealed(20, "a", 3), sealed(40, "a", 1)];
    let there = here.clone();
    here[0].gap_ms = 700;
    let (verdict, told) = differences(&here, &there);
    assert!(verdict.is_equal());
    assert_eq!((verdict.equal, verdict.sealed, told.len()), (2, 2, 0));
}

#[test]
fn one_participant_that_is_missing_is_told_by_epoch_and_channel() {
    let there = [sealed(20, "a", 3), sealed(20, "b", 5), sealed(40, "a", 1)];
    let mut here = there.clone();
    here[1].participants = 4;
    let (verdict, told) = differences(&here, &there);
    assert!(!verdict.is_equal());
    assert_eq!((verdict.equal, verdict.sealed), (2, 3));
    let expected = "DIFFERS: epoch 20, #b: 4 participants; the replay has 5";
    assert_eq!(told, [expected]);
}

#[test]
fn another_root_and_one_that_is_missing_are_told() {
    let there = [sealed(20, "a", 3), sealed(20, "b", 3), sealed(20, "c", 3)];
    let mut here = vec![there[0].clone(), there[1].clone(), sealed(40, "c", 1)];
    here[0].participation_root = Some([9; 32]);
    here[1].claim_root = None;
    let (verdict, told) = differences(&here, &there);
    let expected = [
        "DIFFERS: epoch 20, #a: another participation root than the replay",
        "DIFFERS: epoch 20, #b: another claim root than the replay",
        "DIFFERS: epoch 20, #c: not sealed, and in the replay",
        "DIFFERS: epoch 40, #c: sealed, and not in the replay",
    ];
    assert_eq!(
        (told, verdict.equal, verdict.sealed),
        (expected.map(str::to_owned).into(), 0, 4)
    );
    // Roots that neither has are not equal: they were to be compared.
    let mut unbuilt = sealed(20, "a", 3);
    unbuilt.claim_root = None;
    assert!(!differences(&[unbuilt.clone()], &[unbuilt]).0.is_equal());
}

#[test]
fn ledgers_that_cannot_be_of_the_same_lines_are_told() {
    let counts = |counted, late| Counts {
        counted,
        late,
        received: counted + late,
        ..Counts::default()
    };
    let of = |here: Counts, there: Counts, late, drifting| {
        let mut verdict = Verdict {
            counts: here,
            undisturbed: there,
            late,
            ..Verdict::default()
        };
        verdict.ledger(drifting);
        let differences = verdict.differences.into_iter();
        differences.map(|one| one.found).collect::<Vec<_>>()
    };
    assert_eq!(of(counts(7, 2), counts(7, 0), 2, None), [""; 0]);
    let expected = ["7 lines are counted; the replay has 8, and 0 late"];
    assert_eq!(of(counts(7, 2), counts(8, 0), 2, None), expected);
    let expected = ["3 lines are booked as late; 2 stand behind a seal"];
    assert_eq!(of(counts(7, 3), counts(7, 0), 2, None), expected);
    let place = Some((Epoch(20), Channel::parse("a").unwrap()));
    let expected = ["the ledger does not add up"];
    assert_eq!(of(counts(7, 0), counts(7, 0), 0, place), expected);
}

#[test]
fn a_long_list_is_cut_and_says_so() {
    let here: Vec<_> = (0..30).map(|n| sealed(n * 20 + 20, "a", 1)).collect();
    let (_, told) = differences(&here, &[]);
    assert_eq!(told.len(), SHOWN + 1);
    assert_eq!(told[SHOWN], "DIFFERS: and 10 more");
}

#[test]
fn what_cannot_be_told_is_said() {
    let mut verdict = Verdict {
        on_the_way: 5,
        arrived: 5,
        on_the_way_without_id: 2,
        ..Verdict::default()
    };
    assert!(!verdict.to_string().contains("\n  "));
    (verdict.arrived, verdict.alike) = (3, 1);
    let text = verdict.to_string();
    let told: Vec<_> = text.lines().skip(3).collect();
    let expected = [
        "on their way when their socket was lost: 5 lines, 2 of them without an id; 3 arrived and are part of both",
        "  whether the other 2 were read cannot be told",
        "  1 of those without an id say the same as another line: one that counts twice would pass for it",
    ];
    assert_eq!(told, expected);
}
