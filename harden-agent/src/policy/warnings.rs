//! What the person who installs a file must know. Every kind of warning has an identifier, by which it is looked
//! up (docs/warnings.md) and silenced.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::collect::unit::OF_ALL;
use crate::observation::{Host, Observation, Text, Word};
use crate::plural::{plural, were};

use super::completeness::{ENOUGH, Estimate};
use super::coverage::{Coverage, hides_files, uses_ring};
use super::paths::is_within;
use super::places::Place;
use super::shared::lasting;

/// A kind of warning. What is about one sandbox alone is declared where its warnings are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    name: &'static str,
    about: &'static str,
}

/// Declares kinds, and a list of them.
macro_rules! kinds {
    ($list:ident: $($id:ident = $name:literal, $about:literal;)+) => {
        impl $crate::policy::Id {
            $(
                #[doc = $about]
                pub const $id: Self = Self::new($name, $about);
            )+
        }

        /// The kinds that are declared here.
        pub(in crate::policy) const $list: &[$crate::policy::Id] = &[$($crate::policy::Id::$id),+];
    };
}
pub(super) use kinds;

kinds! {
    GENERAL:
    NO_RUN = "no-run", "The observation contains no runs";
    LOST_EVENTS = "lost-events", "Events were lost";
    SKIPPED_PROGRAM = "skipped-program", "The kernel skipped one of harden's BPF programs";
    NO_HOOK = "no-hook", "Some run had no hook for a kind of fact";
    FAILED_RUN = "failed-run", "Runs ended with an error";
    SEVERAL_MACHINES = "several-machines", "The runs are from different machines";
    IO_URING = "io-uring", "Requests submitted to `io_uring` pass no filter";
    FEW_TESTS = "few-tests", "There are too few tests for an allowlist";
    INCOMPLETE = "incomplete", "Another such test would still make new calls";
    FOREIGN_MACHINE = "foreign-machine", "The recording is from another architecture, kernel or C library";
    ALREADY_FILTERED = "already-filtered", "The program was already confined during the recording";
    LOGIN_SESSIONS = "login-sessions", "The program's login sessions are other units";
    PINNED_FILE = "pinned-file", "A rule keeps a file that another program may replace";
    MADE_DIRECTORY = "made-directory", "The program makes a directory that a rule needs at the start";
    LAUNCHER = "launcher", "The program runs jobs on behalf of others";
    MOUNTS = "mounts", "The program mounts for others, or watches mounts";
    OTHER_ROOT = "other-root", "Some programs ran in another root directory";
    LEFT_CGROUP = "left-cgroup", "Some processes left the recorded cgroup";
    STARTED_ELSEWHERE = "started-elsewhere", "The program makes a service start programs";
    FOLDED_NAMES = "folded-names", "A directory that programs share is in the place of names in it";
    MIXED_UNITS = "mixed-units", "Several units share the record";
}

impl Id {
    pub(super) const fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about }
    }

    /// Its name on the command line and in files. It is part of the interface: scripts silence by it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// What is the matter, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.about
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Its kind.
    pub id: Id,
    /// What is the matter here.
    pub text: String,
}

impl Warning {
    pub(super) fn new(id: Id, text: impl Into<String>) -> Self {
        Self {
            id,
            text: text.into(),
        }
    }
}

/// `[ID]: TEXT`, to stand behind the word for a warning.
impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{}]: {}", self.id, self.text)
    }
}

/// What a loss means. The kernel says of a program how often it was skipped, but not for whom; the ends
/// of calls are counted by the programs themselves.
fn loss(kind: &str, lost: u64) -> Warning {
    match skipped(kind) {
        Some(program) => Warning::new(
            Id::SKIPPED_PROGRAM,
            format!(
                "the kernel skipped {program} up to {}, on the whole machine: if it was for this program, something \
                 may be missing here",
                plural(lost, "time")
            ),
        ),
        None => Warning::new(
            Id::LOST_EVENTS,
            format!(
                "INCOMPLETE: {} lost ({kind}), and what they would have shown is missing here; {}",
                were(lost, "event"),
                remedy(kind)
            ),
        ),
    }
}

