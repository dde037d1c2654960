//! What apt knows, and which of it to take.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::Result;

use super::needs;
use crate::process;

/// The packages that apt could install, with the upstream version (major, minor) of each.
pub type Offers = BTreeMap<String, (u32, u32)>;

/// Which of these packages are installed.
pub fn installed(names: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]);
    // It exits 1 when it does not know one of the names, and lists the others all the same.
    let text = command.args(names).output().map(|out| out.stdout);
    parse_installed(&String::from_utf8_lossy(&text.unwrap_or_default()))
}

fn parse_installed(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

/// Asks apt for every Rust compiler that it has and for the named packages.
pub fn offers(names: &[&str]) -> Result<Offers> {
    let compilers = process::output(Command::new("apt-cache").args(["pkgnames", "rustc"]))?;
    let compilers = compilers
        .lines()
        .filter_map(Compiler::of)
        .flat_map(|c| c.packages());
    let mut policy = Command::new("apt-cache");
    // The output is parsed: it must not be translated.
    policy
        .env("LC_ALL", "C")
        .arg("policy")
        .args(compilers)
        .args(names);
    Ok(parse_policy(&process::output(&mut policy)?))
}

fn parse_policy(text: &str) -> Offers {
    let mut offers = Offers::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            offers.insert(package.to_owned(), upstream(version));
        }
    }
    offers
}

/// Major and minor of a Debian version, `EPOCH:MAJOR.MINOR…`; 0 for what is no number.
fn upstream(version: &str) -> (u32, u32) {
    let version = version
        .split_once(':')
        .map_or(version, |(_epoch, rest)| rest);
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A Rust compiler as Debian and Ubuntu package it: `rustc`, the newer `rustc-web` of Debian's stable
/// releases, `rustc-1.NN` of Ubuntu's.
struct Compiler<'a> {
    suffix: &'a str,
}

impl<'a> Compiler<'a> {
    fn of(rustc: &'a str) -> Option<Self> {
        let suffix = rustc.strip_prefix("rustc")?;
        let known = suffix.is_empty() || suffix == "-web" || is_release(suffix);
        known.then_some(Self { suffix })
    }

    /// Compiler, cargo of the same release (`-Zbuild-std` ties the two), source of `core`.
    fn needed(&self) -> [String; 3] {
        let suffix = self.suffix;
        [
            format!("rustc{suffix}"),
            format!("cargo{suffix}"),
            format!("rust{suffix}-src"),
        ]
    }

    /// Not every release has its own; the kernel programs go unlinted there.
    fn clippy(&self) -> String {
        format!("rust{}-clippy", self.suffix)
    }

    fn packages(&self) -> Vec<String> {
        [self.needed().as_slice(), &[self.clippy()]].concat()
    }
}

/// `-1.NN`
fn is_release(suffix: &str) -> bool {
    suffix
        .strip_prefix("-1.")
        .is_some_and(|minor| !minor.is_empty() && minor.chars().all(|c| c.is_ascii_digit()))
}

/// The packages of the newest compiler that is on offer with its source and is new enough.
pub fn choose_compiler(offers: &Offers) -> Option<Vec<String>> {
    let offered = |name: &String| offers.contains_key(name);
    let (_version, newest) = offers
        .iter()
        .filter(|&(_, version)| *version >= needs::OLDEST_RUST)
        .filter_map(|(name, version)| Some((version, Compiler::of(name)?)))
        .filter(|(_, compiler)| compiler.needed().iter().all(offered))
        .max_by_key(|(version, _)| *version)?;
    Some(newest.packages().into_iter().filter(offered).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(packages: &[(&str, (u32, u32))]) -> Offers {
        packages
            .iter()
            .map(|&(name, v)| (name.to_owned(), v))
            .collect()
    }

    #[test]
    fn policy_gives_candidates_only() {
        let text = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n     \
                    1.96.0+dfsg1-1~deb12u2 500\n        500 http://mirror.example bookworm/main amd64 Packages\n\
                    gcc-multilib:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n\
                    redis-server:\n  Installed: 5:7.0.15-1\n  Candidate: 5:7.0.15-1\n";
        let expected = offering(&[("redis-server", (7, 0)), ("rustc-web", (1, 96))]);
        assert_eq!(parse_policy(text), expected);
        assert_eq!(parse_policy(""), Offers::new());
    }

    #[test]
    fn only_fully_installed_packages_count() {
        let text = "gcc installed\nnginx config-files\nstrace not-installed\n";
        assert_eq!(parse_installed(text), BTreeSet::from(["gcc".to_owned()]));
    }

    #[test]
    fn debian_stable_takes_the_web_compiler() {
        let offers = offering(&[
            ("rustc", (1, 63)),
            ("cargo", (0, 66)),
            ("rust-src", (1, 63)),
            ("rustc-web", (1, 96)),
            ("cargo-web", (1, 96)),
            ("rust-web-src", (1, 96)),
            ("rust-web-clippy", (1, 96)),
        ]);
        let chosen = choose_compiler(&offers).expect("one is new enough");
        assert_eq!(
            chosen,
            ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"]
        );
    }

    #[test]
    fn ubuntu_takes_the_newest_release_that_is_whole() {
        let offers = offering(&[
            ("rustc", (1, 75)),
            ("cargo", (1, 75)),
            ("rust-src", (1, 75)),
            ("rustc-1.89", (1, 89)),
            ("cargo-1.89", (1, 89)),
            ("rust-1.89-src", (1, 89)),
            ("rustc-1.91", (1, 91)),
            ("cargo-1.91", (1, 91)),
        ]);
        let chosen = choose_compiler(&offers).expect("one is new enough");
        assert_eq!(chosen, ["rustc-1.89", "cargo-1.89", "rust-1.89-src"]);
    }

    #[test]
    fn nothing_old_and_nothing_that_is_no_compiler() {
        let offers = offering(&[
            ("rustc", (1, 63)),
            ("cargo", (0, 66)),
            ("rust-src", (1, 63)),
            ("rustc-mozilla", (1, 99)),
            ("cargo-mozilla", (1, 99)),
            ("rust-mozilla-src", (1, 99)),
        ]);
        assert_eq!(choose_compiler(&offers), None);
    }
}
