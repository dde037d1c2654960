//! What this machine lets harden do, one facet a file, each as plain data and as checks. Only
//! looks: whatever has to be tried is undone before this returns.

mod ask;
mod bpf;
mod caller;
mod cgroups;
mod check;
mod file_capabilities;
mod file_systems;
mod filters;
mod firejail;
mod hooks;
mod kernel;
mod mounts;
mod security;
mod systemd;

use std::path::PathBuf;

use serde::Serialize;

use crate::{machine::proc, observation::Text};

pub use check::{Check, Status};

/// What is to be looked at besides the machine itself.
#[derive(Clone, Copy, Debug)]
pub struct Questions<'a> {
    /// Units, cgroups or processes that may run under a filter.
    pub units: &'a [String],
    /// Programs that may be given capabilities; none: harden itself and `/usr/bin`.
    pub programs: &'a [PathBuf],
}

/// Version of the report's form: raised when a key changes its meaning or goes.
const SCHEMA: u32 = 1;

/// Everything that was found out, in the form that docs/doctor.md describes.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    /// Whether a command can be recorded here: no check is refused.
    pub ready: bool,
    /// Each fact about the machine in one line, with what to do.
    pub checks: Vec<Check>,
    kernel: kernel::Kernel,
    caller: caller::Caller,
    bpf: bpf::Bpf,
    hooks: hooks::Hooks,
    security: security::Security,
    cgroups: cgroups::Cgroups,
    firejail: firejail::Firejail,
    systemd: systemd::Systemd,
    file_capabilities: Vec<file_capabilities::FileCapabilities>,
    storage_drivers: &'static [file_systems::StorageDriver],
    units: Vec<filters::Unit>,
}

impl Report {
    /// Looks at everything. Takes one to two seconds.
    #[must_use]
    pub fn make(questions: &Questions) -> Self {
        let mounts = mounts::read();
        let mut report = Self {
            schema: SCHEMA,
            ready: false,
            checks: Vec::new(),
            kernel: kernel::examine(),
            caller: caller::examine(),
            bpf: bpf::examine(&mounts),
            hooks: hooks::examine(),
            security: security::examine(),
            // Before anything that starts threads: the trial forks.
            cgroups: cgroups::examine(&mounts),
            firejail: firejail::examine(),
            systemd: systemd::examine(),
            file_capabilities: file_capabilities::examine(questions.programs, &mounts),
            storage_drivers: file_systems::STORAGE_DRIVERS,
            units: questions
                .units
                .iter()
                .map(|name| filters::examine(name, &mounts))
                .collect(),
        };
        report.checks = report.all_checks();
        report.ready = report
            .checks
            .iter()
            .all(|check| check.status != Status::Refused);
        report
    }

    fn all_checks(&self) -> Vec<Check> {
        let mut checks = vec![self.kernel.check(), self.caller.check()];
        checks.extend(self.bpf.checks());
        checks.extend(self.security.checks());
        checks.extend(self.hooks.checks());
        checks.extend(self.cgroups.checks());
        checks.extend(self.firejail.checks());
        checks.push(self.systemd.check());
        checks.extend(
            self.file_capabilities
                .iter()
                .map(file_capabilities::FileCapabilities::check),
        );
        checks.push(file_systems::check());
        checks.extend(self.units.iter().map(filters::Unit::check));
        checks
    }

    /// For people: a line a check; with `verbose` the end of the verifier's logs.
    #[must_use]
    pub fn text(&self, verbose: bool) -> String {
        let mut text = String::new();
        for check in &self.checks {
            text.push_str(&check.line());
            if check.name.starts_with("hook ") || check.name == "attribution" {
                text.push_str(&self.hooks.lines(&check.name, verbose));
            }
        }
        text.push_str(if self.ready {
            "\nCommands can be recorded here: sudo harden run -- CMD\n"
        } else {
            "\nNothing can be recorded here before what is refused above is put right.\n"
        });
        text
    }
}

/// Text from outside, safe on a terminal.
fn safe(text: impl AsRef<[u8]>) -> String {
    Text::from(text).to_string()
}
