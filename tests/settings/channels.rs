//! Channel groups: listed in the settings, or in files of their own.

use std::path::PathBuf;

use twzrd::settings::layers::{Flags, Layers};
use twzrd::settings::{GroupSource, Settings};

use crate::faults;
use crate::support::Place;

/// A group in a file.
fn group(name: &str, file: &str) -> String {
    format!(
        "[[channel_groups]]\nname = \"{name}\"\ntoken_group = \"milo\"\ncategory = \"default\"\nfile = \"{file}\"\n"
    )
}

/// What the settings of a folder come to.
fn settings(place: &Place) -> Settings {
    let flags = Flags {
        file: Some(place.path("supervision.toml")),
        ..Flags::default()
    };
    Layers::read(&flags).unwrap().settings().unwrap()
}

#[test]
fn groups_come_from_lines_from_json_and_from_the_settings() {
    let place = Place::new();
    std::fs::create_dir(place.path("lists")).unwrap();
    let lines = "\u{feff}# the first\nAlpha\r\n\n  beta  # because\n#gamma\n";
    place.write("lists/lines.txt", lines);
    place.write("cls-x-channels.json", " [\"Delta\",\n\"eps_1\"]\n");
    let inline = "[[channel_groups]]\nname = \"inline\"\ntoken_group = \"other\"\ncategory = \"chess\"\nchannels = [\"Zeta\"]\n";
    let file = [
        &group("lines", "lists/lines.txt"),
        &group("json", "cls-x-channels.json"),
        inline,
    ];
    place.write("supervision.toml", file.map(String::from).concat());
    let settings = settings(&place);
    let found: Vec<_> = settings
        .roster
        .iter()
        .map(|(channel, of)| {
            let of = [&of.group, &of.token_group, &of.category];
            (channel.as_str(), of.map(|text| text.as_str()))
        })
        .collect();
    let expected = [
        ("alpha", ["lines", "MILO", "default"]),
        ("beta", ["lines", "MILO", "default"]),
        ("delta", ["json", "MILO", "default"]),
        ("eps_1", ["json", "MILO", "default"]),
        ("zeta", ["inline", "OTHER", "chess"]),
    ];
    assert_eq!(found, expected);
    assert_eq!(settings.groups, settings.roster.groups());
    let files = ["lists/lines.txt", "cls-x-channels.json"].map(|name| place.path(name));
    assert_eq!(settings.channel_files, files);
    assert_eq!(settings.file, Some(place.path("supervision.toml")));
    let source = |name: &str, file: Option<&PathBuf>| GroupSource {
        name: name.to_owned(),
        file: file.cloned(),
    };
    let sources = [
        source("lines", Some(&files[0])),
        source("json", Some(&files[1])),
        source("inline", None),
    ];
    assert_eq!(settings.group_sources, sources);
}

#[test]
fn a_bad_name_is_told_with_file_and_line_or_place() {
    let name = "expected the name of a channel: 1 to 64 ASCII letters, digits and underscores";
    let place = Place::new();
    let file = [group("a", "a.txt"), group("b", "b.json")].concat();
    place.write(
        "supervision.toml",
        format!(
            "{file}[[channel_groups]]\nname = \"c\"\ntoken_group = \"x\"\ncategory = \"y\"\nchannels = [\n  \"fine\",\n  \"#irc\",\n]\n"
        ),
    );
    place.write(
        "a.txt",
        format!("one\n\n@two\nthr ee\nONE\nn#x\n{}\n", "x".repeat(65)),
    );
    place.write("b.json", "[\"two\", 3, \"fé\",\n [\"x\"], \"one\"]");
    let long = "x".repeat(65);
    faults(
        &place.run(&["check"]),
        &[
            &format!("a.txt:3: \"@two\"; {name}"),
            &format!("a.txt:4: \"thr ee\"; {name}"),
            "a.txt:5: \"ONE\" again; expected each channel in one group",
            &format!("a.txt:6: \"n#x\"; {name}"),
            &format!("a.txt:7: \"{long}\"; {name}"),
            &format!("b.json: [1]: a number; {name}"),
            &format!("b.json: [2]: \"fé\"; {name}"),
            &format!("b.json: [3]: an array; {name}"),
            "b.json: [4]: \"one\" again; expected each channel in one group",
            &format!("supervision.toml:17: channel_groups.2.channels.1: \"#irc\"; {name}"),
        ],
    );
}

