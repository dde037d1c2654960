//! Which calls and socket families.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Abi, Facet};

use super::super::DecisionOptions;
use super::super::basis::Basis;
use super::super::calls::{Asked, is_nameless};
use super::super::equivalents::{Compatibility, equivalents};
use super::super::evidence::{Decision, Evidence, Item};
use super::super::firejail::default_list;
use super::super::mode::{Advice, Mode};
use super::Directive;
use super::default_list::DEFAULT;
use super::kernel::{Usage, namespaces};

/// What systemd's child calls itself between its filter and the exec of a command, and what is not
/// in `@default`, which is always allowed: the answer to a Type=exec service's parent and the
/// dropping of capabilities (`exec_child`, systemd 252).
const BEFORE_EXEC: [&str; 4] = ["capget", "capset", "prctl", "write"];

/// `RestrictAddressFamilies`. It filters socket(2) alone.
pub(super) fn families(basis: &Basis<'_>) -> Directive {
    let mut reasons: Vec<String> = basis
        .coverage()
        .blind(Facet::Syscalls)
        .into_iter()
        .collect();
    let mut items = Vec::new();
    for (family, (evidence, without)) in basis.families() {
        // The directive answers EAFNOSUPPORT, as a kernel without the family does.
        if *without {
            continue;
        }
        if family.as_str().contains('-') {
            reasons.push(format!("the socket family {family} has no name in systemd"));
        }
        let name = format!("AF_{}", family.as_str().to_ascii_uppercase());
        items.push(Item::new(name, evidence.clone()));
    }
    if items.is_empty() {
        items.push(Item::noted("none", "no socket was made"));
    }
    Directive::list(
        "RestrictAddressFamilies",
        Decision::given_unless(reasons, items),
    )
}

/// `SystemCallArchitectures`, `SystemCallFilter`, `SystemCallErrorNumber`
pub(super) fn decide(
    basis: &Basis<'_>,
    usage: &Usage<'_>,
    known: Option<&BTreeSet<String>>,
    decision_options: &DecisionOptions,
) -> [Directive; 3] {
    let blind: Vec<String> = basis
        .coverage()
        .blind(Facet::Syscalls)
        .into_iter()
        .collect();
    let mut architectures = vec![Item::new("native", Evidence::default())];
    let asked = basis.asked();
    let others = conventions(asked).into_iter();
    architectures.extend(others.map(|name| Item::new(name, Evidence::default())));
    let mode = Advice::of(basis, decision_options.mode).mode;
    let filter = match mode {
        Mode::Allowlist => filter(
            basis,
            usage,
            (known, decision_options.compatibility),
            blind.clone(),
        ),
        Mode::SandboxDefault | Mode::Denylist => Decision::given_unless(
            blind.clone(),
            refused(basis, (known, decision_options.compatibility)),
        ),
    };
    // An unknown call is answered as by a kernel that does not have it, which is what libraries
    // have their way round for; EPERM they take for a refusal (moby issue 42680).
    let errno = match mode {
        Mode::Allowlist => "ENOSYS",
        // What is refused by name is refused for good.
        Mode::SandboxDefault | Mode::Denylist => "EPERM",
    };
    let error = match &filter {
        Decision::Given(_) => Vec::new(),
        Decision::Withheld(_) => vec!["there is no list of calls".to_owned()],
    };
    [
        Directive::list(
            "SystemCallArchitectures",
            Decision::given_unless(blind, architectures),
        ),
        Directive::list("SystemCallFilter", filter),
        Directive::word("SystemCallErrorNumber", errno, error),
    ]
}

/// What is dangerous and was not seen, by name. The tilde before the first makes it a list of what is refused
/// (systemd.exec(5)).
fn refused(
    basis: &Basis<'_>,
    (known, compatibility): (Option<&BTreeSet<String>>, Compatibility),
) -> Vec<Item> {
    let mut seen: BTreeSet<&str> = basis.calls().keys().map(|name| name.as_str()).collect();
    seen.extend(
        basis
            .unasked(&seen, &basis.asked().conventions, compatibility)
            .into_keys(),
    );
    let mut items =
        default_list::unseen(&seen, |name| known.is_none_or(|known| known.contains(name)));
    if let Some(first) = items.first_mut() {
        first.value.insert(0, '~');
    }
    items
}

/// The other conventions by which calls were made, as `SystemCallArchitectures=` names them.
fn conventions(asked: &Asked<'_>) -> BTreeSet<&'static str> {
    let conventions = asked.tolerated.iter();
    conventions
        .filter_map(|(_, abi)| match abi {
            Abi::Native => None,
            Abi::Ia32 => Some("x86"),
            Abi::X32 => Some("x32"),
        })
        .collect()
}

fn filter(
    basis: &Basis<'_>,
    usage: &Usage<'_>,
    (known, compatibility): (Option<&BTreeSet<String>>, Compatibility),
    mut reasons: Vec<String>,
) -> Decision<Vec<Item>> {
    let calls = basis.calls();
    if calls.is_empty() {
        reasons.push("no system call was seen".to_owned());
    }
    for name in calls.keys().map(|name| name.as_str()) {
        if is_nameless(name) || known.is_some_and(|known| !known.contains(name)) {
            reasons.push(format!(
                "this systemd does not know the call {name}, and a list without it would refuse it"
            ));
        }
    }
    let names: BTreeSet<&str> = calls.keys().map(|name| name.as_str()).collect();
    let others = equivalents(&names, compatibility);
    let mut items: BTreeMap<String, Item> = calls
        .iter()
        .map(|(name, evidence)| {
            let item = Item::new(name.as_str(), evidence.clone());
            (name.to_string(), item)
        })
        .collect();
    for (name, why) in others {
        if known.is_none_or(|known| known.contains(name)) {
            items.insert(name.to_owned(), Item::noted(name, why));
        }
    }
    for (name, why) in basis.unasked(&names, &basis.asked().conventions, compatibility) {
        if !DEFAULT.contains(&name) && known.is_none_or(|known| known.contains(name)) {
            items
                .entry(name.to_owned())
                .or_insert_with(|| Item::noted(name, why));
        }
    }
    for name in BEFORE_EXEC {
        items
            .entry(name.to_owned())
            .or_insert_with(|| Item::noted(name, "systemd itself, before it runs the command"));
    }
    if usage.called("clone3") && namespaces(usage).value.given().is_some() {
        items.entry("clone".to_owned()).or_insert_with(|| {
            Item::noted(
                "clone",
                "instead of clone3, to which RestrictNamespaces= answers ENOSYS",
            )
        });
    }
    Decision::given_unless(reasons, items.into_values().collect())
}
