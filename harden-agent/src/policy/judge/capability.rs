//! Capabilities: which facts ask for one.

use crate::observation::{Deed, Seen};

use super::{
    super::capabilities::{is_needed, why_not},
    judgement::Judgement,
    recorded::Case,
};

/// The capability that the fact needs; none, and what that means, where it is only a question.
pub(super) fn needed<'a>(case: &Case<'_, 'a>) -> Result<&'a str, Judgement<'static>> {
    match case.fact.what {
        Deed::Capability(name, check) if is_needed(&[(check, Seen::default())].into()) => {
            Ok(name.as_str())
        }
        Deed::Capability(_, check) => Err(Judgement::asks_for_nothing(why_not(check))),
        Deed::GrantedIn(name, _) | Deed::GrantedFor(name, _) => {
            let checks = case.facts().capabilities.get(name);
            if checks.is_some_and(is_needed) {
                Ok(name.as_str())
            } else {
                Err(Judgement::asks_for_nothing(
                    "the program itself was not granted it",
                ))
            }
        }
        _ => Err(Judgement::FREE),
    }
}
