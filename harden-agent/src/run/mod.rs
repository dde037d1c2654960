//! `harden run`: one command, observed from its first exec until its cgroup is empty.

pub(crate) mod cgroup;
pub(crate) mod child;
mod elsewhere;
mod session;
mod signals;
mod spool;

pub use cgroup::Cgroup;
pub use child::{User, UserError};
pub use session::{Options, Progress, Recording, RunError, record};
