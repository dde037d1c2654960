//! The kernel side: what is loaded and attached, by which tier, and what it lost.

mod attach;
mod btf;
mod events;
mod kallsyms;
mod load;
mod lsm;
mod offsets;
mod preemption;
mod running;
mod slots;
mod survey;
mod tiers;

pub use attach::Refusal;
pub use btf::BtfError;
pub use events::Events;
pub use load::{Probe, ProbeError, Sizes, grace_period};
pub use preemption::Preemption;
pub use slots::Record;
pub use survey::{Attempt, Loaded, Survey, Tiers};
pub use tiers::{Fact, Forced, Hook};
