//! Calls that the kernel does not have: they ask for nothing, and take no line away.

#![cfg(target_arch = "x86_64")]

mod daemon;

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use harden_tests::{Process, Scratch, firejail, harden, met, programs};

/// Whether this kernel has x32 calls.
fn has_x32() -> bool {
    let config = Command::new("sh")
        .args(["-c", "zcat /proc/config.gz || cat /boot/config-$(uname -r)"])
        .output();
    config.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains("CONFIG_X86_X32_ABI=y")
    })
}

fn asks_for_nothing(words: &[&str], told: &[&str]) -> Result<()> {
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = programs::install("junk", &dir)?.display().to_string();
    let file = dir.path().join("result").display().to_string();
    let mut command = vec![program.as_str(), file.as_str()];
    command.extend(words);
    let recorded = harden::record("junk", &["--format", "firejail,systemd,oci"], &command)?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    let profile = &recorded.profile;
    let text = profile.text();
    for call in told {
        let line =
            format!("# Asks for nothing: {call}: not a call of this kernel: answered ENOSYS");
        ensure!(text.contains(&line), "no {line} in {text}");
    }
    ensure!(
        !recorded.output.contains("lost-events"),
        "{}",
        recorded.output
    );
    ensure!(profile.has("seccomp.block-secondary"), "{text}");
    let list = profile.list("seccomp.keep");
    ensure!(
        list.contains(&"write") && list.iter().all(|call| !call.starts_with('$')),
        "{list:?}"
    );
    let read = |name: &str| fs::read_to_string(recorded.dir.path().join(name));
    let drop_in = read("junk.drop-in.conf")?;
    ensure!(
        drop_in.contains("\nSystemCallArchitectures=native\n"),
        "{drop_in}"
    );
    ensure!(drop_in.contains("\nSystemCallFilter="), "{drop_in}");
    let oci: serde_json::Value = serde_json::from_str(&read("junk.seccomp.json")?)?;
    ensure!(
        oci["architectures"] == serde_json::json!(["SCMP_ARCH_X86_64"]),
        "{oci}"
    );

    // The work is done all the same.
    let done = |profile: &_, good: bool| {
        fs::remove_file(&file)?;
        firejail::run(profile, &command, |process: &mut Process| {
            let status = process.wait()?;
            ensure!(status.success() == good, "{status}: {}", process.output());
            Ok(())
        })
    };
    done(profile, true)?;
    done(&profile.without("seccomp.keep", "write"), false)
}

#[test]
fn numbers_that_no_kernel_has() -> Result<()> {
    if !met("numbers that no kernel has", &[]) {
        return Ok(());
    }
    asks_for_nothing(&["number"], &["syscall-350", "numbers beyond all calls"])
}

#[test]
fn calls_of_x32() -> Result<()> {
    if !met("x32 calls", &[]) || has_x32() {
        return Ok(());
    }
    asks_for_nothing(&["x32"], &["x32 getpid"])
}

#[test]
fn a_32_bit_number_without_a_call() -> Result<()> {
    if !met("a 32-bit number without a call", &[]) {
        return Ok(());
    }
    asks_for_nothing(&["ia32"], &["ia32 syscall-511"])
}
