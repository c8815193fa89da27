//! Proofs: handed out, checked without any store, and worth nothing once changed.

use serde_json::{Value, json};

use crate::support::{HOUR, Place, Run, message, six};

const BOB: &str = r#"{
  "format": "twzrd-presence-proof-v1",
  "epoch": 1760000400,
  "channel": "tea",
  "user": "bob",
  "user_hash": "38e47a7b719dce63662aeaf43440326f551b8a7ee198cee35cb5d517f2d296a2",
  "index": 1,
  "participants": 3,
  "participation": {
    "leaf": "d5133eb0ce59b4b45df8c97b47536019afbbce25ca3c235c2eaf15a78dc3c934",
    "proof": [
      "45e117bf283fdce4aaed206ab8598025c734d309c97a6e6c5ffe68cd2f374759",
      "81a2df6f4a5903c75b5474ae406268639788305b0db6170acfbeec8afbb1841c"
    ],
    "root": "d64ef9027bd2c52982e12bfa04d8d0bdc436c7752b3385cbc42af22d4d1ffe39"
  },
  "claim": {
    "claimer": "0000000000000000000000000000000000000000000000000000000000000000",
    "amount": 80000000000,
    "id": "twitch:tea:bob",
    "leaf": "2e07a8b19fefe8728aa86b7c960fcf32eab8a52e64f420dc686029d12c1a82e0",
    "proof": [
      "ae14cf5128b518aa7785773cc8f3822136221806435920f43fdfa3c5a4b90d57",
      "6243d43ad5be2e05b260e21d89c0582ee427d09a51410c63e7cd904500b5b326"
    ],
    "root": "ecfdad7feab2b2f7ffa0b75a0ae34d3555407297a5fcdd6b7cdf2fc4d8c21e3a"
  }
}
"#;

const VALID: &str = "\
valid: bob took part in tea in epoch 1760000400, as 2 of 3
participation root d64ef9027bd2c52982e12bfa04d8d0bdc436c7752b3385cbc42af22d4d1ffe39
claim root         ecfdad7feab2b2f7ffa0b75a0ae34d3555407297a5fcdd6b7cdf2fc4d8c21e3a
Compare roots and number of participants with those that were published.
";

fn sealed() -> Place {
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("data", &["six.irc"]);
    place
}

fn prove(place: &Place, epoch: u64, channel: &str, user: &str) -> Run {
    let epoch = epoch.to_string();
    let of = [
        "proof",
        "--epoch",
        &epoch,
        "--channel",
        channel,
        "--user",
        user,
    ];
    place.run(&[&of[..], &["--data", "data", "--log-level", "error"]].concat())
}

#[test]
fn a_proof_has_both_leaves_both_proofs_and_both_roots() {
    let place = sealed();
    assert_eq!(prove(&place, HOUR, "tea", "bob").good(), BOB);
    // Names are as Twitch shows them, in any case.
    assert_eq!(prove(&place, HOUR, "Tea", "BOB").good(), BOB);
}

#[test]
fn a_proof_is_checked_without_any_store() {
    let place = Place::new();
    place.write("bob.json", BOB);
    assert_eq!(place.run(&["verify", "bob.json"]).good(), VALID);
    assert_eq!(place.run_on(&["verify"], BOB).good(), VALID);
    assert_eq!(place.run_on(&["verify", "-"], BOB).good(), VALID);
    // Settings at fault are no reason not to check a proof.
    place.write("supervision.toml", "nonsense = true\n");
    assert_eq!(place.run(&["verify", "bob.json"]).good(), VALID);
    assert_eq!(place.names(""), ["bob.json", "supervision.toml", "tmp"]);
}

#[test]
fn everybody_who_took_part_has_a_proof_under_the_printed_roots() {
    let place = Place::new();
    let lines: String = (0..37)
        .map(|n| message(&format!("user_{n}"), "tea", 5, n))
        .collect();
    place.write("lines.irc", lines);
    let out = place.replay("data", &["lines.irc"]);
    let row: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    for n in 0..37 {
        let text = prove(&place, HOUR, "tea", &format!("user_{n}")).good();
        place.run_on(&["verify"], &text).good();
        let proof: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(proof["participation"]["root"], row["participation_root"]);
        assert_eq!(proof["claim"]["root"], row["claim_root"]);
    }
}

#[test]
fn who_took_no_part_has_no_proof() {
    let place = sealed();
    for (epoch, channel, user, error) in [
        (
            HOUR,
            "tea",
            "dave",
            "dave is not among the 3 participants of tea in epoch 1760000400",
        ),
        (
            HOUR + 3600,
            "tea",
            "alice",
            "alice is not among the 1 participants of tea in epoch 1760004000",
        ),
        (
            HOUR,
            "go",
            "alice",
            "go has no sealed epoch 1760000400 with its trees built",
        ),
        (
            1,
            "tea",
            "bob",
            "tea has no sealed epoch 1 with its trees built",
        ),
        (
            u64::MAX,
            "tea",
            "bob",
            "tea has no sealed epoch 18446744073709551615 with its trees built",
        ),
    ] {
        let absent = prove(&place, epoch, channel, user);
        assert_eq!((absent.code, absent.out.as_str()), (1, ""));
        assert_eq!(absent.err, format!("twzrd: {error}\n"));
    }
}

