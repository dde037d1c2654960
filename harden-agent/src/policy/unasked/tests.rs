use super::never::NEVER;
use super::table::RULES;
use super::*;

fn native() -> Text {
    Text::from("x86_64")
}

fn of(seen: &[&str], compatibility: Compatibility) -> Vec<&'static str> {
    let machine = native();
    let conventions = [(&machine, Abi::Native)].into();
    let found = unasked(&seen.iter().copied().collect(), &conventions, compatibility);
    found.into_keys().collect()
}

/// Every name that a convention has.
fn names() -> BTreeSet<&'static str> {
    // By number: `Sysno::iter` leaves the last one out.
    let native = (0..4096).filter_map(|number| Some(syscalls::x86_64::Sysno::new(number)?.name()));
    let ia32 = (0..4096).filter_map(|number| Some(syscalls::x86::Sysno::new(number)?.name()));
    let arm64 = (0..4096).filter_map(|number| Some(syscalls::aarch64::Sysno::new(number)?.name()));
    let names = native.chain(ia32).chain(arm64);
    // The table writes `break` as Rust does.
    names.map(|name| name.trim_start_matches("r#")).collect()
}

fn given() -> BTreeSet<&'static str> {
    RULES.iter().flat_map(|rule| rule.calls).copied().collect()
}

fn never() -> Vec<&'static str> {
    NEVER
        .iter()
        .flat_map(|(_, calls)| *calls)
        .copied()
        .collect()
}

#[test]
fn every_call_has_a_verdict() {
    let never_set: BTreeSet<_> = never().into_iter().collect();
    assert_eq!(never_set.len(), never().len(), "a name twice");
    let conditional: Vec<_> = given().intersection(&never_set).copied().collect();
    // Both the cause of one and asked for itself: seen where its work is done.
    assert_eq!(conditional, [""; 0]);
    let verdicts: BTreeSet<_> = given().union(&never_set).copied().collect();
    let missing: Vec<_> = names().difference(&verdicts).copied().collect();
    assert_eq!(missing, [""; 0], "without a verdict");
    let unknown: Vec<_> = verdicts.difference(&names()).copied().collect();
    assert_eq!(unknown, [""; 0], "no table has them");
}

/// The kernel's own lists: that of the headers, and that of the kernel which runs.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernels_own_lists_have_no_call_without_a_verdict() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let headers = read("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        + &read("/usr/include/asm/unistd_64.h");
    let listed = headers.lines().filter_map(|line| {
        line.strip_prefix("#define __NR_")?
            .split_whitespace()
            .next()
    });
    let symbols = read("/proc/kallsyms");
    let running = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.strip_prefix("__x64_sys_"))
        .map(|name| name.trim_end_matches(".cold"))
        .filter(|name| !ELSEWHERE.contains(name));
    let all: BTreeSet<&str> = listed.chain(running).collect();
    assert!(
        all.len() > 300,
        "neither the headers nor /proc/kallsyms have the calls: {all:?}"
    );
    let never: BTreeSet<_> = never().into_iter().collect();
    let missing: BTreeSet<&str> = all
        .into_iter()
        .filter(|name| {
            let names = of_function(name);
            !names
                .iter()
                .any(|name| given().contains(name.as_str()) || never.contains(name.as_str()))
        })
        .collect();
    // A newer kernel has calls that the table of names does not know. They stay without a name, and are never taken
    // for junk: policy/calls.rs.
    let release = read("/proc/sys/kernel/osrelease");
    if crate::policy::calls::is_newer(&release) && !missing.is_empty() {
        println!(
            "{} has calls without a verdict: {missing:?}",
            release.trim()
        );
        return;
    }
    assert!(missing.is_empty(), "calls without a verdict: {missing:?}");
}

/// Functions of calls that other architectures have (`kernel/sys_ni.c`), of no call, and such with names of their own.
#[cfg(target_arch = "x86_64")]
const ELSEWHERE: [&str; 18] = [
    "gethostname",
    "llseek",
    "mmap_pgoff",
    "ni_syscall",
    "oldumount",
    "pciconfig_iobase",
    "pciconfig_read",
    "pciconfig_write",
    "recv",
    "rtas",
    "s390_ipc",
    "s390_pci_mmio_read",
    "s390_pci_mmio_write",
    "send",
    "spu_create",
    "spu_run",
    "subpage_prot",
    "sync_file_range2",
];

