//! What the files of containers mean.

use std::collections::BTreeSet;

use harden_common::Argument;

use super::super::{
    Judge, Recorded, Surroundings, oci,
    tests::{FREE, program},
};
use super::seccomp::STARTS;
use crate::{
    observation::{Abi, CapabilityCheck, Operation},
    policy::fixture::Fixture,
};

/// What a container's file means for the facts of a fixture; and how many lines were not judged.
fn container(text: &str, fixture: Fixture) -> (Vec<String>, usize) {
    let observation = fixture.observation();
    let read = oci::read_file("c", text, &oci::Host::of(&observation)).unwrap();
    let recorded = Recorded::of(&observation);
    let judge = Judge::new(
        &read.rules,
        &Surroundings::of(&observation, BTreeSet::new()),
    );
    let judged = recorded
        .cases()
        .skip(1)
        .map(|case| judge.judge(&case).to_string());
    // None of these lists is for a runtime.
    let unread = read.unread.iter().filter(|one| one.reason != STARTS);
    (judged.collect(), unread.count())
}

#[test]
fn a_config_is_about_files_and_capabilities_too() {
    let config = |process: &str, rest: &str| {
        format!(
            r#"{{"ociVersion": "1.0.2", "root": {{"path": "/srv/root"}},
                "process": {{"user": {{"uid": 0}}, "capabilities": {{"bounding": ["CAP_CHOWN", "CAP_KILL"],
                    "permitted": ["CAP_CHOWN"], "effective": []}} {process}}} {rest}}}"#
        )
    };
    let capability = |name| program().capability(name, CapabilityCheck::Granted);
    let by_root = r#"allowed by "bounding": "CAP_KILL""#;
    assert_eq!(
        container(&config("", ""), capability("kill")),
        (vec![by_root.to_owned()], 0)
    );
    assert_eq!(
        container(&config("", ""), capability("setuid")).0,
        [r#"refused by "bounding""#]
    );
    let gains_none = config(r#", "noNewPrivileges": true"#, "");
    assert_eq!(
        container(&gains_none, capability("kill")).0,
        [r#"refused by "permitted""#]
    );
    let user = config("", "").replace("\"uid\": 0", "\"uid\": 33");
    assert_eq!(
        container(&user, capability("kill")).0,
        [r#"refused by "uid": 33"#]
    );

    let write = |path: &str| program().file(path, Operation::Write, "ok");
    let read = |path: &str| program().file(path, Operation::Read, "ok");
    let mounts = r#", "mounts": [{"destination": "/srv/d", "type": "tmpfs", "options": ["rw", "ro"]},
        {"destination": "/b", "type": "bind", "source": "/x"}, {"destination": "/proc", "type": "proc"}],
        "linux": {"maskedPaths": ["/etc/secret", "/proc/kcore"], "readonlyPaths": ["/etc"]}"#;
    let text = config("", mounts);
    let first = |fixture| container(&text, fixture).0.remove(0);
    let tmpfs = r#"refused by "mounts": {"destination":"/srv/d""#;
    assert!(
        first(write("/srv/d/x")).starts_with(tmpfs),
        "{}",
        first(write("/srv/d/x"))
    );
    // Under the path of the root, and by its own.
    assert_eq!(
        first(write("/srv/root/etc/x")),
        r#"refused by "readonlyPaths": "/etc""#
    );
    assert_eq!(
        first(write("/etc/x")),
        r#"refused by "readonlyPaths": "/etc""#
    );
    assert_eq!(
        first(read("/etc/secret/x")),
        r#"refused by "maskedPaths": "/etc/secret""#
    );
    assert_eq!(first(read("/etc/x")), FREE);
    assert!(first(read("/b/x")).starts_with("not judged: what is behind"));
    assert!(first(read("/sys/x")).starts_with("not judged: nothing is mounted"));
    assert_eq!(first(read("/proc/meminfo")), FREE);
    assert_eq!(
        first(read("/proc/kcore")),
        r#"refused by "maskedPaths": "/proc/kcore""#
    );
    for (member, unread) in [
        (
            r#", "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096}]"#,
            0,
        ),
        (r#", "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 3}]"#, 1),
        (r#", "apparmorProfile": "docker-default""#, 1),
        (r#", "nothing": 1"#, 1),
    ] {
        assert_eq!(
            container(&config(member, ""), read("/etc/x")).1,
            unread,
            "{member}"
        );
    }
    let fatal = config("", "").replace("\"effective\": []", "\"effective\": [\"CAP_KILL\"]");
    assert!(oci::read(&fatal).unwrap().unread[0].is_fatal);
}

#[test]
fn a_list_of_docker_has_conditions() {
    let list = |entry: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "archMap": [{{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}}],
                "syscalls": [{{"action": "SCMP_ACT_ALLOW", {entry}}}]}}"#
        )
    };
    let calls = || {
        program()
            .syscalls(&["clone"])
            .syscalls_of(Abi::Ia32, &["clone"])
    };
    let by =
        r#"allowed by "architectures" and "architectures": "SCMP_ARCH_X86" and "names": "clone""#;
    let said = |entry: &str| {
        let (judged, unread) = container(&list(entry), calls());
        assert_eq!(unread, 0, "{entry}");
        judged
    };
    assert_eq!(
        said(r#""names": ["clone"]"#),
        [r#"allowed by "names": "clone""#, by]
    );
    assert_eq!(said(r#""name": "clone""#)[1], by);
    for (condition, holds) in [
        (r#""includes": {"arches": ["amd64"]}"#, true),
        (r#""includes": {"arches": ["arm64", "s390x"]}"#, false),
        (r#""excludes": {"arches": ["s390", "s390x"]}"#, true),
        (r#""includes": {"minKernel": "4.8"}"#, true),
        (r#""includes": {"minKernel": "9.0"}"#, false),
        (r#""includes": {}, "excludes": {}"#, true),
    ] {
        let judged = said(&format!(r#""names": ["clone"], {condition}"#));
        assert_eq!(judged[1] == by, holds, "{condition}: {judged:?}");
    }
    // What the container may is in another file.
    let by_capability = r#""names": ["clone"], "excludes": {"caps": ["CAP_SYS_ADMIN"]}"#;
    assert!(said(by_capability)[0].starts_with("not judged: the entry for the call holds"));
    let (judged, unread) = container(
        &list(r#""names": ["clone"], "includes": {"moon": "full"}"#),
        calls(),
    );
    assert_eq!((judged[0].as_str(), unread), (r#"refused by "names""#, 1));

    let arguments = r#""names": ["clone"],
        "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]"#;
    assert!(said(arguments)[0].starts_with(r#"allowed by "args": "#));
    let apart = || calls().argument(Argument::NamespaceUser);
    assert!(container(&list(arguments), apart()).0[0].starts_with("not judged: "));

    let config = list(by_capability);
    let with = |capabilities: &str| {
        format!(
            r#"{{"ociVersion": "1", "process": {{"capabilities": {{"bounding": [{capabilities}]}}}},
                "linux": {{"seccomp": {config}}}}}"#
        )
    };
    assert_eq!(container(&with(""), calls()).0[1], by);
    assert_eq!(
        container(&with("\"CAP_SYS_ADMIN\""), calls()).0[0],
        r#"refused by "names""#
    );
}

#[test]
fn a_list_may_be_of_what_is_refused_and_a_call_in_vain_may_be_killed() {
    let list = |default: &str, action: &str| {
        format!(
            r#"{{"defaultAction": "{default}", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{{"names": ["mkdir"], "action": "{action}"}}]}}"#
        )
    };
    let calls = || program().syscalls(&["mkdir", "read"]);
    let said = |default, action| container(&list(default, action), calls()).0;
    assert_eq!(
        said("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"),
        [r#"refused by "syscalls": "mkdir""#, FREE]
    );
    assert_eq!(said("SCMP_ACT_LOG", "SCMP_ACT_LOG"), [FREE, FREE]);
    assert_eq!(
        said("SCMP_ACT_KILL", "SCMP_ACT_LOG")[1],
        r#"refused by "names""#
    );
    let (judged, unread) = container(&list("SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW"), calls());
    assert_eq!((judged[1].as_str(), unread), (FREE, 1));
    // Of other architectures than the machine's there is none.
    let other = program().syscalls_of(Abi::Ia32, &["read"]);
    let none = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
    assert!(container(none, other).0[0].starts_with("refused: a list without"));
}
