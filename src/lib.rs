//! twzrd: an attention oracle, as one supervised process.
//!
//! This package is the process: the command line, the settings, the gateway, and [`wiring`],
//! [`live`], [`settle`] and `commands/publish.rs`, the only places that name adapters and actors
//! together. ARCHITECTURE.md is the map of the rest.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod demo;
pub mod exit;
pub mod gateway;
pub mod janitor;
pub mod live;
pub mod progress;
pub mod reload;
pub mod replay;
pub mod report;
pub mod settings;
pub mod settle;
pub mod signals;
pub mod status;
pub mod telemetry;
pub mod wiring;
