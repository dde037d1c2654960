//! Events and slots from the kernel → the facts of a run.

mod acl;
mod address;
mod collector;
mod disk;
mod event;
mod names;
mod path;
mod program;
mod symlinks;
pub mod unit;

pub use collector::{Clock, Collector, Facts, Totals};
pub use disk::Disk;
pub use event::{Event, header, layout, parse, slot};
