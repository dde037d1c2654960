//! Events and slots from the kernel → the facts of a run.

mod address;
mod collector;
mod event;
mod names;
mod path;
mod program;
mod symlinks;
pub mod unit;

pub use collector::{Collector, Facts, Totals};
