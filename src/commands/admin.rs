//! `twzrd admin`

use std::fmt::Write;

use twzrd_chain::admin::{Admin, AdminConfig, AdminError, Done, Operation, show};
use twzrd_chain::keys::Signer;
use twzrd_chain::program;
use twzrd_chain::rpc::Pool;
use twzrd_domain::identity::Channel;

use super::print;
use crate::cli::{self, AdminWhat};
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;
use crate::settle::{Settling, target_config};

/// Shows the program's state, or changes it.
pub(super) async fn run(settings: &Settings, args: cli::Admin) -> Result<Code, Failure> {
    let settling = Settling::open(settings)?;
    let pool = settling.pool.clone().ok_or_else(|| {
        let expected = "no node is named; expected chain.rpc_urls or TWZRD_RPC_URLS";
        fail(Code::Config, expected)
    })?;
    let operation = match &args.what {
        AdminWhat::Show { channel } => return shown(&pool, &settling, channel.as_deref()).await,
        AdminWhat::SetPaused { value } => Operation::SetPaused(*value),
        AdminWhat::SetPolicy { require_receipt } => Operation::SetPolicy(*require_receipt),
        AdminWhat::UpdatePublisher { address } => Operation::UpdatePublisher(key(address)?),
        AdminWhat::UpdateAdmin { address } => Operation::UpdateAdmin(key(address)?),
        AdminWhat::InitializeChannel { channel: name } => {
            Operation::InitializeChannel(channel(name)?)
        }
    };
    let signer = match &args.keypair {
        Some(file) => Some(Signer::from_file(file).or_fail(Code::Config)?),
        None => settling.signer.clone(),
    };
    let signer = signer.ok_or_else(|| {
        let expected =
            "no key signs; expected --keypair, chain.keypair_file or TWZRD_PUBLISHER_KEYPAIR";
        fail(Code::Config, expected)
    })?;
    let config = AdminConfig {
        transactions: target_config(settings)?,
        ..AdminConfig::default()
    };
    let admin = Admin::new(pool, settling.program, signer, config);
    let plan = admin.plan(&operation).await.map_err(failed)?;
    print(&format!("{plan}\n"))?;
    if args.dry_run {
        print("nothing was sent\n")?;
        return Ok(if plan.refused.is_some() {
            Code::No
        } else {
            Code::Ok
        });
    }
    if plan.refused.is_some() {
        return Ok(Code::No);
    }
    let done = admin.execute(&operation).await.map_err(failed)?;
    print(&told(&done))?;
    Ok(Code::Ok)
}

async fn shown(pool: &Pool, settling: &Settling, name: Option<&str>) -> Result<Code, Failure> {
    let channel = name.map(channel).transpose()?;
    let accounts = show(pool, &settling.program, channel.as_ref()).await;
    let accounts = accounts.map_err(failed)?;
    let text = accounts.iter().fold(String::new(), |mut text, account| {
        let _ = writeln!(text, "{account}");
        text
    });
    print(&text)?;
    Ok(Code::Ok)
}

fn told(done: &Done) -> String {
    let mut text = match (&done.signature, done.slot) {
        (Some(signature), Some(slot)) => format!("finalized in slot {slot}: {signature}\n"),
        _ => "held already: nothing was sent\n".to_owned(),
    };
    for change in &done.changes {
        let _ = writeln!(text, "  {change}");
    }
    text.push_str("read back: the account holds what was asked\n");
    text
}

fn key(text: &str) -> Result<solana_sdk::pubkey::Pubkey, Failure> {
    program::key("address", text).or_fail(Code::Usage)
}

fn channel(name: &str) -> Result<Channel, Failure> {
    Channel::parse(name)
        .map_err(|error| fail(Code::Usage, format_args!("the channel {name:?}: {error}")))
}

fn failed(error: AdminError) -> Failure {
    let code = match &error {
        AdminError::Chain(_) | AdminError::NotVerified { .. } => Code::Unavailable,
        _ => Code::No,
    };
    Failure {
        code,
        error: error.into(),
    }
}
