//! Which kernel, and how it preempts.

use std::fs;

use serde::Serialize;

use super::{ask, check::Check, safe};
use crate::{observation::Text, run::host};

/// The running kernel.
#[derive(Debug, Serialize)]
pub struct Kernel {
    release: Text,
    architecture: Text,
    /// `none`, `voluntary`, `full`, `lazy` or `realtime`; absent where nothing tells.
    preemption: Option<String>,
}

/// Asks uname, the command line and the configuration.
pub fn examine() -> Kernel {
    let host = host::this();
    let uname = rustix::system::uname();
    let version = uname.version().to_string_lossy();
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    Kernel {
        preemption: preemption(&version, &line, &configuration(&host.kernel)).map(str::to_owned),
        release: host.kernel,
        architecture: host.architecture,
    }
}

impl Kernel {
    /// What there is.
    pub fn check(&self) -> Check {
        let preemption = self.preemption.as_deref().unwrap_or("unknown");
        Check::ok(
            "kernel",
            format!(
                "{} {}, preemption {preemption}",
                self.release, self.architecture
            ),
        )
    }
}

/// The kernel's configuration, from where distributions leave it.
fn configuration(release: &Text) -> String {
    let boot = format!("/boot/config-{}", safe(release.as_bytes()));
    fs::read_to_string(boot)
        .ok()
        .or_else(|| Some(ask::ask("gzip", &["-dc", "/proc/config.gz"]).ok()?.output))
        .unwrap_or_default()
}

/// The version says what was built in; with `PREEMPT_DYNAMIC` the command line decides, else the
/// configuration (kernel/sched/core.c, `setup_preempt_mode`).
fn preemption(version: &str, line: &str, configuration: &str) -> Option<&'static str> {
    let built = |word: &str| version.split(' ').any(|found| found == word);
    let asked = line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("preempt="))
        .next_back();
    let set = |option: &str| {
        let wanted = format!("CONFIG_{option}=y");
        configuration.lines().any(|found| found == wanted)
    };
    if built("PREEMPT_RT") {
        return Some("realtime");
    }
    if built("PREEMPT_DYNAMIC") {
        let known = ["none", "voluntary", "full", "lazy"];
        if let Some(mode) = known.into_iter().find(|mode| asked == Some(mode)) {
            return Some(mode);
        }
    } else if built("PREEMPT") {
        return Some("full");
    }
    [
        ("PREEMPT_NONE", "none"),
        ("PREEMPT_VOLUNTARY", "voluntary"),
        ("PREEMPT_LAZY", "lazy"),
        ("PREEMPT", "full"),
    ]
    .into_iter()
    .find_map(|(option, mode)| set(option).then_some(mode))
}

#[cfg(test)]
mod tests {
    use super::preemption;

    #[test]
    fn the_command_line_goes_before_the_configuration() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian";
        let voluntary = "CONFIG_PREEMPT_VOLUNTARY=y\n# CONFIG_PREEMPT is not set\n";
        assert_eq!(preemption(dynamic, "quiet", voluntary), Some("voluntary"));
        assert_eq!(preemption(dynamic, "preempt=full", voluntary), Some("full"));
        assert_eq!(
            preemption("#1 SMP PREEMPT_RT x", "preempt=none", ""),
            Some("realtime")
        );
        assert_eq!(preemption("#1 SMP PREEMPT x", "", ""), Some("full"));
        assert_eq!(preemption(dynamic, "", ""), None);
    }
}
