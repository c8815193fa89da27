//! A connect over a real socket: what it says, what it waits for, and how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use twzrd_domain::chat::{ChatNetwork, Chunk, ConnectError, News, Socket};
use twzrd_twitch::net::{Config, ConfigError, Credentials, TwitchNetwork};

use support::{NOW, Peer, Server, WELCOME, clock, hear_out, name, soon};

const TOKEN: &str = "s3cr3tt0k3n";

fn with_token(config: Config) -> Config {
    let credentials = Some(Credentials::new("Reader", TOKEN).unwrap());
    Config {
        credentials,
        ..config
    }
}

/// Connects while the server does this with the other side.
async fn connect<T>(
    server: &Server,
    config: Config,
    script: impl AsyncFnOnce(Peer<TcpStream>) -> T,
) -> (Result<Socket, ConnectError>, T) {
    let network = TwitchNetwork::new(config).unwrap();
    let serving = async { script(server.accept().await).await };
    tokio::join!(soon(network.connect()), serving)
}

/// How a connect fails while the server does this.
async fn failure(
    config: impl FnOnce(Config) -> Config,
    script: impl AsyncFnOnce(Peer<TcpStream>),
) -> ConnectError {
    let server = Server::bind().await;
    let (outcome, ()) = connect(&server, config(server.config()), script).await;
    let error = outcome.err().expect("no failure");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(TOKEN), "{shown}");
    error
}

fn reason(error: ConnectError) -> String {
    match error {
        ConnectError::Unreachable { address, reason } => {
            assert!(address.starts_with("127.0.0.1:"), "{address}");
            reason
        }
        refused @ ConnectError::Refused { .. } => panic!("{refused}"),
    }
}

#[tokio::test]
async fn an_anonymous_reader_logs_in_without_a_token() {
    let server = Server::bind().await;
    let (socket, (said, peer)) = connect(&server, server.config(), async |mut peer| {
        let said = peer.hear_login().await;
        peer.say(WELCOME).await;
        (said, peer)
    })
    .await;
    assert_eq!(said.len(), 2);
    assert_eq!(said[0], "CAP REQ :twitch.tv/tags twitch.tv/commands\r\n");
    let digits = said[1].strip_prefix("NICK justinfan").unwrap();
    let digits = digits.strip_suffix("\r\n").unwrap();
    assert!(
        digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()),
        "{digits}"
    );
    peer.close().await;
    let mut socket = socket.unwrap();
    let (heard, lost) = hear_out(socket.reader.as_mut()).await;
    assert_eq!(heard.lines.len(), 2);
    assert_eq!(lost.reason, "closed by the server");
}

#[tokio::test]
async fn a_login_with_a_token_says_both_and_gets_its_own_news() {
    let server = Server::bind().await;
    let config = with_token(server.config());
    let (socket, (said, mut peer)) = connect(&server, config, async |mut peer| {
        let said = peer.hear_login().await;
        peer.say(WELCOME).await;
        (said, peer)
    })
    .await;
    let expected = [
        "CAP REQ :twitch.tv/tags twitch.tv/commands\r\n",
        "PASS oauth:s3cr3tt0k3n\r\n",
        "NICK reader\r\n",
    ];
    assert_eq!(said, expected);
    let mut socket = socket.unwrap();
    socket.writer.join(&[name("a"), name("b")]).await.unwrap();
    assert_eq!(peer.hear().await, "JOIN #a,#b\r\n");
    peer.say(":reader!reader@reader.tmi.twitch.tv JOIN #a\r\n")
        .await;
    peer.say(":other!other@other.tmi.twitch.tv JOIN #b\r\n")
        .await;
    let mut chunk = Chunk::default();
    let mut news = Vec::new();
    while news.is_empty() {
        soon(socket.reader.read(&mut chunk)).await.unwrap();
        assert_eq!(chunk.at, NOW);
        news.append(&mut chunk.news);
    }
    assert_eq!(news, [News::Joined(name("a"))]);
    socket.writer.close().await;
    assert_eq!(peer.hear_all().await, "QUIT\r\n");
}

