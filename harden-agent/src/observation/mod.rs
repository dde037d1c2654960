//! What was seen: the model, its text forms, its merge laws and its file.

mod model;
mod text;

pub use model::*;
pub use text::{NotAWord, Text, Word};
