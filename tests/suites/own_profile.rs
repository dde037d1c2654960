//! The agent's own profile, made by a second, independent instance: `harden run -- harden agent`.
//!
//! Firejail gives every sandbox a new /sys without control groups and BPF file systems (src/firejail/fs.c), its
//! own processes in /proc, and no /proc/kallsyms, whatever the profile says. So both file systems are mounted a second
//! time, elsewhere, for the agent that runs under its profile; what it cannot have then is told in [`facts`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{self, Executable, Observation};
use harden_tests::{Process, Profile, Scratch, cgroup_tree, firejail, harden, met};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const UNIT: &str = "harden-own-test.service";

/// One agent at a time observes the cgroups of this suite.
static ALONE: Mutex<()> = Mutex::new(());

/// What an agent needs to itself: state, socket, a BPF file system, and the control groups outside /sys.
struct Home {
    scratch: Scratch,
}

impl Home {
    fn make() -> Result<Self> {
        let home = Self {
            scratch: Scratch::new(Path::new("/run"))?,
        };
        for name in ["state", "bpf", "cgroup", "work"] {
            fs::create_dir(home.path(name))?;
        }
        let (bpf, cgroup) = (home.path("bpf"), home.path("cgroup"));
        let none = None::<&str>;
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), none).context("mount -t bpf")?;
        mount(Some(&cgroup_tree()?), &cgroup, none, MsFlags::MS_BIND, none)
            .context("mount --bind")?;
        let config = format!(
            "[units]\ninclude = [\"harden-own-*\"]\n[state]\ndirectory = \"{}\"\ncompact_every = \"1s\"\n\
             [kernel]\npin = \"{}\"\nslots = 256\ncgroups = 1024\n[control]\nsocket = \"{}\"\n",
            home.path("state").display(),
            home.path("bpf/harden").display(),
            home.path("socket").display(),
        );
        fs::write(home.path("harden.toml"), config)?;
        Ok(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn agent(&self) -> [String; 4] {
        [
            harden::binary().to_string_lossy().into_owned(),
            "agent".to_owned(),
            "--config".to_owned(),
            self.path("harden.toml").to_string_lossy().into_owned(),
        ]
    }

    /// Runs a command that asks the agent.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(harden::binary());
        command.args(arguments).stdin(Stdio::null());
        let output = command.env("HARDEN_SOCKET", self.path("socket")).output()?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn until_ready(&self, process: &mut Process) -> Result<()> {
        process.until(|| self.ask(&["status"]).map(drop))
    }

    /// Takes what is recorded out of the kernel, and forgets it.
    fn clear(&self) -> Result<()> {
        let agent = self.agent();
        let unload = Command::new(&agent[0])
            .args(&agent[1..])
            .arg("--unload")
            .output()?;
        ensure!(unload.status.success(), "{unload:?}");
        fs::remove_dir_all(self.path("state"))?;
        Ok(fs::create_dir(self.path("state"))?)
    }

    /// What the agent has seen a unit do.
    fn snapshot(&self) -> Result<Observation> {
        let out = Scratch::new(Path::new("/run"))?;
        let directory = out.path().to_string_lossy().into_owned();
        self.ask(&[
            "snapshot",
            "--format",
            "observation",
            "--out",
            &directory,
            UNIT,
        ])?;
        Ok(observation::read(
            &out.path().join(format!("{UNIT}.observation.json")),
        )?)
    }

    /// Work of a unit: always the same.
    fn unit_works(&self) -> Result<()> {
        let cgroup = Unit::make(UNIT)?;
        let made = self.path("work").join("made");
        let mut shell = Command::new("/bin/sh");
        shell
            .args([
                "-c",
                "echo $$ > \"$1/cgroup.procs\" && exec /bin/mkdir \"$2\"",
                "sh",
            ])
            .arg(&cgroup.0)
            .arg(&made)
            .current_dir("/")
            .env_clear();
        ensure!(shell.status()?.success());
        Ok(fs::remove_dir(made)?)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.clear();
        for name in ["bpf", "cgroup"] {
            let _ = umount2(&self.path(name), MntFlags::MNT_DETACH);
        }
    }
}

