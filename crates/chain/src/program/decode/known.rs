//! Every instruction of both lines, by name, with what reads it.

use borsh::BorshDeserialize;
use compact_str::CompactString;
use serde_json::{Value, json};
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::Deed;
use twzrd_domain::identity::Channel;

use super::arguments::{
    ClaimOpen, ClaimOpenOptions, ClaimWithRing, InitializeMint, SetMerkleRoot, SetMerkleRootRing,
};
use super::{DecodeError, hex};
use crate::program::instruction::{
    ClaimChannelOpen, Flag, InitializeChannel, NewKey, SetChannelMerkleRoot,
};

/// What an instruction says.
pub(super) struct Content {
    pub(super) fields: Value,
    pub(super) deed: Deed,
    pub(super) roles: &'static [&'static str],
}

/// Takes what it knows off the front of the bytes.
type Reader = fn(&'static str, &mut &[u8], &[Pubkey]) -> Result<Content, DecodeError>;

/// An instruction.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) read: Reader,
}

const fn known(name: &'static str, read: Reader) -> Known {
    Known { name, read }
}

pub(super) static KNOWN: [Known; 38] = [
    known("initialize_mint_open", initialize_mint_open),
    known("initialize_channel", initialize_channel),
    known("set_channel_merkle_root", set_channel_merkle_root),
    known("set_merkle_root_ring", set_merkle_root_ring),
    known("set_merkle_root", set_merkle_root),
    known("set_merkle_root_open", set_merkle_root),
    known("claim_channel_open", claim_channel_open),
    known("claim_with_ring", claim_with_ring),
    known("claim_open", claim_open),
    known("update_publisher_open", new_key),
    known("update_admin_open", new_key),
    known("set_paused_open", flag),
    known("set_policy_open", flag),
    known("close_channel_state", close_channel_state),
    known("initialize_mint", by_name),
    known("claim", by_name),
    known("claim_channel_open_with_receipt", by_name),
    known("claim_points_open", by_name),
    known("close_epoch_state", by_name),
    known("close_epoch_state_open", by_name),
    known("close_old_epoch_state", by_name),
    known("force_close_epoch_state_legacy", by_name),
    known("force_close_epoch_state_open", by_name),
    known("harvest_fees", by_name),
    known("mint_passport_open", by_name),
    known("reissue_passport_open", by_name),
    known("require_points_ge", by_name),
    known("revoke_passport_open", by_name),
    known("set_paused", by_name),
    known("set_policy", by_name),
    known("transfer_hook", by_name),
    known("update_admin", by_name),
    known("update_fee_config", by_name),
    known("update_fee_config_open", by_name),
    known("update_publisher", by_name),
    known("update_tier_multipliers", by_name),
    known("upgrade_passport_open", by_name),
    known("upgrade_passport_proved", by_name),
];

const CLAIM_ACCOUNTS: &[&str] = &[
    "claimer",
    "protocol_state",
    "channel_state",
    "mint",
    "treasury_ata",
    "claimer_ata",
    "token_program",
    "associated_token_program",
    "system_program",
];

/// Reads arguments, and leaves whatever is behind them: so does the program.
fn begin<T: BorshDeserialize>(name: &'static str, data: &mut &[u8]) -> Result<T, DecodeError> {
    T::deserialize(data).map_err(|error| DecodeError::Arguments {
        name,
        reason: error.to_string(),
    })
}

fn other(fields: Value, roles: &'static [&'static str]) -> Content {
    Content {
        fields,
        deed: Deed::Other,
        roles,
    }
}

fn initialize_mint_open(
    name: &'static str,
    data: &mut &[u8],
    _: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: InitializeMint = begin(name, data)?;
    Ok(other(
        json!({ "fee_bps": it.fee_bps, "max_fee": it.max_fee }),
        &[
            "admin",
            "mint",
            "protocol_state",
            "fee_config",
            "system_program",
        ],
    ))
}

fn initialize_channel(
    name: &'static str,
    data: &mut &[u8],
    _: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: InitializeChannel = begin(name, data)?;
    Ok(other(
        json!({ "subject": hex(&it.subject) }),
        &["payer", "protocol_state", "channel_state", "system_program"],
    ))
}

fn set_channel_merkle_root(
    name: &'static str,
    data: &mut &[u8],
    _: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: SetChannelMerkleRoot = begin(name, data)?;
    Ok(Content {
        fields: json!({ "channel": it.channel, "epoch": it.epoch, "root": hex(&it.root) }),
        deed: Deed::Publish {
            channel: channel(&it.channel),
            number: it.epoch,
            root: it.root,
        },
        roles: &[
            "publisher",
            "protocol_state",
            "channel_state",
            "system_program",
        ],
    })
}

fn set_merkle_root_ring(
    name: &'static str,
    data: &mut &[u8],
    _: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: SetMerkleRootRing = begin(name, data)?;
    let fields = json!({
        "root": hex(&it.root),
        "epoch": it.epoch,
        "claim_count": it.claim_count,
        "subject": hex(&it.subject),
    });
    Ok(Content {
        fields,
        deed: publish_by_subject(it.epoch, it.root),
        roles: &[
            "update_authority",
            "protocol_state",
            "channel_state",
            "system_program",
        ],
    })
}

fn set_merkle_root(
    name: &'static str,
    data: &mut &[u8],
    _: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: SetMerkleRoot = begin(name, data)?;
    let fields = json!({
        "root": hex(&it.root),
        "epoch": it.epoch,
        "claim_count": it.claim_count,
        "subject": hex(&it.subject),
    });
    Ok(Content {
        fields,
        deed: publish_by_subject(it.epoch, it.root),
        roles: &[
            "update_authority",
            "protocol_state",
            "epoch_state",
            "system_program",
        ],
    })
}

