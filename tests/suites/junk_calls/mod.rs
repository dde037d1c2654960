//! Calls that the kernel does not have: they ask for nothing, and take no line away.

#![cfg(target_arch = "x86_64")]

mod daemon;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Machine, Process, Scratch, firejail, harden, met, programs};

/// Whether this kernel has x32 calls.
fn has_x32() -> bool {
    let config = Command::new("sh")
        .args(["-c", "zcat /proc/config.gz || cat /boot/config-$(uname -r)"])
        .output();
    config.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains("CONFIG_X86_X32_ABI=y")
    })
}

/// Records the program as it makes such calls by a `convention`, as systemd and libseccomp name it. A call by another than
/// the machine's own gets its answer only where the filter lists the convention: else the program is killed.
fn asks_for_nothing(words: &[&str], told: &[&str], convention: Option<(&str, &str)>) -> Result<()> {
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
    let more = convention.map_or_else(String::new, |(name, _)| format!(" {name}"));
    let architectures = format!("\nSystemCallArchitectures=native{more}\n");
    ensure!(drop_in.contains(&architectures), "{drop_in}");
    ensure!(drop_in.contains("\nSystemCallFilter="), "{drop_in}");
    // No call of the convention was answered, and so none is added for it.
    ensure!(!drop_in.contains("_llseek"), "{drop_in}");
    let oci: serde_json::Value = serde_json::from_str(&read("junk.seccomp.json")?)?;
    let mut names = vec!["SCMP_ARCH_X86_64"];
    names.extend(convention.map(|(_, name)| name));
    let mut listed: Vec<&str> = oci["architectures"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    names.sort_unstable();
    listed.sort_unstable();
    ensure!(listed == names, "{oci}");

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
    done(&profile.without("seccomp.keep", "write"), false)?;
    if let Some((name, _)) = convention {
        under_systemd(&command, &drop_in, name)?;
    }
    Ok(())
}

/// The work is done under the drop-in, and not where it does not list the convention.
fn under_systemd(command: &[&str], drop_in: &str, convention: &str) -> Result<()> {
    let Some(machine) = Machine::here("a convention called in vain")? else {
        return Ok(());
    };
    let program = Path::new(command[0]);
    let directory = program.parent().context("a directory")?;
    let inside = machine.root().join(directory.strip_prefix("/")?);
    fs::create_dir_all(&inside)?;
    programs::copy(program, machine.root().join(program.strip_prefix("/")?))?;
    let start = |drop_in: &str| -> Result<String> {
        let exec = command.join(" ");
        machine.write("/run/systemd/system/junk.service.d/50-harden.conf", drop_in)?;
        machine.unit(
            "junk.service",
            &format!("[Service]\nType=oneshot\nExecStart={exec}\n"),
        )?;
        machine.try_run(&["systemctl", "start", "junk.service"])?;
        machine.property("junk.service", "Result")
    };
    let result = start(drop_in)?;
    ensure!(result == "success", "{result}: {drop_in}");
    let less = drop_in.replace(&format!("=native {convention}\n"), "=native\n");
    let result = start(&less)?;
    ensure!(result == "core-dump" || result == "signal", "{result}");
    Ok(())
}

#[test]
fn numbers_that_no_kernel_has() -> Result<()> {
    if !met("numbers that no kernel has", &[]) {
        return Ok(());
    }
    asks_for_nothing(
        &["number"],
        &["syscall-350", "numbers beyond all calls"],
        None,
    )
}

#[test]
fn calls_of_x32() -> Result<()> {
    if !met("x32 calls", &[]) || has_x32() {
        return Ok(());
    }
    asks_for_nothing(&["x32"], &["x32 getpid"], Some(("x32", "SCMP_ARCH_X32")))
}

#[test]
fn a_32_bit_number_without_a_call() -> Result<()> {
    if !met("a 32-bit number without a call", &[]) {
        return Ok(());
    }
    asks_for_nothing(
        &["ia32"],
        &["ia32 syscall-511"],
        Some(("x86", "SCMP_ARCH_X86")),
    )
}
