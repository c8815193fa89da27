//! Who somebody is: names, and the two hashes under which a person can be found.
//!
//! Source of the formats: the deployed system's exported pairs of login and hash (43,616 of them
//! match the rule by login).

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha3::{Digest, Keccak256};

/// The longest name (login or channel) that is taken, in bytes. Twitch's own limit is 25.
pub const MAX_NAME_BYTES: usize = 64;

/// Keccak-256 with the original padding, over the concatenation of `parts`.
///
/// Not the NIST SHA3-256, which pads differently and gives other bytes.
#[must_use]
pub fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// What is wrong with a name, a hash or a key given as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The name has no character.
    #[error("the name is empty; expected 1 to {MAX_NAME_BYTES} bytes")]
    EmptyName,
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("the name has {0} bytes; expected 1 to {MAX_NAME_BYTES}")]
    LongName(usize),
    /// The name holds white space or a control character.
    #[error("the name holds {0:?}; expected neither white space nor control characters")]
    BadCharacter(char),
    /// The text is not the hexadecimal form of 32 bytes.
    #[error("expected 64 hexadecimal characters, with or without 0x; found {0:?}")]
    NotHex32(String),
}

/// A Twitch name in lower case: of a person (login) or of a channel.
///
/// Between 1 and [`MAX_NAME_BYTES`] bytes, without white space and control characters. Names up
/// to 24 bytes are kept inline, without an allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(CompactString);

/// The name of a channel.
pub type Channel = Name;

/// The login of a person.
pub type Login = Name;

impl Name {
    /// Takes a name and folds it to lower case.
    ///
    /// # Errors
    /// Where the name is empty, too long, or holds white space or a control character.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::EmptyName);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(IdentityError::LongName(text.len()));
        }
        let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if text.bytes().all(usable) {
            return Ok(Self(CompactString::from(text)));
        }
        if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(IdentityError::BadCharacter(bad));
        }
        let lower = text.to_lowercase();
        if lower.len() > MAX_NAME_BYTES {
            return Err(IdentityError::LongName(lower.len()));
        }
        Ok(Self(CompactString::from(lower)))
    }

    /// The name of a channel as IRC writes it, with its `#`.
    ///
    /// # Errors
    /// As [`Name::parse`]; a missing `#` is an empty name.
    pub fn parse_irc_channel(text: &str) -> Result<Self, IdentityError> {
        Self::parse(text.strip_prefix('#').ok_or(IdentityError::EmptyName)?)
    }

    /// The empty name, under which the ledger books lines that have no channel.
    #[must_use]
    pub fn none() -> Self {
        Self(CompactString::const_new(""))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Name {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Name {
    /// Takes the empty name too: the ledger writes it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::none());
        }
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Thirty-two bytes that are written as 64 hexadecimal characters, without 0x.
macro_rules! hex32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; 64];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;
            fn from_str(text: &str) -> Result<Self, IdentityError> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let mut bytes = [0u8; 32];
                hex::decode_to_slice(digits, &mut bytes)
                    .map_err(|_| IdentityError::NotHex32(text.chars().take(80).collect()))?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = CompactString::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
hex32! {
    /// A person, by hash: `K(lowercase login)` or `K("twitchId:" ‖ decimal id)`.
    UserHash
}

hex32! {
    /// A Solana public key: the wallet bound to a person. All zero where none is bound.
    Wallet
}

hex32! {
    /// A node of a Merkle tree.
    Node
}

impl UserHash {
    /// The hash by login, the default key of a person.
    #[must_use]
    pub fn of_login(login: &Name) -> Self {
        Self(keccak256(&[login.as_str().as_bytes()]))
    }

    /// The hash by Twitch id.
    #[must_use]
    pub fn of_twitch_id(id: u64) -> Self {
        Self(keccak256(&[b"twitchId:", id.to_string().as_bytes()]))
    }

    /// The first 16 hexadecimal characters, which stand for a person without a known login.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl Wallet {
    /// The key that stands where no wallet is bound.
    pub const UNBOUND: Self = Self([0; 32]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_to_lower_case_and_bounded() {
        assert_eq!(
            Name::parse("StableRonaldo").unwrap().as_str(),
            "stableronaldo"
        );
        assert_eq!(Name::parse("Ünïcode").unwrap().as_str(), "ünïcode");
        assert_eq!(Name::parse(""), Err(IdentityError::EmptyName));
        assert_eq!(
            Name::parse(&"a".repeat(65)),
            Err(IdentityError::LongName(65))
        );
        assert_eq!(Name::parse("a b"), Err(IdentityError::BadCharacter(' ')));
        assert_eq!(Name::parse("a\0b"), Err(IdentityError::BadCharacter('\0')));
    }

    #[test]
    fn a_channel_needs_its_hash_sign() {
        assert_eq!(
            Name::parse_irc_channel("#Forsen").unwrap().as_str(),
            "forsen"
        );
        assert!(Name::parse_irc_channel("forsen").is_err());
        assert!(Name::parse_irc_channel("#").is_err());
    }

    #[test]
    fn hex_is_read_with_and_without_prefix_and_written_without() {
        let hash = UserHash::of_login(&Name::parse("xqc").unwrap());
        let text = hash.to_string();
        assert_eq!(text.parse::<UserHash>().unwrap(), hash);
        assert_eq!(format!("0x{text}").parse::<UserHash>().unwrap(), hash);
        assert!("abc".parse::<UserHash>().is_err());
    }
}
