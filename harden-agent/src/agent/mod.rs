//! The agent: it observes the units of a running system.

pub mod config;
pub mod log;
