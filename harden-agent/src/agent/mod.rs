//! The daemon: every unit of a running system, for weeks.

pub mod control;
pub mod metrics;
pub mod near;
pub mod request;
pub mod summary;
