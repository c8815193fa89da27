//! A journal is the audit trail: replayed, it gives what was sealed at the time.

use serde_json::Value;
use twzrd_simulator::traffic::{BOUNDARY, Profile, Traffic};

use crate::support::{Place, Run, compressed, message, six};

/// Generated lines over three hours, in two parts. The second reaches back into hours that the
/// first has sealed, and goes on into new ones.
fn parts(place: &Place) {
    for (name, seed, begin) in [("one", 11, 4_000_000), ("two", 12, 1_000_000)] {
        let profile = Profile {
            start: BOUNDARY - begin,
            lines: 6_000,
            ..Profile::small(seed)
        };
        let mut lines = Vec::new();
        Traffic::new(profile).write_to(&mut lines, 6_000).unwrap();
        let (person, id) = (loud(), if name == "one" { 0 } else { 1000 });
        for n in 0..5u32 {
            lines.extend(message(person, "channel_0000", u64::from(n) * 60, id + n).into_bytes());
            lines.extend(
                message(
                    person,
                    "channel_0000",
                    7200 + u64::from(n) * 60,
                    50 + id + n,
                )
                .into_bytes(),
            );
        }
        place.write(name, lines);
    }
}

/// Who opts out between the two parts.
const fn loud() -> &'static str {
    "user_000000"
}

fn ledger(out: &str) -> Value {
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    last["ledger"].clone()
}

/// Replays all segments of a data folder into another.
fn rebuild(place: &Place, from: &str, into: &str) -> Run {
    let segments = place.segments(from);
    let files: Vec<&str> = segments.iter().map(String::as_str).collect();
    let args = ["replay", "--json", "--log-level", "warn", "--data", into];
    place.run(&[&args, &files[..]].concat())
}

