//! What single lines mean, in files that nobody but harden need have written.

use std::collections::BTreeSet;

use harden_common::Argument;

use super::*;
use crate::{
    observation::{Abi, AddressOperation, CapabilityCheck, Operation, Text},
    policy::fixture::Fixture,
};

pub(super) fn program() -> Fixture {
    Fixture::new().executable("/usr/sbin/d")
}

/// The judgements of all facts but that the program ran.
fn judged(rules: &Rules, fixture: Fixture) -> Vec<String> {
    let observation = fixture.observation();
    let recorded = Recorded::of(&observation);
    let around = Surroundings::of(&observation, BTreeSet::new());
    let judge = Judge::new(rules, &around);
    let cases = recorded.cases().skip(1);
    cases.map(|case| judge.judge(&case).to_string()).collect()
}

fn profile(text: &str, fixture: Fixture) -> Vec<String> {
    let read = firejail::read(text);
    assert_eq!(read.unread, []);
    judged(&read.rules, fixture)
}

pub(super) fn drop_in(text: &str, fixture: Fixture) -> Vec<String> {
    let read = systemd::read(&format!("[Service]\n{text}"));
    assert_eq!(read.unread, []);
    judged(&read.rules, fixture)
}

pub(super) const FREE: &str = "allowed: no line is about it";

#[test]
fn a_list_of_calls_is_one_of_native_calls() {
    let calls = || program().syscalls(&["futex_waitv", "mkdir", "prctl", "read"]);
    assert_eq!(
        profile("seccomp.keep read,$449", calls()),
        [
            "allowed by seccomp.keep $449",
            "refused by seccomp.keep",
            FREE,
            "allowed by seccomp.keep read"
        ]
    );
    let ia32 = || program().syscalls_of(Abi::Ia32, &["mkdir"]);
    let x32 = || program().syscalls_of(Abi::X32, &["mkdir"]);
    assert_eq!(profile("seccomp.keep read", ia32()), [FREE]);
    assert_eq!(
        profile("seccomp.keep read", x32()),
        ["refused by seccomp.keep"]
    );
    assert_eq!(
        profile("seccomp.keep read\nseccomp.block-secondary", ia32()),
        ["refused by seccomp.block-secondary"]
    );
    let mount = || program().syscalls(&["mount"]);
    assert_eq!(profile("seccomp", mount()), ["refused by seccomp"]);
    assert_eq!(
        profile("seccomp !mount", mount()),
        ["allowed by seccomp !mount"]
    );
    assert_eq!(
        profile("seccomp.drop mount", mount()),
        ["refused by seccomp.drop mount"]
    );
    // A list of what is allowed beats it.
    let both = profile("seccomp.drop mount\nseccomp.keep mount", mount());
    assert_eq!(both, ["allowed by seccomp.keep mount"]);
}

#[test]
fn a_capability_is_needed_or_only_asked_about() {
    let chown = |check| program().capability("chown", check);
    let granted = || chown(CapabilityCheck::Granted);
    assert_eq!(
        profile("caps.keep chown,kill", granted()),
        ["allowed by caps.keep chown"]
    );
    assert_eq!(
        profile("caps.drop all", granted()),
        ["refused by caps.drop all"]
    );
    assert_eq!(
        drop_in("CapabilityBoundingSet=", granted()),
        ["refused by CapabilityBoundingSet="]
    );
    assert_eq!(
        profile("caps.drop all", chown(CapabilityCheck::Denied)),
        ["asks for nothing: denied, and the work passed without"]
    );
    let clock = program().capability("sys_time", CapabilityCheck::Granted);
    assert_eq!(
        drop_in("ProtectClock=true", clock),
        ["refused by ProtectClock=yes"]
    );
}

