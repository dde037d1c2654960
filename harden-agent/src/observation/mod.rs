//! What was seen: the model, its text forms, its merge laws and its file.
//!
//! Plain data: nothing here needs a kernel, root or BPF, and nothing here decides anything.

mod addresses;
#[cfg(test)]
pub(crate) mod arbitrary;
mod facet;
mod facts;
mod file;
mod fold;
mod inodes;
mod join;
mod layout;
mod model;
mod names;
mod schema_1;
mod seen;
mod shrink;
mod strict;
mod text;
mod uses;

pub use facet::Facet;
pub(crate) use facet::argument;
pub use facts::{Deed, Fact, Kind, Told};
pub use file::{
    FormatError, ReadError, SIZE_LIMIT, from_json, read, read_up_to, to_json, write_json,
};
pub use fold::Test;
pub use inodes::Inodes;
pub use join::Join;
pub use model::*;
pub use seen::Seen;
pub use text::{NotAWord, Text, Word};
pub use uses::Uses;
