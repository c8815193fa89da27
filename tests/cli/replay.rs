//! What a replay prints, and what it leaves behind.

use serde_json::Value;

use crate::support::{HOUR, Place, message, root, sample, six};

const SIX: &str = r#"{"epoch":1760000400,"channel":"tea","participants":3,"participation_root":"d64ef9027bd2c52982e12bfa04d8d0bdc436c7752b3385cbc42af22d4d1ffe39","claim_root":"ecfdad7feab2b2f7ffa0b75a0ae34d3555407297a5fcdd6b7cdf2fc4d8c21e3a"}
{"epoch":1760004000,"channel":"go","participants":1,"participation_root":"6f3dc80b9a3123bde3791e521d2304f88bdc57cbf9d2f4ac3dc5d003a2116a5f","claim_root":"6cef6bd1c0b607d478664e8988fe0f1019577697e20d2499064bfbe4a3344e4c"}
{"epoch":1760004000,"channel":"tea","participants":1,"participation_root":"a9509fcd32cfda9b5a3307c55871dc8dd66e5eb5914313ee17a282f454b2a6d8","claim_root":"9877da33468eb7e8ae4f1d71df4d39880f7069b1f2f4a5ddf0997abf9e021b7e"}
{"ledger":{"received":6,"counted":6,"suppressed":0,"mirrored":0,"duplicate":0,"late":0,"anonymous":0,"invalid":0,"other":0}}
"#;

const SIX_TABLE: &str = "\
epoch (UTC)                      channel                   participants  coverage  participation root claim root
2025-10-09T09:00:00Z  1760000400 tea                                  3      100%  d64ef9027bd2c529…  ecfdad7feab2b2f7…
2025-10-09T10:00:00Z  1760004000 go                                   1      100%  6f3dc80b9a3123bd…  6cef6bd1c0b607d4…
2025-10-09T10:00:00Z  1760004000 tea                                  1      100%  a9509fcd32cfda9b…  9877da33468eb7e8…

3 sealed. Coverage is 100% where nothing is known of gaps: raw lines tell of none.

ledger
  received                 6
  counted                  6
  suppressed               0
  mirrored                 0
  duplicate                0
  late                     0
  anonymous                0
  invalid                  0
  other                    0
";

/// Epochs of 60 s: the minutes in which somebody acted.
const SIX_BY_MINUTE: &str = "\
1760000400 tea 1
1760000460 tea 1
1760003940 tea 1
1760004000 tea 1
1760004060 go 1
";

/// Epoch, channel and participants of each line but the last.
fn rows(out: &str) -> String {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let channel = row["channel"].as_str()?.to_owned();
        Some(format!(
            "{} {channel} {}\n",
            row["epoch"], row["participants"]
        ))
    };
    out.lines().filter_map(row).collect()
}

#[test]
fn real_lines_give_the_golden_epochs_and_ledger() {
    let place = Place::new();
    let golden = std::fs::read_to_string(root("tests/data/replay-real.ndjson")).unwrap();
    let out = place.replay("data", &[root("samples/twitch.irc").to_str().unwrap()]);
    let (found, expected): (Vec<_>, Vec<_>) = (out.lines().collect(), golden.lines().collect());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.into_iter().zip(expected) {
        let value = |text| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(found), value(expected));
        // The golden file is written with spaces, the output without; the order is the same.
        assert_eq!(found, expected.replace(": ", ":").replace(", ", ","));
    }
}

#[test]
fn a_replay_ends_with_json_lines_or_with_a_table() {
    let place = Place::new();
    place.write("six.irc", six());
    assert_eq!(place.run(&["replay", "--json", "six.irc"]).good(), SIX);
    assert_eq!(place.run(&["replay", "six.irc"]).good(), SIX_TABLE);
}

#[test]
fn without_a_data_folder_nothing_stays() {
    let place = Place::new();
    place.write("six.irc", six());
    place.run(&["replay", "six.irc"]).good();
    let failed = place.run(&["replay", "six.irc", "missing.irc"]);
    assert_eq!(failed.code, 66);
    assert_eq!(place.names("tmp"), [""; 0]);
    assert_eq!(place.names(""), ["six.irc", "tmp"]);
}

#[test]
fn the_length_of_an_epoch_is_a_flag_and_has_bounds() {
    let place = Place::new();
    place.write("six.irc", six());
    let with =
        |length: &str| place.run(&["replay", "--json", "--epoch-seconds", length, "six.irc"]);
    assert_eq!(rows(&with("60").good()), SIX_BY_MINUTE);
    for (length, code, error) in [
        (
            "0",
            78,
            "twzrd: flag: epoch.seconds: 0; expected 1 to 604800\n",
        ),
        (
            "604801",
            78,
            "twzrd: flag: epoch.seconds: 604801; expected 1 to 604800\n",
        ),
    ] {
        let refused = with(length);
        assert_eq!((refused.code, refused.err.as_str()), (code, error));
        assert_eq!(refused.out, "");
    }
    for length in ["-1", "1.5", "hour", "4294967296", ""] {
        assert_eq!(with(length).code, 2, "{length:?}");
    }
}

