//! The list of people who opted out.

use serde_json::Value;

use crate::support::{HOUR, Place, Run, message, six, user_id};

const BOB: &str = "38e47a7b719dce63662aeaf43440326f551b8a7ee198cee35cb5d517f2d296a2";

fn suppress(place: &Place, args: &[&str]) -> Run {
    let tail = ["--data", "data", "--log-level", "error"];
    place.run(&[&["suppress"], args, &tail].concat())
}

fn ledger(out: &str) -> Value {
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    last["ledger"].clone()
}

#[test]
fn the_list_shows_hashes_and_never_a_name() {
    let place = Place::new();
    assert_eq!(
        suppress(&place, &["add", "Bob", "--reason", "by mail"]).good(),
        "bob is out: gone from every epoch that is not sealed (record 1 of the journal)\n"
    );
    let list = suppress(&place, &["list"]).good();
    let fields: Vec<_> = list.trim_end().split("  ").collect();
    assert_eq!((fields.len(), fields[0], fields[2]), (3, BOB, "by mail"));

    let json: Value = serde_json::from_str(&suppress(&place, &["list", "--json"]).good()).unwrap();
    assert_eq!(
        (&json["user_hash"], &json["reason"]),
        (&BOB.into(), &"by mail".into())
    );
    assert_eq!(json["requested_at"].to_string(), fields[1]);
    assert!(!list.contains("bob") && !json.to_string().contains("bob"));

    assert_eq!(suppress(&place, &["list", "BOB"]).good(), list);
    let other = suppress(&place, &["list", "alice"]);
    assert_eq!(
        (other.code, other.out.as_str(), other.err.as_str()),
        (1, "", "")
    );
}

#[test]
fn who_is_out_may_come_in_again() {
    let place = Place::new();
    suppress(&place, &["add", "bob"]).good();
    suppress(&place, &["add", "bob"]).good();
    assert_eq!(suppress(&place, &["list"]).good().lines().count(), 1);
    assert_eq!(
        suppress(&place, &["remove", "bob"]).good(),
        "bob is in again (record 3 of the journal)\n"
    );
    assert_eq!(suppress(&place, &["list"]).good(), "");
    assert_eq!(suppress(&place, &["list", "bob"]).code, 1);
}

#[test]
fn a_later_replay_counts_who_is_out_as_suppressed() {
    let place = Place::new();
    place.write("six.irc", six());
    suppress(&place, &["add", "bob"]).good();
    let out = place.replay("data", &["six.irc"]);
    let ledger = ledger(&out);
    assert_eq!(
        (
            &ledger["received"],
            &ledger["counted"],
            &ledger["suppressed"]
        ),
        (&6.into(), &4.into(), &2.into())
    );
    // In the second hour nobody else was in `tea`.
    let rows: Vec<_> = out
        .lines()
        .map(|line| line.split(",\"participation_root").next().unwrap())
        .collect();
    assert_eq!(
        rows[..rows.len() - 1],
        [
            r#"{"epoch":1760000400,"channel":"tea","participants":2"#,
            r#"{"epoch":1760004000,"channel":"go","participants":1"#,
        ]
    );
    let kept =
        std::fs::read_to_string(place.path("data/journal").join(last_segment(&place))).unwrap();
    assert!(kept.contains("alice") && !kept.contains("bob"), "{kept}");
}

fn last_segment(place: &Place) -> String {
    let last = place.segments("data").pop().unwrap();
    last.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn who_came_in_again_is_counted_again() {
    let place = Place::new();
    place.write("six.irc", six());
    suppress(&place, &["add", "bob"]).good();
    suppress(&place, &["remove", "bob"]).good();
    let expected = place.replay("other", &["six.irc"]);
    assert_eq!(place.replay("data", &["six.irc"]), expected);
}

/// Robert's line as one of Bob's, who has renamed himself.
fn renamed(line: &str) -> String {
    let id = |login| format!("user-id={} ", user_id(login));
    line.replace(&id("robert"), &id("bob"))
}

#[test]
fn a_person_is_known_by_login_and_by_number() {
    let place = Place::new();
    // The same number under another name: people rename themselves.
    place.write("first.irc", message("bob", "tea", 0, 1));
    place.write("renamed.irc", renamed(&message("robert", "tea", 7200, 2)));
    suppress(
        &place,
        &["add", "someone", "--id", &user_id("bob").to_string()],
    )
    .good();
    let first = ledger(&place.replay("data", &["first.irc"]));
    assert_eq!(first["suppressed"], 1);

    // Where the number is known from the chat, it goes with the login.
    let place = Place::new();
    place.write("first.irc", message("bob", "tea", 0, 1));
    place.write("renamed.irc", renamed(&message("robert", "tea", 7200, 2)));
    place.replay("data", &["first.irc"]);
    suppress(&place, &["add", "bob"]).good();
    let second = ledger(&place.replay("data", &["renamed.irc"]));
    assert_eq!(
        (&second["counted"], &second["suppressed"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn who_opts_out_leaves_the_open_epoch() {
    let place = Place::new();
    let lines: String = (0..20_000)
        .map(|n| {
            message(
                ["alice", "bob", "carol"][n as usize % 3],
                "tea",
                u64::from(n / 10),
                n,
            )
        })
        .collect();
    // Cut in its bytes, it is accepted up to there, and the hour stays open.
    let frame = crate::support::compressed(&lines);
    place.write("lines.zst", &frame[..frame.len() - 50]);
    assert_eq!(
        place.run(&["replay", "--data", "data", "lines.zst"]).code,
        65
    );
    suppress(&place, &["add", "bob"]).good();
    place.write("lines.zst", &frame);
    let out = place.replay("data", &["lines.zst"]);
    let begin = format!(r#"{{"epoch":{HOUR},"channel":"tea","participants":2,"#);
    assert!(out.starts_with(&begin), "{out}");
    assert_eq!(ledger(&out)["received"], 20_000);
    assert_eq!(
        place
            .run(&[
                "proof",
                "--epoch",
                &HOUR.to_string(),
                "--channel",
                "tea",
                "--user",
                "bob",
                "--data",
                "data"
            ])
            .code,
        1
    );
}

/// The journal of before the opt-out is kept as it was; the database holds the name no more, not
/// in a page that is free either.
#[test]
fn the_name_of_who_opts_out_goes_from_the_database() {
    let place = Place::new();
    let name = "quetzalcoatl_77";
    place.write("lines.irc", six() + &message(name, "tea", 20, 9));
    place.replay("data", &["lines.irc"]);
    let holds_name = || {
        let files = place
            .names("data")
            .into_iter()
            .filter(|file| file.starts_with("twzrd.sqlite"));
        let bytes = files.map(|file| std::fs::read(place.path("data").join(file)).unwrap());
        bytes
            .collect::<Vec<_>>()
            .concat()
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    };
    assert!(holds_name(), "the test would show nothing");
    suppress(&place, &["add", name]).good();
    assert!(!holds_name());
}

#[test]
fn the_list_needs_a_data_folder_and_makes_none() {
    let place = Place::new();
    let refused = suppress(&place, &["list"]);
    assert_eq!(
        (refused.code, refused.err.as_str()),
        (66, "twzrd: data is no folder; expected a data folder\n")
    );
    assert_eq!(place.names(""), ["tmp"]);
}
