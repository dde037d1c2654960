//! What cannot be done is refused with one plain line, the documented status, and nothing half done.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use harden_agent::observation::SCHEMA;
use harden_tests::{Scratch, harden, met, programs};

/// An observation that can be read: the one in the format's own description.
fn observation() -> Result<String> {
    let example = include_str!("../../docs/observation.md")
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    Ok(example.context("an example in the description")?.to_owned())
}

fn harden(arguments: &[&str], directory: &Path) -> Result<Output> {
    Ok(Command::new(harden::binary())
        .args(arguments)
        .current_dir(directory)
        .output()?)
}

/// One line that begins with the program's name, no panic, and this status.
fn refused(output: &Output, status: i32, text: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.starts_with("harden: ") && error.contains(text),
        "{error}"
    );
    assert!(!error.contains("panicked"), "{error}");
    let parts: Vec<_> = error.trim_end().split(": ").collect();
    for (at, part) in parts.iter().enumerate() {
        assert!(!parts[..at].contains(part), "says it twice: {error}");
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn observations_that_are_none() -> Result<()> {
    let dir = Scratch::new(Path::new("/tmp"))?;
    let good = observation()?;
    let nested =
        |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let runs = |text: &str| format!("{{\"schema\": {SCHEMA}, \"name\": \"x\", \"runs\": {text}}}");
    for (name, content, says) in [
        ("truncated", good[..good.len() / 2].to_owned(), "incomplete"),
        (
            "version",
            good.replace(
                &format!("\"schema\": {SCHEMA}"),
                &format!("\"schema\": {}", SCHEMA + 1),
            ),
            "newer harden",
        ),
        ("empty", String::new(), "incomplete"),
        ("arrays", nested("[", "]"), "1:1"),
        (
            "objects",
            runs(&nested("{\"a\":", "1}")[..1_000_000]),
            "correct it",
        ),
        (
            "repeated",
            good.replace("\"status\": 0,", "\"status\": 0, \"status\": 0,"),
            "status",
        ),
        (
            "unknown",
            good.replace("\"status\": 0,", "\"status\": 0, \"more\": 0,"),
            "more",
        ),
        (
            "relative",
            good.replace("\"/usr/bin/hello\": {", "\"usr/bin/hello\": {"),
            "usr/bin/hello",
        ),
    ] {
        fs::write(dir.path().join(name), content)?;
        refused(&harden(&["render", name], dir.path())?, 1, says);
        fs::remove_file(dir.path().join(name))?;
    }
    fs::File::create(dir.path().join("sparse"))?.set_len(1 << 40)?;
    refused(
        &harden(&["render", "sparse"], dir.path())?,
        1,
        "larger than 1024 MiB",
    );
    refused(
        &harden(&["render", "absent"], dir.path())?,
        1,
        "cannot read absent",
    );
    assert_eq!(names(dir.path())?, ["sparse"]);
    Ok(())
}

#[test]
fn places_that_must_not_be_written() -> Result<()> {
    let dir = Scratch::new(Path::new("/tmp"))?;
    fs::write(dir.path().join("in.json"), observation()?)?;
    let render = |extra: &[&str]| harden(&[&["render", "in.json"], extra].concat(), dir.path());
    let written = render(&[])?;
    assert!(written.status.success());
    let profile = String::from_utf8(written.stdout)?;
    let profile = dir.path().join(profile.trim_end());
    assert_eq!(fs::metadata(&profile)?.mode() & 0o777, 0o640);
    // Its own work may be replaced.
    assert!(render(&[])?.status.success());

    fs::write(&profile, "mine\n")?;
    refused(&render(&[])?, 1, "--force");
    assert_eq!(fs::read_to_string(&profile)?, "mine\n");
    assert!(render(&["--force"])?.status.success());

    fs::remove_file(&profile)?;
    symlink("elsewhere", &profile)?;
    refused(&render(&["--force"])?, 1, "symbolic link");
    fs::remove_file(&profile)?;
    fs::create_dir(&profile)?;
    refused(&render(&["--force"])?, 1, "");
    refused(&render(&["--out", "/nosuch"])?, 1, "/nosuch");
    refused(&render(&["--out", "in.json"])?, 1, "in.json");
    assert_eq!(names(dir.path())?.len(), 2);
    Ok(())
}

#[test]
fn arguments_that_mean_nothing() -> Result<()> {
    for arguments in [
        &["render"][..],
        &["run"],
        &["run", "--"],
        &["run", "true"],
        &["nonsense"],
        &["run", "--duration", "long", "--", "true"],
        &["render", "--format", "none", "x"],
        &["render", "--firejail-version", "x", "y"],
    ] {
        let output = harden(arguments, Path::new("/tmp"))?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{arguments:?}"
        );
    }
    Ok(())
}

#[test]
fn commands_that_cannot_be_run() -> Result<()> {
    if !met("commands_that_cannot_be_run", &[]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/tmp"))?;
    for (command, status, says) in [
        ("/nosuch", 127, "/nosuch: No such file"),
        ("nosuch-program", 127, "nosuch-program: No such file"),
        ("/etc", 126, "/etc: Permission denied"),
        ("/etc/passwd", 126, "/etc/passwd: Permission denied"),
    ] {
        refused(&harden(&["run", "--", command], dir.path())?, status, says);
    }
    refused(
        &harden(&["run", "--user", "nosuch", "--", "true"], dir.path())?,
        125,
        "nosuch",
    );
    refused(
        &harden(&["run", "--out", "/nosuch", "--", "true"], dir.path())?,
        125,
        "/nosuch",
    );
    fs::write(dir.path().join("true.profile"), "mine\n")?;
    refused(&harden(&["run", "--", "true"], dir.path())?, 125, "--force");
    fs::write(dir.path().join("false.observation.json"), "{")?;
    refused(
        &harden(&["run", "--append", "--", "false"], dir.path())?,
        125,
        "incomplete",
    );
    assert_eq!(
        names(dir.path())?,
        ["false.observation.json", "true.profile"]
    );
    Ok(())
}

#[test]
fn no_place_and_no_permission() -> Result<()> {
    if !met("no_place_and_no_permission", &["unshare", "setpriv"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/tmp"))?;
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777))?;
    let binary = harden::binary();
    // Where nobody can get at it, whatever directory it was built in.
    let copy = dir.path().join("harden");
    programs::copy(&binary, &copy)?;

    let read_only = "mount --types tmpfs --options ro none . && cd . && exec \"$0\" run --out \"$PWD\" -- /bin/true";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", read_only])
        .arg(&binary)
        .current_dir(dir.path())
        .output()?;
    refused(&output, 125, "Read-only file system");

    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let powerless = ["--bounding-set=-bpf,-sys_admin,-perfmon"];
    for (limits, says) in [(&nobody[..], "sudo"), (&powerless[..], "CAP_BPF")] {
        let output = Command::new("setpriv")
            .args(limits)
            .arg(&copy)
            .args(["run", "--", "/bin/touch", "ran"])
            .current_dir(dir.path())
            .output()?;
        refused(&output, 125, says);
    }
    // Reading and rendering needs neither root nor BPF.
    fs::write(dir.path().join("in.json"), observation()?)?;
    let output = Command::new("setpriv")
        .args(nobody)
        .arg(&copy)
        .args(["render", "in.json"])
        .current_dir(dir.path())
        .output()?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(dir.path())?.len(), 3);
    Ok(())
}
