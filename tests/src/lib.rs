//! What the end-to-end suites share.
//!
//! A suite records a program with [`harden`], starts it again under the profile with [`firejail`],
//! and takes lines out of the [`Profile`] to see the same work fail.

mod agent;
mod container;
pub mod deeds;
pub mod filter;
pub mod firejail;
mod forwarded;
pub mod harden;
pub mod http;
mod installed;
mod leftovers;
mod machine;
pub mod many;
pub mod mutation;
pub mod network;
pub mod observed;
mod process;
mod profile;
pub mod programs;
mod requirements;
mod scale;
mod scratch;
mod skip;
mod small;
pub mod strace;
mod tree;
pub mod trees;
pub mod usage;
mod work;
mod written;

pub use agent::{Agent, Setup};
pub use container::Container;
pub use forwarded::Forwarded;
pub use installed::Installed;
pub use machine::Machine;
pub use process::{Process, as_patient, is_alive, is_emulated};
pub use profile::Profile;
pub use requirements::met;
pub use scale::scaled;
pub use scratch::Scratch;
pub use skip::skip;
pub use small::Small;
pub use tree::cgroup_tree;
pub use work::{Known, Work};
pub use written::{Written, exposure};
