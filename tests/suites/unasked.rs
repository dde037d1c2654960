//! Calls that no recording made and that happen under the profile: after a pause, a signal, a lock that is held, an
//! abort. And without such a line of the list, the work fails.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Process, Profile, Scratch, firejail, harden, met, programs};
use nix::sys::signal::{Signal, kill};

const FORMATS: [&str; 2] = ["--format", "firejail,systemd,oci"];

/// What a command comes to under a profile, while `meanwhile` is done to it.
fn under(
    profile: &Profile,
    command: &[&str],
    meanwhile: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<(Option<i32>, String)> {
    let mut result = None;
    firejail::run(profile, command, |process| {
        meanwhile(process)?;
        result = Some((process.wait()?.code(), process.output()));
        Ok(())
    })?;
    result.context("it was not waited for")
}

/// Stops and continues what waits below, as `docker pause`, a suspend and a terminal do.
fn pause(process: &mut Process, title: &str) -> Result<()> {
    let mut found = Vec::new();
    for _ in 0..500 {
        found = process.descendants(title);
        if !found.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    ensure!(
        !found.is_empty(),
        "there is no {title}: {}",
        process.output()
    );
    // By then it waits.
    thread::sleep(Duration::from_millis(300));
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        for id in &found {
            kill(*id, signal)?;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn a_small_program_in_another_hour() -> Result<()> {
    if !met("calls that nobody asked for", &[]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = programs::install("unasked", &dir)?;
    let what = dir.path().join("what");
    fs::write(&what, "")?;
    let [program, file] = [&program, &what].map(|path| path.display().to_string());
    let command = [program.as_str(), file.as_str()];
    let recorded = harden::record("unasked", &FORMATS, &command)?;
    let profile = &recorded.profile;
    let run = |profile: &Profile, word: &str| -> Result<(Option<i32>, String)> {
        fs::write(&what, word)?;
        under(profile, &command, |_| Ok(()))
    };
    for word in ["", "clock", "large", "sleep"] {
        let (status, output) = run(profile, word)?;
        ensure!(
            status == Some(0) && output.contains("done"),
            "{word}: {output}"
        );
    }
    // As a shell reports a program that a signal ended.
    let aborted = run(profile, "abort")?;
    ensure!(aborted.0 == Some(128 + 6), "{aborted:?}");

    // Each of them matters.
    let list = |call| profile.without("seccomp.keep", call);
    ensure!(run(&list("gettimeofday"), "clock")?.0 == Some(3));
    ensure!(run(&list("clock_nanosleep"), "sleep")?.0 == Some(5));
    let (status, output) = run(&list("tgkill"), "abort")?;
    ensure!(status != Some(128 + 6), "{output}");

    // Told apart from what was seen, in all formats, and each once.
    ensure!(
        profile
            .text()
            .contains("# restart_syscall: not seen; kernel: "),
        "{}",
        profile.text()
    );
    let read = |name: &str| fs::read_to_string(recorded.dir.path().join(name));
    let drop_in = read("unasked.drop-in.conf")?;
    ensure!(drop_in.contains("# tgkill: not seen; exit"), "{drop_in}");
    ensure!(
        !drop_in.contains("restart_syscall"),
        "systemd allows it beside any list: {drop_in}"
    );
    let oci = read("unasked.seccomp.json")?;
    for call in ["restart_syscall", "tgkill", "getcpu"] {
        ensure!(
            oci.matches(&format!("\"{call}\"")).count() == 1,
            "{call}: {oci}"
        );
    }
    let exact = harden::record("exact", &["--format", "firejail,oci", "--exact"], &command)?;
    ensure!(
        !exact.profile.text().contains("not seen;"),
        "{}",
        exact.profile.text()
    );
    ensure!(exact.profile.list("seccomp.keep").len() < profile.list("seccomp.keep").len());
    Ok(())
}

/// coreutils sleep waits in `clock_nanosleep`, and goes on by `restart_syscall`.
#[test]
fn a_pause() -> Result<()> {
    if !met("stop and continue", &[]) {
        return Ok(());
    }
    let recorded = harden::record("paused", &[], &["sleep", "0.01"])?;
    let profile = &recorded.profile;
    let whole = under(profile, &["sleep", "0.913"], |process| {
        pause(process, "sleep 0.913")
    })?;
    ensure!(whole.0 == Some(0), "{whole:?}");
    let less = profile.without("seccomp.keep", "restart_syscall");
    let without = under(&less, &["sleep", "0.914"], |process| {
        pause(process, "sleep 0.914")
    })?;
    ensure!(without.0 == Some(1), "{without:?}");
    Ok(())
}

/// flock of util-linux sets a timer whose handler runs only where the lock is held for longer.
#[test]
fn a_handler_that_did_not_run() -> Result<()> {
    if !met("a handler that did not run", &["flock"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/lib"))?;
    let lock = dir.path().join("lock");
    fs::write(&lock, "")?;
    let lock = lock.display().to_string();
    let command = ["flock", "-w", "0.3", &lock, "true"];
    let recorded = harden::record("flock", &[], &command)?;
    let profile = &recorded.profile;
    ensure!(under(profile, &command, |_| Ok(()))?.0 == Some(0));
    let _holder = held(&lock)?;
    // It says by 1 that it did not get the lock.
    let waited = under(profile, &command, |_| Ok(()))?;
    ensure!(waited.0 == Some(1), "{waited:?}");
    let less = profile.without("seccomp.keep", "rt_sigreturn");
    let without = under(&less, &command, |_| Ok(()))?;
    ensure!(without.0 == Some(128 + 11), "{without:?}");
    Ok(())
}

/// Holds a lock until it is dropped.
fn held(lock: &str) -> Result<Process> {
    let mut holder = Process::start(Command::new("flock").args([lock, "sleep", "60"]))?;
    holder.until(|| {
        let free = Command::new("flock").args(["-n", lock, "true"]).status()?;
        ensure!(!free.success(), "it is free");
        Ok(())
    })?;
    Ok(holder)
}

/// dash waits for a child by its signal, and for none that has ended.
#[test]
fn a_child_that_ends_later() -> Result<()> {
    if !met("a child that ends later", &["dash"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/lib"))?;
    let [script, delay] = ["script", "delay"].map(|name| dir.path().join(name));
    let text = format!(
        "read delay < {}\ntrap : USR1\nsleep $delay &\nsleep 0.2\nwait\necho over\n",
        delay.display()
    );
    fs::write(&script, text)?;
    fs::write(&delay, "0\n")?;
    let script = script.display().to_string();
    let command = ["dash", script.as_str()];
    let recorded = harden::record("waits", &[], &command)?;
    let profile = &recorded.profile;
    ensure!(
        profile
            .text()
            .contains("# rt_sigsuspend: not seen; contention"),
        "{}",
        profile.text()
    );
    fs::write(&delay, "0.5\n")?;
    let waited = under(profile, &command, |_| Ok(()))?;
    ensure!(
        waited.0 == Some(0) && waited.1.contains("over"),
        "{waited:?}"
    );
    Ok(())
}

/// sqlite3 tries again for as long as it is told to, and sleeps in between.
#[test]
fn a_database_that_another_writes() -> Result<()> {
    if !met("a database that another writes", &["sqlite3"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/lib"))?;
    let database = dir.path().join("data");
    let database = database.display().to_string();
    let made = Command::new("sqlite3")
        .args([&database, "create table t(v)"])
        .status()?;
    ensure!(made.success());
    let insert = "insert into t values(1)";
    let command = ["sqlite3", "-cmd", ".timeout 20000", &database, insert];
    let recorded = harden::record("sqlite", &[], &command)?;
    let profile = &recorded.profile;
    ensure!(
        profile
            .text()
            .contains("# clock_nanosleep: not seen; contention"),
        "{}",
        profile.text()
    );
    let busy = |profile: &Profile| {
        let mut other = Command::new("sqlite3");
        let busily = format!(".shell touch {database}.held; sleep 0.7");
        other.args([&database, "begin immediate", &busily, "commit"]);
        let mut other = Process::start(&mut other)?;
        let held = format!("{database}.held");
        other.until(|| fs::remove_file(&held).context("it is not held yet"))?;
        under(profile, &command, |_| Ok(()))
    };
    let waited = busy(profile)?;
    ensure!(waited.0 == Some(0), "{waited:?}");
    // Sleeping in vain, it is out of patience at once.
    let without = busy(&profile.without("seccomp.keep", "clock_nanosleep"))?;
    ensure!(without.0 != Some(0), "{without:?}");
    Ok(())
}
