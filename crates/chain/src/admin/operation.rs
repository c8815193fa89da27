//! What an operator can ask for.

use std::fmt;

use solana_sdk::instruction::Instruction;
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::identity::Channel;
use twzrd_domain::leaf;

use super::{AdminError, Field, fields};
use crate::program::account::ProtocolState;
use crate::program::{Program, instruction};
use crate::target::accounts::Found;

/// What an operator can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Pauses the program, or lets it go on.
    SetPaused(bool),
    /// Says whether a claim needs a receipt.
    SetPolicy(bool),
    /// Names another publisher.
    UpdatePublisher(Pubkey),
    /// Names another admin. The key that signs is none afterwards.
    UpdateAdmin(Pubkey),
    /// Makes a channel's account, where publishing does not.
    InitializeChannel(Channel),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetPaused(value) => write!(f, "set-paused {value}"),
            Self::SetPolicy(value) => write!(f, "set-policy {value}"),
            Self::UpdatePublisher(key) => write!(f, "update-publisher {key}"),
            Self::UpdateAdmin(key) => write!(f, "update-admin {key}"),
            Self::InitializeChannel(channel) => write!(f, "initialize-channel {channel}"),
        }
    }
}

impl Operation {
    /// Refuses what nobody can mean: with the zero key as admin, nobody ever is.
    pub(super) fn check(&self) -> Result<(), AdminError> {
        match self {
            Self::UpdateAdmin(key) if *key == Pubkey::default() => Err(AdminError::Senseless {
                operation: self.to_string(),
                reason: "nobody holds the zero key, and the program would have no admin for ever",
            }),
            _ => Ok(()),
        }
    }

    /// The account that it changes.
    #[must_use]
    pub fn account(&self, program: &Program) -> Pubkey {
        match self {
            Self::InitializeChannel(channel) => program.channel_state(channel).0,
            _ => program.protocol_state().0,
        }
    }

    pub(super) fn instruction(&self, program: &Program, signer: &Pubkey) -> Instruction {
        match self {
            Self::SetPaused(value) => instruction::set_paused_open(program, signer, *value),
            Self::SetPolicy(value) => instruction::set_policy_open(program, signer, *value),
            Self::UpdatePublisher(key) => instruction::update_publisher_open(program, signer, key),
            Self::UpdateAdmin(key) => instruction::update_admin_open(program, signer, key),
            Self::InitializeChannel(channel) => {
                instruction::initialize_channel(program, signer, channel)
            }
        }
    }

    /// The fields of the account that it changes.
    pub(super) fn fields(
        &self,
        program: &Program,
        account: Option<&Found>,
    ) -> Result<Vec<Field>, AdminError> {
        let address = self.account(program);
        match self {
            Self::InitializeChannel(_) => fields::channel(program, &address, account),
            _ => fields::protocol(program, &address, account),
        }
    }

    /// Whether the account holds what is asked.
    pub(super) fn is_held(
        &self,
        program: &Program,
        account: Option<&Found>,
    ) -> Result<bool, AdminError> {
        let address = self.account(program);
        let holds = |check: &dyn Fn(&ProtocolState) -> bool| {
            let state = fields::protocol_state(program, &address, account)?;
            Ok(state.is_some_and(|state| check(&state)))
        };
        match self {
            Self::SetPaused(value) => holds(&|it| it.paused == *value),
            Self::SetPolicy(value) => holds(&|it| it.require_receipt == *value),
            Self::UpdatePublisher(key) => holds(&|it| it.publisher == *key),
            Self::UpdateAdmin(key) => holds(&|it| it.admin == *key),
            Self::InitializeChannel(channel) => {
                let state = fields::channel_state(program, &address, account)?;
                let subject = leaf::subject(channel.as_str());
                Ok(state.is_some_and(|it| it.mint == program.mint && it.subject == subject))
            }
        }
    }
}
