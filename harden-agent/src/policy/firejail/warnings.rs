//! What the person who installs the profile must know, the gravest first.

use std::collections::BTreeSet;

use crate::observation::{Host, Observation, Text};

use super::super::basis::Basis;
use super::super::folded;
use super::super::places::Place;
use super::super::warnings::{
    Id, Warning, foreign, io_uring, kinds, made, mixed, of_coverage, pinned, sessions,
};
use super::super::{elsewhere, launchers, mounts, processes, set_id};
use super::Profile;
use super::line::as_argument;
use super::target::Launch;

kinds! {
    WARNINGS:
    SECONDARY_CALLS = "secondary-calls", "32-bit or x32 calls were made";
    SYS_MOUNTS = "sys-mounts", "Something mounted below /sys was used";
    EMPTIED_DIRECTORY = "emptied-directory", "A directory that Firejail always empties was used";
    HIDDEN_PATH = "hidden-path", "A path that Firejail always hides was used";
    TUNABLE = "tunable", "A kernel setting was written";
    NO_CAPABILITY_RULE = "no-capability-rule", "There is no rule for capabilities";
    ROOT_OVERRIDE = "root-override", "Firejail takes capabilities away from root by default";
    NO_SYSCALL_RULE = "no-syscall-rule", "There is no rule for system calls";
    DIRECT_START = "direct-start", "The program must be started without a double dash";
    LOGIN_SHELL = "login-shell", "Firejail would start the program through an unknown shell";
    INEXPRESSIBLE_PATH = "inexpressible-path", "A path that was used cannot be written in a line";
    NESTED_SANDBOX = "nested-sandbox", "The program makes sandboxes of its own";
    ETC_FIREJAIL = "etc-firejail", "Firejail hides /etc/firejail from a Firejail inside it";
    FILE_CAPABILITIES = "file-capabilities", "Firejail takes file capabilities away from an ordinary user whose calls it filters";
    ETC_COPY = "etc-copy", "Files in /etc are copies that never change";
    SET_ID_PROGRAMS = "set-id-programs", "Set-id programs that it runs do not get their privileges";
    OTHER_PROCESSES = "other-processes", "The program looks at other processes, signals them, or takes their numbers from PID files";
}

/// Paths that no line can hold are named one by one up to this many.
const NAMED: usize = 20;

/// All warnings of a profile.
pub(super) fn collect(profile: &Profile, basis: &Basis<'_>, here: Option<&Host>) -> Vec<Warning> {
    let (observation, places) = (basis.observation(), basis.places());
    let coverage = &profile.coverage;
    let mut warnings = of_coverage(coverage);
    warnings.extend(profile.syscalls.warnings.iter().cloned());
    warnings.extend(profile.defaults.warnings.iter().cloned());
    warnings.extend(profile.capabilities.keep.reasons().iter().map(|reason| {
        Warning::new(
            Id::NO_CAPABILITY_RULE,
            format!("no rule for capabilities: {reason}"),
        )
    }));
    if profile.capabilities.keep.given().is_none() && !coverage.is_empty() {
        warnings.push(Warning::new(
            Id::ROOT_OVERRIDE,
            "without a caps.keep line Firejail takes dac_override and dac_read_search from root \
             (src/firejail/caps.c)",
        ));
    }
    if let Some(reason) = profile.syscalls.filter.reasons().first() {
        warnings.push(Warning::new(
            Id::NO_SYSCALL_RULE,
            format!("no rule for system calls: {reason}"),
        ));
    }
    warnings.extend(launchers::warning(
        observation,
        "Every job would be held to this profile, which the sandbox passes on",
    ));
    warnings.extend(set_id_programs(profile, observation));
    warnings.extend(mounts::told(observation).map(|told| {
        Warning::new(
            Id::MOUNTS,
            format!(
                "{told}: what is mounted stays in the sandbox, which always has a mount namespace of its own, and what \
                 is watched is watched there alone. Confine it by systemd alone (--format systemd)"
            ),
        )
    }));
    warnings.extend(other_processes(basis));
    warnings.extend(elsewhere::warnings(observation));
    warnings.extend(folded::warning(observation));
    warnings.extend(mixed(observation));
    warnings.extend(io_uring(observation));
    warnings.extend(sessions(observation));
    warnings.extend(etc_copy(profile));
    warnings.extend(made_directories(profile, places));
    let shown = profile
        .files
        .whitelist
        .iter()
        .map(|item| item.value.as_str());
    warnings.extend(pinned(places, &shown.collect()));
    warnings.extend(foreign(observation, here));
    warnings.extend(nested(observation));
    warnings.extend(file_capabilities(profile, observation));
    warnings.extend(launch(profile));
    warnings.extend(inexpressible(places));
    warnings
}

