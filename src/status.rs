//! What a running process says of itself, as a picture for people.
//!
//! [`Client`] asks a process over HTTP, as any other reader of its gateway would. [`render`] turns
//! the answers into text and does nothing else. [`LiveView`] draws such pictures over one another.
//! Whatever the process says is text of others: it is bounded, and no control character in it
//! reaches a terminal.

mod client;
mod head;
mod human;
mod live;
mod model;
mod picture;
mod rows;
mod span;

use std::io::{self, IsTerminal};

use clap::ValueEnum;

pub use client::{BadUrl, Client, NoAnswer, PATIENCE};
pub use human::{clean, duration, one_line};
pub use live::{LiveView, Surface, size};
pub use model::{Actor, Condition, Feed, Handler, Health, LastExit, Ledger, Reason};
pub use model::{Lines, Place, Readiness, Shown, Tree, Wait};
pub use picture::{render, summary};

/// The width where there is no terminal, in columns.
pub const WIDE: usize = 240;

/// When the text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorWhen {
    /// Whether standard output is coloured.
    #[must_use]
    pub fn on_stdout(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                can_redraw() && !is_set("NO_COLOR")
            }
        }
    }
}

/// Whether standard output is a terminal that understands control sequences.
#[must_use]
pub fn can_redraw() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How a picture is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub color: bool,
    /// Every child of a supervisor, however many there are.
    pub all: bool,
}
