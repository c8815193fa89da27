//! The program's instructions, built. Their arguments read back in [`super::decode`].

use borsh::{BorshDeserialize, BorshSerialize};
use solana_sdk::instruction::{AccountMeta, Instruction};
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::identity::Channel;
use twzrd_domain::leaf;

use super::{ASSOCIATED_TOKEN_PROGRAM, Program, SYSTEM_PROGRAM, TOKEN_PROGRAM, instruction_tag};

/// The arguments of `set_channel_merkle_root`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SetChannelMerkleRoot {
    /// The channel's name.
    pub channel: String,
    /// The epoch's number.
    pub epoch: u64,
    /// The root.
    pub root: [u8; 32],
}

/// The arguments of `claim_channel_open`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClaimChannelOpen {
    /// The channel's name.
    pub channel: String,
    /// The epoch's number.
    pub epoch: u64,
    /// The place in the sealed order.
    pub index: u32,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// `twitch:<channel>:<login>`, or the first 16 hex characters of the user hash.
    pub id: String,
    /// The proof, from the leaf up.
    pub proof: Vec<[u8; 32]>,
}

/// The arguments of `initialize_channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InitializeChannel {
    /// The channel's subject.
    pub subject: [u8; 32],
}

/// The argument of `update_publisher_open` and `update_admin_open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct NewKey {
    /// The new key.
    pub key: [u8; 32],
}

/// The argument of `set_paused_open` and `set_policy_open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Flag {
    /// The new value.
    pub value: bool,
}

/// Publishes a root. The signer pays, also for the channel's account where the program makes it.
#[must_use]
pub fn set_channel_merkle_root(
    program: &Program,
    publisher: &Pubkey,
    channel: &Channel,
    number: u64,
    root: [u8; 32],
) -> Instruction {
    let arguments = SetChannelMerkleRoot {
        channel: channel.as_str().to_owned(),
        epoch: number,
        root,
    };
    Instruction {
        program_id: program.id,
        accounts: vec![
            AccountMeta::new(*publisher, true),
            AccountMeta::new(program.protocol_state().0, false),
            AccountMeta::new(program.channel_state(channel).0, false),
            AccountMeta::new_readonly(SYSTEM_PROGRAM, false),
        ],
        data: data("set_channel_merkle_root", &arguments),
    }
}

/// What is claimed: a leaf of a claim tree and its proof.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The epoch's number.
    pub number: u64,
    /// The place in the sealed order.
    pub index: u32,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// The id that the leaf binds.
    pub id: &'a str,
    /// The proof, from the leaf up.
    pub proof: &'a [[u8; 32]],
}

/// Claims. The claimer signs and pays.
#[must_use]
pub fn claim_channel_open(
    program: &Program,
    claimer: &Pubkey,
    channel: &Channel,
    claim: &Claim<'_>,
) -> Instruction {
    let arguments = ClaimChannelOpen {
        channel: channel.as_str().to_owned(),
        epoch: claim.number,
        index: claim.index,
        amount: claim.amount,
        id: claim.id.to_owned(),
        proof: claim.proof.to_vec(),
    };
    Instruction {
        program_id: program.id,
        accounts: vec![
            AccountMeta::new(*claimer, true),
            AccountMeta::new(program.protocol_state().0, false),
            AccountMeta::new(program.channel_state(channel).0, false),
            AccountMeta::new_readonly(program.mint, false),
            AccountMeta::new(program.treasury(), false),
            AccountMeta::new(program.token_account(claimer), false),
            AccountMeta::new_readonly(TOKEN_PROGRAM, false),
            AccountMeta::new_readonly(ASSOCIATED_TOKEN_PROGRAM, false),
            AccountMeta::new_readonly(SYSTEM_PROGRAM, false),
        ],
        data: data("claim_channel_open", &arguments),
    }
}

/// Makes a channel's account, where publishing does not.
#[must_use]
pub fn initialize_channel(program: &Program, payer: &Pubkey, channel: &Channel) -> Instruction {
    let subject = leaf::subject(channel.as_str());
    Instruction {
        program_id: program.id,
        accounts: vec![
            AccountMeta::new(*payer, true),
            AccountMeta::new_readonly(program.protocol_state().0, false),
            AccountMeta::new(program.channel_state_of(&subject).0, false),
            AccountMeta::new_readonly(SYSTEM_PROGRAM, false),
        ],
        data: data("initialize_channel", &InitializeChannel { subject }),
    }
}

/// Names another publisher.
#[must_use]
pub fn update_publisher_open(program: &Program, admin: &Pubkey, publisher: &Pubkey) -> Instruction {
    let key = publisher.to_bytes();
    of_admin(program, admin, "update_publisher_open", &NewKey { key })
}

/// Names another admin.
#[must_use]
pub fn update_admin_open(program: &Program, admin: &Pubkey, new: &Pubkey) -> Instruction {
    let key = new.to_bytes();
    of_admin(program, admin, "update_admin_open", &NewKey { key })
}

/// Pauses the program, or lets it go on.
#[must_use]
pub fn set_paused_open(program: &Program, admin: &Pubkey, value: bool) -> Instruction {
    of_admin(program, admin, "set_paused_open", &Flag { value })
}

/// Says whether a claim needs a receipt.
#[must_use]
pub fn set_policy_open(program: &Program, admin: &Pubkey, value: bool) -> Instruction {
    of_admin(program, admin, "set_policy_open", &Flag { value })
}

fn of_admin(
    program: &Program,
    admin: &Pubkey,
    name: &str,
    arguments: &impl BorshSerialize,
) -> Instruction {
    Instruction {
        program_id: program.id,
        accounts: vec![
            AccountMeta::new(*admin, true),
            AccountMeta::new(program.protocol_state().0, false),
        ],
        data: data(name, arguments),
    }
}

/// The tag, then the arguments. Writing to memory fails only for a text of more than 4 GiB; what
/// is then left is no instruction, and the program refuses it.
fn data(name: &str, arguments: &impl BorshSerialize) -> Vec<u8> {
    let mut data = instruction_tag(name).to_vec();
    if arguments.serialize(&mut data).is_err() {
        data.clear();
    }
    data
}
