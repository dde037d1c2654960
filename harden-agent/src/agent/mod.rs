//! The agent: every unit of a running system, for as long as it runs.
//!
//! kernel → ring buffer → journal → state → the files of units, and from there to clients that ask.

pub mod config;
pub mod control;
mod core;
mod crash_point;
pub mod journal;
mod lifecycle;
mod lock;
pub mod log;
mod memory;
pub mod metrics;
pub mod names;
mod quarantine;
pub mod request;
pub mod shadow;
mod state;
pub mod store;
pub mod summary;
pub mod systemd;

pub use crash_point::CRASH_POINTS;

pub use self::{
    config::Config,
    lifecycle::{run as observe, unload},
    log::init as init_log,
};
