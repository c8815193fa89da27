//! The targets as libFuzzer calls them. What they hold an input to is in `../targets`, which the
//! ordinary tests share.

mod differential;

#[path = "../targets/mod.rs"]
mod targets;

/// The settings of the program, without the program: it would build everything that there is.
#[path = "../../src"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod program {
    pub(crate) mod settings;
}

/// Bytes as lines of chat.
pub fn line(data: &[u8]) {
    targets::line::check(data);
    differential::check(data);
}

/// Bytes as segments of a journal.
pub fn journal(data: &[u8]) {
    targets::journal::check(data);
}

/// Bytes as the settings file.
pub fn settings(data: &[u8]) {
    targets::settings::check(data);
}

/// Bytes as a proof.
pub fn proof(data: &[u8]) {
    targets::proof::check(data);
}
