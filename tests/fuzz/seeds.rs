//! What the corpus begins with: inputs of the other tests, and what is damaged of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::targets::{journal, proof};

pub(crate) const TARGETS: [&str; 4] = ["line", "journal", "settings", "proof"];

const LINES: &str = include_str!("../../samples/twitch.irc");
const GOLDEN: &str = include_str!("../../crates/journal/tests/golden.ndjson");
const SHIPPED: &str = include_str!("../../supervision.toml");
/// Tests that write settings.
const SETTINGS: [&str; 3] = [
    include_str!("../settings.rs"),
    include_str!("../settings/channels.rs"),
    include_str!("../settings/secrets.rs"),
];
const PROOFS: &str = include_str!("../cli/proof.rs");

/// The inputs of a target, by name.
pub(crate) fn of(target: &str) -> BTreeMap<String, Vec<u8>> {
    match target {
        "line" => lines(),
        "journal" => segments(),
        "settings" => settings(),
        _ => proofs(),
    }
}

/// What a line of chat is, as far as it decides what becomes of it.
fn kind_of(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.starts_with(['@', ':']));
    let command = words.into_iter().next().unwrap_or_default().to_lowercase();
    let tag = |key: &str| {
        let tags = line.strip_prefix('@')?.split(' ').next()?.split(';');
        let mut values = tags.filter_map(|tag| tag.strip_prefix(key)?.strip_prefix('='));
        values.next().filter(|value| !value.is_empty())
    };
    let notice = tag("msg-id").unwrap_or_default().to_lowercase();
    let has = |key, name| tag(key).map_or("", |_| name);
    let parts = [
        command.as_str(),
        &notice,
        has("bits", "bits"),
        has("source-room-id", "shared"),
        has("msg-param-community-gift-id", "community"),
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let kind = parts.collect::<Vec<_>>().join("-");
    kind.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// The shortest recorded line of each kind, and some of them one after the other.
fn lines() -> BTreeMap<String, Vec<u8>> {
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in LINES.lines().filter(|line| !line.is_empty()) {
        let kept = all.entry(kind_of(line)).or_default();
        if kept.is_empty() || line.len() < kept.len() {
            *kept = line.as_bytes().to_vec();
        }
    }
    let some: Vec<Vec<u8>> = all.values().step_by(5).cloned().collect();
    all.insert("several".to_owned(), some.join(&b"\r\n"[..]));
    all.insert(
        "the-same-twice".to_owned(),
        [some[1].clone(), some[1].clone()].join(&b'\n'),
    );
    for (name, line) in [
        ("ping", "PING :tmi.twitch.tv"),
        (
            "names",
            ":h 353 reader = #a :b c\n:h 366 reader #a :End of /NAMES list",
        ),
        (
            "welcome",
            ":tmi.twitch.tv CAP * ACK :twitch.tv/tags\n:tmi.twitch.tv 001 reader :Welcome, GLHF!",
        ),
        (
            "join",
            ":reader!reader@reader.tmi.twitch.tv JOIN #a\n:tmi.twitch.tv RECONNECT\n",
        ),
        (
            "times",
            "@tmi-sent-ts=253402300799999 :a!a@a PRIVMSG #a :b\n@tmi-sent-ts=253402300800000 :a!a@a PRIVMSG #a :b\n@tmi-sent-ts=0 :a!a@a PRIVMSG #a :b\n@tmi-sent-ts=1594572166000 :a!a@a PRIVMSG #a :b\n@tmi-sent-ts=1594572166001 :a!a@a PRIVMSG #a :b",
        ),
        (
            "numbers",
            "@user-id=007;bits=4294967296;tmi-sent-ts=05 :a!a@a PRIVMSG #a :b",
        ),
        (
            "names-at-the-edge",
            "@login=\u{130}stanbul;tmi-sent-ts=5 :h USERNOTICE #\u{130}\n@login=AnAnonymousGifter;tmi-sent-ts=5 :h USERNOTICE #a",
        ),
        ("no-message", "{json}\n\n:host\n@a=b\n"),
    ] {
        all.insert(name.to_owned(), line.as_bytes().to_vec());
    }
    all
}

/// The golden segment, whole and damaged in each way that its tests know, and folders of several.
fn segments() -> BTreeMap<String, Vec<u8>> {
    let golden = GOLDEN.as_bytes();
    let lines: Vec<&str> = GOLDEN.split_inclusive('\n').collect();
    let between = journal::model::BETWEEN;
    // Each record as an append of its own.
    let single: Vec<Vec<u8>> = lines
        .iter()
        .enumerate()
        .map(|(place, line)| {
            let left = format!("\"left\":{}", lines.len() - 1 - place);
            journal::model::resealed(line.replace(&left, "\"left\":0").as_bytes())
        })
        .collect();
    let (head, tail) = (single[..4].concat(), single[4..].concat());
    let mut flipped = single.concat();
    flipped[40] ^= 1;
    let compressed = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let without = |place: usize| [&single[..place], &single[place + 1..]].concat().concat();
    let jumps = lines[3].replace("\"left\":6", "\"left\":5");
    let jumps = [lines[..3].concat(), jumps, lines[4..].concat()].concat();
    let last_number = lines[9].replace("\"seq\":10", &format!("\"seq\":{}", u64::MAX));
    [
        ("golden", golden.to_vec()),
        ("golden-cut", golden[..golden.len() - 9].to_vec()),
        ("golden-unfinished", lines[..4].concat().into_bytes()),
        ("single", single.concat()),
        ("single-cut", single.concat()[..700].to_vec()),
        ("flipped-bit", flipped),
        ("missing-record", without(3)),
        ("missing-begin", without(0)),
        ("record-twice", [head.clone(), single[3].clone()].concat()),
        ("left-jumps", journal::model::resealed(jumps.as_bytes())),
        ("zeros", [head.clone(), vec![0; 64]].concat()),
        (
            "last-number",
            journal::model::resealed(last_number.as_bytes()),
        ),
        ("two-segments", [&head, between, &tail].concat()),
        (
            "two-segments-cut",
            [&head, between, &tail[..tail.len() - 1]].concat(),
        ),
        (
            "closed-segment-cut",
            [&head[..head.len() - 1], between, &tail].concat(),
        ),
        ("compressed", [&compressed(&head), between, &tail].concat()),
        (
            "compressed-last",
            [&head, between, &compressed(&tail)].concat(),
        ),
        ("empty-segment", [&head, between].concat()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into_iter()
    .chain([("snapshot".to_owned(), snapshot())])
    .collect()
}

fn snapshot() -> Vec<u8> {
    let mut memory = twzrd_domain::memory::Memory::default();
    for line in GOLDEN.lines() {
        let mut line = line.as_bytes().to_vec();
        memory.observe(&twzrd_journal::decode(&mut line).unwrap().entry);
    }
    let id = journal::model::ID.trim_end();
    twzrd_journal::snapshot::encode(&memory, id, 1).unwrap()
}

/// The shipped settings, their sections, and every text of the tests that looks like settings.
fn settings() -> BTreeMap<String, Vec<u8>> {
    let mut texts: BTreeSet<String> = SETTINGS.iter().flat_map(|file| literals(file)).collect();
    texts.retain(|text| text.contains(" = ") && text.ends_with('\n'));
    texts.insert(
        "[[channel_groups]]\nname = \"a\"\ntoken_group = \"x\"\ncategory = \"y\"\nfile = \"channels.txt\"\n\
         [[channel_groups]]\nname = \"b\"\ntoken_group = \"x\"\ncategory = \"y\"\nfile = \"channels.json\"\n"
            .to_owned(),
    );
    texts.insert("[store]\nurl = \"postgres://me:hunter2@db/x\"\n".to_owned());
    let bare: String = SHIPPED
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let named = texts.into_iter().map(|text| {
        let text = text.into_bytes();
        (format!("{:08x}", journal::model::crc(&text)), text)
    });
    named
        .chain([("shipped".to_owned(), bare.into_bytes())])
        .collect()
}

/// The texts that stand between quotes in Rust code, without their escapes.
fn literals(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        if c == 'r'
            && let Some(raw) = chars.as_str().strip_prefix("#\"")
            && let Some((text, rest)) = raw.split_once("\"#")
        {
            all.push(text.to_owned());
            chars = rest.chars();
            continue;
        }
        if c == '\'' && chars.as_str().starts_with("\"'") {
            chars.next();
        }
        if c != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(c) = chars.next().filter(|&c| c != '"') {
            match (c, chars.as_str().chars().next()) {
                ('\\', Some('\n')) => {
                    let rest = chars.as_str().trim_start();
                    chars = rest.chars();
                }
                ('\\', Some(escaped)) => {
                    chars.next();
                    text.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => other,
                    });
                }
                (c, _) => text.push(c),
            }
        }
        all.push(text);
    }
    all
}

