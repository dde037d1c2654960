//! What comes with a sandbox and is in no name of an option: `no_new_privs` with a filter, a mount namespace, a PID
//! namespace, and that all of it is inherited; and the capabilities that no check tells.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{
    Agent, Machine, Scratch, Setup, Work, Written, firejail, harden, met, programs,
};

/// Debian's static number of the group mail (base-passwd).
const MAIL: u32 = 8;

const UNIT: &str = "implied.service";

/// A unit, how it is told to work, and how one sees that it did.
struct Case<'a> {
    name: &'a str,
    unit: &'a str,
    settings: &'a str,
    /// Before each start.
    before: &'a str,
    /// What has to hold while it is up.
    works: &'a str,
}

impl<'a> Case<'a> {
    fn of(name: &'a str, settings: &'a str, works: &'a str) -> Self {
        Self {
            name,
            unit: UNIT,
            settings,
            before: "rm -rf /run/implied.out",
            works,
        }
    }

    fn live(&self, machine: &Machine) -> Result<()> {
        let _ = machine.try_run(&["systemctl", "stop", self.unit])?;
        let _ = machine.try_run(&["systemctl", "reset-failed", self.unit])?;
        machine.work(self.before)?;
        machine.run(&["timeout", "30", "systemctl", "start", self.unit])?;
        if self.settings.contains("Type=oneshot") {
            // All is done once it has started.
            return machine.run(&["sh", "-c", self.works]).map(drop);
        }
        machine.work_within(Machine::BRIEF, self.works)
    }

    /// Two lives, and what harden writes for them.
    fn recorded(&self, agent: &Agent, machine: &Machine) -> Result<Written> {
        if !self.settings.is_empty() {
            let path = format!("/run/systemd/system/{}", self.unit);
            machine.write(&path, &format!("[Service]\n{}", self.settings))?;
        }
        self.confined(machine, "")?;
        for _ in 0..2 {
            self.live(machine).with_context(|| self.name.to_owned())?;
        }
        machine.run(&["systemctl", "stop", self.unit])?;
        Written::of(agent, machine, self.unit)
    }

    fn confined(&self, machine: &Machine, drop_in: &str) -> Result<()> {
        // Its ExecStop= is run as the unit is configured then.
        let _ = machine.try_run(&["systemctl", "stop", self.unit])?;
        let path = format!("/run/systemd/system/{}.d/50-harden.conf", self.unit);
        machine.write(&path, drop_in)?;
        machine.run(&["systemctl", "daemon-reload"]).map(drop)
    }

    /// It works under the drop-in, and not with this line more.
    fn holds(&self, machine: &Machine, drop_in: &str, breaks: &str) -> Result<()> {
        self.confined(machine, drop_in)?;
        self.live(machine)
            .with_context(|| format!("{}:\n{drop_in}", self.name))?;
        self.confined(machine, &format!("{drop_in}\n{breaks}\n"))?;
        let lived = self.live(machine);
        ensure!(lived.is_err(), "{}: it works with {breaks}", self.name);
        let _ = machine.try_run(&["systemctl", "stop", self.unit])?;
        Ok(())
    }
}

fn is_given(drop_in: &str, name: &str) -> bool {
    let start = format!("{name}=");
    drop_in.lines().any(|line| line.starts_with(&start))
}

/// Every directive that is given.
fn given(drop_in: &str) -> Vec<&str> {
    let lines = drop_in.lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '[']))
        .collect()
}

/// A copy of a program whose file gives `cap_net_bind_service` at once (struct `vfs_cap_data` in
/// include/uapi/linux/capability.h).
fn with_capability(machine: &Machine, program: &str, copy: &str) -> Result<()> {
    const SET: &str = "import os, struct, sys; os.setxattr(sys.argv[1], 'security.capability', \
                       struct.pack('<5I', 0x02000001, 1 << 10, 0, 0, 0))";
    machine.run(&["cp", program, copy])?;
    machine
        .run(&["/usr/bin/python3", "-c", SET, copy])
        .map(drop)
}

const MAIL_IS_THERE: &str = "grep -qx mail /run/implied.out/group";

