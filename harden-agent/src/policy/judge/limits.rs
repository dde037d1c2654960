//! Resource limits: which of them cannot refuse a program anything that it could have before.

/// What a service has by default (systemd.exec(5), `DefaultLimitNOFILE=` and `DefaultLimitMEMLOCK=` in
/// systemd-system.conf(5)); all others are unlimited, or depend on the machine.
const DEFAULTS: [(&str, u64); 2] = [("NOFILE", 1024), ("MEMLOCK", 8 << 20)];
/// Of cores alone: a program works without.
const HARMLESS: [&str; 1] = ["CORE"];

/// No limit (`RLIM_INFINITY`).
pub(super) const UNLIMITED: u64 = u64::MAX;

/// Whether a soft limit leaves a program all that it has by default.
pub(super) fn is_enough(resource: &str, soft: u64) -> bool {
    let default = DEFAULTS.iter().find(|(name, _)| *name == resource);
    soft == UNLIMITED
        || HARMLESS.contains(&resource)
        || default.is_some_and(|(_, default)| soft >= *default)
}

/// Why a lower one is not judged.
pub(super) const LOWER: &str = "how much of it the program needs is not recorded";
