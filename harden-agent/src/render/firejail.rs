//! A Firejail profile, in the order of Firejail's own template
//! (`etc/templates/profile.template`): header, includes, noblacklist, blacklist, whitelist,
//! options, private options, special options; one blank line between sections.

use crate::observation::Text;
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::Decision;
use crate::policy::firejail::{Filter, Launch, Profile, Rule};

use super::page::{Options, Page};

/// The name of the profile's file: Firejail finds `NAME.profile` by itself in /etc/firejail.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.profile", file_stem(subject))
}

/// The text of the profile.
#[must_use]
pub fn profile(profile: &Profile, options: &Options) -> String {
    let mut out = Page::new(options.clone());
    header(profile, &mut out);
    out.section(|out| {
        for item in &profile.defaults.noblacklist {
            out.item("noblacklist", item);
        }
    });
    out.section(|out| {
        for item in &profile.files.blacklist {
            out.item("blacklist", item);
        }
    });
    out.section(|out| {
        for item in &profile.files.whitelist {
            out.item("whitelist", item);
        }
        let of_whitelist = |rule: &Rule| matches!(rule, Rule::All | Rule::Whitelist(_));
        withheld_files(profile, of_whitelist, out);
    });
    out.section(|out| filters(profile, out));
    out.section(|out| private(profile, out));
    out.section(|out| special(profile, out));
    out.text()
}

fn header(profile: &Profile, out: &mut Page) {
    let stem = file_stem(&profile.subject);
    out.comment(&format!("Firejail profile for {}", profile.subject));
    // The marker stands at the beginning of its line, whatever the name above.
    out.line(&format!(
        "{MARKER_PREFIX} for Firejail {}; changes belong in {stem}.local",
        profile.target.version
    ));
    let coverage = &profile.coverage;
    out.coverage(coverage);
    if !coverage.control.is_empty() {
        out.remark(
            "Commands of the unit other than its main process (ExecStartPre= and the like) were \
             seen too. They are not in this profile: Firejail wraps ExecStart= alone",
        );
    }
    for line in profile.syscalls.advice.shown() {
        out.remark(&line);
    }
    out.remark(match profile.target.launch {
        Launch::Direct => "Start it with: firejail --profile=FILE PROGRAM",
        Launch::Shell(_) => "Start it with: firejail --profile=FILE -- PROGRAM",
    });
    out.warnings(&profile.warnings);
    out.remark("Persistent local customizations");
    out.line(&format!("include {stem}.local"));
    out.remark("Persistent global definitions");
    out.line("include globals.local");
}

/// The options section, sorted by directive.
fn filters(profile: &Profile, out: &mut Page) {
    if let Some(evidence) = &profile.defaults.allow_debuggers {
        out.evidence("", evidence);
        out.line("allow-debuggers");
    }
    match &profile.capabilities.keep {
        Decision::Given(kept) if kept.is_empty() => out.line("caps.drop all"),
        Decision::Given(kept) => out.list("caps.keep", kept),
        Decision::Withheld(reasons) => out.reasons("caps.keep", reasons),
    }
    for item in &profile.capabilities.noise {
        let why = item.note.as_deref().unwrap_or_default();
        out.remark(&format!("not kept: {}: {why}", item.value));
    }
    match &profile.protocols {
        Decision::Given(families) => out.list("protocol", families),
        Decision::Withheld(reasons) => out.reasons("protocol", reasons),
    }
    match &profile.syscalls.block_secondary {
        Decision::Given(()) => out.line("seccomp.block-secondary"),
        Decision::Withheld(reasons) => out.reasons("seccomp.block-secondary", reasons),
    }
    match &profile.syscalls.filter {
        Decision::Given(filter) => calls(filter, out),
        Decision::Withheld(reasons) => out.reasons("seccomp.keep", reasons),
    }
    for item in &profile.syscalls.secondary {
        out.evidence(&format!("not confined: {}", item.value), &item.evidence);
    }
    match &profile.shell_none {
        Decision::Given(()) => out.line("shell none"),
        Decision::Withheld(reasons) => out.reasons("shell none", reasons),
    }
}

fn calls(filter: &Filter, out: &mut Page) {
    match filter {
        Filter::Keep(calls) => out.list("seccomp.keep", calls),
        Filter::Drop(calls) => out.list("seccomp.drop", calls),
        Filter::Default(exceptions) if exceptions.is_empty() => out.line("seccomp"),
        Filter::Default(exceptions) => {
            for item in exceptions {
                out.explain(item);
            }
            let names: Vec<String> = exceptions
                .iter()
                .map(|item| format!("!{}", item.value))
                .collect();
            out.line(&format!("seccomp {}", names.join(",")));
        }
    }
}