#[test]
fn set_id_programs_and_file_capabilities_keep_what_they_give() -> Result<()> {
    let Some(machine) = Machine::here("set-id programs keep what they give")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    machine.run(&["cp", "/usr/bin/id", "/opt/as-mail"])?;
    machine.run(&["chgrp", "mail", "/opt/as-mail"])?;
    machine.run(&["chmod", "2755", "/opt/as-mail"])?;
    with_capability(&machine, "/usr/bin/python3", "/opt/binder")?;
    let version = machine.run(&["systemctl", "--version"])?;
    let mut words = version.split_whitespace();
    let version: u32 = words.nth(1).context("a version")?.parse()?;
    // What any filter implies, as long as it does.
    let breaks = if version < 255 {
        "SystemCallArchitectures=native"
    } else {
        "NoNewPrivileges=yes"
    };
    let user = "Type=oneshot\nRemainAfterExit=yes\nUser=games\n";
    let before = "rm -rf /run/implied.out && install -d -o games /run/implied.out";
    let set_id = format!("{user}ExecStart=/bin/sh -c '/opt/as-mail -gn >/run/implied.out/group'\n");
    let binds = format!(
        "{user}ExecStart=/opt/binder -S -E -c 'import socket; socket.socket().bind((\"127.0.0.1\", 82)); \
         open(\"/run/implied.out/bound\", \"w\")'\n"
    );
    for (name, settings, works) in [
        ("a set-group-ID program", &set_id, MAIL_IS_THERE),
        (
            "a file capability",
            &binds,
            "test -e /run/implied.out/bound",
        ),
    ] {
        // An agent outside of a container does not learn a unit's user: only set-id bits are seen by themselves.
        if name == "a file capability" && machine.container().is_some() {
            continue;
        }
        let case = Case {
            before,
            ..Case::of(name, settings, works)
        };
        let written = case.recorded(&agent, &machine)?;
        for directive in ["NoNewPrivileges", "SystemCallFilter", "ProtectClock"] {
            ensure!(
                !is_given(&written.drop_in, directive),
                "{name}: {directive}\n{}",
                written.drop_in
            );
        }
        ensure!(is_given(&written.drop_in, "ProtectSystem"), "{name}");
        case.holds(&machine, &written.drop_in, breaks)?;
    }
    // Where root steps down, the filters that it keeps imply nothing.
    let root = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'exec setpriv --reuid games --regid games \
                --clear-groups /opt/as-mail -gn >/run/implied.out/group'\n";
    let case = Case {
        before,
        ..Case::of("of root", root, MAIL_IS_THERE)
    };
    let written = case.recorded(&agent, &machine)?;
    if machine.container().is_none() {
        ensure!(is_given(&written.drop_in, "SystemCallFilter"));
    }
    case.holds(&machine, &written.drop_in, "NoNewPrivileges=yes")?;
    // Of Debian: the bus starts what has no unit by a set-user-ID program.
    machine.write(
        "/usr/share/dbus-1/system-services/org.rig.Implied.service",
        "[D-BUS Service]\nName=org.rig.Implied\nUser=root\nExec=/usr/bin/install -d /run/implied.out/group\n",
    )?;
    let bus = Case {
        unit: "dbus.service",
        ..Case::of(
            "the bus",
            "",
            // It does not take the name, for which the bus would wait.
            "timeout 0.5 busctl call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.rig.Implied 0; \
             test -d /run/implied.out/group",
        )
    };
    let written = bus.recorded(&agent, &machine)?;
    let told = "# WARNING[set-id-programs]: ";
    ensure!(written.profile.contains(told), "{}", written.profile);
    bus.holds(&machine, &written.drop_in, "NoNewPrivileges=yes")
}

#[test]
fn a_file_gives_its_capabilities_to_whom_root_has_become() -> Result<()> {
    let Some(machine) = Machine::here("a file gives its capabilities to whom root has become")?
    else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    // It never uses the capability: no check shows it.
    with_capability(&machine, "/bin/cat", "/opt/cat")?;
    let settings = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'exec setpriv --reuid games --regid games \
                    --clear-groups /opt/cat /proc/self/status >/run/implied.out/status'\n";
    let case = Case {
        before: "rm -rf /run/implied.out && install -d -o games /run/implied.out",
        ..Case::of(
            "of a file",
            settings,
            "grep -qx 'CapEff:.0000000000000400' /run/implied.out/status",
        )
    };
    let written = case.recorded(&agent, &machine)?;
    let drop_in = &written.drop_in;
    let mut lines = drop_in.lines();
    let is_kept = lines.any(|line| {
        line.starts_with("CapabilityBoundingSet=") && line.contains("CAP_NET_BIND_SERVICE")
    });
    ensure!(is_kept, "{drop_in}");
    let why = "file capabilities of /opt/cat";
    ensure!(drop_in.contains(why), "{drop_in}");
    ensure!(!is_given(drop_in, "NoNewPrivileges"), "{drop_in}");
    if machine.container().is_none() {
        // Of a container's unit the user is not known.
        ensure!(is_given(drop_in, "SystemCallFilter"), "{drop_in}");
    }
    let told = "# WARNING[file-capabilities]: /opt/cat: ";
    ensure!(written.profile.contains(told), "{}", written.profile);
    case.holds(&machine, drop_in, "NoNewPrivileges=yes")?;
    let less = "CapabilityBoundingSet=~CAP_NET_BIND_SERVICE";
    case.holds(&machine, drop_in, less)
}