#[test]
fn run_again_on_one_data_folder_it_adds_nothing() {
    let place = Place::new();
    place.write("real.irc", sample());
    let first = place.replay("data", &["real.irc"]);
    let segment = place.path("data/journal/00000000000000000001.ndjson");
    let journal = std::fs::read(&segment).unwrap();
    let again = place.run(&[
        "replay",
        "--json",
        "--data",
        "data",
        "real.irc",
        "./real.irc",
    ]);
    assert!(
        again.logged("has been read before; nothing added"),
        "{}",
        again.err
    );
    assert_eq!(again.good(), first);
    assert_eq!(std::fs::read(&segment).unwrap(), journal);
    assert_eq!(
        place.segments("data"),
        ["data/journal/00000000000000000001.ndjson"]
    );
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let place = Place::new();
    place.write("six.irc", six());
    assert_eq!(place.replay("data", &["six.irc", "six.irc"]), SIX);
}

#[test]
fn a_file_that_has_grown_is_read_on() {
    let place = Place::new();
    let whole = six();
    // What is cut off belongs to an epoch that the first run has not sealed.
    let begin: String = whole.split_inclusive('\n').take(4).collect();
    place.write("six.irc", &begin);
    let first = place.replay("data", &["six.irc"]);
    assert_eq!(rows(&first), "1760000400 tea 3\n");
    place.write("six.irc", &whole);
    assert_eq!(place.replay("data", &["six.irc"]), SIX);
}

/// A line that is cut is taken as it stands: cut in its text it counts, cut before its command it
/// is invalid. What comes to it later belongs to no line; from the next line on all is read.
#[test]
fn a_file_that_was_cut_in_a_line_is_read_on_from_the_next_line() {
    let last = message("dave", "tea", 3661, 7);
    let ledger = |out: &str| out.lines().last().unwrap().to_owned();
    for (cut, counted, invalid) in [
        (message("alice", "go", 3660, 6).len() - 3, 6, 0),
        (60, 5, 1),
    ] {
        let place = Place::new();
        let five: String = six().split_inclusive('\n').take(5).collect();
        place.write("lines.irc", &six()[..five.len() + cut]);
        let first = place.run(&["replay", "--json", "--data", "data", "lines.irc"]);
        assert!(
            first.logged("ends in the middle of a line or record"),
            "{}",
            first.err
        );
        let expected = format!(
            r#"{{"ledger":{{"received":6,"counted":{counted},"suppressed":0,"mirrored":0,"duplicate":0,"late":0,"anonymous":0,"invalid":{invalid},"other":0}}}}"#
        );
        assert_eq!(ledger(&first.good()), expected);

        place.write("lines.irc", six() + &last);
        let grown = place.replay("data", &["lines.irc"]);
        // The new line falls into the second hour, which the first run has sealed.
        let expected = expected
            .replace(r#""received":6"#, r#""received":7"#)
            .replace(r#""late":0"#, r#""late":1"#);
        assert_eq!(ledger(&grown), expected);
    }
}

#[test]
fn epochs_of_another_length_are_refused_while_one_is_open() {
    let place = Place::new();
    place.write("six.irc", six());
    // Cut in the compressed bytes, it is accepted in part and not sealed.
    let mut cut = crate::support::compressed(many());
    cut.truncate(cut.len() - 100);
    place.write("cut.zst", cut);
    assert_eq!(place.run(&["replay", "--data", "data", "cut.zst"]).code, 65);
    let args = [
        "replay",
        "--data",
        "data",
        "--log-level",
        "error",
        "--epoch-seconds",
        "60",
        "six.irc",
    ];
    let refused = place.run(&args);
    assert_eq!(refused.code, 78);
    assert_eq!(
        refused.err,
        "twzrd: epoch 1760000400 of this data folder is open under epochs of 3600 s, and epoch.seconds is 60; expected the same length until it is sealed, or another data folder\n"
    );
}

/// More lines than one block of a compressed file has, all in one hour.
fn many() -> String {
    (0..20_000)
        .map(|n| message("alice", "tea", u64::from(n % 3600), n))
        .collect()
}

#[test]
fn an_input_out_of_the_own_journal_is_refused() {
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("data", &["six.irc"]);
    let own = "data/journal/00000000000000000001.ndjson";
    std::os::unix::fs::symlink(own, place.path("link")).unwrap();
    for name in [own, "link"] {
        let refused = place.run(&["replay", "--data", "./data", name]);
        assert_eq!(refused.code, 2);
        assert_eq!(
            refused.err,
            format!(
                "twzrd: {name} is part of the journal of this data folder; give --data another folder to rebuild it there\n"
            )
        );
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    place.write("six.irc", six());
    for (data, error) in [
        ("six.irc", "File exists (os error 17)"),
        ("six.irc/data", "Not a directory (os error 20)"),
    ] {
        let refused = place.run(&["replay", "--data", data, "six.irc"]);
        assert_eq!(refused.code, 73);
        let expected = format!("twzrd: the data folder {data} cannot be made: {error}\n");
        assert_eq!(refused.err, expected);
    }
}

#[test]
fn the_data_folder_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("deep/data", &["six.irc"]);
    let mode = |name: &str| {
        std::fs::metadata(place.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("deep/data"), mode("deep/data/twzrd.sqlite")),
        (0o700, 0o600)
    );
}

#[test]
fn times_outside_of_every_epoch_are_booked_and_not_lost() {
    let place = Place::new();
    let at = |ts: &str| message("alice", "tea", 0, 1).replace(&format!("{HOUR}000"), ts);
    let lines = ["0", "-1", "x", "99999999999999999999", "253402300800000"]
        .map(at)
        .concat();
    place.write("times.irc", lines);
    assert_eq!(
        place.replay("data", &["times.irc"]),
        "{\"ledger\":{\"received\":5,\"counted\":0,\"suppressed\":0,\"mirrored\":0,\"duplicate\":0,\"late\":0,\"anonymous\":0,\"invalid\":5,\"other\":0}}\n"
    );
}