/// The private options, sorted by directive.
fn private(profile: &Profile, out: &mut Page) {
    if let Some(evidence) = profile.dev.given().and_then(|dev| dev.keep_shm.as_ref()) {
        out.evidence("/dev/shm", evidence);
        out.line("keep-dev-shm");
    }
    if let Some(evidence) = &profile.defaults.keep_var_tmp {
        out.evidence("/var/tmp", evidence);
        out.line("keep-var-tmp");
    }
    match &profile.home {
        Decision::Given(homes) => {
            for item in homes {
                out.explain(item);
            }
            out.line("private");
        }
        Decision::Withheld(reasons) => out.reasons("private", reasons),
    }
    match &profile.programs {
        Decision::Given(programs) => out.list("private-bin", programs),
        Decision::Withheld(reasons) => out.reasons("private-bin", reasons),
    }
    match &profile.dev {
        Decision::Given(dev) => {
            for item in &dev.used {
                out.evidence(&item.value, &item.evidence);
            }
            out.line("private-dev");
        }
        Decision::Withheld(reasons) => out.reasons("private-dev", reasons),
    }
    match &profile.etc {
        Decision::Given(names) => out.list("private-etc", names),
        Decision::Withheld(reasons) => out.reasons("private-etc", reasons),
    }
    match &profile.tmp {
        Decision::Given(()) => out.line("private-tmp"),
        Decision::Withheld(reasons) => out.reasons("private-tmp", reasons),
    }
    let writable = [
        ("writable-etc", &profile.files.writable_etc),
        ("writable-var", &profile.files.writable_var),
        ("writable-var-log", &profile.defaults.writable_var_log),
    ];
    for (directive, evidence) in writable {
        if let Some(evidence) = evidence {
            out.evidence("", evidence);
            out.line(directive);
        }
    }
}

/// The special options. Firejail applies `read-only` and `read-write` in this order.
fn special(profile: &Profile, out: &mut Page) {
    match &profile.name {
        Decision::Given(name) => out.line(&format!("name {name}")),
        Decision::Withheld(reasons) => out.reasons("name", reasons),
    }
    for item in &profile.files.read_only {
        out.item("read-only", item);
    }
    let of_read_only = |rule: &Rule| matches!(rule, Rule::All | Rule::ReadOnly(_));
    withheld_files(profile, of_read_only, out);
    for item in &profile.files.read_write {
        out.item("read-write", item);
    }
}