/// Says so when somebody opens a file on the root's mount: `FAN_MARK_ADD | FAN_MARK_MOUNT`, `FAN_OPEN`
/// (include/uapi/linux/fanotify.h).
const WATCHES: &str = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
watch = libc.fanotify_init(0, 0)
assert watch >= 0, ctypes.get_errno()
mark = libc.fanotify_mark(watch, 0x11, ctypes.c_uint64(0x20), -100, b'/etc')
assert mark == 0, ctypes.get_errno()
os.mkdir('/run/implied.out')
os.read(watch, 4096)
os.mkdir('/run/implied.out/seen')
import time
time.sleep(1000)
";

#[test]
fn what_is_mounted_or_watched_is_everybody_s() -> Result<()> {
    let Some(machine) = Machine::here("what is mounted or watched is everybody's")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    machine.write("/opt/watches.py", WATCHES)?;
    let mounts = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/mount -t tmpfs implied /mnt\n\
                  ExecStop=/bin/umount /mnt\n";
    let watches = "ExecStart=/usr/bin/python3 -S -E -B /opt/watches.py\n";
    // What systemd itself and its children open is outside of the unit, too.
    let seen = "test -d /run/implied.out && cat /etc/hostname && test -d /run/implied.out/seen";
    // Of Debian: mounts where a user's programs meet, as long as there is a session of the user's.
    machine.write(
        "/run/systemd/system/user-runtime-dir@5.service.d/10-rig.conf",
        "[Unit]\nStopWhenUnneeded=no\n",
    )?;
    let runtime = Case {
        unit: "user-runtime-dir@5.service",
        ..Case::of("a user's directory", "", "mountpoint -q /run/user/5")
    };
    for (case, call) in [
        (
            Case::of("mount", mounts, "grep -q ' /mnt ' /proc/mounts"),
            "mount",
        ),
        (Case::of("fanotify", watches, seen), "fanotify_"),
        (runtime, "mount"),
    ] {
        let name = case.name;
        let written = case.recorded(&agent, &machine)?;
        let lines = || [&written.drop_in, &written.profile].into_iter();
        for text in lines() {
            let mut lines = text.lines();
            let told = lines.any(|line| {
                line.starts_with("# WARNING[mounts]: ") && line.contains(&format!("calls {call}"))
            });
            ensure!(told, "{name}:\n{text}");
        }
        case.holds(&machine, &written.drop_in, "PrivateTmp=yes")?;
    }
    Ok(())
}

/// Runs what lies in a table, as the user there.
const BATCH: &str = "
import os, subprocess
job = open('/var/spool/cron/implied').read()
def step_down():
    os.setgroups([])
    os.setgid(60)
    os.setuid(5)
subprocess.run(['/bin/sh', '-c', job], preexec_fn=step_down, check=True)
import time
time.sleep(1000)
";

#[test]
fn jobs_of_others_are_bound_by_nothing() -> Result<()> {
    let Some(machine) = Machine::here("jobs of others are bound by nothing")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    machine.write("/opt/batch.py", BATCH)?;
    let table = |job: &str| {
        machine.write("/etc/cron.d/implied", &format!("@reboot root {job}\n"))?;
        machine.write("/var/spool/cron/implied", job)
    };
    // Cron of Debian runs such jobs once for each boot, by this file.
    let before =
        "rm -f /run/crond.reboot; rm -rf /run/implied.out; install -d -m 777 /run/implied.out";
    let works = "test -e /run/implied.out/done";
    let batch = "ExecStart=/usr/bin/python3 -S -E -B /opt/batch.py\n";
    for (unit, settings) in [("cron.service", ""), (UNIT, batch)] {
        let case = Case {
            name: unit,
            unit,
            settings,
            before,
            works,
        };
        table("echo done >/run/implied.out/done")?;
        let written = case.recorded(&agent, &machine)?;
        for text in [&written.drop_in, &written.profile] {
            let mut lines = text.lines();
            let told = lines.any(|line| line.starts_with("# WARNING[launcher]: "));
            ensure!(told, "{unit}:\n{text}");
        }
        let given = given(&written.drop_in);
        ensure!(given.is_empty(), "{unit}: {given:?}");
        // Another job than was recorded.
        table("mkdir -p /tmp/implied/x && sync && touch /run/implied.out/done")?;
        case.holds(
            &machine,
            &written.drop_in,
            "SystemCallFilter=~mkdir mkdirat",
        )?;
    }
    machine.run(&["rm", "-f", "/etc/cron.d/implied"]).map(drop)
}

