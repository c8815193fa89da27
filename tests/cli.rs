//! The command line as people and programs use it: the real binary, in a folder of its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "cli/console.rs"]
mod console;
#[path = "cli/forms.rs"]
mod forms;
#[path = "cli/inputs.rs"]
mod inputs;
#[path = "cli/journal.rs"]
mod journal;
#[path = "cli/proof.rs"]
mod proof;
#[path = "cli/rebuilt.rs"]
mod rebuilt;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/stopping.rs"]
mod stopping;
#[path = "cli/suppress.rs"]
mod suppress;
