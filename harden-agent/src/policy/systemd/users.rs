//! Directives about users: which there are, and what they may do with new files.

use std::collections::BTreeSet;

use harden_common::Argument;

use crate::observation::{Facet, Operation, Text};

use super::super::basis::Basis;
use super::Directive;
use super::kernel::Usage;

/// `PrivateUsers`: a user namespace with root and the unit's user; all others are nobody, and no capability holds
/// outside of it (`user_namespaces(7)`).
pub(super) fn private(basis: &Basis<'_>, usage: &Usage<'_>) -> Directive {
    /// What names other users, even where it needs no capability: a group that one is in, too.
    const OTHERS: [&str; 6] = [
        "chown",
        "chown32",
        "fchown",
        "fchownat",
        "lchown",
        "setgroups",
    ];
    let arguments = [
        Argument::ExecSetid,
        Argument::NamespaceUser,
        Argument::NamespaceAny,
    ];
    let mut reasons = usage.against_with_files(&OTHERS, &arguments, &[], [].into_iter());
    reasons.extend(
        basis
            .needs()
            .needed
            .keys()
            .map(|name| format!("the capability {name} was used")),
    );
    let own: BTreeSet<u32> = basis
        .observation()
        .runs
        .values()
        .map(|run| run.uid)
        .collect();
    // A program that looks whose a file is, as sshd does, sees the owner nobody.
    let strangers = basis.places().iter().filter(|place| {
        let mut inodes = place.inodes.iter();
        place.found() && inodes.any(|inode| inode.uid != 0 && !own.contains(&inode.uid))
    });
    reasons.extend(
        strangers
            .map(|place| format!("{} belongs to another user", Text::from(&place.path)))
            .take(1),
    );
    Directive::yes("PrivateUsers", reasons)
}

/// `UMask`: the least that all new files had anyway.
pub(super) fn mask(basis: &Basis<'_>) -> Directive {
    const S_IFMT: u32 = 0o170_000;
    const S_IFLNK: u32 = 0o120_000;
    let blind: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    let makes = |operation| {
        matches!(
            operation,
            Operation::Create | Operation::Mkdir | Operation::Mknod | Operation::Bind
        )
    };
    let mut reasons = blind;
    let (mut all, mut which) = (0, None);
    for place in basis
        .places()
        .iter()
        .filter(|place| place.done().any(makes))
    {
        let path = || Text::from(&place.path);
        if place.inodes.is_empty() {
            reasons.push(format!("with which mode {} was made is not known", path()));
        }
        for inode in place.inodes {
            let others = inode.mode & 0o077;
            if inode.mode & S_IFMT != S_IFLNK && others & !all != 0 {
                all |= others;
                which = Some((path(), inode.mode & 0o777));
            }
        }
    }
    let word = if all == 0 { "0077" } else { "0027" };
    if let Some((path, mode)) = which.filter(|_| all & 0o027 != 0) {
        reasons.push(format!("{path} was made with mode {mode:04o}"));
    }
    Directive::word("UMask", word, reasons)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::super::super::{Commands, DecisionOptions};
    use super::super::DropIn;
    use super::*;
    use crate::observation::CapabilityCheck;

    fn daemon() -> Fixture {
        Fixture::new().executable("/usr/sbin/d").syscalls(&["read"])
    }

    fn word(fixture: Fixture, name: &str) -> Option<String> {
        let drop_in = DropIn::decide(
            &Commands::of(fixture.observation()).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        let items = drop_in.given(name)?;
        Some(items[0].value.clone())
    }

    #[test]
    fn new_files_keep_the_modes_that_they_had() {
        let made = |mode| daemon().file_of("/var/lib/d/x", Operation::Create, mode, 0);
        let mask = |fixture| word(fixture, "UMask");
        assert_eq!(mask(daemon()).as_deref(), Some("0077"));
        assert_eq!(mask(made(0o100_600)).as_deref(), Some("0077"));
        assert_eq!(mask(made(0o100_640)).as_deref(), Some("0027"));
        assert_eq!(mask(made(0o100_750)).as_deref(), Some("0027"));
        assert_eq!(mask(made(0o100_660)), None);
        assert_eq!(mask(made(0o100_644)), None);
        assert_eq!(mask(made(0o120_777)).as_deref(), Some("0077"));
        let unknown = daemon().file("/var/lib/d/x", Operation::Mkdir, "ok");
        assert_eq!(mask(unknown), None);
        // What is only read may have any.
        let read = daemon().file_of("/etc/d", Operation::Read, 0o100_644, 0);
        assert_eq!(mask(read).as_deref(), Some("0077"));
    }

    #[test]
    fn who_needs_no_capability_and_no_other_user_is_alone() {
        let private = |fixture| word(fixture, "PrivateUsers").is_some();
        assert!(private(daemon()));
        assert!(private(
            daemon().capability("sys_admin", CapabilityCheck::Denied)
        ));
        assert!(!private(
            daemon().capability("net_bind_service", CapabilityCheck::Granted)
        ));
        assert!(!private(daemon().syscalls(&["fchown"])));
        assert!(!private(daemon().argument(Argument::ExecSetid)));
        let stranger = daemon().file_of("/var/lib/d/x", Operation::Read, 0o100_644, 0);
        assert!(private(stranger));
        let mut stranger = daemon().file_of("/var/lib/d/x", Operation::Read, 0o100_644, 0);
        let program = stranger.run().executables.values_mut().next().unwrap();
        let file = program.files.values_mut().next().unwrap();
        let inodes = std::mem::take(&mut file.inodes).into_iter();
        let owned = inodes.map(|inode| crate::observation::Inode { uid: 33, ..inode });
        file.inodes = owned.collect();
        assert!(!private(stranger));
    }
}
