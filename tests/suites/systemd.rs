//! Units of a real systemd: where it puts them, and what it says of them.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use harden_agent::{
    agent::systemd::{Error, Role, Systemd},
    collect::unit,
};
use harden_tests::{Machine, as_patient};

/// A service that stays.
const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// The unit of a cgroup of this system, without the way to its manager.
fn unit_of(machine: &Machine, cgroup: &str) -> Option<String> {
    let path = format!("{}{cgroup}", machine.cgroup().display());
    let unit = unit::unit(path.as_bytes())?;
    let text = unit.to_string();
    match machine.container() {
        Some(_) => {
            let root = machine.cgroup();
            let manager = unit.manager().as_path();
            let below = manager.strip_prefix(&root).ok()?;
            Some(match below.to_str()? {
                "" => unit.name().to_owned(),
                below => format!("/{below}:{}", unit.name()),
            })
        }
        None => Some(text),
    }
}

/// Starts a service and gives back its cgroup, as its systemd has it.
fn start(machine: &Machine, name: &str) -> Result<String> {
    machine.run(&["systemctl", "start", "--", name])?;
    let cgroup = machine.property(name, "ControlGroup")?;
    ensure!(cgroup.starts_with('/'), "{name} has no cgroup: {cgroup}");
    Ok(cgroup)
}

/// The cgroups of all processes there are, from the system's own root.
fn cgroups(machine: &Machine) -> Result<Vec<String>> {
    let text = machine.run(&["sh", "-c", "cat /proc/[0-9]*/cgroup 2>/dev/null || true"])?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("0::"));
    Ok(lines.map(str::to_owned).collect())
}

fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + as_patient(Duration::from_secs(20));
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            result => return result,
        }
    }
}

#[test]
fn the_cgroup_tells_the_unit() -> Result<()> {
    let Some(machine) = Machine::here("the cgroup tells the unit")? else {
        return Ok(());
    };
    let names = [
        "harden-plain.service",
        r"harden-a-b\x2dc.service",
        r"harden-\x2e\x2e.service",
        "_harden.service",
        ".harden.service",
        "cpu.service",
        "cgroup.harden.service",
        "harden:a.b@c.service",
        r"harden@a-b\x2dc.service",
        "harden@1@2.service",
        "init.harden.service",
        "payload.service",
        "user@harden.service",
    ];
    for name in names {
        if !name.starts_with("harden@") {
            machine.write(&format!("/run/systemd/system/{name}"), SLEEPS)?;
        }
    }
    machine.unit("harden@.service", SLEEPS)?;
    for name in names {
        let cgroup = start(&machine, name)?;
        assert_eq!(
            unit_of(&machine, &cgroup).as_deref(),
            Some(name),
            "{cgroup}"
        );
    }
    for (slice, expected) in [
        (
            "harden-a-b.slice",
            "/harden.slice/harden-a.slice/harden-a-b.slice/",
        ),
        ("-.slice", "/"),
        (r"harden\x2da.slice", r"/harden\x2da.slice/"),
    ] {
        let name = "harden-sliced.service";
        machine.unit(name, &format!("{SLEEPS}Slice={slice}\n"))?;
        let cgroup = start(&machine, name)?;
        assert_eq!(cgroup, format!("{expected}{name}"));
        assert_eq!(
            unit_of(&machine, &cgroup).as_deref(),
            Some(name),
            "{cgroup}"
        );
        machine.run(&["systemctl", "stop", name])?;
    }
    // And whatever else runs: the manager, journald, the bus, … On a machine that tests share, units may go
    // meanwhile.
    until(|| all_have_units(&machine))
}

fn all_have_units(machine: &Machine) -> Result<()> {
    let mut managers = 0;
    for cgroup in cgroups(machine)? {
        // A thread of the kernel, a command of this test, or its own process.
        if ["/", "/test"].contains(&&*cgroup) || cgroup.ends_with("/harden-suites.service") {
            continue;
        }
        let unit = unit_of(machine, &cgroup);
        let name = unit.with_context(|| format!("{cgroup} is of no unit"))?;
        if name.starts_with('/') {
            // A user's, whom another test lets in.
            continue;
        }
        managers += u32::from(name == "init.scope");
        let own = machine.property(&name, "ControlGroup")?;
        ensure!(
            cgroup.starts_with(&own) && !own.is_empty(),
            "{name}: {cgroup}, {own}"
        );
    }
    ensure!(managers == 1, "{managers} managers");
    Ok(())
}

