//! The command `harden`.

fn main() {}
