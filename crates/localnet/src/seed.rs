//! Keys from a seed. For a local chain alone: whoever knows the seed has the keys.

use solana_sdk::hash::hashv;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::SeedDerivable;

/// The keypair of a role.
#[must_use]
pub fn keypair(seed: u64, role: &str, number: u64) -> Keypair {
    let secret = hashv(&[
        b"twzrd localnet key",
        &seed.to_le_bytes(),
        role.as_bytes(),
        &number.to_le_bytes(),
    ]);
    // Any 32 bytes are a secret key.
    Keypair::from_seed(secret.as_ref())
        .unwrap_or_else(|_| Keypair::new_from_array(secret.to_bytes()))
}
