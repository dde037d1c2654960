//! This computer: its processes, mounts and accounts, its systemd and its Firejail. Asks, and decides nothing.

pub mod accounts;
pub(crate) mod cgroups;
pub(crate) mod descriptor;
pub mod disks;
pub mod firejail;
pub(crate) mod host;
pub(crate) mod kallsyms;
pub mod logs;
pub(crate) mod mapped;
pub(crate) mod proc;
pub(crate) mod services;
pub mod systemd;
pub mod unit;
