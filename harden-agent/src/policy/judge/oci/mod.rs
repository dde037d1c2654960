//! What the seccomp object of an OCI container means for a fact (config-linux.md of the runtime specification, 1.0.2). It
//! is about calls alone.

mod read;

use crate::observation::{Abi, Deed};

pub use self::read::read;
use super::{
    super::{
        evidence::{Decision, Evidence, Item},
        oci::Seccomp,
    },
    judgement::{Judgement, PASS, Step, Unjudged, all},
    line::{Line, Rules, Said, Shape},
    list::List,
    recorded::Case,
};

/// What answers to all that is not allowed.
const ERRNO: &str = "SCMP_ACT_ERRNO";

/// Each member with its elements and their evidence, or with why there is none.
#[must_use]
pub fn said(policy: &Seccomp) -> Vec<Said> {
    let allowed = match &policy.allowed {
        Decision::Given(allowed) => allowed,
        Decision::Withheld(reasons) => {
            return vec![Said {
                directive: "names",
                shape: Shape::List,
                value: Decision::Withheld(reasons.clone()),
            }];
        }
    };
    let bare = |value: String| Item::new(value, Evidence::default());
    let architectures = allowed.architectures.iter();
    let architectures = architectures.map(|name| bare(scmp(name))).collect();
    let names = allowed.program.iter().chain(&allowed.unasked);
    let names = names.chain(&allowed.runtime).cloned().collect();
    [
        ("defaultAction", Shape::Each, vec![bare(ERRNO.to_owned())]),
        ("architectures", Shape::List, architectures),
        ("names", Shape::List, names),
    ]
    .into_iter()
    .map(|(directive, shape, items)| Said {
        directive,
        shape,
        value: Decision::Given(items),
    })
    .collect()
}

fn scmp(architecture: &str) -> String {
    format!("SCMP_ARCH_{}", architecture.to_ascii_uppercase())
}

/// The object, ready to judge.
pub struct Oci<'r> {
    architectures: Option<List<'r>>,
    names: Option<List<'r>>,
}

impl<'r> Oci<'r> {
    /// Of an object.
    #[must_use]
    pub fn new(rules: &'r Rules) -> Self {
        let mut default = rules.elements("defaultAction");
        // Another default is not read.
        let refuses = default.any(|(action, _)| action == ERRNO);
        let list = |name| List::of(rules, name).filter(|_| refuses);
        Self {
            architectures: list("architectures"),
            names: list("names"),
        }
    }

    /// What it means for a fact.
    #[must_use]
    pub fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        let Deed::Syscall(abi, name) = case.fact.what else {
            return Judgement::Unjudged(Unjudged::NotExpressible(
                "the object is about calls alone",
            ));
        };
        if case.fact.command.is_some() {
            return Judgement::Unjudged(Unjudged::NotExpressible(
                "the container is the main process, and this is of another command of the unit",
            ));
        }
        if let Some(why) = case.vain(false) {
            return Judgement::asks_for_nothing(why);
        }
        let names = self.names.as_ref();
        let names = names.map_or(PASS, |list| list.allows(name.as_str()));
        all([self.architecture(abi, case.architecture()), names])
    }

    /// A convention that is not listed is refused, whatever the call; the machine's own always is (`seccomp_init(3)`).
    fn architecture(&self, abi: Abi, machine: &[u8]) -> Step<'r> {
        let name = match (machine, abi) {
            (b"x86_64", Abi::Ia32) => "x86".to_owned(),
            (b"x86_64", Abi::X32) => "x32".to_owned(),
            (_, Abi::Native) => return PASS,
            _ => String::new(),
        };
        let list = self.architectures.as_ref();
        list.map_or(PASS, |list| list.allows(&scmp(&name)))
    }
}

/// Whether a line allows something that would be refused without it.
pub(super) fn grants(line: &Line) -> bool {
    line.element.is_some() && line.directive == "names"
}
