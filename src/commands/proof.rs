//! `twzrd proof` and `twzrd verify`

use std::fs::File;
use std::io::{self, Read};

use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::ports::ReportStore;
use twzrd_domain::proof::{PresenceProof, ProveError, prove as make_proof};

use super::{data_folder, print};
use crate::cli;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;
use crate::wiring::DataFolder;

/// The largest proof that is read, in bytes. A proof of 20 nodes in each tree has 4,000.
const MAX_PROOF_BYTES: u64 = 65_536;

/// Prints a proof.
pub(super) async fn prove(settings: &Settings, args: cli::Proof) -> Result<Code, Failure> {
    let channel = Channel::parse(&args.channel).map_err(|error| {
        fail(
            Code::Usage,
            format_args!("--channel {:?}: {error}", args.channel),
        )
    })?;
    let login = Login::parse(&args.user)
        .map_err(|error| fail(Code::Usage, format_args!("--user {:?}: {error}", args.user)))?;
    let folder = data_folder(args.data.data, settings);
    let store = DataFolder::existing(&folder)?
        .open_existing_store(settings)
        .await?;
    let epoch = Epoch(args.epoch);
    // No column holds an epoch beyond that, so none can be sealed.
    let material = match i64::try_from(args.epoch) {
        Ok(_) => store.proof_material(epoch, &channel).await?,
        Err(_) => None,
    };
    let Some(material) = material else {
        let message =
            format_args!("{channel} has no sealed epoch {epoch} with its trees built").to_string();
        return Err(fail(Code::No, message));
    };
    let proof = make_proof(&material, &login).map_err(|error| {
        let code = match error {
            ProveError::Absent { .. } => Code::No,
            _ => Code::Data,
        };
        Failure {
            code,
            error: error.into(),
        }
    })?;
    let text = serde_json::to_string_pretty(&proof).or_fail(Code::Software)?;
    print(&format!("{text}\n"))?;
    Ok(Code::Ok)
}

/// Checks a proof.
pub(super) fn verify(args: &cli::Verify) -> Result<Code, Failure> {
    let unreadable = |error: io::Error| {
        fail(
            Code::NoInput,
            format_args!("{} cannot be read: {error}", args.file),
        )
    };
    let input: Box<dyn Read> = if args.file == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&args.file).map_err(unreadable)?)
    };
    let mut text = Vec::new();
    input
        .take(MAX_PROOF_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_PROOF_BYTES {
        return Err(fail(
            Code::Data,
            format_args!(
                "{} has more than {MAX_PROOF_BYTES} bytes; expected a proof as `twzrd proof` prints it",
                args.file
            ),
        ));
    }
    let proof: PresenceProof = serde_json::from_slice(&text).map_err(|error| {
        fail(
            Code::Data,
            format_args!(
                "{} is no proof: {error}; expected JSON as `twzrd proof` prints it",
                args.file
            ),
        )
    })?;
    match proof.verify() {
        Ok(()) => {
            print(&format!(
                "valid: {} took part in {} in epoch {}, as {} of {}\nparticipation root {}\nclaim root         {}\nCompare roots and number of participants with those that were published.\n",
                proof.user,
                proof.channel,
                proof.epoch,
                proof.index + 1,
                proof.participants,
                proof.participation.root,
                proof.claim.root
            ))?;
            Ok(Code::Ok)
        }
        Err(error) => {
            print(&format!("not valid: {error}\n"))?;
            Ok(Code::No)
        }
    }
}
