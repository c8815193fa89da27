//! A subscription to the program's logs over a WebSocket.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use solana_commitment_config::CommitmentConfig;
use solana_pubsub_client::nonblocking::pubsub_client::{PubsubClient, PubsubClientError};
use solana_rpc_client_api::config::{RpcTransactionLogsConfig, RpcTransactionLogsFilter};
use solana_sdk::pubkey::Pubkey;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use twzrd_domain::chain::{ChainError, Subscription};

use super::Subscriber;
use crate::rpc::{MAX_ENDPOINTS, PoolError, Shown};

/// A socket on which nothing came for so long is dead. A slot comes more than twice a second.
pub const SILENCE: Duration = Duration::from_secs(15);

const DOING: &str = "subscribe to the program's logs";

/// How long a socket may take for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// To connect and to take both subscriptions.
    pub connect_timeout: Duration,
    /// Without any notification.
    pub silence: Duration,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            silence: SILENCE,
        }
    }
}

/// Several WebSocket URLs. Each subscription begins with the next of them.
///
/// A TLS socket takes the one provider of cryptography that is compiled in: with a second one the
/// process would have to choose.
#[derive(Debug)]
pub struct WebSocket {
    urls: Vec<Url>,
    program: Pubkey,
    config: SocketConfig,
    turn: AtomicUsize,
}

#[derive(Clone)]
struct Url {
    url: String,
    shown: Shown,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl WebSocket {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// Where there are no URLs, too many, or a text is none.
    pub fn new(urls: &[String], program: Pubkey, config: SocketConfig) -> Result<Self, PoolError> {
        if urls.is_empty() {
            return Err(PoolError::None);
        }
        if urls.len() > MAX_ENDPOINTS {
            return Err(PoolError::TooMany(urls.len()));
        }
        let parse = |url: &String| {
            let shown = Shown::parse(url, &["ws", "wss"], "wss://host:8900")?;
            Ok(Url {
                url: url.clone(),
                shown,
            })
        };
        Ok(Self {
            urls: urls.iter().map(parse).collect::<Result<_, _>>()?,
            program,
            config,
            turn: AtomicUsize::new(0),
        })
    }

    async fn connect(&self, url: &Url) -> Result<Live, String> {
        let (ready, is_ready) = oneshot::channel();
        let (news, heard) = watch::channel(0);
        let mut listening = JoinSet::new();
        let task = listen(url.clone(), self.program, self.config.silence, ready, news);
        listening.spawn(task);
        let mut live = Live {
            listening,
            heard,
            name: url.shown.name().to_owned(),
        };
        match tokio::time::timeout(self.config.connect_timeout, is_ready).await {
            Ok(Ok(())) => Ok(live),
            Ok(Err(_)) => Err(live.end().await),
            Err(_) => Err(format!(
                "no subscription within {:?}",
                self.config.connect_timeout
            )),
        }
    }
}

#[async_trait]
impl Subscriber for WebSocket {
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut reasons = Vec::new();
        for next in 0..self.urls.len() {
            let url = &self.urls[turn.wrapping_add(next) % self.urls.len()];
            match self.connect(url).await {
                Ok(live) => return Ok(Box::new(live)),
                Err(reason) => reasons.push(format!("{}: {reason}", url.shown.name())),
            }
        }
        Err(ChainError::Transient {
            doing: DOING,
            reason: reasons.join("; "),
        })
    }
}

/// A socket with its subscriptions, read by a task of its own, so that what is not waited for
/// does not pile up. Dropping it closes the socket.
struct Live {
    listening: JoinSet<String>,
    heard: watch::Receiver<u64>,
    name: String,
}

impl Live {
    /// Why it ended.
    async fn end(&mut self) -> String {
        match self.listening.join_next().await {
            Some(Ok(reason)) => reason,
            Some(Err(error)) => error.to_string(),
            None => "it has ended".to_owned(),
        }
    }
}

#[async_trait]
impl Subscription for Live {
    async fn next(&mut self) -> Result<(), ChainError> {
        if self.heard.changed().await.is_ok() {
            return Ok(());
        }
        let reason = self.end().await;
        Err(ChainError::Transient {
            doing: "wait for the program's logs",
            reason: format!("{}: {reason}", self.name),
        })
    }
}

/// Subscribes and listens, and answers why it ended.
async fn listen(
    url: Url,
    program: Pubkey,
    silence: Duration,
    ready: oneshot::Sender<()>,
    news: watch::Sender<u64>,
) -> String {
    match hear(&url.url, program, silence, ready, news).await {
        Ok(reason) => reason,
        Err(error) => url.shown.clean(&describe(&error)),
    }
}

async fn hear(
    url: &str,
    program: Pubkey,
    silence: Duration,
    ready: oneshot::Sender<()>,
    news: watch::Sender<u64>,
) -> Result<String, PubsubClientError> {
    let client = PubsubClient::new(url).await?;
    let filter = RpcTransactionLogsFilter::Mentions(vec![program.to_string()]);
    let config = RpcTransactionLogsConfig {
        commitment: Some(CommitmentConfig::finalized()),
    };
    let (mut logs, _) = client.logs_subscribe(filter, config).await?;
    // The program may be silent for hours; slots are not.
    let (mut slots, _) = client.slot_subscribe().await?;
    if ready.send(()).is_err() {
        return Ok("nobody waits for it".to_owned());
    }
    loop {
        let next = async {
            tokio::select! {
                log = logs.next() => log.map(|_| true),
                slot = slots.next() => slot.map(|_| false),
            }
        };
        match tokio::time::timeout(silence, next).await {
            Ok(Some(true)) => news.send_modify(|heard| *heard += 1),
            Ok(Some(false)) => {}
            Ok(None) => return Ok("the socket ended".to_owned()),
            Err(_) => return Ok(format!("neither log nor slot within {silence:?}")),
        }
    }
}

fn describe(error: &PubsubClientError) -> String {
    match error {
        PubsubClientError::ConnectionError(cause) | PubsubClientError::WsError(cause) => {
            format!("{error}: {cause}")
        }
        error => error.to_string(),
    }
}
