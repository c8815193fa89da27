//! The command, against servers that answer well, badly, or not at all.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use twzrd::status::Client;

use crate::fixtures::{health, ledger, not_ready, tree, two};
use crate::support::{Place, Run, finish, finish_soon, signal};

/// What a server does with a request, by its path.
type Answer = dyn Fn(&str) -> Reply + Send + Sync;

enum Reply {
    /// These bytes, and then the end.
    Bytes(Vec<u8>),
    /// These bytes, and then more and more.
    Endless(Vec<u8>),
    /// Nothing, with the connection open.
    Silence,
}

/// A server on a thread of its own, until it is dropped.
struct Server {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answer)
    }

    fn start_at(
        address: SocketAddr,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let answer: Arc<Answer> = Arc::new(answer);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serve = move || runtime.block_on(serve(listener, answer, stopped));
        let thread = std::thread::Builder::new().spawn(serve).unwrap();
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    answer: Arc<Answer>,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                open.spawn(reply(accepted.unwrap().0, Arc::clone(&answer)));
            }
            _ = &mut stopped => return,
        }
    }
}

async fn reply(mut socket: TcpStream, answer: Arc<Answer>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    match answer(path) {
        Reply::Bytes(bytes) => socket.write_all(&bytes).await,
        Reply::Endless(bytes) => {
            socket.write_all(&bytes).await?;
            loop {
                socket.write_all(&[b' '; 65_536]).await?;
            }
        }
        Reply::Silence => std::future::pending().await,
    }
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into()
}

/// A process that is not ready.
fn process(path: &str) -> Reply {
    let ok = |value: Value| Reply::Bytes(http("200 OK", &value.to_string()));
    match path {
        "/actors?limit=1000" => ok(tree(two())),
        "/health" => ok(health()),
        "/ready" => Reply::Bytes(http("503 Service Unavailable", &not_ready().to_string())),
        "/api/v1/ledger" => ok(ledger()),
        _ => Reply::Bytes(http("404 Not Found", "")),
    }
}

fn status(server: &Server, args: &[&str]) -> Run {
    Place::new().run(&[&["status", "--url", &server.url()], args].concat())
}

#[test]
fn a_process_that_answers_is_shown_whether_it_is_ready_or_not() {
    let out = status(&Server::start(process), &[]).good();
    let lines: Vec<&str> = out.lines().collect();
    let first = "twzrd 0.1.0  degraded  up 2h05m  not ready  12 actors, 1 not running, 15 restarts";
    assert_eq!(lines[0], first);
    assert_eq!(lines.iter().filter(|line| line.contains('─')).count(), 11);
    // What goes into a file or a pipe has no colours.
    assert!(!out.contains('\u{1b}'), "{out:?}");
}

#[test]
fn colours_come_where_they_are_asked_for() {
    let server = Server::start(process);
    for (args, env, is_colored) in [
        (&["--color", "always"][..], "", true),
        (&["--color", "always"], "1", true),
        (&["--color", "auto"], "1", false),
        (&["--color", "never"], "", false),
    ] {
        let url = server.url();
        let place = Place::new();
        let mut command = place.command(&[&["status", "--url", &url], args].concat());
        let out = finish(command.env("NO_COLOR", env).spawn().unwrap()).good();
        assert_eq!(out.contains("\u{1b}[32mrunning"), is_colored, "{args:?}");
    }
}

#[test]
fn json_is_the_answer_as_it_is_on_one_line() {
    let pretty = serde_json::to_string_pretty(&tree(two())).unwrap();
    let body = pretty.replace("\"channel001\"", "\"channel\u{9b}2J\"");
    let text = body.clone();
    let server = Server::start(move |_| Reply::Bytes(http("200 OK", &text)));
    let out = status(&server, &["--json"]).good();
    assert_eq!(out.lines().count(), 1);
    assert!(!out.trim_end().contains(|c: char| c.is_control()));
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parse(&out), parse(&body));
}

#[test]
fn a_part_that_is_not_answered_says_why_and_the_tree_is_shown() {
    let server = Server::start(|path| match path {
        "/actors?limit=1000" => process(path),
        "/health" => Reply::Bytes(http("200 OK", "<html>")),
        "/ready" => {
            let problem = r#"{"title":"x","status":503,"detail":"256 are worked on"}"#;
            Reply::Bytes(http("503 Service Unavailable", problem))
        }
        _ => Reply::Bytes(Vec::new()),
    });
    let out = status(&server, &[]).good();
    let lines: Vec<&str> = out.lines().collect();
    let health = "health not known: the answer is none of twzrd: expected value at line 1 column 1";
    assert_eq!(lines[1], health);
    let readiness = "readiness not known: it answered 503 Service Unavailable: 256 are worked on";
    assert_eq!(lines[2], readiness);
    assert!(lines[3].starts_with("lines not known: "), "{}", lines[3]);
    assert_eq!(lines.iter().filter(|line| line.contains('─')).count(), 11);
}

#[track_caller]
fn unavailable(run: &Run, told: &str) {
    assert_eq!((run.code, run.out.as_str()), (69, ""), "{}", run.err);
    assert_eq!(run.err, told);
}

