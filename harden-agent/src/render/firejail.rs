//! A policy as a Firejail profile, in the order of Firejail's own template
//! (`etc/templates/profile.template`): header, includes, noblacklist, blacklist, whitelist,
//! options, private options, special options; one blank line between sections.

use std::fmt::Write;

use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::{Decision, Evidence, Item, Launch, Policy};

/// How much is written beside the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Rules only: no evidence, no reasons. Warnings stay.
    pub bare: bool,
}

/// The name of the profile's file: Firejail finds `NAME.profile` by itself in /etc/firejail.
#[must_use]
pub fn file_name(policy: &Policy) -> String {
    format!("{}.profile", file_stem(&policy.subject))
}

/// The text of the profile.
#[must_use]
pub fn profile(policy: &Policy, options: Options) -> String {
    let mut out = Profile {
        text: String::new(),
        options,
    };
    header(policy, &mut out);
    out.section(|out| {
        for item in &policy.defaults.noblacklist {
            out.item("noblacklist", item);
        }
    });
    out.section(|out| {
        for item in &policy.files.blacklist {
            out.item("blacklist", item);
        }
    });
    out.section(|out| {
        for item in &policy.files.whitelist {
            out.item("whitelist", item);
        }
        out.withheld_files(policy, "whitelist");
    });
    out.section(|out| filters(policy, out));
    out.section(|out| private(policy, out));
    out.section(|out| special(policy, out));
    out.text
}

fn header(policy: &Policy, out: &mut Profile) {
    let stem = file_stem(&policy.subject);
    out.comment(&format!("Firejail profile for {}", policy.subject));
    // The marker stands at the beginning of its line, whatever the name above.
    let _ = writeln!(
        out.text,
        "{MARKER_PREFIX} for Firejail {}; changes belong in {stem}.local",
        policy.target.version
    );
    let coverage = &policy.coverage;
    out.remark(&format!(
        "Over {}{} of {}",
        plural(coverage.runs, "run"),
        match coverage.windows {
            0 => String::new(),
            windows => format!(" and {}", plural(windows, "window")),
        },
        plural(coverage.executables.len(), "executable")
    ));
    if !coverage.control.is_empty() {
        out.remark(
            "Commands of the unit other than its main process (ExecStartPre= and the like) were \
             seen too. They are not in this profile: Firejail wraps ExecStart= alone",
        );
    }
    out.remark(match policy.target.launch {
        Launch::Direct => "Start it with: firejail --profile=FILE PROGRAM",
        Launch::Shell(_) => "Start it with: firejail --profile=FILE -- PROGRAM",
    });
    for warning in &policy.warnings {
        out.comment(&format!("WARNING: {warning}"));
    }
    out.remark("Persistent local customizations");
    out.line(&format!("include {stem}.local"));
    out.remark("Persistent global definitions");
    out.line("include globals.local");
}

/// The options section, sorted by directive.
fn filters(policy: &Policy, out: &mut Profile) {
    if let Some(evidence) = &policy.defaults.allow_debuggers {
        out.evidence("", evidence);
        out.line("allow-debuggers");
    }
    match &policy.capabilities.keep {
        Decision::Given(kept) if kept.is_empty() => out.line("caps.drop all"),
        Decision::Given(kept) => out.list("caps.keep", kept),
        Decision::Withheld(reasons) => out.reasons("caps.keep", reasons),
    }
    for item in &policy.capabilities.noise {
        let why = item.note.as_deref().unwrap_or_default();
        out.remark(&format!("not kept: {}: {why}", item.value));
    }
    match &policy.protocols {
        Decision::Given(families) => out.list("protocol", families),
        Decision::Withheld(reasons) => out.reasons("protocol", reasons),
    }
    match &policy.syscalls.block_secondary {
        Decision::Given(()) => out.line("seccomp.block-secondary"),
        Decision::Withheld(reasons) => out.reasons("seccomp.block-secondary", reasons),
    }
    match &policy.syscalls.keep {
        Decision::Given(calls) => out.list("seccomp.keep", calls),
        Decision::Withheld(reasons) => out.reasons("seccomp.keep", reasons),
    }
    for item in &policy.syscalls.secondary {
        out.evidence(&format!("not confined: {}", item.value), &item.evidence);
    }
    match &policy.shell_none {
        Decision::Given(()) => out.line("shell none"),
        Decision::Withheld(reasons) => out.reasons("shell none", reasons),
    }
}