/// What the files' part of the profile leaves out, where such a rule would stand.
fn withheld_files(profile: &Profile, belongs: fn(&Rule) -> bool, out: &mut Page) {
    for withheld in &profile.files.withheld {
        if belongs(&withheld.rule) {
            out.remark(&format!("no {}: {}", withheld.rule, withheld.reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::observation::arbitrary::observation;
    use crate::observation::{ControlCommand, Observation, Operation, RunKind};
    use crate::policy::Item;
    use crate::policy::firejail::Target;
    use crate::policy::fixture::Fixture;
    use crate::policy::{Basis, Compatibility, DecisionOptions, Id};

    fn rendered(observation: &Observation, bare: bool) -> String {
        let options = Options {
            bare,
            ..Options::default()
        };
        profile(
            &Profile::decide(
                &Basis::of(observation),
                Target::default(),
                &DecisionOptions::default(),
            ),
            &options,
        )
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
            | "private"
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
            "seccomp.drop" => all(b"_,"),
            "seccomp" => argument.is_empty() || all(b"_,!"),
            "private-bin" => all(b"/._-+@=:,") && !argument.contains(",,"),
            "private-etc" => all(b"._-+@=:,") && !argument.contains(",,"),
            "shell" => argument == "none",
            _ => false,
        }
    }

    /// The rules of a profile, as Firejail reads them: by directive, each argument, or each item of a list.
    fn read(text: &str) -> BTreeMap<String, Vec<String>> {
        const LISTS: [&str; 6] = [
            "caps.keep",
            "private-bin",
            "private-etc",
            "protocol",
            "seccomp.drop",
            "seccomp.keep",
        ];
        let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let lines = text.lines().filter(|line| !line.is_empty());
        for line in lines.filter(|line| !line.starts_with(['#'])) {
            let (directive, argument) = line.split_once(' ').unwrap_or((line, ""));
            let arguments: Vec<&str> = if LISTS.contains(&directive) {
                argument.split(',').collect()
            } else {
                vec![argument]
            };
            let rule = rules.entry(directive.to_owned()).or_default();
            rule.extend(arguments.into_iter().map(str::to_owned));
        }
        rules
    }

    /// The same of a profile.
    fn decided(profile: &Profile) -> BTreeMap<String, Vec<String>> {
        fn values(items: &[Item]) -> Vec<String> {
            items.iter().map(|item| item.value.clone()).collect()
        }
        let stem = file_stem(&profile.subject);
        let local = vec![format!("{stem}.local"), "globals.local".to_owned()];
        let (files, defaults) = (&profile.files, &profile.defaults);
        let mut rules: Vec<(&str, Vec<String>)> = vec![
            ("include", local),
            ("noblacklist", values(&defaults.noblacklist)),
            ("blacklist", values(&files.blacklist)),
            ("whitelist", values(&files.whitelist)),
            ("read-only", values(&files.read_only)),
            ("read-write", values(&files.read_write)),
            ("name", profile.name.given().cloned().into_iter().collect()),
        ];
        for (directive, list) in [
            ("caps.keep", profile.capabilities.keep.given()),
            ("protocol", profile.protocols.given()),
            ("private-bin", profile.programs.given()),
            ("private-etc", profile.etc.given()),
        ] {
            rules.push((directive, list.map(|list| values(list)).unwrap_or_default()));
        }
        match profile.syscalls.filter.given() {
            Some(Filter::Keep(calls)) => rules.push(("seccomp.keep", values(calls))),
            Some(Filter::Drop(calls)) => rules.push(("seccomp.drop", values(calls))),
            Some(Filter::Default(calls)) => {
                let but: Vec<_> = calls.iter().map(|one| format!("!{}", one.value)).collect();
                rules.push(("seccomp", vec![but.join(",")]));
            }
            None => {}
        }
        let no_capabilities = profile.capabilities.keep.given().is_some_and(Vec::is_empty);
        let is_kept = |evidence: &Option<_>| evidence.is_some();
        let dev = profile.dev.given();
        for (directive, argument, is_given) in [
            ("caps.drop", "all", no_capabilities),
            (
                "seccomp.block-secondary",
                "",
                profile.syscalls.block_secondary.given().is_some(),
            ),
            ("shell", "none", profile.shell_none.given().is_some()),
            ("private", "", profile.home.given().is_some()),
            ("private-dev", "", dev.is_some()),
            (
                "keep-dev-shm",
                "",
                dev.is_some_and(|dev| is_kept(&dev.keep_shm)),
            ),
            ("private-tmp", "", profile.tmp.given().is_some()),
            ("allow-debuggers", "", is_kept(&defaults.allow_debuggers)),
            ("keep-var-tmp", "", is_kept(&defaults.keep_var_tmp)),
            ("writable-var-log", "", is_kept(&defaults.writable_var_log)),
            ("writable-etc", "", is_kept(&files.writable_etc)),
            ("writable-var", "", is_kept(&files.writable_var)),
        ] {
            if is_given {
                rules.push((directive, vec![argument.to_owned()]));
            }
        }
        let rules = rules.into_iter().filter(|(_, values)| !values.is_empty());
        rules
            .map(|(directive, values)| (directive.to_owned(), values))
            .collect()
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
            for line in rendered(&observation, bare).split('\n') {
                prop_assert!(is_sound(line), "{line:?}");
            }
        }

        #[test]
        fn what_is_written_reads_as_what_was_decided(mut observation in observation(), bare: bool) {
            for run in observation.runs.values_mut() {
                for fact in ["syscalls", "capabilities", "files", "lookups"] {
                    run.hooks.insert(fact.to_owned(), String::new());
                }
            }
            let profile = Profile::decide(&Basis::of(&observation), Target::default(), &DecisionOptions::default());
            let text = super::profile(&profile, &Options { bare, ..Options::default() });
            prop_assert_eq!(read(&text), decided(&profile));
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
            for line in rendered(&observation, false).split('\n') {
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
        let options = Options {
            bare: true,
            silenced: [Id::FEW_TESTS].into(),
            remarks: Vec::new(),
        };
        let decision_options = DecisionOptions {
            compatibility: Compatibility::Exact,
            ..DecisionOptions::default()
        };
        let text = profile(
            &Profile::decide(
                &Basis::of(&observation),
                Target::default(),
                &decision_options,
            ),
            &options,
        );
        let expected = "\
# Firejail profile for test
# Written by harden for Firejail 0.9.72; changes belong in test.local
# Silenced: 1 warning few-tests
include test.local
include globals.local

blacklist /home
blacklist /media
blacklist /mnt
blacklist /opt
blacklist /root
blacklist /srv

whitelist /var/lib/d

caps.drop all
protocol inet
seccomp.block-secondary
seccomp.keep access,arch_prctl,brk,close,execve,exit_group,futex,getcwd,getegid,geteuid,getgid,getpeername,getpgrp,\
getuid,mmap,mprotect,munmap,newfstatat,openat,pread64,prlimit64,read,set_robust_list,set_tid_address

private-bin bash,d
private-dev
private-etc d.conf
private-tmp

name test
read-only /etc
read-only /usr
read-only /var
read-write /var/lib/d
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
        let text = rendered(&fixture.observation(), false);
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
        let text = rendered(&blind, false);
        for directive in [
            "caps.keep",
            "protocol",
            "seccomp.keep",
            "seccomp.block-secondary",
            "private",
            "private-bin",
            "private-dev",
            "private-etc",
            "private-tmp",
        ] {
            assert!(text.contains(&format!("# no {directive}: ")), "{directive}");
        }
        assert!(!text.lines().any(|line| line.starts_with("blacklist")));
        assert!(text.contains("# WARNING[no-hook]: INCOMPLETE"));
    }
}
