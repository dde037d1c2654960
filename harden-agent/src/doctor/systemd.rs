//! Which systemd, and whether it answers.

use std::{fs, path::Path};

use serde::Serialize;

use super::{ask, check::Check, safe};

/// The systemd of this machine.
#[derive(Debug, Serialize)]
pub(super) struct Systemd {
    /// `252 (252.38-1~deb12u1)`; absent where systemctl is not installed.
    version: Option<String>,
    /// Whether it started this machine (`sd_booted(3)`).
    booted: bool,
    /// The program of process 1; absent without the right to know.
    pid_1: Option<String>,
    /// What `systemctl is-system-running` says: `running`, `degraded`, `offline`.
    state: Option<String>,
}

/// Asks systemctl.
pub(super) fn examine() -> Systemd {
    let version = ask::ask("systemctl", &["--version"]).ok();
    let state = ask::ask("systemctl", &["is-system-running"]).ok();
    Systemd {
        version: version.and_then(|answer| self::version(&answer.output)),
        booted: Path::new("/run/systemd/system").is_dir(),
        pid_1: fs::read_link("/proc/1/exe")
            .ok()
            .map(|path| safe(path.as_os_str().as_encoded_bytes())),
        // Its exit status is 1 for everything but `running`.
        state: state
            .and_then(|answer| answer.output.lines().next().map(safe))
            .filter(|state| !state.is_empty()),
    }
}

fn version(text: &str) -> Option<String> {
    Some(safe(text.lines().next()?.strip_prefix("systemd ")?))
}

impl Systemd {
    /// Whether it runs and answers.
    pub(super) fn check(&self) -> Check {
        const NAME: &str = "systemd";
        let Some(version) = &self.version else {
            return Check::warning(NAME, "systemctl is not installed")
                .advice("commands can be recorded, units cannot be asked about");
        };
        let state = self.state.as_deref().unwrap_or("no answer");
        let answers = !matches!(state, "no answer" | "offline" | "unknown");
        match (self.booted, answers) {
            (true, true) => Check::ok(NAME, format!("{version}, {state}")),
            (true, false) => Check::warning(NAME, format!("{version} does not answer: {state}"))
                .advice("units cannot be asked about: systemctl status tells more"),
            (false, _) => Check::warning(
                NAME,
                format!("{version} is installed but did not start this machine"),
            )
            .advice("commands can be recorded, there are no units"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_on_the_first_line() {
        assert_eq!(
            version("systemd 252 (252.1)\n+PAM\n").as_deref(),
            Some("252 (252.1)")
        );
        assert_eq!(version("nothing"), None);
    }
}
