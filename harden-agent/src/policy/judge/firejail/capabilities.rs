//! Capabilities under a Firejail profile. Of several directives one holds: `caps.drop all`, a list of `caps.drop`,
//! `caps.keep`, `caps`, in this order (`set_caps` in src/firejail/sandbox.c).

use super::super::{
    judgement::{Judgement, PASS, Refusal, Step, against, all},
    line::{Line, Rules},
    list::List,
};

/// What `caps` takes away (`caps_default_filter` in src/firejail/caps.c).
const DEFAULT: [&str; 8] = [
    "mknod",
    "sys_admin",
    "sys_boot",
    "sys_module",
    "sys_nice",
    "sys_rawio",
    "sys_tty_config",
    "syslog",
];

/// What is taken from root where no `caps.keep` says what stays (`caps_drop_dac_override`).
const OVERRIDES: [&str; 2] = ["dac_override", "dac_read_search"];

pub(super) struct Capabilities<'r> {
    none: Option<&'r Line>,
    dropped: Option<List<'r>>,
    kept: Option<List<'r>>,
    default: Option<&'r Line>,
}

impl<'r> Capabilities<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        let drops = || rules.elements("caps.drop");
        let none = drops().find(|(what, _)| *what == "all");
        let listed = || drops().filter(|(what, _)| *what != "all");
        let first = listed().next();
        Self {
            none: none.map(|(_, line)| line),
            dropped: first.map(|(_, line)| List::new(line, listed())),
            kept: List::of(rules, "caps.keep"),
            default: rules.line("caps"),
        }
    }

    pub(super) fn judge(&self, name: &str) -> Judgement<'r> {
        all([self.lines(name)])
    }

    fn lines(&self, name: &str) -> Step<'r> {
        if let Some(line) = self.none {
            return against(line);
        }
        if let Some(kept) = &self.kept {
            return kept.allows(name);
        }
        let line = match &self.dropped {
            Some(dropped) => dropped.get(name),
            None => self.default.filter(|_| DEFAULT.contains(&name)),
        };
        match line {
            Some(line) => against(line),
            _ if OVERRIDES.contains(&name) => Err(Refusal::Always(
                "Firejail takes it from root where no caps.keep says what stays",
            )),
            _ => PASS,
        }
    }
}
