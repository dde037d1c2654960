//! As whom the unit runs, and with which capabilities.

use std::collections::HashMap;

use super::super::{
    super::systemd::FILTERS,
    judgement::{PASS, Step, against, by},
    line::{Line, Rules},
    recorded::Case,
};
use super::Yes;

pub(super) struct User<'r> {
    /// Another than root, and its number if that is known of its name.
    other: Option<(&'r Line, Option<u32>)>,
    ambient: HashMap<&'r str, &'r Line>,
    /// With it no program gains rights by its file.
    no_new_privileges: Option<&'r Line>,
}

/// The same on every machine.
const NUMBERS: [(&str, u32); 2] = [("nobody", 65534), ("root", 0)];

impl<'r> User<'r> {
    pub(super) fn new(rules: &'r Rules, yes: &Yes<'r>) -> Self {
        let user = rules.elements("User").next();
        let user = user.map(|(name, line)| (line, number(name)));
        let user = user.or_else(|| Some((yes.get("DynamicUser")?, None)));
        let other = user.filter(|(_, number)| *number != Some(0));
        // Who is no root may install no filter otherwise (`exec_child` in src/core/execute.c).
        let mut filters = FILTERS.iter().filter(|_| other.is_some());
        let filter = filters.find_map(|name| rules.line(name));
        Self {
            other,
            ambient: rules.elements("AmbientCapabilities").collect(),
            no_new_privileges: yes
                .get("NoNewPrivileges")
                .or(yes.get("DynamicUser"))
                .or(filter),
        }
    }

    /// Whether it is another than the one of the recording, and has no more rights. A name says nothing of a number; then it is
    /// the same, unless that was root. It is the same too where the user of the recording is not known.
    pub(super) fn is_another(&self, case: &Case<'_, '_>) -> bool {
        case.is_user_known()
            && self.other.is_some_and(|(_, number)| match number {
                Some(number) => case.uid() != number,
                None => case.began_as_root(),
            })
    }

    /// Whether the unit has a capability that is in its bounding set.
    pub(super) fn has(&self, word: &str, case: &Case<'_, '_>) -> Step<'r> {
        let Some((line, _)) = self.other else {
            return PASS;
        };
        if let Some(line) = self.ambient.get(word) {
            return by(line);
        }
        if case.began_as_root() {
            return against(line);
        }
        // Its file gave it to the program.
        match self.no_new_privileges {
            Some(line) if case.has_file_capabilities() => against(line),
            _ => PASS,
        }
    }
}

fn number(name: &str) -> Option<u32> {
    let known = NUMBERS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, number)| *number)
        .or_else(|| name.parse().ok())
}
