//! What is asked of observations: where a word comes from, what differs, what they are together.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Scratch, Setup, deeds::Workshop, harden, met};

/// Runs `harden` and says with which status it ended, and what it printed.
fn ask(arguments: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(harden::binary()).args(arguments).output()?;
    let text = [&output.stdout[..], &output.stderr].concat();
    let status = output.status.code().context("a signal")?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn words_of_a_profile_are_traced_to_who_asked_for_them() -> Result<()> {
    if !met(
        "words of a profile are traced to who asked for them",
        &["cat"],
    ) {
        return Ok(());
    }
    let command = [
        "sh",
        "-c",
        "cat /etc/hostname; mkdir /tmp/harden-explain; rmdir /tmp/harden-explain",
    ];
    let recorded = harden::record("explained", &[], &command)?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    let file = recorded.dir.path().join("explained.observation.json");
    let file = file.to_str().context("a path in UTF-8")?;

    for (word, expected) in [
        ("mkdir", "native mkdir\n"),
        // mkdir(2), by its number.
        ("$83", "native mkdir\n"),
        ("/etc/hostname", "read ok /etc/hostname\n"),
        ("hostname", "read ok /etc/hostname\n"),
        ("cat", "cat: ran\n"),
        ("seccomp.keep", "profile: seccomp.keep "),
        ("PrivateTmp", "drop-in: PrivateTmp=yes\n"),
    ] {
        let (status, text) = ask(&["explain", file, word])?;
        ensure!(
            status == 0 && text.contains(expected),
            "{word}: {status}\n{text}"
        );
    }
    let (status, text) = ask(&["explain", file, "mkdir"])?;
    ensure!(status == 0 && text.contains("  hook   "), "{text}");
    for (word, expected) in [
        ("swapon", "not seen in 1 run of explained\n"),
        ("writable-etc", "# no writable-etc: nothing asks for it\n"),
        (
            "/proc/1/nosuch",
            "/proc/1/nosuch is looked up as /proc/PID/nosuch\n",
        ),
        ("shell none", "# no shell none: "),
    ] {
        let (status, text) = ask(&["explain", file, word])?;
        ensure!(
            status == 1 && text.contains(expected),
            "{word}: {status}\n{text}"
        );
    }
    for word in ["frobnicate", "CAP_FROB"] {
        let (status, text) = ask(&["explain", file, word])?;
        let expected = format!("{word} was not seen, and is nothing that can be asked for");
        ensure!(
            status == 2 && text.contains(&expected),
            "{word}: {status}\n{text}"
        );
    }
    let mut by_version = Vec::new();
    for version in ["0.9.70", "0.9.74"] {
        let arguments = ["explain", file, "shell", "--start", "direct"];
        let version = ["--firejail-version", version];
        by_version.push(ask(&[&arguments[..], &version].concat())?);
    }
    ensure!(by_version[0] != by_version[1], "{by_version:?}");
    let (status, text) = ask(&["explain", file, "--syscalls"])?;
    ensure!(status == 0 && text.contains(" mkdir"), "{text}");
    let (status, text) = ask(&["explain", "/nosuch.json"])?;
    ensure!(status == 2 && text.contains("/nosuch.json"), "{text}");
    Ok(())
}

#[test]
fn overrides_and_options_hold_for_the_files_and_for_what_is_said_of_them() -> Result<()> {
    if !met(
        "overrides_and_options_hold_for_the_files_and_for_what_is_said_of_them",
        &["cat"],
    ) {
        return Ok(());
    }
    let recorded = harden::record("decided", &[], &["cat", "/etc/hostname", "/nosuch"])?;
    let file = recorded.dir.path().join("decided.observation.json");
    let file = file.to_str().context("a path in UTF-8")?;
    let dir = Scratch::new(Path::new("/run"))?;
    let (overrides, out) = (dir.path().join("overrides"), dir.path().join("out"));
    fs::create_dir(&overrides)?;
    fs::create_dir(&out)?;
    let text = "comment = \"as agreed\"\n[allow]\nsyscalls = [\"swapon\"]\ncapabilities = [\"sys_time\"]\n\
                [deny]\npaths = [\"/etc/hostname\"]\n";
    fs::write(overrides.join("decided.toml"), text)?;
    let (overrides, out) = (
        overrides.to_str().context("UTF-8")?,
        out.to_str().context("UTF-8")?,
    );

    // Twice: what somebody has decided outlives the files.
    for _ in 0..2 {
        let (status, said) = ask(&[
            "render",
            "--format",
            "firejail,systemd,oci",
            "--mode",
            "whitelist",
            "--overrides",
            overrides,
            "--out",
            out,
            file,
        ])?;
        ensure!(status == 0, "{said}");
        let read = |name: &str| fs::read_to_string(Path::new(out).join(name));
        let profile = read("decided.profile")?;
        ensure!(profile.contains("# Override: as agreed\n"), "{profile}");
        ensure!(profile.contains("\ncaps.keep sys_time\n"), "{profile}");
        let calls = profile
            .lines()
            .find(|line| line.starts_with("seccomp.keep "));
        ensure!(
            calls.is_some_and(|line| line.contains("swapon")),
            "{profile}"
        );
        ensure!(!profile.contains("private-etc hostname"), "{profile}");
        let drop_in = read("decided.drop-in.conf")?;
        ensure!(drop_in.contains("# Override: as agreed\n"), "{drop_in}");
        ensure!(
            drop_in.contains("CapabilityBoundingSet=CAP_SYS_TIME\n"),
            "{drop_in}"
        );
        ensure!(read("decided.seccomp.json")?.contains("\"swapon\""));
    }
    let explain = |arguments: &[&str]| {
        let all = [&["explain", "--overrides", overrides, file], arguments].concat();
        ask(&all)
    };
    for (word, expected) in [
        ("swapon", "native swapon\n  runs   override\n"),
        ("caps.keep", "profile: caps.keep sys_time\n"),
    ] {
        let (status, text) = explain(&[word])?;
        ensure!(
            status == 0 && text.contains(expected),
            "{word}: {status}\n{text}"
        );
    }
    let (status, text) = explain(&["/etc/hostname"])?;
    ensure!(
        status == 1
            && text.contains("denied by an override, but seen:\n")
            && text.contains("read ok /etc/hostname"),
        "{status}\n{text}"
    );
    let (_, text) = explain(&["seccomp.keep", "--mode", "blacklist"])?;
    ensure!(!text.contains("profile: seccomp.keep "), "{text}");
    // The second file is not there, nor are the languages that cat(1) looks for.
    let (_, text) = explain(&["--syscalls"])?;
    let row = text.lines().find(|line| line.contains(" openat "));
    let row: Vec<&str> = row.context("openat")?.split_whitespace().collect();
    // Without errors there are four columns.
    ensure!(row.len() == 5, "{text}");
    let (calls, errors): (u64, u64) = (row[0].parse()?, row[1].parse()?);
    ensure!(errors >= 1 && errors < calls, "{text}");
    // A file that cannot be meant is no file, and nothing is written.
    fs::write(
        Path::new(overrides).join("decided.toml"),
        "[allow]\nsyscall = [\"read\"]\n",
    )?;
    let (status, text) = explain(&["read"])?;
    ensure!(
        status == 2 && text.contains("decided.toml") && text.contains("syscall"),
        "{status}\n{text}"
    );
    Ok(())
}

#[test]
fn observations_differ_and_add_up() -> Result<()> {
    if !met("observations differ and add up", &["cat"]) {
        return Ok(());
    }
    let one = harden::record("summed", &[], &["cat", "/etc/hostname"])?;
    let other = harden::record("summed", &[], &["cat", "/etc/passwd"])?;
    let path = |dir: &Path| dir.join("summed.observation.json").display().to_string();
    let (one, other) = (path(one.dir.path()), path(other.dir.path()));
    let sum = Scratch::new(Path::new("/run"))?;
    let out = sum.path().display().to_string();

    let (status, text) = ask(&["diff", &one, &other])?;
    ensure!(status == 1, "{text}");
    ensure!(
        text.lines()
            .any(|line| line.starts_with("- ") && line.ends_with("/etc/hostname")),
        "{text}"
    );
    ensure!(
        text.lines()
            .any(|line| line.starts_with("+ ") && line.ends_with("/etc/passwd")),
        "{text}"
    );
    let (status, text) = ask(&["diff", &one, &one])?;
    ensure!(status == 0 && text.is_empty(), "{text}");

    let (status, text) = ask(&["merge", "--out", &out, &one, &other])?;
    ensure!(status == 0, "{text}");
    let sum = path(sum.path());
    let (_, text) = ask(&["diff", &one, &sum])?;
    ensure!(!text.contains("\n- ") && !text.starts_with("- "), "{text}");
    // The order makes no difference, and what is there already is there once.
    let before = fs::read(&sum)?;
    let (status, text) = ask(&["merge", "--out", &out, &other, &sum, &one])?;
    ensure!(status == 0, "{text}");
    ensure!(fs::read(&sum)? == before, "the sum is another");
    Ok(())
}

#[test]
fn a_unit_of_the_agent_is_explained() -> Result<()> {
    if !met("a unit of the agent is explained", &["cat"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&Setup::default())?;
    workshop.run("explained.service", 0, 1, Duration::ZERO)?;
    let socket = agent.socket().display().to_string();
    let text = agent.until(|_| {
        let (status, text) = ask(&[
            "explain",
            "--socket",
            &socket,
            "explained.service",
            "exit_group",
        ])?;
        ensure!(status == 0, "{text}");
        Ok(text)
    })?;
    ensure!(text.contains("native exit_group\n"), "{text}");
    let (status, text) = ask(&["explain", "--socket", &socket, "no-such.service"])?;
    ensure!(status == 2 && text.contains("no-such.service"), "{text}");
    let (status, text) = ask(&["explain", "--socket", "/run/no-such", "no-such.service"])?;
    ensure!(
        status == 2 && text.contains("there is no file no-such.service"),
        "{text}"
    );
    Ok(())
}
