//! The `linux.seccomp` object of an OCI container, which Podman takes as a file (`--security-opt seccomp=FILE`).

use std::str::FromStr;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompBuilder, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Serialize;

use crate::observation::Text;
use crate::output::{JSON_MARKER, file_stem};
use crate::policy::Item;
use crate::policy::oci::{Allowed, Seccomp};

use super::page::{Options, head, warned};

/// The name of the file.
#[must_use]
pub fn file_name(subject: &Text) -> String {
    format!("{}.seccomp.json", file_stem(subject))
}

/// The file. JSON has no comments; runtimes pass by members that they do not know.
#[derive(Serialize)]
struct File {
    comment: Vec<String>,
    #[serde(flatten)]
    seccomp: LinuxSeccomp,
    syscalls: Vec<Entry>,
}

/// Docker and Podman know the comment of an entry, as one text (`Syscall` in profiles/seccomp of moby).
#[derive(Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(flatten)]
    syscall: LinuxSyscall,
}

/// The text of the file, for a `policy` by which these calls are `allowed`.
///
/// # Errors
/// The library that writes it does not know an architecture.
pub fn seccomp(policy: &Seccomp, allowed: &Allowed, options: &Options) -> anyhow::Result<String> {
    let architectures = allowed
        .architectures
        .iter()
        .map(|name| Arch::from_str(&format!("SCMP_ARCH_{}", name.to_ascii_uppercase())))
        .collect::<Result<Vec<_>, _>>()?;
    let seccomp = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(allowed.errno)
        .architectures(architectures)
        .build()?;
    let file = File {
        comment: comment(policy, options),
        seccomp,
        syscalls: entries(allowed, options)?,
    };
    Ok(serde_json::to_string_pretty(&file)? + "\n")
}

fn comment(policy: &Seccomp, options: &Options) -> Vec<String> {
    let coverage = &policy.coverage;
    let mut comment = vec![format!("{JSON_MARKER}, for {}", policy.subject)];
    if !options.bare {
        comment.extend(head(coverage));
    }
    comment.extend(warned(&policy.warnings, options));
    comment
}

fn entries(allowed: &Allowed, options: &Options) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for items in [&allowed.program, &allowed.unasked, &allowed.runtime] {
        if items.is_empty() {
            continue;
        }
        let names: Vec<String> = items.iter().map(|item| item.value.clone()).collect();
        let comment = if options.bare {
            String::new()
        } else {
            let lines: Vec<String> = items.iter().map(explained).collect();
            lines.join("\n")
        };
        entries.push(Entry {
            comment,
            syscall: LinuxSyscallBuilder::default()
                .names(names)
                .action(LinuxSeccompAction::ScmpActAllow)
                .build()?,
        });
    }
    Ok(entries)
}

fn explained(item: &Item) -> String {
    match &item.note {
        Some(note) => format!("{}: {note}", item.value),
        None => format!("{}: {}", item.value, item.evidence),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::observation::arbitrary::observation;
    use crate::policy::{Basis, Compatibility, DecisionOptions};

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_was_decided(mut observation in observation(), bare: bool, far: bool) {
            let compatibility = if far { Compatibility::Kernel } else { Compatibility::None };
            for run in observation.runs.values_mut() {
                run.host.architecture = "x86_64".into();
                run.hooks.insert("syscalls".to_owned(), String::new());
            }
            let policy = Seccomp::decide(&Basis::of(&observation), &DecisionOptions { compatibility, ..DecisionOptions::default() });
            let options = Options { bare, ..Options::default() };
            let Some(allowed) = policy.allowed.given() else {
                prop_assert!(!policy.allowed.reasons().is_empty());
                return Ok(());
            };
            let text = seccomp(&policy, allowed, &options).unwrap();
            let read: LinuxSeccomp = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.default_action(), LinuxSeccompAction::ScmpActErrno);
            prop_assert_eq!(read.default_errno_ret(), Some(38));
            let architectures: BTreeSet<String> = read
                .architectures()
                .iter()
                .flatten()
                .map(|one| one.to_string().trim_start_matches("SCMP_ARCH_").to_ascii_lowercase())
                .collect();
            let decided: BTreeSet<String> =
                allowed.architectures.iter().map(|&one| one.to_owned()).collect();
            prop_assert_eq!(architectures, decided);
            // Podman 4.3 refuses the file where a comment of an entry is anything but one text.
            let plain: serde_json::Value = serde_json::from_str(&text).unwrap();
            for entry in plain["syscalls"].as_array().unwrap() {
                prop_assert_eq!(entry.get("comment").is_some(), !bare);
                prop_assert!(entry.get("comment").is_none_or(serde_json::Value::is_string));
            }
            let mut names = Vec::new();
            for entry in read.syscalls().iter().flatten() {
                prop_assert_eq!(entry.action(), LinuxSeccompAction::ScmpActAllow);
                prop_assert!(entry.args().is_none());
                names.extend(entry.names().iter().cloned());
            }
            let items = allowed.program.iter().chain(&allowed.unasked);
            let items = items.chain(&allowed.runtime);
            let decided: Vec<String> = items.map(|item| item.value.clone()).collect();
            prop_assert_eq!(names, decided);
        }
    }
}
