//! Rules that go on holding: for the next document, the next queue, and the file that was replaced. Each is recorded at one
//! work, and has to pass at another; with `--paths exact`, which names the files themselves, it does not.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::Operation;
use harden_tests::{Process, Profile, Scratch, firejail, harden, met, observed::run};

const FORMATS: [&str; 2] = ["--format", "firejail,systemd"];

/// The status and output of a command under a profile, while `meanwhile` is done.
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

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

#[test]
fn the_next_document_is_there() -> Result<()> {
    if !met("the next document is there", &["cat"]) {
        return Ok(());
    }
    let docs = Scratch::new(Path::new("/srv"))?;
    for name in ["a/1", "a/2", "b/3"] {
        let path = docs.path().join(name);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, name)?;
    }
    let path = |name: &str| docs.path().join(name).display().to_string();
    let command = ["cat", &path("a/1"), &path("a/2")];
    let known = harden::record("documents", &FORMATS, &command)?;
    let exact = harden::record("exact", &["--paths", "exact"], &command)?;
    let other = ["cat", &path("b/3")];
    let (status, output) = under(&known.profile, &other, |_| Ok(()))?;
    ensure!(status == Some(0), "{output}\n{}", known.profile.text());
    let (status, output) = under(&exact.profile, &other, |_| Ok(()))?;
    ensure!(status == Some(1), "{output}\n{}", exact.profile.text());
    Ok(())
}

#[test]
fn the_next_queue_is_writable() -> Result<()> {
    if !met("the next queue is writable", &["sh"]) {
        return Ok(());
    }
    let spool = Scratch::new(Path::new("/var/spool"))?;
    for name in ["in", "out", "hold"] {
        fs::create_dir(spool.path().join(name))?;
    }
    let spool = text(spool.path())?;
    let script = "for queue in $2; do echo x >$1/$queue/$$; done";
    let command = |queues| ["sh", "-c", script, "sh", spool, queues];
    let known = harden::record("queues", &FORMATS, &command("in out"))?;
    let exact = harden::record("exact", &["--paths", "exact"], &command("in out"))?;
    let (status, output) = under(&known.profile, &command("hold"), |_| Ok(()))?;
    ensure!(status == Some(0), "{output}\n{}", known.profile.text());
    let (status, output) = under(&exact.profile, &command("hold"), |_| Ok(()))?;
    ensure!(status != Some(0), "{output}\n{}", exact.profile.text());
    let drop_in = fs::read_to_string(known.dir.path().join("queues.drop-in.conf"))?;
    let writable = format!("ReadWritePaths=-{spool}");
    ensure!(drop_in.lines().any(|line| line == writable), "{drop_in}");
    Ok(())
}

/// Opens its log again when it is told to, and never makes it: logrotate does.
const LOGS: &str = "
import os, signal, sys, time
def log(*_):
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    os.write(file, b'opened\\n')
signal.signal(signal.SIGHUP, log)
log()
open(sys.argv[2] + '/ready', 'w').write('ready')
while not os.path.exists(sys.argv[2] + '/go'):
    time.sleep(0.05)
log()
";

#[test]
fn a_log_that_was_rotated_from_outside_is_written() -> Result<()> {
    if !met(
        "a log that was rotated from outside is written",
        &["python3"],
    ) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/var/log"))?;
    let state = Scratch::new(Path::new("/var/lib"))?;
    let log = dir.path().join("d.log");
    let (ready, go) = (state.path().join("ready"), state.path().join("go"));
    // Not what a PATH has first, such as a wrapper in a home directory that runs a dozen programs.
    let command = [
        "/usr/bin/python3",
        "-S",
        "-E",
        "-c",
        LOGS,
        text(&log)?,
        text(state.path())?,
    ];
    let work = |process: &mut Process, rotates: bool| -> Result<()> {
        process.until(|| {
            ensure!(ready.exists(), "it is not ready");
            Ok(())
        })?;
        if rotates {
            fs::rename(&log, log.with_extension("old"))?;
            fs::write(&log, "")?;
        }
        fs::write(&go, "")?;
        Ok(())
    };
    let fresh = || -> Result<()> {
        fs::write(&log, "")?;
        for file in [&ready, &go] {
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    };
    let record = |options: &[&str]| {
        fresh()?;
        harden::record_daemon("logs", options, &command, |process| {
            work(process, false)?;
            process.until(|| {
                let lines = fs::read_to_string(&log)?;
                ensure!(lines == "opened\nopened\n", "{lines:?}");
                Ok(())
            })?;
            // Its end is recorded, too.
            process.wait().map(drop)
        })
    };
    let known = record(&FORMATS)?;
    let exact = record(&["--paths", "exact"])?;
    let handles = run(&known.observation).executables.values().any(|facts| {
        let mut names = facts.arguments.keys();
        names.any(|name| name.as_str() == "handles-sighup")
    });
    ensure!(handles, "nothing says that it handles SIGHUP");
    for (profile, lasts) in [(&known.profile, true), (&exact.profile, false)] {
        fresh()?;
        let (_, output) = under(profile, &command, |process| work(process, true))?;
        let now = fs::read_to_string(&log)?;
        ensure!(
            (now == "opened\n") == lasts,
            "{now:?}\n{output}\n{}",
            profile.text()
        );
    }
    Ok(())
}

/// A file in /etc that was another at another time is no copy.
#[test]
fn what_is_replaced_in_etc_is_not_copied() -> Result<()> {
    if !met(
        "what is replaced in /etc is not copied",
        &["sh", "cat", "mv"],
    ) {
        return Ok(());
    }
    let etc = Scratch::new(Path::new("/etc"))?;
    let certificate = text(etc.path())?.to_owned() + "/certificate";
    fs::write(&certificate, "one")?;
    let still = harden::record("still", &[], &["cat", &certificate])?;
    ensure!(
        !still.profile.list("private-etc").is_empty(),
        "{}",
        still.profile.text()
    );
    let script = "cat $1; echo two >$1.new; mv $1.new $1; cat $1";
    let replaced = harden::record("replaced", &[], &["sh", "-c", script, "sh", &certificate])?;
    let files = run(&replaced.observation).executables.values();
    let read = files
        .flat_map(|facts| facts.files.iter())
        .filter(|(path, file)| {
            path.to_string() == certificate && file.operations.has(Operation::Read)
        });
    ensure!(
        read.map(|(_, file)| file.inodes.len()).max() == Some(2),
        "one inode"
    );
    ensure!(
        replaced.profile.list("private-etc").is_empty(),
        "{}",
        replaced.profile.text()
    );
    Ok(())
}