/// What to do about a loss: docs/observation.md has the kinds.
fn remedy(kind: &str) -> String {
    let with = match kind {
        "slots-exhausted" => "more records (--slots; kernel.slots of the agent)",
        "cgroups-full" => "a larger table of cgroups (--cgroups; kernel.cgroups of the agent)",
        "tasks-full" => "a larger table of tasks (kernel.tasks of the agent)",
        "over-share" => "a larger share for a unit (kernel.paths_at_once of the agent)",
        "over-limit" => "larger records of units (state.max_per_unit of the agent)",
        "walk-truncated" => {
            return "no recording has paths that are so deep or so long: allow in the overrides what the program needs \
                    of them"
                .to_owned();
        }
        _ if kind.ends_with("ring-full") => {
            "a larger ring buffer (--ring; kernel.ring of the agent)"
        }
        _ => return "record again before you rely on this profile".to_owned(),
    };
    format!("record again before you rely on this profile, with {with}")
}

/// The program that the kernel skipped, if the loss is of that kind.
fn skipped(kind: &str) -> Option<&str> {
    kind.strip_prefix("skipped-")
        .filter(|program| *program != "sys_exit")
}

/// Whether a loss of this kind leaves something out for certain.
#[must_use]
pub fn is_lost(kind: &str) -> bool {
    skipped(kind).is_none()
}

/// What any file that rests on these runs must say.
pub(super) fn of_coverage(coverage: &Coverage) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if coverage.is_empty() {
        warnings.push(Warning::new(
            Id::NO_RUN,
            "the observation holds no run: this profile rests on nothing",
        ));
    }
    for (kind, lost) in &coverage.losses {
        warnings.push(loss(kind.as_str(), *lost));
    }
    for (fact, runs) in &coverage.blind {
        warnings.push(Warning::new(
            Id::NO_HOOK,
            format!(
                "INCOMPLETE: {runs} of {} had no hook for {fact}; no rule rests on them",
                coverage.all()
            ),
        ));
    }
    if let Some((names, runs)) = &coverage.filtered {
        let names: Vec<&str> = names.iter().map(Word::as_str).collect();
        warnings.push(Warning::new(
            Id::ALREADY_FILTERED,
            format!(
                "{runs} of {} were under filters already ({}): what those refused was not seen, and is refused here \
                 too. Record once without them to see all that it asks for",
                coverage.all(),
                names.join(", ")
            ),
        ));
    }
    if coverage.failed > 0 {
        warnings.push(Warning::new(
            Id::FAILED_RUN,
            format!(
                "{} of {} ended with an error: what comes after it was not seen",
                coverage.failed,
                coverage.all()
            ),
        ));
    }
    if !coverage.is_empty() {
        warnings.extend(few(&coverage.completeness.calls));
    }
    if coverage.machines.len() > 1 {
        let machines: Vec<&str> = coverage.machines.iter().map(String::as_str).collect();
        warnings.push(Warning::new(
            Id::SEVERAL_MACHINES,
            format!(
                "the runs are from different machines ({})",
                machines.join(", ")
            ),
        ));
    }
    warnings
}

/// That the record is of several units.
pub(super) fn mixed(observation: &Observation) -> Option<Warning> {
    let name = observation.name.as_bytes();
    name.ends_with(OF_ALL.as_bytes()).then(|| {
        Warning::new(
            Id::MIXED_UNITS,
            "this is the record of several units, as there were more than state.max_units: a profile of it fits none of them. \
             `harden forget` units that you do not need, and record the one that you do",
        )
    })
}

/// Whether there were enough tests for a list of what is allowed.
fn few(completeness: &Estimate) -> Option<Warning> {
    let tests = completeness.tests;
    match completeness.percent() {
        // Without any call there is no list.
        None if tests > 1 => None,
        None => Some(Warning::new(
            Id::FEW_TESTS,
            "only one test was recorded, so completeness is unknown, and anything that the test did not do is \
             refused. Record more tests, each as a run or mark of its own",
        )),
        Some(percent) if percent < ENOUGH => Some(Warning::new(
            Id::INCOMPLETE,
            format!(
                "the {tests} tests still differ: another like them would make about {} that the list does not \
                 have; of paths there is no figure at all",
                plural(completeness.to_come(), "call")
            ),
        )),
        Some(_) => None,
    }
}