/// The names of the call that the kernel may have this function for: `newstat` for stat, `getuid16` for getuid
/// (`arch/x86/entry/syscalls/syscall_32.tbl`).
#[cfg(target_arch = "x86_64")]
fn of_function(function: &str) -> Vec<String> {
    let mut names = vec![function.to_owned()];
    for prefix in ["new", "old_", "ia32_"] {
        names.extend(function.strip_prefix(prefix).map(str::to_owned));
    }
    for suffix in ["_time32", "32", "16"] {
        names.extend(function.strip_suffix(suffix).map(str::to_owned));
    }
    names
}

#[test]
fn every_call_that_can_happen_is_on_the_page() {
    let page = include_str!("../../../../docs/calls.md");
    for rule in &RULES {
        for call in rule.calls {
            let row = format!("| `{call}` | {} |", rule.kind.name());
            assert!(page.contains(&row), "docs/calls.md has no {row}");
        }
        assert!(page.contains(rule.cause.what), "{}", rule.cause.what);
    }
    for (class, _) in NEVER {
        assert!(page.contains(class), "{class}");
    }
}

#[test]
fn only_what_has_a_cause_is_given() {
    let least = of(&["getpid"], Compatibility::None);
    assert_eq!(
        least,
        [
            "clock_getres",
            "clock_gettime",
            "clock_nanosleep",
            "exit",
            "exit_group",
            "getcpu",
            "gettimeofday",
            "nanosleep",
            "restart_syscall",
            "rt_sigreturn",
            "time",
        ]
    );
    assert_eq!(
        of(&["read", "set_tid_address"], Compatibility::Exact),
        [""; 0]
    );
    assert_eq!(of(&[], Compatibility::Kernel), [""; 0]);
    let more = |call: &str| {
        let with = of(&["getpid", call], Compatibility::None);
        let more = with.into_iter().filter(|call| !least.contains(call));
        more.collect::<Vec<_>>()
    };
    assert_eq!(more("set_robust_list"), ["futex"]);
    assert_eq!(more("socket"), ["poll", "ppoll", "pselect6", "select"]);
    assert!(more("clone").contains(&"sched_yield"));
    assert!(more("set_tid_address").contains(&"tgkill"));
    assert!(more("set_tid_address").contains(&"tkill"));
    assert!(!of(&["set_tid_address", "set_robust_list"], Compatibility::None).contains(&"tkill"));
}

#[test]
fn a_convention_gets_the_calls_that_it_has() {
    let machine = native();
    let seen: BTreeSet<&str> = ["read"].into();
    let with = |conventions: &[(&Text, Abi)]| {
        let conventions = conventions.iter().copied().collect();
        unasked(&seen, &conventions, Compatibility::None)
    };
    assert!(!with(&[(&machine, Abi::Native)]).contains_key("sigreturn"));
    let both = with(&[(&machine, Abi::Native), (&machine, Abi::Ia32)]);
    assert!(both.contains_key("sigreturn") && both.contains_key("clock_gettime64"));
    let arm = Text::from("aarch64");
    let arm64 = with(&[(&arm, Abi::Native)]);
    assert!(!arm64.contains_key("time") && arm64.contains_key("getcpu"));
    let strange = Text::from("riscv64");
    assert!(with(&[(&strange, Abi::Native)]).is_empty());
}

#[test]
fn nothing_that_is_given_reaches_beyond_the_program() {
    // What opens, connects, runs, changes identity or kills is asked for, always.
    for call in [
        "openat", "connect", "execve", "setuid", "kill", "ioctl", "clone", "prctl",
    ] {
        assert!(!given().contains(call), "{call}");
    }
    for call in [
        "clock_gettime",
        "futex",
        "mmap",
        "restart_syscall",
        "rt_sigreturn",
        "sched_yield",
    ] {
        assert!(given().contains(call), "{call}");
    }
}
