//! The secrets of the environment: never in a file, never shown.

use crate::support::Place;
use crate::{faults, shown, with_env};

const TOKEN: &str = "sixteen-bytes-16";

#[test]
fn secrets_of_the_environment_are_masked() {
    let place = Place::new();
    let env = [
        ("TWITCH_NICK", "Somebody"),
        ("TWITCH_OAUTH", "oauth:hunter2"),
        ("TWZRD_ADMIN_TOKEN", TOKEN),
    ];
    let out = with_env(&place, &["check", "--print"], &env).good();
    for (name, _) in env {
        let expected = ("***".to_owned(), "environment".to_owned());
        assert_eq!(shown(&out, name), expected, "{name}");
    }
    for secret in ["Somebody", "hunter2", TOKEN] {
        assert!(!out.contains(secret), "{out}");
    }
    // A variable that is empty is one that is not set.
    let empty = env.map(|(name, _)| (name, ""));
    let out = with_env(&place, &["check", "--print"], &empty).good();
    assert!(!out.contains("TWITCH_") && !out.contains("ADMIN"), "{out}");
}

#[test]
fn secrets_that_cannot_be_used_are_named_and_not_shown() {
    let place = Place::new();
    let unusable = |least: usize| {
        format!(
            "another text (not shown); expected {least} to 1024 printable ASCII characters without a space"
        )
    };
    for (env, expected) in [
        (
            &[("TWITCH_NICK", "somebody")][..],
            "TWITCH_OAUTH: is missing beside TWITCH_NICK; expected both, or neither".to_owned(),
        ),
        (
            &[("TWITCH_OAUTH", "hunter2")],
            "TWITCH_NICK: is missing beside TWITCH_OAUTH; expected both, or neither".to_owned(),
        ),
        (
            &[("TWITCH_NICK", "somebody"), ("TWITCH_OAUTH", "hunter 2")],
            format!("TWITCH_OAUTH: {}", unusable(1)),
        ),
        (
            &[("TWITCH_NICK", "some\nbody"), ("TWITCH_OAUTH", "hunter2")],
            format!("TWITCH_NICK: {}", unusable(1)),
        ),
        (
            &[("TWZRD_ADMIN_TOKEN", "hunter2-hunter2")],
            format!("TWZRD_ADMIN_TOKEN: {}", unusable(16)),
        ),
        (
            &[("TWZRD_ADMIN_TOKEN", "hunter2 hunter2 hunter2")],
            format!("TWZRD_ADMIN_TOKEN: {}", unusable(16)),
        ),
    ] {
        let run = with_env(&place, &["check"], env);
        faults(&run, &[&expected]);
    }
}

#[test]
fn secrets_in_the_file_are_unknown_keys() {
    let place = Place::new();
    for (text, begin) in [
        (
            "[twitch]\noauth = \"hunter2\"\n",
            "supervision.toml:2: twitch.oauth: unknown key; expected one of host, port,",
        ),
        (
            "admin_token = \"hunter2\"\n",
            "supervision.toml:1: admin_token: unknown key; expected one of ",
        ),
        (
            "[gateway]\nadmin_token = \"hunter2\"\n",
            "supervision.toml:2: gateway.admin_token: unknown key; expected one of listen,",
        ),
    ] {
        place.write("supervision.toml", text);
        let run = place.run(&["check"]);
        assert_eq!(run.code, 78);
        assert!(run.out.starts_with(begin), "{}", run.out);
        assert!(!run.out.contains("hunter2"), "{}", run.out);
    }
}

#[test]
fn a_secret_in_toml_that_is_too_new_is_not_shown() {
    let place = Place::new();
    for (text, line) in [
        ("store = { url = \"postgres://me:hunter2@db/x\"\n}\n", 1),
        ("\n[store]\nurl = \"hunter2\\e\"\n", 3),
    ] {
        place.write("supervision.toml", text);
        let fault =
            format!("supervision.toml:{line}: is TOML of a later version here; expected TOML 1.0");
        faults(&place.run(&["check"]), &[&fault]);
    }
}

#[test]
fn a_url_with_its_key_is_not_shown_where_a_list_was_expected() {
    let place = Place::new();
    let hidden = "another value (not shown); expected";
    for (file, key, expected) in [
        (
            "[chain]\nrpc_urls = \"URL\"\n",
            "2: chain.rpc_urls",
            "a sequence",
        ),
        (
            "[chain]\nws_urls = \"URL\"\n",
            "2: chain.ws_urls",
            "a sequence",
        ),
        (
            "[chain]\ntarget = \"none\"\nallowed_lag_slots = \"URL\"\n",
            "3: chain.allowed_lag_slots",
            "u64",
        ),
        ("chain = \"URL\"\n", "1: chain", "struct WrittenChain"),
    ] {
        place.write(
            "supervision.toml",
            file.replace("URL", "https://node.example/?api-key=hunter2"),
        );
        let fault = format!("supervision.toml:{key}: {hidden} {expected}");
        faults(&place.run(&["check"]), &[&fault]);
        // Started with it, it says the same on the other stream.
        let run = place.run(&["run", "--data", "data"]);
        assert_eq!(run.code, 78, "{}", run.err);
        assert!(
            !run.err.contains("hunter2") && !run.out.contains("hunter2"),
            "{}",
            run.err
        );
    }
    std::fs::remove_file(place.path("supervision.toml")).unwrap();
    let env = [(
        "TWZRD_CHAIN__RPC_URLS",
        "https://node.example/?api-key=hunter2",
    )];
    let run = with_env(&place, &["check"], &env);
    let fault = format!("TWZRD_CHAIN__RPC_URLS: chain.rpc_urls: {hidden} a sequence");
    faults(&run, &[&fault]);
}