#[test]
fn delegated_cgroups_belong_to_their_unit() -> Result<()> {
    let Some(machine) = Machine::here("delegated cgroups belong to their unit")? else {
        return Ok(());
    };
    let name = "harden-delegate.service";
    // A delegated unit's control processes have a cgroup of their own, as its root may hold none.
    machine.unit(
        name,
        "[Service]\nDelegate=yes\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '\
            tree=/sys/fs/cgroup; [ -d $tree/unified ] && tree=$tree/unified; \
            own=$tree$(sed -n s/^0:://p /proc/self/cgroup); \
            mkdir $own/main $own/payload && echo 0 >$own/main/cgroup.procs && systemd-notify --ready; \
            exec sleep infinity'\n\
         ExecReload=/bin/sh -c 'cat /proc/self/cgroup >/run/harden-reload'\n",
    )?;
    let own = start(&machine, name)?;
    machine.run(&["systemctl", "reload", name])?;
    let reload = machine.run(&["sed", "-n", "s/^0:://p", "/run/harden-reload"])?;
    assert_eq!(reload, format!("{own}/.control"));
    let main = format!("{own}/main");
    assert!(cgroups(&machine)?.contains(&main), "no process in {main}");
    for cgroup in [&own, &reload, &main] {
        assert_eq!(unit_of(&machine, cgroup).as_deref(), Some(name), "{cgroup}");
        let path = format!("{}{cgroup}", machine.cgroup().display());
        let place = unit::place(path.as_bytes()).context("a unit")?;
        let directory = format!("{}{own}", machine.cgroup().display());
        assert_eq!(place.directory, directory.as_bytes());
    }
    Ok(())
}

#[test]
fn transient_units_without_a_name_go_by_their_program() -> Result<()> {
    let Some(machine) = Machine::here("transient units without a name go by their program")? else {
        return Ok(());
    };
    let program = harden_agent::observation::Text::from("/bin/sleep");
    for mode in [
        &["--scope"][..],
        &["--no-block"][..],
        &["--no-block", "--slice=harden.slice"][..],
    ] {
        // The scope is the command's; the service outlives it.
        let script = match mode {
            ["--scope"] => "sed -n s/^0:://p /proc/self/cgroup",
            _ => "sed -n s/^0:://p /proc/self/cgroup >/run/harden-transient",
        };
        let mut run = vec!["systemd-run", "--quiet"];
        run.extend(mode);
        run.extend(["sh", "-c", script]);
        machine.run(&["rm", "-f", "/run/harden-transient"])?;
        let printed = machine.run(&run)?;
        let cgroup = if printed.is_empty() {
            until(|| {
                let text = machine.run(&["cat", "/run/harden-transient"])?;
                ensure!(!text.is_empty(), "nothing is written yet");
                Ok(text)
            })?
        } else {
            printed
        };
        let path = format!("{}{cgroup}", machine.cgroup().display());
        let unit = unit::unit(path.as_bytes()).context("a unit")?;
        assert!(unit.is_transient_random(), "{unit}");
        assert_eq!(unit.key(&program).name(), "run:/bin/sleep");
    }
    let named = [
        "systemd-run",
        "--quiet",
        "--unit=run-harden",
        "sleep",
        "infinity",
    ];
    machine.run(&named)?;
    let cgroup = machine.property("run-harden.service", "ControlGroup")?;
    let path = format!("{}{cgroup}", machine.cgroup().display());
    let unit = unit::unit(path.as_bytes()).context("a unit")?;
    assert!(!unit.is_transient_random(), "{unit}");
    machine.run(&["systemctl", "stop", "run-harden.service"])?;
    Ok(())
}

#[test]
fn a_user_manager_has_its_units() -> Result<()> {
    let Some(machine) = Machine::here("a user manager has its units")? else {
        return Ok(());
    };
    // root's: no other user is sure to exist.
    machine.run(&["systemctl", "start", "user@0.service"])?;
    let root = machine.property("user@0.service", "ControlGroup")?;
    let run = |arguments: &[&str]| {
        let env = ["env", "XDG_RUNTIME_DIR=/run/user/0"];
        let command = [&env[..], arguments].concat();
        machine.run(&command)
    };
    run(&[
        "systemd-run",
        "--user",
        "--quiet",
        "--unit=harden-app",
        "sleep",
        "infinity",
    ])?;
    run(&[
        "systemd-run",
        "--user",
        "--quiet",
        "--unit=harden-flat",
        "--slice=-.slice",
        "sleep",
        "infinity",
    ])?;
    for name in ["harden-app.service", "harden-flat.service"] {
        let cgroup = run(&[
            "systemctl",
            "--user",
            "show",
            "--value",
            "-p",
            "ControlGroup",
            name,
        ])?;
        assert!(cgroup.starts_with(&root), "{cgroup}");
        let expected = format!("{root}:{name}");
        assert_eq!(unit_of(&machine, &cgroup), Some(expected), "{cgroup}");
    }
    let manager = format!("{root}/init.scope");
    assert!(
        cgroups(&machine)?.contains(&manager),
        "no process in {manager}"
    );
    assert_eq!(
        unit_of(&machine, &manager).as_deref(),
        Some("user@0.service")
    );
    machine.run(&["systemctl", "stop", "user@0.service"])?;
    Ok(())
}

