//! Arguments of instructions that are read and never built here.

use borsh::BorshDeserialize;

#[derive(BorshDeserialize)]
pub(super) struct InitializeMint {
    pub(super) fee_bps: u16,
    pub(super) max_fee: u64,
}

#[derive(BorshDeserialize)]
pub(super) struct SetMerkleRootRing {
    pub(super) root: [u8; 32],
    pub(super) epoch: u64,
    pub(super) claim_count: u16,
    pub(super) subject: [u8; 32],
}

#[derive(BorshDeserialize)]
pub(super) struct SetMerkleRoot {
    pub(super) root: [u8; 32],
    pub(super) epoch: u64,
    pub(super) claim_count: u32,
    pub(super) subject: [u8; 32],
}

/// What both lines' `claim_with_ring` begins with. Behind it is the subject, and in the recorded
/// line an id in front of that.
#[derive(BorshDeserialize)]
pub(super) struct ClaimWithRing {
    pub(super) epoch: u64,
    pub(super) index: u32,
    pub(super) amount: u64,
    pub(super) proof: Vec<[u8; 32]>,
}

/// What both lines' `claim_open` begins with. Behind it are the options of the clean line, or
/// nothing.
#[derive(BorshDeserialize)]
pub(super) struct ClaimOpen {
    pub(super) streamer_index: u8,
    pub(super) index: u32,
    pub(super) amount: u64,
    pub(super) id: String,
    pub(super) proof: Vec<[u8; 32]>,
}

#[derive(BorshDeserialize)]
pub(super) struct ClaimOpenOptions {
    pub(super) channel: Option<String>,
    pub(super) twzrd_epoch: Option<u64>,
    pub(super) receipt: Option<Receipt>,
}

#[derive(BorshDeserialize)]
pub(super) struct Receipt {
    pub(super) owner: [u8; 32],
    pub(super) delegate: [u8; 32],
    pub(super) leaf_index: u32,
    pub(super) proof: Vec<[u8; 32]>,
    pub(super) metadata_hash: [u8; 32],
}