#[tokio::test]
async fn names_differ_from_socket_to_socket_and_follow_from_the_seed() {
    let server = Server::bind().await;
    let mut found = Vec::new();
    for seed in [1, 1, 2] {
        let config = Config {
            seed,
            ..server.config()
        };
        let network = TwitchNetwork::new(config).unwrap();
        for _ in 0..2 {
            let serving = async {
                let mut peer = server.accept().await;
                let said = peer.hear_login().await;
                peer.say(WELCOME).await;
                said[1].clone()
            };
            let (socket, nick) = tokio::join!(network.connect(), serving);
            socket.unwrap();
            found.push(nick);
        }
    }
    assert_eq!(found[..2], found[2..4]);
    assert_ne!(found[0], found[1]);
    assert_ne!(found[..2], found[4..]);
}

#[tokio::test]
async fn what_came_with_the_welcome_is_in_the_first_chunk() {
    let server = Server::bind().await;
    let (socket, peer) = connect(&server, server.config(), async |mut peer| {
        peer.hear_login().await;
        peer.say(":tmi.twitch.tv CAP * ACK :twitch.tv/tags\r\n")
            .await;
        peer.say(":tmi.twitch.tv 001 x :Welcome\r\n:tmi.twitch.tv 002 x :Host\r\n")
            .await;
        peer.say(":tmi.twitch.tv CAP * ACK :twitch.tv/commands\r\nPING :early\r\n")
            .await;
        peer.say("@id=1 :x!x@x PRIVMSG #a :b\r\nhalf").await;
        peer
    })
    .await;
    let mut socket = socket.unwrap();
    peer.close().await;
    let (heard, _) = hear_out(socket.reader.as_mut()).await;
    let lines: Vec<_> = heard
        .lines
        .iter()
        .map(|(line, _)| String::from_utf8_lossy(line))
        .collect();
    assert_eq!(
        lines,
        [
            ":tmi.twitch.tv CAP * ACK :twitch.tv/tags",
            ":tmi.twitch.tv 001 x :Welcome",
            ":tmi.twitch.tv 002 x :Host",
            ":tmi.twitch.tv CAP * ACK :twitch.tv/commands",
            "PING :early",
            "@id=1 :x!x@x PRIVMSG #a :b",
            "\0",
        ]
    );
    assert_eq!(heard.channels, ["", "", "", "", "", "a", ""]);
    assert_eq!(heard.news, [News::Ping("early".into())]);
}

