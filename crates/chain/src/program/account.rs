//! The program's accounts.

mod channel;
mod layout;

use borsh::{BorshDeserialize, BorshSerialize};
use solana_sdk::pubkey::Pubkey;

use super::{Tag, account_tag};

pub use channel::{ChannelState, Slot};
pub use layout::Layout;

/// The bytes are not the account that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Its size is of no known layout.
    #[error(
        "the account has {0} bytes; expected 1782 (packed-10x128), 1848 (c-10x128), 5688 (c-10x512) or 9692 (packed-9x1024)"
    )]
    UnknownSize(usize),
    /// Its size is not that of the only layout.
    #[error("the account has {found} bytes; expected {expected} for {what}")]
    Size {
        /// What it was to be.
        what: &'static str,
        /// The bytes that it has.
        found: usize,
        /// The bytes that it was to have.
        expected: usize,
    },
    /// Its tag is another's.
    #[error("the account begins with {}; expected {} for {what}", hex(.found), hex(.expected))]
    Tag {
        /// What it was to be.
        what: &'static str,
        /// Its tag.
        found: Tag,
        /// The tag that it was to have.
        expected: Tag,
    },
    /// A field holds what it cannot.
    #[error("a field of {what} cannot be read: {reason}")]
    Field {
        /// What it was to be.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The account that says who may publish, and whether the program is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProtocolState {
    /// Whether it was initialized. A field behind the tag: without it every key is off by two.
    pub is_initialized: bool,
    /// The version of the layout, 1.
    pub version: u8,
    /// Who may change this account.
    pub admin: Pubkey,
    /// Who may publish, besides the admin; the zero key where nobody is named.
    pub publisher: Pubkey,
    /// Whose token account claims are paid from: the account itself.
    pub treasury: Pubkey,
    /// The mint.
    pub mint: Pubkey,
    /// Whether nothing is published and claimed now.
    pub paused: bool,
    /// Whether a claim needs a receipt.
    pub require_receipt: bool,
    /// The bump of its own address.
    pub bump: u8,
}

impl ProtocolState {
    /// How many bytes the account has.
    pub const SIZE: usize = 141;

    const NAME: &'static str = "ProtocolState";

    /// Reads the account.
    ///
    /// # Errors
    /// Where size, tag or a flag is not what it must be.
    pub fn decode(data: &[u8]) -> Result<Self, AccountError> {
        if data.len() != Self::SIZE {
            return Err(AccountError::Size {
                what: Self::NAME,
                found: data.len(),
                expected: Self::SIZE,
            });
        }
        read(Self::NAME, data)
    }

    /// The account's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write(Self::NAME, self)
    }

    /// Whether a key may publish: the admin, or the publisher where one is named.
    #[must_use]
    pub fn may_publish(&self, key: &Pubkey) -> bool {
        *key == self.admin || (self.publisher != Pubkey::default() && *key == self.publisher)
    }
}

/// Reads a tag and what is behind it, all of it.
fn read<T: BorshDeserialize>(what: &'static str, data: &[u8]) -> Result<T, AccountError> {
    let expected = account_tag(what);
    let (found, mut rest) = data
        .split_first_chunk::<8>()
        .ok_or_else(|| AccountError::Field {
            what,
            reason: format!("{} bytes; expected 8 for the tag alone", data.len()),
        })?;
    if *found != expected {
        return Err(AccountError::Tag {
            what,
            found: *found,
            expected,
        });
    }
    let value = T::deserialize(&mut rest).map_err(|error| AccountError::Field {
        what,
        reason: error.to_string(),
    })?;
    if !rest.is_empty() {
        return Err(AccountError::Field {
            what,
            reason: format!("{} bytes are left over", rest.len()),
        });
    }
    Ok(value)
}

/// A tag and what is behind it. Fields of fixed size into memory: the write cannot fail, and the
/// reader's check of the size would refuse what a failed one left.
fn write(what: &'static str, value: &impl BorshSerialize) -> Vec<u8> {
    let mut data = account_tag(what).to_vec();
    if value.serialize(&mut data).is_err() {
        data.clear();
    }
    data
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn state() -> ProtocolState {
        ProtocolState {
            is_initialized: true,
            version: 1,
            admin: Pubkey::from([1; 32]),
            publisher: Pubkey::from([2; 32]),
            treasury: Pubkey::from([3; 32]),
            mint: Pubkey::from([4; 32]),
            paused: false,
            require_receipt: true,
            bump: 254,
        }
    }

    #[test]
    fn the_protocol_state_has_its_fields_where_the_program_has_them() {
        let data = state().encode();
        assert_eq!(data.len(), ProtocolState::SIZE);
        assert_eq!(data[..8], [0x21, 0x33, 0xad, 0x86, 0x23, 0x8c, 0xc3, 0xf8]);
        assert_eq!(data[8..10], [1, 1]);
        assert_eq!((data[10], data[42], data[74], data[106]), (1, 2, 3, 4));
        assert_eq!(data[138..], [0, 1, 254]);
        assert_eq!(ProtocolState::decode(&data).unwrap(), state());
    }

    #[test]
    fn another_account_is_refused_by_what_is_wrong_with_it() {
        let data = state().encode();
        assert_eq!(
            ProtocolState::decode(&data[..140]).unwrap_err().to_string(),
            "the account has 140 bytes; expected 141 for ProtocolState"
        );
        let mut other = data.clone();
        other[0] = 0;
        assert_eq!(
            ProtocolState::decode(&other).unwrap_err().to_string(),
            "the account begins with 0033ad86238cc3f8; expected 2133ad86238cc3f8 for ProtocolState"
        );
        let mut flag = data;
        flag[138] = 2;
        assert!(matches!(
            ProtocolState::decode(&flag),
            Err(AccountError::Field { .. })
        ));
    }

    #[test]
    fn the_zero_key_never_publishes_though_nobody_is_named() {
        let mut state = state();
        assert!(state.may_publish(&state.admin) && state.may_publish(&state.publisher));
        assert!(!state.may_publish(&Pubkey::from([9; 32])));
        state.publisher = Pubkey::default();
        assert!(!state.may_publish(&Pubkey::default()));
    }
}
