//! What was seen: the model, its text forms, its merge laws and its file.
//!
//! Plain data: nothing here needs a kernel, root or BPF, and nothing here decides anything.

#[cfg(test)]
pub(crate) mod arbitrary;
mod fact;
mod file;
mod join;
mod layout;
mod model;
mod strict;
mod text;

pub use fact::{Fact, Kind};
pub use file::{FormatError, ReadError, SIZE_LIMIT, from_json, read, to_json};
pub use join::Join;
pub use model::*;
pub use text::{NotAWord, Text, Word};
