//! The daemon: what it remembers, and how that survives.

pub mod journal;
mod step;
pub mod store;

pub use step::STEPS;
