//! System calls under a container's list.

use crate::observation::Abi;

use super::{
    super::{
        judgement::{Judgement, PASS, Refusal, Step, Unjudged, against, all, by, each},
        line::{Line, Rules},
        list::List,
        recorded::Case,
    },
    arguments::Arguments,
    scmp,
    seccomp::{Does, action},
};

pub(super) struct Calls<'r> {
    /// What is done to a call that no entry names; none: there is no list.
    default: Option<Default>,
    architectures: Option<List<'r>>,
    names: Option<List<'r>>,
    refused: Option<List<'r>>,
    /// Whether they hold is not known.
    open: Option<List<'r>>,
    partly: Vec<(Arguments, &'r Line)>,
}

struct Default {
    does: Does,
    kills: bool,
}

/// libseccomp answers all other architectures as if they were listed nowhere (`SCMP_FLTATR_ACT_BADARCH`).
const OTHERS: &str =
    "a list without \"architectures\" is for the machine's own calls, and all others are killed";
const OPEN: &str = "the entry for the call holds under some conditions or arguments, and whether these hold is not known";

impl<'r> Calls<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        let default = rules.elements("defaultAction").next();
        let default = default.and_then(|(name, _)| {
            let (name, does) = action(name)?;
            Some(Default {
                does,
                kills: name.contains("KILL") || name.contains("TRAP"),
            })
        });
        let partly = rules.elements("args");
        Self {
            default,
            architectures: List::of(rules, "architectures"),
            names: List::of(rules, "names"),
            refused: List::of(rules, "syscalls"),
            open: List::of(rules, "includes"),
            partly: partly
                .filter_map(|(text, line)| Some((Arguments::parse(text)?, line)))
                .collect(),
        }
    }

    /// Whether a call that is refused ends the program, so that one which was refused already cannot be made again.
    pub(super) fn kills(&self) -> bool {
        self.default.as_ref().is_some_and(|default| default.kills)
    }

    pub(super) fn judge(&self, abi: Abi, name: &str, case: &Case<'_, '_>) -> Judgement<'r> {
        let Some(default) = &self.default else {
            return Judgement::FREE;
        };
        let is_open = self
            .open
            .as_ref()
            .is_some_and(|list| list.get(name).is_some());
        let mut partly = self
            .partly
            .iter()
            .filter(|(one, _)| one.is_of(name))
            .peekable();
        let has_partly = partly.peek().is_some();
        let by_name = match default.does {
            Does::Allow => match self.refused.as_ref().and_then(|list| list.get(name)) {
                Some(line) => against(line),
                None if is_open || has_partly => {
                    return Judgement::Unjudged(Unjudged::NotSaid(OPEN));
                }
                None => PASS,
            },
            Does::Refuse => match self.names.as_ref().map_or(PASS, |list| list.allows(name)) {
                Ok(grounds) => Ok(grounds),
                refused => match partly.find(|(one, _)| one.hold(case)) {
                    Some((_, line)) => by(line),
                    None if is_open || has_partly => {
                        return Judgement::Unjudged(Unjudged::NotSaid(OPEN));
                    }
                    None => refused,
                },
            },
        };
        all([self.architecture(abi, case.architecture()), by_name])
    }

    /// A convention that is not listed is refused, whatever the call; the machine's own always is listed (`seccomp_init(3)`).
    fn architecture(&self, abi: Abi, machine: &[u8]) -> Step<'r> {
        let name = match (machine, abi) {
            (b"x86_64", Abi::Ia32) => "x86",
            (b"x86_64", Abi::X32) => "x32",
            (_, Abi::Native) => return PASS,
            _ => "",
        };
        let Some(list) = &self.architectures else {
            return Err(Refusal::Always(OTHERS));
        };
        match list.get(&scmp(name)) {
            Some(line) => each([list.line(), line]),
            None => against(list.line()),
        }
    }
}
