//! The agent: it observes the units of a running system.

pub mod config;
pub mod log;

pub use config::Config;
pub use log::init as init_log;
