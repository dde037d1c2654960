//! The machine that the rendered files are for: what is installed there.

pub mod accounts;
pub mod disks;
pub mod firejail;
pub mod systemd;
pub mod unit;
