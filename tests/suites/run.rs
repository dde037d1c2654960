//! `harden run` is to the command what the shell is, and leaves nothing behind.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{self, Observation};
use harden_tests::{Scratch, as_patient, harden, met};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// `harden run OPTIONS -- COMMAND` in `dir`, which is where its files go.
fn run(options: &[&str], command: &[&str], dir: &Scratch) -> Command {
    let mut harden = Command::new(harden::binary());
    harden
        .arg("run")
        .args(options)
        .arg("--")
        .args(command)
        .current_dir(dir.path());
    harden
}

fn read(dir: &Scratch, name: &str) -> Result<Observation> {
    Ok(observation::read(
        &dir.path().join(format!("{name}.observation.json")),
    )?)
}

fn scratch() -> Result<Scratch> {
    Scratch::new(Path::new("/run"))
}

/// Waits for what has to come true.
fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + as_patient(Duration::from_secs(20));
    while !condition() {
        ensure!(Instant::now() < deadline, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Ends a harden that a failed test left.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?,
        ))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// The exit status, and what was said on standard error.
    fn end(&mut self) -> Result<(Option<i32>, String)> {
        until("harden's end", || matches!(self.0.try_wait(), Ok(Some(_))))?;
        let mut said = String::new();
        self.0
            .stderr
            .take()
            .context("a pipe")?
            .read_to_string(&mut said)?;
        Ok((self.0.wait()?.code(), said))
    }

    /// The directories of its cgroup.
    fn cgroups(&self) -> String {
        let name = format!("harden-{}", self.0.id());
        let mut find = Command::new("find");
        find.args(["/sys/fs/cgroup", "-name", &name]);
        String::from_utf8_lossy(&find.output().expect("find").stdout).into_owned()
    }

    /// Its cgroup is gone, and with it whatever ran there.
    fn left_nothing(&self) {
        assert_eq!(self.cgroups(), "");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_status_is_the_commands_own() -> Result<()> {
    if !met("the_status_is_the_commands_own", &[]) {
        return Ok(());
    }
    let dir = scratch()?;
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let mut running = Running::start(&mut run(
            &["--quiet", "--name", "x"],
            &["/bin/sh", "-c", script],
            &dir,
        ))?;
        let (code, said) = running.end()?;
        assert_eq!((code, said.as_str()), (Some(status), ""), "{script}");
        let observation = read(&dir, "x")?;
        let recorded: Vec<_> = observation.runs.values().map(|run| run.status).collect();
        assert_eq!(recorded, [Some(status)]);
        running.left_nothing();
    }
    Ok(())
}

