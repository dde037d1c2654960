//! A task belongs where it was when it last called exec, whatever cgroup it is moved to; and so does what it begins outside of
//! the recording.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use harden_tests::{
    Process, Scratch, cgroup_tree, harden, met,
    observed::{acts, facts},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A cgroup beside that of the recording, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create(name: &str) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let name = format!("harden-test-{name}-{}", std::process::id());
        let path = cgroup_tree()?.join(own.context("no cgroup")?).join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn moved_out_it_is_still_observed() -> Result<()> {
    if !met("moved_out_it_is_still_observed", &["sh", "cat"]) {
        return Ok(());
    }
    let outside = Cgroup::create("outside")?;
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    fs::write(tree.path().join("read"), "")?;
    let script = "
: > \"$1/before\"; /bin/cat \"$1/read\"
echo $$ > \"$2/cgroup.procs\" || exit; : > \"$1/after\"; /usr/bin/head \"$1/read\"; : > \"$1/last\"";
    let [path, cgroup] = [tree.path(), &outside.0].map(|path| path.to_str().expect("UTF-8"));
    let command = ["/bin/sh", "-c", script, "sh", path, cgroup];
    let recorded = harden::record("out", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let shell = acts(facts(&recorded.observation, "dash"), tree.path());
    for act in ["create ok before", "create ok after", "create ok last"] {
        assert!(shell.contains(act), "{act}: {shell:?}");
    }
    // So is what it begins there: by exec, and by a fork that does.
    let inside = acts(facts(&recorded.observation, "cat"), tree.path());
    assert!(inside.contains("read ok read"), "{inside:?}");
    let outside = acts(facts(&recorded.observation, "head"), tree.path());
    assert!(outside.contains("read ok read"), "{outside:?}");
    // All that happened while it ran is in it.
    let text = recorded.profile.text();
    assert!(text.contains("WARNING[left-cgroup]"), "{text}");
    assert!(!text.contains("INCOMPLETE"), "{text}");
    Ok(())
}

#[test]
fn what_was_moved_out_is_waited_for() -> Result<()> {
    if !met("what_was_moved_out_is_waited_for", &["sh", "cat", "sleep"]) {
        return Ok(());
    }
    let outside = Cgroup::create("later")?;
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    for name in ["child", "orphan"] {
        fs::write(tree.path().join(name), "")?;
    }
    // The command ends at once. What it started has gone elsewhere, and there leaves an orphan of its own behind.
    let script = "
(echo 0 > \"$2/cgroup.procs\" || exit
 : > \"$1/there\"
 (sleep 1; exec /usr/bin/head \"$1/orphan\") &
 sleep 0.5; exec /bin/cat \"$1/child\") &
while [ ! -e \"$1/there\" ]; do sleep 0.05; done";
    let [path, cgroup] = [tree.path(), &outside.0].map(|path| path.to_str().expect("UTF-8"));
    let command = ["/bin/sh", "-c", script, "sh", path, cgroup];
    let recorded = harden::record("later", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    for (program, act) in [("cat", "read ok child"), ("head", "read ok orphan")] {
        let done = acts(facts(&recorded.observation, program), tree.path());
        assert!(done.contains(act), "{program}: {done:?}");
    }
    // Unless the run is told to end: then it goes on without it.
    let script = "
(echo 0 > \"$2/cgroup.procs\" || exit; : > \"$1/again\"; exec sleep 1000) >/dev/null 2>&1 &
echo $! > \"$1/pid\"; while [ ! -e \"$1/again\" ]; do sleep 0.05; done";
    let command = ["/bin/sh", "-c", script, "sh", path, cgroup];
    let options = ["--duration", "2s"];
    let recorded = harden::record("later", &options, &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let pid = fs::read_to_string(tree.path().join("pid"))?;
    let pid = Pid::from_raw(pid.trim().parse()?);
    kill(pid, Signal::SIGKILL).context("it has ended")?;
    // Its cgroup cannot be removed before.
    while !fs::read_to_string(outside.0.join("cgroup.procs"))?.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn moved_in_it_is_observed_once_it_calls_exec() -> Result<()> {
    if !met(
        "moved_in_it_is_observed_once_it_calls_exec",
        &["sh", "cat", "sed"],
    ) {
        return Ok(());
    }
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    fs::write(tree.path().join("seen"), "x\n")?;
    let path = tree.path().to_str().context("a path in UTF-8")?;
    let script = "
while [ ! -e \"$1/go\" ]; do sleep 0.05; done
: > \"$1/unseen\"; exec /bin/cat \"$1/seen\" > \"$1/out\"";
    let mut stranger = Command::new("/bin/sh");
    stranger.args(["-c", script, "sh", path]);
    let stranger = Process::start(&mut stranger)?;

    // It has done something under observation before it is moved: it is known to be no part of this.
    let script = "
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
sleep 0.5; echo \"$2\" > \"$3$own/cgroup.procs\" || exit
: > \"$1/go\"; while [ ! -s \"$1/out\" ]; do sleep 0.05; done";
    let (id, hierarchy) = (stranger.id().to_string(), cgroup_tree()?);
    let hierarchy = hierarchy.to_str().context("a path in UTF-8")?;
    let command = ["/bin/sh", "-c", script, "sh", path, &id, hierarchy];
    let recorded = harden::record("in", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let shell = acts(facts(&recorded.observation, "dash"), tree.path());
    assert!(shell.contains("create ok go"), "{shell:?}");
    assert!(tree.path().join("unseen").exists());
    assert!(!shell.contains("create ok unseen"), "{shell:?}");
    let cat = acts(facts(&recorded.observation, "cat"), tree.path());
    assert!(cat.contains("read ok seen"), "{cat:?}");
    Ok(())
}
