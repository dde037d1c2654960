//! Packages of any Debian release, from the mirror that this machine uses, without touching the
//! machine's own apt: lists and cache lie in a directory of their own. Signatures are checked as ever.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{process, workspace};

/// The keys that Debian's releases are signed with.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names a mirror of Debian where the machine's own sources have none.
const MIRROR: &str = "HARDEN_DEBIAN_MIRROR";

/// The address of a mirror of Debian.
pub fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var(MIRROR) {
        return Ok(mirror);
    }
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"]);
    let text = process::output(apt.arg("Created-By: Packages"))?;
    let mirror = parse_mirror(&text).with_context(|| {
        format!(
            "apt has no list of Debian's own packages: run `apt-get update`, or name a mirror in {MIRROR}"
        )
    })?;
    Ok(mirror.to_owned())
}

fn parse_mirror(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    // Security updates come from another place, and are labelled so.
    let mirror = lines.find_map(|line| line.strip_prefix("Debian Debian "))?;
    Some(mirror.trim_end_matches('/'))
}

/// apt with one release as its only source.
pub struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Fetches the lists of this release.
    pub fn new(release: &str) -> Result<Self> {
        let directory = workspace::vm().join("apt").join(release);
        for part in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let source = format!(
            "deb [arch=amd64 signed-by={KEYRING}] {} {release} main\n",
            mirror()?
        );
        fs::write(directory.join("sources.list"), source)?;
        // Nothing is installed, as far as this apt goes.
        fs::write(directory.join("status"), "")?;
        let apt = Self { directory };
        process::run(apt.get().args(["update", "--quiet"]))?;
        Ok(apt)
    }

    /// `apt-get`, with the machine's proxies and credentials.
    pub fn get(&self) -> Command {
        let mut apt = Command::new("apt-get");
        let directory = self.directory.display();
        for option in [
            format!("Dir::State={directory}"),
            format!("Dir::State::lists={directory}/lists"),
            format!("Dir::State::status={directory}/status"),
            format!("Dir::Cache={directory}/cache"),
            format!("Dir::Etc::sourcelist={directory}/sources.list"),
            format!("Dir::Etc::sourceparts={directory}/parts"),
            "APT::Architecture=amd64".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            // The checkout need not be open to apt's own user.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        // The output is parsed.
        apt.env("LC_ALL", "C");
        apt
    }

    /// Downloads `packages` and unpacks them into `directory`, which is there whole or not at all.
    pub fn unpack(&self, packages: &[String], directory: &Path) -> Result<()> {
        let name = directory.file_name().unwrap_or_default();
        // The dot of a version begins no extension: 6.1 and 6.12 are fetched side by side.
        let partial = directory.with_file_name(format!("{}.partial", name.display()));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        let mut download = self.get();
        download.current_dir(&partial).args(["download", "--quiet"]);
        process::run(download.args(packages))?;
        for entry in fs::read_dir(&partial)? {
            let package = entry?.path();
            if package.extension().is_some_and(|ending| ending == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                process::run(unpack.arg("--extract").arg(&package).arg(&partial))?;
                fs::remove_file(&package)?;
            }
        }
        fs::rename(&partial, directory)?;
        Ok(())
    }

    /// The packages that installing `package` would bring.
    pub fn brings(&self, package: &str) -> Result<Vec<String>> {
        let mut apt = self.get();
        let text = process::output(apt.args(["install", "--simulate", "-qq", package]))?;
        Ok(parse_simulation(&text))
    }
}

fn parse_simulation(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix("Inst ")
            .and_then(|rest| rest.split(' ').next())
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_own() {
        let text = "Node Node http://node.example/x/\nDebian Debian-Security http://d.example/debian-security/\n\
                    Debian Debian http://d.example/debian/\n";
        assert_eq!(parse_mirror(text), Some("http://d.example/debian"));
        assert_eq!(
            parse_mirror("Ubuntu Ubuntu http://u.example/ubuntu/\n"),
            None
        );
    }

    #[test]
    fn what_would_be_installed() {
        let text = "Inst linux-base (4.9 Debian:12 [all])\nInst linux-image-6.1.0-1-cloud-amd64 (6.1 Debian:12 [amd64])\n\
                    Conf linux-base (4.9 Debian:12 [all])\n";
        assert_eq!(
            parse_simulation(text),
            ["linux-base", "linux-image-6.1.0-1-cloud-amd64"]
        );
    }
}
