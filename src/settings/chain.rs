//! The settings of the chain: where roots are published, which, and what is followed.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use twzrd_domain::settlement::{AnomalyGuard, EpochMode, Policy, RootKind, Target};

use super::bounds::Bounds;
use super::secrets::Secrets;
use super::{Secret, Written};

/// The layouts of a channel's account.
const LAYOUTS: [&str; 4] = ["packed-10x128", "c-10x128", "c-10x512", "packed-9x1024"];
/// The most nodes of a pool.
const MOST_URLS: usize = 16;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenChain {
    target: Target,
    program: String,
    mint: String,
    rpc_urls: Vec<String>,
    ws_urls: Vec<String>,
    keypair_file: PathBuf,
    epoch_mode: EpochMode,
    new_layout: String,
    mainnet_acknowledged: bool,
    request_timeout_ms: u64,
    cool_down_ms: u64,
    allowed_lag_slots: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPublisher {
    auto_publish: bool,
    root: RootKind,
    token_groups: Vec<String>,
    ghost_filter: bool,
    live_window: bool,
    live_window_participants: u64,
    anomaly_guard: bool,
    anomaly_min_epochs: u32,
    anomaly_lower_percent: u32,
    anomaly_upper_percent: u32,
    per_tick: usize,
    interval_ms: u64,
    poll_ms: u64,
    resend_ms: u64,
    fee_percentile: u8,
    fee_floor_micro_lamports: u64,
    fee_cap_micro_lamports: u64,
    compute_cap: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenListener {
    poll_ms: u64,
    log_bytes: u64,
    log_files: u32,
}

/// The settings of the chain.
#[derive(Clone, Debug)]
pub struct ChainSettings {
    /// Where roots are published.
    pub target: Target,
    /// The program's address, in base58.
    pub program: String,
    /// The mint's address, in base58.
    pub mint: String,
    /// The nodes' URLs.
    pub rpc_urls: Vec<Secret>,
    /// The URLs of their WebSockets.
    pub ws_urls: Vec<Secret>,
    /// The file of the key that signs; none where there is none.
    pub keypair_file: Option<PathBuf>,
    /// The key that signs, by the environment.
    pub keypair: Option<Secret>,
    /// Which number stands for an epoch on chain.
    pub epoch_mode: EpochMode,
    /// The layout of a channel's account that is not there yet.
    pub new_layout: String,
    /// Whether publishing by itself on the main network is meant.
    pub mainnet_acknowledged: bool,
    /// How long a node may take to answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a node that failed is left alone, in milliseconds.
    pub cool_down_ms: u64,
    /// How far a node may be behind the others, in slots.
    pub allowed_lag_slots: u64,
}

/// The settings of the publisher.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// Whether roots are signed and sent.
    pub auto_publish: bool,
    /// Which of the two roots.
    pub root: RootKind,
    /// Which roots.
    pub policy: Policy,
    /// How many roots are signed in a tick, at most.
    pub per_tick: usize,
    /// From one tick to the next, in milliseconds.
    pub interval_ms: u64,
    /// How often a transaction in flight is looked at, in milliseconds.
    pub poll_ms: u64,
    /// How often its bytes are sent again, in milliseconds.
    pub resend_ms: u64,
    /// Which percentile of recent fees is paid.
    pub fee_percentile: u8,
    /// The least price of a compute unit, in millionths of a lamport.
    pub fee_floor_micro_lamports: u64,
    /// The highest price, likewise.
    pub fee_cap_micro_lamports: u64,
    /// The most compute units of a transaction.
    pub compute_cap: u32,
}

/// The settings of the chain listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerSettings {
    /// How often it looks without being told, in milliseconds.
    pub poll_ms: u64,
    /// The size at which the activity log begins another file, in bytes.
    pub log_bytes: u64,
    /// How many of them are kept; 0 for all.
    pub log_files: u32,
}

