//! Inputs that are not what they should be.

use std::io::Write;

use crate::support::{Place, Run, compressed, finish, message, six};

const NOTHING: &str = "{\"ledger\":{\"received\":0,\"counted\":0,\"suppressed\":0,\"mirrored\":0,\"duplicate\":0,\"late\":0,\"anonymous\":0,\"invalid\":0,\"other\":0}}\n";

fn replay(place: &Place, file: &str) -> Run {
    place.run(&["replay", "--json", "--log-level", "error", file])
}

#[test]
fn an_input_that_cannot_be_opened_is_named() {
    let place = Place::new();
    for (name, error) in [
        (
            "missing.irc",
            "twzrd: missing.irc cannot be opened: No such file or directory (os error 2)\n",
        ),
        (
            "tmp",
            "twzrd: tmp is a folder; expected a file of raw IRC lines or a journal segment, plain or zstd, or - for standard input\n",
        ),
    ] {
        let refused = replay(&place, name);
        assert_eq!((refused.code, refused.err.as_str()), (66, error));
        assert_eq!(refused.out, "");
    }
}

#[test]
fn a_binary_input_is_refused() {
    let place = Place::new();
    place.write("binary", [&b"abc"[..], &[0; 5], b"\n"].concat());
    place.write("binary.zst", compressed([0; 100_000]));
    for (name, at) in [("binary", 3), ("binary.zst", 0)] {
        let refused = replay(&place, name);
        assert_eq!(refused.code, 65);
        assert_eq!(
            refused.err,
            format!(
                "twzrd: {name} is binary: byte {at} is zero; expected raw IRC lines or a journal segment, plain or zstd\n"
            )
        );
    }
}

#[test]
fn a_frame_that_is_damaged_is_told_with_its_place() {
    let place = Place::new();
    place.write(
        "damaged.zst",
        [&[0x28, 0xB5, 0x2F, 0xFD][..], b"garbage"].concat(),
    );
    let refused = replay(&place, "damaged.zst");
    assert_eq!(refused.code, 65);
    let begin = "twzrd: damaged.zst cannot be read past byte 0 of its content: ";
    assert!(refused.err.starts_with(begin), "{}", refused.err);
    assert_eq!(refused.err.lines().count(), 1);
}

#[test]
fn an_empty_input_is_noticed_and_no_failure() {
    let place = Place::new();
    place.write("empty", "");
    place.write("empty.zst", compressed(""));
    place.write("feeds", "\n\r\n\n");
    for name in ["empty", "empty.zst", "feeds"] {
        let run = place.run(&["replay", "--json", name]);
        assert!(run.logged("holds no line"), "{name}: {}", run.err);
        assert_eq!(run.good(), NOTHING, "{name}");
    }
}

/// A journal stopped behind its last seal ends with a segment that holds nothing.
#[test]
fn the_empty_segment_at_a_journals_end_is_nothing_to_warn_of() {
    let place = Place::new();
    place.write("00000000000000000042.ndjson", "");
    place.write("42.ndjson", "");
    let run = |name| place.run(&["replay", "--json", "--log-level", "warn", name]);
    let segment = run("00000000000000000042.ndjson");
    assert_eq!(segment.err, "");
    assert_eq!(segment.good(), NOTHING);
    let other = run("42.ndjson");
    assert!(other.logged("holds no line"), "{}", other.err);
    let told = place.run(&["replay", "--json", "00000000000000000042.ndjson"]);
    assert!(
        told.logged("is a segment without any record yet"),
        "{}",
        told.err
    );
}

#[test]
fn lines_of_no_use_are_counted_as_invalid() {
    let place = Place::new();
    let mut bytes = Vec::new();
    for line in [
        &b"\xff\xfe\xfd"[..],
        b"@a=b :\xc3 PRIVMSG #c :hi",
        b"?",
        b" ",
        b"@",
        b":",
    ] {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    place.write("junk", bytes);
    assert_eq!(
        replay(&place, "junk").good(),
        "{\"ledger\":{\"received\":6,\"counted\":0,\"suppressed\":0,\"mirrored\":0,\"duplicate\":0,\"late\":0,\"anonymous\":0,\"invalid\":6,\"other\":0}}\n"
    );
}

#[test]
fn lines_of_a_megabyte_are_one_invalid_line_each_and_take_no_memory() {
    const LINES: usize = 200;
    let place = Place::new();
    let mut child = place.spawn_piped(&["replay", "--json", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut long = message("alice", "tea", 0, 1).into_bytes();
    long.pop();
    long.resize(1 << 20, b'x');
    long.push(b'\n');
    for _ in 0..LINES {
        stdin.write_all(&long).unwrap();
    }
    // All but what fits into the pipe has been read by now.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let most_kib: u64 = most.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    stdin
        .write_all(message("bob", "tea", 0, 2).as_bytes())
        .unwrap();
    drop(stdin);
    let run = finish(child);
    assert!(
        run.logged("lines longer than 65536 bytes are invalid"),
        "{}",
        run.err
    );
    let ledger = run.good().lines().last().unwrap().to_owned();
    assert_eq!(
        ledger,
        r#"{"ledger":{"received":201,"counted":1,"suppressed":0,"mirrored":0,"duplicate":0,"late":0,"anonymous":0,"invalid":200,"other":0}}"#
    );
    assert!(
        most_kib < 96 << 10,
        "{most_kib} KiB for {LINES} lines of 1 MiB"
    );
}

/// More lines than one block of a compressed file has.
fn many() -> String {
    let line = |n: u32| message(&format!("user_{}", n % 500), "tea", u64::from(n / 4), n);
    (0..20_000).map(line).collect()
}

#[test]
fn a_cut_frame_is_told_and_the_whole_file_is_read_on() {
    let place = Place::new();
    let lines = many();
    let frame = compressed(&lines);
    place.write("lines.irc", &lines);
    let expected = place.replay("undisturbed", &["lines.irc"]);
    for (data, cut) in [
        ("a", frame.len() / 3),
        ("b", frame.len() / 2),
        ("c", frame.len() - 1),
    ] {
        place.write("lines.zst", &frame[..cut]);
        let args = [
            "replay",
            "--json",
            "--log-level",
            "error",
            "--data",
            data,
            "lines.zst",
        ];
        let broken = place.run(&args);
        assert_eq!((broken.code, broken.out.as_str()), (65, ""));
        let (begin, end) = (
            "twzrd: lines.zst cannot be read past byte ",
            "; what came before is accepted, and is not read again from the same content\n",
        );
        assert!(
            broken.err.starts_with(begin) && broken.err.ends_with(end),
            "{}",
            broken.err
        );
        place.write("lines.zst", &frame);
        assert_eq!(
            place.replay(data, &["lines.zst"]),
            expected,
            "cut at byte {cut}"
        );
    }
}

#[test]
fn an_input_that_fails_keeps_what_came_before_it() {
    let place = Place::new();
    place.write("six.irc", six());
    place.write("binary", [0; 10]);
    let failed = place.run(&["replay", "--data", "data", "six.irc", "binary"]);
    assert_eq!(failed.code, 65);
    let expected = place.replay("other", &["six.irc"]);
    assert_eq!(place.replay("data", &["six.irc"]), expected);
}
