//! The files that systemd and Firejail read for a unit, beside those that are proved themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::digest;
use crate::{machine::systemd, observation::Text};

/// What is known of a unit's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitFiles {
    /// With their digests; `Err` if one cannot be read, and why.
    pub(super) digests: BTreeMap<Text, Result<String, String>>,
    /// The drop-ins, all of them.
    pub(super) drop_ins: BTreeSet<PathBuf>,
    /// Files were changed, and systemd has not read them yet.
    pub(super) needs_reload: bool,
}

impl UnitFiles {
    /// Of the unit, but for these of harden.
    pub(super) fn of(unit: &str, but: &BTreeSet<PathBuf>) -> Self {
        const NAMES: [&str; 5] = [
            "FragmentPath",
            "SourcePath",
            "DropInPaths",
            "EnvironmentFiles",
            "NeedDaemonReload",
        ];
        let found = systemd::properties(unit, &NAMES).unwrap_or_default();
        let property = |name: &str| found.get(name).map_or("", String::as_str);
        let drop_ins: BTreeSet<PathBuf> = systemd::paths(property("DropInPaths"))
            .into_iter()
            .map(PathBuf::from)
            .collect();
        let single = ["FragmentPath", "SourcePath"].map(|name| PathBuf::from(property(name)));
        let environment = property("EnvironmentFiles").lines().map(|line| {
            // `/etc/default/x (ignore_errors=yes)`, a line each.
            PathBuf::from(line.rsplit_once(" (").map_or(line, |(path, _)| path))
        });
        let all = single.into_iter().chain(drop_ins.iter().cloned());
        let all = all
            .chain(environment)
            .filter(|path| path.is_absolute() && !but.contains(path));
        Self {
            digests: all.map(|path| (text(&path), read(&path))).collect(),
            drop_ins,
            needs_reload: property("NeedDaemonReload") == "yes",
        }
    }

    /// With the files that Firejail reads beside `profile`: those that it includes, there or not, and its own configuration.
    pub(super) fn add_firejail(&mut self, profile: &str) {
        const DIRECTORY: &str = "/etc/firejail";
        let included = profile
            .lines()
            .filter_map(|line| line.trim().strip_prefix("include "));
        let included = included.map(str::trim).chain(["firejail.config"]);
        for name in included {
            let path = Path::new(DIRECTORY).join(name);
            self.digests.insert(text(&path), read(&path));
        }
    }
}

/// Instead of a digest: there is no such file. Firejail passes such an include by, and reads it once it is there.
pub(super) const ABSENT: &str = "absent";

fn read(path: &Path) -> Result<String, String> {
    match digest::of(path) {
        Ok(Some(digest)) => Ok(digest),
        Ok(None) => Err("it is no regular file".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ABSENT.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn text(path: &Path) -> Text {
    Text::from(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_profile_includes_counts_whether_it_is_there_or_not() {
        let mut files = UnitFiles::default();
        files.add_firejail("# include no.inc\n  include harden-absent.local\nseccomp\n");
        let names: Vec<_> = files.digests.keys().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "/etc/firejail/firejail.config",
                "/etc/firejail/harden-absent.local"
            ]
        );
        let absent = &files.digests[&Text::from("/etc/firejail/harden-absent.local")];
        assert_eq!(absent.as_deref(), Ok(ABSENT));
    }
}