/// The cgroup of a unit, as systemd would make it; gone when dropped.
struct Unit(PathBuf);

impl Unit {
    fn make(name: &str) -> Result<Self> {
        let path = cgroup_tree()?.join("system.slice").join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
        // Where there is a systemd it is its own, and not empty.
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

/// What was seen of a unit, but for capabilities: without /proc/kallsyms a question for `CAP_SYS_ADMIN` is
/// taken for a need where the kernel's security hooks cannot be used.
fn facts(observation: &Observation) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for run in observation.runs.values() {
        let programs = run.executables.iter().chain(run.control.values().flatten());
        for (program, seen) in programs {
            let calls = seen.syscalls.values().flat_map(BTreeMap::keys);
            facts.extend(calls.map(|call| format!("{program} {call}")));
            facts.extend(seen.files.keys().map(|path| format!("{program} {path}")));
        }
    }
    facts
}

/// All that an agent does in its life, but for its end.
fn live(home: &Home, agent: &mut Process) -> Result<()> {
    home.until_ready(agent)?;
    home.unit_works()?;
    home.ask(&["mark", "a-case"])?;
    home.unit_works()?;
    home.ask(&["mark", "--end"])?;
    home.ask(&["units"])?;
    // Units that come and go while it writes what it has.
    for number in 0..20 {
        drop(Unit::make(&format!("harden-own-{number}.service"))?);
    }
    home.snapshot()?;
    let _ = UnixStream::connect(home.path("socket"))?.write_all(b"garbage\0");
    agent.until(|| {
        let files = fs::read_dir(home.path("state/units"))?.count();
        ensure!(files > 0, "nothing is written");
        Ok(())
    })
}

/// The recording of an agent that is begun, and of one that takes over.
fn record(home: &Home) -> Result<(harden::Recorded, BTreeSet<String>)> {
    let mut seen = BTreeSet::new();
    let recorded = harden::record_daemon("agent", &[], &home.agent(), |agent| {
        live(home, agent)?;
        seen = facts(&home.snapshot()?);
        Ok(())
    })?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    let recorded = harden::record_again(recorded, &home.agent(), |agent| live(home, agent))?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    Ok((recorded, seen))
}

fn calls(observation: &Observation) -> BTreeSet<String> {
    let programs = observation
        .runs
        .values()
        .flat_map(|run| run.executables.values());
    let calls = programs.flat_map(|program: &Executable| program.syscalls.values());
    calls
        .flat_map(BTreeMap::keys)
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_agent_works_under_the_profile_that_it_is_given() -> Result<()> {
    if !met("the agent under its own profile", &[]) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Home::make()?;
    let (recorded, seen) = record(&home)?;
    assert!(
        seen.contains("/usr/bin/mkdir mkdir") || seen.contains("/bin/mkdir mkdir"),
        "{seen:?}"
    );
    // Two at once: each has what is its own.
    let own = calls(&recorded.observation);
    for call in ["bpf", "membarrier", "accept4", "rename"] {
        assert!(own.contains(call), "{call}: {own:?}");
    }
    for run in recorded.observation.runs.values() {
        assert_eq!(run.losses, BTreeMap::new());
        for program in run.executables.keys() {
            assert!(!program.to_string().ends_with("/mkdir"), "{program}");
        }
    }

    let work = |agent: &mut Process| -> Result<BTreeSet<String>> {
        live(&home, agent)?;
        Ok(facts(&home.snapshot()?))
    };
    let under = |profile: &Profile| -> Result<BTreeSet<String>> {
        home.clear()?;
        let mut seen = BTreeSet::new();
        firejail::run(profile, &home.agent(), |agent| {
            seen = work(agent)?;
            Ok(())
        })?;
        Ok(seen)
    };
    assert_eq!(under(&recorded.profile)?, seen);

    for (directive, item) in [
        ("seccomp.keep", "bpf"),
        ("seccomp.keep", "membarrier"),
        ("caps.keep", "bpf"),
        ("caps.keep", "perfmon"),
    ] {
        home.clear()?;
        let profile = recorded.profile.without(directive, item);
        let result = firejail::run_to_fail(&profile, &home.agent(), |agent| {
            let worked = work(agent)?;
            ensure!(worked == seen, "it sees something else");
            Ok(())
        });
        assert!(result.is_err(), "it works without {item} in {directive}");
    }
    Ok(())
}

/// The calls of a set of systemd's, without those of the sets in it that it names.
fn set(name: &str) -> Result<BTreeSet<String>> {
    let mut command = Command::new("systemd-analyze");
    let output = command
        .args(["syscall-filter", "--no-pager", name])
        .output()?;
    ensure!(output.status.success(), "{name}: {output:?}");
    let mut calls = BTreeSet::new();
    for word in String::from_utf8(output.stdout)?
        .lines()
        .skip(1)
        .map(str::trim)
    {
        if word.starts_with('@') {
            calls.extend(set(word)?);
        } else if !word.starts_with('#') && !word.is_empty() {
            calls.insert(word.to_owned());
        }
    }
    Ok(calls)
}

const OWN_UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/harden.service");

/// What the unit's lines allow, taken in their order as systemd.exec(5) says.
fn allowed() -> Result<BTreeSet<String>> {
    // What systemd always adds to a list of what is allowed.
    let mut allowed = set("@default")?;
    let text = fs::read_to_string(OWN_UNIT)?;
    for list in text
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let (denied, words) = match list.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, list),
        };
        for word in words.split(' ') {
            let calls = if word.starts_with('@') {
                set(word)?
            } else {
                BTreeSet::from([word.to_owned()])
            };
            if denied {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    Ok(allowed)
}

/// Which files of the system the unit would hide from the agent, by `harden check`.
fn hidden(observation: &Observation, home: &Home) -> Result<Vec<String>> {
    let file = home.path("agent.json");
    fs::write(&file, observation::to_json(observation)?)?;
    let mut check = Command::new(harden::binary());
    check.args(["check", "--json", OWN_UNIT]).arg(&file);
    let output = check.output()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let refused = said["refused"].as_array().context("no list")?;
    let facts = refused.iter().filter_map(|one| one["fact"].as_str());
    let system = ["/dev/", "/etc/", "/proc/", "/sys/", "/usr/"];
    let is_of_system = |fact: &&str| system.iter().any(|top| fact.contains(&format!(" {top}")));
    let own = home.scratch.path().display().to_string();
    let hidden = facts
        .filter(is_of_system)
        .filter(|fact| !fact.contains(&own));
    Ok(hidden.map(str::to_owned).collect())
}

fn has_securityfs() -> bool {
    Path::new("/sys/kernel/security/lsm").exists()
}

#[test]
fn the_unit_allows_what_the_agent_was_seen_to_do() -> Result<()> {
    if !met(
        "the unit's filter and the agent's calls",
        &["systemd-analyze"],
    ) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Home::make()?;
    let (recorded, _) = record(&home)?;
    let allowed = allowed()?;
    assert!(
        allowed.contains("bpf") && !allowed.contains("chown"),
        "{allowed:?}"
    );
    let denied: Vec<_> = calls(&recorded.observation)
        .into_iter()
        .filter(|call| !allowed.contains(call))
        // Asked only where nobody has mounted securityfs, which systemd does.
        .filter(|call| call != "lsm_list_modules" || has_securityfs())
        .collect();
    assert_eq!(denied, [""; 0]);
    assert_eq!(hidden(&recorded.observation, &home)?, [""; 0]);
    Ok(())
}