#[test]
fn the_last_line_holds_in_a_profile_and_the_innermost_in_a_drop_in() {
    let write = || program().file("/srv/a/x", Operation::Write, "ok");
    let lines = ["read-only /srv", "read-write /srv/a"];
    assert_eq!(
        profile(&lines.join("\n"), write()),
        ["allowed by read-write /srv/a"]
    );
    let turned = [lines[1], lines[0]].join("\n");
    assert_eq!(profile(&turned, write()), ["refused by read-only /srv"]);
    for words in ["-/srv/a\nReadOnlyPaths=/srv", "-/srv/a /srv/a/x"] {
        let said = drop_in(
            &format!("ProtectSystem=strict\nReadWritePaths={words}"),
            write(),
        );
        assert!(
            said[0].starts_with("allowed by ReadWritePaths="),
            "{said:?}"
        );
    }
    let said = drop_in(
        "ProtectSystem=strict\nReadWritePaths=/srv\nReadOnlyPaths=/srv/a",
        write(),
    );
    assert_eq!(said, ["refused by ReadOnlyPaths=/srv/a"]);
}

#[test]
fn what_is_mounted_cannot_be_replaced() {
    let replaced = || program().file("/srv/a", Operation::RenameTo, "ok");
    assert_eq!(
        profile("read-write /srv/a", replaced()),
        ["refused by read-write /srv/a"]
    );
    assert_eq!(
        profile("whitelist /srv/a", replaced()),
        ["refused by whitelist /srv/a"]
    );
}

#[test]
fn what_is_hidden_is_missed_and_what_was_not_there_is_not() {
    let read = |path: &str, result| program().file(path, Operation::Read, result);
    for (text, path, found, missing) in [
        (
            "whitelist /srv/a",
            "/srv/b",
            "refused by whitelist /srv/a",
            FREE,
        ),
        (
            "private-etc passwd",
            "/etc/d",
            "refused by private-etc",
            FREE,
        ),
        ("private-tmp", "/tmp/x", "refused by private-tmp", FREE),
        ("private-dev", "/dev/sda", "refused by private-dev", FREE),
        (
            "private-bin sh",
            "/usr/bin/env",
            "refused by private-bin",
            FREE,
        ),
        // The answer is another error.
        (
            "blacklist /srv",
            "/srv/b",
            "refused by blacklist /srv",
            "refused by blacklist /srv",
        ),
    ] {
        assert_eq!(profile(text, read(path, "ok")), [found]);
        assert_eq!(profile(text, read(path, "ENOENT")), [missing]);
    }
    let home = || read("/root/.rnd", "ENOENT");
    assert_eq!(
        drop_in("ProtectHome=yes", home()),
        ["refused by ProtectHome=yes"]
    );
    assert_eq!(drop_in("ProtectHome=tmpfs", home()), [FREE]);
    let above = program().file("/srv", Operation::Stat, "ok");
    assert_eq!(profile("whitelist /srv/a\nwhitelist /srv/b", above), [FREE]);
    let above = program().file("/srv/a", Operation::Stat, "ok");
    assert_eq!(
        profile("whitelist /srv/a/x\nwhitelist /srv/a/y", above),
        ["allowed by whitelist /srv/a/x or whitelist /srv/a/y"]
    );
}

#[test]
fn what_the_program_made_itself_is_in_an_empty_directory_too() {
    let made = || {
        let made = program().file("/tmp/d", Operation::Mkdir, "ok");
        made.file("/tmp/d/f", Operation::Read, "ok")
    };
    let removed = || made().file("/tmp/d", Operation::Rmdir, "ok");
    assert_eq!(profile("private-tmp", removed()), [FREE, FREE, FREE]);
    let strict = "ProtectSystem=strict\nPrivateTmp=yes";
    let by = "allowed by PrivateTmp=yes";
    assert_eq!(drop_in(strict, removed()), [by, by, FREE]);
    for said in [profile("private-tmp", made()), drop_in(strict, made())] {
        assert!(said[0].starts_with("not judged: it is left"), "{said:?}");
        assert_eq!(said[1], FREE);
    }
    // A directory that was there before is not, and nothing can be made in it.
    let inside = program().file("/tmp/d/f", Operation::Create, "ok");
    assert_eq!(profile("private-tmp", inside), ["refused by private-tmp"]);
}

