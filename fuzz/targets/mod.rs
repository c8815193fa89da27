//! What every input is held to. Each target takes any bytes, and panics where a promise is broken.
//!
//! libFuzzer calls them through `fuzz/src/lib.rs`, and the ordinary tests through `tests/fuzz.rs`.

mod disk;
pub(crate) mod journal;
pub(crate) mod line;
pub(crate) mod proof;
pub(crate) mod settings;
