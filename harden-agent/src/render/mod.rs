//! From decisions to files: one file a format. A renderer decides nothing.

pub mod account;
pub mod firejail;
pub mod login;
pub mod oci;
mod page;
pub mod report;
pub mod service;
pub mod systemd;
pub mod yocto;

pub use page::Options;
