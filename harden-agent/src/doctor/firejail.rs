//! Which Firejail, what it was built with, how it is configured, and whether it works here.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use serde::Serialize;

use super::{ask, check::Check, safe};
use crate::{observation::Text, policy::firejail::Version};

const CONFIG: &str = "/etc/firejail/firejail.config";

/// Settings that decide what a profile can do, and their defaults (src/firejail/checkcfg.c and the
/// comments of its firejail.config).
const SETTINGS: [(&str, &str); 10] = [
    ("seccomp", "yes"),
    ("seccomp-log", "no"),
    ("seccomp-error-action", "EPERM"),
    ("join", "yes"),
    ("network", "yes"),
    ("restricted-network", "no"),
    ("force-nonewprivs", "no"),
    ("userns", "yes"),
    ("private-bin", "yes"),
    ("private-etc", "yes"),
];

/// The Firejail of this machine; everything is absent where there is none.
#[derive(Debug, Default, Serialize)]
pub(super) struct Firejail {
    path: Option<Text>,
    version: Option<String>,
    /// Runs as root, no matter who starts it: it can do nothing otherwise, unless root starts it.
    set_user_id_root: bool,
    /// What it was built with, as it says.
    features: BTreeMap<String, bool>,
    /// Whether there is a configuration; the defaults hold otherwise.
    config_found: bool,
    /// The settings that matter here, in force.
    config: BTreeMap<&'static str, String>,
    /// Why it cannot make a sandbox; absent if it made one.
    sandbox_error: Option<String>,
}

/// Asks it, and has it run `true`.
pub(super) fn examine() -> Firejail {
    let Some(path) = ask::find("firejail") else {
        return Firejail::default();
    };
    let said = ask::ask(&path, &["--version"]).map(|answer| answer.output);
    let said = said.unwrap_or_default();
    let text = fs::read_to_string(CONFIG);
    Firejail {
        version: version(&said),
        set_user_id_root: fs::metadata(&path)
            .is_ok_and(|file| file.uid() == 0 && file.mode() & libc::S_ISUID != 0),
        features: features(&said),
        config_found: text.is_ok(),
        config: config(&text.unwrap_or_default()),
        sandbox_error: sandbox(&path).err().map(|error| safe(error.to_string())),
        path: Some(path.as_os_str().as_encoded_bytes().into()),
    }
}

fn sandbox(path: &Path) -> io::Result<()> {
    let answer = ask::ask(path, &["--noprofile", "--quiet", "true"])?;
    if answer.success {
        return Ok(());
    }
    let said = answer.error.lines().chain(answer.output.lines()).next();
    Err(io::Error::other(
        said.unwrap_or("it says nothing").to_owned(),
    ))
}

fn version(text: &str) -> Option<String> {
    let version: Version = text.split_whitespace().find_map(|word| word.parse().ok())?;
    Some(version.to_string())
}

/// Lines such as `\t- chroot support is enabled`.
fn features(text: &str) -> BTreeMap<String, bool> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .filter_map(|line| {
            let (words, state) = line.rsplit_once(' ')?;
            let name = words.strip_suffix(" is").unwrap_or(words);
            let name = name.strip_suffix(" support").unwrap_or(name);
            match state {
                "enabled" => Some((safe(name), true)),
                "disabled" => Some((safe(name), false)),
                _ => None,
            }
        })
        .collect()
}

/// A keyword, a blank, an argument; the last line holds.
fn config(text: &str) -> BTreeMap<&'static str, String> {
    let mut settings: BTreeMap<_, _> = SETTINGS.map(|(key, value)| (key, value.to_owned())).into();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(char::is_whitespace) else {
            continue;
        };
        if let Some(setting) = settings.get_mut(key) {
            *setting = safe(value.trim());
        }
    }
    settings
}

impl Firejail {
    /// A profile can be written without it, so nothing here is a refusal.
    pub(super) fn checks(&self) -> Vec<Check> {
        let Some(path) = &self.path else {
            return vec![
                Check::warning(
                    "firejail",
                    "not installed: profiles can be written, not tried",
                )
                .advice("apt install firejail"),
            ];
        };
        vec![self.program(path), self.sandbox(), self.settings()]
    }

    fn program(&self, path: &Text) -> Check {
        let version = self
            .version
            .as_deref()
            .unwrap_or("of a version that it does not tell");
        let says = format!("{version}, {path}");
        if self.set_user_id_root {
            return Check::ok("firejail", says);
        }
        Check::warning("firejail", format!("{says}, without its set-user-ID bit"))
            .advice("only root can use it so: chmod u+s it")
    }

    fn sandbox(&self) -> Check {
        match &self.sandbox_error {
            None => Check::ok("firejail sandbox", "works"),
            Some(error) => Check::warning("firejail sandbox", error)
                .advice("profiles can be written, not tried here"),
        }
    }

    fn settings(&self) -> Check {
        const NAME: &str = "firejail config";
        let is = |key: &str, value: &str| self.config.get(key).is_some_and(|found| found == value);
        let get = |key: &str| self.config.get(key).map_or("", String::as_str);
        let action = get("seccomp-error-action");
        let says = format!(
            "seccomp-log {}, seccomp-error-action {action}",
            get("seccomp-log")
        );
        let off: Vec<_> = ["seccomp", "private-bin", "private-etc", "userns"]
            .into_iter()
            .filter(|key| is(key, "no"))
            .collect();
        if !off.is_empty() {
            return Check::warning(NAME, format!("{says}; turned off: {}", off.join(", "))).advice(
                format!("what a profile says of them has no effect: set them to yes in {CONFIG}"),
            );
        }
        if is("force-nonewprivs", "yes") {
            return Check::warning(NAME, format!("{says}; force-nonewprivs yes")).advice(
                "programs with set-user-ID bits or file capabilities get nothing from them",
            );
        }
        if is("seccomp-log", "no") && !matches!(action, "log" | "kill") {
            return Check::warning(
                NAME,
                format!("{says}: denied calls leave no line in the audit log"),
            )
            .advice(format!("to see them, set seccomp-log yes in {CONFIG}"));
        }
        Check::ok(NAME, says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_named_as_they_are_told() {
        let text = "firejail version 0.9.72\n\nCompile time support:\n\t- AppArmor support is enabled\n\t- overlayfs support is disabled\n\t- private-cache and tmpfs as user enabled\n";
        let features = features(text);
        assert_eq!(features.get("AppArmor"), Some(&true));
        assert_eq!(features.get("overlayfs"), Some(&false));
        assert_eq!(features.get("private-cache and tmpfs as user"), Some(&true));
        assert_eq!(version(text).as_deref(), Some("0.9.72"));
    }

    #[test]
    fn the_last_line_holds_and_comments_do_not() {
        let text = "# seccomp no\nseccomp-log yes\nseccomp-log no\nseccomp-error-action  kill\njoin\n\u{1b}x y\n";
        let config = config(text);
        assert_eq!(config["seccomp"], "yes");
        assert_eq!(config["seccomp-log"], "no");
        assert_eq!(config["seccomp-error-action"], "kill");
        assert_eq!(config["join"], "yes");
    }
}
