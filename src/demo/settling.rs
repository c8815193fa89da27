//! A demo with a local chain: its wallets belong to people who chat, and claim what is settled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use solana_sdk::message::Message;
use solana_sdk::transaction::Transaction;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twzrd_chain::keys::Signer;
use twzrd_chain::program::Program;
use twzrd_chain::program::instruction::{Claim, claim_channel_open};
use twzrd_chain::rpc::{Pool, PoolConfig};
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::identity::{Login, UserHash, Wallet};
use twzrd_domain::ports::Clock;
use twzrd_domain::proof::PresenceProof;
use twzrd_domain::record::{Append, Bind, Record};
use twzrd_domain::settlement::{EpochMode, Target};

use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::{Secret, Settings};
use crate::wiring::{PATIENCE, Running};

/// The most wallets that claim.
const WALLETS: usize = 20;
/// How often it is looked for something to claim.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many sealed epochs of channels are read at a time.
const PAGE: usize = 1000;
/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The largest file of a scene, in bytes.
const SCENE_BYTES: u64 = 1 << 20;

/// What `twzrd-localnet --folder` writes to scene.json.
#[derive(Clone, Debug, Deserialize)]
struct Scene {
    http_url: String,
    ws_url: String,
    program: String,
    mint: String,
    wallets: Vec<String>,
}

/// A local chain, by the folder of its keys.
#[derive(Clone, Debug)]
pub(super) struct LocalChain {
    folder: PathBuf,
    scene: Scene,
}

impl LocalChain {
    /// Reads what the node wrote.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("scene.json");
        let unusable = |why: &dyn std::fmt::Display| {
            let text = format!(
                "{}: {why}; expected the folder of a local node: `cargo run -p twzrd-localnet -- --folder DIR`",
                path.display()
            );
            fail(Code::NoInput, text)
        };
        let size = std::fs::metadata(&path)
            .map_err(|error| unusable(&error))?
            .len();
        if size > SCENE_BYTES {
            return Err(unusable(&format_args!("{size} bytes")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&error))?;
        let scene = serde_json::from_str(&text).map_err(|error| unusable(&error))?;
        Ok(Self {
            folder: folder.to_owned(),
            scene,
        })
    }

    /// Settings under which roots are published there, soon after they are built.
    pub(super) fn put_into(&self, settings: &mut Settings) {
        let chain = &mut settings.chain;
        chain.target = Target::Program;
        chain.program.clone_from(&self.scene.program);
        chain.mint.clone_from(&self.scene.mint);
        chain.rpc_urls = vec![Secret::new(&self.scene.http_url)];
        chain.ws_urls = vec![Secret::new(&self.scene.ws_url)];
        chain.keypair = None;
        chain.keypair_file = Some(self.folder.join("publisher.json"));
        chain.epoch_mode = EpochMode::Index;
        let publisher = &mut settings.publisher;
        publisher.auto_publish = true;
        publisher.interval_ms = 2000;
        publisher.poll_ms = 500;
        settings.listener.poll_ms = 2000;
    }

    fn wallets(&self) -> Result<Vec<(Login, Signer)>, Failure> {
        let numbers = 0..self.scene.wallets.len().min(WALLETS);
        numbers
            .map(|number| {
                // Those who talk most.
                let login = Login::parse(&format!("user_{number:06}")).or_fail(Code::Software)?;
                let file = self.folder.join("wallets").join(format!("{number}.json"));
                Ok((login, Signer::from_file(&file).or_fail(Code::Config)?))
            })
            .collect()
    }

    /// Binds a wallet to each of some people, as records of the journal.
    pub(super) async fn bind(&self, running: &Running) -> Result<(), Failure> {
        let now = SystemClock.now();
        let records = self.wallets()?.into_iter().map(|(login, signer)| {
            let bind = Bind {
                user: UserHash::of_login(&login),
                wallet: Wallet(signer.pubkey().to_bytes()),
                verified: true,
                source: "demo".to_owned(),
            };
            (now, Record::Bind(bind))
        });
        let append = Append::Records {
            progress: None,
            records: records.collect(),
        };
        running.refs.gate(Some(PATIENCE)).append(append).await?;
        Ok(())
    }