#[test]
fn a_proof_needs_a_data_folder_and_makes_none() {
    let place = Place::new();
    let refused = prove(&place, HOUR, "tea", "bob");
    assert_eq!(refused.code, 66);
    assert_eq!(
        refused.err,
        "twzrd: data is no folder; expected a data folder\n"
    );
    std::fs::create_dir(place.path("data")).unwrap();
    let refused = prove(&place, HOUR, "tea", "bob");
    assert_eq!(refused.code, 66);
    assert_eq!(
        refused.err,
        "twzrd: data holds no twzrd.sqlite; expected a data folder of twzrd\n"
    );
    assert_eq!(place.names("data"), [""; 0]);
}

/// The places of all values that are no objects or lists, and of all objects and lists.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    if !at.is_empty() {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(place, value)| places(value, &format!("{at}/{place}"), found));
        }
        _ => {}
    }
}

/// Other values of the same type where there are any.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            let less = number.checked_sub(1);
            let more = [number + 1, number * 2 + 7, u64::MAX];
            more.into_iter().chain(less).map(Value::from).collect()
        }
        Value::String(text) => {
            let digit = if text.starts_with('1') { "2" } else { "1" };
            let changed = format!("{digit}{}", &text[1..]);
            [
                changed,
                format!("{text}0"),
                text[1..].to_owned(),
                String::new(),
            ]
            .map(Value::from)
            .into()
        }
        Value::Array(items) => {
            let more = [items.clone(), vec![items[0].clone()]].concat();
            let reversed: Vec<_> = items.iter().rev().cloned().collect();
            let long = vec![items[0].clone(); 500];
            vec![
                json!([]),
                json!(items[1..]),
                more.into(),
                reversed.into(),
                long.into(),
            ]
        }
        _ => vec![],
    }
}

#[test]
fn a_proof_that_was_changed_anywhere_fails() {
    let place = Place::new();
    let proof: Value = serde_json::from_str(BOB).unwrap();
    let mut all = Vec::new();
    places(&proof, "", &mut all);
    assert_eq!(all.len(), 22);
    for at in &all {
        let value = proof.pointer(at).unwrap();
        for other in
            others(value)
                .into_iter()
                .chain([Value::Null, json!({}), json!(-1), json!(true)])
        {
            // How many took part shows in a tree only by its height: 3 and 4 have the same.
            if at == "/participants" && other == json!(4) {
                continue;
            }
            let mut changed = proof.clone();
            *changed.pointer_mut(at).unwrap() = other.clone();
            let run = place.run_on(&["verify"], changed.to_string());
            assert!(
                matches!(run.code, 1 | 65),
                "{at} = {other}: {}{}",
                run.out,
                run.err
            );
            assert!(!run.out.starts_with("valid"), "{at} = {other}: {}", run.out);
        }
        let mut changed = proof.clone();
        let (parent, key) = at.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.remove(key)),
            Value::Array(items) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        }
        let run = place.run_on(&["verify"], changed.to_string());
        assert!(
            matches!(run.code, 1 | 65),
            "without {at}: {}{}",
            run.out,
            run.err
        );
    }
}

#[test]
fn what_is_wrong_with_a_proof_is_told() {
    let place = Place::new();
    let change = |from: &str, to: &str| place.run_on(&["verify"], BOB.replace(from, to));
    let no = change("\"index\": 1", "\"index\": 3");
    assert_eq!(no.code, 1);
    assert_eq!(
        no.out,
        "not valid: index is 3; expected less than the 3 participants\n"
    );
    let no = change("\"amount\": 80000000000", "\"amount\": 80000000001");
    assert_eq!(no.code, 1);
    assert!(
        no.out.starts_with("not valid: the claim leaf is 2e07a8b19fefe8728aa86b7c960fcf32eab8a52e64f420dc686029d12c1a82e0; its fields give "),
        "{}", no.out
    );
    let no = change("\"user\": \"bob\"", "\"user\": \"carol\"");
    assert_eq!(no.code, 1);
    assert!(
        no.out.starts_with("not valid: user_hash is 38e47a7b719d"),
        "{}",
        no.out
    );
    for (text, what) in [
        ("", "EOF"),
        ("hello", "expected value"),
        ("[]", "invalid"),
        ("{}", "missing field `format`"),
        (&BOB[..500], "EOF"),
        (&format!("{BOB}{BOB}"), "trailing characters"),
        (
            &BOB.replace("\"index\"", "\"place\""),
            "unknown field `place`",
        ),
        (
            &BOB.replace("\"index\": 1", "\"index\": 1, \"index\": 1"),
            "duplicate field `index`",
        ),
        (&" ".repeat(70_000), "more than 65536 bytes"),
    ] {
        let bad = place.run_on(&["verify"], text);
        assert_eq!((bad.code, bad.out.as_str()), (65, ""), "{what}");
        assert!(bad.err.contains(what), "{what}: {}", bad.err);
    }
    for name in ["missing.json", "tmp"] {
        let bad = place.run(&["verify", name]);
        assert_eq!(bad.code, 66);
        assert!(
            bad.err
                .starts_with(&format!("twzrd: {name} cannot be read: ")),
            "{}",
            bad.err
        );
    }
}

#[test]
fn who_opts_out_later_keeps_the_proof_of_what_was_sealed() {
    let place = sealed();
    place
        .run(&["suppress", "add", "bob", "--data", "data"])
        .good();
    let proof: Value = serde_json::from_str(&prove(&place, HOUR, "tea", "bob").good()).unwrap();
    assert_eq!(proof, serde_json::from_str::<Value>(BOB).unwrap());
}
