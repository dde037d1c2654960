//! What the lines of units mean, also those that harden does not write.

use harden_common::Argument;

use super::super::{
    source, systemd,
    tests::{drop_in, program},
};
use crate::{
    observation::{CapabilityCheck, Deed, Operation},
    policy::{
        fixture::Fixture,
        judge::{Judge, Recorded, Surroundings},
    },
};

/// The last fact of each fixture is allowed, or is not.
fn assert_said<const N: usize>(cases: [(&str, Fixture, bool); N]) {
    for (text, fixture, is_allowed) in cases {
        let judged = drop_in(text, fixture);
        let said = judged.last().unwrap();
        assert_eq!(said.starts_with("allowed"), is_allowed, "{text}: {said}");
    }
}

#[test]
fn words_are_those_that_systemd_reads() {
    let write = |path: &str| program().file(path, Operation::Write, "ok");
    assert_said([
        // An empty value is neither yes nor no, and other words change nothing.
        ("ProtectHome=yes\nProtectHome=", write("/root/x"), false),
        ("ProtectHome=T", write("/root/x"), false),
        ("ProtectHome=yes\nProtectHome=OFF", write("/root/x"), true),
        (
            "MemoryDenyWriteExecute=y\nMemoryDenyWriteExecute=",
            program().argument(Argument::MmapWriteExec),
            false,
        ),
    ]);
}

#[test]
fn lists_of_calls_and_families_are_sets() {
    let call = |name: &str| program().syscalls(&[name]);
    assert_said([
        // What systemd allows by itself can be taken away.
        (
            "SystemCallFilter=@system-service\nSystemCallFilter=~execve",
            call("execve"),
            false,
        ),
        (
            "SystemCallFilter=@system-service\nSystemCallFilter=~execve execveat\nSystemCallFilter=execve",
            call("execve"),
            true,
        ),
        // Neither takes the list away.
        (
            "SystemCallFilter=read\nSystemCallFilter=~",
            call("mkdir"),
            false,
        ),
        (
            "SystemCallFilter=~\nSystemCallFilter=read",
            call("mkdir"),
            true,
        ),
        (
            "SystemCallFilter=read\nSystemCallFilter=",
            call("mkdir"),
            true,
        ),
        (
            "RestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=~",
            program().family("inet"),
            false,
        ),
        (
            "RestrictAddressFamilies=none\nRestrictAddressFamilies=~AF_UNIX",
            program().family("inet"),
            true,
        ),
        (
            "RestrictAddressFamilies=AF_LOCAL",
            program().family("unix"),
            true,
        ),
        (
            "RestrictAddressFamilies=~AF_LOCAL",
            program().family("unix"),
            false,
        ),
        (
            "RestrictNamespaces=yes\nRestrictNamespaces=user",
            program().argument(Argument::NamespaceUser),
            true,
        ),
        (
            "RestrictNamespaces=no\nRestrictNamespaces=uts",
            program().argument(Argument::NamespaceUser),
            true,
        ),
        (
            "RestrictNamespaces=~uts",
            program().argument(Argument::NamespaceAny),
            false,
        ),
    ]);
}

/// No program of the unit makes that call; a list of what is allowed always has it.
#[test]
fn the_exec_of_the_command_is_filtered() {
    let said = |filter: &str| {
        let read = systemd::read(&format!("[Service]\nSystemCallFilter={filter}"));
        let judge = Judge::new(&read.rules, &Surroundings::default());
        let observation = program().observation();
        let recorded = Recorded::of(&observation);
        let mut cases = recorded.cases();
        let ran = cases.find(|case| matches!(case.fact.what, Deed::Ran));
        judge.judge(&ran.expect("it ran")).is_refused()
    };
    assert!(said("~execve"));
    assert!(said("@system-service\nSystemCallFilter=~execve"));
    assert!(!said("read"));
    assert!(!said("~ptrace"));
}

#[test]
fn a_set_of_capabilities_may_begin_again() {
    let chown = || program().capability("chown", CapabilityCheck::Granted);
    assert_said([
        ("CapabilityBoundingSet=~cap_chown", chown(), false),
        ("CapabilityBoundingSet=~0", chown(), false),
        (
            "CapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_KILL",
            chown(),
            false,
        ),
        (
            "CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=CAP_NOTHING",
            chown(),
            false,
        ),
        (
            "CapabilityBoundingSet=~CAP_CHOWN\nCapabilityBoundingSet=~CAP_NOTHING",
            chown(),
            true,
        ),
        (
            "CapabilityBoundingSet=~CAP_CHOWN\nCapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=CAP_KILL",
            chown(),
            false,
        ),
    ]);
}

#[test]
fn the_strictest_of_several_lines_holds() {
    let call = |name: &str| program().syscalls(&[name]);
    let write = |path: &str| program().file(path, Operation::Write, "ok");
    assert_said([
        // Of two for the same directory the strictest one.
        (
            "ReadWritePaths=/srv\nReadOnlyPaths=/srv",
            write("/srv/x"),
            false,
        ),
        (
            "ProtectSystem=strict\nReadWritePaths=/",
            write("/srv/x"),
            false,
        ),
        (
            "ProtectSystem=strict\nReadWritePaths=/srv",
            write("/srv/x"),
            true,
        ),
        ("ProtectSystem=strict", write("/root/x"), true),
        (
            "ProtectSystem=strict\nStateDirectory=d:e",
            write("/var/lib/d/x"),
            true,
        ),
        ("TemporaryFileSystem=/srv:rw,ro", write("/srv/x"), false),
        (
            "DevicePolicy=closed",
            program().argument(Argument::MknodDevice),
            false,
        ),
        ("SystemCallFilter=~@clock \\\n @mount", call("mount"), false),
    ]);
}

#[test]
fn a_user_of_its_own_brings_a_strict_sandbox() {
    let read = systemd::read("[Service]\nDynamicUser=yes\n");
    let lines: Vec<String> = read.rules.lines().iter().map(ToString::to_string).collect();
    assert!(
        lines.contains(&"ProtectSystem=strict".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn each_file_of_a_unit_begins_without_a_section() {
    let mut lines = source::lines("a", "[Service]\nProtectHome=yes");
    lines.extend(source::lines("b", "ProtectHome=no"));
    lines.extend(source::lines("c", "[Service\nProtectHome=no"));
    let read = systemd::read_lines(&lines);
    assert_eq!(read.unread.len(), 3);
    assert_eq!(read.rules.lines().len(), 1);
}

#[test]
fn a_limit_that_may_be_too_low_is_not_judged() {
    for (line, unread) in [
        ("LimitNOFILE=4096", 0),
        ("LimitNOFILE=64K:infinity", 0),
        ("LimitNOFILE=infinity", 0),
        ("LimitNOFILE=3", 1),
        ("LimitAS=1M", 1),
        ("LimitCORE=0", 0),
        ("MemoryMax=1M", 1),
        ("MemoryMax=infinity", 0),
        ("UMask=0077", 0),
        ("UMask=0777", 1),
    ] {
        let read = systemd::read(&format!("[Service]\n{line}\n"));
        assert_eq!(read.unread.len(), unread, "{line}");
    }
}