impl Written {
    /// Checks what is said of the chain.
    pub(super) fn check_chain(&self, secrets: &Secrets, bounds: &mut Bounds) {
        let (chain, publisher) = (&self.chain, &self.publisher);
        for (key, text) in [("program", &chain.program), ("mint", &chain.mint)] {
            if bs58::decode(text)
                .into_vec()
                .is_ok_and(|bytes| bytes.len() == 32)
            {
                continue;
            }
            bounds.refuse(
                &["chain", key],
                format_args!("{text:?}"),
                "32 bytes in base58",
            );
        }
        if !LAYOUTS.contains(&chain.new_layout.as_str()) {
            let found = format_args!("{:?}", chain.new_layout);
            bounds.refuse(&["chain", "new_layout"], found, LAYOUTS.join(", "));
        }
        plain_urls(&chain.rpc_urls, ["http", "https"], "rpc_urls", bounds);
        plain_urls(&chain.ws_urls, ["ws", "wss"], "ws_urls", bounds);
        let no_urls = chain.rpc_urls.is_empty() && secrets.rpc_urls.is_empty();
        if chain.target != Target::None && no_urls {
            let expected = "a node in chain.rpc_urls or TWZRD_RPC_URLS, or chain.target = \"none\"";
            bounds.refuse(
                &["chain", "target"],
                format_args!("{:?} without a node", chain.target.as_str()),
                expected,
            );
        }
        let no_key = chain.keypair_file.as_os_str().is_empty() && secrets.keypair.is_none();
        if publisher.auto_publish && (chain.target == Target::None || no_key) {
            let expected = "chain.target program or memo, and a key in chain.keypair_file or TWZRD_PUBLISHER_KEYPAIR, or false";
            bounds.refuse(&["publisher", "auto_publish"], true, expected);
        }
        if chain.target == Target::Program && publisher.root == RootKind::Participation {
            let expected = "\"claim\": a program whose claim pays never takes participation roots, whose leaves bind neither wallet nor amount";
            bounds.refuse(
                &["publisher", "root"],
                "\"participation\" with chain.target = \"program\"",
                expected,
            );
        }
        for group in &publisher.token_groups {
            if group.is_empty() || group.len() > 64 {
                bounds.refuse(
                    &["publisher", "token_groups"],
                    format_args!("{group:?}"),
                    "names of 1 to 64 bytes",
                );
            }
        }
        self.check_chain_numbers(bounds);
    }

    fn check_chain_numbers(&self, bounds: &mut Bounds) {
        let (chain, publisher, listener) = (&self.chain, &self.publisher, &self.listener);
        #[rustfmt::skip]
        let table = [
            (["chain", "request_timeout_ms"], chain.request_timeout_ms, 1, 600_000),
            (["chain", "cool_down_ms"], chain.cool_down_ms, 1, 3_600_000),
            (["chain", "allowed_lag_slots"], chain.allowed_lag_slots, 0, 100_000),
            (["publisher", "live_window_participants"], publisher.live_window_participants, 0, 1_000_000),
            (["publisher", "anomaly_min_epochs"], publisher.anomaly_min_epochs.into(), 1, Policy::EARLIER_EPOCHS.into()),
            (["publisher", "anomaly_lower_percent"], publisher.anomaly_lower_percent.into(), 0, 100),
            (["publisher", "anomaly_upper_percent"], publisher.anomaly_upper_percent.into(), 100, 1_000_000),
            (["publisher", "per_tick"], publisher.per_tick as u64, 1, 10_000),
            (["publisher", "interval_ms"], publisher.interval_ms, 100, 86_400_000),
            (["publisher", "poll_ms"], publisher.poll_ms, 50, 600_000),
            (["publisher", "resend_ms"], publisher.resend_ms, 100, 600_000),
            (["publisher", "fee_percentile"], publisher.fee_percentile.into(), 0, 100),
            (["publisher", "fee_floor_micro_lamports"], publisher.fee_floor_micro_lamports, 0, publisher.fee_cap_micro_lamports),
            (["publisher", "fee_cap_micro_lamports"], publisher.fee_cap_micro_lamports, 0, 1_000_000_000),
            (["publisher", "compute_cap"], publisher.compute_cap.into(), 10_000, 1_400_000),
            (["listener", "poll_ms"], listener.poll_ms, 100, 30_000),
            (["listener", "log_bytes"], listener.log_bytes, 65_536, 4 << 30),
            (["listener", "log_files"], listener.log_files.into(), 0, 100_000),
        ];
        for (path, value, least, most) in table {
            bounds.within(&path, value, least, most);
        }
    }
}

/// A URL in a settings file names a node and nothing else: a path or a query may be a credential.
fn plain_urls(urls: &[String], schemes: [&str; 2], key: &str, bounds: &mut Bounds) {
    if urls.len() > MOST_URLS {
        bounds.refuse(
            &["chain", key],
            format_args!("{} nodes", urls.len()),
            format!("at most {MOST_URLS}"),
        );
    }
    for url in urls {
        if !is_plain(url, schemes) {
            let expected = format!(
                "{}://host, with a port or not, and nothing behind it; a URL with a path, a query or a credential belongs into {}",
                schemes.join(":// or "),
                if key == "rpc_urls" {
                    super::RPC_URLS
                } else {
                    super::WS_URLS
                }
            );
            bounds.refuse(&["chain", key], "another text (not shown)", expected);
        }
    }
}

