//! What is read of a file, member by member.

use std::rc::Rc;

use serde_json::{Value, json};

use super::super::{
    line::{Read, Rules, Sandbox, Shape, Unread},
    source::Position,
};

/// Puts lines together, and what is not taken.
pub(super) struct Reader {
    pub(super) rules: Rules,
    unread: Vec<Unread>,
    file: Rc<str>,
}

impl Reader {
    pub(super) fn new(file: &str) -> Self {
        Self {
            rules: Rules::new(Sandbox::Oci),
            unread: Vec::new(),
            file: file.into(),
        }
    }

    pub(super) fn done(self) -> Read {
        Read {
            rules: self.rules,
            unread: self.unread,
        }
    }

    /// What may refuse something, and is not taken.
    pub(super) fn pass_by(&mut self, value: &Value, reason: &'static str) {
        self.hand_back(value, reason, false);
    }

    pub(super) fn pass_by_member(&mut self, name: &str, value: &Value, reason: &'static str) {
        self.pass_by(&json!({ name: value }), reason);
    }

    /// With what the container does not start.
    pub(super) fn fail(&mut self, name: &str, value: &Value, reason: &'static str) {
        self.hand_back(&json!({ name: value }), reason, true);
    }

    fn hand_back(&mut self, value: &Value, reason: &'static str, is_fatal: bool) {
        self.unread.push(Unread {
            position: Position {
                file: Rc::clone(&self.file),
                number: 0,
            },
            line: value.to_string(),
            reason,
            is_fatal,
        });
    }

    pub(super) fn word(&mut self, directive: &'static str, value: &impl ToString) {
        let value = std::iter::once(value.to_string());
        self.rules.add(directive, Shape::Each, value);
    }

    /// A list, if the file has one.
    pub(super) fn list(&mut self, directive: &'static str, shape: Shape, value: Option<&Value>) {
        let list = match value {
            None | Some(Value::Null) => return,
            Some(Value::Array(list)) => list,
            Some(value) => return self.pass_by_member(directive, value, "no list"),
        };
        let mut words = Vec::new();
        for one in list {
            match one.as_str() {
                Some(word) => words.push(word.to_owned()),
                None => self.pass_by_member(directive, one, "no text"),
            }
        }
        self.rules.add(directive, shape, words.into_iter());
    }
}
