//! Directives that are taken back whatever they are about, as they come with something that the unit cannot live with.

use super::super::evidence::Decision;
use super::super::reasons::Reasons;
use super::Directive;

/// Those that install a filter (`context_has_no_new_privileges` in src/core/execute.c, 252).
pub(in super::super) const FILTERS: [&str; 15] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
];

/// Those that make a mount namespace (`exec_needs_mount_namespace` in src/core/execute.c). `PrivateNetwork=` from 254
/// on, unless `PrivateMounts=` says otherwise.
pub(super) const MOUNT_NAMESPACE: [&str; 14] = [
    "PrivateDevices",
    "PrivateIPC",
    "PrivateNetwork",
    "PrivateTmp",
    "ProcSubset",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
];

/// Takes back those that are `meant`, if there is any reason to, which then comes first.
pub(super) fn because(
    directives: &mut [Directive],
    meant: impl Fn(&str) -> bool,
    reasons: &[String],
) {
    if reasons.is_empty() {
        return;
    }
    for directive in directives.iter_mut().filter(|one| meant(one.name)) {
        let mut all = Reasons::from(reasons.to_vec());
        let nothing = Decision::Withheld(Reasons::default());
        all.append(std::mem::replace(&mut directive.value, nothing).into_reasons());
        directive.value = Decision::Withheld(all);
    }
}
