//! Settlement: the key, the nodes, and what the publisher and the chain listener are made of.

mod guard;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use twzrd_actors::chain_listener::{ChainListenerArgs, ListenerCounters};
use twzrd_actors::publisher::{PublisherArgs, PublisherCounters, Publishing};
use twzrd_actors::step::no_probe;
use twzrd_actors::tree::Chain;
use twzrd_chain::activity::{LogConfig, NdjsonLog, ProgramActivity, SocketConfig, WebSocket};
use twzrd_chain::keys::Signer;
use twzrd_chain::program::Program;
use twzrd_chain::program::account::Layout;
use twzrd_chain::rpc::{Pool, PoolConfig};
use twzrd_chain::target::{MemoTarget, ProgramTarget, TargetConfig};
use twzrd_domain::chain::{ActivityLog, ChainActivity, RootChain};
use twzrd_domain::ports::Clock;
use twzrd_domain::settlement::Target;
use twzrd_store::Store;

use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::gateway::{SettlementFacts, SettlementView};
use crate::settings::{ChainSettings, PUBLISHER_KEYPAIR, Settings};

pub use guard::Guarded;

/// How long the nodes may take to tell which network they are of.
pub const NETWORK_WITHIN: Duration = Duration::from_secs(5);

/// The chain as the settings have it.
pub struct Settling {
    /// The nodes; none where no URL is given.
    pub pool: Option<Pool>,
    /// The key that signs; none where none is given.
    pub signer: Option<Signer>,
    /// The program.
    pub program: Program,
    /// Where roots go; none where nothing is published.
    pub roots: Option<Arc<Guarded>>,
    /// What the program does; none where nothing is followed.
    pub activity: Option<Arc<dyn ChainActivity>>,
}

impl Settling {
    /// Reads the key, and makes what the settings ask for. Asks no node.
    ///
    /// # Errors
    /// Where the key cannot be read or is no key, or a URL is none.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let chain = &settings.chain;
        let program = Program::parse(&chain.program, &chain.mint).or_fail(Code::Config)?;
        let signer = signer(chain)?;
        let pool = pool(chain)?;
        let roots = match (&pool, &signer) {
            (Some(pool), Some(signer)) => roots(settings, pool, program, signer)?,
            _ => None,
        };
        let activity = match (&pool, chain.target) {
            (Some(pool), Target::Program) => {
                let urls: Vec<String> = chain
                    .ws_urls
                    .iter()
                    .map(|url| url.reveal().to_owned())
                    .collect();
                let socket = WebSocket::new(&urls, program.id, SocketConfig::default())
                    .or_fail(Code::Config)?;
                let activity = ProgramActivity::new(pool.clone(), program, Box::new(socket));
                Some(Arc::new(activity) as Arc<dyn ChainActivity>)
            }
            _ => None,
        };
        Ok(Self {
            pool,
            signer,
            program,
            roots,
            activity,
        })
    }
}

/// How roots are published, by the settings.
#[must_use]
pub fn publishing(settings: &Settings) -> Publishing {
    let (chain, publisher) = (&settings.chain, &settings.publisher);
    Publishing {
        auto: publisher.auto_publish,
        kind: publisher.root,
        mode: chain.epoch_mode,
        length: settings.arithmetic.epoch_seconds,
        policy: publisher.policy.clone(),
        per_tick: publisher.per_tick,
        interval: Duration::from_millis(publisher.interval_ms),
        poll: Duration::from_millis(publisher.poll_ms),
        resend: Duration::from_millis(publisher.resend_ms),
        judge_again: Duration::from_secs(3600),
        only: None,
    }
}

/// How transactions are built, by the settings.
///
/// # Errors
/// Where the layout is not known.
pub fn target_config(settings: &Settings) -> Result<TargetConfig, Failure> {
    let publisher = &settings.publisher;
    Ok(TargetConfig {
        kind: publisher.root,
        new_layout: new_layout(settings)?,
        fee_percentile: publisher.fee_percentile,
        min_fee_micro_lamports: publisher.fee_floor_micro_lamports,
        max_fee_micro_lamports: publisher.fee_cap_micro_lamports,
        max_units: publisher.compute_cap,
        ..TargetConfig::default()
    })
}

fn signer(chain: &ChainSettings) -> Result<Option<Signer>, Failure> {
    match (&chain.keypair, &chain.keypair_file) {
        (Some(text), _) => Signer::from_text(PUBLISHER_KEYPAIR, text.reveal())
            .map(Some)
            .or_fail(Code::Config),
        (None, Some(file)) => Signer::from_file(file).map(Some).or_fail(Code::Config),
        (None, None) => Ok(None),
    }
}

fn pool(chain: &ChainSettings) -> Result<Option<Pool>, Failure> {
    if chain.rpc_urls.is_empty() {
        return Ok(None);
    }
    let config = PoolConfig {
        cool_down: Duration::from_millis(chain.cool_down_ms),
        allowed_lag: chain.allowed_lag_slots,
        ..PoolConfig::default()
    };
    let urls: Vec<String> = chain
        .rpc_urls
        .iter()
        .map(|url| url.reveal().to_owned())
        .collect();
    let timeout = Duration::from_millis(chain.request_timeout_ms);
    Pool::http(&urls, timeout, config)
        .map(Some)
        .or_fail(Code::Config)
}