/// The private options, sorted by directive.
fn private(policy: &Policy, out: &mut Profile) {
    if let Some(evidence) = policy.dev.given().and_then(|dev| dev.keep_shm.as_ref()) {
        out.evidence("/dev/shm", evidence);
        out.line("keep-dev-shm");
    }
    if let Some(evidence) = &policy.defaults.keep_var_tmp {
        out.evidence("/var/tmp", evidence);
        out.line("keep-var-tmp");
    }
    match &policy.programs {
        Decision::Given(programs) => out.list("private-bin", programs),
        Decision::Withheld(reasons) => out.reasons("private-bin", reasons),
    }
    match &policy.dev {
        Decision::Given(dev) => {
            for item in &dev.used {
                out.evidence(&item.value, &item.evidence);
            }
            out.line("private-dev");
        }
        Decision::Withheld(reasons) => out.reasons("private-dev", reasons),
    }
    match &policy.etc {
        Decision::Given(names) => out.list("private-etc", names),
        Decision::Withheld(reasons) => out.reasons("private-etc", reasons),
    }
    match &policy.tmp {
        Decision::Given(()) => out.line("private-tmp"),
        Decision::Withheld(reasons) => out.reasons("private-tmp", reasons),
    }
    let writable = [
        ("writable-etc", &policy.files.writable_etc),
        ("writable-var", &policy.files.writable_var),
        ("writable-var-log", &policy.defaults.writable_var_log),
    ];
    for (directive, evidence) in writable {
        if let Some(evidence) = evidence {
            out.evidence("", evidence);
            out.line(directive);
        }
    }
}

/// The special options. Firejail applies `read-only` and `read-write` in this order.
fn special(policy: &Policy, out: &mut Profile) {
    match &policy.name {
        Decision::Given(name) => out.line(&format!("name {name}")),
        Decision::Withheld(reasons) => out.reasons("name", reasons),
    }
    for item in &policy.files.read_only {
        out.item("read-only", item);
    }
    out.withheld_files(policy, "read-only");
    for item in &policy.files.read_write {
        out.item("read-write", item);
    }
}

fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// The text so far.
struct Profile {
    text: String,
    options: Options,
}