#[test]
fn a_replayed_journal_gives_what_was_sealed_also_with_opt_outs_and_late_events() {
    let place = Place::new();
    parts(&place);
    place.replay("data", &["one"]);
    place
        .run(&["suppress", "add", loud(), "--data", "data"])
        .good();
    let expected = place.replay("data", &["two"]);
    let counts = ledger(&expected);
    for outcome in ["counted", "suppressed", "late", "duplicate"] {
        assert!(counts[outcome].as_u64().unwrap() > 0, "{outcome}: {counts}");
    }
    let again = rebuild(&place, "data", "rebuilt").good();
    assert_eq!(ledger(&again), counts);
    assert_eq!(again, expected);
    // And once more, from the journal that was rebuilt.
    assert_eq!(rebuild(&place, "rebuilt", "again").good(), expected);
    // The opt-out has come along.
    let listed = place.run(&["suppress", "list", loud(), "--data", "again"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
}

#[test]
fn run_again_on_the_rebuilt_folder_it_adds_nothing() {
    let place = Place::new();
    place.write("six.irc", six());
    let expected = place.replay("data", &["six.irc"]);
    assert_eq!(rebuild(&place, "data", "rebuilt").good(), expected);
    let journal = || std::fs::read(place.path("rebuilt/journal/00000000000000000001.ndjson"));
    let before = journal().unwrap();
    assert_eq!(rebuild(&place, "data", "rebuilt").good(), expected);
    assert_eq!(journal().unwrap(), before);
}

#[test]
fn a_journal_keeps_its_own_arithmetic() {
    let place = Place::new();
    place.write("six.irc", six());
    let args = [
        "replay",
        "--json",
        "--data",
        "data",
        "--epoch-seconds",
        "60",
        "six.irc",
    ];
    let expected = place.run(&args).good();
    assert_eq!(rebuild(&place, "data", "rebuilt").good(), expected);
}

#[test]
fn closed_segments_are_replayed_in_order_and_a_missing_one_is_told() {
    let place = Place::new();
    parts(&place);
    let mut command = place.command(&["replay", "--json", "--data", "data", "one", "two"]);
    command.env("TWZRD_JOURNAL__SEGMENT_BYTES", "65536");
    let expected = crate::support::finish(command.spawn().unwrap()).good();
    let segments = place.segments("data");
    assert!(
        segments.len() >= 3 && segments[0].ends_with(".ndjson.zst"),
        "{segments:?}"
    );
    assert_eq!(rebuild(&place, "data", "rebuilt").good(), expected);

    let args = [
        "replay",
        "--log-level",
        "error",
        "--data",
        "gap",
        &segments[0],
        &segments[2],
    ];
    let refused = place.run(&args);
    assert_eq!((refused.code, refused.out.as_str()), (65, ""));
    let first = |path: &str| -> u64 {
        let name = path.rsplit('/').next().unwrap();
        name.split('.').next().unwrap().parse().unwrap()
    };
    let (found, wanted) = (first(&segments[2]), first(&segments[1]));
    assert_eq!(
        refused.err,
        format!(
            "twzrd: {} begins with record {found}; expected record {wanted}: a segment is missing, or they are out of order\n",
            segments[2]
        )
    );
}

#[test]
fn a_rebuilt_folder_follows_the_journal_that_it_was_rebuilt_from() {
    let place = Place::new();
    parts(&place);
    for part in ["one", "two"] {
        let mut command = place.command(&["replay", "--json", "--data", "data", part]);
        command.env("TWZRD_JOURNAL__SEGMENT_BYTES", "65536");
        let expected = crate::support::finish(command.spawn().unwrap()).good();
        let rebuilt = rebuild(&place, "data", "rebuilt");
        assert_eq!(rebuilt.err, "");
        assert_eq!(rebuilt.good(), expected, "after {part}");
    }
}

#[test]
fn a_segment_may_come_compressed_or_by_standard_input() {
    let place = Place::new();
    place.write("six.irc", six());
    let expected = place.replay("data", &["six.irc"]);
    let segment = std::fs::read(place.path("data/journal/00000000000000000001.ndjson")).unwrap();
    let args = ["replay", "--json", "--log-level", "error", "-"];
    assert_eq!(place.run_on(&args, &segment).good(), expected);
    assert_eq!(place.run_on(&args, compressed(&segment)).good(), expected);
}

#[test]
fn a_damaged_segment_is_refused_with_its_place() {
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("data", &["six.irc"]);
    let path = place.path("data/journal/00000000000000000001.ndjson");
    let text = std::fs::read_to_string(path).unwrap();
    let at = text.find("carol").unwrap();
    let line = text[..at].rfind('\n').unwrap() + 1;
    place.write("damaged.ndjson", text.replacen("carol", "corol", 1));
    let refused = place.run(&["replay", "--log-level", "error", "damaged.ndjson"]);
    assert_eq!((refused.code, refused.out.as_str()), (65, ""));
    let begin = format!(
        "twzrd: the journal is damaged: damaged.ndjson, byte {line}: the checksum of the line is "
    );
    assert!(refused.err.starts_with(&begin), "{}", refused.err);
    assert!(
        refused.err.ends_with(", and record 6 follows\n"),
        "{}",
        refused.err
    );
}

#[test]
fn a_segment_that_is_cut_gives_its_whole_records_and_is_read_on() {
    let place = Place::new();
    place.write("six.irc", six());
    let expected = place.replay("data", &["six.irc"]);
    let path = place.path("data/journal/00000000000000000001.ndjson");
    let bytes = std::fs::read(path).unwrap();
    for cut in [bytes.len() - 1, bytes.len() - 30, bytes.len() / 2, 40] {
        let data = format!("cut-{cut}");
        place.write("segment", &bytes[..cut]);
        let run = place.run(&["replay", "--data", &data, "segment"]);
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(
            run.logged("ends in the middle of a line or record"),
            "{}",
            run.err
        );
        place.write("segment", &bytes);
        assert_eq!(place.replay(&data, &["segment"]), expected, "cut at {cut}");
    }
}

/// A journal whose last segment has no record yet, as it is after a segment was closed by age.
#[test]
fn an_open_epoch_of_a_journal_stays_open() {
    let place = Place::new();
    let lines: String = (0..20_000)
        .map(|n| message("alice", "tea", u64::from(n / 10), n))
        .collect();
    let frame = compressed(lines);
    place.write("cut.zst", &frame[..frame.len() - 50]);
    assert_eq!(place.run(&["replay", "--data", "data", "cut.zst"]).code, 65);
    place
        .run(&["suppress", "add", "bob", "--data", "data"])
        .good();
    let last = place.segments("data").pop().unwrap();
    assert_eq!(
        std::fs::read(place.path(&last)).unwrap(),
        b"",
        "the test would show nothing"
    );
    let out = rebuild(&place, "data", "rebuilt").good();
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(ledger(&out)["counted"].as_u64().unwrap() > 8_000, "{out}");
}

#[test]
fn a_database_that_is_ahead_of_its_journal_is_refused() {
    let place = Place::new();
    parts(&place);
    place.replay("data", &["one"]);
    let segment = place.path(&place.segments("data")[0]);
    let older = std::fs::read(&segment).unwrap();
    place.replay("data", &["two"]);
    std::fs::write(&segment, &older).unwrap();
    let refused = place.run(&["replay", "--json", "--data", "data", "two"]);
    assert_eq!((refused.code, refused.out.as_str()), (69, ""));
    let told = "twzrd: the database has applied record ";
    assert!(
        refused.err.lines().last().unwrap().starts_with(told),
        "{}",
        refused.err
    );
    assert_eq!(
        std::fs::read(&segment).unwrap(),
        older,
        "nothing was appended"
    );
}

#[test]
fn a_database_of_another_journal_is_refused() {
    let place = Place::new();
    parts(&place);
    place.replay("data", &["one"]);
    place.replay("other", &["two"]);
    let database = place.path("other/twzrd.sqlite");
    std::fs::copy(place.path("data/twzrd.sqlite"), &database).unwrap();
    for rest in ["other/twzrd.sqlite-wal", "other/twzrd.sqlite-shm"] {
        let _ = std::fs::remove_file(place.path(rest));
    }
    let refused = place.run(&["replay", "--json", "--data", "other", "two"]);
    assert_eq!((refused.code, refused.out.as_str()), (69, ""));
    let told = "data folder and database do not belong together";
    assert!(
        refused.err.lines().last().unwrap().ends_with(told),
        "{}",
        refused.err
    );
}
