//! Where the older way to give a program capabilities, in its file, ends: not every file system has room for them.

use std::collections::BTreeMap;

use super::super::warnings::{Id, Warning, kinds};
use super::{Obstacle, Remedy};
use crate::observation::{Observation, Text};

kinds! {
    WARNINGS:
    NO_FILE_CAPABILITIES = "no-file-capabilities", "A program is on a file system that holds no file capabilities";
}

/// File systems by their magic number (linux/magic.h, and the file systems' own headers) on whose files setcap(8)
/// fails, or what it set is gone, and why.
const WITHOUT: [(u64, &str); 10] = [
    (0x0000_6969, "NFS carries no security.capability (RFC 8276)"),
    (0xff53_4d42, "SMB carries no security.capability"),
    (0xfe53_4d42, "SMB carries no security.capability"),
    (0x0000_4d44, "FAT has no extended attributes"),
    (0x2011_bab0, "exFAT has no extended attributes"),
    (0x0000_9660, "ISO 9660 has no extended attributes"),
    (0x8584_58f6, "ramfs has no extended attributes"),
    // Made once and read since: what the image holds is honoured.
    (
        0x7371_7368,
        "squashfs is read-only: they have to come with the image",
    ),
    (
        0xe0f5_e1e2,
        "erofs is read-only: they have to come with the image",
    ),
    // Without CONFIG_AUFS_XATTR, as most kernels with aufs are built.
    (0x6175_6673, "aufs keeps them only with CONFIG_AUFS_XATTR"),
];

/// Of programs that would need capabilities in their files, and cannot have them there.
pub(super) fn warning(observation: &Observation, obstacles: &[Obstacle]) -> Option<Warning> {
    let needed = obstacles
        .iter()
        .filter(|one| matches!(one.remedy, Remedy::Capability { .. }));
    let needed = needed.flat_map(|one| one.evidence.executables.iter());
    let told: BTreeMap<&Text, &str> = needed
        .filter_map(|program| Some((program, reason(observation, program)?)))
        .collect();
    let told: Vec<String> = told
        .into_iter()
        .map(|(program, reason)| format!("{program} ({reason})"))
        .collect();
    (!told.is_empty()).then(|| {
        Warning::new(
            Id::NO_FILE_CAPABILITIES,
            format!(
                "setcap cannot give capabilities to {}: have systemd give them, by AmbientCapabilities=",
                told.join(", ")
            ),
        )
    })
}

fn reason(observation: &Observation, program: &Text) -> Option<&'static str> {
    let runs = observation.runs.values();
    let mut inodes = runs
        .filter_map(|run| run.executables.get(program))
        .flat_map(|facts| &facts.inodes);
    inodes.find_map(|inode| {
        let known = WITHOUT.iter();
        let found = known.copied().find(|(magic, _)| *magic == inode.filesystem);
        found.map(|(_, reason)| reason)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Accounts;
    use super::*;
    use crate::observation::{CapabilityCheck, Inode};
    use crate::policy::{Commands, DecisionOptions, account::Account, fixture::Fixture};

    fn warned(filesystem: u64, capability: &str) -> Option<String> {
        let mut fixture = Fixture::new()
            .executable("/srv/d")
            .capability(capability, CapabilityCheck::Granted);
        let facts = fixture.run().executables.values_mut().next().unwrap();
        facts.inodes.insert(Inode {
            device: 1,
            number: 2,
            generation: 0,
            mode: 0o100_755,
            uid: 0,
            gid: 0,
            rdev: 0,
            filesystem,
            acl: None,
        });
        let (accounts, decision_options) = (Accounts::default(), DecisionOptions::default());
        let account = Account::decide(
            &Commands::of(fixture.observation()).unit_basis(),
            &accounts,
            &decision_options,
        );
        let mut warnings = account.warnings.into_iter();
        let found = warnings.find(|one| one.id == Id::NO_FILE_CAPABILITIES);
        found.map(|one| one.text)
    }

    #[test]
    fn who_needs_a_capability_on_a_file_system_without_them_is_told() {
        let text = warned(0x6969, "net_bind_service").unwrap();
        assert!(text.contains("/srv/d (NFS"), "{text}");
        // ext4; and what needs none.
        assert_eq!(warned(0xef53, "net_bind_service"), None);
        assert_eq!(warned(0x6969, "setuid"), None);
    }
}
