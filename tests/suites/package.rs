//! The Debian package: what is in it, and what its scripts do.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Scratch, met};

/// The package: `HARDEN_PACKAGE`, which `cargo xtask test` sets, else the one of `cargo xtask package`.
fn package() -> Result<PathBuf> {
    if let Some(package) = env::var_os("HARDEN_PACKAGE") {
        return Ok(package.into());
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/package");
    let files = fs::read_dir(&directory)
        .ok()
        .into_iter()
        .flatten()
        .flatten();
    let mut packages: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.extension() == Some("deb".as_ref()))
        .collect();
    packages.sort();
    packages
        .pop()
        .context("there is no package: run `cargo xtask package`")
}

fn dpkg_deb(arguments: &[&str], package: &Path) -> Result<String> {
    let mut command = Command::new("dpkg-deb");
    let output = command.args(arguments).arg(package).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_files_are_where_they_belong() -> Result<()> {
    if !met("the package's files", &["dpkg-deb"]) {
        return Ok(());
    }
    let listing = dpkg_deb(&["--contents"], &package()?)?;
    let mut files = BTreeMap::new();
    for line in listing.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let (mode, owner, name) = (words[0], words[1], words[words.len() - 1]);
        assert!(matches!(owner, "0/0" | "root/root"), "{line}");
        // On a merged system these are links, which a package must not go through.
        for merged in ["./bin/", "./sbin/", "./lib/"] {
            assert!(!name.starts_with(merged), "{line}");
        }
        files.insert(name, mode);
    }
    assert_eq!(files["./usr/bin/harden"], "-rwxr-xr-x");
    for name in [
        "etc/harden/harden.toml",
        "usr/lib/systemd/system/harden-proof.path",
        "usr/lib/systemd/system/harden-proof-warn.service",
        "usr/lib/systemd/system/harden.service",
        "usr/lib/sysusers.d/harden.conf",
        "usr/lib/tmpfiles.d/harden.conf",
        "usr/share/bash-completion/completions/harden",
        "usr/share/doc/harden/changelog.Debian.gz",
        "usr/share/doc/harden/copyright",
        "usr/share/doc/harden/install.md",
        "usr/share/fish/vendor_completions.d/harden.fish",
        "usr/share/man/man1/harden-run.1.gz",
        "usr/share/man/man1/harden.1.gz",
        "usr/share/zsh/vendor-completions/_harden",
    ] {
        let mode = files.get(format!("./{name}").as_str());
        assert_eq!(mode, Some(&"-rw-r--r--"), "{name}\n{listing}");
    }
    assert!(!listing.contains("harden-generate"), "{listing}");
    Ok(())
}

/// The parts of `text` that are there, in this order.
fn in_order(text: &str, parts: &[&str]) -> Result<()> {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part);
        rest = &rest[at.with_context(|| format!("no `{part}` in its place:\n{text}"))?..];
    }
    Ok(())
}

#[test]
fn the_scripts_start_replace_and_remove_the_agent() -> Result<()> {
    if !met("the package's scripts", &["dpkg-deb", "sh"]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    let mut command = Command::new("dpkg-deb");
    command.arg("--control").arg(package()?).arg(scratch.path());
    ensure!(command.status()?.success());
    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).context(name.to_owned());
    for script in ["postinst", "prerm", "postrm"] {
        let mut check = Command::new("sh");
        check.arg("-n").arg(scratch.path().join(script));
        ensure!(check.status()?.success(), "{script}");
        assert!(!read(script)?.contains("#DEBHELPER#"), "{script}");
    }
    // The directory belongs to the user, and the agent needs both.
    in_order(
        &read("postinst")?,
        &[
            "systemd-sysusers",
            "systemd-tmpfiles --create harden.conf",
            "deb-systemd-helper enable harden.service",
            "_dh_action=restart",
            "_dh_action=start",
            "deb-systemd-invoke $_dh_action harden.service",
        ],
    )?;
    in_order(
        &read("postinst")?,
        &[
            "deb-systemd-helper enable harden-proof.path",
            "deb-systemd-invoke $_dh_action harden-proof.path",
        ],
    )?;
    // An upgrade leaves the agent running until the new one is there.
    in_order(
        &read("prerm")?,
        &[
            "[ \"$1\" = remove ]",
            "deb-systemd-invoke stop harden.service",
            "[ \"$1\" = remove ]",
            "harden agent --unload",
        ],
    )?;
    in_order(
        &read("postrm")?,
        &[
            "deb-systemd-helper purge harden.service",
            "[ \"$1\" = purge ]",
            "rm -rf /var/lib/harden",
        ],
    )?;
    assert_eq!(read("conffiles")?.trim(), "/etc/harden/harden.toml");
    Ok(())
}

#[test]
fn the_package_says_what_it_needs() -> Result<()> {
    if !met("the package's dependencies", &["dpkg-deb"]) {
        return Ok(());
    }
    let package = package()?;
    let field = |name: &str| {
        dpkg_deb(&["--field"], &package).map(|text| {
            let prefix = format!("{name}: ");
            let mut values = text.lines().filter_map(|line| line.strip_prefix(&prefix));
            values.next().unwrap_or_default().to_owned()
        })
    };
    assert_eq!(field("Package")?, "harden");
    assert!(field("Version")?.starts_with(env!("CARGO_PKG_VERSION")));
    let depends = field("Depends")?;
    assert!(depends.contains("libc6 (>= "), "{depends}");
    assert!(depends.contains("systemd"), "{depends}");
    assert_eq!(field("Recommends")?, "firejail");
    Ok(())
}
