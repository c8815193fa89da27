//! Every number has bounds, and what does not fit together is refused.

use crate::faults;
use crate::support::Place;

#[test]
fn every_number_has_bounds() {
    for (section, key, value, expected) in [
        ("epoch", "grace_seconds", "604801", "0 to 604800"),
        (
            "twitch",
            "host",
            "\"irc chat\"",
            "the name or address of a host",
        ),
        ("twitch", "host", "\"\"", "the name or address of a host"),
        ("twitch", "port", "0", "1 to 65535"),
        ("twitch", "channels_per_connection", "0", "1 to 100"),
        ("twitch", "channels_per_connection", "101", "1 to 100"),
        ("twitch", "joins_per_period", "0", "1 to 100000"),
        ("twitch", "join_period_ms", "0", "1 to 600000"),
        ("twitch", "authentications_per_period", "0", "1 to 100000"),
        (
            "twitch",
            "authentication_period_ms",
            "600001",
            "1 to 600000",
        ),
        ("twitch", "connect_timeout_ms", "0", "1 to 600000"),
        ("twitch", "reconnect_max_ms", "3600001", "1 to 3600000"),
        ("twitch", "ping_after_ms", "3600001", "1 to 3600000"),
        ("twitch", "pong_within_ms", "0", "1 to 600000"),
        ("twitch", "join_within_ms", "0", "1 to 600000"),
        (
            "twitch",
            "refused_retry_max_ms",
            "604800001",
            "1 to 604800000",
        ),
        ("twitch", "handover_within_ms", "0", "1 to 600000"),
        ("collector", "feed_bytes", "131071", "131072 to 1073741824"),
        (
            "collector",
            "all_feeds_bytes",
            "1048575",
            "1048576 to 1099511627776",
        ),
        ("collector", "linger_ms", "60001", "0 to 60000"),
        ("collector", "batch_lines", "0", "1 to 1000000"),
        (
            "gateway",
            "listen",
            "\"localhost\"",
            "an address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        ),
        ("gateway", "max_connections", "0", "1 to 1000000"),
        ("gateway", "max_requests", "0", "1 to 1000000"),
        ("gateway", "max_body_bytes", "1023", "1024 to 67108864"),
        ("gateway", "request_timeout_ms", "0", "1 to 600000"),
        ("reload", "debounce_ms", "0", "1 to 60000"),
        ("reload", "poll_ms", "99", "100 to 3600000"),
        ("janitor", "every_seconds", "0", "1 to 86400"),
        ("janitor", "journal_keep_days", "36501", "0 to 36500"),
    ] {
        let place = Place::new();
        place.write(
            "supervision.toml",
            format!("[{section}]\n{key} = {value}\n"),
        );
        let fault = format!("supervision.toml:2: {section}.{key}: {value}; expected {expected}");
        faults(&place.run(&["check"]), &[&fault]);
    }
}

#[test]
fn the_first_wait_is_no_longer_than_the_longest() {
    let place = Place::new();
    place.write(
        "supervision.toml",
        "[twitch]\nreconnect_initial_ms = 5001\nreconnect_max_ms = 5000\nrefused_retry_initial_ms = 0\n",
    );
    faults(
        &place.run(&["check"]),
        &[
            "supervision.toml:2: twitch.reconnect_initial_ms: 5001; expected 1 to twitch.reconnect_max_ms, which is 5000",
            "supervision.toml:4: twitch.refused_retry_initial_ms: 0; expected 1 to twitch.refused_retry_max_ms, which is 21600000",
        ],
    );
}

#[test]
fn a_cool_down_is_declared_whole_or_not_at_all() {
    let place = Place::new();
    let child = "[children.journal]\ncool_down_restarts = 0\ncool_down_period_ms = 5\n";
    place.write("supervision.toml", child);
    faults(
        &place.run(&["check"]),
        &[
            "supervision.toml:2: children.journal.cool_down_restarts: 0; expected 1 to 86400000",
            "supervision.toml:1: children.journal.cool_down_pause_ms: is missing; expected all three keys of a cool-down, or none",
        ],
    );
    place.write(
        "supervision.toml",
        format!("{child}cool_down_pause_ms = 7\n").replace("restarts = 0", "restarts = 3"),
    );
    place.run(&["check"]).good();
}

#[test]
fn the_unit_waits_for_longer_than_all_deadlines_together_and_the_handbook_names_their_sum() {
    let shipped: toml_edit::DocumentMut = crate::SHIPPED.parse().unwrap();
    let children = shipped["children"].as_table().unwrap().iter();
    let deadlines = children.map(|(_, child)| child["shutdown_ms"].as_integer().unwrap());
    let seconds = deadlines.sum::<i64>() / 1000;
    let read = |path: &str| std::fs::read_to_string(crate::support::root(path)).unwrap();
    let (unit, handbook) = (read("docs/twzrd.service"), read("docs/operations.md"));
    let begin = "TimeoutStopSec=";
    let given = unit
        .lines()
        .find_map(|line| line.strip_prefix(begin))
        .unwrap();
    let given: i64 = given.parse().unwrap();
    assert!(given >= seconds + 20, "{given} s for {seconds} s");
    assert!(
        unit.contains(&format!("children together are {seconds} s.")),
        "{unit}"
    );
    let told = format!("the deadlines add up to {seconds} s");
    assert!(handbook.contains(&told), "{told}");
}