/// Another machine's calls are not this one's: the kernel and the C library decide which are made.
pub(super) fn foreign(observation: &Observation, here: Option<&Host>) -> Option<Warning> {
    let here = here?;
    let mut strangers: Vec<String> = observation
        .runs
        .values()
        .map(|run| &run.host)
        .filter(|host| !alike(host, here))
        .map(machine)
        .collect();
    strangers.sort_unstable();
    strangers.dedup();
    let differ = (!strangers.is_empty()).then(|| strangers.join("; "))?;
    Some(Warning::new(
        Id::FOREIGN_MACHINE,
        format!(
            "recorded on {differ}, and this is {}: which calls are made depends on the kernel and the C \
             library, so record on the kind of machine that the file is for",
            machine(here)
        ),
    ))
}

/// Whether what runs on both makes the same calls. Kernels bring new ones with each second number.
fn alike(one: &Host, other: &Host) -> bool {
    let series = |host: &Host| {
        let bytes = host.kernel.as_bytes();
        let mut numbers = bytes.split(|byte| !byte.is_ascii_digit());
        (
            numbers.next().map(<[u8]>::to_vec),
            numbers.next().map(<[u8]>::to_vec),
        )
    };
    let libc = one.libc.is_none() || other.libc.is_none() || one.libc == other.libc;
    one.architecture == other.architecture && series(one) == series(other) && libc
}

fn machine(host: &Host) -> String {
    let libc = host.libc.as_ref().map(|libc| format!(" with {libc}"));
    format!(
        "{} {}{}",
        host.architecture,
        host.kernel,
        libc.unwrap_or_default()
    )
}

/// Work submitted to `io_uring` enters the kernel by no call that a filter or a tracepoint sees.
pub(super) fn io_uring(observation: &Observation) -> Option<Warning> {
    let mut rings = observation.runs.values().filter(|run| uses_ring(run));
    let mut blind = rings.clone().filter(|run| hides_files(run));
    let used = "io_uring was used: what is submitted to it passes no system call filter";
    if blind.next().is_some() {
        return Some(Warning::new(
            Id::IO_URING,
            format!(
                "INCOMPLETE: {used}, and the files opened through it were not seen, as the hook for \
             files was tp_btf:sys_exit. Firejail has /usr read-only in any case"
            ),
        ));
    }
    rings.next().map(|_| {
        Warning::new(
            Id::IO_URING,
            format!("{used}, and of what it did with files only opening them was seen"),
        )
    })
}

/// `pam_systemd` has logind move who logs in to a scope of its own: what is done there is not this unit's any more, and
/// still under its sandbox, which processes inherit.
pub(super) fn sessions(observation: &Observation) -> Option<Warning> {
    let runs = observation.runs.values();
    let control = runs.clone().flat_map(|run| run.control.values()).flatten();
    let programs = runs.flat_map(|run| &run.executables).chain(control);
    let mut programs = programs.filter(|(_, facts)| {
        let mut files = facts.files.keys();
        files.any(|path| path.as_bytes().ends_with(b"/pam_systemd.so"))
    });
    let (program, _) = programs.next()?;
    Some(Warning::new(
        Id::LOGIN_SESSIONS,
        format!(
            "{program} opens login sessions (pam_systemd.so): what is done in them was recorded as units of their own, \
             session-*.scope, and would be confined all the same, as processes inherit this sandbox. Merge what those \
             did (harden merge), or confine the daemon without its sessions (UsePAM=no for sshd)"
        ),
    ))
}

