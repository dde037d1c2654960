//! What crosses from the kernel programs to the agent: slot records, events, the numbers in them; and what both sides
//! go by: the table of calls, and the list of kernel structures. Nothing else, and never a pointer.
//!
//! Numbers here are part of the recorded data: they are never given another meaning.
#![no_std]

mod call;
mod cgroup;
mod event;
mod fact;
mod loss;
pub mod nr;
mod offsets;
mod share;
mod slot;

pub use call::*;
pub use cgroup::*;
pub use event::*;
pub use fact::*;
pub use loss::*;
pub use share::*;
pub use slot::*;