impl Profile {
    /// What `fill` writes, after a blank line; nothing if it writes nothing.
    fn section(&mut self, fill: impl FnOnce(&mut Self)) {
        let start = self.text.len();
        self.text.push('\n');
        fill(self);
        if self.text.len() == start + 1 {
            self.text.truncate(start);
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A comment line: printable ASCII, one line, never longer than Firejail's buffer, whatever
    /// `text` holds. Its first character is a space, so it can never be the marker.
    fn comment(&mut self, text: &str) {
        /// Firejail reads 8,191 characters of a line, and the rest as another line.
        const LIMIT: usize = 4000;
        let mut line = String::from("# ");
        for character in text.chars() {
            if line.len() > LIMIT {
                line.push_str("...");
                break;
            }
            if character == ' ' || character.is_ascii_graphic() {
                line.push(character);
            } else {
                let _ = write!(line, "{}", character.escape_unicode());
            }
        }
        self.line(&line);
    }

    /// A comment that a bare profile does without.
    fn remark(&mut self, text: &str) {
        if !self.options.bare {
            self.comment(text);
        }
    }

    fn evidence(&mut self, value: &str, evidence: &Evidence) {
        let separator = if value.is_empty() { "" } else { ": " };
        self.remark(&format!("{value}{separator}{evidence}"));
    }

    fn explain(&mut self, item: &Item) {
        match &item.note {
            Some(note) if item.evidence.executables.is_empty() => {
                self.remark(&format!("{}: {note}", item.value));
            }
            Some(note) => self.remark(&format!("{}: {}; {note}", item.value, item.evidence)),
            None => self.evidence(&item.value, &item.evidence),
        }
    }

    /// One directive with one argument.
    fn item(&mut self, directive: &str, item: &Item) {
        self.explain(item);
        self.line(&format!("{directive} {}", item.value));
    }

    /// One directive with a list.
    fn list(&mut self, directive: &str, items: &[Item]) {
        for item in items {
            self.explain(item);
        }
        let values: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
        self.line(&format!("{directive} {}", values.join(",")));
    }

    /// Why a directive is not there.
    fn reasons(&mut self, directive: &str, reasons: &[String]) {
        /// More of them make no reader wiser.
        const NAMED: usize = 5;
        let mut seen = std::collections::BTreeSet::new();
        let reasons: Vec<_> = reasons
            .iter()
            .filter(|reason| seen.insert(*reason))
            .collect();
        for reason in reasons.iter().take(NAMED) {
            self.remark(&format!("no {directive}: {reason}"));
        }
        if reasons.len() > NAMED {
            self.remark(&format!(
                "no {directive}: and {} more reasons",
                reasons.len() - NAMED
            ));
        }
    }

    fn withheld_files(&mut self, policy: &Policy, directive: &str) {
        for withheld in &policy.files.withheld {
            if withheld.rule.contains(directive) {
                self.remark(&format!("no {}: {}", withheld.rule, withheld.reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observation::arbitrary::observation;
    use crate::observation::{ControlCommand, Observation, Operation, RunKind};
    use crate::policy::Target;
    use crate::policy::fixture::Fixture;

    fn rendered(observation: &Observation, options: Options) -> String {
        profile(&Policy::decide(observation, Target::default()), options)
    }

    /// Whether `line` is one that Firejail reads as what it says, and as nothing else.
    fn is_sound(line: &str) -> bool {
        if line.len() > 8191 || !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return false;
        }
        if line.is_empty() || line.starts_with("# ") {
            return true;
        }
        let (directive, argument) = line.split_once(' ').unwrap_or((line, ""));
        let all = |safe: &[u8]| {
            !argument.is_empty()
                && argument
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || safe.contains(&byte))
        };
        match directive {
            "allow-debuggers"
            | "keep-dev-shm"
            | "keep-var-tmp"
            | "private-dev"
            | "private-tmp"
            | "seccomp.block-secondary"
            | "writable-etc"
            | "writable-var"
            | "writable-var-log" => argument.is_empty(),
            "include" => all(b"._-@+") && argument.strip_suffix(".local").is_some(),
            "noblacklist" | "blacklist" | "whitelist" | "read-only" | "read-write" => {
                all(b"/._-+@=:~ ") && argument.starts_with('/') && !argument.contains("..")
            }
            "name" => all(b"._-"),
            "caps.drop" => argument == "all",
            "caps.keep" | "protocol" => all(b"_,-"),
            "seccomp.keep" => all(b"_,-$"),
            "private-bin" => all(b"/._-+@=:,") && !argument.contains(",,"),
            "private-etc" => all(b"._-+@=:,") && !argument.contains(",,"),
            "shell" => argument == "none",
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn whatever_was_observed_every_line_is_sound(
            mut observation in observation(),
            bare: bool,
        ) {
            for run in observation.runs.values_mut() {
                for fact in ["syscalls", "capabilities", "files"] {
                    run.hooks.insert(fact.to_owned(), String::new());
                }
            }
            for line in rendered(&observation, Options { bare }).split('\n') {
                prop_assert!(is_sound(line), "{line:?}");
            }
        }

        #[test]
        fn any_path_in_any_place_is_harmless(
            path in proptest::collection::vec(1..=u8::MAX, 0..40),
            top in proptest::sample::select(&["/etc/", "/srv/", "/usr/bin/", "/dev/", "/tmp/", "/var/lib/d/", "/"][..]),
            write: bool,
        ) {
            let path = [top.as_bytes(), &path].concat();
            let operation = if write { Operation::Create } else { Operation::Read };
            let observation = Fixture::new()
                .executable("/usr/sbin/d")
                .file(path, operation, "ok")
                .observation();
            for line in rendered(&observation, Options::default()).split('\n') {
                prop_assert!(is_sound(line), "{line:?}");
            }
        }
    }

    #[test]
    fn the_marker_and_the_order_of_sections() {
        let observation = Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read"])
            .family("inet")
            .file("/etc/d.conf", Operation::Read, "ok")
            .file("/var/lib/d/state", Operation::Write, "ok")
            .observation();
        let text = rendered(&observation, Options { bare: true });
        let expected = "\
# Firejail profile for test
# Written by harden for Firejail 0.9.72; changes belong in test.local
include test.local
include globals.local

blacklist /home
blacklist /media
blacklist /mnt
blacklist /opt
blacklist /root
blacklist /srv

whitelist /var/lib/d/state

caps.drop all
protocol inet
seccomp.block-secondary
seccomp.keep access,arch_prctl,brk,close,execve,exit_group,futex,getcwd,getegid,geteuid,getgid,getpgrp,\
getuid,mmap,mprotect,munmap,newfstatat,openat,pread64,prlimit64,read,set_robust_list,set_tid_address

private-bin bash,d
private-dev
private-etc d.conf
private-tmp

name test
read-only /etc
read-only /usr
read-only /var
read-write /var/lib/d/state
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_the_unit_s_other_commands_did_is_left_out_and_that_is_said() {
        let mut fixture = Fixture::new().executable("/bin/pre").syscalls(&["mount"]);
        let run = fixture.run();
        let pre = std::mem::take(&mut run.executables);
        run.control.insert(ControlCommand::StartPre, pre);
        let mut fixture = fixture.executable("/bin/daemon").syscalls(&["read"]);
        fixture.run().kind = RunKind::Invocation;
        let mut fixture = fixture.next_run();
        fixture.run().kind = RunKind::Window;
        let text = rendered(&fixture.observation(), Options::default());
        assert!(
            text.contains("# Over 1 run and 1 window of 1 executable\n"),
            "{text}"
        );
        assert!(text.contains("Firejail wraps ExecStart= alone\n"), "{text}");
        assert!(
            !text.contains("mount") && !text.contains("/bin/pre"),
            "{text}"
        );
    }

    #[test]
    fn every_missing_line_says_why() {
        let empty = Fixture::new().observation();
        let mut blind = empty.clone();
        for run in blind.runs.values_mut() {
            run.hooks.clear();
        }
        let text = rendered(&blind, Options::default());
        for directive in [
            "caps.keep",
            "protocol",
            "seccomp.keep",
            "seccomp.block-secondary",
            "private-bin",
            "private-dev",
            "private-etc",
            "private-tmp",
        ] {
            assert!(text.contains(&format!("# no {directive}: ")), "{directive}");
        }
        assert!(!text.lines().any(|line| line.starts_with("blacklist")));
        assert!(text.contains("# WARNING: INCOMPLETE"));
    }
}