/// Proofs of the trees of the target, and that of the test of the command, whole and changed.
fn proofs() -> BTreeMap<String, Vec<u8>> {
    let from = PROOFS.find("r#\"").unwrap() + 3;
    let until = PROOFS[from..].find("\"#").unwrap() + from;
    let bob = &PROOFS[from..until];
    let mut all: BTreeMap<_, _> = [
        ("bob", bob.to_owned()),
        (
            "bob-beyond-all",
            bob.replace("\"index\": 1", "\"index\": 3"),
        ),
        ("bob-as-carol", bob.replace("\"bob\"", "\"carol\"")),
        (
            "bob-of-nine",
            bob.replace("\"participants\": 3", "\"participants\": 9"),
        ),
        (
            "bob-of-four",
            bob.replace("\"participants\": 3", "\"participants\": 4"),
        ),
        (
            "bob-in-any-case",
            bob.replace("\"bob\"", "\"BOB\"")
                .replace("\"45e1", "\"0x45E1"),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .into();
    for tree in proof::HONEST.iter() {
        let of = tree.proofs.len();
        for place in [0, of / 2, of - 1] {
            let text = serde_json::to_vec(&tree.proofs[place]).unwrap();
            all.insert(format!("{place:02}-of-{of:02}"), text);
        }
    }
    all
}

/// The words that a mutation puts in.
pub(crate) fn tokens(target: &str) -> Vec<Vec<u8>> {
    let mut words: BTreeSet<Vec<u8>> = match target {
        "line" => {
            let tags = LINES
                .lines()
                .filter_map(|line| line.strip_prefix('@')?.split(' ').next());
            let keys = tags.flat_map(|tags| tags.split(';'));
            let keys = keys.filter_map(|tag| Some(format!("{}=", tag.split_once('=')?.0)));
            keys.map(String::into_bytes).collect()
        }
        "journal" => words_in(GOLDEN),
        "settings" => words_in(SHIPPED),
        _ => words_in(&String::from_utf8(proofs()["bob"].clone()).unwrap()),
    };
    let more: &[&[u8]] = match target {
        "line" => &[
            b"PRIVMSG",
            b"USERNOTICE",
            b" #",
            b" :",
            b"\r\n",
            b"@",
            b";",
            b"!",
            b"\\s",
            b"\xff",
            b"\xe2\x80\x83",
            b"\xc4\xb0",
            b"sub",
            b"resub",
            b"subgift",
            b"submysterygift",
            b"raid",
            b"ananonymousgifter",
            b"253402300799999",
            b"253402300800000",
            b"18446744073709551616",
            b"4294967296",
            b"JOIN",
            b"NOTICE",
            b"353",
            b"366",
            b"RECONNECT",
            b"PING",
        ],
        "journal" => &[
            b"====\n",
            b"}\n",
            b",\"crc\":\"",
            b"18446744073709551615",
            b"TWZRDMEM",
            b"\x28\xb5\x2f\xfd",
            b"\"left\":0",
            b"null",
            b"\\u0000",
        ],
        "settings" => &[
            b"[[channel_groups]]\n",
            b"'''",
            b"\"\"\"",
            b"\\n",
            b"\\u0007",
            b"1e400",
            b"nan",
            b"-1",
            b"1979-05-27",
            b"true",
            b"{ ",
            b" }",
            b"[",
            b"]",
            b"channels.txt",
            b"bad.txt",
            b"/dev/null",
            b"postgres://me:hunter2@db/x",
            b"18446744073709551616",
            b"0x7fffffffffffffff",
        ],
        _ => &[
            b"0x",
            b"null",
            b"18446744073709551615",
            b"4294967295",
            b"twitch:",
            b"\\u0000",
            b"1e3",
        ],
    };
    words.extend(more.iter().map(|word| word.to_vec()));
    words.into_iter().collect()
}

/// The words of letters and underscores.
fn words_in(text: &str) -> BTreeSet<Vec<u8>> {
    let code = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line));
    let code = code.filter(|line| !line.starts_with('#'));
    let words = code.flat_map(|line| line.split(|c: char| !(c.is_ascii_lowercase() || c == '_')));
    let words = words.filter(|word| word.len() > 2);
    words.map(|word| word.as_bytes().to_vec()).collect()
}

/// The words in the form in which libFuzzer reads them.
pub(crate) fn dictionary(target: &str) -> String {
    let quoted = |word: Vec<u8>| {
        let bytes = word.into_iter().map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        });
        format!("\"{}\"\n", bytes.collect::<String>())
    };
    tokens(target).into_iter().map(quoted).collect()
}