const fn publish_by_subject(number: u64, root: [u8; 32]) -> Deed {
    Deed::Publish {
        channel: None,
        number,
        root,
    }
}

fn claim_channel_open(
    name: &'static str,
    data: &mut &[u8],
    accounts: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: ClaimChannelOpen = begin(name, data)?;
    let deed = Deed::Claim {
        channel: channel(&it.channel),
        number: it.epoch,
        index: it.index,
        amount: it.amount,
        claimer: claimer(name, accounts)?,
    };
    let fields = json!({
        "channel": it.channel,
        "epoch": it.epoch,
        "index": it.index,
        "amount": it.amount,
        "id": it.id,
        "proof": hexes(&it.proof),
    });
    Ok(Content {
        fields,
        deed,
        roles: CLAIM_ACCOUNTS,
    })
}

/// Both lines: behind what they share the clean one has the subject alone, 32 bytes, and the
/// recorded one an id in front of it, at least 36. The clean one pays nothing, so that it is no
/// claim.
fn claim_with_ring(
    name: &'static str,
    data: &mut &[u8],
    accounts: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: ClaimWithRing = begin(name, data)?;
    let mut fields = json!({
        "epoch": it.epoch,
        "index": it.index,
        "amount": it.amount,
        "proof": hexes(&it.proof),
    });
    if data.len() == 32 {
        fields["subject"] = hex(std::mem::take(data)).into();
        let roles = &[
            "claimer",
            "protocol_state",
            "channel_state",
            "system_program",
        ];
        return Ok(other(fields, roles));
    }
    let (id, subject): (String, [u8; 32]) = begin(name, data)?;
    fields["id"] = id.into();
    fields["subject"] = hex(&subject).into();
    let deed = Deed::Claim {
        channel: None,
        number: it.epoch,
        index: it.index,
        amount: it.amount,
        claimer: claimer(name, accounts)?,
    };
    Ok(Content {
        fields,
        deed,
        roles: CLAIM_ACCOUNTS,
    })
}

/// Its epoch is only in the account that it names, so that it is told as something else.
fn claim_open(
    name: &'static str,
    data: &mut &[u8],
    accounts: &[Pubkey],
) -> Result<Content, DecodeError> {
    let it: ClaimOpen = begin(name, data)?;
    let mut fields = json!({
        "streamer_index": it.streamer_index,
        "index": it.index,
        "amount": it.amount,
        "id": it.id,
        "proof": hexes(&it.proof),
    });
    if !data.is_empty() {
        let options: ClaimOpenOptions = begin(name, data)?;
        fields["channel"] = options.channel.into();
        fields["twzrd_epoch"] = options.twzrd_epoch.into();
        fields["receipt"] = options.receipt.map_or(Value::Null, |it| {
            json!({
                "owner": Pubkey::from(it.owner).to_string(),
                "delegate": Pubkey::from(it.delegate).to_string(),
                "leaf_index": it.leaf_index,
                "proof": hexes(&it.proof),
                "metadata_hash": hex(&it.metadata_hash),
            })
        });
    }
    // The recorded line has nine accounts, the clean one three more in front of the programs.
    let roles: &[&str] = if accounts.len() < 12 {
        &[
            "claimer",
            "protocol_state",
            "epoch_state",
            "mint",
            "treasury_ata",
            "claimer_ata",
            "token_program",
            "associated_token_program",
            "system_program",
        ]
    } else {
        &[
            "claimer",
            "protocol_state",
            "epoch_state",
            "mint",
            "treasury_ata",
            "claimer_ata",
            "twzrd_epoch_state",
            "merkle_tree",
            "compression",
            "token_program",
            "associated_token_program",
            "system_program",
        ]
    };
    Ok(other(fields, roles))
}

const OF_ADMIN: &[&str] = &["admin", "protocol_state"];

fn new_key(name: &'static str, data: &mut &[u8], _: &[Pubkey]) -> Result<Content, DecodeError> {
    let it: NewKey = begin(name, data)?;
    let fields = json!({ "key": Pubkey::from(it.key).to_string() });
    Ok(other(fields, OF_ADMIN))
}

fn flag(name: &'static str, data: &mut &[u8], _: &[Pubkey]) -> Result<Content, DecodeError> {
    let it: Flag = begin(name, data)?;
    Ok(other(json!({ "value": it.value }), OF_ADMIN))
}

fn close_channel_state(
    _: &'static str,
    _: &mut &[u8],
    _: &[Pubkey],
) -> Result<Content, DecodeError> {
    let roles = &[
        "authority",
        "protocol_state",
        "channel_state",
        "rent_receiver",
    ];
    Ok(other(json!({}), roles))
}

/// An instruction whose arguments are not written down anywhere: its name, and its bytes.
fn by_name(_: &'static str, data: &mut &[u8], _: &[Pubkey]) -> Result<Content, DecodeError> {
    Ok(other(json!({ "data": hex(std::mem::take(data)) }), &[]))
}

fn claimer(name: &'static str, accounts: &[Pubkey]) -> Result<CompactString, DecodeError> {
    let first = accounts.first().ok_or(DecodeError::Accounts {
        name,
        found: 0,
        expected: CLAIM_ACCOUNTS.len(),
    })?;
    Ok(CompactString::from(first.to_string()))
}

/// A name as the program takes it, in ASCII lower case. What is no name of ours is none: its
/// subject is another's.
fn channel(text: &str) -> Option<Channel> {
    let channel: Channel = text.parse().ok()?;
    (channel.as_str() == text.to_ascii_lowercase()).then_some(channel)
}

fn hexes(nodes: &[[u8; 32]]) -> Vec<String> {
    nodes.iter().map(|node| hex(node)).collect()
}