fn roots(
    settings: &Settings,
    pool: &Pool,
    program: Program,
    signer: &Signer,
) -> Result<Option<Arc<Guarded>>, Failure> {
    let (chain, publisher) = (&settings.chain, &settings.publisher);
    let config = target_config(settings)?;
    let target: Box<dyn RootChain> = match chain.target {
        Target::None => return Ok(None),
        Target::Program => Box::new(ProgramTarget::new(
            pool.clone(),
            program,
            signer.clone(),
            config,
        )),
        Target::Memo => Box::new(MemoTarget::new(pool.clone(), signer.clone(), config)),
    };
    let asks_first = publisher.auto_publish && !chain.mainnet_acknowledged;
    let guarded = Guarded::new(target, pool.clone(), signer.pubkey(), asks_first);
    Ok(Some(Arc::new(guarded)))
}

/// The layout of a channel's account that is not there yet.
///
/// # Errors
/// Where it is not known.
pub fn new_layout(settings: &Settings) -> Result<Layout, Failure> {
    let parsed = settings.chain.new_layout.parse::<Layout>();
    parsed.map_err(|error| fail(Code::Config, format_args!("chain.new_layout: {error}")))
}

/// What the running service has of it.
pub struct Assembled {
    /// The children.
    pub chain: Chain,
    /// What the gateway shows.
    pub view: SettlementView,
}

/// Makes the publisher and the chain listener of the running service, and says at start what
/// holds.
///
/// # Errors
/// Where the key or a URL is unusable, and where publishing by itself on the main network was not
/// acknowledged.
pub async fn assemble(
    settings: &Settings,
    store: &Store,
    folder: &Path,
) -> Result<Assembled, Failure> {
    let settling = Settling::open(settings)?;
    if let Some(roots) = &settling.roots {
        roots.refuse_unacknowledged(NETWORK_WITHIN).await?;
    }
    let slots = new_layout(settings)?.slots();
    say(settings, &settling, slots);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let counters: Arc<PublisherCounters> = Arc::default();
    let listened: Arc<ListenerCounters> = Arc::default();
    let publishing = Arc::new(publishing(settings));
    let counts = (&counters, &listened);
    let view = view(settings, store, &settling, counts, slots);
    let publisher = PublisherArgs {
        store: Arc::new(store.clone()),
        chain: settling.roots.map(|roots| roots as Arc<dyn RootChain>),
        clock: Arc::clone(&clock),
        publishing: Arc::clone(&publishing),
        counters,
        probe: no_probe(),
    };
    let listener = ChainListenerArgs {
        chain: settling.activity,
        store: Arc::new(store.clone()),
        log: activity_log(settings, folder),
        clock,
        mode: publishing.mode,
        length: publishing.length,
        poll: Duration::from_millis(settings.listener.poll_ms),
        counters: listened,
        probe: no_probe(),
    };
    Ok(Assembled {
        chain: Chain {
            publisher,
            listener,
        },
        view,
    })
}

fn activity_log(settings: &Settings, folder: &Path) -> Arc<dyn ActivityLog> {
    let listener = settings.listener;
    Arc::new(NdjsonLog::new(LogConfig {
        folder: folder.join("chain"),
        max_bytes: listener.log_bytes,
        kept: listener.log_files as usize,
    }))
}

fn say(settings: &Settings, settling: &Settling, slots: u64) {
    let (chain, publishing) = (&settings.chain, publishing(settings));
    if chain.target == Target::None {
        info!("settlement is off: roots are built and not published");
        return;
    }
    let signer = settling
        .signer
        .as_ref()
        .map(|signer| signer.pubkey().to_string());
    info!(
        target = %chain.target, program = %settling.program.id, mint = %settling.program.mint,
        signer = signer.as_deref().unwrap_or("none"), nodes = chain.rpc_urls.len(),
        auto_publish = publishing.auto, "settlement"
    );
    if chain.target == Target::Program {
        let epochs = publishing.mode.epochs_open(publishing.length, slots);
        let open = publishing.mode.claims_open(publishing.length, slots);
        info!(
            mode = ?chain.epoch_mode, epochs, seconds = open.as_secs(),
            slots, "a root stays open to claims for so long"
        );
    }
    if signer.is_none() {
        warn!("nothing can be signed: expected a key in chain.keypair_file or {PUBLISHER_KEYPAIR}");
    }
}

fn view(
    settings: &Settings,
    store: &Store,
    settling: &Settling,
    (counters, listened): (&Arc<PublisherCounters>, &Arc<ListenerCounters>),
    slots: u64,
) -> SettlementView {
    let publishing = publishing(settings);
    let claims_open = publishing.mode.claims_open(publishing.length, slots);
    let target = settings.chain.target;
    let fixed = SettlementFacts {
        target,
        auto_publish: publishing.auto,
        signer: settling
            .signer
            .as_ref()
            .map(|signer| signer.pubkey().to_string()),
        claims_open_seconds: (target == Target::Program).then_some(claims_open.as_secs()),
        ..SettlementFacts::default()
    };
    let (pool, roots) = (settling.pool.clone(), settling.roots.clone());
    let (counters, listened) = (Arc::clone(counters), Arc::clone(listened));
    let facts = move || SettlementFacts {
        signer_lamports: roots.as_ref().and_then(|roots| roots.lamports()),
        publisher: counters.counts(),
        listener: listened.counts(),
        nodes: pool.as_ref().map(Pool::status).unwrap_or_default(),
        calls: pool.as_ref().map(Pool::observe).unwrap_or_default(),
        ..fixed.clone()
    };
    SettlementView {
        store: Arc::new(store.clone()),
        root: settings.publisher.root,
        facts: Arc::new(facts),
    }
}
