//! The guide says that an ordinary user, system call filtering and file capabilities do not go together under
//! Firejail. They do not, and this is what is warned of.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Scratch, met, programs};

/// include/uapi/linux/capability.h
const NET_BIND_SERVICE: u64 = 1 << 10;

/// The effective capabilities, as the kernel has them, of a program that the user games starts under Firejail with
/// these options.
fn effective(user: &[&str], program: &Path, options: &[&str]) -> Result<u64> {
    let mut command = Command::new(user[0]);
    command.args(&user[1..]);
    command.args(["firejail", "--quiet", "--noprofile"]);
    command.args(options).arg(program).arg("/proc/self/status");
    let output = command.current_dir("/").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(u64::from_str_radix(line.with_context(said)?.trim(), 16)?)
}

#[test]
fn a_filter_takes_file_capabilities_from_a_user() -> Result<()> {
    if !met(
        "a filter takes file capabilities from a user",
        &["setcap", "setpriv", "runuser", "cat"],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let program = dir.path().join("cat");
    programs::copy("/bin/cat", &program)?;
    let set = Command::new("setcap")
        .arg("cap_net_bind_service+ep")
        .arg(&program)
        .output()?;
    ensure!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
    let games = ["runuser", "-u", "games", "--"];
    for without in [&[][..], &["--caps.keep=net_bind_service"]] {
        assert_eq!(
            effective(&games, &program, without)?,
            NET_BIND_SERVICE,
            "{without:?}"
        );
    }
    for with in [
        "--seccomp.drop=swapon",
        "--seccomp.block-secondary",
        "--protocol=unix",
    ] {
        assert_eq!(effective(&games, &program, &[with])?, 0, "{with}");
    }
    // Ambient ones do not get as far as a program without any.
    let ambient = [
        "setpriv",
        "--reuid=games",
        "--clear-groups",
        "--inh-caps=+net_bind_service",
        "--ambient-caps=+net_bind_service",
    ];
    let plain = Path::new("/bin/cat");
    let output = Command::new(ambient[0])
        .args(&ambient[1..])
        .args(["cat", "/proc/self/status"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("CapEff:\t0000000000000400\n"), "{text}");
    assert_eq!(effective(&ambient, plain, &["--protocol=unix"])?, 0);
    Ok(())
}
