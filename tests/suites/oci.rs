//! The list of calls of a container, loaded by a real runtime.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Process, Scratch, harden, met};
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
    fs::copy(busybox.context("no busybox")?, bin.join("busybox"))?;
    for applet in ["sh", "cat", "id", "ln", "mkdir", "mv", "rm"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    Ok(bundle)
}

/// Does the work in a container, with or without `noNewPrivileges`.
fn contained(seccomp: &Value, no_new_privileges: bool) -> Result<(bool, String)> {
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
    config["process"]["args"] = json!(["/bin/sh", "-c", WORK]);
    config["process"]["noNewPrivileges"] = json!(no_new_privileges);
    config["root"]["readonly"] = json!(false);
    config["linux"]["seccomp"] = seccomp.clone();
    fs::write(&path, serde_json::to_vec(&config)?)?;
    let name = bundle.path().file_name().context("a name")?;
    let mut command = Command::new("runc");
    command.arg("run").arg("--bundle").arg(bundle.path());
    command.arg(name);
    let mut process = Process::start(&mut command)?.patience(Duration::from_secs(30));
    let status = process.wait()?;
    Ok((status.success(), process.output()))
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
        let mut less = seccomp.clone();
        let mut found = false;
        for entry in less["syscalls"].as_array_mut().context("entries")? {
            let names = entry["names"].as_array_mut().context("names")?;
            let before = names.len();
            names.retain(|name| name != call);
            found |= names.len() < before;
        }
        ensure!(found, "no {call}:\n{text}");
        let (good, output) = contained(&less, true)?;
        // By the status: runc passes on standard output and standard error apart, in either order.
        ensure!(!good, "without {call}: {output}");
        ensure!(
            output.contains("not implemented"),
            "without {call}: {output}"
        );
    }
    Ok(())
}
