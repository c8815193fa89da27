//! The program's error numbers, and their names in both of its lines.
//!
//! The numbers 6000 to 6005 mean the same in both; past them a name has another number in each.

/// One of the two lines of the program's source, which differ in layout and error numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The recorded program and its packed layouts.
    Recorded,
    /// v0.2.1-clean, with the C layouts.
    Clean,
}

/// Where the program's own numbers begin.
pub const FIRST: u32 = 6000;

/// The key may not do this; in both lines.
pub const UNAUTHORIZED: u32 = 6000;
/// The program is paused; in both lines.
pub const PROTOCOL_PAUSED: u32 = 6005;

/// Numbers of the recorded line.
pub mod recorded {
    /// The bit of this index is set.
    pub const ALREADY_CLAIMED: u32 = 6006;
    /// The proof does not lead to the root.
    pub const INVALID_PROOF: u32 = 6007;
    /// The index is past the bitmap.
    pub const INVALID_INDEX: u32 = 6009;
    /// The id is too long.
    pub const INVALID_INPUT_LENGTH: u32 = 6011;
    /// The proof has too many nodes.
    pub const INVALID_PROOF_LENGTH: u32 = 6012;
    /// The mint is not that of the protocol.
    pub const INVALID_MINT: u32 = 6013;
    /// A claim needs a receipt.
    pub const RECEIPT_REQUIRED: u32 = 6014;
    /// The channel's account is not that of the channel.
    pub const INVALID_CHANNEL_STATE: u32 = 6015;
    /// The slot holds another epoch.
    pub const SLOT_MISMATCH: u32 = 6017;
    /// The slot holds this epoch or a newer one.
    pub const EPOCH_NOT_INCREASING: u32 = 6023;
    /// The key is the zero key.
    pub const INVALID_PUBKEY: u32 = 6025;
}

const RECORDED: [&str; 26] = [
    "Unauthorized",
    "AlreadyInitialized",
    "InvalidFeeBps",
    "InvalidFeeSplit",
    "FeeTooHigh",
    "ProtocolPaused",
    "AlreadyClaimed",
    "InvalidProof",
    "EpochClosed",
    "InvalidIndex",
    "InvalidAmount",
    "InvalidInputLength",
    "InvalidProofLength",
    "InvalidMint",
    "ReceiptRequired",
    "InvalidChannelState",
    "InvalidEpochState",
    "SlotMismatch",
    "InvalidStreamer",
    "InvalidEpoch",
    "ChannelNotInitialized",
    "EpochAlreadyInitialized",
    "EpochNotFullyClaimed",
    "EpochNotIncreasing",
    "EpochNotExpired",
    "InvalidPubkey",
];

const CLEAN: [&str; 38] = [
    "Unauthorized",
    "AlreadyInitialized",
    "InvalidFeeBps",
    "InvalidFeeSplit",
    "FeeTooHigh",
    "ProtocolPaused",
    "DripThresholdNotMet",
    "DripAlreadyExecuted",
    "InvalidDripTier",
    "InsufficientTreasuryBalance",
    "PoolNotInitialized",
    "VolumeTooLow",
    "AlreadyClaimed",
    "InvalidProof",
    "EpochClosed",
    "InvalidIndex",
    "InvalidAmount",
    "InsufficientPoints",
    "InvalidInputLength",
    "InvalidProofLength",
    "InvalidMint",
    "ReceiptRequired",
    "InvalidChannelState",
    "SlotMismatch",
    "MissingBubblegumAccounts",
    "InvalidStreamer",
    "InvalidEpoch",
    "InvalidEpochState",
    "ChannelNotInitialized",
    "EpochAlreadyInitialized",
    "EpochNotFullyClaimed",
    "EpochNotIncreasing",
    "InvalidPubkey",
    "InvalidUserHash",
    "DowngradeNotAllowed",
    "InvalidTier",
    "InvalidMintData",
    "MissingTransferFeeExtension",
];

