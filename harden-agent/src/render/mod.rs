//! From decisions to files: one file a format. A renderer decides nothing.

pub mod firejail;
