//! The on-chain program, as a native program of the SVM.
//!
//! It does what the recorded one does, account bytes and error numbers included; the transcript
//! `golden/accounts.json` is the test. Layout packed-10x128. Of the instructions it knows those of
//! publishing, claiming and administration; any other is refused by its tag.

mod claim;
mod guard;
mod publish;

use borsh::BorshDeserialize;
use solana_program_runtime::declare_process_instruction;
use solana_program_runtime::invoke_context::InvokeContext;
use solana_program_runtime::solana_sbpf::program::BuiltinFunctionDefinition as _;
use solana_sdk::instruction::InstructionError;
use solana_sdk::pubkey::Pubkey;
use solana_svm_log_collector::ic_msg;
use twzrd_chain::program::instruction::{
    ClaimChannelOpen, Flag, InitializeChannel, NewKey, SetChannelMerkleRoot,
};
use twzrd_chain::program::{error, instruction_tag};

use guard::{Guard, refuse};

/// Compute units of any instruction, without those of the programs that it calls.
const UNITS: u64 = 6_000;

/// Compute units of hashing one node of a proof.
const UNITS_A_NODE: u64 = 500;

/// Numbers of the framework: the data is no instruction, and an instruction's arguments are not.
const UNKNOWN_INSTRUCTION: u32 = 101;
const UNREADABLE_INSTRUCTION: u32 = 102;

#[allow(
    missing_docs,
    unreachable_pub,
    reason = "the macro writes an undocumented public struct"
)]
mod entry {
    use super::{UNITS, declare_process_instruction, run};

    declare_process_instruction!(Model, UNITS, |invoke_context| { run(invoke_context) });
}

/// Puts the model at the address of the program.
pub fn install(svm: &mut litesvm::LiteSVM, id: Pubkey) {
    svm.add_builtin(id, entry::Model::register);
}

fn run(context: &mut InvokeContext<'_, '_>) -> Result<(), InstructionError> {
    let data = context
        .transaction_context
        .get_current_instruction_context()?
        .get_instruction_data()
        .to_vec();
    let Some((tag, rest)) = data.split_first_chunk::<8>() else {
        return Err(refuse(context, 100));
    };
    let named = |name: &str| *tag == instruction_tag(name);
    if named("set_channel_merkle_root") {
        let arguments: SetChannelMerkleRoot = read(context, "SetChannelMerkleRoot", rest)?;
        publish::set_root(context, &arguments)
    } else if named("claim_channel_open") {
        let arguments: ClaimChannelOpen = read(context, "ClaimChannelOpen", rest)?;
        claim::pay(context, &arguments)
    } else if named("initialize_channel") {
        let arguments: InitializeChannel = read(context, "InitializeChannel", rest)?;
        publish::initialize(context, &arguments)
    } else if named("update_publisher_open") {
        let arguments: NewKey = read(context, "UpdatePublisherOpen", rest)?;
        let key = checked(context, arguments)?;
        administer(context, |state| state.publisher = key)
    } else if named("update_admin_open") {
        let arguments: NewKey = read(context, "UpdateAdminOpen", rest)?;
        let key = checked(context, arguments)?;
        administer(context, |state| state.admin = key)
    } else if named("set_paused_open") {
        let arguments: Flag = read(context, "SetPausedOpen", rest)?;
        administer(context, |state| state.paused = arguments.value)
    } else if named("set_policy_open") {
        let arguments: Flag = read(context, "SetPolicyOpen", rest)?;
        administer(context, |state| state.require_receipt = arguments.value)
    } else {
        ic_msg!(
            context,
            "Program log: the model has no instruction {:02x?}",
            tag
        );
        Err(refuse(context, UNKNOWN_INSTRUCTION))
    }
}

/// Reads the arguments and says which instruction it is. Bytes behind them are left alone, as the
/// recorded program leaves them.
fn read<T: BorshDeserialize>(
    context: &InvokeContext<'_, '_>,
    name: &str,
    mut rest: &[u8],
) -> Result<T, InstructionError> {
    ic_msg!(context, "Program log: Instruction: {}", name);
    T::deserialize(&mut rest).map_err(|_| refuse(context, UNREADABLE_INSTRUCTION))
}

fn checked(context: &InvokeContext<'_, '_>, new: NewKey) -> Result<Pubkey, InstructionError> {
    let key = Pubkey::new_from_array(new.key);
    if key == Pubkey::default() {
        return Err(refuse(context, error::recorded::INVALID_PUBKEY));
    }
    Ok(key)
}

/// Changes the protocol's account, for its admin alone.
fn administer(
    context: &InvokeContext<'_, '_>,
    change: impl FnOnce(&mut twzrd_chain::program::account::ProtocolState),
) -> Result<(), InstructionError> {
    let guard = Guard::of(context)?;
    let signer = guard.signer(0)?;
    let (mut state, _) = guard.protocol(1)?;
    if signer != state.admin {
        return Err(refuse(context, error::UNAUTHORIZED));
    }
    change(&mut state);
    guard.write(1, &state.encode())
}