#[test]
fn what_firejail_does_unasked_can_be_taken_back_or_not() {
    let write = |path: &str| program().file(path, Operation::Write, "ok");
    let said = |text, path| profile(text, write(path)).remove(0);
    assert!(said("", "/etc/d").starts_with("refused: "));
    assert_eq!(said("writable-etc", "/etc/d"), "allowed by writable-etc");
    assert!(said("", "/proc/sys/vm/x").starts_with("refused: "));
    assert!(said("writable-etc", "/proc/kcore").starts_with("refused: hidden"));
    let log = || program().file("/var/log/d", Operation::Read, "ok");
    assert!(profile("", log())[0].starts_with("refused: "));
    assert_eq!(
        profile("writable-var-log", log()),
        ["allowed by writable-var-log"]
    );
}

#[test]
fn addresses_are_a_matter_of_the_drop_in() {
    let connect = |address: &str| {
        let made = program().family("inet");
        made.address(AddressOperation::Connect, address)
    };
    let text = "RestrictAddressFamilies=AF_INET\nIPAddressDeny=any\nIPAddressAllow=localhost";
    assert_eq!(
        drop_in(text, connect("inet 127.0.0.1:80")),
        [
            "allowed by RestrictAddressFamilies=AF_INET",
            "allowed by IPAddressAllow=localhost"
        ]
    );
    assert_eq!(
        drop_in(text, connect("inet 192.0.2.1:80"))[1],
        "refused by IPAddressDeny=any"
    );
    // A socket that was handed over.
    let handed = program().address(AddressOperation::Send, "inet 192.0.2.1:53");
    assert!(drop_in(text, handed)[0].starts_with("not judged: "));
}

#[test]
fn a_container_is_about_calls() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                     {"names": ["clone"], "action": "SCMP_ACT_TRACE"}]}"#;
    let read = oci::read(text).unwrap();
    // The action, and the calls of the runtime itself.
    assert_eq!(read.unread.len(), 2, "{:?}", read.unread);
    let calls = program().syscalls(&["mkdir", "read"]);
    let calls = calls.syscalls_of(Abi::Ia32, &["read"]);
    assert_eq!(
        judged(&read.rules, calls.family("inet")),
        [
            r#"refused by "names""#,
            r#"allowed by "names": "read""#,
            r#"refused by "architectures""#,
            "not judged: the object is about calls alone"
        ]
    );
}

#[test]
fn what_a_reader_does_not_take_it_hands_back() {
    for line in [
        "include x.local",
        "net eth0",
        "noroot",
        "seccomp.32.keep read",
        "whitelist ${HOME}/x",
        "whitelist ${DOWNLOADS}/x",
        "private /srv",
        "private-tmp /srv",
        "private-etc @network",
        "?HAS_X11: private-dev",
        "no such directive",
    ] {
        let read = firejail::read(&format!("# comment\n{line}\nprivate-tmp\n"));
        assert_eq!(read.unread.len(), 1, "{line}");
        assert_eq!(read.unread[0].position.number, 2);
        assert_eq!(read.rules.lines().len(), 1);
    }
    for line in [
        "BindPaths=/srv",
        "ReadWritePaths=%S/x",
        "PrivateTmp=perhaps",
        "DeviceAllow=char-rtc r",
        "IPAddressAllow=192.0.2.0/33",
        "ExecStartPre=+/bin/true",
        "NoSuchDirective=1",
        "no assignment",
    ] {
        let read = systemd::read(&format!("[Service]\nPrivateTmp=yes\n{line}\n"));
        assert_eq!(read.unread.len(), 1, "{line}");
        assert_eq!(read.unread[0].position.number, 3);
    }
    assert!(oci::read("[]").is_err());
}

