//! Observations of what daemons do: from few names, each of which some rule is about.

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
};

use crate::{
    observation::{
        Abi, AddressOperation, CapabilityCheck, ControlCommand, Executable, Inode, Observation,
        Operation, Outcome, RunKind, Seen, Socket, Text, Word,
    },
    policy::fixture::Fixture,
};

const PROGRAMS: [&str; 6] = [
    "/usr/sbin/d",
    "/usr/bin/a",
    "/bin/sh",
    "/opt/d/d",
    "/tmp/a",
    "/srv/app/run",
];

const CALLS: [&str; 30] = [
    "adjtimex",
    "bpf",
    "brk",
    "chroot",
    "clock_settime",
    "clone",
    "clone3",
    "close",
    "execve",
    "exit_group",
    "fchown",
    "finit_module",
    "futex_waitv",
    "iopl",
    "mmap",
    "mount",
    "openat",
    "openat2",
    "personality",
    "prctl",
    "read",
    "sethostname",
    "setns",
    "shmget",
    "socket",
    "syscall-470",
    "syscall-900",
    "syslog",
    "unshare",
    "write",
];

const CAPABILITIES: [&str; 8] = [
    "chown",
    "mknod",
    "net_bind_service",
    "setuid",
    "sys_admin",
    "sys_time",
    "syslog",
    "wake_alarm",
];

const FAMILIES: [&str; 6] = ["unix", "inet", "inet6", "netlink", "alg", "bluetooth"];

const ADDRESSES: [&str; 9] = [
    "inet 0.0.0.0:80",
    "inet 127.0.0.1:5432",
    "inet 192.0.2.1:443",
    "inet6 [::1]:80",
    "netlink groups 0x1",
    "unix /dev/log",
    "unix /run/d/sock",
    "unix /tmp/.s",
    "unix @abstract",
];

const ARGUMENTS: [&str; 12] = [
    "exec-setid",
    "handles-sighup",
    "io-uring",
    "memfd-create",
    "mknod-device",
    "mmap-write-exec",
    "mode-setid",
    "namespace-user",
    "other-root",
    "personality-set",
    "scheduler-realtime",
    "shmat-exec",
];

const PATHS: [&str; 72] = [
    "/",
    "/bin/cat",
    "/boot/vmlinuz",
    "/dev",
    "/dev/kmsg",
    "/dev/log",
    "/dev/mqueue/q",
    "/dev/net/tun",
    "/dev/null",
    "/dev/pts/3",
    "/dev/rtc0",
    "/dev/sda",
    "/dev/shm",
    "/dev/shm/x",
    "/dev/snd/seq",
    "/etc",
    "/etc/d",
    "/etc/d/d.conf",
    "/etc/d/d.conf.new",
    "/etc/ld.so.cache",
    "/etc/passwd",
    "/home",
    "/home/u",
    "/home/u/.netrc",
    "/lib/modules/x.ko",
    "/mnt",
    "/new",
    "/opt",
    "/opt/app-1.2/x",
    "/opt/app-1.2/y y",
    "/opt/d/lib.so",
    "/proc",
    "/proc/1/stat",
    "/proc/kallsyms",
    "/proc/meminfo",
    "/proc/mtrr",
    "/proc/self/oom_score_adj",
    "/proc/sys/kernel/pid_max",
    "/root",
    "/root/.rnd",
    "/run",
    "/run/d",
    "/run/d/pid",
    "/run/d.pid",
    "/run/lock/d",
    "/run/user/1000/x",
    "/srv",
    "/srv/a#b/c",
    "/srv/data/1",
    "/srv/data/2",
    "/sys/class/net/eth0",
    "/sys/fs/cgroup/x",
    "/sys/module/x",
    "/tmp",
    "/tmp/d.1",
    "/tmp/d.1/f",
    "/usr/bin",
    "/usr/bin/env",
    "/usr/bin/sub/x",
    "/usr/lib/d/m.so",
    "/usr/local/bin/env",
    "/usr/share/d/a",
    "/usr/share/d/b",
    "/usr/share/zoneinfo/UTC",
    "/var",
    "/var/cache/d/x",
    "/var/lib/d",
    "/var/lib/d/state",
    "/var/lib/nginx/body",
    "/var/log/d.log",
    "/var/log/d/x.log",
    "/var/tmp/x",
];

const NAMES: [&str; 5] = [
    "/bin/cat",
    "/etc/localtime",
    "/opt/current/x",
    "/var/run/d/pid",
    "/usr/bin/awk",
];

const LINKS: [(&str, &str); 6] = [
    ("/bin", "usr/bin"),
    ("/etc/localtime", "/usr/share/zoneinfo/UTC"),
    ("/opt/current", "app-1.2"),
    ("/usr/bin/awk", "/etc/alternatives/awk"),
    ("/etc/alternatives/awk", "/usr/bin/mawk"),
    ("/var/run", "/run"),
];