/// Whether any filter is loaded: then Firejail sets `no_new_privs`, for root too (`seccomp_install_filters` in
/// src/firejail/seccomp.c, 0.9.72).
fn is_filtered(profile: &Profile) -> bool {
    profile.syscalls.filter.given().is_some()
        || profile.syscalls.block_secondary.given().is_some()
        || profile.protocols.given().is_some()
}

fn set_id_programs(profile: &Profile, observation: &Observation) -> Option<Warning> {
    let names =
        elsewhere::named(&set_id::programs(observation)).filter(|_| is_filtered(profile))?;
    Some(Warning::new(
        Id::SET_ID_PROGRAMS,
        format!(
            "{names}: with a filter Firejail sets no_new_privs, under which a setuid or setgid program stays what who \
             runs it is; run by root it misses nothing but the group. Confine it by systemd alone (--format systemd), or \
             leave the seccomp and protocol lines out"
        ),
    ))
}

/// Firejail always makes a PID namespace (`CLONE_NEWPID` in src/firejail/main.c, 0.9.72).
fn other_processes(basis: &Basis<'_>) -> Option<Warning> {
    let others = processes::others(basis);
    (!others.is_empty()).then(|| {
        Warning::new(
            Id::OTHER_PROCESSES,
            format!(
                "{}: Firejail always makes a PID namespace, in which there are only the sandbox's own processes, by \
                 other numbers. If they are others', confine it by systemd alone (--format systemd)",
                others.join("; ")
            ),
        )
    })
}

/// Every filter of Firejail's sets `no_new_privs` for an ordinary user, and then no exec gives capabilities
/// (`no_new_privs` in prctl(2)); ambient ones are gone with Firejail's own exec as root. Tried with 0.9.72.
fn file_capabilities(profile: &Profile, observation: &Observation) -> Option<Warning> {
    let kept = profile.capabilities.keep.given()?;
    let with = elsewhere::named(&set_id::with_capabilities(observation));
    let is_user = observation.runs.values().any(|run| run.uid != 0);
    let names: Vec<&str> = kept.iter().map(|item| item.value.as_str()).collect();
    if !is_filtered(profile) {
        return None;
    }
    if is_user && !names.is_empty() {
        return Some(Warning::new(
            Id::FILE_CAPABILITIES,
            format!(
                "an ordinary user loses {} under this profile: with a filter Firejail sets no_new_privs, and file \
                 capabilities and ambient ones are void. Use the systemd drop-in with AmbientCapabilities=, have the \
                 program start as root and step down itself (setpriv), or leave the seccomp and protocol lines out",
                names.join(", ")
            ),
        ));
    }
    with.map(|with| {
        Warning::new(
            Id::FILE_CAPABILITIES,
            format!(
                "{with}: with a filter Firejail sets no_new_privs, under which the capabilities of a file are void. Run by \
                 root it misses nothing; not all was run as root. Confine it by systemd alone (--format systemd), or leave \
                 the seccomp and protocol lines out"
            ),
        )
    })
}

/// Below /etc, what other programs rewrite while a daemon runs, and a daemon or its C library reads again: DHCP clients
/// and resolvconf(8), useradd(8) and its like, timedatectl(1), certbot and ca-certificates, hosts of containers.
const REWRITTEN: [&str; 16] = [
    "adjtime",
    "alternatives",
    "group",
    "gshadow",
    "hosts",
    "letsencrypt",
    "localtime",
    "machine-id",
    "mtab",
    "nsswitch.conf",
    "passwd",
    "pki",
    "resolv.conf",
    "shadow",
    "ssl",
    "timezone",
];

