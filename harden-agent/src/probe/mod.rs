//! The kernel side: what is loaded and attached, by which tier, and what it lost.

mod attach;
mod btf;
mod cgroups;
mod events;
mod handle;
mod kallsyms;
mod kernel_log;
mod load;
mod lsm;
mod maps;
mod offsets;
mod pin;
mod preemption;
mod programs;
mod running;
mod shares;
mod slots;
mod survey;
mod tiers;

pub use attach::Refusal;
pub use btf::BtfError;
pub use cgroups::{CgroupPath, Observe};
pub use events::Events;
pub use handle::{Losses, Probe, grace_period};
pub use kernel_log::KernelLog;
pub use load::{ProbeError, Purpose, Share, Sizes};
pub use pin::{Origin, unload};
pub use preemption::Preemption;
pub use slots::Record;
pub use survey::{Attempt, Loaded, Survey, Tiers};
pub use tiers::{Fact, Forced, Hook};
