//! TLS with a server whose certificate is trusted, and with servers whose certificate is not.
//!
//! `data/tls` holds a root, and a certificate of it for `localhost` with its key, made for these
//! tests and valid until the year 2120.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;
use twzrd_domain::chat::{ChatNetwork, ConnectError, Socket};
use twzrd_twitch::net::{Config, Credentials, TwitchNetwork};

use support::{Peer, WELCOME, clock, hear_out, name, soon};

const ROOT: &[u8] = include_bytes!("data/tls/root.der");
const CERTIFICATE: &[u8] = include_bytes!("data/tls/server.der");
const KEY: &[u8] = include_bytes!("data/tls/server.key.der");

fn acceptor() -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(CERTIFICATE)],
            PrivatePkcs8KeyDer::from(KEY).into(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// Connects to `host`, where the server welcomes whoever agrees on TLS.
async fn connect(
    host: &str,
    extra_root: Option<Vec<u8>>,
) -> (
    Result<Socket, ConnectError>,
    Option<(Vec<String>, Peer<TlsStream<TcpStream>>)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        extra_root,
        credentials: Some(Credentials::new("reader", "s3cr3t").unwrap()),
        ..Config::new(host, listener.local_addr().unwrap().port(), clock())
    };
    let network = TwitchNetwork::new(config).unwrap();
    let serving = async {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        let mut peer = Peer::new(soon(acceptor().accept(stream)).await.ok()?);
        let said = peer.hear_login().await;
        peer.say(WELCOME).await;
        Some((said, peer))
    };
    tokio::join!(soon(network.connect()), serving)
}

#[tokio::test]
async fn lines_and_commands_go_over_tls() {
    let (socket, served) = connect("localhost", Some(ROOT.to_vec())).await;
    let (mut socket, (said, mut peer)) = (socket.unwrap(), served.unwrap());
    assert_eq!(said[1], "PASS oauth:s3cr3t\r\n");
    socket.writer.join(&[name("a")]).await.unwrap();
    assert_eq!(peer.hear().await, "JOIN #a\r\n");
    peer.say("@id=1 :x!x@x PRIVMSG #a :b\r\n").await;
    peer.close().await;
    let (heard, lost) = hear_out(socket.reader.as_mut()).await;
    assert_eq!(heard.channels, ["", "", "a"]);
    assert_eq!(lost.reason, "closed by the server");
}

#[tokio::test]
async fn a_server_that_goes_without_a_goodbye_has_closed() {
    let (socket, served) = connect("localhost", Some(ROOT.to_vec())).await;
    drop(served);
    let (heard, lost) = hear_out(socket.unwrap().reader.as_mut()).await;
    assert_eq!(heard.lines.len(), 2);
    assert_eq!(lost.reason, "closed by the server");
}

#[tokio::test]
async fn a_certificate_of_nobody_who_is_trusted_is_not_taken() {
    let (socket, served) = connect("localhost", None).await;
    let Err(ConnectError::Unreachable { reason, .. }) = socket else {
        panic!("an unknown certificate was taken")
    };
    assert_eq!(reason, "invalid peer certificate: UnknownIssuer");
    assert!(served.is_none());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_taken() {
    let (socket, served) = connect("127.0.0.1", Some(ROOT.to_vec())).await;
    let Err(ConnectError::Unreachable { reason, .. }) = socket else {
        panic!("the certificate of another was taken")
    };
    assert!(
        reason.contains("certificate not valid for name"),
        "{reason}"
    );
    assert!(served.is_none());
}

#[tokio::test]
async fn a_server_without_tls_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let network = TwitchNetwork::new(Config::new("localhost", port, clock())).unwrap();
    let serving = async {
        let (mut stream, _) = soon(listener.accept()).await.unwrap();
        stream
            .write_all(b":tmi.twitch.tv 001 x :Welcome\r\n")
            .await
            .unwrap();
        stream
    };
    let (outcome, _stream) = tokio::join!(soon(network.connect()), serving);
    assert!(matches!(outcome, Err(ConnectError::Unreachable { .. })));
}
