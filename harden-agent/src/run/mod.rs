//! `harden run`: one command, observed from its first exec until its cgroup is empty.

mod cgroup;
mod child;
mod descriptor;
mod host;
mod session;
mod signals;

pub use cgroup::Cgroup;
pub use child::{User, UserError};
pub use session::{Options, Progress, Recording, RunError, record};