#[test]
fn lists_of_calls_may_hold_groups_and_errnos() {
    let calls = || program().syscalls(&["mount", "ptrace", "read", "settimeofday"]);
    assert_eq!(
        profile("seccomp ptrace,!@mount", calls()),
        [
            "allowed by seccomp !@mount",
            "refused by seccomp ptrace",
            FREE,
            "refused by seccomp"
        ]
    );
    assert_eq!(
        profile("seccomp.drop @clock,read:ENOSYS,@mount,!mount", calls()),
        [
            FREE,
            FREE,
            "refused by seccomp.drop read:ENOSYS",
            "refused by seccomp.drop @clock"
        ]
    );
    assert_eq!(
        profile("seccomp.keep @mount,read", calls())[..2],
        ["allowed by seccomp.keep @mount", "refused by seccomp.keep"]
    );
    let filter = "SystemCallFilter=@system-service ptrace\nSystemCallFilter=~ptrace @clock\nSystemCallFilter=mount";
    assert_eq!(
        drop_in(filter, calls()),
        [
            "allowed by SystemCallFilter=mount",
            "refused by SystemCallFilter=~ptrace",
            "allowed by SystemCallFilter=@system-service",
            "refused by SystemCallFilter=~@clock"
        ]
    );
    let filter = "SystemCallFilter=~@clock read:EPERM\nSystemCallFilter=settimeofday";
    assert_eq!(
        drop_in(filter, calls()),
        [FREE, FREE, "refused by SystemCallFilter=~read:EPERM", FREE]
    );
    // Of Firejail's own lists the last one holds.
    assert_eq!(
        profile("seccomp.drop read\nseccomp.drop mount", calls())[2],
        FREE
    );
}

#[test]
fn capabilities_are_dropped_kept_or_left_to_a_user() {
    let chown = || program().capability("chown", CapabilityCheck::Granted);
    assert_eq!(
        profile("caps.drop chown,kill", chown()),
        ["refused by caps.drop chown"]
    );
    // The last list holds.
    assert_eq!(profile("caps.drop chown\ncaps.drop kill", chown()), [FREE]);
    let admin = program().capability("sys_admin", CapabilityCheck::Granted);
    assert_eq!(profile("caps", admin), ["refused by caps"]);
    let reads = || program().capability("dac_override", CapabilityCheck::Granted);
    assert!(profile("private-tmp", reads())[0].starts_with("refused: Firejail takes it"));
    let refused = drop_in("CapabilityBoundingSet=~CAP_CHOWN", chown());
    assert_eq!(refused, ["refused by CapabilityBoundingSet=~CAP_CHOWN"]);
    let left = drop_in("CapabilityBoundingSet=~CAP_KILL", chown());
    assert_eq!(left, [FREE]);
    assert_eq!(drop_in("User=nobody", chown()), ["refused by User=nobody"]);
    assert_eq!(
        drop_in("User=nobody\nAmbientCapabilities=CAP_CHOWN", chown()),
        ["allowed by AmbientCapabilities=CAP_CHOWN"]
    );
    let path = program().file("/srv/x", Operation::Read, "ok");
    assert!(drop_in("DynamicUser=yes", path)[0].starts_with("not judged: "));
}