#[test]
fn at_most_a_hundred_faults_are_named() {
    let place = Place::new();
    place.write("supervision.toml", group("a", "a.txt"));
    place.write("a.txt", "not good\n".repeat(5000));
    let run = place.run(&["check"]);
    assert_eq!((run.code, run.out.lines().count()), (78, 100));
}

#[test]
fn a_file_that_is_no_list_is_told() {
    let place = Place::new();
    place.write("supervision.toml", group("a", "list"));
    faults(
        &place.run(&["check"]),
        &[
            "list: cannot be read: No such file or directory (os error 2); expected a list of channels",
        ],
    );
    for (bytes, fault) in [
        (
            &b""[..],
            "list: is empty; expected channels, or a comment where none is wanted",
        ),
        (
            b"#one\n\n#two\n",
            "list:1: lists no channel, only comments that look like some; expected names without # in front",
        ),
        (
            b"[\"one\",\n\"two\"",
            "list:2: EOF while parsing a list; expected a JSON array of names",
        ),
        (
            b"[\"one\"]\n[\"two\"]",
            "list:2: trailing characters; expected a JSON array of names",
        ),
        (
            b"one\n\xff\n",
            "list: is no text from byte 4 on; expected UTF-8",
        ),
    ] {
        place.write("list", bytes);
        faults(&place.run(&["check"]), &[fault]);
    }
    place.write("list", vec![b'\n'; (16 << 20) + 1]);
    faults(
        &place.run(&["check"]),
        &["list: has more than 16777216 bytes; expected at most so many"],
    );
    std::fs::remove_file(place.path("list")).unwrap();
    std::fs::create_dir(place.path("list")).unwrap();
    faults(
        &place.run(&["check"]),
        &["list: is no regular file; expected a list of channels"],
    );
    // A comment says that none is wanted; so does an array.
    std::fs::remove_dir(place.path("list")).unwrap();
    for none in ["# none\n#one\n", "[]", "\n"] {
        place.write("list", none);
        place.run(&["check"]).good();
    }
}

#[test]
fn a_group_lists_its_channels_in_one_way() {
    let place = Place::new();
    let head = "[[channel_groups]]\nname = \"a\"\ntoken_group = \"x\"\ncategory = \"y\"\n";
    for (rest, fault) in [
        (
            "",
            "supervision.toml:1: channel_groups.0: lists no channels; expected either channels or file",
        ),
        (
            "file = \"list\"\nchannels = []\n",
            "supervision.toml:5: channel_groups.0.file: stands beside channels; expected either channels or file",
        ),
    ] {
        place.write("supervision.toml", format!("{head}{rest}"));
        faults(&place.run(&["check"]), &[fault]);
    }
    place.write(
        "supervision.toml",
        head.replace("\"a\"", "\"\"") + "channels = []\n",
    );
    faults(
        &place.run(&["check"]),
        &[
            "supervision.toml:2: channel_groups.0.name: \"\"; expected a name of 1 to 64 characters without control characters",
        ],
    );
}

#[test]
fn channels_of_all_groups_have_a_bound() {
    let place = Place::new();
    let list = |from: u32, to: u32| -> String {
        (from..to).map(|number| format!("c{number}\n")).collect()
    };
    place.write(
        "supervision.toml",
        [group("a", "a"), group("b", "b")].concat(),
    );
    place.write("a", list(0, 149_999));
    place.write("b", list(149_999, 150_000));
    place.run(&["check"]).good();
    place.write("b", list(149_999, 150_003));
    faults(
        &place.run(&["check"]),
        &["b:2: one channel too many; expected at most 150000 in all"],
    );
}
