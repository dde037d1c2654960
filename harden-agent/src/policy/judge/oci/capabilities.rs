//! Capabilities in a container: what is left of them when its program starts (capabilities(7), "Transformation of capabilities
//! during `execve()`").

use std::collections::HashMap;

use super::super::{
    capability,
    judgement::{Judgement, PASS, Step, Unjudged, against, all, by},
    line::{Line, Rules},
    list::List,
    recorded::Case,
};

pub(super) struct Capabilities<'r> {
    bounding: Option<List<'r>>,
    /// Of root under `noNewPrivileges`, which then gains none.
    permitted: Option<List<'r>>,
    /// Another user than root, and what that user has.
    user: Option<&'r Line>,
    ambient: HashMap<&'r str, &'r Line>,
}

impl<'r> Capabilities<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        let gains_none = rules
            .elements("noNewPrivileges")
            .any(|(one, _)| one == "true");
        let user = rules.elements("uid").find(|(uid, _)| *uid != "0");
        Self {
            bounding: List::of(rules, "bounding"),
            permitted: List::of(rules, "permitted").filter(|_| gains_none),
            user: user.map(|(_, line)| line),
            ambient: rules.elements("ambient").collect(),
        }
    }

    /// Whether the container's user is not root, and the one of the recording was.
    pub(super) fn is_less_than(&self, case: &Case<'_, '_>) -> bool {
        self.user.is_some() && case.began_as_root()
    }

    pub(super) fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        let name = match capability::needed(case) {
            Ok(name) => name,
            Err(judgement) => return judgement,
        };
        let word = format!("CAP_{}", name.to_ascii_uppercase());
        let listed = |list: &Option<List<'r>>| match list {
            Some(list) => list.allows(&word),
            None => PASS,
        };
        let user = match (self.user, case.began_as_root()) {
            (Some(user), true) => self.of_user(&word, user),
            (Some(_), false) => {
                return match listed(&self.bounding) {
                    Err(refusal) => Judgement::Refused(refusal),
                    Ok(_) => Judgement::Unjudged(Unjudged::NotKnown(
                        "which capabilities a user has depends on the program's file",
                    )),
                };
            }
            (None, _) => PASS,
        };
        all([listed(&self.bounding), listed(&self.permitted), user])
    }

    fn of_user(&self, word: &str, user: &'r Line) -> Step<'r> {
        self.ambient
            .get(word)
            .map_or(against(user), |line| by(line))
    }
}
