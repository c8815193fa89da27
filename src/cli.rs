//! The command line.

mod chain;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::status::ColorWhen;

pub use chain::{Admin, AdminWhat, OneRoot, Publish, Settlement, SettlementList};

/// An attention oracle: who took part in which Twitch channel in which hour, provable on Solana.
#[derive(Debug, Parser)]
#[command(name = "twzrd", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The settings file. Without it, supervision.toml in the working folder, if it is there.
    #[arg(long, global = true, value_name = "FILE", env = "TWZRD_SETTINGS")]
    pub settings: Option<PathBuf>,
    /// What is logged: error, warn, info, debug or trace, or a filter by module.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  all went well
    1  the answer is no: a proof that fails, a person who took no part, a change that is refused,
       a root that is not settled,
       a demo with chaos that differs from an undisturbed replay
    2  the command line is wrong
   65  an input is binary, damaged or cut
   66  an input or a data folder cannot be opened
   69  the database or the chain is away, or the database follows another journal; no process
       answers; or a root was not settled in the time that it was given
   70  the supervision tree gave up
   73  a folder cannot be made
   74  reading or writing failed, for example on a full disk
   75  another process holds the data folder
   78  the settings are wrong
  130  interrupted";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service: listen to the listed channels, seal, and answer over HTTP.
    ///
    /// SIGTERM or Ctrl-C stops it in order, a second one at once; SIGHUP reloads the channel lists.
    Run(Run),
    /// Replay recorded lines or a journal, seal, and print epochs, roots and the ledger.
    ///
    /// Raw IRC lines are sealed when the input ends; a journal is sealed where its seal records
    /// stand. Run again on the same data folder, it adds nothing.
    Replay(Replay),
    /// Check the settings, and print each fault with file, line and what was expected.
    Check(Check),
    /// Show the whole service against a chat server of its own: no network, no settings, no setup.
    Demo(Demo),
    /// Print the tree of a running process, one line an actor.
    Status(Status),
    /// Print the proof that a person took part in a channel in an epoch, as JSON.
    Proof(Proof),
    /// Check a proof without any store.
    Verify(Verify),
    /// Opt a person out or in again, or list who is out.
    #[command(subcommand)]
    Suppress(Suppress),
    /// Change the channel lists of the running process, or show what it listens to.
    #[command(subcommand)]
    Channels(Channels),
    /// Publish a root now, or show what publishing would do and cost.
    Publish(Publish),
    /// Show where roots stand on their way to the chain, or let one go on.
    #[command(subcommand)]
    Settlement(Settlement),
    /// Show or change the program's state on chain.
    Admin(Admin),
}

/// Where the data is.
#[derive(Debug, Args)]
pub struct Data {
    /// The data folder [default: the setting data.folder].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Run the service.
#[derive(Debug, Args)]
pub struct Run {
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// Replay recorded lines or a journal.
#[derive(Debug, Args)]
pub struct Replay {
    /// Files of raw IRC lines or journal segments, plain or zstd; - for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// The data folder; without it, a temporary one that goes at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The length of an epoch, in seconds.
    #[arg(long, value_name = "N")]
    pub epoch_seconds: Option<u32>,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Check the settings.
#[derive(Debug, Args)]
pub struct Check {
    /// Print every value that holds, and where it comes from. Secrets are masked.
    #[arg(long)]
    pub print: bool,
}

/// Show the whole service against a chat server of its own.
#[derive(Debug, Args)]
pub struct Demo {
    /// End by itself after so many seconds [default: with Ctrl-C].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// How many channels there are.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub channels: u32,
    /// How many lines are said in a second, over all channels.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub lines_per_second: u32,
    /// What the chat follows from, and the storm.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Kill random actors and cut sockets all the while, and compare with an undisturbed replay at
    /// the end: exit code 1 where anything differs.
    #[arg(long)]
    pub chaos: bool,
    /// Publish on a local chain, and have its wallets claim: the folder that `twzrd-localnet
    /// --folder` wrote.
    #[arg(long, value_name = "DIR", conflicts_with = "chaos")]
    pub solana: Option<PathBuf>,
    /// The data folder; without it, a new one among the temporary ones.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Print the tree of a running process.
#[derive(Debug, Args)]
pub struct Status {
    /// Where the process listens [default: the setting gateway.listen].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Print the answer of /actors as it is, on one line.
    #[arg(long)]
    pub json: bool,
    /// Ask and draw again, until Ctrl-C; without a terminal, one line each time.
    #[arg(long)]
    pub watch: bool,
    /// How often is asked, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "watch", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub interval_ms: u64,
    /// Show every child of a supervisor, however many there are.
    #[arg(long, conflicts_with = "json")]
    pub all: bool,
    /// When the text is coloured.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub color: ColorWhen,
}

/// Print a proof.
#[derive(Debug, Args)]
pub struct Proof {
    /// The epoch, by the Unix second of its start.
    #[arg(long, value_name = "E")]
    pub epoch: u64,
    /// The channel.
    #[arg(long, value_name = "C")]
    pub channel: String,
    /// The person, by login.
    #[arg(long, value_name = "LOGIN")]
    pub user: String,
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// Check a proof.
#[derive(Debug, Args)]
pub struct Verify {
    /// The proof, as `proof` prints it; - for standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: String,
}

/// Change or show the list of people who opted out.
#[derive(Debug, Subcommand)]
pub enum Suppress {
    /// Opt a person out: out of every epoch that is not sealed, and their name out of every table.
    Add(SuppressOne),
    /// Opt a person in again.
    Remove(SuppressOne),
    /// List who is out. Names are not kept: people are listed by hash.
    List(SuppressList),
}

/// One person.
#[derive(Debug, Args)]
pub struct SuppressOne {
    /// The person, by login.
    #[arg(value_name = "LOGIN")]
    pub login: String,
    /// The person's number on Twitch, where it is known.
    #[arg(long, value_name = "N")]
    pub id: Option<u64>,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// The list, or one person's place in it.
#[derive(Debug, Args)]
pub struct SuppressList {
    /// Only this person, by login; exit code 1 where they are not on the list.
    #[arg(value_name = "LOGIN")]
    pub login: Option<String>,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Where the data is.
    #[command(flatten)]
    pub data: Data,
}

/// Change the channel lists, or show the channels.
#[derive(Debug, Subcommand)]
pub enum Channels {
    /// Add channels to a channel group, in the file in which it is listed.
    Add(ChannelsChange),
    /// Remove channels from a channel group.
    Remove(ChannelsChange),
    /// List the channels, and whether they are heard.
    List(ChannelsList),
}

/// The running process.
#[derive(Debug, Args)]
pub struct Process {
    /// The running process [default: the setting gateway.listen].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Channels to add or to remove. The token comes from TWZRD_ADMIN_TOKEN.
#[derive(Debug, Args)]
pub struct ChannelsChange {
    /// The channels.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// The channel group; it may be left out where there is only one.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// The running process.
    #[command(flatten)]
    pub process: Process,
}

/// The list of channels.
#[derive(Debug, Args)]
pub struct ChannelsList {
    /// Print JSON lines instead of a table.
    #[arg(long)]
    pub json: bool,
    /// The running process.
    #[command(flatten)]
    pub process: Process,
}
