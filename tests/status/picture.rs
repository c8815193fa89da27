//! The picture.

use console::{measure_text_width, strip_ansi_codes};
use serde_json::json;
use twzrd::status::{Shown, Style, Tree, render, summary};

use crate::fixtures::{actor, collector, shown, supervisor, tree, two};

const PLAIN: Style = Style {
    color: false,
    all: false,
};

fn lines(shown: &Shown, width: usize) -> Vec<String> {
    let text = render(shown, width, None, PLAIN);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_wide_terminal_shows_everything_in_columns() {
    let picture = render(&shown(tree(two())), 200, None, PLAIN);
    let expected = "\
twzrd 0.1.0  degraded  up 2h05m  not ready  12 actors, 1 not running, 15 restarts
database away  journal ok  twitch ok  program off
database away for 4m12s: connection refused
actor_not_running root/settlement/epoch_sealer: the actor is cooling_down
lines 1.2M received: 1.2M counted, 34.0k mirrored, 567 other; the store is away, this is what was read last

ACTOR                               STATE         RESTARTS  UPTIME      QUEUE  HANDLED    RATE
root                                running              0   2h05m
├─ operations                       running              0   2h05m
│  └─ gateway                       running              0   2h05m          0     1.2k       0
├─ settlement                       running              0   2h05m
│  ├─ journal                       running              0   2h05m    12/1.0k     1.2k       0
│  ├─ participation_batcher         running              3      3s         14    12.3k   432/s  in message for 1.2s, waits 1.2s for the store, last exit: panic: index out of bounds: the len is 3
│  └─ epoch_sealer                  cooling_down        12       -          0     1.2k       0  again in 42s, last exit: error: the store refused while sealing
└─ ingest                           running              0   2h05m
   ├─ gap_ledger                    running              0   2h05m          0     1.2k       0
   └─ collectors                    running              0   2h05m
      ├─ channel001                 running              0   2h05m     0/1.0k       10       0
      └─ channel002                 running              0   2h05m   950/1.0k       10    12/s
";
    assert_eq!(picture, expected, "\n{picture}");
}

#[test]
fn a_usual_terminal_keeps_what_is_needed_most() {
    let picture = render(&shown(tree(two())), 80, None, PLAIN);
    let expected = "\
twzrd 0.1.0  degraded  up 2h05m  not ready  12 actors, 1 not running, 15 restar…
database away  journal ok  twitch ok  program off
database away for 4m12s: connection refused
actor_not_running root/settlement/epoch_sealer: the actor is cooling_down
lines 1.2M received: 1.2M counted, 34.0k mirrored, 567 other; the store is away…

ACTOR                         STATE         RESTARTS  UPTIME      QUEUE    RATE
root                          running              0   2h05m
├─ operations                 running              0   2h05m
│  └─ gateway                 running              0   2h05m          0       0
├─ settlement                 running              0   2h05m
│  ├─ journal                 running              0   2h05m    12/1.0k       0
│  ├─ participation_batcher   running              3      3s         14   432/s
│  └─ epoch_sealer            cooling_down        12       -          0       0
└─ ingest                     running              0   2h05m
   ├─ gap_ledger              running              0   2h05m          0       0
   └─ collectors              running              0   2h05m
      ├─ channel001           running              0   2h05m     0/1.0k       0
      └─ channel002           running              0   2h05m   950/1.0k    12/s
";
    assert_eq!(picture, expected, "\n{picture}");
}

#[test]
fn a_narrow_terminal_still_shows_who_does_not_run() {
    let picture = render(&shown(tree(two())), 40, None, PLAIN);
    let expected = "\
twzrd 0.1.0  degraded  up 2h05m  not re…
database away  journal ok  twitch ok  p…
database away for 4m12s: connection ref…
actor_not_running root/settlement/epoch…
lines 1.2M received: 1.2M counted, 34.0…

ACTOR                       STATE
root                        running
├─ operations               running
│  └─ gateway               running
├─ settlement               running
│  ├─ journal               running
│  ├─ participation_batch…  running
│  └─ epoch_sealer          cooling_down
└─ ingest                   running
   ├─ gap_ledger            running
   └─ collectors            running
      ├─ channel001         running
      └─ channel002         running
";
    assert_eq!(picture, expected, "\n{picture}");
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_is_wrapped() {
    let wide = actor(
        "茶の湯茶の湯茶の湯茶の湯茶の湯",
        json!({"state": "stalled"}),
    );
    let many = (0..30).map(|n| collector(n, n, 1.0)).chain([wide]);
    let shown = shown(tree(many.collect()));
    let full = lines(&shown, 400).len();
    for width in 0..220 {
        for color in [false, true] {
            let style = Style { color, all: false };
            let picture = render(&shown, width, None, style);
            assert_eq!(picture.lines().count(), full, "{width}");
            for line in picture.lines() {
                let used = measure_text_width(line);
                assert!(used <= width, "{used} columns of {width}: {line:?}");
            }
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    let shown = shown(tree(two()));
    for width in [40, 80, 200] {
        let style = Style {
            color: true,
            all: false,
        };
        let painted = render(&shown, width, None, style);
        let plain = render(&shown, width, None, PLAIN);
        assert!(!plain.contains('\u{1b}'));
        assert_eq!(strip_ansi_codes(&painted), plain);
        for part in [
            "\u{1b}[32mrunning\u{1b}[0m",
            "\u{1b}[33mcooling_down\u{1b}[0m",
        ] {
            assert!(painted.contains(part), "{part:?} in {painted}");
        }
    }
}

#[test]
fn each_state_has_its_colour() {
    for (state, color) in [
        ("running", 32),
        ("starting", 33),
        ("restarting", 33),
        ("cooling_down", 33),
        ("stalled", 33),
        ("stopping", 33),
        ("stopped", 31),
        ("a_state_to_come", 33),
    ] {
        let shown = shown(json!({"actor": actor("root", json!({"state": state}))}));
        let style = Style {
            color: true,
            all: false,
        };
        let picture = render(&shown, 200, None, style);
        let part = format!("\u{1b}[{color}m{state}\u{1b}[0m");
        assert!(picture.contains(&part), "{part:?} in {picture}");
    }
}

#[test]
fn many_children_are_one_line_and_those_who_need_attention() {
    let mut many: Vec<_> = (0..100).map(|n| collector(n, n % 7, 0.5)).collect();
    many[41] = actor(
        "channel041",
        json!({"state": "restarting", "restarts": 4, "uptime_ms": null}),
    );
    many[42] = actor("channel042", json!({"state": "stopped", "uptime_ms": null}));
    many[43] = collector(43, 999, 0.5);
    many[44] = collector(44, 6, 9.0);
    let shown = shown(tree(many));
    let all = lines(&shown, 200);
    let first = all.iter().position(|line| line.contains("100 children"));
    let below: Vec<&str> = all[first.unwrap()..]
        .iter()
        .map(|line| line.trim_end())
        .collect();
    let words =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let expected_sum =
        "├─ 100 children 98 running 4 1.3k 3.4k 58/s 98 running, 1 restarting, 1 stopped";
    assert_eq!(words(below[0]).join(" "), expected_sum);
    let names: Vec<String> = below[1..]
        .iter()
        .map(|line| words(line)[1].clone())
        .collect();
    let expected = [
        "channel041",
        "channel042",
        "channel043",
        "channel044",
        "channel006",
        "channel013",
        "channel020",
        "channel027",
    ];
    assert_eq!(names, expected);
    assert!(below[8].starts_with("      └─ channel027"), "{}", below[8]);

    let style = Style {
        color: false,
        all: true,
    };
    let all = render(&shown, 200, None, style);
    assert_eq!(all.matches("─ channel").count(), 100);
    assert!(!all.contains("100 children"));
}

#[test]
fn children_that_the_answer_leaves_out_are_counted() {
    let many = (0..10).map(|n| collector(n, 0, 0.0)).collect();
    let mut crowd = supervisor("collectors", many);
    crowd["children_left_out"] = json!(90_000);
    let shown = shown(json!({"actor": crowd}));
    let picture = render(&shown, 200, None, PLAIN);
    assert!(picture.contains("90010 children"), "{picture}");
    assert!(
        picture.contains("10 running, 90000 are not in the answer"),
        "{picture}"
    );
    assert!(picture.contains("90.0k actors, all running"), "{picture}");
}

#[test]
fn a_low_terminal_shows_fewer_children_and_then_says_what_is_missing() {
    let many: Vec<_> = (0..100).map(|n| collector(n, n, 0.5)).collect();
    let shown = shown(tree(many));
    let full = render(&shown, 120, None, PLAIN).lines().count();
    for height in 0..full + 3 {
        let picture = render(&shown, 120, Some(height), PLAIN);
        let used = picture.lines().count();
        assert!(used <= height, "{used} lines of {height}");
        let last = picture.lines().last().unwrap_or_default();
        let children = picture.matches("─ channel").count();
        if height < full - 8 {
            assert_eq!(used, height);
            let hidden = format!("… {} more lines", full - 8 - (height.max(1) - 1));
            assert!(
                height == 0 || last == hidden,
                "{last:?}, expected {hidden:?}"
            );
        } else {
            assert_eq!(children, (height - (full - 8)).min(8));
            assert!(!picture.contains("more lines"), "{picture}");
        }
    }
}

#[test]
fn text_of_the_process_cannot_move_the_cursor() {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}1Aevil\r\n\u{8}\u{202e}\u{0}";
    let hostile = json!({
        "state": evil, "restarts": 1, "kind": evil,
        "last_exit": {"kind": evil, "text": evil},
        "handler": {"handler": evil, "running_ms": 500},
        "waiting_for": [{"what": evil, "waiting_ms": 1}],
    });
    let mut shown = shown(json!({"actor": actor(evil, hostile)}));
    let health = shown.health.as_mut().unwrap();
    health.version = evil.to_owned();
    health.status = evil.to_owned();
    let database = health.database.as_mut().unwrap();
    database.status = evil.to_owned();
    database.reason = Some(evil.to_owned());
    let readiness = shown.readiness.as_mut().unwrap();
    for reason in &mut readiness.reasons {
        reason.code = evil.to_owned();
        reason.detail = evil.to_owned();
        reason.path = Some(evil.to_owned());
    }
    let mut absent = shown.clone();
    absent.health = Err(evil.to_owned());
    absent.readiness = Err(evil.to_owned());
    absent.ledger = Err(evil.to_owned());
    for shown in [&shown, &absent] {
        for width in [20, 80, 500] {
            let style = Style {
                color: true,
                all: true,
            };
            let picture = render(shown, width, None, style);
            let plain = render(shown, width, None, PLAIN);
            let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!plain.contains(bad), "{plain:?}");
            assert_eq!(strip_ansi_codes(&picture), plain);
            assert!(plain.contains("evil"));
        }
        assert!(!summary(shown).contains(|c: char| c.is_control()));
    }
}

#[test]
fn fields_that_are_missing_or_new_are_no_fault() {
    let old =
        r#"{"actor":{"id":"root","state":"running","children":[{"id":"a","state":"stopped"}]}}"#;
    let new = r#"{"as_of":1,"mood":"good","actor":{"id":"root","state":"running","shoe":44,
        "uptime_ms":null,"feed":{"depth":1},"children":[{"id":"a","state":"stopped","last_exit":{}}]}}"#;
    for json in [old, new] {
        let tree: Tree = serde_json::from_str(json).unwrap();
        let shown = Shown {
            tree,
            health: Err("no".to_owned()),
            readiness: Err("no".to_owned()),
            ledger: Err("no".to_owned()),
        };
        let picture = render(&shown, 100, None, PLAIN);
        assert!(picture.contains("└─ a"), "{picture}");
    }
    for json in [
        "{}",
        "[]",
        "{\"actor\":{}}",
        "{\"actor\":{\"id\":\"root\"}}",
    ] {
        assert!(serde_json::from_str::<Tree>(json).is_err(), "{json}");
    }
}

#[test]
fn the_summary_is_one_line() {
    let expected = "not ready (database_away, actor_not_running), up 2h05m, 12 actors, \
                    1 not running, 15 restarts, 1.2M lines, 1.2M counted";
    assert_eq!(summary(&shown(tree(two()))), expected);
}
