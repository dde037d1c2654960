//! What a drop-in says, directive by directive.

use super::super::{
    super::systemd::{DropIn, LISTS},
    line::{Said, Shape},
};

/// Each directive of a drop-in with its words and their evidence, or with why it is not given.
#[must_use]
pub fn said(drop_in: &DropIn) -> Vec<Said> {
    let directives = drop_in.directives.iter();
    let said = directives.map(|directive| Said {
        directive: directive.name,
        shape: if LISTS.contains(&directive.name) {
            Shape::List
        } else {
            Shape::Each
        },
        value: directive.value.clone(),
    });
    said.collect()
}
