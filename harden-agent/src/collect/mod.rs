//! Events and slots from the kernel → the facts of a run.

mod acl;
mod address;
mod clock;
mod collector;
mod disk;
mod event;
mod file_capabilities;
mod names;
mod operation;
mod path;
mod program;
mod root;
mod symlinks;
pub mod unit;

pub use clock::Clock;
pub use collector::{Collector, Facts, Totals};
pub use disk::Disk;
pub use event::{Event, header, layout, losses, parse, slot, withheld};
pub(crate) use names::FAMILIES;
pub use names::{call_name, is_capability, is_family, is_socket_type};
