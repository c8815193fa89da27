//! The layouts of a channel's account. An account's size says which it has.

use std::fmt;

use super::AccountError;
use crate::program::error::Line;

/// How a channel's account is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// 10 slots of 128 bytes of bitmap, without padding: the recorded program.
    #[default]
    Packed10x128,
    /// 10 slots of 128 bytes, with the padding of C: v0.2.1-clean.
    C10x128,
    /// 10 slots of 512 bytes, with the padding of C.
    C10x512,
    /// 9 slots of 1024 bytes, without padding, and a price behind the slots.
    Packed9x1024,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 4] = [
        Self::Packed10x128,
        Self::C10x128,
        Self::C10x512,
        Self::Packed9x1024,
    ];

    /// The layout of an account of so many bytes.
    ///
    /// # Errors
    /// Where no known layout has that size.
    pub fn of_size(size: usize) -> Result<Self, AccountError> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.size() == size)
            .ok_or(AccountError::UnknownSize(size))
    }

    /// How many bytes an account of this layout has.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Packed10x128 => 1782,
            Self::C10x128 => 1848,
            Self::C10x512 => 5688,
            Self::Packed9x1024 => 9692,
        }
    }

    /// How many slots the ring has.
    #[must_use]
    pub const fn slots(self) -> u64 {
        match self {
            Self::Packed10x128 | Self::C10x128 | Self::C10x512 => 10,
            Self::Packed9x1024 => 9,
        }
    }

    /// How many bytes the bitmap of a slot has.
    #[must_use]
    pub const fn bitmap_bytes(self) -> usize {
        match self {
            Self::Packed10x128 | Self::C10x128 => 128,
            Self::C10x512 => 512,
            Self::Packed9x1024 => 1024,
        }
    }

    /// How many claims an epoch can have.
    #[must_use]
    pub const fn max_claims(self) -> u64 {
        self.bitmap_bytes() as u64 * 8
    }

    /// Whether the program of this layout makes a channel's account when it publishes. That of
    /// the C layouts does not: `initialize_channel` comes first.
    #[must_use]
    pub const fn can_be_created_by_publish(self) -> bool {
        matches!(self, Self::Packed10x128 | Self::Packed9x1024)
    }

    /// By which line's numbers the program of this layout refuses.
    #[must_use]
    pub const fn line(self) -> Line {
        match self {
            Self::Packed10x128 | Self::Packed9x1024 => Line::Recorded,
            Self::C10x128 | Self::C10x512 => Line::Clean,
        }
    }

    /// The word in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Packed10x128 => "packed-10x128",
            Self::C10x128 => "c-10x128",
            Self::C10x512 => "c-10x512",
            Self::Packed9x1024 => "packed-9x1024",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Layout {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.as_str() == text)
            .ok_or_else(|| {
                let known = Self::ALL.map(Self::as_str).join(", ");
                format!("{text:?}; expected one of {known}")
            })
    }
}