    /// Has the wallets claim whatever is settled, until they are ended or dropped.
    pub(super) fn claim(&self, gateway: &str, length: EpochLength) -> Result<Claimants, Failure> {
        let program = Program::parse(&self.scene.program, &self.scene.mint);
        let urls = [self.scene.http_url.clone()];
        let pool = Pool::http(&urls, ANSWER_WITHIN, PoolConfig::default());
        let claimant = Claimant {
            gateway: format!("http://{gateway}"),
            http: reqwest::Client::builder()
                .timeout(ANSWER_WITHIN)
                .build()
                .or_fail(Code::Software)?,
            pool: pool.or_fail(Code::Config)?,
            program: program.or_fail(Code::Config)?,
            wallets: self.wallets()?,
            length,
            tally: Arc::default(),
            claimed: BTreeMap::new(),
            end: CancellationToken::new(),
        };
        let (tally, end) = (Arc::clone(&claimant.tally), claimant.end.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(claimant.run());
        Ok(Claimants { tally, end, tasks })
    }
}

/// What the wallets did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claimed {
    /// Claims that a node took.
    pub(super) sent: u64,
    /// Claims that it refused.
    pub(super) refused: u64,
}

/// The wallets at work.
pub(super) struct Claimants {
    tally: Arc<Mutex<Claimed>>,
    end: CancellationToken,
    tasks: JoinSet<()>,
}

impl Claimants {
    pub(super) fn tally(&self) -> Claimed {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends them, behind the claim that they are at.
    pub(super) async fn end(&mut self) {
        self.end.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Claimant {
    gateway: String,
    http: reqwest::Client,
    pool: Pool,
    program: Program,
    wallets: Vec<(Login, Signer)>,
    length: EpochLength,
    tally: Arc<Mutex<Claimed>>,
    /// By epoch and channel, how many wallets have claimed: the first ones.
    claimed: BTreeMap<(u64, String), usize>,
    end: CancellationToken,
}

#[derive(Deserialize)]
struct Page {
    epochs: Vec<Sealed>,
}

#[derive(Deserialize)]
struct Sealed {
    epoch: u64,
    channel: String,
    settled_at: Option<u64>,
}

impl Claimant {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.end.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // What could not be done now is found again at the next look.
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "a look for something to claim failed");
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        // What the ring no longer holds cannot be claimed.
        let now = SystemClock.now() / 1000;
        let oldest = now.saturating_sub(9 * self.length.seconds());
        let url = format!(
            "{}/api/v1/epochs?limit={PAGE}&after={}:~",
            self.gateway, oldest
        );
        let page: Page = self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        self.claimed.retain(|(epoch, _), _| *epoch >= oldest);
        for sealed in page.epochs {
            if sealed.settled_at.is_none() {
                continue;
            }
            let place = (sealed.epoch, sealed.channel);
            let done = self.claimed.get(&place).copied().unwrap_or(0);
            for number in done..self.wallets.len() {
                if self.end.is_cancelled() {
                    return Ok(());
                }
                self.claim(place.0, &place.1, number).await?;
                // After each: who has claimed is refused at another try.
                self.claimed.insert(place.clone(), number + 1);
            }
        }
        Ok(())
    }

    /// Claims for one wallet, where its person took part.
    async fn claim(&self, epoch: u64, channel: &str, number: usize) -> anyhow::Result<()> {
        let (login, signer) = &self.wallets[number];
        let url = format!(
            "{}/api/v1/proofs?epoch={epoch}&channel={channel}&user={login}",
            self.gateway
        );
        let answer = self.http.get(url).send().await?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(());
        }
        let proof: PresenceProof = answer.error_for_status()?.json().await?;
        proof.verify()?;
        let path: Vec<[u8; 32]> = proof.claim.proof.iter().map(|node| node.0).collect();
        let claim = Claim {
            number: EpochMode::Index.number(Epoch(epoch), self.length),
            index: proof.index,
            amount: proof.claim.amount,
            id: &proof.claim.id,
            proof: &path,
        };
        let payer = signer.pubkey();
        let instruction = claim_channel_open(&self.program, &payer, &proof.channel, &claim);
        let client = self.pool.client();
        let blockhash = client.get_latest_blockhash().await?;
        let message = Message::new_with_blockhash(&[instruction], Some(&payer), &blockhash);
        let signature = signer.sign(&message.serialize());
        let transaction = Transaction {
            signatures: vec![signature],
            message,
        };
        let sent = client.send_transaction(&transaction).await;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match sent {
            Ok(_) => tally.sent += 1,
            Err(error) => {
                tally.refused += 1;
                tracing::warn!(%error, epoch, channel, %login, "a claim was refused");
            }
        }
        Ok(())
    }
}
