//! The program `twzrd-localnet`: it says where it is, writes its keys, and ends at a signal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;

/// Ends with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn key(path: &std::path::Path) -> Keypair {
    let bytes: Vec<u8> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    Keypair::try_from(bytes.as_slice()).unwrap()
}

#[tokio::test]
async fn the_binary_serves_a_scene_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_twzrd-localnet"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--slot-ms",
            "20",
            "--finality-slots",
            "2",
        ])
        .args(["--wallets", "2", "--seed", "9", "--folder"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let file = std::fs::read(folder.path().join("scene.json")).unwrap();
    assert_eq!(told, serde_json::from_slice::<Value>(&file).unwrap());
    let admin = key(&folder.path().join("admin.json"));
    assert_eq!(told["admin"], admin.pubkey().to_string());
    let publisher = key(&folder.path().join("publisher.json"));
    assert_eq!(told["publisher"], publisher.pubkey().to_string());
    let wallet = key(&folder.path().join("wallets/1.json"));
    assert_eq!(told["wallets"][1], wallet.pubkey().to_string());

    let client = RpcClient::new(told["http_url"].as_str().unwrap().to_owned());
    let balance = client.get_balance(&wallet.pubkey()).await.unwrap();
    assert_eq!(balance, 10_000_000_000);
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_bad_argument_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_twzrd-localnet"))
        .args(["--program", "xyz", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "twzrd-localnet: chain.program is \"xyz\"; expected a public key of 32 bytes in base58\n"
    );
}