#[test]
fn what_goes_through_is_untouched() -> Result<()> {
    if !met("what_goes_through_is_untouched", &[]) {
        return Ok(());
    }
    let dir = scratch()?;
    let bytes: Vec<u8> = (0..300_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut child = run(
        &["--quiet"],
        &["/bin/sh", "-c", "cat; printf '\\377\\n' >&2"],
        &dir,
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()?;
    let mut input = child.stdin.take().context("a pipe")?;
    let sent = bytes.clone();
    let writer = thread::spawn(move || input.write_all(&sent));
    let output = child.wait_with_output()?;
    writer.join().expect("no panic")?;
    assert!(
        output.stdout == bytes,
        "{} bytes came back",
        output.stdout.len()
    );
    assert_eq!(output.stderr, b"\xff\n");
    Ok(())
}

#[test]
fn files_are_for_owner_and_group_whatever_the_umask() -> Result<()> {
    if !met("files_are_for_owner_and_group_whatever_the_umask", &["sh"]) {
        return Ok(());
    }
    for umask in ["000", "777"] {
        let dir = scratch()?;
        let script = format!("umask {umask}; exec \"$0\" run --quiet -- /bin/true");
        let status = Command::new("sh")
            .args(["-c", &script])
            .arg(harden::binary())
            .current_dir(dir.path())
            .status()?;
        assert!(status.success());
        for name in ["true.observation.json", "true.profile"] {
            assert_eq!(
                fs::metadata(dir.path().join(name))?.mode() & 0o777,
                0o640,
                "{name}"
            );
        }
        assert_eq!(fs::read_dir(dir.path())?.count(), 2);
    }
    Ok(())
}

#[test]
fn runs_add_up() -> Result<()> {
    if !met("runs_add_up", &[]) {
        return Ok(());
    }
    let dir = scratch()?;
    let keep = |dir: &Scratch| -> Result<BTreeSet<String>> {
        let profile = harden_tests::Profile::read(&dir.path().join("x.profile"))?;
        Ok(profile
            .list("seccomp.keep")
            .into_iter()
            .map(str::to_owned)
            .collect())
    };
    let mut united = BTreeSet::new();
    for (command, runs) in [(["/bin/mkdir", "made"], 1), (["/bin/rmdir", "made"], 2)] {
        let alone = scratch()?;
        fs::create_dir(alone.path().join(if runs == 1 { "other" } else { "made" }))?;
        ensure!(
            run(&["--quiet", "--name", "x"], &command, &alone)
                .status()?
                .success()
        );
        united.append(&mut keep(&alone)?);
        let output = run(&["--json", "--append", "--name", "x"], &command, &dir).output()?;
        ensure!(output.status.success());
        let said = String::from_utf8(output.stderr)?;
        let last = said.lines().last().context("a line")?;
        let summary: serde_json::Value = serde_json::from_str(last)?;
        assert_eq!(summary["runs"], runs);
        assert_eq!(summary["losses"], 0);
    }
    assert_eq!(read(&dir, "x")?.runs.len(), 2);
    assert_eq!(keep(&dir)?, united);
    assert!(united.contains("mkdir") && united.contains("rmdir"));
    // Without --append, the next run begins from nothing.
    ensure!(
        run(&["--quiet", "--name", "x"], &["/bin/true"], &dir)
            .status()?
            .success()
    );
    assert_eq!(read(&dir, "x")?.runs.len(), 1);
    Ok(())
}

#[test]
fn two_at_once_do_not_meet() -> Result<()> {
    if !met("two_at_once_do_not_meet", &[]) {
        return Ok(());
    }
    let dir = scratch()?;
    let script = |call: &str| format!("sleep 1; {call}");
    let mut first = Running::start(&mut run(
        &["--quiet", "--name", "first"],
        &["/bin/sh", "-c", &script("/bin/mkdir a")],
        &dir,
    ))?;
    let mut second = Running::start(&mut run(
        &["--quiet", "--name", "second"],
        &["/bin/sh", "-c", &script("/bin/ln -s x b")],
        &dir,
    ))?;
    assert_eq!(first.end()?, (Some(0), String::new()));
    assert_eq!(second.end()?, (Some(0), String::new()));
    for (name, own, others) in [("first", "mkdir", "ln"), ("second", "ln", "mkdir")] {
        let observation = read(&dir, name)?;
        let programs: Vec<_> = observation
            .runs
            .values()
            .flat_map(|run| run.executables.keys())
            .collect();
        let has = |program: &str| {
            programs
                .iter()
                .any(|path| path.as_path().ends_with(program))
        };
        assert!(has(own) && !has(others), "{name}: {programs:?}");
    }
    Ok(())
}

#[test]
fn another_user() -> Result<()> {
    if !met("another_user", &[]) {
        return Ok(());
    }
    let dir = scratch()?;
    let output = run(&["--quiet", "--user", "nobody"], &["/usr/bin/id"], &dir).output()?;
    let said = String::from_utf8(output.stdout)?;
    assert!(
        said.starts_with("uid=65534(nobody)") && !said.contains("root"),
        "{said}"
    );
    let observation = read(&dir, "id")?;
    assert_eq!(
        observation
            .runs
            .values()
            .map(|run| run.uid)
            .collect::<Vec<_>>(),
        [65534]
    );
    Ok(())
}

#[test]
fn time_is_up() -> Result<()> {
    if !met("time_is_up", &[]) {
        return Ok(());
    }
    let dir = scratch()?;
    let start = Instant::now();
    let mut running = Running::start(&mut run(
        &["--quiet", "--duration", "1s"],
        &["/bin/sleep", "1000"],
        &dir,
    ))?;
    assert_eq!(running.end()?.0, Some(143));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(read(&dir, "sleep")?.runs.len(), 1);
    running.left_nothing();
    Ok(())
}

/// Sends `signals` to a harden whose command runs `script`, once that has made a file `ready`.
fn signalled(script: &str, signals: &[Signal]) -> Result<(Option<i32>, Scratch)> {
    let dir = scratch()?;
    let mut running = Running::start(&mut run(
        &["--quiet", "--name", "x"],
        &["/bin/sh", "-c", script],
        &dir,
    ))?;
    until("the command", || dir.path().join("ready").exists())?;
    assert_ne!(running.cgroups(), "");
    for signal in signals {
        kill(running.pid(), *signal)?;
        thread::sleep(Duration::from_millis(300));
    }
    let (status, _) = running.end()?;
    running.left_nothing();
    assert_eq!(read(&dir, "x")?.runs.len(), 1);
    assert!(dir.path().join("x.profile").exists());
    Ok((status, dir))
}

#[test]
fn signals_end_the_command_and_not_the_recording() -> Result<()> {
    if !met("signals_end_the_command_and_not_the_recording", &[]) {
        return Ok(());
    }
    let plain = "touch ready; exec sleep 1000";
    assert_eq!(signalled(plain, &[Signal::SIGTERM])?.0, Some(143));
    assert_eq!(signalled(plain, &[Signal::SIGHUP])?.0, Some(143));
    assert_eq!(signalled(plain, &[Signal::SIGINT])?.0, Some(130));
    // It has its own idea of the first; the second is harden's.
    let stubborn = "trap '' INT; touch ready; exec sleep 1000";
    assert_eq!(signalled(stubborn, &[Signal::SIGINT; 2])?.0, Some(143));
    let deaf = "trap '' INT TERM; touch ready; exec sleep 1000";
    assert_eq!(
        signalled(deaf, &[Signal::SIGINT, Signal::SIGINT, Signal::SIGINT])?.0,
        Some(137)
    );
    let orderly = "trap 'touch cleaned; exit 5' INT; touch ready; while :; do sleep 0.1; done";
    let (status, dir) = signalled(orderly, &[Signal::SIGINT])?;
    assert_eq!(status, Some(5));
    assert!(dir.path().join("cleaned").exists());
    Ok(())
}

#[test]
fn a_daemon_is_followed_until_it_is_gone() -> Result<()> {
    if !met("a_daemon_is_followed_until_it_is_gone", &["setsid"]) {
        return Ok(());
    }
    // setsid(1) forks when it leads a group, and the parent does not wait.
    let short = "setsid sh -c 'touch ready; sleep 0.5; mkdir late' & exit 3";
    let (status, dir) = signalled(short, &[])?;
    assert_eq!(status, Some(3));
    let observation = read(&dir, "x")?;
    let programs: Vec<_> = observation
        .runs
        .values()
        .flat_map(|run| run.executables.keys())
        .collect();
    assert!(
        programs
            .iter()
            .any(|path| path.as_path().ends_with("mkdir")),
        "{programs:?}"
    );

    let endless = "setsid sh -c 'touch ready; exec sleep 1000' & exit 3";
    assert_eq!(signalled(endless, &[Signal::SIGTERM])?.0, Some(3));
    Ok(())
}

/// What a person at a terminal does, by python's pty: it types, and waits for what is printed.
const TERMINAL: &str = r#"
import os, pty, select, sys, time, signal
harden, directory = sys.argv[1:3]
pid, terminal = pty.fork()
if pid == 0:
    os.chdir(directory)
    os.environ["PS1"] = "prompt>"
    os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def expect(text, seconds=20):
    global seen
    end = time.time() + seconds
    while text not in seen:
        if time.time() > end: sys.exit(f"waited in vain for {text!r} in {seen.decode()!r}")
        if select.select([terminal], [], [], 0.1)[0]: seen += os.read(terminal, 4096)
    seen = seen[seen.index(text) + len(text):]
def keys(text): os.write(terminal, text)
expect(b"prompt>")
keys(b"stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null\n"); expect(b"prompt>")
command = b"sh -c 'echo \"rea\"dy; while :; do sleep 0.1; done'"
run = harden.encode() + b" run --quiet --name x -- " + command
keys(run + b"\n"); expect(b"ready")
keys(b"\x1a"); expect(b"Stopped"); expect(b"prompt>")
keys(b"fg\n"); time.sleep(0.5)
keys(b"\x03"); expect(b"prompt>")
keys(b"echo status=$?\n"); expect(b"status=130")
keys(run + b"\n"); expect(b"ready")
keys(b"\x1c"); expect(b"prompt>")
keys(b"echo status=$?\n"); expect(b"status=131")
# The terminal is the command's: it may ask and be answered.
keys(harden.encode() + b" run --quiet --name y -- sh -c 'read x; echo got-$x'\n"); time.sleep(2)
keys(b"word\n"); expect(b"got-word")
"#;

#[test]
fn a_person_at_a_terminal() -> Result<()> {
    if !met("a_person_at_a_terminal", &["python3", "bash"]) {
        return Ok(());
    }
    let dir = scratch()?;
    let output = Command::new("/usr/bin/python3")
        .args(["-c", TERMINAL])
        .arg(harden::binary())
        .arg(dir.path())
        .process_group(0)
        .output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let observation = read(&dir, "x")?;
    assert_eq!(
        observation
            .runs
            .values()
            .map(|run| run.status)
            .collect::<Vec<_>>(),
        [Some(131)]
    );
    assert!(dir.path().join("x.profile").exists());
    Ok(())
}
