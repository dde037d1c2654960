//! `includes` and `excludes` of an entry in the form that Docker and Podman read (`setupSeccomp` in profiles/seccomp of moby):
//! on which machines, and with which capabilities of the container, the entry holds.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::host::Host;

/// Whether an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Holds,
    Fails,
    /// It depends on what is not known.
    Open,
    /// It has members that harden does not know.
    Strange,
}

/// What is known of the container.
pub(super) struct Container<'c> {
    pub(super) host: &'c Host,
    /// What it is bounded to, if the file says so.
    pub(super) capabilities: Option<&'c BTreeSet<String>>,
}

impl Condition {
    pub(super) fn of(entry: &Map<String, Value>, container: &Container<'_>) -> Self {
        let included = filter(entry.get("includes"), container, true);
        let excluded = filter(entry.get("excludes"), container, false);
        match (included, excluded) {
            (Self::Strange, _) | (_, Self::Strange) => Self::Strange,
            (Self::Fails, _) | (_, Self::Fails) => Self::Fails,
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::Holds, Self::Holds) => Self::Holds,
        }
    }
}

fn filter(value: Option<&Value>, container: &Container<'_>, includes: bool) -> Condition {
    let members = match value {
        None | Some(Value::Null) => return Condition::Holds,
        Some(Value::Object(members)) => members,
        Some(_) => return Condition::Strange,
    };
    let mut all = Condition::Holds;
    for (name, value) in members {
        let holds = match (name.as_str(), value) {
            (_, Value::Null) => continue,
            ("minKernel", Value::String(least)) => {
                let is_new = container.host.has_kernel(least);
                is_new.map(|is_new| is_new == includes)
            }
            ("arches" | "caps", Value::Array(list)) => {
                let Some(list) = texts(list) else {
                    return Condition::Strange;
                };
                if list.is_empty() {
                    continue;
                }
                if name == "arches" {
                    let own = container.host.go();
                    own.map(|own| list.contains(&own) == includes)
                } else {
                    container
                        .capabilities
                        .map(|own| by_capabilities(&list, own, includes))
                }
            }
            _ => return Condition::Strange,
        };
        match holds {
            Some(true) => {}
            Some(false) => return Condition::Fails,
            None => all = Condition::Open,
        }
    }
    all
}

/// All of those that are included have to be there, and none of those that are excluded.
fn by_capabilities(list: &[&str], own: &BTreeSet<String>, includes: bool) -> bool {
    let mut has = list.iter().map(|name| own.contains(*name));
    if includes {
        has.all(|has| has)
    } else {
        !has.any(|has| has)
    }
}

pub(super) fn texts(list: &[Value]) -> Option<Vec<&str>> {
    list.iter().map(Value::as_str).collect()
}