fn etc_copy(profile: &Profile) -> Option<Warning> {
    let copied = profile.etc.given()?;
    let names: Vec<&str> = copied
        .iter()
        .map(|item| item.value.as_str())
        .filter(|name| REWRITTEN.contains(name))
        .collect();
    (!names.is_empty()).then(|| {
        Warning::new(
            Id::ETC_COPY,
            format!(
                "private-etc makes copies, and later changes of /etc/{{{}}} are not seen: restart the program after \
                 them, or leave the line out",
                names.join(",")
            ),
        )
    })
}

/// Firejail skips a rule on what is not there.
fn made_directories(profile: &Profile, places: &[Place<'_>]) -> Option<Warning> {
    let written: BTreeSet<&str> = profile
        .files
        .read_write
        .iter()
        .map(|item| item.value.as_str())
        .collect();
    let founded: BTreeSet<&[u8]> = places
        .iter()
        .filter(|place| place.founded())
        .map(|place| &*place.path)
        .filter(|path| as_argument(path).is_some_and(|path| written.contains(path)))
        .collect();
    made(&founded.into_iter().collect::<Vec<_>>())
}

/// Programs that make sandboxes, by the names of their files.
const SANDBOXES: [&[u8]; 9] = [
    b"bwrap",
    b"crun",
    b"dockerd",
    b"firejail",
    b"lxc-start",
    b"podman",
    b"runc",
    b"systemd-nspawn",
    b"unshare",
];

/// Sandboxes inside the sandbox.
fn nested(observation: &Observation) -> Vec<Warning> {
    let runs = observation.runs.values();
    let mut makers: BTreeSet<&Text> = runs.flat_map(|run| run.executables.keys()).collect();
    makers.retain(|path| SANDBOXES.contains(&file_name(path)));
    let firejail = makers.iter().any(|path| file_name(path) == b"firejail");
    let mut warnings: Vec<Warning> = makers
        .into_iter()
        .map(|path| {
            Warning::new(
                Id::NESTED_SANDBOX,
                format!(
                    "{path} makes sandboxes: inside this one it is left what the profile leaves it, and a \
                     Firejail there does nothing without --force"
                ),
            )
        })
        .collect();
    if firejail {
        warnings.push(Warning::new(
            Id::ETC_FIREJAIL,
            "Firejail hides /etc/firejail in its sandboxes: keep the profiles of a Firejail that is started \
             inside in another directory, and name them with --profile",
        ));
    }
    warnings
}

fn file_name(path: &Text) -> &[u8] {
    let mut parts = path.as_bytes().rsplit(|byte| *byte == b'/');
    parts.next().unwrap_or_default()
}

fn launch(profile: &Profile) -> Option<Warning> {
    match &profile.target.launch {
        Launch::Direct => Some(Warning::new(
            Id::DIRECT_START,
            "start the program without a double dash (`firejail --profile=FILE PROGRAM`): with \
             one, Firejail runs a shell first, for which nothing is allowed here",
        )),
        Launch::Shell(shell) if !shell.ends_with("/bash") => Some(Warning::new(
            Id::LOGIN_SHELL,
            format!(
                "`firejail -- PROGRAM` starts the program through {}, and what that needs is not \
             known here: start it without the double dash",
                Text::from(shell)
            ),
        )),
        Launch::Shell(_) => None,
    }
}

/// A path that may have thousands of characters.
fn shortened(path: &[u8]) -> String {
    const LONGEST: usize = 200;
    match path.split_at_checked(LONGEST) {
        Some((start, rest)) if !rest.is_empty() => {
            format!("{}… ({} bytes)", Text::from(start), path.len())
        }
        _ => Text::from(path).to_string(),
    }
}

/// The used paths that no line can hold.
fn inexpressible(places: &[Place<'_>]) -> Vec<Warning> {
    let mut paths: Vec<&[u8]> = places
        .iter()
        .filter(|place| place.found())
        .map(|place| &*place.path)
        .filter(|path| as_argument(path).is_none())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let mut warnings: Vec<Warning> = paths
        .iter()
        .take(NAMED)
        .map(|path| {
            Warning::new(
                Id::INEXPRESSIBLE_PATH,
                format!(
                    "{} was used, which no Firejail line can hold: its directory is named instead, or \
                 the rule is left out",
                    shortened(path)
                ),
            )
        })
        .collect();
    if paths.len() > NAMED {
        warnings.push(Warning::new(
            Id::INEXPRESSIBLE_PATH,
            format!(
                "so were {} more paths that no line can hold",
                paths.len() - NAMED
            ),
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::super::DecisionOptions;
    use super::super::super::fixture::Fixture;
    use super::super::target::Target;
    use super::*;
    use crate::observation::CapabilityCheck;
    use harden_common::Argument;

    #[test]
    fn a_user_with_capabilities_and_a_filter_is_told_of() {
        let warned = |uid: u32, capability: bool| {
            let mut fixture = Fixture::new().executable("/bin/d").syscalls(&["read"]);
            if capability {
                fixture = fixture.capability("net_raw", CapabilityCheck::Granted);
            }
            fixture.run().uid = uid;
            let observation = fixture.observation();
            let profile = Profile::decide(
                &Basis::of(&observation),
                Target::default(),
                &DecisionOptions::default(),
            );
            let mut ids = profile.warnings.iter().map(|one| one.id);
            ids.any(|id| id == Id::FILE_CAPABILITIES)
        };
        assert!(warned(1000, true));
        let steps_down = |calls: &[&str]| {
            let ping = Fixture::new().executable("/bin/ping");
            let ping = ping.file_capabilities(&["net_raw"]).syscalls(calls);
            let observation = ping.observation();
            let profile = Profile::decide(
                &Basis::of(&observation),
                Target::default(),
                &DecisionOptions::default(),
            );
            let mut ids = profile.warnings.iter().map(|one| one.id);
            ids.any(|id| id == Id::FILE_CAPABILITIES)
        };
        assert!(steps_down(&["read", "setuid"]));
        assert!(!steps_down(&["read"]));
        assert!(!warned(0, true));
        assert!(!warned(1000, false));
    }

    #[test]
    fn what_a_namespace_or_no_new_privs_breaks_is_told_of() {
        let ids = |fixture: Fixture| {
            let observation = fixture.observation();
            let profile = Profile::decide(
                &Basis::of(&observation),
                Target::default(),
                &DecisionOptions::default(),
            );
            let ids = profile.warnings.into_iter().map(|one| one.id);
            ids.collect::<Vec<_>>()
        };
        let program = |path: &str| Fixture::new().executable(path).syscalls(&["read"]);
        let set_id = program("/usr/sbin/postdrop").argument(Argument::ExecSetid);
        assert!(ids(set_id).contains(&Id::SET_ID_PROGRAMS));
        assert!(ids(program("/bin/d").syscalls(&["mount"])).contains(&Id::MOUNTS));
        assert!(ids(program("/bin/ps").listing("/proc")).contains(&Id::OTHER_PROCESSES));
        assert!(ids(program("/usr/sbin/atd")).contains(&Id::LAUNCHER));
        let none = ids(program("/bin/d"));
        for id in [
            Id::SET_ID_PROGRAMS,
            Id::MOUNTS,
            Id::OTHER_PROCESSES,
            Id::LAUNCHER,
        ] {
            assert!(!none.contains(&id), "{id}");
        }
    }

    #[test]
    fn a_sandbox_inside_is_told_of() {
        let ids = |path: &str| {
            let observation = Fixture::new().executable(path).observation();
            let warnings = nested(&observation);
            warnings.iter().map(|one| one.id).collect::<Vec<_>>()
        };
        assert_eq!(
            ids("/usr/bin/firejail"),
            [Id::NESTED_SANDBOX, Id::ETC_FIREJAIL]
        );
        assert_eq!(ids("/usr/sbin/runc"), [Id::NESTED_SANDBOX]);
        assert_eq!(ids("/usr/sbin/nginx"), []);
    }
}
