//! The interface of the on-chain program, byte for byte, as the deployed one has it.
//!
//! Instructions and accounts are encoded and decoded by Borsh. What comes from the chain is
//! hostile: every decoder has a bound, refuses what is left over, and names what it found.

pub mod account;
pub mod decode;
pub mod error;
pub mod instruction;
pub mod memo;

use solana_sdk::hash::hashv;
use solana_sdk::pubkey::Pubkey;
use spl_associated_token_account_interface::address::get_associated_token_address_with_program_id;
use twzrd_domain::identity::Channel;
use twzrd_domain::leaf;

/// The deployed program, in base58. A setting may name another.
pub const DEFAULT_PROGRAM: &str = "GnGzNdsQMxMpJfMeqnkGPsvHm8kwaDidiKjNU2dCVZop";

/// The mint of the deployed program, in base58. A setting may name another.
pub const DEFAULT_MINT: &str = "AAHd7u22jCMgmbF7ATkiY3BhkifD4MN3Vbsy4eYQGWN5";

/// Token-2022, which holds the mint and the accounts that are paid from.
pub const TOKEN_PROGRAM: Pubkey =
    Pubkey::from_str_const("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");

/// The program of associated token accounts.
pub const ASSOCIATED_TOKEN_PROGRAM: Pubkey =
    Pubkey::from_str_const("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");

/// The system program.
pub const SYSTEM_PROGRAM: Pubkey = Pubkey::from_str_const("11111111111111111111111111111111");

/// The first bytes of an instruction or an account, which say what it is.
pub type Tag = [u8; 8];

/// The tag of an instruction: the first 8 bytes of `sha256("global:" ‖ name)`.
#[must_use]
pub fn instruction_tag(name: &str) -> Tag {
    tag("global:", name)
}

/// The tag of an account: the first 8 bytes of `sha256("account:" ‖ Name)`.
#[must_use]
pub fn account_tag(name: &str) -> Tag {
    tag("account:", name)
}

fn tag(namespace: &str, name: &str) -> Tag {
    let mut tag = Tag::default();
    let hash = hashv(&[namespace.as_bytes(), name.as_bytes()]).to_bytes();
    tag.copy_from_slice(&hash[..8]);
    tag
}

/// A text is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {text:?}; expected a public key of 32 bytes in base58")]
pub struct KeyError {
    /// What it was to be.
    pub what: &'static str,
    /// The text.
    pub text: String,
}

/// Reads a public key. The text may come from a setting or a command line.
///
/// # Errors
/// Where it is not 32 bytes in base58.
pub fn key(what: &'static str, text: &str) -> Result<Pubkey, KeyError> {
    text.parse().map_err(|_| KeyError {
        what,
        text: text.chars().take(64).collect(),
    })
}

/// Which program, and for which mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program.
    pub id: Pubkey,
    /// The mint of the token that claims are paid in.
    pub mint: Pubkey,
}

impl Default for Program {
    /// The deployed one.
    fn default() -> Self {
        Self {
            id: Pubkey::from_str_const(DEFAULT_PROGRAM),
            mint: Pubkey::from_str_const(DEFAULT_MINT),
        }
    }
}

impl Program {
    /// A program and a mint as settings name them, in base58.
    ///
    /// # Errors
    /// Where one of them is not a public key.
    pub fn parse(id: &str, mint: &str) -> Result<Self, KeyError> {
        Ok(Self {
            id: key("chain.program", id)?,
            mint: key("chain.mint", mint)?,
        })
    }

    /// The account with admin, publisher and the flags, and its bump: `["protocol", mint]`.
    #[must_use]
    pub fn protocol_state(&self) -> (Pubkey, u8) {
        Pubkey::find_program_address(&[b"protocol", self.mint.as_ref()], &self.id)
    }

    /// The account with a channel's roots, and its bump: `["channel_state", mint, subject]`.
    #[must_use]
    pub fn channel_state(&self, channel: &Channel) -> (Pubkey, u8) {
        self.channel_state_of(&leaf::subject(channel.as_str()))
    }

    /// As [`Program::channel_state`], where only the channel's subject is known.
    #[must_use]
    pub fn channel_state_of(&self, subject: &[u8; 32]) -> (Pubkey, u8) {
        Pubkey::find_program_address(&[b"channel_state", self.mint.as_ref(), subject], &self.id)
    }

    /// The token account that claims are paid from: that of the protocol's account.
    #[must_use]
    pub fn treasury(&self) -> Pubkey {
        self.token_account(&self.protocol_state().0)
    }

    /// The associated token account of an owner.
    #[must_use]
    pub fn token_account(&self, owner: &Pubkey) -> Pubkey {
        get_associated_token_address_with_program_id(owner, &self.mint, &TOKEN_PROGRAM)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_is_refused_by_its_name() {
        assert_eq!(
            Program::parse(DEFAULT_PROGRAM, DEFAULT_MINT).unwrap(),
            Program::default()
        );
        let error = Program::parse(DEFAULT_PROGRAM, "xyz").unwrap_err();
        assert_eq!(
            error.to_string(),
            "chain.mint is \"xyz\"; expected a public key of 32 bytes in base58"
        );
    }
}
