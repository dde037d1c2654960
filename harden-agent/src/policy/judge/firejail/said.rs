//! What a policy says, directive by directive.

use super::super::{
    super::{
        evidence::{Decision, Evidence, Item},
        firejail::{Filter, Policy},
    },
    line::{Said, Shape},
};

/// Each directive of a profile with its elements and their evidence, or with why it is not given.
#[must_use]
pub fn said(policy: &Policy) -> Vec<Said> {
    let mut all = vec![
        each("noblacklist", &policy.defaults.noblacklist),
        each("blacklist", &policy.files.blacklist),
        each("whitelist", &policy.files.whitelist),
        unasked("allow-debuggers", policy.defaults.allow_debuggers.as_ref()),
    ];
    all.extend(capabilities(policy));
    all.push(list("protocol", policy.protocols.clone()));
    all.push(flag(
        "seccomp.block-secondary",
        &policy.syscalls.block_secondary,
    ));
    all.push(calls(policy));
    all.push(Said {
        directive: "shell",
        shape: Shape::Each,
        value: match &policy.shell_none {
            Decision::Given(()) => Decision::Given(vec![bare("none")]),
            Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
        },
    });
    all.extend(private(policy));
    all.push(Said {
        directive: "name",
        shape: Shape::Each,
        value: match &policy.name {
            Decision::Given(name) => Decision::Given(vec![bare(name)]),
            Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
        },
    });
    all.push(each("read-only", &policy.files.read_only));
    all.push(each("read-write", &policy.files.read_write));
    all
}

fn capabilities(policy: &Policy) -> [Said; 2] {
    let keep = &policy.capabilities.keep;
    let drops = keep.given().is_some_and(Vec::is_empty);
    let drop = Said {
        directive: "caps.drop",
        shape: Shape::Each,
        value: Decision::Given(drops.then(|| bare("all")).into_iter().collect()),
    };
    let keep = if drops {
        Decision::Withheld(Vec::new())
    } else {
        keep.clone()
    };
    [drop, list("caps.keep", keep)]
}

fn calls(policy: &Policy) -> Said {
    match &policy.syscalls.filter {
        Decision::Given(Filter::Keep(items)) => {
            list("seccomp.keep", Decision::Given(items.clone()))
        }
        Decision::Given(Filter::Drop(items)) => {
            list("seccomp.drop", Decision::Given(items.clone()))
        }
        Decision::Given(Filter::Default(exceptions)) => {
            let items = exceptions.iter().map(|item| Item {
                value: format!("!{}", item.value),
                ..item.clone()
            });
            list("seccomp", Decision::Given(items.collect()))
        }
        Decision::Withheld(reasons) => list("seccomp.keep", Decision::Withheld(reasons.clone())),
    }
}

fn private(policy: &Policy) -> Vec<Said> {
    let dev = policy.dev.given();
    let shm = dev.and_then(|dev| dev.keep_shm.as_ref());
    let (files, defaults) = (&policy.files, &policy.defaults);
    vec![
        unasked("keep-dev-shm", shm),
        unasked("keep-var-tmp", defaults.keep_var_tmp.as_ref()),
        Said {
            directive: "private",
            shape: Shape::Flag,
            value: policy.home.clone(),
        },
        list("private-bin", policy.programs.clone()),
        Said {
            directive: "private-dev",
            shape: Shape::Flag,
            value: match &policy.dev {
                Decision::Given(dev) => Decision::Given(dev.used.clone()),
                Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
            },
        },
        list("private-etc", policy.etc.clone()),
        flag("private-tmp", &policy.tmp),
        unasked("writable-etc", files.writable_etc.as_ref()),
        unasked("writable-var", files.writable_var.as_ref()),
        unasked("writable-var-log", defaults.writable_var_log.as_ref()),
    ]
}

fn bare(value: &str) -> Item {
    Item::new(value, Evidence::default())
}

fn list(directive: &'static str, value: Decision<Vec<Item>>) -> Said {
    Said {
        directive,
        shape: Shape::List,
        value,
    }
}

fn each(directive: &'static str, items: &[Item]) -> Said {
    Said {
        directive,
        shape: Shape::Each,
        value: Decision::Given(items.to_vec()),
    }
}

fn flag(directive: &'static str, value: &Decision<()>) -> Said {
    Said {
        directive,
        shape: Shape::Flag,
        value: match value {
            Decision::Given(()) => Decision::Given(Vec::new()),
            Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
        },
    }
}

/// A flag that is given only where something asks for it: why not needs no words.
fn unasked(directive: &'static str, evidence: Option<&Evidence>) -> Said {
    let given = |evidence: &Evidence| vec![Item::new("", evidence.clone())];
    Said {
        directive,
        shape: Shape::Flag,
        value: match evidence {
            Some(evidence) => Decision::Given(given(evidence)),
            None => Decision::Withheld(Vec::new()),
        },
    }
}