#[tokio::test]
async fn credentials_that_are_not_taken_are_refused_in_the_servers_words() {
    for words in [
        "Login authentication failed",
        "Improperly formatted auth",
        "Login unsuccessful",
        "Invalid NICK",
    ] {
        let error = failure(with_token, async |mut peer| {
            peer.hear_login().await;
            peer.say(":tmi.twitch.tv CAP * ACK :twitch.tv/tags twitch.tv/commands\r\n")
                .await;
            peer.say(format!(":tmi.twitch.tv NOTICE * :{words}\r\n"))
                .await;
        })
        .await;
        let ConnectError::Refused { reason, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(reason, words);
    }
}

#[tokio::test]
async fn a_token_that_the_server_repeats_is_not_repeated() {
    let error = failure(with_token, async |mut peer| {
        peer.hear_login().await;
        // Also where the text is cut inside of it.
        let far = "x".repeat(150);
        let text = format!("Login unsuccessful for oauth:{TOKEN} {far} {TOKEN}");
        peer.say(format!(":tmi.twitch.tv NOTICE * :{text}\r\n"))
            .await;
    })
    .await;
    let shown = error.to_string();
    assert!(
        shown.contains("Login unsuccessful for oauth:[token] x"),
        "{shown}"
    );
    assert!(!shown.contains("s3c"), "{shown}");
    let error = failure(with_token, async |mut peer| {
        peer.hear_login().await;
        peer.say(format!(":h CAP * NAK :{TOKEN}\r\n")).await;
    })
    .await;
    assert_eq!(reason(error), "the server does not grant [token]");
}

#[tokio::test]
async fn a_server_that_closes_first_is_unreachable_with_what_it_said() {
    let error = failure(with_token, async |mut peer| {
        peer.hear_login().await;
        peer.say(":tmi.twitch.tv NOTICE * :Error logging in\r\n")
            .await;
        peer.close().await;
    })
    .await;
    assert_eq!(
        reason(error),
        r#"closed by the server; it said "Error logging in""#
    );
    let error = failure(with_token, async |mut peer| {
        peer.hear_login().await;
        peer.close().await;
    })
    .await;
    assert_eq!(reason(error), "closed by the server");
}

#[tokio::test]
async fn a_server_without_tags_is_of_no_use() {
    let error = failure(
        |config| config,
        async |mut peer| {
            peer.hear_login().await;
            peer.say(":tmi.twitch.tv CAP * NAK :twitch.tv/tags\r\n")
                .await;
            peer.say(":tmi.twitch.tv 001 x :Welcome\r\n").await;
            peer.hear_all().await;
        },
    )
    .await;
    assert_eq!(reason(error), "the server does not grant twitch.tv/tags");
}

#[tokio::test]
async fn a_silent_server_is_left_in_time() {
    let limit = Duration::from_millis(300);
    let impatient = |config| Config {
        connect_timeout: limit,
        ..config
    };
    let silent = failure(impatient, async |mut peer| _ = peer.hear_all().await).await;
    assert_eq!(reason(silent), "no answer within 300 ms while logging in");
    // Half of what is asked for is not enough.
    for half in [
        "001 x :Welcome",
        "CAP * ACK :twitch.tv/tags twitch.tv/commands",
    ] {
        let error = failure(impatient, async |mut peer| {
            peer.hear_login().await;
            peer.say(format!(":tmi.twitch.tv {half}\r\n")).await;
            peer.hear_all().await;
        });
        assert_eq!(
            reason(error.await),
            "no answer within 300 ms while logging in"
        );
    }
    let tls = |config| Config {
        tls: true,
        ..impatient(config)
    };
    let mute = async |peer: Peer<TcpStream>| {
        tokio::time::sleep(2 * limit).await;
        drop(peer);
    };
    assert_eq!(
        reason(failure(tls, mute).await),
        "no answer within 300 ms while agreeing on TLS"
    );
}

#[tokio::test]
async fn a_flood_before_the_welcome_is_left() {
    let error = failure(
        |config| config,
        async |mut peer| {
            peer.hear_login().await;
            let line = format!("@id=1 :x!x@x PRIVMSG #a :{}\r\n", "x".repeat(4_000));
            for _ in 0..64 {
                peer.say(&line).await;
            }
        },
    )
    .await;
    assert!(reason(error).contains("bytes came without a welcome; expected at most 65536"));
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    // Bound and not listening: nobody else gets the port.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = nobody.local_addr().unwrap().port();
    let config = Config {
        tls: false,
        ..Config::new("127.0.0.1", port, clock())
    };
    let network = TwitchNetwork::new(with_token(config)).unwrap();
    let error = soon(network.connect()).await.err().unwrap();
    assert_eq!(reason(error), "Connection refused (os error 111)");
    let config = Config::new("nowhere.invalid", 1, clock());
    let error = soon(TwitchNetwork::new(config).unwrap().connect())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, ConnectError::Unreachable { address, .. } if address == "nowhere.invalid:1")
    );
}

#[test]
fn a_host_that_is_none_is_refused_before_anything_is_sent() {
    for tls in [true, false] {
        for host in ["", "a b", "a\r\nb"] {
            let config = Config {
                tls,
                ..Config::new(host, 1, clock())
            };
            let found = host.to_owned();
            let error = TwitchNetwork::new(config).unwrap_err();
            assert_eq!(error, ConfigError::Host { found });
        }
    }
    let config = Config {
        extra_root: Some(vec![1, 2, 3]),
        ..Config::new("a", 1, clock())
    };
    assert!(matches!(
        TwitchNetwork::new(config),
        Err(ConfigError::Root { .. })
    ));
}

#[test]
fn nothing_shows_the_token() {
    let config = with_token(Config::new("irc.example", 6697, clock()));
    let shown = [
        format!("{config:?}"),
        format!("{:#?}", config.credentials),
        format!("{:?}", TwitchNetwork::new(config).unwrap()),
    ];
    for shown in shown {
        assert!(shown.contains("reader"), "{shown}");
        assert!(
            !shown.contains(TOKEN) && !shown.contains("oauth"),
            "{shown}"
        );
    }
}
