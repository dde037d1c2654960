//! A test that fails must not disturb the next: whatever it started and made is gone.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Result;
use harden_tests::{Process, Profile, Scratch, firejail, harden, is_alive, met};
use nix::unistd::Pid;

const COMMAND: [&str; 2] = ["/bin/sleep", "1000"];

/// Waits for the command to run, then fails as an assertion does.
fn fail(process: &mut Process, seen: &mut Vec<Pid>) -> Result<()> {
    while seen.is_empty() {
        thread::sleep(Duration::from_millis(10));
        seen.extend(process.descendants("/bin/sleep 1000"));
        process.until(|| Ok(()))?;
    }
    panic!("as a failed assertion does");
}

#[test]
fn of_a_sandbox() -> Result<()> {
    if !met("nothing stays behind of a sandbox", &[]) {
        return Ok(());
    }
    let directory = Scratch::new(Path::new("/run"))?;
    let file = directory.path().join("empty.profile");
    fs::write(&file, "")?;
    let profile = Profile::read(&file)?;
    let mut seen = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        firejail::run(&profile, &COMMAND, |process| fail(process, &mut seen))
    }));
    assert!(result.is_err());
    assert_gone(&seen);
    Ok(())
}

#[test]
fn of_a_recording() {
    if !met("nothing stays behind of a recording", &[]) {
        return;
    }
    let mut seen = Vec::new();
    let mut cgroup = PathBuf::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        harden::record_daemon("sleep", &[], &COMMAND, |process| {
            let failed = catch_unwind(AssertUnwindSafe(|| fail(process, &mut seen)));
            cgroup = cgroup_of(seen[0]);
            failed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }));
    assert!(result.is_err());
    assert!(cgroup.starts_with("/sys/fs/cgroup"), "{cgroup:?}");
    assert!(!cgroup.exists(), "{cgroup:?}");
    assert_gone(&seen);
}

fn assert_gone(seen: &[Pid]) {
    assert!(!seen.is_empty());
    for pid in seen {
        assert!(!is_alive(*pid), "{pid}");
    }
}

/// The directory of the v2 cgroup of `pid`.
fn cgroup_of(pid: Pid) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .expect("a cgroup of version 2");
    // A machine with both hierarchies has the second one below.
    let unified = Path::new("/sys/fs/cgroup/unified");
    let root = if unified.is_dir() {
        unified
    } else {
        Path::new("/sys/fs/cgroup")
    };
    root.join(path)
}
