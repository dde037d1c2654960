//! When this kernel takes the processor from a task that is in the kernel, and so in one of our
//! programs.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use flate2::read::GzDecoder;
use serde::Serialize;

/// The mode in force, in parentheses: `none voluntary (full)`; debugfs has to be mounted.
const MODE: &str = "/sys/kernel/debug/sched/preempt";

/// The configuration that the running kernel was built with: where distributions leave it, or from the kernel itself if that
/// has it (`CONFIG_IKCONFIG_PROC`); else nothing.
fn configuration() -> String {
    let uname = rustix::system::uname();
    let file = format!("/boot/config-{}", uname.release().to_string_lossy());
    fs::read_to_string(file)
        .or_else(|_| {
            let mut text = String::new();
            let packed = File::open("/proc/config.gz")?;
            GzDecoder::new(packed).read_to_string(&mut text)?;
            io::Result::Ok(text)
        })
        .unwrap_or_default()
}

/// The kernel's modes (kernel/Kconfig.preempt).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preemption {
    /// When the task leaves the kernel, or sleeps.
    None,
    /// Also where the kernel offers it.
    Voluntary,
    /// Anywhere, once the task has had its time. Since 6.13.
    Lazy,
    /// Anywhere.
    Full,
    /// Anywhere, also where other kernels spin or serve interrupts.
    Realtime,
}

impl Preemption {
    /// The running kernel's; `None` where nothing says.
    #[must_use]
    pub fn of_this_kernel() -> Option<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let uname = rustix::system::uname();
        let mode = read(MODE);
        let configuration = if mode.is_empty() {
            configuration()
        } else {
            String::new()
        };
        Self::from(&Told {
            mode: &mode,
            command_line: &read("/proc/cmdline"),
            release: &uname.release().to_string_lossy(),
            version: &uname.version().to_string_lossy(),
            configuration: &configuration,
        })
    }

    /// As the kernel's parameter `preempt=` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Voluntary => "voluntary",
            Self::Lazy => "lazy",
            Self::Full => "full",
            Self::Realtime => "realtime",
        }
    }

    /// Whether the kernel may skip a program because a preempted task is inside it.
    #[must_use]
    pub fn skips_programs(self) -> bool {
        matches!(self, Self::Lazy | Self::Full | Self::Realtime)
    }

    fn from(told: &Told<'_>) -> Option<Self> {
        let in_force = told.mode.split_once('(');
        let in_force = in_force.and_then(|(_, rest)| rest.split_once(')'));
        if let Some(mode) = in_force.and_then(|(mode, _)| Self::named(mode)) {
            return Some(mode);
        }
        let built = |word: &str| told.version.split(' ').any(|known| known == word);
        if built("PREEMPT_RT") {
            return Some(Self::Realtime);
        }
        if built("PREEMPT_LAZY") {
            return Some(Self::Lazy);
        }
        if built("PREEMPT") {
            return Some(Self::Full);
        }
        // With PREEMPT_DYNAMIC, for which the configuration only has the default.
        let asked = told
            .command_line
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix("preempt="))
            .next_back();
        asked
            .and_then(Self::named)
            .or_else(|| Self::configured(told.configuration))
            .or_else(|| {
                // The milder modes are gone from x86 in 7.0.
                let major = told.release.split('.').next()?.parse::<u32>().ok()?;
                (major >= 7).then_some(Self::Lazy)
            })
    }

    fn named(mode: &str) -> Option<Self> {
        let modes = [Self::None, Self::Voluntary, Self::Lazy, Self::Full];
        modes.into_iter().find(|known| known.name() == mode)
    }

    fn configured(configuration: &str) -> Option<Self> {
        configuration.lines().find_map(|line| match line {
            "CONFIG_PREEMPT_NONE=y" => Some(Self::None),
            "CONFIG_PREEMPT_VOLUNTARY=y" => Some(Self::Voluntary),
            "CONFIG_PREEMPT_LAZY=y" => Some(Self::Lazy),
            "CONFIG_PREEMPT=y" => Some(Self::Full),
            _ => None,
        })
    }
}

/// What a kernel says of itself.
#[derive(Default)]
struct Told<'a> {
    mode: &'a str,
    command_line: &'a str,
    release: &'a str,
    version: &'a str,
    configuration: &'a str,
}

#[cfg(test)]
mod tests {
    use super::{Preemption, Told};

    const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1";
    const VOLUNTARY: &str = "CONFIG_PREEMPT_VOLUNTARY=y\n# CONFIG_PREEMPT is not set\n";

    #[test]
    fn the_mode_in_force_decides_where_it_is_told() {
        let of = |mode, command_line| {
            Preemption::from(&Told {
                mode,
                command_line,
                version: DYNAMIC,
                ..Told::default()
            })
        };
        assert_eq!(of("none voluntary (full)\n", ""), Some(Preemption::Full));
        assert_eq!(of("full (lazy)\n", ""), Some(Preemption::Lazy));
        let asked = of("none (voluntary) full\n", "preempt=full");
        assert_eq!(asked, Some(Preemption::Voluntary));
    }

    #[test]
    fn else_what_was_built_or_asked_for() {
        let of = |version, command_line, configuration| {
            Preemption::from(&Told {
                command_line,
                version,
                configuration,
                ..Told::default()
            })
        };
        let voluntary = Some(Preemption::Voluntary);
        assert_eq!(of(DYNAMIC, "quiet", VOLUNTARY), voluntary);
        let full = Some(Preemption::Full);
        assert_eq!(of(DYNAMIC, "quiet preempt=full", VOLUNTARY), full);
        assert_eq!(of("#1 SMP PREEMPT Mon", "", ""), full);
        let realtime = Some(Preemption::Realtime);
        assert_eq!(of("#1 SMP PREEMPT_RT x", "preempt=none", ""), realtime);
        assert_eq!(of(DYNAMIC, "", ""), None);
        assert_eq!(of("", "", ""), None);
    }

    #[test]
    fn where_nothing_tells_the_release_does() {
        let of = |release| {
            Preemption::from(&Told {
                release,
                version: DYNAMIC,
                ..Told::default()
            })
        };
        assert_eq!(of("7.2.13-amd64"), Some(Preemption::Lazy));
        assert_eq!(of("6.18.1"), None);
    }
}
