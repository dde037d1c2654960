//! The kernel side: what is loaded and attached, by which tier, and what it lost.

mod attach;
mod btf;
mod cgroups;
mod error;
mod events;
mod handle;
mod kallsyms;
mod kernel_log;
mod load;
mod lsm;
mod maps;
mod objects;
mod offsets;
mod pin;
mod preemption;
mod programs;
mod running;
mod shares;
mod sizes;
mod slots;
mod survey;
mod tiers;

pub use attach::Refusal;
pub use btf::BtfError;
pub use cgroups::{CgroupPath, Observe};
pub use error::ProbeError;
pub use events::Events;
pub use handle::{Losses, Probe, grace_period};
pub use kernel_log::KernelLog;
pub use load::Purpose;
pub use pin::{Origin, unload};
pub use preemption::Preemption;
pub use sizes::{Share, Sizes};
pub use slots::Record;
pub use survey::{Attempt, Loaded, Survey, Tiers};
pub use tiers::{Fact, Forced, Hook};
