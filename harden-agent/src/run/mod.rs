//! `harden run`: one command, observed from its first exec until its cgroup is empty.

pub(crate) mod cgroup;
pub(crate) mod child;
mod descriptor;
mod elsewhere;
pub(crate) mod host;
mod session;
mod signals;
mod spool;

pub use cgroup::Cgroup;
pub(crate) use descriptor::watch;

pub use child::{User, UserError};
pub use session::{Options, Progress, Recording, RunError, record};
