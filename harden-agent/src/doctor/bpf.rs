//! Type information, settings and mounts that BPF depends on.

use std::fs;

use serde::Serialize;

use super::{check::Check, mounts::Mount, proc};

/// What the kernel says about BPF. Settings that this kernel does not have are absent.
#[derive(Debug, Serialize)]
pub(super) struct Bpf {
    /// Bytes of the kernel's type information; absent where there is none.
    btf_bytes: Option<u64>,
    unprivileged_bpf_disabled: Option<i64>,
    perf_event_paranoid: Option<i64>,
    kptr_restrict: Option<i64>,
    jit_enable: Option<i64>,
    /// Where the BPF file system is mounted.
    bpffs: Vec<crate::observation::Text>,
}

/// Reads all of it.
pub(super) fn examine(mounts: &[Mount]) -> Bpf {
    Bpf {
        btf_bytes: fs::metadata("/sys/kernel/btf/vmlinux")
            .ok()
            .map(|file| file.len()),
        unprivileged_bpf_disabled: proc::number("/proc/sys/kernel/unprivileged_bpf_disabled"),
        perf_event_paranoid: proc::number("/proc/sys/kernel/perf_event_paranoid"),
        kptr_restrict: proc::number("/proc/sys/kernel/kptr_restrict"),
        jit_enable: proc::number("/proc/sys/net/core/bpf_jit_enable"),
        bpffs: mounts
            .iter()
            .filter(|mount| mount.file_system == "bpf")
            .map(|mount| mount.point.as_os_str().as_encoded_bytes().into())
            .collect(),
    }
}

impl Bpf {
    /// What matters to a recording.
    pub(super) fn checks(&self) -> Vec<Check> {
        vec![self.btf(), self.settings(), self.bpffs()]
    }

    fn btf(&self) -> Check {
        match self.btf_bytes {
            Some(bytes) => Check::ok(
                "btf",
                format!("/sys/kernel/btf/vmlinux, {} KiB", bytes >> 10),
            ),
            None => Check::refused("btf", "there is no /sys/kernel/btf/vmlinux").advice(
                "use a kernel with CONFIG_DEBUG_INFO_BTF=y, and mount sysfs if /sys is empty",
            ),
        }
    }

    fn settings(&self) -> Check {
        const NAME: &str = "bpf settings";
        let shown = |value: Option<i64>| {
            value.map_or_else(|| "absent".to_owned(), |value| value.to_string())
        };
        let says = format!(
            "unprivileged_bpf_disabled {}, perf_event_paranoid {}, kptr_restrict {}, bpf_jit_enable {}",
            shown(self.unprivileged_bpf_disabled),
            shown(self.perf_event_paranoid),
            shown(self.kptr_restrict),
            shown(self.jit_enable),
        );
        if self.kptr_restrict.is_some_and(|value| value >= 2) {
            return Check::warning(NAME, says).advice(
                "kptr_restrict 2 hides from everybody which capability checks are mere questions: sysctl kernel.kptr_restrict=1",
            );
        }
        if self.jit_enable == Some(0) {
            return Check::warning(NAME, says).advice(
                "programs are interpreted, which is slow: sysctl net.core.bpf_jit_enable=1",
            );
        }
        Check::ok(NAME, says)
    }

    /// `harden run` pins nothing, so it does without.
    fn bpffs(&self) -> Check {
        match self.bpffs.first() {
            Some(point) => Check::ok("bpffs", format!("mounted at {point}")),
            None => Check::ok("bpffs", "not mounted, and not needed for harden run"),
        }
    }
}