const LIFE: &str = "[Service]
Type=notify
NotifyAccess=all
ExecCondition=/bin/sh -c 'echo $$$$ >/run/harden-life/condition'
ExecStartPre=/bin/sh -c 'echo $$$$ >/run/harden-life/pre-1'
ExecStartPre=-/bin/sh -c 'echo $$$$ >/run/harden-life/pre-2; exit 3'
ExecStart=/bin/sh -c 'echo $$$$ >/run/harden-life/main; systemd-notify --ready; trap \"exit 7\" TERM; while :; do sleep 0.1; done'
ExecStartPost=/bin/sh -c 'echo $$$$ >/run/harden-life/post'
ExecReload=/bin/sh -c 'echo $$$$ >/run/harden-life/reload'
ExecStop=/bin/sh -c 'echo $$$$ >/run/harden-life/stop'
ExecStopPost=/bin/sh -c 'echo $$$$ >/run/harden-life/stop-post'
User=nobody
Environment=NAME=value
SystemCallFilter=~@mount
CapabilityBoundingSet=CAP_CHOWN
";

/// What the command that wrote `file` was.
fn written_by(machine: &Machine, file: &str) -> Result<u32> {
    let text = machine.run(&["cat", &format!("/run/harden-life/{file}")])?;
    Ok(text.parse()?)
}

#[tokio::test]
async fn systemd_says_which_process_ran_which_command() -> Result<()> {
    let Some(machine) = Machine::here("systemd says which process ran which command")? else {
        return Ok(());
    };
    let name = "harden-life.service";
    machine.run(&["mkdir", "-p", "-m", "1777", "/run/harden-life"])?;
    machine.unit(name, LIFE)?;
    let systemd = Systemd::at(&machine.root());
    assert_eq!(systemd.invocation_id(name), None);
    machine.run(&["systemctl", "start", name])?;
    machine.run(&["systemctl", "reload", name])?;

    let running = systemd.describe(name).await?;
    let id = machine.property(name, "InvocationID")?;
    assert_eq!(running.invocation.as_deref(), Some(&*id));
    assert_eq!(systemd.invocation_id(name).as_deref(), Some(&*id));
    assert_eq!(running.service_type.as_deref(), Some("notify"));
    assert_eq!(running.user.as_deref(), Some("nobody"));
    assert_eq!(running.uid, Some(65534));
    assert_eq!(running.main_pid, Some(written_by(&machine, "main")?));
    assert_eq!(running.control_pid, None);
    assert_eq!(running.argv[..2], ["/bin/sh", "-c"]);
    assert_eq!(running.result.as_deref(), Some("success"));
    assert_eq!(running.exit_status, None);
    assert_eq!(running.filters, ["SystemCallFilter"]);
    assert_eq!(running.bounding_set, Some(1));
    let started = [
        ("condition", Role::Condition),
        ("pre-1", Role::StartPre),
        ("pre-2", Role::StartPre),
        ("main", Role::Start),
        ("post", Role::StartPost),
        ("reload", Role::Reload),
    ];
    for (file, role) in started {
        let pid = written_by(&machine, file)?;
        assert_eq!(running.role(pid), Some(role), "{file}");
        let ran = running.roles.iter().find(|ran| ran.pid == pid);
        let script = &ran.context("a command")?.argv[2];
        assert!(script.contains(&format!("/{file}")), "{script}");
    }
    assert_eq!(running.roles.len(), started.len());

    machine.run(&["systemctl", "stop", name])?;
    let stopped = systemd.describe(name).await?;
    for (file, role) in [("stop", Role::Stop), ("stop-post", Role::StopPost)] {
        assert_eq!(
            stopped.role(written_by(&machine, file)?),
            Some(role),
            "{file}"
        );
    }
    assert_eq!(stopped.main_pid, None);
    assert_eq!(stopped.exit_status, Some(7));
    assert_eq!(stopped.result.as_deref(), Some("exit-code"));
    assert_eq!(stopped.invocation.as_deref(), Some(&*id));
    assert_eq!(systemd.invocation_id(name), None);

    machine.run(&["systemctl", "reset-failed", name])?;
    machine.run(&["systemctl", "start", name])?;
    let again = systemd.describe(name).await?;
    assert_ne!(again.invocation, running.invocation);
    machine.run(&["systemctl", "kill", "-s", "KILL", name])?;
    let killed = until(|| {
        let state = machine.property(name, "ActiveState")?;
        ensure!(state == "failed", "{state}");
        Ok(())
    });
    killed?;
    assert_eq!(systemd.describe(name).await?.exit_status, Some(137));
    Ok(())
}