#[test]
fn patterns_macros_and_exceptions_are_those_of_the_sandbox() {
    let read = |path: &str| program().file(path, Operation::Read, "ok");
    for (text, path, expected) in [
        (
            "blacklist /srv/*.key",
            "/srv/a.key",
            "refused by blacklist /srv/*.key",
        ),
        ("blacklist /srv/*.key", "/srv/.a", FREE),
        (
            "blacklist /srv/*",
            "/srv/a/b",
            "refused by blacklist /srv/*",
        ),
        ("noblacklist /srv/a\nblacklist /srv/*", "/srv/a/b", FREE),
        (
            "blacklist /srv/a\nnoblacklist /srv/a",
            "/srv/a/b",
            "refused by blacklist /srv/a",
        ),
        ("ignore blacklist /srv\nblacklist /srv", "/srv/a", FREE),
        (
            "whitelist /srv/d-*",
            "/srv/d-1/x",
            "allowed by whitelist /srv/d-*",
        ),
        (
            "whitelist /srv/d-*",
            "/srv/e",
            "refused by whitelist /srv/d-*",
        ),
        (
            "private-etc ssl,d.*",
            "/etc/d.conf",
            "allowed by private-etc d.*",
        ),
        (
            "private-etc ssl\nprivate-etc d.conf",
            "/etc/d.conf",
            "allowed by private-etc d.conf",
        ),
        ("private-opt d", "/opt/e/x", "refused by private-opt"),
        ("tmpfs /srv", "/srv/x", "refused by tmpfs /srv"),
        ("disable-mnt", "/mnt/x", "refused by disable-mnt"),
    ] {
        assert_eq!(profile(text, read(path)), [expected], "{text}");
    }
    for (text, path, expected) in [
        (
            "InaccessiblePaths=-/srv",
            "/srv/a",
            "refused by InaccessiblePaths=-/srv",
        ),
        (
            "TemporaryFileSystem=/srv:ro",
            "/srv/a",
            "refused by TemporaryFileSystem=/srv:ro",
        ),
        ("NoExecPaths=/srv", "/srv/a", FREE),
        // A library is mapped, and the loader's list of them is read.
        (
            "NoExecPaths=/srv",
            "/srv/liba.so.1",
            "refused by NoExecPaths=/srv",
        ),
        ("NoExecPaths=/srv", "/srv/ld.so.cache", FREE),
    ] {
        assert_eq!(drop_in(text, read(path)), [expected], "{text}");
    }
    // What is mounted over a link is mounted over what it names.
    for (text, refused) in [
        (
            "ReadOnlyPaths=/var/run/d",
            "refused by ReadOnlyPaths=/var/run/d",
        ),
        ("ReadWritePaths=/var/run/d", FREE),
    ] {
        let linked = program().link("/var/run", "/run");
        let write = linked.file("/run/d/x", Operation::Write, "ok");
        assert_eq!(drop_in(text, write), [refused]);
    }
    let run = || program().file("/srv/a/x", Operation::Execute, "ok");
    assert_eq!(
        drop_in("NoExecPaths=/srv", run()),
        ["refused by NoExecPaths=/srv"]
    );
    assert_eq!(drop_in("NoExecPaths=/\nExecPaths=/srv", run()), [FREE]);
    assert_eq!(
        profile("noexec /srv/*", run()),
        ["refused by noexec /srv/*"]
    );
    let write = program().file("/srv/a/x", Operation::Write, "ok");
    assert_eq!(
        profile("read-only /srv/?", write),
        ["refused by read-only /srv/?"]
    );
    let homes = BTreeSet::from([Text::from("/home/d")]);
    let lines = source::lines("x", "blacklist ${HOME}/.ssh\nwhitelist ~/d");
    let read_ = firejail::read_lines(&lines, &homes);
    assert_eq!(read_.unread, []);
    let observation = read("/home/d/.ssh/id").observation();
    let recorded = Recorded::of(&observation);
    let judge = Judge::new(&read_.rules, &Surroundings::of(&observation, homes.clone()));
    let judged: Vec<_> = recorded.cases().map(|case| judge.judge(&case)).collect();
    assert_eq!(judged[1].to_string(), "refused by blacklist /home/d/.ssh");
    let place = read_.rules.position(judged[1].lines()[0]).unwrap();
    assert_eq!(place.to_string(), "x:1");
}