#[test]
fn what_no_check_tells_is_kept() -> Result<()> {
    let Some(machine) = Machine::here("what no check tells is kept")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    let settings = "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/readlink /proc/1/exe\n";
    let case = Case::of("readlink", settings, "true");
    let written = case.recorded(&agent, &machine)?;
    let has = written
        .drop_in
        .contains("\nCapabilityBoundingSet=CAP_SYS_PTRACE\n");
    ensure!(has, "{}", written.drop_in);
    case.holds(
        &machine,
        &written.drop_in,
        "CapabilityBoundingSet=~CAP_SYS_PTRACE",
    )
}

/// Whether the running kernel asks the maker of a user namespace for `CAP_SETFCAP`: since 5.12.
fn asks_for_setfcap() -> Result<bool> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || -> Result<u32> { Ok(numbers.next().context("a number")?.parse()?) };
    Ok((number()?, number()?) >= (5, 12))
}

#[test]
fn who_maps_root_keeps_setfcap() -> Result<()> {
    if !met("who_maps_root_keeps_setfcap", &["firejail", "unshare"]) {
        return Ok(());
    }
    let command = ["unshare", "--user", "--map-root-user", "true"];
    let known = Work {
        name: "maps",
        user: None,
        command: command.map(str::to_owned).to_vec(),
        reset: &|| Ok(()),
        result: &|| Ok(Vec::new()),
    }
    .record()?;
    let kept = known.profile().list("caps.keep");
    ensure!(kept.contains(&"setfcap"), "{kept:?}");
    known.passes()?;
    if asks_for_setfcap()? {
        known.needs("caps.keep", "setfcap")?;
    }
    Ok(())
}

#[test]
fn firejail_runs_a_program_with_file_capabilities_and_says_that_they_are_void() -> Result<()> {
    const NAME: &str = "firejail_runs_a_program_with_file_capabilities_and_says_that_they_are_void";
    if !met(NAME, &["firejail", "setcap", "setpriv", "cat"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let program = dir.path().join("cat");
    programs::copy("/bin/cat", &program)?;
    let mut setcap = Command::new("setcap");
    let set = setcap
        .arg("cap_net_bind_service+ep")
        .arg(&program)
        .status()?;
    ensure!(set.success(), "{set}");
    let program = program.to_str().context("UTF-8")?;
    let games = [
        "setpriv",
        "--reuid=games",
        "--regid=games",
        "--clear-groups",
    ];
    let command = [&games[..], &[program, "/proc/self/status"]].concat();
    let known = Work {
        name: "void",
        user: None,
        command: command.into_iter().map(str::to_owned).collect(),
        reset: &|| Ok(()),
        result: &|| Ok(Vec::new()),
    }
    .record()?;
    let text = known.profile().text();
    let told = format!("# WARNING[file-capabilities]: {program}: ");
    ensure!(text.contains(&told), "{text}");
    known.passes()?;
    known.needs("caps.keep", "net_bind_service")
}

#[test]
fn firejail_takes_set_id_bits_and_processes_and_says_so() -> Result<()> {
    const NAME: &str = "firejail_takes_set_id_bits_and_processes_and_says_so";
    if !met(NAME, &["firejail", "runuser", "id", "pgrep", "sleep"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let program = dir.path().join("as-mail");
    programs::copy("/usr/bin/id", &program)?;
    chown(&program, None, Some(MAIL))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755))?;
    let program = program.to_str().context("UTF-8")?;
    let script = format!("test \"$({program} -gn)\" = mail");
    let command = ["/bin/sh", "-c", &script];
    let recorded = harden::record("setid", &["--user", "games"], &command)?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    let text = recorded.profile.text();
    let told = format!("# WARNING[set-id-programs]: {program}: ");
    ensure!(text.contains(&told), "{text}");

    // Found by its name alone: who looks for a command line finds the sandbox, which has it among its arguments.
    let sleeper = dir.path().join("implied-sleep");
    programs::copy("/bin/sleep", &sleeper)?;
    let mut stranger = Command::new(&sleeper)
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()?;
    let command = ["pgrep", "-x", "implied-sleep"];
    let found = harden::record("pgrep", &[], &command);
    let confined = found.and_then(|found| {
        ensure!(found.status == 0, "{}", found.output);
        let text = found.profile.text();
        let told = text.contains("# WARNING[other-processes]: ");
        ensure!(told, "{text}");
        firejail::run(&found.profile, &command, |process| {
            let status = process.wait()?;
            ensure!(status.code() == Some(1), "{status}: {}", process.output());
            Ok(())
        })
    });
    stranger.kill()?;
    stranger.wait()?;
    confined
}