/// Numbers of the framework that the program is built with, by which it refuses accounts.
const FRAMEWORK: [(u32, &str); 18] = [
    (100, "InstructionMissing"),
    (101, "InstructionFallbackNotFound"),
    (102, "InstructionDidNotDeserialize"),
    (2000, "ConstraintMut"),
    (2001, "ConstraintHasOne"),
    (2002, "ConstraintSigner"),
    (2003, "ConstraintRaw"),
    (2004, "ConstraintOwner"),
    (2006, "ConstraintSeeds"),
    (2012, "ConstraintAddress"),
    (3001, "AccountDiscriminatorNotFound"),
    (3002, "AccountDiscriminatorMismatch"),
    (3003, "AccountDidNotDeserialize"),
    (3005, "AccountNotEnoughKeys"),
    (3007, "AccountOwnedByWrongProgram"),
    (3008, "InvalidProgramId"),
    (3010, "AccountNotSigner"),
    (3012, "AccountNotInitialized"),
];

impl Line {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Recorded => &RECORDED,
            Self::Clean => &CLEAN,
        }
    }
}

/// The name of a number; none where this line has no such number.
#[must_use]
pub fn name(number: u32, line: Line) -> Option<&'static str> {
    if let Some(own) = number.checked_sub(FIRST) {
        return line.names().get(usize::try_from(own).ok()?).copied();
    }
    FRAMEWORK
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

/// The number of a name; none where this line has no such name.
#[must_use]
pub fn number(name: &str, line: Line) -> Option<u32> {
    let own = line.names().iter().position(|known| *known == name)?;
    Some(FIRST + u32::try_from(own).ok()?)
}

/// A number with its name, as people read it.
#[must_use]
pub fn describe(number: u32, line: Line) -> String {
    match name(number, line) {
        Some(name) => format!("{number} {name}"),
        None => format!("{number}, which has no name in this program"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_formats_have_their_names() {
        for (expected, name) in [
            (UNAUTHORIZED, "Unauthorized"),
            (PROTOCOL_PAUSED, "ProtocolPaused"),
            (recorded::ALREADY_CLAIMED, "AlreadyClaimed"),
            (recorded::INVALID_PROOF, "InvalidProof"),
            (recorded::INVALID_INDEX, "InvalidIndex"),
            (recorded::INVALID_INPUT_LENGTH, "InvalidInputLength"),
            (recorded::INVALID_PROOF_LENGTH, "InvalidProofLength"),
            (recorded::INVALID_MINT, "InvalidMint"),
            (recorded::RECEIPT_REQUIRED, "ReceiptRequired"),
            (recorded::INVALID_CHANNEL_STATE, "InvalidChannelState"),
            (recorded::SLOT_MISMATCH, "SlotMismatch"),
            (recorded::EPOCH_NOT_INCREASING, "EpochNotIncreasing"),
            (recorded::INVALID_PUBKEY, "InvalidPubkey"),
        ] {
            assert_eq!(number(name, Line::Recorded), Some(expected), "{name}");
            assert_eq!(super::name(expected, Line::Recorded), Some(name));
        }
    }

    #[test]
    fn the_same_number_has_another_name_in_the_other_line() {
        assert_eq!(
            describe(6023, Line::Recorded),
            "6023 EpochNotIncreasing".to_owned()
        );
        assert_eq!(describe(6023, Line::Clean), "6023 SlotMismatch");
        assert_eq!(number("EpochNotIncreasing", Line::Clean), Some(6031));
        assert_eq!(
            number("MissingTransferFeeExtension", Line::Clean),
            Some(6037)
        );
        for shared in 6000..=6005 {
            assert_eq!(name(shared, Line::Recorded), name(shared, Line::Clean));
        }
        assert_eq!(name(6026, Line::Recorded), None);
        assert_eq!(
            describe(3007, Line::Clean),
            "3007 AccountOwnedByWrongProgram"
        );
        assert_eq!(
            describe(u32::MAX, Line::Clean),
            "4294967295, which has no name in this program"
        );
    }
}
