//! A local chain with the program's model, its keys in files, until a signal ends it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use solana_sdk::hash::Hash;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use tokio::signal::unix::{SignalKind, signal};
use twzrd_chain::program::{DEFAULT_MINT, DEFAULT_PROGRAM, Program};
use twzrd_localnet::NodeConfig;
use twzrd_localnet::scene::{Scene, SceneConfig};

/// A Solana chain of one process with the model of the twzrd program: for tests and demos, and
/// never a place for real keys.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen. WebSocket is answered here too, and at the port above.
    #[arg(long, default_value = "127.0.0.1:8899")]
    listen: SocketAddr,
    /// Between two blocks, in milliseconds.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    slot_ms: u64,
    /// By how many blocks finalized is behind processed.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    finality_slots: u64,
    /// Where to write admin.json, publisher.json, wallets/*.json and scene.json.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// How many wallets there are.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    wallets: u64,
    /// Keys and blockhashes follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program's address.
    #[arg(long, default_value = DEFAULT_PROGRAM)]
    program: String,
    /// The mint's address.
    #[arg(long, default_value = DEFAULT_MINT)]
    mint: String,
    /// The genesis hash that the node gives, for example that of another cluster.
    #[arg(long)]
    genesis_hash: Option<Hash>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads it there is nobody to tell.
            let _ = writeln!(io::stderr(), "twzrd-localnet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let program = Program::parse(&arguments.program, &arguments.mint).map_err(io::Error::other)?;
    let scene = Scene::new(SceneConfig {
        node: NodeConfig {
            seed: arguments.seed,
            genesis_hash: arguments.genesis_hash,
            first_time: unix_seconds(),
            slot_ms: arguments.slot_ms,
            finality_slots: arguments.finality_slots,
            ..NodeConfig::default()
        },
        program,
        wallets: arguments.wallets,
        ..SceneConfig::default()
    });
    let every = Duration::from_millis(arguments.slot_ms);
    let served = scene.node.serve(arguments.listen, Some(every)).await?;
    // Where clients of solana look for the WebSocket when they are told one URL alone.
    let second = match arguments.listen.port().checked_add(1) {
        Some(port) if port > 1 => {
            let listen = SocketAddr::new(arguments.listen.ip(), port);
            Some(scene.node.serve(listen, None).await?)
        }
        _ => None,
    };
    let told = json!({
        "http_url": served.http_url(),
        "ws_url": second.as_ref().unwrap_or(&served).ws_url(),
        "program": program.id.to_string(),
        "mint": program.mint.to_string(),
        "admin": scene.admin.pubkey().to_string(),
        "publisher": scene.publisher.pubkey().to_string(),
        "wallets": texts(&scene.wallets),
        "folder": arguments.folder,
    });
    if let Some(folder) = &arguments.folder {
        write(folder, &scene, &told)?;
    }
    // Before anybody is told that it is ready: whoever is may end it at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{told}")?;
    stdout.flush()?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    served.stop().await;
    if let Some(second) = second {
        second.stop().await;
    }
    Ok(())
}

fn texts(keys: &[Keypair]) -> Vec<String> {
    keys.iter().map(|key| key.pubkey().to_string()).collect()
}

/// Block times begin with the present.
#[allow(
    clippy::disallowed_methods,
    reason = "the process has no other clock, and asks once"
)]
fn unix_seconds() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}

fn write(folder: &Path, scene: &Scene, told: &Value) -> io::Result<()> {
    let wallets = folder.join("wallets");
    fs::create_dir_all(&wallets)?;
    write_key(&folder.join("admin.json"), &scene.admin)?;
    write_key(&folder.join("publisher.json"), &scene.publisher)?;
    for (number, wallet) in scene.wallets.iter().enumerate() {
        write_key(&wallets.join(format!("{number}.json")), wallet)?;
    }
    fs::write(folder.join("scene.json"), format!("{told:#}\n"))
}

/// Writes a keypair as solana's tools read it. A file of before is replaced, so that its
/// permissions cannot be wider.
fn write_key(path: &Path, key: &Keypair) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", json!(key.to_bytes().to_vec()))
}