fn is_plain(url: &str, schemes: [&str; 2]) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let of_host =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    schemes.contains(&scheme) && (1..=260).contains(&host.len()) && host.bytes().all(of_host)
}

impl WrittenChain {
    /// A relative path of the key is one from the settings file's folder on.
    pub(super) fn settled(self, secrets: &Secrets, folder: &Path) -> ChainSettings {
        let given = |secret: &[Secret], plain: Vec<String>| {
            if secret.is_empty() {
                plain.into_iter().map(Secret).collect()
            } else {
                secret.to_vec()
            }
        };
        let rpc_urls: Vec<Secret> = given(&secrets.rpc_urls, self.rpc_urls);
        let mut ws_urls: Vec<Secret> = given(&secrets.ws_urls, self.ws_urls);
        if ws_urls.is_empty() {
            ws_urls = rpc_urls
                .iter()
                .map(|url| Secret(socket_of(url.reveal())))
                .collect();
        }
        ChainSettings {
            target: self.target,
            program: self.program,
            mint: self.mint,
            rpc_urls,
            ws_urls,
            keypair_file: Some(self.keypair_file)
                .filter(|path| !path.as_os_str().is_empty())
                .map(|path| folder.join(path)),
            keypair: secrets.keypair.clone(),
            epoch_mode: self.epoch_mode,
            new_layout: self.new_layout,
            mainnet_acknowledged: self.mainnet_acknowledged,
            request_timeout_ms: self.request_timeout_ms,
            cool_down_ms: self.cool_down_ms,
            allowed_lag_slots: self.allowed_lag_slots,
        }
    }
}

/// Where a node's WebSocket is by Solana's convention: the same place by another scheme, and the
/// next port where one is given.
fn socket_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let scheme = if scheme == "https" { "wss" } else { "ws" };
    let (place, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let next = place.rsplit_once(':').and_then(|(host, port)| {
        let port: u16 = port.parse().ok()?;
        Some(format!("{host}:{}", port.checked_add(1)?))
    });
    format!("{scheme}://{}{path}", next.as_deref().unwrap_or(place))
}

impl WrittenPublisher {
    pub(super) fn settled(self) -> PublisherSettings {
        let mut token_groups: Vec<String> = self
            .token_groups
            .iter()
            .map(|it| it.to_uppercase())
            .collect();
        token_groups.sort();
        token_groups.dedup();
        PublisherSettings {
            auto_publish: self.auto_publish,
            root: self.root,
            policy: Policy {
                token_groups,
                ghost_filter: self.ghost_filter,
                live_window: self.live_window.then_some(self.live_window_participants),
                anomaly: self.anomaly_guard.then_some(AnomalyGuard {
                    min_epochs: self.anomaly_min_epochs,
                    lower_percent: self.anomaly_lower_percent,
                    upper_percent: self.anomaly_upper_percent,
                }),
            },
            per_tick: self.per_tick,
            interval_ms: self.interval_ms,
            poll_ms: self.poll_ms,
            resend_ms: self.resend_ms,
            fee_percentile: self.fee_percentile,
            fee_floor_micro_lamports: self.fee_floor_micro_lamports,
            fee_cap_micro_lamports: self.fee_cap_micro_lamports,
            compute_cap: self.compute_cap,
        }
    }
}

impl WrittenListener {
    pub(super) const fn settled(&self) -> ListenerSettings {
        ListenerSettings {
            poll_ms: self.poll_ms,
            log_bytes: self.log_bytes,
            log_files: self.log_files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_in_a_file_names_a_node_and_nothing_else() {
        let schemes = ["http", "https"];
        for good in [
            "http://127.0.0.1:8899",
            "https://node.example/",
            "http://[::1]:8899",
        ] {
            assert!(is_plain(good, schemes), "{good}");
        }
        for bad in [
            "https://node.example/v2/key",
            "https://node.example?api-key=x",
            "https://me:secret@node.example",
            "ws://node.example",
            "node.example",
            "http://",
        ] {
            assert!(!is_plain(bad, schemes), "{bad}");
        }
    }

    #[test]
    fn the_socket_of_a_node_is_beside_it() {
        assert_eq!(socket_of("http://127.0.0.1:8899"), "ws://127.0.0.1:8900");
        assert_eq!(
            socket_of("https://node.example/key"),
            "wss://node.example/key"
        );
        assert_eq!(socket_of("http://[::1]:8899/"), "ws://[::1]:8900/");
    }
}
