//! `twzrd channels` against something that answers like the running process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::{Place, Run, finish};

const TOKEN: &str = "a-token-of-the-operator";

/// A request as it came: its first line, its authorization, its body.
#[derive(Debug, PartialEq)]
struct Asked {
    line: String,
    authorization: Option<String>,
    body: Option<Value>,
}

/// Runs the command against a server that gives these answers, one for each connection.
fn run(args: &[&str], answers: &[(u16, String)]) -> (Run, Vec<Asked>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| -> Vec<Asked> {
            let serve = |(status, body): &(u16, String)| answer(&server, *status, body);
            answers.iter().map(serve).collect()
        });
        let run = command(&[args, &["--url", &url]].concat());
        (run, asked.join().unwrap())
    })
}

fn command(args: &[&str]) -> Run {
    let place = Place::new();
    let mut command = place.command(&[&["channels"], args].concat());
    finish(command.env("TWZRD_ADMIN_TOKEN", TOKEN).spawn().unwrap())
}

fn answer(server: &TcpListener, status: u16, body: &str) -> Asked {
    let (mut socket, _) = server.accept().unwrap();
    let mut bytes = Vec::new();
    let head = loop {
        let mut some = [0; 4096];
        let count = socket.read(&mut some).unwrap();
        bytes.extend_from_slice(&some[..count]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |it| it.parse().unwrap());
            if rest.len() >= length {
                break text;
            }
        }
        assert_ne!(count, 0, "cut");
    };
    write!(
        socket,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let (head, body) = head.split_once("\r\n\r\n").unwrap();
    Asked {
        line: head.lines().next().unwrap().to_owned(),
        authorization: header(head, "authorization"),
        body: serde_json::from_str(body).ok(),
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

fn reloaded() -> String {
    json!({"added": 2, "removed": 1, "changed": 0, "unchanged": 7, "added_channels": [],
           "removed_channels": [], "took_ms": 3})
    .to_string()
}

#[test]
fn channels_are_added_and_removed_with_the_token() {
    for (args, body) in [
        (
            &["add", "one", "Two", "--group", "g"][..],
            json!({"group": "g", "add": ["one", "Two"]}),
        ),
        (&["remove", "one"], json!({"remove": ["one"]})),
    ] {
        let (run, asked) = run(args, &[(200, reloaded())]);
        assert_eq!(run.good(), "2 added, 1 removed, 0 changed, 7 as before\n");
        let expected = Asked {
            line: "POST /admin/channels HTTP/1.1".to_owned(),
            authorization: Some(format!("Bearer {TOKEN}")),
            body: Some(body),
        };
        assert_eq!(asked, [expected]);
    }
}

#[test]
fn a_refusal_is_told_by_its_detail() {
    let problem = json!({"title": "x", "detail": "there is no channel group \"g\"", "status": 409});
    let (run, _) = run(&["add", "one"], &[(409, problem.to_string())]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert_eq!(run.err, "twzrd: there is no channel group \"g\"\n");
}

#[test]
fn every_page_is_listed() {
    let row = |name: &str| {
        json!({"channel": name, "group": "g", "token_group": "MILO", "category": "c",
               "state": "refused", "reason": "no\u{1b}[2J such room", "lines": 5, "new": 1})
    };
    let pages = [
        (
            200,
            json!({"channels": [row("a"), row("b")], "next": "b"}).to_string(),
        ),
        (
            200,
            json!({"channels": [row("c")], "next": null}).to_string(),
        ),
    ];
    let (shown, asked) = run(&["list", "--json"], &pages);
    let rows: Vec<Value> = shown
        .good()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows, ["a", "b", "c"].map(row));
    let lines: Vec<_> = asked.iter().map(|it| it.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/channels?limit=1000 HTTP/1.1",
            "GET /api/v1/channels?limit=1000&after=b HTTP/1.1"
        ]
    );
    // What needs no token is not told it.
    assert_eq!(asked[0].authorization, None);

    let (shown, _) = run(&["list"], &pages);
    let out = shown.good();
    let words: Vec<Vec<&str>> = out
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    let expected = |name: &'static str| {
        vec![
            name, "refused", "5", "lines", "g", "MILO", "c", "no", "[2J", "such", "room",
        ]
    };
    assert_eq!(words, ["a", "b", "c"].map(expected));
}

#[test]
fn a_list_without_an_end_is_refused() {
    let page = (200, json!({"channels": [], "next": "b"}).to_string());
    let (run, _) = run(&["list"], &[page.clone(), page]);
    assert_eq!(run.code, 69);
    assert!(
        run.err
            .ends_with(" is no process of twzrd: its list does not come to an end\n"),
        "{}",
        run.err
    );
}

#[test]
fn what_is_no_twzrd_is_told_from_a_process_that_is_away() {
    for (status, body) in [(502, "<html>"), (200, "<html>"), (302, "")] {
        let (run, _) = run(&["list"], &[(status, body.to_owned())]);
        assert_eq!(run.code, 69, "{}", run.err);
        assert!(run.err.contains("is no process of twzrd"), "{}", run.err);
    }
    // Bound and not listening: nobody else gets the port.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address: SocketAddr = nobody.local_addr().unwrap();
    let run = command(&["list", "--url", &format!("http://{address}")]);
    assert_eq!(run.code, 69);
    assert_eq!(
        run.err,
        format!(
            "twzrd: no process answers at http://{address}/: Connection refused (os error 111)\n"
        )
    );
}

#[test]
fn bad_arguments_are_refused_before_anything_is_asked() {
    for args in [
        &["add"][..],
        &["add", "#irc"],
        &["remove", "not good"],
        &["list", "--url", "https://127.0.0.1:1"],
        &["list", "--url", "http://me:hunter2@127.0.0.1:1"],
        &["list", "--url", "somewhere"],
    ] {
        let run = command(args);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
    let run = Place::new().run(&["channels", "add", "one"]);
    assert_eq!(run.code, 78);
    assert_eq!(
        run.err,
        "twzrd: TWZRD_ADMIN_TOKEN is not set; expected the token with which the process runs\n"
    );
}
