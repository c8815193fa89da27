//! What each command does.

mod admin;
mod channels;
mod check;
mod proof;
mod publish;
mod replay;
mod run;
mod settlement;
mod status;
mod suppress;

use std::io::{self, Write};
use std::path::PathBuf;

use figment::value::Value;

use crate::cli::{Cli, Command};
use crate::demo::{self, DemoFolder};
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;
use crate::settings::layers::{Flags, Layers};
use crate::telemetry::{self, Terminal};

/// Runs a command to its end.
///
/// # Errors
/// What went wrong, with the code that the process ends with.
pub fn run(cli: Cli) -> Result<Code, Failure> {
    let mut flags = Flags {
        file: cli.settings,
        values: Vec::new(),
    };
    let mut flag = |key, value: Option<Value>| flags.values.extend(value.map(|value| (key, value)));
    flag("log.level", cli.log_level.map(Value::from));
    match &cli.command {
        // These read no settings beyond what they print, and must work when the settings do not.
        Command::Check(args) => return check::run(args, &flags),
        Command::Verify(args) => return proof::verify(args),
        Command::Status(args) => return status::run(args, &flags),
        Command::Replay(args) => flag("epoch.seconds", args.epoch_seconds.map(Value::from)),
        Command::Proof(_)
        | Command::Suppress(_)
        | Command::Run(_)
        | Command::Channels(_)
        | Command::Publish(_)
        | Command::Settlement(_)
        | Command::Admin(_)
        | Command::Demo(_) => {}
    }
    let layers = Layers::read(&flags).or_fail(Code::Config)?;
    let settings = layers.settings().or_fail(Code::Config)?;
    let terminal = Terminal::default();
    let demo = match &cli.command {
        Command::Demo(args) => Some(DemoFolder::of(args.data.clone())?),
        _ => None,
    };
    match &demo {
        Some(folder) => telemetry::start_in_file(&settings.log_level, &folder.log()),
        None => telemetry::start(&settings.log_level, &terminal),
    }
    .or_fail(Code::Config)?;
    telemetry::log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(Code::Software)?;
    let done = runtime.block_on(async {
        match (cli.command, demo) {
            (Command::Demo(args), Some(folder)) => demo::run(&settings, &folder, &args).await,
            (command, _) => command_of(command, &settings, (flags, layers), &terminal).await,
        }
    });
    // A thread that reads standard input may wait for ever, and nobody waits for it any more.
    runtime.shutdown_background();
    done
}

async fn command_of(
    command: Command,
    settings: &Settings,
    read: (Flags, Layers),
    terminal: &Terminal,
) -> Result<Code, Failure> {
    match command {
        Command::Run(args) => run::run(settings, read, args).await,
        Command::Replay(args) => replay::run(settings, args, terminal).await,
        Command::Proof(args) => proof::prove(settings, args).await,
        Command::Suppress(args) => suppress::run(settings, args).await,
        Command::Channels(args) => channels::run(settings, args).await,
        Command::Publish(args) => publish::run(settings, args).await,
        Command::Settlement(args) => settlement::run(settings, args).await,
        Command::Admin(args) => admin::run(settings, args).await,
        Command::Check(_) | Command::Verify(_) | Command::Status(_) | Command::Demo(_) => {
            Ok(Code::Ok)
        }
    }
}

/// The data folder of a command: the one that was given, or the one of the settings.
fn data_folder(given: Option<PathBuf>, settings: &Settings) -> PathBuf {
    given.unwrap_or_else(|| settings.data_folder.clone())
}

/// Prints to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.or_else(|error| cannot_print(&error))
}

/// That the reader of standard output has gone, as `head` does, is no failure.
fn cannot_print(error: &io::Error) -> Result<(), Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(fail(
        Code::Io,
        format_args!("standard output cannot be written: {error}"),
    ))
}