const OPERATIONS: [Operation; 24] = {
    use Operation as O;
    [
        O::Read,
        O::Read,
        O::Write,
        O::Create,
        O::Locate,
        O::Execute,
        O::Stat,
        O::Stat,
        O::Access,
        O::Readlink,
        O::Chdir,
        O::Mkdir,
        O::Rmdir,
        O::Unlink,
        O::RenameFrom,
        O::RenameTo,
        O::LinkTo,
        O::Symlink,
        O::Mknod,
        O::Chmod,
        O::Chown,
        O::Watch,
        O::Bind,
        O::Connect,
    ]
};

const RESULTS: [&str; 8] = [
    "ok", "ok", "ok", "ok", "tried", "ENOENT", "EACCES", "EEXIST",
];

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn words(pool: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<Word>> {
    vec(select(pool).prop_map(word), 0..most)
}

fn seen() -> impl Strategy<Value = Seen> {
    let counts = select(&[(None, None), (Some(3), None), (Some(3), Some(3))][..]);
    counts.prop_map(|(count, errors)| Seen::default().counted(count, errors))
}

fn results() -> impl Strategy<Value = Outcome> {
    select(&RESULTS[..]).prop_map(|one| Outcome(word(one)))
}

/// Devices, by number; character devices but for the last.
const DEVICES: [(&str, u32, u32); 7] = [
    ("/dev/kmsg", 1, 11),
    ("/dev/net/tun", 10, 200),
    ("/dev/null", 1, 3),
    ("/dev/pts/3", 136, 3),
    ("/dev/rtc0", 254, 0),
    ("/dev/snd/seq", 116, 1),
    ("/dev/sda", 8, 0),
];

const DIRECTORIES: [&str; 19] = [
    "/",
    "/dev",
    "/dev/shm",
    "/etc",
    "/etc/d",
    "/home",
    "/home/u",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/run/d",
    "/srv",
    "/tmp",
    "/tmp/d.1",
    "/usr/bin",
    "/var",
    "/var/lib/d",
];

/// Whether such a use of a path can succeed: what all programs share is not replaced, and only a directory is one.
fn can_be(path: &str, operation: Operation) -> bool {
    use Operation as O;
    let is_own = [
        "/dev/shm",
        "/etc/d",
        "/home/u",
        "/run/d",
        "/tmp/d.1",
        "/var/lib/d",
    ]
    .contains(&path);
    match operation {
        O::Read | O::Stat | O::Access | O::Locate => true,
        O::Chdir | O::Watch => DIRECTORIES.contains(&path),
        O::Mkdir | O::Rmdir => is_own,
        O::Chmod | O::Chown | O::RenameFrom => is_own || !DIRECTORIES.contains(&path),
        _ => {
            !DIRECTORIES.contains(&path)
                && !path.starts_with("/proc/")
                && !path.starts_with("/sys/")
                || operation == O::Write && !DIRECTORIES.contains(&path)
        }
    }
}

/// What is at the path; of root or of another.
fn inode(path: &str, (uid, number): (u32, u64)) -> Inode {
    let device = DEVICES.iter().find(|(device, ..)| *device == path);
    let (mode, rdev) = match device {
        Some((_, major, minor)) if *major == 8 => (0o060_660, (major, minor)),
        Some((_, major, minor)) => (0o020_660, (major, minor)),
        None if DIRECTORIES.contains(&path) => (0o040_755, (&0, &0)),
        None => (0o100_644, (&0, &0)),
    };
    Inode {
        device: 1,
        number,
        generation: 0,
        mode,
        uid,
        gid: uid,
        rdev: nix::libc::makedev(*rdev.0, *rdev.1),
        filesystem: 0,
        acl: None,
    }
}

fn files() -> impl Strategy<Value = Executable> {
    let owner = (select(&[0, 0, 0, 1000_u32][..]), 0..3_u64);
    let one = (
        select(&PATHS[..]),
        select(&OPERATIONS[..]),
        results(),
        proptest::option::weighted(0.9, owner),
        proptest::option::weighted(0.1, select(&NAMES[..])),
    );
    vec(one, 0..14).prop_map(|all| {
        let mut facts = Executable::default();
        for (path, operation, outcome, owner, name) in all {
            let operation = if can_be(path, operation) {
                operation
            } else {
                Operation::Stat
            };
            let file = facts.files.entry(path.into()).or_default();
            file.resolved = true;
            file.inodes.extend(owner.map(|owner| inode(path, owner)));
            file.asked_as.extend(name.map(Text::from));
            file.operations.entry(operation, outcome);
        }
        facts
    })
}

fn sockets() -> impl Strategy<Value = Executable> {
    use AddressOperation as A;
    let socket = (
        select(&FAMILIES[..]),
        select(&["ok", "EAFNOSUPPORT"][..]).prop_map(|one| Outcome(word(one))),
    );
    let operation = select(&[A::Bind, A::Connect, A::Send][..]);
    let address = (operation, select(&ADDRESSES[..]), results());
    let all = (words(&FAMILIES, 3), vec(socket, 0..2), vec(address, 0..3));
    all.prop_map(|(families, sockets, addresses)| {
        let mut facts = Executable::default();
        let families = families.into_iter().map(|one| (one, Seen::default()));
        facts.families.extend(families);
        for (family, outcome) in sockets {
            let socket = Socket {
                family: word(family),
                kind: word("stream"),
                protocol: 0,
            };
            let outcomes = facts.sockets.entry(socket).or_default();
            outcomes.insert(outcome, Seen::default());
        }
        for (operation, address, outcome) in addresses {
            let addresses = facts.addresses.entry(operation).or_default();
            let outcomes = addresses.entry(address.into()).or_default();
            outcomes.insert(outcome, Seen::default());
        }
        facts
    })
}

fn executable() -> impl Strategy<Value = Executable> {
    use CapabilityCheck as C;
    let call = (select(&CALLS[..]).prop_map(word), seen());
    let abi = prop_oneof![
        8 => Just(Abi::Native),
        1 => Just(Abi::Ia32),
        1 => Just(Abi::X32),
    ];
    let calls = vec((abi, call), 0..10);
    let check = select(
        &[
            C::Granted,
            C::Granted,
            C::Denied,
            C::GrantedNoaudit,
            C::Kept,
        ][..],
    );
    let capability = select(&CAPABILITIES[..]).prop_map(word);
    let granted = btree_map(capability, check, 0..3);
    let rare = prop_oneof![3 => Just(vec![]), 1 => words(&ARGUMENTS, 3)];
    let network = prop_oneof![Just(Executable::default()), sockets()];
    (calls, granted, rare, network, files()).prop_map(|(calls, granted, rare, network, files)| {
        let mut facts = Executable {
            files: files.files,
            ..network
        };
        for (abi, (name, seen)) in calls {
            facts.syscalls.entry(abi).or_default().insert(name, seen);
        }
        for (name, check) in granted {
            if check == C::Granted {
                let calls = facts.capability_calls.entry(name.clone()).or_default();
                calls.insert(word("openat"), Seen::default());
            }
            let checks = facts.capabilities.entry(name).or_default();
            checks.insert(check, Seen::default());
        }
        let rare = rare.into_iter().map(|one| (one, Seen::default()));
        facts.arguments.extend(rare);
        facts
    })
}

/// An observation of one or two runs, in which most kinds of facts could be seen.
pub(super) fn observation() -> impl Strategy<Value = Observation> {
    let program = select(&PROGRAMS[..]).prop_map(Text::from);
    let programs = btree_map(program.clone(), executable(), 1..3);
    let control = prop_oneof![
        3 => Just(None),
        1 => (program, executable()).prop_map(Some),
    ];
    let blind = prop_oneof![
        8 => Just(None),
        1 => select(&["syscalls", "capabilities", "files", "addresses"][..]).prop_map(Some),
    ];
    let run = (
        programs,
        control,
        blind,
        select(&["6.1", "6.19"][..]),
        select(&[0_u32, 1000][..]),
        proptest::sample::subsequence(LINKS.to_vec(), 0..=LINKS.len()),
        any::<bool>(),
    );
    vec(run, 1..3).prop_map(|runs| {
        let mut fixture = Fixture::new();
        for (at, (programs, control, blind, kernel, uid, links, walks)) in
            runs.into_iter().enumerate()
        {
            if at > 0 {
                fixture = fixture.next_run();
            }
            let run = fixture.run();
            run.kind = RunKind::Invocation;
            run.uid = uid;
            run.host.kernel = kernel.into();
            for fact in ["addresses", "lookups", "signals"] {
                run.hooks.insert(fact.to_owned(), "raw_tp".to_owned());
            }
            if walks {
                let hook = "tp_btf:sys_exit".to_owned();
                run.hooks.insert("files".to_owned(), hook);
            }
            if let Some(fact) = blind {
                run.hooks.remove(fact);
            }
            let links = links
                .into_iter()
                .map(|(link, text)| (link.into(), text.into()));
            run.symlinks = links.collect();
            run.executables = programs;
            if let Some(program) = control {
                run.control
                    .insert(ControlCommand::StartPre, [program].into());
            }
        }
        fixture.observation()
    })
}
