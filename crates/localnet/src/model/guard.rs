//! Checks that every instruction makes of its accounts.

use solana_program_runtime::invoke_context::InvokeContext;
use solana_sdk::instruction::InstructionError;
use solana_sdk::pubkey::Pubkey;
use solana_svm_log_collector::ic_msg;
use twzrd_chain::program::Program;
use twzrd_chain::program::account::ProtocolState;
use twzrd_chain::program::error::{Line, name};

/// Numbers of the framework.
const CONSTRAINT_MUT: u32 = 2000;
const CONSTRAINT_SEEDS: u32 = 2006;
const NOT_READABLE: u32 = 3003;
const TOO_FEW_ACCOUNTS: u32 = 3005;
const WRONG_OWNER: u32 = 3007;
const WRONG_PROGRAM: u32 = 3008;
const NOT_SIGNER: u32 = 3010;
const NOT_INITIALIZED: u32 = 3012;

/// An error of the program, told in the log as the recorded one tells it.
pub(super) fn refuse(context: &InvokeContext<'_, '_>, number: u32) -> InstructionError {
    ic_msg!(
        context,
        "Program log: AnchorError occurred. Error Code: {}. Error Number: {}.",
        name(number, Line::Recorded).unwrap_or("Unknown"),
        number
    );
    InstructionError::Custom(number)
}

/// The accounts of the instruction that runs now.
pub(super) struct Guard<'a, 'b, 'c> {
    context: &'a InvokeContext<'b, 'c>,
    /// The program's own address.
    pub(super) id: Pubkey,
}

impl<'a, 'b, 'c> Guard<'a, 'b, 'c> {
    pub(super) fn of(context: &'a InvokeContext<'b, 'c>) -> Result<Self, InstructionError> {
        let id = *context
            .transaction_context
            .get_current_instruction_context()?
            .get_program_key()?;
        Ok(Self { context, id })
    }

    fn refuse<T>(&self, number: u32) -> Result<T, InstructionError> {
        Err(refuse(self.context, number))
    }

    /// The address of an account.
    pub(super) fn key(&self, place: u16) -> Result<Pubkey, InstructionError> {
        let instruction = self
            .context
            .transaction_context
            .get_current_instruction_context()?;
        if place >= instruction.get_number_of_instruction_accounts() {
            return self.refuse(TOO_FEW_ACCOUNTS);
        }
        instruction.get_key_of_instruction_account(place).copied()
    }

    /// The address of an account that signed.
    pub(super) fn signer(&self, place: u16) -> Result<Pubkey, InstructionError> {
        let key = self.key(place)?;
        let instruction = self
            .context
            .transaction_context
            .get_current_instruction_context()?;
        if !instruction.is_instruction_account_signer(place)? {
            return self.refuse(NOT_SIGNER);
        }
        self.writable(place)?;
        Ok(key)
    }

    /// Refuses an account that may not be written.
    pub(super) fn writable(&self, place: u16) -> Result<(), InstructionError> {
        self.key(place)?;
        let instruction = self
            .context
            .transaction_context
            .get_current_instruction_context()?;
        if instruction.is_instruction_account_writable(place)? {
            return Ok(());
        }
        self.refuse(CONSTRAINT_MUT)
    }

    /// Refuses an account of another address.
    pub(super) fn is(&self, place: u16, expected: &Pubkey) -> Result<(), InstructionError> {
        if self.key(place)? == *expected {
            return Ok(());
        }
        self.refuse(CONSTRAINT_SEEDS)
    }

    /// Refuses another program than the one that is expected.
    pub(super) fn is_program(&self, place: u16, expected: &Pubkey) -> Result<(), InstructionError> {
        if self.key(place)? == *expected {
            return Ok(());
        }
        self.refuse(WRONG_PROGRAM)
    }

    /// Owner, lamports and data of an account.
    pub(super) fn account(&self, place: u16) -> Result<(Pubkey, u64, Vec<u8>), InstructionError> {
        self.key(place)?;
        let instruction = self
            .context
            .transaction_context
            .get_current_instruction_context()?;
        let account = instruction.try_borrow_instruction_account(place)?;
        Ok((
            *account.get_owner(),
            account.get_lamports(),
            account.get_data().to_vec(),
        ))
    }

    /// The data of an account of the program; it has to be there.
    pub(super) fn own(&self, place: u16) -> Result<Vec<u8>, InstructionError> {
        let (owner, lamports, data) = self.account(place)?;
        if lamports == 0 && data.is_empty() {
            return self.refuse(NOT_INITIALIZED);
        }
        if owner != self.id {
            return self.refuse(WRONG_OWNER);
        }
        Ok(data)
    }

    /// The protocol's account and the program that it belongs to.
    pub(super) fn protocol(
        &self,
        place: u16,
    ) -> Result<(ProtocolState, Program), InstructionError> {
        let data = self.own(place)?;
        let Ok(state) = ProtocolState::decode(&data) else {
            return self.refuse(NOT_READABLE);
        };
        let program = Program {
            id: self.id,
            mint: state.mint,
        };
        self.is(place, &program.protocol_state().0)?;
        Ok((state, program))
    }

    /// Writes the data of an account.
    pub(super) fn write(&self, place: u16, data: &[u8]) -> Result<(), InstructionError> {
        self.writable(place)?;
        let instruction = self
            .context
            .transaction_context
            .get_current_instruction_context()?;
        instruction
            .try_borrow_instruction_account(place)?
            .set_data_from_slice(data)
    }
}
