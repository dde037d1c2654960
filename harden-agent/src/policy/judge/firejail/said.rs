//! What a profile says, directive by directive.

use super::super::{
    super::{
        evidence::{Decision, Evidence, Item},
        firejail::{Filter, Profile},
        reasons::Reasons,
    },
    line::{Said, Shape},
};

/// Each directive of a profile with its elements and their evidence, or with why it is not given.
#[must_use]
pub fn said(profile: &Profile) -> Vec<Said> {
    let mut all = vec![
        each("noblacklist", &profile.defaults.noblacklist),
        each("blacklist", &profile.files.blacklist),
        each("whitelist", &profile.files.whitelist),
        unasked("allow-debuggers", profile.defaults.allow_debuggers.as_ref()),
    ];
    all.extend(capabilities(profile));
    all.push(list("protocol", profile.protocols.clone()));
    all.push(flag(
        "seccomp.block-secondary",
        &profile.syscalls.block_secondary,
    ));
    all.push(calls(profile));
    all.push(Said {
        directive: "shell",
        shape: Shape::Each,
        value: match &profile.shell_none {
            Decision::Given(()) => Decision::Given(vec![bare("none")]),
            Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
        },
    });
    all.extend(private(profile));
    all.push(Said {
        directive: "name",
        shape: Shape::Each,
        value: match &profile.name {
            Decision::Given(name) => Decision::Given(vec![bare(name)]),
            Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
        },
    });
    all.push(each("read-only", &profile.files.read_only));
    all.push(each("read-write", &profile.files.read_write));
    all
}

fn capabilities(profile: &Profile) -> [Said; 2] {
    let keep = &profile.capabilities.keep;
    let drops = keep.given().is_some_and(Vec::is_empty);
    let drop = Said {
        directive: "caps.drop",
        shape: Shape::Each,
        value: Decision::Given(drops.then(|| bare("all")).into_iter().collect()),
    };
    let keep = if drops {
        Decision::Withheld(Reasons::default())
    } else {
        keep.clone()
    };
    [drop, list("caps.keep", keep)]
}

fn calls(profile: &Profile) -> Said {
    match &profile.syscalls.filter {
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

fn private(profile: &Profile) -> Vec<Said> {
    let dev = profile.dev.given();
    let shm = dev.and_then(|dev| dev.keep_shm.as_ref());
    let (files, defaults) = (&profile.files, &profile.defaults);
    vec![
        unasked("keep-dev-shm", shm),
        unasked("keep-var-tmp", defaults.keep_var_tmp.as_ref()),
        Said {
            directive: "private",
            shape: Shape::Flag,
            value: profile.home.clone(),
        },
        list("private-bin", profile.programs.clone()),
        Said {
            directive: "private-dev",
            shape: Shape::Flag,
            value: match &profile.dev {
                Decision::Given(dev) => Decision::Given(dev.used.clone()),
                Decision::Withheld(reasons) => Decision::Withheld(reasons.clone()),
            },
        },
        list("private-etc", profile.etc.clone()),
        flag("private-tmp", &profile.tmp),
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
            None => Decision::Withheld(Reasons::default()),
        },
    }
}