#[test]
fn arguments_and_addresses_are_refused_by_their_lines() {
    let argument = |said| program().argument(said);
    for (text, name, expected) in [
        (
            "memory-deny-write-execute",
            Argument::MmapWriteExec,
            "refused by memory-deny-write-execute",
        ),
        (
            "restrict-namespaces",
            Argument::NamespaceUser,
            "refused by restrict-namespaces",
        ),
        (
            "restrict-namespaces user,net",
            Argument::NamespaceUser,
            "refused by restrict-namespaces user",
        ),
        ("restrict-namespaces net", Argument::NamespaceUser, FREE),
    ] {
        assert_eq!(profile(text, argument(name)), [expected], "{text}");
    }
    for (text, expected) in [
        (
            "RestrictNamespaces=user",
            "allowed by RestrictNamespaces=user",
        ),
        ("RestrictNamespaces=net", "refused by RestrictNamespaces="),
        (
            "RestrictNamespaces=~user",
            "refused by RestrictNamespaces=~user",
        ),
        (
            "RestrictNamespaces=yes",
            "refused by RestrictNamespaces=yes",
        ),
    ] {
        assert_eq!(drop_in(text, argument(Argument::NamespaceUser)), [expected]);
    }
    let connect = |address: &str| {
        let made = program().family("inet");
        made.address(AddressOperation::Connect, address)
    };
    assert_eq!(
        profile("net none", connect("inet 192.0.2.1:80"))[1],
        "refused by net none"
    );
    let text = "IPAddressDeny=any\nIPAddressAllow=192.0.2.0/24";
    assert_eq!(
        drop_in(text, connect("inet 192.0.2.1:80"))[1],
        "allowed by IPAddressAllow=192.0.2.0/24"
    );
    assert_eq!(
        drop_in(text, connect("inet 198.51.100.1:80"))[1],
        "refused by IPAddressDeny=any"
    );
}

#[test]
fn a_whole_unit_is_read_with_its_sections_and_long_lines() {
    let text = "# a\n[Unit]\nAfter=x.service\n[Service]\nExecStart=/usr/sbin/d \\\n# no\n  -f\n\
        SystemCallFilter=read \\\n write\nLimitNOFILE=4096\n[Install]\nWantedBy=y.target\n";
    let read = systemd::read(text);
    assert_eq!(read.unread, []);
    let lines: Vec<String> = read.rules.lines().iter().map(ToString::to_string).collect();
    let expected = [
        "SystemCallFilter=",
        "SystemCallFilter=read",
        "SystemCallFilter=write",
    ];
    assert_eq!(lines, expected);
    let place = read.rules.position(&read.rules.lines()[2]).unwrap();
    assert_eq!(place.number, 8);
}

#[test]
fn a_line_is_written_as_it_stands_in_the_file() {
    let text = "caps.keep chown,kill\nread-only /srv\nread-only /opt\nprivate-tmp\n";
    let read = firejail::read(text);
    let mut written: Vec<String> = read
        .rules
        .lines()
        .iter()
        .map(|line| read.rules.written(line))
        .collect();
    written.dedup();
    assert_eq!(written.join("\n") + "\n", text);
    let text = "SystemCallFilter=~mount reboot\nDeviceAllow=/dev/sda r\nReadWritePaths=-/a -/b\n";
    let read = systemd::read(&format!("[Service]\n{text}"));
    let mut written: Vec<String> = read
        .rules
        .lines()
        .iter()
        .map(|line| read.rules.written(line))
        .collect();
    written.dedup();
    assert_eq!(written.join("\n") + "\n", text);
}

#[test]
fn a_line_is_known_by_its_facts() {
    let read = firejail::read("caps.keep chown\nseccomp.keep read\n");
    let observation = program()
        .syscalls(&["mkdir", "read"])
        .capability("chown", CapabilityCheck::Granted)
        .observation();
    let recorded = Recorded::of(&observation);
    let judge = Judge::new(&read.rules, &Surroundings::default());
    let supports = Supports::of(&judge, &recorded);
    let told = |facts: &std::collections::BTreeMap<&Line, Vec<crate::observation::Fact<'_>>>| {
        let each = facts.iter();
        each.map(|(line, facts)| format!("{line}: {}", facts[0].what))
            .collect::<Vec<_>>()
    };
    let needed = [
        "caps.keep chown: chown granted",
        "seccomp.keep read: native read",
    ];
    assert_eq!(told(&supports.needed), needed);
    assert_eq!(told(&supports.allowed), needed);
    assert_eq!(told(&supports.refused), ["seccomp.keep: native mkdir"]);
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in "(\\PC|\n|=|,| )*") {
        let _ = firejail::read(&text);
        let _ = systemd::read(&format!("[Service]\n{text}"));
        let _ = oci::read(&text);
    }
}