/// Directories that the program makes at its first start, which is refused to it.
pub(super) fn made(directories: &[&[u8]]) -> Option<Warning> {
    let names: Vec<String> = directories
        .iter()
        .map(|path| Text::from(*path).to_string())
        .collect();
    (!names.is_empty()).then(|| {
        Warning::new(
            Id::MADE_DIRECTORY,
            format!(
                "the program made {} at its first start: a rule lets it change what is in there, not make it. Have the \
                 package or tmpfiles.d(5) make it",
                names.join(", ")
            ),
        )
    })
}

/// A mount on a file is one of its inode: who replaces it by rename(2) leaves the program with the old one. `shown` are
/// paths that a rule names although they were only read.
pub(super) fn pinned(places: &[Place<'_>], shown: &BTreeSet<&str>) -> Option<Warning> {
    /// More of them make no reader wiser.
    const NAMED: usize = 5;
    let names: BTreeSet<String> = places
        .iter()
        .filter(|place| {
            let named = || std::str::from_utf8(&place.path).is_ok_and(|path| shown.contains(path));
            !place.made() && is_pinned(place) && (place.wrote() || named())
        })
        .map(|place| Text::from(&place.path).to_string())
        .collect();
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    (!names.is_empty()).then(|| {
        Warning::new(
            Id::PINNED_FILE,
            format!(
                "{} of a directory that other programs use too: a rule on it holds on to the file that is there at the \
                 start, and not to one that replaces it. Restart the program after that",
                shown.join(", ")
            ),
        )
    })
}

fn is_pinned(place: &Place<'_>) -> bool {
    const S_IFMT: u32 = 0o170_000;
    const S_IFREG: u32 = 0o100_000;
    const S_IFSOCK: u32 = 0o140_000;
    let others: [&[u8]; 4] = [b"/dev", b"/proc", b"/sys", b"/tmp"];
    let mut inodes = place.inodes.iter();
    let is_file = inodes.any(|inode| matches!(inode.mode & S_IFMT, S_IFREG | S_IFSOCK));
    // A directory named in place of its files has their inodes, too.
    is_file
        && !place.is_directory()
        && *lasting(place, &place.path) == *place.path
        && !others.iter().any(|top| is_within(&place.path, top))
}

#[cfg(test)]
mod tests {
    use super::super::{Basis, fixture::Fixture};
    use super::*;
    use crate::observation::Operation;

    #[test]
    fn every_warning_is_in_the_manual_and_nothing_else() {
        let manual = include_str!("../../../docs/warnings.md");
        let described: Vec<&str> = manual
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .collect();
        let mut sorted = described.clone();
        sorted.sort_unstable();
        let mut all: Vec<String> = Id::all().map(|id| id.to_string()).collect();
        all.sort_unstable();
        assert_eq!(sorted, all);
    }

    #[test]
    fn a_loss_names_options_and_settings_that_exist() {
        use clap::CommandFactory as _;
        let cli = crate::cli::Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        let settings = include_str!("../../../deploy/harden.toml");
        for kind in [
            "path-ring-full",
            "slots-exhausted",
            "cgroups-full",
            "tasks-full",
            "over-share",
            "over-limit",
        ] {
            let text = remedy(kind);
            let mut words = text.split([' ', '(', ')', ';']);
            let option = words.clone().find_map(|word| word.strip_prefix("--"));
            let mut options = run.get_arguments();
            assert!(
                option.is_none_or(|name| options.any(|one| one.get_long() == Some(name))),
                "{text}"
            );
            let setting = words.find_map(|word| word.split_once('.')).unwrap().1;
            let line = format!("#{setting} = ");
            assert!(settings.lines().any(|one| one.starts_with(&line)), "{text}");
        }
        assert!(!remedy("walk-truncated").contains("record again"));
    }

    #[test]
    fn another_kernel_series_architecture_or_libc_is_foreign() {
        let observation = Fixture::new().executable("/bin/d").observation();
        let here = |kernel: &str, architecture: &str, libc: Option<&str>| {
            let host = Host {
                name: Text::from("here"),
                kernel: Text::from(kernel),
                architecture: Text::from(architecture),
                libc: libc.map(Text::from),
            };
            foreign(&observation, Some(&host)).is_some()
        };
        assert!(!here("6.1.0-42-amd64", "x86_64", Some("glibc 2.36")));
        assert!(here("6.12.3", "x86_64", None));
        assert!(here("6.1", "aarch64", None));
        assert_eq!(foreign(&observation, None), None);
    }

    #[test]
    fn what_was_under_a_filter_is_told_by_the_unit_s_own_names() {
        let of = |names: &[&str]| {
            let mut fixture = Fixture::new().executable("/bin/d").next_run();
            let names = names.iter().map(|name| Word::new(*name).unwrap());
            fixture.run().filters.extend(names);
            let warnings = of_coverage(Basis::of(&fixture.observation()).coverage());
            let told = warnings
                .into_iter()
                .find(|one| one.id == Id::ALREADY_FILTERED);
            told.map(|one| one.text)
        };
        for (filters, told) in [
            (&["seccomp", "SystemCallFilter"][..], "SystemCallFilter"),
            (&["seccomp"], "seccomp"),
        ] {
            let text = of(filters).unwrap();
            let start = format!("1 of 2 runs were under filters already ({told}): ");
            assert!(text.starts_with(&start), "{text}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn who_opens_login_sessions_is_told_where_they_are() {
        let with = |path: &str| {
            let fixture = Fixture::new().executable("/usr/sbin/sshd");
            let observation = fixture.file(path, Operation::Read, "ok").observation();
            sessions(&observation).map(|one| one.text)
        };
        let text = with("/usr/lib/x86_64-linux-gnu/security/pam_systemd.so").unwrap();
        assert!(text.starts_with("/usr/sbin/sshd opens"), "{text}");
        assert_eq!(with("/usr/lib/x86_64-linux-gnu/security/pam_unix.so"), None);
    }

    #[test]
    fn a_file_that_programs_share_is_pinned_and_no_directory_that_stands_for_files() {
        let told = |path: &str, also: Option<Operation>| {
            let mut fixture = Fixture::new().executable("/bin/d");
            fixture = fixture.file_of(path, Operation::Write, 0o100_644, 0);
            if let Some(operation) = also {
                fixture = fixture.file(path, operation, "ok");
            }
            let observation = fixture.observation();
            let places = super::super::places::places(&observation);
            pinned(&places, &BTreeSet::new()).is_some()
        };
        assert!(told("/etc/d.conf", None));
        assert!(!told("/etc/d/d.conf", None));
        assert!(!told("/var/lib/d", Some(Operation::Chdir)));
    }

    #[test]
    fn tests_that_differ_are_too_few() {
        let two = |first: &[&str], second: &[&str]| {
            let fixture = Fixture::new()
                .executable("/bin/d")
                .syscalls(first)
                .next_run();
            let observation = fixture.executable("/bin/d").syscalls(second).observation();
            let warnings = of_coverage(Basis::of(&observation).coverage());
            warnings.into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        assert_eq!(two(&["read"], &["read"]), []);
        assert_eq!(
            two(&["read", "openat"], &["read", "write"]),
            [Id::INCOMPLETE]
        );
        let one = Fixture::new().executable("/bin/d").syscalls(&["read"]);
        let warnings = of_coverage(Basis::of(&one.observation()).coverage());
        assert_eq!(warnings[0].id, Id::FEW_TESTS);
    }

    #[test]
    fn a_ring_hides_files_from_the_exits_of_calls() {
        let with = |call: &str, hook: &str| {
            let mut fixture = Fixture::new().executable("/bin/daemon").syscalls(&[call]);
            let hooks = &mut fixture.run().hooks;
            hooks.insert("files".to_owned(), hook.to_owned());
            io_uring(&fixture.observation()).map(|warning| warning.text)
        };
        assert_eq!(with("read", "tp_btf:sys_exit"), None);
        for call in ["io_uring_setup", "io_uring_enter"] {
            let blind = with(call, "tp_btf:sys_exit").unwrap();
            assert!(blind.contains("were not seen"), "{blind}");
            let seeing = with(call, "lsm:file_open").unwrap();
            assert!(!seeing.contains("not seen"), "{seeing}");
        }
    }
}
