//! Directories that represent names in them, of which there were too many to be kept: what was used there is known, but
//! not where. Each directory below for which there is a rule was used, then.

use std::collections::BTreeSet;

use crate::observation::{Executable, Observation, Text};

use super::paths::is_within;
use super::shared::{SHARED, is_shared};
use super::warnings::{Id, Warning};

/// Directories for which there are rules, beside those that programs share.
const RULED: [&str; 12] = [
    "/dev/mqueue",
    "/dev/shm",
    "/proc/irq",
    "/proc/sys",
    "/sys/class/net",
    "/sys/fs/bpf",
    "/sys/fs/cgroup",
    "/sys/kernel",
    "/sys/module",
    "/usr/lib/modules",
    "/usr/src",
    "/var/run",
];

/// The directories below `directory` for which there are rules.
pub(super) fn ruled_below(directory: &[u8]) -> Vec<&'static [u8]> {
    let ruled = SHARED.iter().chain(&RULED).map(|one| one.as_bytes());
    ruled
        .filter(|one| *one != directory && is_within(one, directory))
        .collect()
}

/// That a directory which programs share represents names in it.
pub(super) fn warning(observation: &Observation) -> Option<Warning> {
    let programs = observation
        .runs
        .values()
        .flat_map(|run| run.executables.values());
    let shared: BTreeSet<&Text> = programs.flat_map(coarse).collect();
    let first = shared.first()?;
    let more = match shared.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Some(Warning::new(
        Id::FOLDED_NAMES,
        format!(
            "COARSE: {first}{more} is in the place of names that there was no room for, so rules about what lies there are \
             left out. Raise state.max_per_unit, `harden forget` the unit, and record it again"
        ),
    ))
}

fn coarse(program: &Executable) -> impl Iterator<Item = &Text> {
    let files = program.files.iter();
    // In directories for temporary files, names without end are nothing unusual, and no rule depends on them.
    let folded = files.filter(|(path, file)| {
        file.names > 0 && is_shared(path.as_bytes()) && !is_temporary(path.as_bytes())
    });
    folded.map(|(path, _)| path)
}

fn is_temporary(path: &[u8]) -> bool {
    path == b"/tmp" || path == b"/var/tmp"
}

#[cfg(test)]
mod tests {
    use super::super::firejail::{Profile, Target};
    use super::super::fixture::Fixture;
    use super::super::systemd::DropIn;
    use super::super::{Basis, Commands, Decision, DecisionOptions};
    use super::*;
    use crate::observation::{Operation, Uses};

    /// A program of which so many names in `directory` were read, or changed, that they are not known.
    fn folded(directory: &str, operation: Operation) -> Observation {
        let fixture = Fixture::new().executable("/usr/sbin/d");
        let mut observation = fixture.file(directory, operation, "ok").observation();
        for run in observation.runs.values_mut() {
            for program in run.executables.values_mut() {
                if let Some(file) = program.files.get_mut(&Text::from(directory)) {
                    file.names = 403;
                }
            }
        }
        observation
    }

    fn is_given(drop_in: &DropIn, name: &str, value: &str) -> bool {
        drop_in.directives.iter().any(|directive| {
            let given = directive.value.given();
            directive.name == name
                && given.is_some_and(|items| items.iter().any(|item| item.value == value))
        })
    }

    #[test]
    fn what_lies_in_a_folded_directory_is_neither_hidden_nor_copied_nor_frozen() {
        let read = Profile::decide(
            &Basis::of(&folded("/", Operation::Read)),
            Target::default(),
            &DecisionOptions::default(),
        );
        assert!(
            read.files.blacklist.is_empty(),
            "{:?}",
            read.files.blacklist
        );
        assert!(
            read.files.whitelist.is_empty(),
            "{:?}",
            read.files.whitelist
        );
        assert!(matches!(read.etc, Decision::Withheld(_)), "{:?}", read.etc);
        assert!(read.warnings.iter().any(|one| one.id == Id::FOLDED_NAMES));
        let written = folded("/", Operation::Write);
        let profile = Profile::decide(
            &Basis::of(&written),
            Target::default(),
            &DecisionOptions::default(),
        );
        assert!(
            profile.files.read_only.is_empty(),
            "{:?}",
            profile.files.read_only
        );
        let drop_in = DropIn::decide(
            &Commands::of(written).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        for (name, value) in [
            ("ProtectSystem", "full"),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("ProtectKernelTunables", "yes"),
            ("ProtectControlGroups", "yes"),
        ] {
            assert!(!is_given(&drop_in, name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_rule_inside_a_folded_directory_is_left_out_and_the_others_are_not() {
        let drop_in = DropIn::decide(
            &Commands::of(folded("/sys", Operation::Write)).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        assert!(!is_given(&drop_in, "ProtectControlGroups", "yes"));
        assert!(is_given(&drop_in, "ProtectHome", "yes"));
        let profile = Profile::decide(
            &Basis::of(&folded("/usr", Operation::Read)),
            Target::default(),
            &DecisionOptions::default(),
        );
        assert!(profile.files.whitelist.is_empty());
        assert!(!profile.files.blacklist.is_empty());
    }

    /// What was only looked for there was looked for everywhere.
    #[test]
    fn names_that_were_not_found_count_as_looked_for() {
        let mut observation = folded("/", Operation::Read);
        for run in observation.runs.values_mut() {
            for program in run.executables.values_mut() {
                if let Some(file) = program.files.get_mut(&Text::from("/")) {
                    file.operations = Uses::default();
                }
            }
        }
        let profile = Profile::decide(
            &Basis::of(&observation),
            Target::default(),
            &DecisionOptions::default(),
        );
        assert!(
            profile.files.blacklist.is_empty(),
            "{:?}",
            profile.files.blacklist
        );
    }

    #[test]
    fn a_program_s_own_directory_is_no_reason_to_warn() {
        for directory in ["/srv/docs", "/var/lib/d/spool", "/tmp"] {
            assert!(
                warning(&folded(directory, Operation::Read)).is_none(),
                "{directory}"
            );
        }
        assert!(warning(&folded("/etc", Operation::Read)).is_some());
    }
}
