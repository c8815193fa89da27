//! The leaves of the two trees, and the names that stand in them.
//!
//! Source of the formats: the deployed system and the program that verifies claims. Integers are
//! little-endian, text is UTF-8 without a length.

use crate::epoch::Epoch;
use crate::identity::{Channel, Login, UserHash, Wallet, keccak256};

/// The longest id in a claim leaf, in bytes. The program refuses a longer one.
pub const MAX_CLAIM_ID_BYTES: usize = 64;

/// The leaf of the participation tree: `K(user_hash ‖ channel ‖ epoch u64)`.
///
/// It binds no wallet and no amount, so its root must never reach an account that pays.
#[must_use]
pub fn participation(user: UserHash, channel: &Channel, epoch: Epoch) -> [u8; 32] {
    keccak256(&[
        user.as_bytes(),
        channel.as_str().as_bytes(),
        &epoch.to_le_bytes(),
    ])
}

/// The leaf of the claim tree (v0): `K(claimer ‖ index u32 ‖ amount u64 ‖ id)`.
#[must_use]
pub fn claim(claimer: Wallet, index: u32, amount: u64, id: &str) -> [u8; 32] {
    keccak256(&[
        claimer.as_bytes(),
        &index.to_le_bytes(),
        &amount.to_le_bytes(),
        id.as_bytes(),
    ])
}

/// The leaf of a claim tree that also binds channel and epoch (v1): `K("leaf:" ‖ subject ‖ epoch
/// u64 ‖ the fields of v0)`. No deployed program verifies it.
#[must_use]
pub fn claim_v1(
    subject: [u8; 32],
    epoch: Epoch,
    claimer: Wallet,
    index: u32,
    amount: u64,
    id: &str,
) -> [u8; 32] {
    keccak256(&[
        b"leaf:",
        &subject,
        &epoch.to_le_bytes(),
        claimer.as_bytes(),
        &index.to_le_bytes(),
        &amount.to_le_bytes(),
        id.as_bytes(),
    ])
}

/// The id in a claim leaf: `twitch:<channel>:<login>`, or the first 16 hexadecimal characters of
/// the hash where the login is unknown or the id would pass [`MAX_CLAIM_ID_BYTES`].
#[must_use]
pub fn claim_id(channel: &Channel, login: Option<&Login>, user: UserHash) -> String {
    let full = login.map(|login| format!("twitch:{channel}:{login}"));
    full.filter(|id| id.len() <= MAX_CLAIM_ID_BYTES)
        .unwrap_or_else(|| user.short())
}

/// Under which words the subject of a channel is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectForm<'a> {
    /// `channel:`, which the program derives by itself. The default.
    Channel,
    /// `channel:<namespace>:`, as tools outside the program write it. A namespace may end in a
    /// colon, which then stands twice.
    Namespaced(&'a str),
    /// `twitch:`, under which epochs of the first program stand.
    Twitch,
}

/// The subject of a channel on chain: `K("channel:" ‖ ASCII-lowercase name)`.
#[must_use]
pub fn subject(channel: &str) -> [u8; 32] {
    subject_in(SubjectForm::Channel, channel)
}

/// The subject of a channel in a form: Keccak-256 of its words and the name in ASCII lower case.
#[must_use]
pub fn subject_in(form: SubjectForm<'_>, channel: &str) -> [u8; 32] {
    let name = channel.to_ascii_lowercase();
    match form {
        SubjectForm::Channel => keccak256(&[b"channel:", name.as_bytes()]),
        SubjectForm::Namespaced(namespace) => {
            keccak256(&[b"channel:", namespace.as_bytes(), b":", name.as_bytes()])
        }
        SubjectForm::Twitch => keccak256(&[b"twitch:", name.as_bytes()]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::identity::Name;

    #[test]
    fn an_id_that_would_be_too_long_falls_back_to_the_hash() {
        let channel = Name::parse(&"c".repeat(25)).unwrap();
        let login = Name::parse(&"l".repeat(31)).unwrap();
        let user = UserHash::of_login(&login);
        assert_eq!(claim_id(&channel, Some(&login), user).len(), 64);
        let longer = Name::parse(&"l".repeat(32)).unwrap();
        assert_eq!(claim_id(&channel, Some(&longer), user), user.short());
        assert_eq!(claim_id(&channel, None, user), user.short());
        assert_eq!(user.short().len(), 16);
    }
}