#[test]
fn where_no_process_listens_the_code_says_so() {
    // Bound and not listening: nobody else gets the port.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    let url = format!("http://{address}");
    let told = format!("twzrd: no answer from {url}: Connection refused (os error 111)\n");
    for args in [
        &["--url", &url][..],
        &["--url", &address],
        &["--url", &url, "--json"],
    ] {
        unavailable(&Place::new().run(&[&["status"], args].concat()), &told);
    }
}

#[test]
fn an_answer_of_something_else_is_no_answer() {
    for (reply, told) in [
        (
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            "invalid HTTP version parsed",
        ),
        (b"", "connection closed before message completed"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "the answer is none of twzrd: missing field `actor` at line 1 column 2",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n\"\x1b[2J\xff evil\"",
            "the answer is none of twzrd: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2",
        ),
        (
            b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "it answered 301 Moved Permanently",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "it answered 404 Not Found",
        ),
    ] {
        let server = Server::start(move |_| Reply::Bytes(reply.to_vec()));
        let run = status(&server, &[]);
        unavailable(
            &run,
            &format!("twzrd: no answer from {}: {told}\n", server.url()),
        );
    }
}

#[test]
fn an_answer_without_an_end_is_given_up() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    let server = Server::start(|_| Reply::Endless(head.to_vec()));
    let told = format!(
        "twzrd: no answer from {}: the answer is longer than 16 MiB\n",
        server.url()
    );
    unavailable(&status(&server, &["--json"]), &told);
}

#[test]
fn a_process_that_says_nothing_is_given_up() {
    let server = Server::start(|_| Reply::Silence);
    let told = format!(
        "twzrd: no answer from {}: no whole answer within 5 s\n",
        server.url()
    );
    unavailable(&status(&server, &[]), &told);
    let stops = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    let server = Server::start(|path| match path {
        "/actors?limit=1000" => Reply::Bytes(stops.to_vec()),
        _ => process(path),
    });
    let client = Client::new(&server.url(), Duration::from_millis(200)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(client.ask()).unwrap_err();
    assert_eq!(error.url, server.url());
}

#[test]
fn the_settings_say_where_it_listens_unless_the_url_does() {
    let server = Server::start(process);
    let port = server.address.port();
    let place = Place::new();
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        place.write(
            "supervision.toml",
            format!("[gateway]\nlisten = \"{listen}\"\n"),
        );
        place.run(&["status"]).good();
    }
    place.write("supervision.toml", "[gateway]\nlisten = \"127.0.0.1:0\"\n");
    let run = place.run(&["status"]);
    assert_eq!(run.code, 2);
    assert!(
        run.err.contains("expected --url http://HOST:PORT"),
        "{}",
        run.err
    );
    // Settings that are wrong are nothing to whoever asks at a URL.
    place.write("supervision.toml", "[gateway\n");
    assert_eq!(place.run(&["status"]).code, 78);
    place.run(&["status", "--url", &server.url()]).good();
}

#[test]
fn a_wrong_url_is_a_wrong_command_line() {
    let place = Place::new();
    for url in ["https://127.0.0.1", "http://", "http://me:s3cret@h", "h:x"] {
        let run = place.run(&["status", "--url", url]);
        assert_eq!(run.code, 2, "{url}: {}", run.err);
        assert!(run.err.contains("expected http://HOST:PORT"), "{}", run.err);
        assert!(!run.err.contains("s3cret"));
    }
    for args in [
        &["--interval-ms", "500"][..],
        &["--watch", "--interval-ms", "99"],
        &["--json", "--all"],
        &["--color", "red"],
    ] {
        assert_eq!(place.run(&[&["status"], args].concat()).code, 2, "{args:?}");
    }
}

#[test]
fn a_watch_outlives_the_process_and_ends_on_a_signal() {
    let server = Server::start(process);
    let (url, address) = (server.url(), server.address);
    let place = Place::new();
    let args = ["status", "--url", &url, "--watch", "--interval-ms", "100"];
    let mut child = place.command(&args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |begin: &str| {
        let found = lines.find(|line| line.as_ref().unwrap().starts_with(begin));
        found.unwrap().unwrap()
    };
    assert!(until("not ready").contains("12 actors"));
    drop(server);
    until(&format!("no answer from {url}: "));
    let again = Server::start_at(address, process);
    until("not ready");
    signal(child.id(), "-INT");
    lines.for_each(drop);
    let run = finish_soon(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    drop(again);
}

#[test]
fn a_watch_of_json_is_one_answer_a_line() {
    let server = Server::start(process);
    let url = server.url();
    let place = Place::new();
    let args = [
        "status",
        "--url",
        &url,
        "--watch",
        "--json",
        "--interval-ms",
        "100",
    ];
    let mut child = place.command(&args).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.take(3) {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(answer, tree(two()));
    }
    // The reader is gone, and with it the reason to go on.
    let run = finish_soon(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let server = Server::start(process);
    let url = server.url();
    for args in [&[][..], &["--json"], &["--watch"]] {
        let place = Place::new();
        let mut child = place
            .command(&[&["status", "--url", &url], args].concat())
            .spawn()
            .unwrap();
        let mut first = [0];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        let run = finish_soon(child);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args:?}");
    }
}
