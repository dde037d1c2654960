//! The list of calls of a container, loaded by a real runtime.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Process, Scratch, harden, met, programs};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

/// What the container does, and what it prints.
const WORK: &str =
    "set -e; cd /tmp; echo one > a; mv a b; mkdir d; ln -s b l; cat l; rm -r b d l; id -u";
const RESULT: &str = "one\n0\n";

/// A bundle with nothing but busybox in its root.
fn bundle() -> Result<Scratch> {
    let bundle = Scratch::new(Path::new("/run"))?;
    let bin = bundle.path().join("rootfs/bin");
    fs::create_dir_all(&bin)?;
    for directory in ["proc", "dev", "sys", "tmp"] {
        fs::create_dir(bundle.path().join("rootfs").join(directory))?;
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"];
    let busybox = busybox.iter().find(|path| Path::new(path).exists());
    programs::copy(busybox.context("no busybox")?, bin.join("busybox"))?;
    for applet in ["sh", "cat", "id", "ln", "mkdir", "mv", "rm"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    Ok(bundle)
}

/// Starts a command in a container, with or without `noNewPrivileges`.
fn start(seccomp: &Value, no_new_privileges: bool, words: &[&str]) -> Result<(Scratch, Process)> {
    let bundle = bundle()?;
    ensure!(
        Command::new("runc")
            .arg("spec")
            .current_dir(bundle.path())
            .status()?
            .success(),
        "runc spec failed"
    );
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(words);
    config["process"]["noNewPrivileges"] = json!(no_new_privileges);
    config["root"]["readonly"] = json!(false);
    config["linux"]["seccomp"] = seccomp.clone();
    fs::write(&path, serde_json::to_vec(&config)?)?;
    let name = bundle.path().file_name().context("a name")?;
    let mut command = Command::new("runc");
    command.arg("run").arg("--bundle").arg(bundle.path());
    command.arg(name);
    let process = Process::start(&mut command)?.patience(Duration::from_secs(30));
    Ok((bundle, process))
}

/// Does the work in a container.
fn contained(seccomp: &Value, no_new_privileges: bool) -> Result<(bool, String)> {
    let words = ["/bin/sh", "-c", WORK];
    let (_bundle, mut process) = start(seccomp, no_new_privileges, &words)?;
    let status = process.wait()?;
    Ok((status.success(), process.output()))
}

/// How long a container sleeps that is asked to for `seconds`, and is stopped and continued meanwhile.
fn paused(seccomp: &Value, seconds: &str) -> Result<Duration> {
    let (_bundle, mut process) = start(seccomp, true, &["/bin/busybox", "sleep", seconds])?;
    let title = format!("/bin/busybox sleep {seconds}");
    let mut sleeping = Vec::new();
    for _ in 0..1000 {
        sleeping = process.descendants(&title);
        if !sleeping.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    let id = sleeping.pop().with_context(|| process.output())?;
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        thread::sleep(Duration::from_millis(200));
        kill(id, signal)?;
    }
    process.wait()?;
    Ok(begun.elapsed())
}

/// The list without a call that is on it.
fn without(seccomp: &Value, call: &str) -> Result<Value> {
    let mut less = seccomp.clone();
    let mut found = false;
    for entry in less["syscalls"].as_array_mut().context("entries")? {
        let names = entry["names"].as_array_mut().context("names")?;
        let before = names.len();
        names.retain(|name| name != call);
        found |= names.len() < before;
    }
    ensure!(found, "no {call}: {seccomp}");
    Ok(less)
}

#[test]
fn a_container_works_under_its_list_and_not_with_less() -> Result<()> {
    if !met(
        "a container works under its list and not with less",
        &["runc", "busybox"],
    ) {
        return Ok(());
    }
    // What it does in the container, in the same root.
    let bundle = bundle()?;
    let root = bundle.path().join("rootfs");
    let root = root.to_str().context("a path in UTF-8")?;
    let recorded = harden::record(
        "contained",
        &["--format", "oci,firejail"],
        &["chroot", root, "/bin/sh", "-c", WORK],
    )?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    let text = fs::read_to_string(recorded.dir.path().join("contained.seccomp.json"))?;
    let seccomp: Value = serde_json::from_str(&text)?;

    for no_new_privileges in [true, false] {
        let (good, output) = contained(&seccomp, no_new_privileges)?;
        ensure!(good && output.ends_with(RESULT), "{output}\n{text}");
    }
    for call in ["rename", "mkdir", "symlink"] {
        let less = without(&seccomp, call)?;
        let (good, output) = contained(&less, true)?;
        // By the status: runc passes on standard output and standard error apart, in either order.
        ensure!(!good, "without {call}: {output}");
        ensure!(
            output.contains("not implemented"),
            "without {call}: {output}"
        );
    }

    // What the kernel makes of the sleep, and no recording had.
    let whole = paused(&seccomp, "1")?;
    ensure!(whole > Duration::from_millis(900), "{whole:?}");
    let early = paused(&without(&seccomp, "restart_syscall")?, "4")?;
    ensure!(early < Duration::from_secs(3), "{early:?}");
    Ok(())
}
