//! Which capabilities: those that a check granted to the task itself, in the initial user
//! namespace and audited. Everything else is a question, not a need, and is listed apart.
//!
//! Where the kernel asks for one of two (`DAC_READ_SEARCH` then `DAC_OVERRIDE` in
//! `generic_permission`, fs/namei.c; `BPF`, `PERFMON` or `CHECKPOINT_RESTORE` then `SYS_ADMIN`,
//! include/linux/capability.h), it stops at the first that is granted: what was granted is enough.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;

use crate::observation::{CapabilityCheck, Observation, Seen, Text, Word};

use super::evidence::{Evidence, Item};
use super::{given_away, refused, set_id, unchecked};

/// Whether this build has a name for it: one of a newer kernel has a number in it.
pub(super) fn is_known(name: &Word) -> bool {
    let word = format!("CAP_{}", name.as_str().to_ascii_uppercase());
    word.parse::<caps::Capability>().is_ok()
}

/// What was asked for, whatever sandbox is to be written.
pub(super) struct Needs<'a> {
    /// Granted to the task itself, asked to be kept, or looked for without a check.
    pub needed: BTreeMap<Word, Need<'a>>,
    /// Asked for, and not needed.
    pub noise: BTreeMap<(&'a Word, CapabilityCheck), Evidence>,
}

/// What is known of a need.
#[derive(Default)]
pub(super) struct Need<'a> {
    pub evidence: Evidence,
    /// The calls in which it was granted.
    calls: BTreeSet<&'a Word>,
    /// What they were about.
    objects: BTreeSet<&'a Text>,
    /// Whether some task asked to keep it.
    kept: bool,
    /// Why it is needed although no check was seen.
    pub unchecked: BTreeSet<&'static str>,
    /// The programs whose files give it at once.
    files: BTreeSet<&'a Text>,
    /// Whether something else than a file's attribute asks for it.
    used: bool,
    /// Why it is perhaps not needed.
    doubt: Option<&'static str>,
    /// What else will perhaps be needed.
    remark: Option<String>,
}

impl Need<'_> {
    /// Whether only files ask for it, which bring it with them.
    pub(super) fn is_brought(&self) -> bool {
        !self.used && self.unchecked.is_empty()
    }

    /// `value` with all that asks for it.
    pub(super) fn item(&self, value: impl Into<String>) -> Item {
        Item {
            note: self.note(),
            ..Item::new(value, self.evidence.clone())
        }
    }

    /// All that there is to say about it.
    fn note(&self) -> Option<String> {
        let kept = self
            .kept
            .then_some("capset(2) or an ambient raise asks to keep it, and fails without");
        // `bprm_caps_from_vfs_caps` in security/commoncap.c: EPERM.
        let files = self.files.iter().map(|path| {
            format!(
                "file capabilities of {path}, which is not run at all where one of them is missing"
            )
        });
        let doubt = self.doubt.map(|why| format!("perhaps not needed: {why}"));
        let clauses: Vec<String> = self
            .asked()
            .into_iter()
            .chain(kept.map(str::to_owned))
            .chain(self.unchecked.iter().map(|why| (*why).to_owned()))
            .chain(files)
            .chain(doubt)
            .chain(self.remark.clone())
            .collect();
        (!clauses.is_empty()).then(|| clauses.join("; "))
    }

    /// In which calls, and about what: `asked for in bind: bind inet 0.0.0.0:80`.
    pub(super) fn asked(&self) -> Option<String> {
        /// More of them make no reader wiser.
        const NAMED: usize = 3;
        let calls: Vec<&str> = self.calls.iter().map(|call| call.as_str()).collect();
        let objects = self.objects.iter().take(NAMED);
        let objects: Vec<String> = objects.map(ToString::to_string).collect();
        let mut text = format!("asked for in {}", calls.join(", "));
        if !objects.is_empty() {
            text = format!("{text}: {}", objects.join(", "));
        }
        if self.objects.len() > NAMED {
            text = format!("{text} and {} more", self.objects.len() - NAMED);
        }
        (!calls.is_empty()).then_some(text)
    }
}

/// Tells needs from noise.
pub(super) fn needs(observation: &Observation) -> Needs<'_> {
    let mut needed: BTreeMap<Word, Need<'_>> = BTreeMap::new();
    let mut sets_id = false;
    let mut noise: BTreeMap<(&Word, CapabilityCheck), Evidence> = BTreeMap::new();
    for (id, run) in observation.tests() {
        for (path, executable) in &run.executables {
            for (name, checks) in &executable.capabilities {
                for (check, seen) in checks {
                    match check {
                        CapabilityCheck::Granted | CapabilityCheck::Kept => {
                            let need = needed.entry(name.clone()).or_default();
                            need.kept |= *check == CapabilityCheck::Kept;
                            need.used = true;
                            &mut need.evidence
                        }
                        other => noise.entry((name, *other)).or_default(),
                    }
                    .add(id, path, seen);
                }
            }
            sets_id |= refused::arguments(run, executable).contains(&Argument::ModeSetid);
            for name in set_id::at_once(executable) {
                let need = needed.entry(name.clone()).or_default();
                need.files.insert(path);
                need.evidence.add(id, path, &Seen::default());
            }
            for (name, calls) in &executable.capability_calls {
                if let Some(need) = needed.get_mut(name) {
                    need.calls.extend(calls.keys());
                }
            }
            for (name, objects) in &executable.capability_objects {
                if let Some(need) = needed.get_mut(name) {
                    need.objects.extend(objects.keys());
                }
            }
        }
    }
    unchecked::add(observation, &mut needed);
    let has_override = needed.keys().any(|name| name.as_str() == "dac_override");
    for (name, need) in &mut needed {
        if name.as_str() == "chown" && !has_override {
            need.remark = given_away::remark(observation);
        }
        let is_sure = need.kept || !need.unchecked.is_empty() || !need.files.is_empty();
        need.doubt = unchecked::doubt(name.as_str(), &need.calls, sets_id).filter(|_| !is_sure);
    }
    noise.retain(|(name, _), _| !needed.contains_key(*name));
    Needs { needed, noise }
}

/// Whether one of the checks granted it to the task itself, or the task asked to keep it.
pub(super) fn is_needed(checks: &BTreeMap<CapabilityCheck, Seen>) -> bool {
    [CapabilityCheck::Granted, CapabilityCheck::Kept]
        .iter()
        .any(|check| checks.contains_key(check))
}

/// Why a check is no need.
pub(super) fn why_not(check: CapabilityCheck) -> &'static str {
    match check {
        CapabilityCheck::Granted => "used",
        CapabilityCheck::Kept => "asked to be kept",
        CapabilityCheck::Denied => "denied, and the work passed without",
        CapabilityCheck::GrantedNoaudit => {
            "only a question (CAP_OPT_NOAUDIT: memory overcommit, listings)"
        }
        CapabilityCheck::DeniedNoaudit => "only a question (CAP_OPT_NOAUDIT), and denied",
        CapabilityCheck::OverriddenCredentials => {
            "asked under credentials that were not the task's own (overlayfs)"
        }
        CapabilityCheck::ChildUserNamespace => {
            "asked in a child user namespace: needs nothing outside it"
        }
    }
}