#[tokio::test]
async fn units_of_every_type_are_described() -> Result<()> {
    let Some(machine) = Machine::here("units of every type are described")? else {
        return Ok(());
    };
    let systemd = Systemd::at(&machine.root());
    machine.unit("harden-free.service", SLEEPS)?;
    machine.run(&["systemctl", "start", "harden-free.service"])?;
    let free = systemd.describe("harden-free.service").await?;
    assert_eq!(free.filters, [""; 0]);
    assert_eq!(free.bounding_set, None);
    assert!(!free.no_new_privileges);
    let scope = systemd.describe("init.scope").await?;
    assert_eq!(scope.roles, []);
    machine.unit(
        "harden-free.socket",
        "[Socket]\nListenStream=/run/harden-free.socket\nExecStartPre=/bin/true a\nExecStartPost=/bin/true b\n",
    )?;
    machine.run(&["systemctl", "stop", "harden-free.service"])?;
    machine.run(&["systemctl", "start", "harden-free.socket"])?;
    let socket = systemd.describe("harden-free.socket").await?;
    let roles: Vec<_> = socket.roles.iter().map(|ran| ran.role).collect();
    assert_eq!(roles, [Role::StartPre, Role::StartPost]);
    assert_eq!(socket.roles[1].argv, ["/bin/true", "b"]);
    let unknown = systemd.describe("harden-absent.service").await;
    assert!(matches!(unknown, Err(Error::NoSuchUnit(_))), "{unknown:?}");
    let nonsense = systemd.describe("no name of a unit").await;
    assert!(nonsense.is_err(), "{nonsense:?}");
    Ok(())
}

#[tokio::test]
async fn systemd_is_asked_again_after_the_bus_is_gone() -> Result<()> {
    let Some(machine) = Machine::here("systemd is asked again after the bus is gone")? else {
        return Ok(());
    };
    if machine.container().is_none() {
        // Without the bus a whole machine is no longer what other tests need.
        return Ok(());
    }
    let systemd = Systemd::at(&machine.root());
    let name = "systemd-journald.service";
    let first = systemd.describe(name).await?;
    assert!(first.main_pid.is_some());
    machine.run(&["systemctl", "restart", "dbus.service"])?;
    assert_eq!(systemd.describe(name).await?, first);
    // A new systemd, the old units.
    machine.run(&["systemctl", "daemon-reexec"])?;
    assert_eq!(systemd.describe(name).await?.main_pid, first.main_pid);
    machine.run(&["systemctl", "stop", "dbus.socket", "dbus.service"])?;
    let gone = systemd.describe(name).await;
    assert!(matches!(gone, Err(Error::Unreachable { .. })), "{gone:?}");
    machine.run(&["systemctl", "start", "dbus.socket"])?;
    assert_eq!(systemd.describe(name).await?.main_pid, first.main_pid);
    Ok(())
}

#[test]
fn the_container_leaves_nothing_behind() -> Result<()> {
    let Some(machine) = Machine::here("the container leaves nothing behind")? else {
        return Ok(());
    };
    let Some(container) = machine.container() else {
        return Ok(());
    };
    let leader = container.leader();
    let trees = ["", "unified", "systemd"].map(|tree| Path::new("/sys/fs/cgroup").join(tree));
    let cgroup = container.cgroup();
    let top = cgroup.parent().context("a directory")?.as_os_str();
    let name = std::ffi::OsStr::from_bytes(&top.as_bytes()[1..]).to_owned();
    assert!(trees.iter().any(|tree| tree.join(&name).exists()));
    container.write("/usr/share/harden-test", "gone")?;
    machine.unit("harden-plain.service", SLEEPS)?;
    start(&machine, "harden-plain.service")?;
    drop(machine);
    if harden_tests::is_alive(leader) {
        bail!("the first process is still there");
    }
    for tree in trees {
        assert!(!tree.join(&name).exists(), "{}", tree.display());
    }
    let again = Machine::here("the container leaves nothing behind")?.context("as before")?;
    let left = again.try_run(&["test", "-e", "/usr/share/harden-test"])?;
    assert!(!left.status.success());
    Ok(())
}
