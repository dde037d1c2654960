//! harden: confinement profiles for Linux daemons, from what the kernel saw them do.
//!
//! One way through the data: kernel → [`collect`] → [`observation`] → [`policy`] → [`render`] → prove.

pub mod agent;
pub mod cli;
pub mod collect;
pub mod doctor;
pub mod machine;
pub mod observation;
pub mod output;
pub mod policy;
pub mod probe;
pub mod profile;
pub mod render;
pub mod run;
