//! The agent: every unit of a running system, for as long as it runs.
//!
//! kernel → ring buffer → journal → state → the files of units, and from there to whoever asks.

mod aside;
pub mod config;
pub mod control;
mod core;
pub mod journal;
mod lifecycle;
mod lock;
pub mod log;
mod memory;
pub mod metrics;
pub mod names;
pub mod request;
mod state;
mod step;
pub mod store;
pub mod summary;
pub mod systemd;

pub use step::STEPS;

pub use self::{
    config::Config,
    lifecycle::{run as observe, unload},
    log::init as init_log,
};
