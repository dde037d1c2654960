//! The long-running agent: every unit of the machine, for weeks.

pub mod systemd;
