//! Whether the calls that were seen are enough of a list, or only what is dangerous and was not seen is refused.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::observation::{Observation, RunKind, Text};

use super::basis::Basis;
use super::coverage::Coverage;
use super::paths::parent;

/// The kind of system call list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// Allow only what was seen.
    #[default]
    #[serde(rename = "whitelist")]
    Allowlist,
    /// Refuse what the sandbox refuses by itself, but for what was seen.
    #[serde(rename = "default")]
    SandboxDefault,
    /// Refuse, by name, what is dangerous and was not seen.
    #[serde(rename = "blacklist")]
    Denylist,
}

/// Which kind is used, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What is used.
    pub mode: Mode,
    /// What is recommended.
    pub recommended: Mode,
    /// What that rests on, a clause each.
    pub reasons: Vec<String>,
    /// What speaks for refusing less all the same.
    pub doubts: Vec<String>,
}

/// An allowlist of which less than this is seen to be complete, in per cent, breaks in use. Marked cases that each do
/// another part of the work (22 of a Redis: 89 %) do not come below it.
const ENOUGH: u8 = 80;

impl Advice {
    /// Recommends, and takes what was `asked` for, if anything.
    pub(super) fn of(basis: &Basis<'_>, asked: Option<Mode>) -> Self {
        let coverage = basis.coverage();
        let mut reasons = Vec::new();
        if let Some(percent) = coverage
            .completeness
            .calls
            .percent()
            .filter(|percent| *percent < ENOUGH)
        {
            reasons.push(format!(
                "the list has {percent} % of the calls of another such test, less than {ENOUGH} %"
            ));
        }
        let recommended = if reasons.is_empty() {
            Mode::Allowlist
        } else {
            Mode::SandboxDefault
        };
        if reasons.is_empty() {
            reasons.push(match coverage.completeness.calls.percent() {
                Some(percent) => {
                    format!("the list has {percent} % of the calls of another such test")
                }
                None => "a daemon makes few calls, and one test shows most of them".to_owned(),
            });
        }
        Self {
            mode: asked.unwrap_or(recommended),
            recommended,
            reasons,
            doubts: doubts(basis.observation(), coverage),
        }
    }

    /// `Mode: whitelist, as recommended: …`
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let how = if self.mode == self.recommended {
            "as recommended".to_owned()
        } else {
            format!("as asked for; {} is recommended", self.recommended)
        };
        let first = format!("Mode: {}, {how}: {}", self.mode, self.reasons.join("; "));
        let doubts = self.doubts.iter();
        std::iter::once(first)
            .chain(doubts.map(|doubt| format!("Mode: keep in mind: {doubt}")))
            .collect()
    }
}

impl Mode {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowlist => "whitelist",
            Self::SandboxDefault => "default",
            Self::Denylist => "blacklist",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

/// Where distributions have libraries that the loader looks for by itself (ld.so(8)), as components of a path.
const LIBRARIES: [&str; 8] = [
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "local",
    "usr",
    "x86_64-linux-gnu",
    "i386-linux-gnu",
];

/// Where packages have programs.
const PACKAGED: [&str; 7] = [
    "/bin/",
    "/lib/",
    "/lib64/",
    "/opt/",
    "/sbin/",
    "/usr/",
    "/nix/store/",
];

/// The reasons for which others make other calls: machines that differ, code that comes from elsewhere.
fn doubts(observation: &Observation, coverage: &Coverage) -> Vec<String> {
    let mut doubts = Vec::new();
    let runs = || {
        observation
            .runs
            .values()
            .filter(|run| run.kind != RunKind::Override)
    };
    let architectures: BTreeSet<&Text> = runs().map(|run| &run.host.architecture).collect();
    if architectures.len() > 1 {
        doubts.push(format!(
            "{} architectures were seen, each with calls of its own",
            architectures.len()
        ));
    }
    if coverage.machines.len() > architectures.len() {
        doubts.push(format!(
            "{} kernels were seen; --widen kernel adds what they swap",
            coverage.machines.len()
        ));
    }
    let libcs: BTreeSet<_> = runs().filter_map(|run| run.host.libc.as_ref()).collect();
    if libcs.len() > 1 {
        doubts.push(format!(
            "{} C libraries were seen; --widen libc adds what they swap",
            libcs.len()
        ));
    }
    let outside: BTreeSet<&Text> = coverage
        .executables
        .iter()
        .filter(|path| {
            !PACKAGED
                .iter()
                .any(|top| path.as_bytes().starts_with(top.as_bytes()))
        })
        .collect();
    if let Some(first) = outside.first() {
        doubts.push(format!(
            "{first} was not installed by a package, and may change independently"
        ));
    }
    let modules: BTreeSet<Text> = runs()
        .flat_map(|run| run.executables.values())
        .flat_map(|facts| facts.files.keys())
        .filter(|path| is_library(path.as_bytes()))
        .map(|path| parent(path.as_bytes()))
        .filter(|directory| !is_library_directory(directory))
        .map(Text::from)
        .collect();
    if let Some(first) = modules.first() {
        doubts.push(format!(
            "it loads modules, as from {first}: others bring other calls"
        ));
    }
    doubts
}

/// Whether the name is that of a shared library.
pub(super) fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    // Not ld.so.cache.
    let version = name.split_once(".so.").map(|(_, version)| version);
    name.rsplit('.').next() == Some("so")
        || version.is_some_and(|version| version.starts_with(|one: char| one.is_ascii_digit()))
}

fn is_library_directory(directory: &[u8]) -> bool {
    let mut parts = directory.split(|byte| *byte == b'/').skip(1);
    parts.all(|part| LIBRARIES.iter().any(|one| one.as_bytes() == part))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::Operation;

    fn advice(observation: &Observation, asked: Option<Mode>) -> Advice {
        Advice::of(&Basis::of(observation), asked)
    }

    #[test]
    fn a_list_that_lacks_much_is_not_recommended() {
        let one = Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read", "write"]);
        assert_eq!(advice(&one.observation(), None).mode, Mode::Allowlist);
        let two = Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read", "openat"])
            .next_run();
        let two = two
            .executable("/usr/sbin/d")
            .syscalls(&["read", "bind", "listen"])
            .observation();
        let decided = advice(&two, None);
        assert_eq!(decided.mode, Mode::SandboxDefault);
        assert!(decided.shown()[0].contains("less than 80 %"), "{decided:?}");
        let asked = advice(&two, Some(Mode::Allowlist));
        assert_eq!(
            (asked.mode, asked.recommended),
            (Mode::Allowlist, Mode::SandboxDefault)
        );
        assert!(
            asked.shown()[0].contains("default is recommended"),
            "{asked:?}"
        );
    }

    #[test]
    fn code_from_elsewhere_is_told_of() {
        let daemon = |program: &str, library: &str| {
            let fixture = Fixture::new()
                .executable(program)
                .file(library, Operation::Read, "ok");
            advice(&fixture.observation(), None).doubts.join("; ")
        };
        assert_eq!(
            daemon("/usr/sbin/d", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
            ""
        );
        assert_eq!(daemon("/usr/sbin/d", "/etc/ld.so.cache"), "");
        assert!(
            daemon("/home/a/d", "/lib/libc.so.6")
                .contains("/home/a/d was not installed by a package")
        );
        let modules = daemon("/usr/sbin/d", "/usr/lib/d/modules/x.so");
        assert!(
            modules.contains("modules, as from /usr/lib/d/modules"),
            "{modules}"
        );
    }
}
